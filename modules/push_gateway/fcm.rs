//! Google's devices: HTTP v1, with an access token that a service account is given for a signature (RFC 7523).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use waxwing_core::clock::now_milliseconds;

use crate::http_client::{HttpClient, Reply, Version};
use crate::outcome::Outcome;
use crate::settings::{self, Details};
use crate::summary::Summary;
use crate::web_push::topic;

/// What the service account asks to do.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// A signature holds so long, in seconds; Google allows no more.
const SIGNED_FOR: i64 = 3_600;
/// A token is not used any more so long before it ends, in seconds.
const MARGIN: i64 = 120;

/// Sends to Google's devices.
pub struct Fcm {
    account: Account,
    key: EncodingKey,
    messages: String,
    details: Details,
    kept: Duration,
    /// Holds one token. Whoever comes while it is being fetched waits for it.
    token: Cache<(), Arc<AccessToken>>,
}

/// The file that Google gives for a service account, as far as it is needed.
#[derive(Deserialize)]
struct Account {
    project_id: String,
    private_key_id: String,
    private_key: String,
    client_email: String,
    token_uri: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// A token as it is given (RFC 6749 §5.1).
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    #[serde(default)]
    expires_in: i64,
}

struct AccessToken {
    header: HeaderValue,
    /// In seconds since 1970.
    expires: i64,
}

impl Fcm {
    /// Sends for this service account.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(file: &[u8], settings: &settings::Fcm) -> Result<Fcm, String> {
        // What serde says could hold the key.
        let account: Account = serde_json::from_slice(file).map_err(|_| {
            "it is no service account: project_id, private_key_id, private_key, client_email and token_uri must be there"
                .to_owned()
        })?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-:._".contains(&byte);
        if account.project_id.is_empty() || !account.project_id.bytes().all(is_plain) {
            return Err("its project_id is none".to_owned());
        }
        let key = EncodingKey::from_rsa_pem(account.private_key.as_bytes());
        let key = key.map_err(|_| "its private_key is no RSA key in PEM".to_owned())?;
        let endpoint = settings.endpoint.trim_end_matches('/');
        let messages = format!("{endpoint}/v1/projects/{}/messages:send", account.project_id);
        let fcm =
            Fcm { account, key, messages, details: settings.details, kept: settings.kept.get(), token: Cache::new(1) };
        fcm.assertion().ok_or("its private_key cannot sign")?;
        Ok(fcm)
    }

    /// Sends a notification about a node.
    pub async fn send(
        &self,
        http: &HttpClient,
        node: &str,
        (device, account): (&str, Option<&str>),
        summary: &Summary,
    ) -> Outcome {
        let is_urgent = summary.is_urgent();
        let summary = summary.clone().reduced(self.details);
        let body = Bytes::from(self.write(node, device, account, is_urgent, &summary));
        let mut is_second = false;
        loop {
            let token = match self.token(http).await {
                Ok(token) => token,
                Err(outcome) => return outcome,
            };
            let Ok(uri) = self.messages.parse::<Uri>() else {
                return Outcome::Refused("the endpoint is no address".to_owned());
            };
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, token.header.clone());
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            match http.post(Version::Any, uri, headers, body.clone()).await {
                Ok(reply) if reply.status == StatusCode::UNAUTHORIZED && !is_second => {
                    self.token.remove(&());
                    is_second = true;
                }
                Ok(reply) => return judge(&reply),
                Err(no_reply) => return no_reply.into(),
            }
        }
    }

    async fn token(&self, http: &HttpClient) -> Result<Arc<AccessToken>, Outcome> {
        let now = now_milliseconds() / 1000;
        if self.token.get(&()).is_some_and(|token| token.expires <= now) {
            self.token.remove(&());
        }
        self.token.get_or_insert_async(&(), self.fetch_token(http)).await
    }

    async fn fetch_token(&self, http: &HttpClient) -> Result<Arc<AccessToken>, Outcome> {
        let refused = |reason: &str| Outcome::Refused(format!("access token: {reason}"));
        let Ok(uri) = self.account.token_uri.parse::<Uri>() else { return Err(refused("token_uri is no address")) };
        let Some(assertion) = self.assertion() else { return Err(refused("it could not be signed for")) };
        // Nothing in it needs to be escaped but the colons of the name.
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        let body = format!("{grant}&assertion={assertion}");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let reply = http.post(Version::Any, uri, headers, Bytes::from(body)).await.map_err(Outcome::from)?;
        if !reply.status.is_success() {
            return Err(match Outcome::of(&reply) {
                Outcome::Refused(status) => refused(&status),
                other => other,
            });
        }
        let grant: Grant = serde_json::from_slice(&reply.body).map_err(|_| refused("it is not what was expected"))?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", grant.access_token))
            .map_err(|_| refused("it is not what was expected"))?;
        header.set_sensitive(true);
        let lasts = grant.expires_in.clamp(0, 86_400) - MARGIN;
        Ok(Arc::new(AccessToken { header, expires: now_milliseconds() / 1000 + lasts }))
    }

    /// What the account signs to be given a token (RFC 7523 §3).
    fn assertion(&self) -> Option<String> {
        let now = now_milliseconds() / 1000;
        let claims = Claims {
            iss: &self.account.client_email,
            scope: SCOPE,
            aud: &self.account.token_uri,
            iat: now,
            exp: now + SIGNED_FOR,
        };
        let head = Header { kid: Some(self.account.private_key_id.clone()), ..Header::new(Algorithm::RS256) };
        encode(&head, &claims, &self.key).ok()
    }

    /// The notification: data only, so that the app decides what is shown. All values are texts.
    fn write(&self, node: &str, device: &str, account: Option<&str>, is_urgent: bool, summary: &Summary) -> Vec<u8> {
        let texts = summary.members().into_iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name, Value::from(text))
        });
        let mut data: Map<String, Value> = texts.collect();
        data.insert("node".to_owned(), node.into());
        if let Some(account) = account {
            data.insert("account".to_owned(), account.into());
        }
        let message = json!({
            "message": {
                "token": device,
                "data": data,
                "android": {
                    "priority": if is_urgent { "HIGH" } else { "NORMAL" },
                    "ttl": format!("{}s", self.kept.as_secs()),
                    "collapse_key": topic(node),
                },
            },
        });
        message.to_string().into_bytes()
    }
}

