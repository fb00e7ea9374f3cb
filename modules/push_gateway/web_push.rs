//! Web Push: encrypted notifications to whatever service a browser has chosen (RFC 8030, RFC 8291, RFC 8292).

use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use waxwing_core::clock::now_milliseconds;

use crate::encryption::{EncryptionError, MOST_TEXT_BYTES, encrypt};
use crate::http_client::{HttpClient, Version};
use crate::outcome::Outcome;
use crate::settings::Details;
use crate::summary::Summary;

/// A signature holds so long; services refuse more than a day (RFC 8292 §2).
const SIGNED_FOR: Duration = Duration::from_secs(12 * 3_600);

/// Sends to browsers.
pub struct WebPush {
    key: EncodingKey,
    /// The public half, as browsers want it.
    pub public: String,
    contact: String,
    details: Details,
    kept: Duration,
}

/// Who sends, for whom, until when (RFC 8292 §2).
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: i64,
    sub: &'a str,
}

/// Makes a key: PKCS #8 in PEM.
///
/// # Errors
/// When the library fails.
pub fn make_key() -> Result<String, String> {
    let failed = |_| "no key could be made".to_owned();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
    let document = pair.to_pkcs8v1().map_err(failed)?;
    let text = STANDARD.encode(document.as_ref());
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

impl WebPush {
    /// Sends with this key, in the name of this contact.
    ///
    /// # Errors
    /// What is wrong with the key or the contact.
    pub fn new(pem: &[u8], contact: String, details: Details, kept: Duration) -> Result<WebPush, String> {
        if !contact.starts_with("mailto:") && !contact.starts_with("https://") {
            return Err(format!("the contact {contact:?} begins neither with mailto: nor with https://"));
        }
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| "it holds no key as PKCS #8 in PEM".to_owned())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        let pair = pair.map_err(|_| "its key is not one for P-256".to_owned())?;
        Ok(WebPush {
            key: EncodingKey::from_ec_der(der.secret_pkcs8_der()),
            public: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            contact,
            details,
            kept,
        })
    }

    /// Sends a notification about a node.
    pub async fn send(
        &self,
        http: &HttpClient,
        node: &str,
        (endpoint, key, authentication): (&str, &[u8], &[u8]),
        summary: &Summary,
    ) -> Outcome {
        let Ok(uri) = endpoint.parse::<Uri>() else { return Outcome::Gone };
        let summary = summary.clone().reduced(self.details);
        let urgency = if summary.is_urgent() { "high" } else { "normal" };
        let body = match encrypt(&write(node, &summary), key, authentication) {
            Ok(body) => body,
            Err(error @ EncryptionError::TooLong(_)) => return Outcome::Refused(error.to_string()),
            Err(EncryptionError::Key) => return Outcome::Gone,
        };
        let Some(headers) = self.headers(&uri, node, urgency) else {
            return Outcome::Refused("the request could not be signed".to_owned());
        };
        match http.post(Version::Any, uri, headers, Bytes::from(body)).await {
            Ok(reply) if matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE) => Outcome::Gone,
            Ok(reply) => Outcome::of(&reply),
            Err(no_reply) => no_reply.into(),
        }
    }

    fn headers(&self, uri: &Uri, node: &str, urgency: &'static str) -> Option<HeaderMap> {
        let audience = origin(uri)?;
        let expires = now_milliseconds() / 1000 + i64::try_from(SIGNED_FOR.as_secs()).ok()?;
        let claims = Claims { aud: &audience, exp: expires, sub: &self.contact };
        let token = encode(&Header::new(Algorithm::ES256), &claims, &self.key).ok()?;
        let mut authorization = HeaderValue::try_from(format!("vapid t={token}, k={}", self.public)).ok()?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(HeaderName::from_static("ttl"), HeaderValue::from(self.kept.as_secs()));
        headers.insert(HeaderName::from_static("urgency"), HeaderValue::from_static(urgency));
        // A newer notification takes the place of one that still waits (RFC 8030 §5.4).
        headers.insert(HeaderName::from_static("topic"), HeaderValue::try_from(topic(node)).ok()?);
        Some(headers)
    }
}

