//! Apple's devices: HTTP/2, with a token that we sign anew within the hour.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use waxwing_core::clock::now_milliseconds;

use crate::http_client::{HttpClient, Reply, Version};
use crate::outcome::Outcome;
use crate::settings::{self, Details};
use crate::summary::Summary;
use crate::web_push::topic;

/// A token is good for an hour; the service wants no new one more often than every twenty minutes.
const TOKEN_FOR: i64 = 45 * 60;

/// Sends to Apple's devices.
pub struct Apns {
    key: EncodingKey,
    key_id: String,
    team_id: String,
    /// The apps that may register, the usual one first.
    pub topics: Vec<String>,
    details: Details,
    production: String,
    sandbox: String,
    kept: Duration,
    token: Mutex<Option<Token>>,
}

/// A token and when it was signed, in seconds since 1970.
#[derive(Clone)]
struct Token {
    header: HeaderValue,
    signed: i64,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
}

/// What the service says about a notification that it has not taken.
#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    reason: String,
}

impl Apns {
    /// Sends with this key.
    ///
    /// # Errors
    /// What is wrong with the key or the settings.
    pub fn new(pem: &[u8], settings: &settings::Apns) -> Result<Apns, String> {
        for (name, value) in [("key_id", &settings.key_id), ("team_id", &settings.team_id)] {
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(format!("{name} must be letters and digits, as Apple gives it"));
            }
        }
        if settings.topics.is_empty() {
            return Err("topics must name the bundle identifier of an app".to_owned());
        }
        if let Some(topic) = settings.topics.iter().find(|topic| HeaderValue::try_from(*topic).is_err()) {
            return Err(format!("the topic {topic:?} is no bundle identifier"));
        }
        let apns = Apns {
            key: EncodingKey::from_ec_pem(pem).map_err(|_| "it holds no key for P-256 as PKCS #8 in PEM".to_owned())?,
            key_id: settings.key_id.clone(),
            team_id: settings.team_id.clone(),
            topics: settings.topics.clone(),
            details: settings.details,
            production: settings.endpoint.trim_end_matches('/').to_owned(),
            sandbox: settings.sandbox.trim_end_matches('/').to_owned(),
            kept: settings.kept.get(),
            token: Mutex::default(),
        };
        apns.token(now_milliseconds() / 1000).ok_or("the key cannot sign")?;
        Ok(apns)
    }

    /// Sends a notification about a node.
    pub async fn send(
        &self,
        http: &HttpClient,
        node: &str,
        (device, app, sandbox): (&str, &str, bool),
        summary: &Summary,
    ) -> Outcome {
        let outcome = self.try_once(http, node, (device, app, sandbox), summary).await;
        // The token may have been refused because a clock is wrong, or because the key was changed and is back.
        if outcome == Outcome::Refused("ExpiredProviderToken".to_owned()) {
            *self.token.lock() = None;
            return self.try_once(http, node, (device, app, sandbox), summary).await;
        }
        outcome
    }

    async fn try_once(
        &self,
        http: &HttpClient,
        node: &str,
        (device, app, sandbox): (&str, &str, bool),
        summary: &Summary,
    ) -> Outcome {
        let endpoint = if sandbox { &self.sandbox } else { &self.production };
        let Ok(uri) = format!("{endpoint}/3/device/{device}").parse::<Uri>() else { return Outcome::Gone };
        let is_urgent = summary.is_urgent();
        let Some(headers) = self.headers(node, app, is_urgent) else {
            return Outcome::Refused("the request could not be signed".to_owned());
        };
        let body = write(node, is_urgent, &summary.clone().reduced(self.details));
        match http.post(Version::Http2, uri, headers, Bytes::from(body)).await {
            Ok(reply) => judge(&reply),
            Err(no_reply) => no_reply.into(),
        }
    }

    fn token(&self, now: i64) -> Option<HeaderValue> {
        let mut kept = self.token.lock();
        if let Some(token) = kept.as_ref().filter(|token| (0..TOKEN_FOR).contains(&(now - token.signed))) {
            return Some(token.header.clone());
        }
        let head = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let token = encode(&head, &Claims { iss: &self.team_id, iat: now }, &self.key).ok()?;
        let mut header = HeaderValue::try_from(format!("bearer {token}")).ok()?;
        header.set_sensitive(true);
        *kept = Some(Token { header: header.clone(), signed: now });
        Some(header)
    }

    fn headers(&self, node: &str, app: &str, is_urgent: bool) -> Option<HeaderMap> {
        let now = now_milliseconds() / 1000;
        let expires = now.saturating_add(i64::try_from(self.kept.as_secs()).unwrap_or(i64::MAX));
        let (kind, priority) = if is_urgent { ("alert", "10") } else { ("background", "5") };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.token(now)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("apns-topic"), HeaderValue::try_from(app).ok()?);
        headers.insert(HeaderName::from_static("apns-push-type"), HeaderValue::from_static(kind));
        headers.insert(HeaderName::from_static("apns-priority"), HeaderValue::from_static(priority));
        headers.insert(HeaderName::from_static("apns-expiration"), HeaderValue::from(expires));
        headers.insert(HeaderName::from_static("apns-collapse-id"), HeaderValue::try_from(topic(node)).ok()?);
        Some(headers)
    }
}

