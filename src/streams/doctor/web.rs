//! The doctor on the web: host-meta (XEP-0156), and whether the ways that it names are there (RFC 7395, XEP-0206).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName, ORIGIN};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use waxwing_core::namespaces;
use waxwing_core::xml::{Element, Limits, escape_attribute};

use super::doors::{Caller, configuration, shown};
use super::facts::{Answer, Closed, HostMeta, LinkFacts, Relation, WebFacts};
use super::judging::why_closed;
use super::names::Names;
use crate::federation::identity::Untrusted;
use crate::tls::Transport;
use crate::web::stream::HttpStream;

/// How long one request may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(8);
/// The longest answer that is read, in bytes.
const MOST_REPLY: usize = 64 * 1024;
/// Links that are tried.
const MOST_LINKS: usize = 6;
/// Addresses of one host that are tried.
const MOST_ADDRESSES: usize = 4;

/// The bounds of an element from the web.
const LIMITS: Limits = Limits { depth: 16, elements: 1_000, bytes: MOST_REPLY, ..Limits::AFTER_AUTHENTICATION };

/// Looks at the web of a domain.
pub(super) struct Browser<'a> {
    pub(super) names: &'a Names,
    pub(super) caller: &'a Caller<'a>,
    /// Where the web of the domain is, if the command line says so.
    pub(super) placed: Option<SocketAddr>,
}

/// What host-meta names, and what for.
type Links = Vec<(Relation, String)>;

struct Reply {
    status: StatusCode,
    head: http::HeaderMap,
    body: Bytes,
}

