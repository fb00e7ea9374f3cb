//! WebSocket (RFC 6455, RFC 7395): from a request to a stream.

mod frames;
mod line;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use waxwing_core::http::{Caller, Handler, Origin, Request, Response, Route, empty, say};

use self::line::{Client, SUBPROTOCOL, WebSocketLine};
use super::answering::IsHidden;
use super::connection::{Facts, timed};
use super::stream::HttpStream;
use crate::client;
use crate::gate::Admission;
use crate::listeners::Shared;

/// The route of XMPP on WebSocket.
pub(crate) fn route(shared: &Arc<Shared>) -> Route {
    Route::at("/xmpp-websocket", &[Method::GET], Arc::new(Upgrade { shared: shared.clone() }))
}

struct Upgrade {
    shared: Arc<Shared>,
}

#[async_trait]
impl Handler for Upgrade {
    async fn handle(&self, mut request: Request, caller: Caller) -> Response {
        let shared = &self.shared;
        let accept = match check(request.version(), request.headers()) {
            Ok(accept) => accept,
            Err(response) => return *response,
        };
        if caller.origin(request.headers(), &shared.house.config().http) == Origin::Refused {
            return say(StatusCode::FORBIDDEN, "pages of this origin may not connect here\n");
        }
        if let Some(refusal) = refuse_plain(&request, &caller) {
            return refusal;
        }
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            return say(StatusCode::BAD_REQUEST, "this connection cannot become a WebSocket\n");
        };
        let admission = match admit(shared, &request, &caller) {
            Ok(admission) => admission,
            Err(response) => return *response,
        };
        let client = Client { address: caller.address, is_encrypted: caller.is_encrypted };
        shared.house.tasks().spawn(begin(shared.clone(), upgrade, client, admission));
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

/// Where nobody may log in, nobody need begin: passwords are not shown in the clear, and who hides is not let in.
pub(crate) fn refuse_plain(request: &Request, caller: &Caller) -> Option<Response> {
    let is_hidden = request.extensions().get::<IsHidden>().is_some();
    if is_hidden && !caller.is_encrypted {
        let text =
            "a proxy stands between that is not listed in http.trusted_proxies, or does not say who the client is\n";
        return Some(say(StatusCode::FORBIDDEN, text));
    }
    (!caller.may_log_in()).then(|| say(StatusCode::FORBIDDEN, "only over TLS\n"))
}

/// A place at the gate for a client that comes to stay: that of its connection, or one of its own behind a proxy.
///
/// # Errors
/// The answer when there is none.
pub(crate) fn admit(shared: &Shared, request: &Request, caller: &Caller) -> Result<Admission, Box<Response>> {
    let facts = request.extensions().get::<Facts>();
    if let Some(admission) = facts.and_then(|facts| facts.admission.lock().take()) {
        return Ok(admission);
    }
    admit_anew(shared, caller)
}

/// A place at the gate of its own.
///
/// # Errors
/// The answer when there is none.
pub(crate) fn admit_anew(shared: &Shared, caller: &Caller) -> Result<Admission, Box<Response>> {
    let limits = &shared.house.config().limits;
    shared.gate.enter(caller.address, limits, Instant::now()).map_err(|reason| {
        shared.turned_away(caller.address, reason);
        Box::new(say(StatusCode::TOO_MANY_REQUESTS, format!("{reason}\n")))
    })
}

/// Checks the opening handshake (RFC 6455 §4.2.1, RFC 7395 §3.1): the value of `Sec-WebSocket-Accept`.
fn check(version: Version, headers: &HeaderMap) -> Result<HeaderValue, Box<Response>> {
    let bad = |text: &'static str| Err(Box::new(say(StatusCode::BAD_REQUEST, text)));
    if version != Version::HTTP_11
        || !has_word(headers, UPGRADE, "websocket")
        || !has_word(headers, CONNECTION, "upgrade")
    {
        return bad("this is for WebSockets\n");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = say(StatusCode::UPGRADE_REQUIRED, "WebSocket has version 13 here\n");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        return bad("Sec-WebSocket-Key is not 16 bytes in base64\n");
    }
    if !has_word(headers, SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return bad("the subprotocol xmpp is missing (RFC 7395)\n");
    }
    accept(key).or_else(|_| bad("Sec-WebSocket-Key makes no sense\n"))
}

/// Whether a header lists this word; words have no letter case, but the subprotocol is written in small letters anyway.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// What proves to the client that the server has understood it (RFC 6455 §4.2.2).
fn accept(key: &[u8]) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    HeaderValue::from_str(&STANDARD.encode(hash.finish()))
}

/// Takes the connection over from HTTP and serves its stream.
async fn begin(shared: Arc<Shared>, upgrade: OnUpgrade, client: Client, admission: Admission) {
    let config = shared.house.config();
    let line = Box::pin(async {
        let upgraded = timeout(timed(config.limits.unauthenticated_timeout), upgrade).await.ok()?.ok()?;
        let parts = upgraded.downcast::<HttpStream>().ok()?;
        let (transport, left) = parts.io.into_parts();
        let mut input = BytesMut::from(&parts.read_buf[..]);
        input.extend_from_slice(&left);
        Some(WebSocketLine::new(transport, input, client, &config, shared.stopping.clone()))
    })
    .await;
    drop(config);
    if let Some(line) = line {
        // In a box, and gone when the session begins.
        Box::pin(client::begin(shared, line, false, admission)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
