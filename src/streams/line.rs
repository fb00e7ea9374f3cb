//! A line: what a client's stream is negotiated on, whatever carries it. TCP, WebSocket and BOSH are lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use waxwing_core::address::BareJid;
use waxwing_core::limits::Limits;
use waxwing_core::namespaces;
use waxwing_core::session::Session;
use waxwing_core::stream_error::StreamError;
use waxwing_core::wire::{Framing, Wire};
use waxwing_core::xml::{Element, Header, Token};

use crate::connection::{Connection, Over};
use crate::gate::Admission;
use crate::header;
use crate::module::Settings;
use crate::reading::{Reader, TcpSource};
use crate::sasl::ChannelBindings;
use crate::tcp_wire::TcpWire;
use crate::tls::{TlsConfiguration, TlsError};

/// What a client says next.
pub(crate) enum Said {
    /// It opens its stream, or opens it anew.
    Opening(Opening),
    /// A first-level element.
    Element(Element),
    /// It closes its stream.
    Close,
}

/// How a client opens its stream.
pub(crate) struct Opening {
    /// Which host it means.
    pub(crate) to: Option<String>,
    /// Who it says it is.
    pub(crate) from: Option<String>,
    /// Its language.
    pub(crate) lang: Option<Box<str>>,
    /// What is wrong with namespaces or version.
    pub(crate) problem: Option<StreamError>,
}

impl From<&Header> for Opening {
    fn from(header: &Header) -> Opening {
        let attribute = |name: &str| header.attribute(name).map(std::borrow::Cow::into_owned);
        Opening {
            to: attribute("to"),
            from: attribute("from"),
            lang: header.lang().map(|lang| lang.into_owned().into()),
            problem: header::check(header, namespaces::CLIENT).err(),
        }
    }
}

/// A connection on which a client's stream is negotiated.
pub(crate) trait Line: Sized + Send + 'static {
    /// The kind of transport, for logs and figures.
    fn transport(&self) -> &'static str;

    /// How elements are written.
    fn framing(&self) -> Framing;

    /// The client's address.
    fn peer(&self) -> IpAddr;

    /// Whether it is encrypted, here or by a listed proxy.
    fn is_encrypted(&self) -> bool;

    /// Whether a client may log in although it is not encrypted.
    fn may_be_plain(&self, plaintext_on_loopback: bool) -> bool;

    /// Whether TLS can be started here (RFC 6120 §5).
    fn may_start_tls(&self) -> bool;

    /// The name the client has asked for in TLS, where it must be the one it asks for in the stream.
    fn server_name(&self) -> Option<String>;

    /// What a login can be bound to.
    fn bindings(&self) -> ChannelBindings;

    /// Where clients of this line are sent now.
    fn redirect(&self, settings: Settings) -> Option<String>;

    /// Bytes wait that were not looked at.
    fn has_more_input(&self) -> bool;

    /// What the client says next.
    fn next(&mut self) -> impl Future<Output = Result<Said, Over>> + Send;

    /// Writes one element and waits until it has left.
    fn send(&mut self, element: &[u8]) -> impl Future<Output = Result<(), Over>> + Send;

    /// Opens our side, for a client whose address is `to`, with these features; none when an error comes next.
    fn open(
        &mut self,
        from: &str,
        to: Option<&BareJid>,
        features: &[u8],
    ) -> impl Future<Output = Result<(), Over>> + Send;

    /// The client has logged in: other bounds hold, and the stream begins anew.
    fn authenticated(&mut self, limits: &Limits);

    /// The same line under TLS.
    fn start_tls(
        self,
        configuration: &TlsConfiguration,
        name: Option<&str>,
    ) -> impl Future<Output = Result<Self, TlsError>> + Send;

    /// Ends the stream, in the name of `from` if nothing was said yet.
    fn end(self, over: Over, from: &str) -> impl Future<Output = ()> + Send;

    /// Our side of it, for a session's writer.
    fn wire(&self, patience: Duration) -> Box<dyn Wire>;

    /// Reads for the session until it is over.
    fn read(
        self,
        session: Arc<Session>,
        wire_number: u32,
        admission: Admission,
    ) -> impl Future<Output = ()> + Send + 'static;
}

impl Line for Connection {
    fn transport(&self) -> &'static str {
        if self.transport.is_tls() { "tls" } else { "tcp" }
    }

    fn framing(&self) -> Framing {
        Framing::Stream
    }

    fn peer(&self) -> IpAddr {
        self.transport.peer_addr().ip()
    }

    fn is_encrypted(&self) -> bool {
        self.transport.is_tls()
    }

    fn may_be_plain(&self, plaintext_on_loopback: bool) -> bool {
        plaintext_on_loopback && self.peer().is_loopback()
    }

    fn may_start_tls(&self) -> bool {
        !self.transport.is_tls()
    }

    fn server_name(&self) -> Option<String> {
        self.transport.info().and_then(|info| info.server_name)
    }

    fn bindings(&self) -> ChannelBindings {
        let bindings = self.transport.info();
        let bindings =
            bindings.map(|info| ChannelBindings { exporter: info.exporter, server_end_point: info.server_end_point });
        bindings.unwrap_or_default()
    }

    fn redirect(&self, settings: Settings) -> Option<String> {
        // In the clear anybody in between could have written it.
        settings.redirect.filter(|_| self.transport.is_tls())
    }

    fn has_more_input(&self) -> bool {
        Connection::has_more_input(self)
    }

    async fn next(&mut self) -> Result<Said, Over> {
        Ok(match Connection::next(self).await? {
            Token::Header(header) => Said::Opening(Opening::from(&header)),
            Token::Element(element) => Said::Element(element),
            Token::Close => Said::Close,
        })
    }

    async fn send(&mut self, element: &[u8]) -> Result<(), Over> {
        Connection::send(self, element).await
    }

    async fn open(&mut self, from: &str, to: Option<&BareJid>, features: &[u8]) -> Result<(), Over> {
        if features.is_empty() { self.greet(from, to).await } else { self.send_header(from, to, features).await }
    }

    fn authenticated(&mut self, limits: &Limits) {
        Connection::authenticated(self, limits);
    }

    async fn start_tls(self, configuration: &TlsConfiguration, name: Option<&str>) -> Result<Self, TlsError> {
        Connection::start_tls(self, configuration, name).await
    }

    async fn end(self, over: Over, from: &str) {
        Connection::end(self, over, from).await;
    }

    fn wire(&self, patience: Duration) -> Box<dyn Wire> {
        Box::new(TcpWire::new(self.transport.clone(), patience))
    }

    fn read(
        self,
        session: Arc<Session>,
        wire_number: u32,
        admission: Admission,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (transport, scanner, input) = self.into_parts();
        Reader { session, wire_number, source: TcpSource { transport, scanner, input }, admission }.run()
    }
}
