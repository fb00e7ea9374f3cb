//! BOSH (XEP-0124, XEP-0206): from HTTP requests to the session they belong to.

mod exchange;
mod key;
mod line;
mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CONTENT_TYPE, HeaderValue, VARY,
};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;
use waxwing_core::config::Config;
use waxwing_core::http::{Caller, Handler, Origin, Request, Response, Route, empty, full, say};
use waxwing_core::random;
use waxwing_core::xml::escape_attribute;

use self::exchange::{Exchange, Rules, terminated};
use self::line::{BoshLine, BoshSession};
use self::reading::Start;
use super::connection::{Facts, timed};
use super::websocket::{admit_anew, refuse_plain};
use crate::client;
use crate::connection::scanner_limits;
use crate::line::Said;
use crate::listeners::Shared;

/// The version of BOSH that is spoken here.
const VERSION: (u32, u32) = (1, 11);

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");

/// The route of BOSH.
pub(crate) fn route(shared: &Arc<Shared>) -> Route {
    let bosh = Bosh { shared: shared.clone(), sessions: Arc::default() };
    let most = shared.house.config().limits.stanza_bytes.get().saturating_mul(2);
    let route = Route::at("/http-bind", &[Method::POST, Method::OPTIONS], Arc::new(bosh));
    Route { body_bytes: Some(most), ..route }
}

/// The sessions of one host by their ids.
type Sessions = Arc<Mutex<HashMap<String, Arc<BoshSession>>>>;

struct Bosh {
    shared: Arc<Shared>,
    sessions: Sessions,
}

#[async_trait]
impl Handler for Bosh {
    async fn handle(&self, request: Request, caller: Caller) -> Response {
        let config = self.shared.house.config();
        let origin = caller.origin(request.headers(), &config.http);
        if origin == Origin::Refused {
            return say(StatusCode::FORBIDDEN, "pages of this origin may not connect here\n");
        }
        let mut response = match *request.method() {
            Method::OPTIONS => preflight(),
            _ => self.answer(request, &caller, &config).await.unwrap_or_else(|refused| refused),
        };
        if let Origin::Allowed(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(VARY, HeaderValue::from_static("origin"));
            headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        }
        response
    }
}

