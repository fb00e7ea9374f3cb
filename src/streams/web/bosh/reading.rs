//! Reads the `<body/>` of a request piece by piece, so that a stranger's is bounded before it is looked at (XEP-0124 §6).

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use waxwing_core::http::{Body, BodyError, refuse_body};
use waxwing_core::http::{Response, say};
use waxwing_core::xml::{self, Header, Scanner, Token};

use super::exchange::{Heard, LARGEST_RID, NAMESPACE, Request};
use crate::header;
use crate::line::{Opening, Said};

/// The namespace of XMPP's own attributes (XEP-0206).
const XBOSH: &str = "urn:xmpp:xbosh";

/// The longest start tag: room for every attribute there is.
const MOST_TAG: usize = 8 * 1024;

/// A `<body/>` whose start tag has been read.
pub(crate) struct Start {
    header: Header,
    scanner: Scanner,
    input: BytesMut,
    body: Body,
    /// How much of it has come, in bytes.
    length: usize,
}

/// Reads until the start tag is whole.
///
/// # Errors
/// The answer to what is none.
pub(crate) async fn start(mut body: Body, limits: xml::Limits) -> Result<Start, Response> {
    let mut scanner = Scanner::new(xml::Limits { bytes: MOST_TAG, ..limits });
    let (mut input, mut length) = (BytesMut::new(), 0);
    loop {
        let is_whole = !more(&mut body, &mut input, &mut length).await.map_err(|error| refuse_body(&error))?;
        close_empty(&mut input);
        let step = scanner.next(&input).map_err(|_| bad_request())?;
        input.advance(step.consumed);
        match step.token {
            Some(Token::Header(header)) if header.name() == "body" && header.namespace() == NAMESPACE => {
                return Ok(Start { header, scanner, input, body, length });
            }
            Some(_) => return Err(bad_request()),
            None if is_whole => return Err(bad_request()),
            None => {}
        }
    }
}

/// Reads some more of a body; false when there is no more.
async fn more(body: &mut Body, input: &mut BytesMut, length: &mut usize) -> Result<bool, BodyError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data()
            && !data.is_empty()
        {
            *length += data.len();
            input.extend_from_slice(&data);
            return Ok(true);
        }
    }
    Ok(false)
}

/// An element without content is written with a closing tag, so that it is read like all others.
fn close_empty(input: &mut BytesMut) {
    let end = input.trim_ascii_end().len();
    let declaration = usize::from(input.starts_with(b"<?xml"));
    // No value holds a `<`: where there is one tag alone, it is the root's.
    let tags = input[..end].iter().filter(|byte| **byte == b'<').count().saturating_sub(declaration);
    if tags == 1 && input[..end].ends_with(b"/>") {
        input.truncate(end - 2);
        input.extend_from_slice(b"></body>");
    }
}

/// The answer to what is no BOSH at all.
fn bad_request() -> Response {
    say(http::StatusCode::BAD_REQUEST, "this is not a <body/> of XEP-0124\n")
}

impl Start {
    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        self.header.attribute(name).map(std::borrow::Cow::into_owned)
    }

    /// The value of an attribute that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let text = self.attribute(name)?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }

    /// The id of the request, if it is one.
    pub(crate) fn rid(&self) -> Option<u64> {
        self.number("rid").filter(|rid| (1..=LARGEST_RID).contains(rid))
    }

    /// How the stream is opened by this request.
    pub(crate) fn opening(&self) -> Opening {
        // XEP-0206 §3: `xmpp:version` should be there; older clients leave it out and mean 1.0.
        let version = self.header.attribute_in(XBOSH, "version");
        let problem = version.and_then(|version| header::check_version(Some(&version)).err());
        Opening {
            to: self.attribute("to"),
            from: self.attribute("from"),
            lang: self.header.lang().map(|lang| lang.into_owned().into()),
            problem,
        }
    }

    fn is_restart(&self) -> bool {
        self.header.attribute_in(XBOSH, "restart").is_some_and(|restart| restart == "true" || restart == "1")
    }

    /// Reads the rest within these bounds: so long a body, and so large each element in it.
    ///
    /// # Errors
    /// The answer when it cannot be read. What is wrong with an element in it is heard by the stream.
    pub(crate) async fn finish(mut self, rid: u64, most: usize, limits: xml::Limits) -> Result<Request, Response> {
        self.scanner.set_limits(limits);
        let mut content: Vec<Heard> = Vec::new();
        let mut is_whole = false;
        loop {
            match self.scanner.next(&self.input) {
                Err(error) => {
                    content.push(Err(header::error_for(&error)));
                    break;
                }
                Ok(step) => {
                    self.input.advance(step.consumed);
                    match step.token {
                        Some(Token::Element(element)) => {
                            content.push(Ok(Said::Element(element)));
                            continue;
                        }
                        Some(Token::Close) => break,
                        Some(Token::Header(_)) => return Err(bad_request()),
                        None if is_whole => return Err(bad_request()),
                        None => {}
                    }
                }
            }
            let come = more(&mut self.body, &mut self.input, &mut self.length).await;
            is_whole = !come.map_err(|error| refuse_body(&error))?;
            if self.length > most {
                return Err(refuse_body(&BodyError::TooLarge(most)));
            }
        }
        if self.is_restart() {
            // XEP-0206 §5: what comes with a restart is ignored.
            content = vec![Ok(Said::Opening(self.opening()))];
        }
        Ok(Request {
            rid,
            key: self.attribute("key"),
            new_key: self.attribute("newkey"),
            ack: self.number("ack"),
            pause: self.number("pause").map(Duration::from_secs),
            terminates: self.attribute("type").as_deref() == Some("terminate"),
            content,
            bytes: self.length,
        })
    }
}