/// What an answer means; the names of the reasons are Apple's.
fn judge(reply: &Reply) -> Outcome {
    let reason = match serde_json::from_slice::<Complaint>(&reply.body) {
        Ok(complaint) => complaint.reason,
        Err(_) => String::new(),
    };
    match (reply.status, reason.as_str()) {
        (StatusCode::GONE, _) | (StatusCode::BAD_REQUEST, "BadDeviceToken" | "DeviceTokenNotForTopic") => Outcome::Gone,
        (status, reason) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS && is_name(reason) => {
            Outcome::Refused(reason.to_owned())
        }
        _ => Outcome::of(reply),
    }
}

/// Whether it is one of Apple's reasons, which may stand in a log, and no text that somebody else has written.
fn is_name(reason: &str) -> bool {
    (1..64).contains(&reason.len()) && reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The notification. An app fetches what there is and shows that instead: it may change what it is given.
fn write(node: &str, is_urgent: bool, summary: &Summary) -> Vec<u8> {
    let mut aps = json!({ "content-available": 1 });
    if is_urgent {
        aps["alert"] = json!({ "body": summary.body.as_deref().unwrap_or("New message") });
        if let Some(sender) = &summary.sender {
            aps["alert"]["title"] = sender.as_str().into();
        }
        aps["mutable-content"] = 1.into();
        aps["sound"] = "default".into();
    }
    if let Some(count) = summary.messages {
        aps["badge"] = count.into();
    }
    let mut members = Summary { body: None, ..summary.clone() }.members();
    members.insert("node".to_owned(), node.into());
    members.insert("aps".to_owned(), aps);
    Value::from(members).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web_push::make_key;

    fn settings() -> settings::Apns {
        settings::Apns {
            key_id: "ABC123DEFG".to_owned(),
            team_id: "TEAM123456".to_owned(),
            topics: vec!["org.example.app".to_owned()],
            ..settings::Apns::default()
        }
    }

    fn apns() -> Apns {
        Apns::new(make_key().unwrap().as_bytes(), &settings()).unwrap()
    }

    #[test]
    fn a_token_is_used_again_and_signed_anew_within_the_hour() {
        let apns = apns();
        *apns.token.lock() = None;
        let first = apns.token(1_000_000).unwrap();
        assert_eq!(apns.token(1_000_000 + TOKEN_FOR - 1).unwrap(), first);
        let second = apns.token(1_000_000 + TOKEN_FOR).unwrap();
        assert_ne!(second, first);
        assert_ne!(apns.token(999_999).unwrap(), second, "the clock was set back");
        const { assert!(TOKEN_FOR < 3_600 && TOKEN_FOR > 1_200) };
    }

    #[test]
    fn what_the_service_says_is_understood() {
        let judged = |status: u16, reason: &str| {
            let body = Bytes::from(json!({ "reason": reason }).to_string());
            judge(&Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body })
        };
        assert_eq!(judged(200, ""), Outcome::Delivered);
        for (status, reason) in
            [(410, "Unregistered"), (410, "ExpiredToken"), (400, "BadDeviceToken"), (400, "DeviceTokenNotForTopic")]
        {
            assert_eq!(judged(status, reason), Outcome::Gone, "{reason}");
        }
        for (status, reason) in [(429, "TooManyRequests"), (500, "InternalServerError"), (503, "Shutdown")] {
            assert_eq!(judged(status, reason), Outcome::Later(None), "{reason}");
        }
        assert_eq!(judged(403, "InvalidProviderToken"), Outcome::Refused("InvalidProviderToken".to_owned()));
        assert_eq!(judged(400, "a text\nof theirs"), Outcome::Refused("400".to_owned()));
    }

    #[test]
    fn nothing_is_said_but_what_the_summary_holds() {
        let text = |summary: &Summary| String::from_utf8(write("n", true, summary)).unwrap();
        let plain: Value = serde_json::from_str(&text(&Summary::default())).unwrap();
        assert_eq!(plain["aps"]["alert"]["body"], "New message");
        assert_eq!((&plain["aps"]["mutable-content"], &plain["node"]), (&json!(1), &json!("n")));
        assert!(plain["aps"].get("badge").is_none());
        let full = Summary {
            messages: Some(2),
            subscriptions: None,
            sender: Some("juliet@capulet.lit".to_owned()),
            body: Some("Hi".to_owned()),
        };
        let full: Value = serde_json::from_str(&text(&full)).unwrap();
        assert_eq!((&full["aps"]["alert"]["title"], &full["aps"]["badge"]), (&json!("juliet@capulet.lit"), &json!(2)));
        assert_eq!(full["last-message-body"], Value::Null, "once is enough");
        let silent: Value = serde_json::from_slice(&write("n", false, &Summary::default())).unwrap();
        assert!(silent["aps"].get("alert").is_none());
    }

    #[test]
    fn settings_are_checked() {
        let key = make_key().unwrap();
        let new = |settings: &settings::Apns| Apns::new(key.as_bytes(), settings).map(|_| ());
        assert!(new(&settings()).is_ok());
        assert!(new(&settings::Apns { key_id: String::new(), ..settings() }).unwrap_err().contains("key_id"));
        assert!(new(&settings::Apns { topics: Vec::new(), ..settings() }).unwrap_err().contains("topics"));
        assert!(Apns::new(b"no key", &settings()).is_err());
    }
}
