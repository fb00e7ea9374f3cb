//! From a request to its answer: who asks, which host is meant, whose route it is, and the headers of every answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use waxwing_core::address::{self, is_subdomain};
use waxwing_core::host::Host;
use waxwing_core::house::Place;
use waxwing_core::http::{BodyError, Caller, Found, Response, host_name, say, secure};

use super::connection::{Facts, timed};
use super::proxies::{self, Source};
use crate::listeners::Shared;
use crate::module::Settings;

/// A proxy that is not listed stands between, so that nobody knows who asks.
#[derive(Clone, Copy)]
pub(crate) struct IsHidden;

/// Answers one request.
pub(crate) async fn respond(shared: &Arc<Shared>, facts: Facts, request: Request<Incoming>) -> Response {
    let config = shared.house.config();
    let (peer, is_tls) = (facts.transport.peer_addr().ip(), facts.transport.is_tls());
    let source = proxies::source(request.headers(), peer, is_tls, &config.http);
    let mut response = route(shared, facts, source, request).await;
    secure(&mut response, source.is_encrypted);
    let class = match response.status().as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    let about = "Answers to requests of the web by the class of their status";
    shared.house.metrics().counter("http_responses", about, &[("status", class)]).inc();
    response
}

async fn route(shared: &Arc<Shared>, facts: Facts, source: Source, mut request: Request<Incoming>) -> Response {
    let Some(authority) = authority(&request) else {
        return say(StatusCode::BAD_REQUEST, "the request names no host\n");
    };
    let Some(host) = host_meant(shared, host_name(&authority)) else {
        // Also what a page gets that lets its own name point here (DNS rebinding).
        return say(StatusCode::MISDIRECTED_REQUEST, "this name is not served here\n");
    };
    let found = shared.house.routes().find(host.domain(), request.method(), request.uri().path());
    let route = match found {
        Found::Route(route) => route,
        Found::Nothing => return say(StatusCode::NOT_FOUND, "not found\n"),
        Found::OtherMethods(methods) => {
            let mut response = say(StatusCode::METHOD_NOT_ALLOWED, "this is not done here\n");
            let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
            if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
                response.headers_mut().insert(header::ALLOW, methods);
            }
            return response;
        }
    };
    let config = shared.house.config();
    let most = route.body_bytes.unwrap_or(config.http.body_bytes.get());
    if request.body().size_hint().lower() > most as u64 {
        return say(StatusCode::PAYLOAD_TOO_LARGE, BodyError::TooLarge(most).to_string());
    }
    let patience = timed(config.http.body_timeout);
    request.extensions_mut().insert(facts);
    if source.is_hidden {
        request.extensions_mut().insert(IsHidden);
    }
    let request = request.map(|body| Bounded { body, left: most, most, patience, silence: None }.boxed_unsync());
    let caller = Caller { address: source.address, is_encrypted: source.is_encrypted, host, authority };
    route.handler.handle(request, caller).await
}

/// Host name and port as the client has written them: in the request's line, else in its `Host`, of which there is one.
fn authority(request: &Request<Incoming>) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    match request.uri().authority() {
        Some(authority) if !authority.as_str().contains('@') => Some(authority.as_str().to_ascii_lowercase()),
        Some(_) => None,
        None if request.version() == Version::HTTP_2 => None,
        None => {
            let host = host?.to_str().ok()?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            (!host.is_empty() && host.bytes().all(is_name)).then(|| host.to_ascii_lowercase())
        }
    }
}

/// The host that a name of the web means: its domain, a name below it, or that of its `web_url`. An address, and the
/// machine's own name, mean the first host.
fn host_meant(shared: &Shared, name: &str) -> Option<Arc<Host>> {
    let hosts = shared.house.hosts();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return hosts.first().cloned();
    }
    let domain = address::read_domain(name).ok()?;
    match shared.house.place(&domain) {
        Place::Host(host) | Place::Service(host, _) => Some(host),
        // The longest domain is the nearest one above.
        Place::Nowhere => {
            let above = hosts.iter().filter(|host| is_subdomain(&domain, host.domain()));
            above.max_by_key(|host| host.domain().as_str().len()).cloned()
        }
        Place::Elsewhere if name == "localhost" => hosts.first().cloned(),
        Place::Elsewhere => {
            let config = shared.house.config();
            let is_name_of = |host: &&Arc<Host>| {
                let settings: Settings = config.module(host.domain().as_str(), "streams").unwrap_or_default();
                settings.web_authority().is_some_and(|authority| host_name(&authority) == name)
            };
            hosts.iter().find(is_name_of).cloned()
        }
    }
}

/// A request's body within its bounds.
struct Bounded {
    body: Incoming,
    left: usize,
    most: usize,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(silence) = &mut this.silence {
                    silence.as_mut().reset(Instant::now() + this.patience);
                }
                let length = frame.data_ref().map_or(0, Bytes::len);
                match this.left.checked_sub(length) {
                    Some(left) => this.left = left,
                    None => return Poll::Ready(Some(Err(BodyError::TooLarge(this.most)))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyError::Broken(error.to_string())))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let patience = this.patience;
                let silence = this.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
                match silence.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::TooSlow))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