/// What an answer means; the names of the errors are Google's.
fn judge(reply: &Reply) -> Outcome {
    let complaint: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let details = complaint["error"]["details"].as_array();
    let code = details.and_then(|details| details.iter().find_map(|detail| detail["errorCode"].as_str()));
    match code {
        Some("UNREGISTERED" | "SENDER_ID_MISMATCH") => Outcome::Gone,
        Some(code @ ("INVALID_ARGUMENT" | "THIRD_PARTY_AUTH_ERROR")) => Outcome::Refused(code.to_owned()),
        _ => Outcome::of(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says_is_understood() {
        let judged = |status: u16, code: &str| {
            let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
            let body =
                json!({ "error": { "code": status, "details": [{ "x": 1 }, { "@type": kind, "errorCode": code }] } });
            let body = Bytes::from(body.to_string());
            judge(&Reply {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: Some(Duration::from_secs(7)),
                body,
            })
        };
        assert_eq!(judged(404, "UNREGISTERED"), Outcome::Gone);
        assert_eq!(judged(403, "SENDER_ID_MISMATCH"), Outcome::Gone);
        assert_eq!(judged(400, "INVALID_ARGUMENT"), Outcome::Refused("INVALID_ARGUMENT".to_owned()));
        for (status, code) in [(429, "QUOTA_EXCEEDED"), (503, "UNAVAILABLE"), (500, "INTERNAL")] {
            assert_eq!(judged(status, code), Outcome::Later(Some(Duration::from_secs(7))), "{code}");
        }
        assert_eq!(judged(200, ""), Outcome::Delivered);
        // A wrong project is no dead device.
        let body = Bytes::from_static(b"<html>");
        let reply = Reply { status: StatusCode::NOT_FOUND, retry_after: None, body };
        assert_eq!(judge(&reply), Outcome::Refused("404".to_owned()));
    }

    #[test]
    fn service_accounts_are_checked() {
        let new = |file: &str| Fcm::new(file.as_bytes(), &settings::Fcm::default()).map(|_| ()).unwrap_err();
        assert!(new("").contains("no service account"));
        let account = |project: &str| {
            json!({
                "project_id": project, "private_key_id": "k", "private_key": "secret words", "client_email": "a@b",
                "token_uri": "https://t.example/",
            })
            .to_string()
        };
        assert!(new(&account("../x")).contains("project_id"));
        let told = new(&account("x"));
        assert!(told.contains("private_key") && !told.contains("secret words"));
    }
}
