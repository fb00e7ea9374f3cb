//! PLAIN (RFC 4616): the client sends its password; only ever offered under TLS.

use waxwing_core::address::{DomainPart, NodePart};

use super::{SaslFailure, Step, Verdict, identity};

/// The longest field (RFC 4616 §2), in bytes.
const MAX_FIELD: usize = 255;

/// The server's side of PLAIN.
pub(super) struct Plain {
    domain: DomainPart,
    state: State,
}

enum State {
    Start,
    Asked,
    Checking(NodePart),
    Over,
}

impl Plain {
    pub(super) fn new(domain: DomainPart) -> Plain {
        Plain { domain, state: State::Start }
    }

    pub(super) fn step(&mut self, client: Option<&[u8]>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), client) {
            (State::Start, None) => {
                self.state = State::Asked;
                Step::Challenge(Vec::new())
            }
            (State::Start | State::Asked, Some(message)) => match self.read(message) {
                Ok((username, password)) => {
                    self.state = State::Checking(username.clone());
                    Step::CheckPassword { username, password }
                }
                Err(failure) => Step::Failure(failure),
            },
            _ => Step::Failure(SaslFailure::MalformedRequest),
        }
    }

    pub(super) fn password_checked(&mut self, verdict: Verdict) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), verdict) {
            (State::Checking(username), Verdict::Right) => Step::Success { username, data: None },
            (State::Checking(_), Verdict::Disabled) => Step::Failure(SaslFailure::AccountDisabled),
            _ => Step::Failure(SaslFailure::NotAuthorized),
        }
    }

    /// Takes `[authzid] NUL authcid NUL passwd` apart. The identity to act as is judged before the password:
    /// it depends on what the client sent alone, so it tells nothing of the account.
    fn read(&self, message: &[u8]) -> Result<(NodePart, String), SaslFailure> {
        let message = std::str::from_utf8(message).map_err(|_| SaslFailure::MalformedRequest)?;
        let mut fields = message.split('\0');
        let (Some(authzid), Some(username), Some(password), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(SaslFailure::MalformedRequest);
        };
        let fits = |field: &str| (1..=MAX_FIELD).contains(&field.len());
        if !fits(username) || !fits(password) {
            return Err(SaslFailure::MalformedRequest);
        }
        let username = identity::account_name(username).ok_or(SaslFailure::NotAuthorized)?;
        if !authzid.is_empty() && !identity::may_act_as(authzid, &username, &self.domain) {
            return Err(SaslFailure::InvalidAuthzid);
        }
        Ok((username, password.to_owned()))
    }
}