/// Scheme, host and port of an address: for whom a signature is (RFC 8292 §2).
pub fn origin(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    Some(match uri.port_u16().filter(|port| *port != 443) {
        Some(port) => format!("https://{host}:{port}"),
        None => format!("https://{host}"),
    })
}

/// A name for everything about one node that tells nothing of it: 32 characters of base64, the most that is allowed.
pub fn topic(node: &str) -> String {
    let digest = digest::digest(&digest::SHA256, node.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..24])
}

/// The notification as JSON: the node, by which a client with several accounts knows which one it is, and the summary.
fn write(node: &str, summary: &Summary) -> Vec<u8> {
    let mut shortened = summary.clone();
    loop {
        let mut members = shortened.members();
        members.insert("node".to_owned(), node.into());
        let text = serde_json::Value::from(members).to_string().into_bytes();
        if text.len() <= MOST_TEXT_BYTES || shortened.body.take().or_else(|| shortened.sender.take()).is_none() {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn web_push() -> WebPush {
        let pem = make_key().unwrap();
        WebPush::new(pem.as_bytes(), "mailto:a@b.example".to_owned(), Details::All, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn requests_are_signed_for_the_service_they_go_to() {
        let web_push = web_push();
        let headers = web_push.headers(&"https://push.example.org:8443/x".parse().unwrap(), "node", "high").unwrap();
        let authorization = headers[AUTHORIZATION].to_str().unwrap();
        let (token, key) = authorization.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(key, web_push.public);
        // Checked without the library that has signed.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let public = URL_SAFE_NO_PAD.decode(key).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public).verify(signed.as_bytes(), &signature).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "https://push.example.org:8443");
        assert_eq!(claims["sub"], "mailto:a@b.example");
        let hours = (claims["exp"].as_i64().unwrap() - now_milliseconds() / 1000) as f64 / 3600.0;
        assert!((11.9..=12.0).contains(&hours), "{hours}");
        let text = |name: &str| headers[name].to_str().unwrap();
        assert_eq!((text("ttl"), text("urgency"), text("topic")), ("60", "high", topic("node").as_str()));
        assert!(headers[AUTHORIZATION].is_sensitive() && topic("node").len() == 32);
    }

    #[test]
    fn keys_and_contacts_are_checked() {
        let pem = make_key().unwrap();
        let new = |pem: &str, contact: &str| {
            WebPush::new(pem.as_bytes(), contact.to_owned(), Details::All, Duration::ZERO).map(|_| ())
        };
        assert!(new(&pem, "https://a.example/").is_ok());
        assert!(new(&pem, "a@b.example").is_err());
        assert!(new("", "mailto:a@b.example").is_err());
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        assert!(new(&other, "mailto:a@b.example").unwrap_err().contains("P-256"));
    }

    #[test]
    fn origins_have_a_port_only_where_it_is_not_the_usual_one() {
        let of = |uri: &str| origin(&uri.parse().unwrap()).unwrap();
        assert_eq!(of("https://push.example.org/x/y?z"), "https://push.example.org");
        assert_eq!(of("https://push.example.org:443/"), "https://push.example.org");
        assert_eq!(of("https://[2001:db8::1]:444/"), "https://[2001:db8::1]:444");
    }

    #[test]
    fn whatever_is_written_fits() {
        let mut summary = Summary { messages: Some(1), ..Summary::default() };
        summary.body = Some("\u{1}".repeat(400));
        summary.sender = Some("\u{1}".repeat(600));
        let text = write("n", &summary);
        assert!(text.len() <= MOST_TEXT_BYTES);
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((read["node"].as_str(), read["message-count"].as_i64()), (Some("n"), Some(1)));
        summary.body = Some("short".to_owned());
        summary.sender = None;
        assert!(String::from_utf8(write("n", &summary)).unwrap().contains("short"));
    }
}
