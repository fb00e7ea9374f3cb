//! Where applications' servers leave something for a client: push resources on our own web listener (RFC 8030 §5).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waxwing_core::http::types::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use waxwing_core::http::types::{Method, StatusCode};
use waxwing_core::http::{Caller, Handler, Request, Response, Route, answer, empty, full, read, refuse_body, say};

use crate::unified_push::{Answer, PATH, UnifiedPush, Wishes};

/// How UnifiedPush is recognized by those who look for it.
const DISCOVERY: &str = "{\"unifiedpush\":{\"version\":1}}";

/// The route to the addresses.
pub fn route(unified: Arc<UnifiedPush>) -> Route {
    let most = unified.most_bytes();
    Route { body_bytes: Some(most), ..Route::below(PATH, &[Method::GET, Method::POST], Arc::new(Endpoints(unified))) }
}

struct Endpoints(Arc<UnifiedPush>);

#[async_trait]
impl Handler for Endpoints {
    async fn handle(&self, request: Request, _: Caller) -> Response {
        if request.method() != Method::POST {
            return answer(StatusCode::OK, "application/json", full(DISCOVERY));
        }
        let (head, body) = request.into_parts();
        let token = head.uri.path().strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/'));
        let token = token.filter(|token| is_token(token)).map(str::to_owned);
        let Some(token) = token else { return said(&Answer::NoAddress) };
        let Some(wishes) = read_wishes(&head.headers) else { return said(&Answer::Bad) };
        match read(body).await {
            Ok(content) => said(&self.0.take(&token, &content, &wishes).await),
            Err(error) => refuse_body(&error),
        }
    }
}

/// Whether it may be one of our tokens: 256 bits as URL-safe characters.
fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// What a sender asks for; `None` when a header cannot be read. Without `TTL`, which many leave out, it is kept as long as
/// may be.
fn read_wishes(headers: &HeaderMap) -> Option<Wishes> {
    let text =
        |name: &str| headers.get(name).map(|value| value.to_str().ok()).map_or(Some(None), |text| text.map(Some));
    let seconds = match text("ttl")? {
        Some(text) => Some(text.trim().parse().ok()?),
        None => None,
    };
    Some(Wishes { seconds, topic: text("topic")?.map(str::to_owned) })
}

fn said(told: &Answer) -> Response {
    let later = |mut response: Response, wait: Duration| {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        response
    };
    match told {
        Answer::Taken(seconds) => {
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::CREATED;
            response.headers_mut().insert(HeaderName::from_static("ttl"), HeaderValue::from(*seconds));
            response
        }
        Answer::Bad => say(StatusCode::BAD_REQUEST, "nothing to deliver, or a header that cannot be read"),
        Answer::NoAddress => say(StatusCode::NOT_FOUND, "there is no such address, or not any more"),
        Answer::TooLarge => say(StatusCode::PAYLOAD_TOO_LARGE, "more than a notification may hold"),
        Answer::TooMuch(wait) => later(say(StatusCode::TOO_MANY_REQUESTS, "too much for this address"), *wait),
        Answer::Unavailable => {
            later(say(StatusCode::SERVICE_UNAVAILABLE, "it cannot be kept at the moment"), Duration::from_secs(60))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(headers: &[(&'static str, &str)]) -> Option<Wishes> {
        let values = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value")));
        read_wishes(&values.collect())
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(wishes(&[]), Some(Wishes::default()));
        let both = wishes(&[("ttl", "60"), ("topic", "upd")]);
        assert_eq!(both, Some(Wishes { seconds: Some(60), topic: Some("upd".to_owned()) }));
        assert_eq!(wishes(&[("ttl", "-1")]), None);
        assert_eq!(wishes(&[("ttl", "soon")]), None);
    }

    #[test]
    fn tokens_look_like_tokens() {
        assert!(is_token(&"a".repeat(43)) && !is_token("") && !is_token(&"a".repeat(44)) && !is_token(&"/".repeat(43)));
    }
}