/// The answer to a browser that asks whether a page may ask.
fn preflight() -> Response {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// A response of BOSH.
fn wrapped(body: Bytes, media_type: HeaderValue) -> Response {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

fn refused(condition: &str) -> Response {
    wrapped(terminated(Some(condition), b""), XML)
}

impl Bosh {
    async fn answer(&self, mut request: Request, caller: &Caller, config: &Config) -> Result<Response, Response> {
        if let Some(refusal) = refuse_plain(&request, caller) {
            return Err(refusal);
        }
        let facts = request.extensions_mut().remove::<Facts>();
        let strict = scanner_limits(&config.limits, false);
        let start = reading::start(request.into_body(), strict).await?;
        let Some(rid) = start.rid() else { return Err(refused("bad-request")) };
        let Some(sid) = start.attribute("sid") else { return self.begin(start, rid, caller, config).await };
        let session = self.sessions.lock().get(&sid).cloned();
        let session = session.filter(|_| start.attribute("stream").is_none());
        // XEP-0124 §14.3: the same answer to everything that cannot be.
        let Some(session) = session else { return Err(refused("item-not-found")) };
        let is_known = session.is_known.load(Ordering::Acquire);
        if let Some(facts) = facts.filter(|_| is_known)
            && let Some(admission) = facts.admission.lock().as_mut()
        {
            // A connection of somebody who has logged in is no stranger's.
            admission.authenticated();
        }
        let bounds = scanner_limits(&config.limits, is_known);
        let most = bounds.bytes.saturating_mul(2);
        let request = start.finish(rid, most, bounds).await?;
        let (reply, response) = oneshot::channel();
        session.with(|exchange, now| exchange.arrive(request, reply, now));
        Ok(wait(&session, rid, response).await)
    }

    /// A new session (XEP-0124 §7).
    async fn begin(&self, start: Start, rid: u64, caller: &Caller, config: &Config) -> Result<Response, Response> {
        let Some(to) = start.attribute("to").filter(|to| !to.is_empty()) else {
            return Err(refused("improper-addressing"));
        };
        let admission = admit_anew(&self.shared, caller).map_err(|refusal| *refusal)?;
        let settings = &config.http;
        let hold = start.number("hold").map_or(1, |hold| usize::try_from(hold).unwrap_or(usize::MAX));
        let longest = timed(settings.bosh_wait);
        let wait_for = start.number("wait").map_or(longest, |wait| Duration::from_secs(wait).min(longest));
        // Who does not wait cannot be held (XEP-0124 §12).
        let hold = if wait_for.is_zero() { 0 } else { hold.min(settings.bosh_hold.get().clamp(1, 16)) };
        let rules = Rules {
            hold,
            requests: hold + 1,
            polling: timed(settings.bosh_polling),
            inactivity: timed(settings.bosh_inactivity),
            pause: timed(settings.bosh_pause),
            acknowledges: start.attribute("ack").is_some(),
        };
        let version = start.attribute("ver");
        let sid = random::token();
        let attributes = attributes(&sid, rid, wait_for, &rules, version.as_deref(), &to);
        let media_type = media_type(start.attribute("content").as_deref());
        let opening = start.opening();
        let bounds = scanner_limits(&config.limits, false);
        let mut first = start.finish(rid, bounds.bytes.saturating_mul(2), bounds).await?;
        first.content.insert(0, Ok(Said::Opening(opening)));
        let (reply, response) = oneshot::channel();
        let exchange = Exchange::new(rules, first, attributes, reply, Instant::now());
        let session = Arc::new(BoshSession::new(exchange, media_type, wait_for, version.is_none()));
        {
            let mut sessions = self.sessions.lock();
            if !settings.bosh_sessions.allows(sessions.len() + 1) {
                self.shared.house.metrics().limit_hit("bosh_sessions");
                return Err(say(StatusCode::SERVICE_UNAVAILABLE, "too many sessions\n"));
            }
            sessions.insert(sid.clone(), session.clone());
        }
        let limits = &config.limits;
        let stopping = self.shared.stopping.clone();
        let line = BoshLine::new(session.clone(), caller.address, caller.is_encrypted, limits, stopping);
        let tasks = self.shared.house.tasks();
        tasks.spawn(client::begin(self.shared.clone(), line, false, admission));
        tasks.spawn(forget_when_over(self.shared.clone(), self.sessions.clone(), sid, session.clone()));
        Ok(wait(&session, rid, response).await)
    }
}

/// Forgets a session that is over, when its client has had the time to hear of it.
async fn forget_when_over(shared: Arc<Shared>, sessions: Sessions, sid: String, session: Arc<BoshSession>) {
    session.over.cancelled().await;
    let patience = timed(shared.house.config().http.bosh_inactivity);
    tokio::select! {
        () = tokio::time::sleep(patience) => {}
        () = shared.stopping.cancelled() => {}
    }
    sessions.lock().remove(&sid);
}

/// The attributes of the first response (XEP-0124 §7.2, XEP-0206 §4).
fn attributes(sid: &str, rid: u64, wait: Duration, rules: &Rules, version: Option<&str>, to: &str) -> String {
    let mut text = format!(
        " xmlns:xmpp='urn:xmpp:xbosh' sid='{sid}' wait='{}' requests='{}' hold='{}' inactivity='{}' polling='{}' \
         maxpause='{}' xmpp:version='1.0' xmpp:restartlogic='true' authid='{}' from='",
        wait.as_secs(),
        rules.requests,
        rules.hold,
        rules.inactivity.as_secs(),
        rules.polling.as_secs(),
        rules.pause.as_secs(),
        random::token(),
    );
    let mut from = Vec::new();
    escape_attribute(&mut from, to);
    text.push_str(&String::from_utf8_lossy(&from));
    text.push('\'');
    if let Some((major, minor)) = version.and_then(read_version) {
        let (major, minor) = (major, minor).min(VERSION);
        text.push_str(&format!(" ver='{major}.{minor}'"));
    }
    if rules.acknowledges {
        text.push_str(&format!(" ack='{rid}'"));
    }
    text
}

/// A version as two numbers: `1.10` is later than `1.9`.
fn read_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The media type a client wishes its responses to have; none that a browser would run.
fn media_type(wish: Option<&str>) -> HeaderValue {
    let bare = wish.and_then(|wish| wish.split(';').next()).map(|wish| wish.trim().to_ascii_lowercase());
    match bare.as_deref() {
        Some("text/plain") => HeaderValue::from_static("text/plain; charset=utf-8"),
        Some("application/xml") => HeaderValue::from_static("application/xml; charset=utf-8"),
        _ => XML,
    }
}

/// Tells a session when one of its clients does not wait any longer.
struct Waiting<'a>(&'a BoshSession);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|exchange, now| {
            exchange.lost(now);
            Vec::new()
        });
    }
}

/// Waits for the response to a request, as long as it may be held.
async fn wait(session: &BoshSession, rid: u64, mut response: oneshot::Receiver<Bytes>) -> Response {
    let waiting = Waiting(session);
    let body = match timeout(session.wait, &mut response).await {
        Ok(body) => body.ok(),
        Err(_) => {
            session.with(|exchange, now| exchange.expire(rid, now));
            // It was answered just now, unless it came before its turn.
            timeout(session.wait, response).await.ok().and_then(Result::ok)
        }
    };
    drop(waiting);
    match body {
        Some(body) if session.is_legacy && is_error(&body) => legacy(&body, session),
        Some(body) => wrapped(body, session.media_type.clone()),
        None => refused("item-not-found"),
    }
}

fn is_error(body: &[u8]) -> bool {
    legacy_status(body).is_some()
}

/// The status that a client without a version understands (XEP-0124 §17.1).
fn legacy_status(body: &[u8]) -> Option<StatusCode> {
    let tag = body.split(|byte| *byte == b'>').next().unwrap_or_default();
    let tag = std::str::from_utf8(tag).ok()?;
    if tag.contains("condition='item-not-found'") {
        Some(StatusCode::NOT_FOUND)
    } else if tag.contains("condition='policy-violation'") {
        Some(StatusCode::FORBIDDEN)
    } else if tag.contains("condition='bad-request'") {
        Some(StatusCode::BAD_REQUEST)
    } else {
        None
    }
}

fn legacy(body: &Bytes, session: &BoshSession) -> Response {
    let mut response = wrapped(body.clone(), session.media_type.clone());
    *response.status_mut() = legacy_status(body).unwrap_or(StatusCode::OK);
    response
}
