//! Requests to the services: HTTPS only, without redirects, bounded in time and size, and never to our neighbours.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tower_service::Service;

/// Nothing that a service says is longer than this, in bytes.
const MOST_REPLY: usize = 16 * 1024;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(90);
/// How many connections to one service are kept that nobody uses.
const IDLE_CONNECTIONS: usize = 4;

type Connection = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Makes requests.
pub struct HttpClient {
    any: Connection,
    http2: Connection,
    timeout: Duration,
    private: bool,
}

/// What a service has answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// After how long it wants to hear from us again.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The address is none that we may ask.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It could not be reached, or broke off.
    #[error("{0}")]
    Failed(String),
}

/// Which version of HTTP a service wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Whatever it offers.
    Any,
    /// HTTP/2 and nothing else.
    Http2,
}

impl HttpClient {
    /// A client that trusts the usual authorities and those in `authorities` (PEM).
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn new(authorities: Option<&[u8]>, timeout: Duration, private: bool) -> Result<HttpClient, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = authorities {
            let mut added = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("the authorities cannot be read: {error}"))?;
                roots.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
                added += 1;
            }
            if added == 0 {
                return Err("there is no certificate among the authorities".to_owned());
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = |timeout| {
            let mut tcp = HttpConnector::new_with_resolver(Resolver { private });
            tcp.enforce_http(false);
            tcp.set_connect_timeout(Some(timeout));
            tcp.set_nodelay(true);
            tcp
        };
        let mut builder = Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_CONNECTIONS);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_only().enable_all_versions();
        let any = builder.build(https.wrap_connector(connector(timeout)));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2();
        let http2 = builder.http2_only(true).build(https.wrap_connector(connector(timeout)));
        Ok(HttpClient { any, http2, timeout, private })
    }

    /// Whether an address is one that may be asked, as far as can be told before its name is looked up.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, uri: &Uri) -> Result<(), &'static str> {
        if uri.scheme_str() != Some("https") {
            return Err("it does not begin with https");
        }
        let Some(authority) = uri.authority() else { return Err("it names no host") };
        if authority.as_str().contains('@') {
            return Err("it holds a user name");
        }
        let host = authority.host();
        if authority.as_str().len() > host.len() && authority.port_u16().is_none() {
            return Err("its port is none");
        }
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !self.private && !is_public(address) => Err("it is a private address"),
            Ok(_) => Ok(()),
            Err(_) if host.is_empty() => Err("it names no host"),
            Err(_) => Ok(()),
        }
    }

    /// Posts something. The time counts from the beginning of the connection to the end of the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post(&self, version: Version, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Reply, NoReply> {
        self.check(&uri).map_err(NoReply::Forbidden)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let client = match version {
            Version::Any => &self.any,
            Version::Http2 => {
                *request.version_mut() = hyper::Version::HTTP_2;
                &self.http2
            }
        };
        let answered = async {
            let response = client.request(request).await.map_err(|error| NoReply::Failed(told(&error)))?;
            let status = response.status();
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| read_pause(value.to_str().ok()?));
            let body = Limited::new(response.into_body(), MOST_REPLY).collect().await;
            let body = body.map_err(|error| NoReply::Failed(error.to_string()))?.to_bytes();
            Ok(Reply { status, retry_after, body })
        };
        tokio::time::timeout(self.timeout, answered).await.unwrap_or(Err(NoReply::TimedOut))
    }
}

/// An error with what lies behind it: the outermost says only that it went wrong.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Reads `Retry-After`: seconds, or a time (RFC 9110 §10.2.3).
fn read_pause(text: &str) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default()),
    }
}

/// Looks up names and keeps to itself what lies in private networks. It is asked for the very addresses that are
/// connected to, so nothing can change in between.
#[derive(Clone)]
struct Resolver {
    private: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| private || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it has no public address"));
            }
            Ok(allowed.into_iter())
        })
    }
}

/// Whether an address is one of the public Internet (the special-purpose registries of IANA, RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (18..20).contains(&second)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        // Mapped, translated (RFC 6052) and 6to4 addresses lead to an address of the old kind.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(embedded(high, low))
        }
        // Teredo, benchmarks, ORCHID and whatever else is special, and documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Only global unicast has been given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn neighbours_are_told_from_the_rest_of_the_world() {
        for neighbour in [
            "127.0.0.1",
            "127.255.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "::127.0.0.1",
        ] {
            assert!(!public(neighbour), "{neighbour}");
        }
        for other in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "2a00:1450:4001::1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(public(other), "{other}");
        }
    }

    #[test]
    fn only_public_https_addresses_are_taken() {
        let check = |private, uri: &str| {
            let client = HttpClient::new(None, Duration::from_secs(1), private).unwrap();
            client.check(&uri.parse().unwrap()).is_ok()
        };
        assert!(check(false, "https://push.example.org/x?y=z"));
        assert!(check(false, "https://8.8.8.8:444/"));
        for uri in [
            "http://push.example.org/",
            "/push",
            "https://127.0.0.1/",
            "https://[::1]:8443/x",
            "https://10.0.0.1/",
            "https://user@push.example.org/",
            "https://[::ffff:127.0.0.1]/",
            "ftp://push.example.org/",
            "https://push.example.org:x/",
            "https://push.example.org:70000/",
        ] {
            assert!(!check(false, uri), "{uri}");
        }
        assert!(check(true, "https://127.0.0.1:8443/x"));
        assert!(!check(true, "http://127.0.0.1:8443/x"));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_neighbour_is_not_followed() {
        let mut resolver = Resolver { private: false };
        let refused = resolver.call("localhost".parse().unwrap()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let mut resolver = Resolver { private: true };
        assert!(resolver.call("localhost".parse().unwrap()).await.unwrap().count() > 0);
    }

    #[test]
    fn pauses_are_read() {
        assert_eq!(read_pause("120"), Some(Duration::from_secs(120)));
        assert_eq!(read_pause("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(read_pause(&later).is_some_and(|pause| (98..=100).contains(&pause.as_secs())));
        assert_eq!(read_pause("soon"), None);
    }

    #[test]
    fn authorities_must_be_some() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(HttpClient::new(Some(bad.as_bytes()), Duration::from_secs(1), false).is_err(), "{bad}");
        }
    }
}
