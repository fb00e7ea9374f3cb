//! What has become of a notification that a service was given.

use std::time::Duration;

use hyper::StatusCode;

use crate::http_client::{NoReply, Reply};

/// What has become of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has taken it.
    Delivered,
    /// There is no such device any more.
    Gone,
    /// Not now; perhaps after this time.
    Later(Option<Duration>),
    /// The service does not want it, and will not want it later: a mistake of ours, or of the configuration.
    Refused(String),
}

impl Outcome {
    /// What an answer says to which no service gives a meaning of its own.
    pub fn of(reply: &Reply) -> Outcome {
        let status = reply.status;
        if status.is_success() {
            Outcome::Delivered
        } else if status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY)
        {
            Outcome::Later(reply.retry_after)
        } else {
            Outcome::Refused(status.as_u16().to_string())
        }
    }
}

impl From<NoReply> for Outcome {
    fn from(no_reply: NoReply) -> Outcome {
        match no_reply {
            NoReply::Forbidden(reason) => Outcome::Refused(reason.to_owned()),
            NoReply::TimedOut | NoReply::Failed(_) => Outcome::Later(None),
        }
    }
}
