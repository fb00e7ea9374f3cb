//! A client's connection: bytes out, elements in.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use waxwing_testkit::scram::{Scram, base64, from_base64};
use waxwing_testkit::stream_header;
use waxwing_xml::{Element, Limits, STREAMS, Scanner, Token};

/// How long a server may take to read what it is sent. It reads slowly while its database stalls.
const SENDING: Duration = Duration::from_secs(120);

/// How long a server may take to answer one step of a login.
const LOGIN: Duration = Duration::from_secs(30);

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The server has ended the stream with this condition.
    StreamError(String),
    /// The server has closed the stream.
    Closed,
    /// The connection has broken.
    Broken(String),
}

impl std::fmt::Display for Gone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gone::StreamError(condition) => write!(formatter, "stream-error:{condition}"),
            Gone::Closed => formatter.write_str("closed"),
            Gone::Broken(why) => write!(formatter, "broken:{}", why.replace(' ', "-")),
        }
    }
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Gone {
        Gone::Broken(error.to_string())
    }
}

/// A connection with a stream on it.
pub struct Wire {
    socket: TcpStream,
    scanner: Scanner,
    input: BytesMut,
    /// Elements that were read already, and are to be read again.
    put_back: VecDeque<Element>,
}

impl Wire {
    /// Connects. With `narrow` the system takes hardly anything that the client does not read.
    pub async fn connect(address: SocketAddr, narrow: bool) -> Result<Wire, Gone> {
        let socket = TcpSocket::new_v4()?;
        if narrow {
            socket.set_recv_buffer_size(4096)?;
        }
        let connected = timeout(LOGIN, socket.connect(address)).await;
        let socket = connected.map_err(|_| Gone::Broken("no connection in time".to_owned()))??;
        socket.set_nodelay(true)?;
        let (scanner, input) = (Scanner::new(Limits::AFTER_AUTHENTICATION), BytesMut::new());
        Ok(Wire { socket, scanner, input, put_back: VecDeque::new() })
    }

    /// Puts an element back behind those that were put back before it.
    pub fn put_back(&mut self, element: Element) {
        self.put_back.push_back(element);
    }

    /// The next element from the connection, past what was put back.
    pub async fn read_past(&mut self) -> Result<Element, Gone> {
        self.read().await
    }

    /// Sends XML.
    pub async fn send(&mut self, xml: &str) -> Result<(), Gone> {
        match timeout(SENDING, self.socket.write_all(xml.as_bytes())).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Gone::Broken("the server does not read".to_owned())),
        }
    }

    /// The next element. May be given up at any time and asked again.
    pub async fn next(&mut self) -> Result<Element, Gone> {
        match self.put_back.pop_front() {
            Some(element) => Ok(element),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Element, Gone> {
        loop {
            let step = self.scanner.next(&self.input).map_err(|error| Gone::Broken(format!("bad XML: {error}")))?;
            self.input.advance(step.consumed);
            match step.token {
                Some(Token::Element(element)) if element.namespace() == STREAMS && element.name() == "error" => {
                    let condition = element.children().next().map(|child| child.name().to_owned());
                    return Err(Gone::StreamError(condition.unwrap_or_default()));
                }
                Some(Token::Element(element)) => return Ok(element),
                Some(Token::Header(_)) => {}
                Some(Token::Close) => return Err(Gone::Closed),
                None => {
                    if self.socket.read_buf(&mut self.input).await? == 0 {
                        return Err(Gone::Broken("end of file".to_owned()));
                    }
                }
            }
        }
    }

    /// The next element of a dialogue, which must come soon.
    pub async fn answer(&mut self) -> Result<Element, Gone> {
        timeout(LOGIN, self.next()).await.map_err(|_| Gone::Broken("no answer in time".to_owned()))?
    }

    /// Begins a stream; the answer are its features.
    pub async fn open(&mut self, host: &str) -> Result<Element, Gone> {
        self.scanner.restart();
        self.send(&stream_header(&format!("to='{host}' version='1.0'"))).await?;
        self.answer().await
    }

    /// From the first header to the features behind the login.
    pub async fn login(&mut self, host: &str, name: &str) -> Result<Element, Gone> {
        self.open(host).await?;
        let scram = Scram::new("SCRAM-SHA-256", name, &password_of(name));
        let first = base64(scram.first());
        let mechanism = &scram.mechanism;
        self.send(&format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>")).await?;
        let challenge = self.answer().await?;
        if challenge.name() != "challenge" {
            return Err(refused(&challenge));
        }
        let last = scram.last(&from_base64(&challenge.text()));
        self.send(&format!("<response xmlns='{SASL}'>{}</response>", base64(&last.message))).await?;
        let outcome = self.answer().await?;
        if outcome.name() != "success" {
            return Err(refused(&outcome));
        }
        self.open(host).await
    }

    /// Makes an account by in-band registration (XEP-0077).
    pub async fn register(&mut self, host: &str, name: &str) -> Result<(), Gone> {
        self.open(host).await?;
        self.send(&format!(
            "<iq type='set' id='register'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>{}</password></query></iq>",
            password_of(name)
        ))
        .await?;
        let answer = self.answer().await?;
        match answer.attribute("type").as_deref() {
            Some("result") => Ok(()),
            _ => Err(refused(&answer)),
        }
    }
}

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// Passwords are no secret here.
fn password_of(name: &str) -> String {
    format!("opensesame-{name}")
}

fn refused(element: &Element) -> Gone {
    let text = String::from_utf8_lossy(element.as_bytes());
    Gone::Broken(format!("refused: {text}"))
}
