//! What streams state about themselves, and the two questions about them that a bound client may still ask.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::DomainPart;
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::config::SettingsDescription;
use waxwing_core::module::{Context, Manifest, Module, Plan, StartError, Xep};
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;

/// Streams as the assembly lists them.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

static MANIFEST: Manifest = Manifest {
    name: "streams",
    summary: "turns bytes into stanzas: TCP, WebSocket, BOSH, TLS, login, resource binding",
    xeps: &[
        Xep::partial(124, "1.11.2", "one stream for each session; no compression"),
        Xep::complete(156, "1.4.0"),
        Xep::complete(206, "1.4"),
        Xep::partial(368, "1.1.0", "for clients"),
        Xep::complete(440, "1.0.0"),
        Xep::complete(474, "0.5.0"),
        Xep::complete(478, "0.2.0"),
        Xep::complete(487, "0.1.0"),
    ],
    answers: &[Topic::account(namespaces::BIND), Topic::account(namespaces::SESSION)],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may decide for a host.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where this host is served now: "host" or "host:port", an IPv6 address in brackets. Clients that connect here are
    /// sent there once the connection is encrypted, so that nobody in between can send them astray. For moving to another
    /// machine while old addresses are still about.
    pub(crate) redirect: Option<String>,
    /// Where this host is served over WebSocket now: a URL that begins with wss://. Clients that come over an encrypted
    /// WebSocket are sent there.
    pub(crate) redirect_websocket: Option<String>,
    /// Where this host's web is seen from outside: a URL such as "https://chat.example.org", the one a proxy or the
    /// certificate has. It is told to clients that look for WebSocket and BOSH (host-meta, XEP-0156). Without it they are
    /// told the name they have asked for.
    pub(crate) web_url: Option<String>,
    /// The addresses of this machine that the world sees. With them host-meta says everything a client needs to connect
    /// (XEP-0487), and clients that know it look up nothing in DNS.
    #[schemars(with = "Vec<String>")]
    pub(crate) public_addresses: Vec<IpAddr>,
}

impl Settings {
    /// Host name and port of `web_url`, in small letters.
    pub(crate) fn web_authority(&self) -> Option<String> {
        let uri: http::Uri = self.web_url.as_deref()?.parse().ok()?;
        Some(uri.authority()?.as_str().to_ascii_lowercase())
    }
}

/// Whether it is a URL that a client may be sent to: never in the clear (RFC 7395 §3.6.1).
fn is_websocket_url(text: &str) -> bool {
    text.starts_with("wss://") && text.parse::<http::Uri>().is_ok_and(|uri| uri.authority().is_some())
}

/// Whether it is the beginning of a URL of the web: `https://host`, `http://host:port`, and perhaps a path.
fn is_web_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && uri.query().is_none()
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    if let Some(redirect) = settings.redirect.filter(|redirect| !is_place(redirect)) {
        let text =
            format!("redirect = {redirect:?} is neither \"host\" nor \"host:port\", IPv6 addresses need brackets");
        return Err(StartError::Other(text));
    }
    if let Some(url) = settings.redirect_websocket.filter(|url| !is_websocket_url(url)) {
        let text = format!("redirect_websocket = {url:?} is not the URL of an encrypted WebSocket (wss://…)");
        return Err(StartError::Other(text));
    }
    if let Some(url) = settings.web_url.filter(|url| !is_web_url(url)) {
        let text = format!("web_url = {url:?} is no URL of the web, write such as \"https://chat.example.org\"");
        return Err(StartError::Other(text));
    }
    Ok(Arc::new(Streams))
}

/// Whether it is `host` or `host:port` (RFC 6120 §4.9.3.19).
fn is_place(text: &str) -> bool {
    let (host, port) = match (text.rsplit_once(':'), text.ends_with(']')) {
        (Some((host, port)), false) => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host = |host: &str| !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    port.is_none_or(is_port) && is_host(host) && DomainPart::new(host).is_ok()
}

struct Streams;

#[async_trait]
impl Module for Streams {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        if request.payload().namespace() == namespaces::BIND {
            // RFC 6120 §7.6.2.2: one stream, one resource.
            return Err(Refusal::not_allowed().saying("this stream has its resource"));
        }
        // The session of RFC 3921 is there as soon as the resource is; old clients ask all the same.
        if request.is_set() && request.is_from_owner() { Ok(Answer::Empty) } else { Err(Refusal::bad_request()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c25_a_redirect_is_a_host_with_or_without_a_port() {
        for place in ["example.org", "example.org:5222", "192.0.2.1:5222", "[2001:db8::1]", "[2001:db8::1]:5222"] {
            assert!(is_place(place), "{place}");
        }
        for place in ["", ":5222", "example.org:", "example.org:0", "example.org:65536", "2001:db8::1", "a b"] {
            assert!(!is_place(place), "{place}");
        }
    }
}
