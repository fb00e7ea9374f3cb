//! The seam to the web: a module registers routes for its host, and the listeners find them by host name and path.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use parking_lot::RwLock;

use crate::address::DomainPart;
use crate::config::Web;
use crate::host::Host;

pub use http as types;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than its route allows, in bytes.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Nothing came for longer than `http.body_timeout`.
    #[error("the body does not come")]
    TooSlow,
    /// The connection broke, or what was to be sent could not be read.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// A body that comes or goes in pieces; what a client sends is bounded by its route.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;
/// What a client asks for.
pub type Request = http::Request<Body>;
/// What it is answered.
pub type Response = http::Response<Body>;

/// A body that is whole already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// An answer of one sentence for a person, as plain text.
pub fn say(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Response {
    let body = match text.into() {
        Cow::Borrowed(text) => full(Bytes::from_static(text.as_bytes())),
        Cow::Owned(text) => full(text),
    };
    answer(status, "text/plain; charset=utf-8", body)
}

/// An answer with a body of this media type.
pub fn answer(status: StatusCode, media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Reads a whole body; it is bounded by its route.
///
/// # Errors
/// Why it could not be read.
pub async fn read(body: Body) -> Result<Bytes, BodyError> {
    Ok(body.collect().await?.to_bytes())
}

/// The answer to a body that could not be read.
pub fn refuse_body(error: &BodyError) -> Response {
    match error {
        BodyError::TooLarge(_) => say(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        BodyError::TooSlow => say(StatusCode::REQUEST_TIMEOUT, error.to_string()),
        BodyError::Broken(_) => say(StatusCode::BAD_REQUEST, "the body broke off"),
    }
}

/// Who asks, and how.
#[derive(Clone)]
pub struct Caller {
    /// The client's address: the connection's, or what a listed proxy says.
    pub address: IpAddr,
    /// Whether what is said stays between the client and us: over TLS, here or at a listed proxy.
    pub is_encrypted: bool,
    /// The host that is asked.
    pub host: Arc<Host>,
    /// Host name and port as the client has written them, in small letters.
    pub authority: String,
}

/// What is to become of a request that a web page of some origin makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No web page makes it.
    None,
    /// The page may. The value of `Origin`, for `Access-Control-Allow-Origin`.
    Allowed(HeaderValue),
    /// The page may not.
    Refused,
}

impl Caller {
    /// Whether the web page that makes a request may do so: pages of the same host name may, and those listed in
    /// `http.origins` (security row S28). Programs that are no browser name no origin.
    pub fn origin(&self, headers: &HeaderMap, settings: &Web) -> Origin {
        judge_origin(headers, &self.authority, &settings.origins)
    }

    /// Whether a password may be shown on this connection: it is encrypted, or does not leave the machine.
    pub fn may_log_in(&self) -> bool {
        self.is_encrypted || self.address.is_loopback()
    }
}

fn judge_origin(headers: &HeaderMap, authority: &str, allowed: &[String]) -> Origin {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Origin::None };
    if origins.next().is_some() {
        return Origin::Refused;
    }
    let Ok(text) = origin.to_str() else { return Origin::Refused };
    let listed = allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(text));
    let same_host = || {
        let uri: Uri = text.parse().ok()?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        Some(is_web && uri.host()?.eq_ignore_ascii_case(host_name(authority)))
    };
    if listed || same_host() == Some(true) { Origin::Allowed(origin.clone()) } else { Origin::Refused }
}

/// The name without the port; an IPv6 address keeps its brackets.
pub fn host_name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// Answers what is asked below a route.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The headers of the security list are set afterwards, unless they are there.
    async fn handle(&self, request: Request, caller: Caller) -> Response;
}

/// Which requests come to a handler.
#[derive(Clone)]
pub struct Route {
    /// The path, beginning with `/`.
    pub path: Cow<'static, str>,
    /// Whether paths below it (`path/…`) belong to it as well.
    pub with_all_below: bool,
    /// The methods; HEAD comes with GET. Others are answered 405.
    pub methods: &'static [Method],
    /// How long a request's body may be at most, in bytes; none: `http.body_bytes`.
    pub body_bytes: Option<usize>,
    /// Who answers.
    pub handler: Arc<dyn Handler>,
}

impl Route {
    /// A route for exactly this path.
    pub fn at(path: impl Into<Cow<'static, str>>, methods: &'static [Method], handler: Arc<dyn Handler>) -> Route {
        Route { path: path.into(), with_all_below: false, methods, body_bytes: None, handler }
    }

    /// A route for this path and everything below it.
    pub fn below(path: impl Into<Cow<'static, str>>, methods: &'static [Method], handler: Arc<dyn Handler>) -> Route {
        Route { with_all_below: true, ..Route::at(path, methods, handler) }
    }

