//! A scripted peer: says what the test wants to a server's door, or plays a server that breaks the rules.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use waxwing_testkit::TlsChoice;

use crate::authority::{Authority, Signed};

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// One end of a stream between servers.
pub struct Peer {
    stream: Box<dyn Bytes>,
    /// What has come and was not waited for yet.
    heard: String,
    /// All that has come.
    pub all: String,
}

const PATIENCE: Duration = Duration::from_secs(15);

/// A header of a server; an empty `from` or `to` is left out.
pub fn header(from: &str, to: &str) -> String {
    let attribute =
        |name: &str, value: &str| if value.is_empty() { String::new() } else { format!(" {name}='{value}'") };
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' version='1.0'{}{}>",
        attribute("from", from),
        attribute("to", to)
    )
}

/// The same as an answer with an id.
pub fn answering_header(from: &str, to: &str, id: &str) -> String {
    header(from, to).replace("<stream:stream ", &format!("<stream:stream id='{id}' "))
}

pub const START_TLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// The empty identity: the one of the header.
pub const EXTERNAL: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

impl Peer {
    fn over(stream: impl Bytes + 'static) -> Peer {
        Peer { stream: Box::new(stream), heard: String::new(), all: String::new() }
    }

    /// Connects to a server, in the clear.
    pub async fn connect(address: SocketAddr) -> Peer {
        Peer::over(TcpStream::connect(address).await.expect("the server accepts"))
    }

    /// Connects and shakes hands with direct TLS, showing a certificate or none.
    pub async fn connect_tls(address: SocketAddr, shown: Option<&Signed>) -> Peer {
        let socket = TcpStream::connect(address).await.expect("the server accepts");
        let mut config =
            TlsChoice::new().unchecked().alpn(&["xmpp-server"]).configuration(".".as_ref(), true).expect("TLS");
        if let Some(signed) = shown {
            let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
            let builder = builder.with_safe_default_protocol_versions().expect("versions");
            let (chain, key) = signed.parts();
            let mut with = builder
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_client_auth_cert(chain, key)
                .expect("a certificate");
            std::mem::swap(&mut with.client_auth_cert_resolver, &mut config.client_auth_cert_resolver);
        }
        let name = ServerName::try_from("capulet.lit").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS is agreed on");
        Peer::over(stream)
    }

    /// Takes the next connection, with direct TLS.
    pub async fn accept_tls(listener: &TcpListener, shown: &Signed) -> Peer {
        let (socket, _) = listener.accept().await.expect("somebody connects");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let (chain, key) = shown.parts();
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
        config.alpn_protocols = vec![b"xmpp-server".to_vec()];
        let stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await.expect("TLS is agreed on");
        Peer::over(stream)
    }

    pub async fn send(&mut self, text: impl AsRef<str>) {
        self.stream.write_all(text.as_ref().as_bytes()).await.expect("it is sent");
        self.stream.flush().await.expect("it is sent");
    }

    /// Waits for these words, and gives everything up to and with them.
    pub async fn until(&mut self, words: &str) -> String {
        loop {
            if let Some(start) = self.heard.find(words) {
                let rest = self.heard.split_off(start + words.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            assert!(self.read().await, "{words:?} did not come: {}", self.all);
        }
    }

    /// Waits for the end of the connection, and gives everything before it.
    pub async fn rest(&mut self) -> String {
        while self.read().await {}
        std::mem::take(&mut self.heard)
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await;
        let length = read.unwrap_or_else(|_| panic!("nothing more comes: {}", self.all)).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..length]);
        self.heard.push_str(&text);
        self.all.push_str(&text);
        length > 0
    }

    /// Opens a stream as a server; gives what it is offered.
    pub async fn greet(&mut self, from: &str, to: &str) -> String {
        self.send(header(from, to)).await;
        self.until("</stream:features>").await
    }

    /// Opens a stream and proves by certificate that it is `from`.
    pub async fn log_in(&mut self, from: &str, to: &str) {
        let offered = self.greet(from, to).await;
        assert!(offered.contains("EXTERNAL"), "{offered}");
        self.send(EXTERNAL).await;
        self.until("<success").await;
        self.until("/>").await;
        self.greet(from, to).await;
    }
}

impl Signed {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(|one| one.expect("PEM")).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM"))
    }
}

/// A peer that is `from` for the server at this address.
pub async fn logged_in(address: SocketAddr, authority: &Authority, from: &str) -> Peer {
    let mut peer = Peer::connect_tls(address, Some(&authority.sign(from))).await;
    peer.log_in(from, "capulet.lit").await;
    peer
}

/// The condition of the stream error at the end of this text.
pub fn stream_error(text: &str) -> String {
    let start =
        text.find("<stream:error><").unwrap_or_else(|| panic!("no stream error: {text}")) + "<stream:error><".len();
    text[start..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '-').collect()
}
