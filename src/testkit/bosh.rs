//! A client over BOSH (XEP-0124, XEP-0206): `RawClient` speaks to it as if it were TCP, or a test makes its own requests.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use crate::bridge::{Bridge, Ends, Words, header};
use crate::http::{HttpAnswer, request};

/// The namespace of `<body/>`.
pub const HTTPBIND: &str = "http://jabber.org/protocol/httpbind";

/// Sends one `<body/>` with these attributes and this content; gives the answer.
pub async fn post(address: SocketAddr, host: &str, attributes: &str, content: &str) -> HttpAnswer {
    let end = if content.is_empty() { "/>".to_owned() } else { format!(">{content}</body>") };
    let body = format!("<body xmlns='{HTTPBIND}' {attributes}{end}");
    let headers = [("host", host), ("content-type", "text/xml; charset=utf-8")];
    request(address, "POST /http-bind HTTP/1.1", &headers, &body).await
}

/// The value of an attribute of a `<body/>`.
pub fn attribute<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let tag = body.split('>').next()?;
    let rest = tag.split_once(&format!(" {name}='"))?.1;
    rest.split_once('\'').map(|(value, _)| value)
}

/// What a `<body/>` holds.
pub fn content(body: &str) -> &str {
    let inside = body.split_once('>').map(|(_, rest)| rest).unwrap_or_default();
    inside.strip_suffix("</body>").unwrap_or_default()
}

/// The client's end of a bridge over a BOSH session of its own.
pub(crate) fn bridge(address: SocketAddr, host: &str) -> Bridge {
    static FIRST: AtomicU64 = AtomicU64::new(1_573_741_820);
    let (bridge, ends) = Bridge::new();
    let rid = FIRST.fetch_add(1_000_000, Ordering::Relaxed);
    let session = Session { address, host: host.to_owned(), rid, sid: None, attributes: String::new() };
    tokio::spawn(carry(session, ends));
    bridge
}

struct Session {
    address: SocketAddr,
    host: String,
    rid: u64,
    sid: Option<String>,
    /// Those of the newest stream.
    attributes: String,
}

type Asked = Pin<Box<dyn Future<Output = HttpAnswer> + Send>>;

impl Session {
    /// The next request, with these attributes beside its ids.
    fn ask(&mut self, attributes: &str, content: &str) -> Asked {
        let sid = self.sid.as_ref().map(|sid| format!(" sid='{sid}'")).unwrap_or_default();
        let attributes = format!("rid='{}'{sid} {attributes}", self.rid);
        self.rid += 1;
        let (address, host, content) = (self.address, self.host.clone(), content.to_owned());
        Box::pin(async move { post(address, &host, &attributes, &content).await })
    }

    fn request(&mut self, words: Words) -> Asked {
        let version = "xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0'";
        match words {
            Words::Open(attributes) => {
                // The version of XMPP stands in a namespace of its own.
                self.attributes = attributes.replace("version='1.0'", "");
                let attributes = self.attributes.clone();
                match self.sid {
                    None => self.ask(&format!("{attributes} {version} ver='1.11' wait='20' hold='1'"), ""),
                    Some(_) => self.ask(&format!("{attributes} {version} xmpp:restart='true'"), ""),
                }
            }
            Words::Close => self.ask("type='terminate'", ""),
            Words::Other(text) => self.ask("", &text),
        }
    }
}

async fn carry(mut session: Session, mut ends: Ends) {
    let mut asked: FuturesOrdered<Asked> = FuturesOrdered::new();
    let mut may_speak = true;
    loop {
        tokio::select! {
            words = ends.said.recv(), if may_speak && asked.len() < 2 && (session.sid.is_some() || asked.is_empty()) => {
                match words {
                    Some(words) => {
                        let opens = matches!(Words::of(&words), Words::Open(_));
                        let request = session.request(Words::of(&words));
                        asked.push_back(Box::pin(async move {
                            let mut answer = request.await;
                            if opens {
                                answer.headers.push(("opens".to_owned(), String::new()));
                            }
                            answer
                        }));
                    }
                    None => may_speak = false,
                }
            }
            Some(answer) = asked.next() => {
                let body = answer.text();
                if let Some(sid) = attribute(&body, "sid") {
                    session.sid = Some(sid.to_owned());
                }
                if answer.header("opens").is_some() {
                    let opened = header(&format!("from='{}' version='1.0'", session.host));
                    let _ = ends.heard.send(Ok(opened.into_bytes())).await;
                }
                let said = content(&body);
                if !said.is_empty() {
                    let _ = ends.heard.send(Ok(said.as_bytes().to_vec())).await;
                }
                if answer.status != 200 {
                    let _ = ends.heard.send(Err(format!("{}: {body}", answer.status))).await;
                    return;
                }
                if attribute(&body, "type") == Some("terminate") {
                    let _ = ends.heard.send(Ok(b"</stream:stream>".to_vec())).await;
                    return;
                }
                if asked.is_empty() && session.sid.is_some() && ends.said.is_empty() {
                    let request = session.ask("", "");
                    asked.push_back(request);
                }
            }
            () = ends.heard.closed() => return,
        }
    }
}