impl Browser<'_> {
    /// Everything about it.
    pub(super) async fn look(&self) -> WebFacts {
        let file = |name| format!("https://{}/.well-known/{name}", self.caller.domain);
        let (xml_url, json_url) = (file("host-meta"), file("host-meta.json"));
        let (xml, json) = tokio::join!(self.host_meta(&xml_url, read_xml), self.host_meta(&json_url, read_json));
        let mut links: Links =
            [&xml, &json].into_iter().flatten().flat_map(|meta| meta.links.iter().cloned()).collect();
        links.sort();
        links.dedup();
        links.truncate(MOST_LINKS);
        let tried = super::together(links.into_iter().map(async |(relation, url)| {
            let tried = match relation {
                Relation::WebSocket => self.try_websocket(&url).await,
                Relation::Bosh => self.try_bosh(&url).await,
            };
            LinkFacts { relation, url, tried }
        }));
        WebFacts { links: tried.await, xml: Some(xml), json: Some(json) }
    }

    async fn host_meta(&self, url: &str, read: fn(&[u8]) -> Option<Links>) -> Result<HostMeta, String> {
        let request = Request::get(url).header(ORIGIN, "https://client.invalid");
        let reply = self.request(request, "").await?;
        let open_to_pages =
            reply.head.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|to| to == "*" || to == "https://client.invalid");
        let links = match reply.status {
            StatusCode::OK => read(&reply.body).ok_or("what comes cannot be read as host-meta")?,
            _ => Vec::new(),
        };
        Ok(HostMeta { status: reply.status.as_u16(), open_to_pages, links })
    }

    async fn try_websocket(&self, url: &str) -> Result<(), String> {
        // What TLS and HTTP call it.
        let request = Request::get(url.replacen("ws", "http", 1))
            .header(header::UPGRADE, "websocket")
            .header(header::CONNECTION, "Upgrade")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .header(header::SEC_WEBSOCKET_PROTOCOL, "xmpp");
        let reply = self.request(request, "").await?;
        let speaks_xmpp = reply.head.get(header::SEC_WEBSOCKET_PROTOCOL).is_some_and(|protocol| protocol == "xmpp");
        match reply.status {
            StatusCode::SWITCHING_PROTOCOLS if speaks_xmpp => Ok(()),
            StatusCode::SWITCHING_PROTOCOLS => Err("it is a WebSocket, but does not speak xmpp (RFC 7395)".to_owned()),
            status => Err(format!("it does not become a WebSocket: {status}")),
        }
    }

    async fn try_bosh(&self, url: &str) -> Result<(), String> {
        let mut to = Vec::new();
        escape_attribute(&mut to, self.caller.to);
        let body = format!(
            "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='1573741820' to='{}' \
             xml:lang='en' wait='5' hold='1' ver='1.6' xmpp:version='1.0'/>",
            String::from_utf8_lossy(&to)
        );
        let post = || Request::post(url).header(header::CONTENT_TYPE, "text/xml; charset=utf-8");
        let reply = self.request(post(), &body).await?;
        if reply.status != StatusCode::OK {
            return Err(format!("it does not open a session: {}", reply.status));
        }
        let opened = start_tag(&reply.body);
        let session = opened.as_ref().and_then(|body| body.attribute("sid"));
        let Some(session) = session else {
            let why = opened.as_ref().and_then(|body| body.attribute("condition"));
            let why = why.map(|condition| format!("it refuses the session: {condition}"));
            return Err(why.unwrap_or_else(|| "what comes is no answer of BOSH".to_owned()));
        };
        let mut id = Vec::new();
        escape_attribute(&mut id, &session);
        let goodbye = format!(
            "<body xmlns='http://jabber.org/protocol/httpbind' rid='1573741821' sid='{}' type='terminate'/>",
            String::from_utf8_lossy(&id)
        );
        // It was there; how it says goodbye is nobody's trouble.
        let _ = self.request(post(), &goodbye).await;
        Ok(())
    }

    /// One request on a connection of its own.
    async fn request(&self, request: http::request::Builder, body: &str) -> Result<Reply, String> {
        let deadline = self.caller.deadline.min(Instant::now() + PATIENCE);
        let answered = timeout_at(deadline, self.exchange(request, body)).await;
        answered.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn exchange(&self, request: http::request::Builder, body: &str) -> Result<Reply, String> {
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let mut request = request.map_err(|error| format!("it is no URL: {error}"))?;
        let url = request.uri().clone();
        let host = url.host().ok_or("it names no host")?.to_owned();
        let authority = url.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        if url.scheme_str() != Some("https") {
            return Err("it is not encrypted, so browsers refuse it".to_owned());
        }
        let transport = self.connect(&host, url.port_u16().unwrap_or(443)).await?;
        let stream = HttpStream::new(Arc::new(transport), BytesMut::new(), PATIENCE);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
        let exchange = async {
            *request.uri_mut() = url
                .path_and_query()
                .map_or_else(|| Uri::from_static("/"), |path| path.as_str().parse().unwrap_or_default());
            if let Ok(value) = authority.parse() {
                request.headers_mut().insert(header::HOST, value);
            }
            let is_upgrade = request.headers().contains_key(header::UPGRADE);
            if request.method() == Method::GET && !is_upgrade {
                request.headers_mut().insert(HeaderName::from_static("accept"), http::HeaderValue::from_static("*/*"));
            }
            let response: Response<_> = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = match head.status {
                StatusCode::SWITCHING_PROTOCOLS => Bytes::new(),
                _ => Limited::new(body, MOST_REPLY).collect().await.map_err(|error| error.to_string())?.to_bytes(),
            };
            Ok(Reply { status: head.status, head: head.headers, body })
        };
        // The connection is driven here, so that nothing of it is left behind.
        let mut connection = std::pin::pin!(connection.with_upgrades());
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            reply = &mut exchange => reply,
            ended = &mut connection => match ended {
                Err(error) => Err(error.to_string()),
                Ok(()) => exchange.await,
            },
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Transport, String> {
        let addresses: Vec<SocketAddr> = match (self.placed, host.trim_matches(['[', ']']).parse::<IpAddr>()) {
            (Some(placed), _) if host == self.caller.domain => vec![placed],
            (_, Ok(address)) => vec![SocketAddr::new(address, port)],
            _ => match self.names.addresses(host).await.0 {
                Answer::Found(found) => {
                    found.into_iter().take(MOST_ADDRESSES).map(|ip| SocketAddr::new(ip, port)).collect()
                }
                Answer::Nothing => return Err(format!("{host} has no address")),
                Answer::Failed(why) => return Err(format!("the name servers do not answer for {host}: {why}")),
            },
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| error.to_string())?;
        let mut last = Closed::Refused;
        let mut socket = None;
        for address in &addresses {
            match self.caller.knock(*address).await {
                Ok((opened, _)) => {
                    socket = Some(opened);
                    break;
                }
                Err(closed) => last = closed,
            }
        }
        let Some(socket) = socket else {
            let tried = addresses.first().map(ToString::to_string).unwrap_or_default();
            return Err(format!("{tried} {}", why_closed(last)));
        };
        let transport = Transport::plain(socket).map_err(|error| error.to_string())?;
        let configuration = configuration(Some("http/1.1")).map_err(|_| "TLS cannot be set up")?;
        let transport = transport.start_tls_as_client(configuration, name).await.map_err(|error| error.to_string())?;
        match shown(&transport, self.caller.authorities, host).trusted {
            Ok(()) => Ok(transport),
            Err(Untrusted::Chain(why)) => Err(format!("the certificate of {host} is not trusted: {why}")),
            Err(untrusted) => Err(untrusted.to_string()),
        }
    }
}

/// The element in a file: what may stand in front of it, and comments, are none of XMPP.
fn element(bytes: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim();
    let mut rest = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or(text, |(_, rest)| rest);
    let mut kept = String::with_capacity(rest.len());
    while let Some((before, comment)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = comment.split_once("-->")?.1;
    }
    kept.push_str(rest);
    Element::parse(Bytes::from(kept.trim().to_owned()), namespaces::CLIENT, &LIMITS).ok()
}

/// The first tag of an answer of BOSH, without what it holds: elements of the stream, which stand in no other place.
fn start_tag(bytes: &[u8]) -> Option<Element> {
    let end = bytes.iter().position(|byte| *byte == b'>')?;
    let tag = bytes[..end].strip_suffix(b"/").unwrap_or(&bytes[..end]);
    element(&[tag, b"/>"].concat()).filter(|body| body.name() == "body")
}

fn relation(text: &str) -> Option<Relation> {
    match text {
        "urn:xmpp:alt-connections:websocket" => Some(Relation::WebSocket),
        "urn:xmpp:alt-connections:xbosh" => Some(Relation::Bosh),
        _ => None,
    }
}

/// The links of host-meta in XML; none when it is not that.
fn read_xml(bytes: &[u8]) -> Option<Links> {
    let file = element(bytes).filter(|file| file.name() == "XRD")?;
    let links = file.children().filter(|child| child.name() == "Link").filter_map(|link| {
        let relation = relation(&link.attribute("rel")?)?;
        Some((relation, link.attribute("href")?.into_owned()))
    });
    Some(links.collect())
}

/// The same in JSON.
fn read_json(bytes: &[u8]) -> Option<Links> {
    let file: Value = serde_json::from_slice(bytes).ok()?;
    let links = file.get("links")?.as_array()?.iter().filter_map(|link| {
        let relation = relation(link.get("rel")?.as_str()?)?;
        Some((relation, link.get("href")?.as_str()?.to_owned()))
    });
    Some(links.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_bosh_is_read() {
        let body = "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams' \
            xmlns:xmpp='urn:xmpp:xbosh' sid='UEED' xmpp:version='1.0'><stream:features/></body>";
        assert_eq!(start_tag(body.as_bytes()).unwrap().attribute("sid").unwrap(), "UEED");
    }

    #[test]
    fn host_meta_is_read_in_both_forms() {
        let links = vec![
            (Relation::WebSocket, "wss://capulet.lit/ws".to_owned()),
            (Relation::Bosh, "https://capulet.lit/b?x&y".to_owned()),
        ];
        let xml = "<?xml version='1.0' encoding='utf-8'?>\n<!-- a > b --><XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\
            <Link rel='urn:xmpp:alt-connections:websocket' href='wss://capulet.lit/ws'/><Link rel='other' href='x'/>\
            <Link rel='urn:xmpp:alt-connections:xbosh' href='https://capulet.lit/b?x&amp;y'/></XRD>\n";
        assert_eq!(read_xml(xml.as_bytes()), Some(links.clone()));
        let json = r#"{"links": [{"rel": "urn:xmpp:alt-connections:websocket", "href": "wss://capulet.lit/ws"},
            {"rel": "urn:xmpp:alt-connections:xbosh", "href": "https://capulet.lit/b?x&y"}, {"rel": "other"}]}"#;
        assert_eq!(read_json(json.as_bytes()), Some(links));
        for bad in ["", "<html><body>Hello</body></html>", "{}", "\u{0}"] {
            assert_eq!((read_xml(bad.as_bytes()), read_json(bad.as_bytes())), (None, None), "{bad}");
        }
    }
}