    fn covers(&self, path: &str) -> bool {
        match path.strip_prefix(&*self.path) {
            Some("") => true,
            Some(rest) => self.with_all_below && (self.path.ends_with('/') || rest.starts_with('/')),
            None => false,
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.contains(method) || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// Where a request leads.
pub enum Found {
    /// To this route.
    Route(Route),
    /// To a route that knows other methods: these.
    OtherMethods(&'static [Method]),
    /// Nowhere.
    Nothing,
}

/// The routes of every host.
#[derive(Default)]
pub struct Routes(RwLock<HashMap<DomainPart, Vec<Route>>>);

impl Routes {
    /// Adds a route to a host; false when the path is taken there.
    pub fn add(&self, host: &DomainPart, route: Route) -> bool {
        let mut hosts = self.0.write();
        let routes = hosts.entry(host.clone()).or_default();
        if routes.iter().any(|other| other.path == route.path) {
            return false;
        }
        routes.push(route);
        // The longest path first: it is the one that means it.
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        true
    }

    /// Whom a request is for.
    pub fn find(&self, host: &DomainPart, method: &Method, path: &str) -> Found {
        if !is_plain(path) {
            return Found::Nothing;
        }
        let hosts = self.0.read();
        let Some(route) = hosts.get(host).and_then(|routes| routes.iter().find(|route| route.covers(path))) else {
            return Found::Nothing;
        };
        if route.takes(method) { Found::Route(route.clone()) } else { Found::OtherMethods(route.methods) }
    }

    pub(crate) fn clear(&self) {
        self.0.write().clear();
    }
}

/// Whether a path means the same to everyone who reads it: no empty, `.` or `..` segments, nothing that a second decoding
/// would turn into one (security row S31).
fn is_plain(path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else { return false };
    let small = path.to_ascii_lowercase();
    if ["%2e", "%2f", "%5c", "%00", "%25", "%u", "\\"].iter().any(|trick| small.contains(trick)) {
        return false;
    }
    let segments: Vec<&str> = path.split('/').collect();
    segments.iter().enumerate().all(|(index, segment)| {
        let name = segment.split(';').next().unwrap_or_default();
        let is_last = index + 1 == segments.len();
        !matches!(name, "." | "..") && (!name.is_empty() || (is_last && segment.is_empty()))
    })
}

/// What every answer says to a browser, unless its handler says otherwise (security list, "Secure defaults").
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// One year: what is served over TLS is never to be asked for without.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31556952");

/// Sets the headers of the security list where they are not set.
pub fn secure(response: &mut Response, is_encrypted: bool) {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(value);
    }
    if is_encrypted {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(STRICT_TRANSPORT);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    #[async_trait]
    impl Handler for Nobody {
        async fn handle(&self, _: Request, _: Caller) -> Response {
            say(StatusCode::OK, "")
        }
    }

    fn domain(name: &str) -> DomainPart {
        DomainPart::new(name).unwrap().into_owned()
    }

    #[test]
    fn the_longest_path_wins_and_methods_are_told() {
        let (routes, host) = (Routes::default(), domain("capulet.lit"));
        assert!(routes.add(&host, Route::below("/", &[Method::GET], Arc::new(Nobody))));
        assert!(routes.add(&host, Route::below("/upload", &[Method::GET, Method::PUT], Arc::new(Nobody))));
        assert!(!routes.add(&host, Route::at("/upload", &[Method::GET], Arc::new(Nobody))));
        let path_of = |method: Method, path: &str| match routes.find(&host, &method, path) {
            Found::Route(route) => route.path.into_owned(),
            Found::OtherMethods(methods) => format!("{methods:?}"),
            Found::Nothing => String::new(),
        };
        assert_eq!(path_of(Method::PUT, "/upload/a/b"), "/upload");
        assert_eq!(path_of(Method::HEAD, "/upload"), "/upload");
        assert_eq!(path_of(Method::GET, "/uploads"), "/");
        assert_eq!(path_of(Method::DELETE, "/upload/a"), "[GET, PUT]");
        assert!(matches!(routes.find(&domain("montague.lit"), &Method::GET, "/"), Found::Nothing));
    }

    #[test]
    fn s31_a_path_that_two_readers_could_read_in_two_ways_leads_nowhere() {
        for path in ["/", "/a", "/a/", "/a/b.c", "/a/%C3%A4;v=1", "/.well-known/x", "/a/..b"] {
            assert!(is_plain(path), "{path}");
        }
        let tricks = [
            "",
            "a",
            "//",
            "/a//b",
            "/../a",
            "/a/..",
            "/a/..;/b",
            "/%2e%2e/a",
            "/a%2Fb",
            "/a%5cb",
            "/%u002e/",
            "/a\\b",
            "/%252e",
            "/./a",
            "/;/a",
        ];
        for path in tricks {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn s28_a_page_of_another_host_is_refused_unless_it_is_listed() {
        let judge = |origin: &str, allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
            judge_origin(&headers, "chat.capulet.lit:5443", &allowed) != Origin::Refused
        };
        assert!(judge("https://chat.capulet.lit", &[]));
        assert!(judge("https://CHAT.capulet.lit:8443", &[]));
        for evil in
            ["https://evil.lit", "null", "https://chat.capulet.lit.evil.lit", "https://evil.lit/chat.capulet.lit", ""]
        {
            assert!(!judge(evil, &["https://app.capulet.lit"]), "{evil}");
        }
        assert!(judge("https://app.capulet.lit", &["https://app.capulet.lit"]));
        assert!(!judge("http://app.capulet.lit", &["https://app.capulet.lit"]));
        assert!(judge("null", &["*"]));
        assert_eq!(judge_origin(&HeaderMap::new(), "x", &[]), Origin::None);
    }

    #[test]
    fn host_names_have_no_port() {
        for (authority, name) in [("a.lit:80", "a.lit"), ("a.lit", "a.lit"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(host_name(authority), name);
        }
    }
}
