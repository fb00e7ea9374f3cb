//! Transports against rustls' own clients: what they must carry, and what must be refused.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::certificates::Certificates;

mod agreement;
mod data;
mod pieces;
mod refusals;
mod renegotiation;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A server's certificates for two hosts, made on the spot.
struct House {
    folder: TempDir,
    certificates: Arc<Certificates>,
}

impl House {
    fn new() -> House {
        let folder = TempDir::new().unwrap();
        let hosts = ["capulet.lit".to_owned(), "montague.lit".to_owned()];
        let certificates = Arc::new(Certificates::open(folder.path(), &hosts, true).unwrap());
        House { folder, certificates }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn configuration(&self, options: TlsOptions) -> TlsConfiguration {
        TlsConfiguration::new(self.certificates.clone(), options).unwrap()
    }

    /// The certificates of this house as they are now, to trust in.
    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates.current().certificates() {
            roots.add(certificate.key().cert[0].clone()).unwrap();
        }
        roots
    }

    /// A client that trusts this house.
    fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }
}

fn name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

/// No test may hang.
async fn within<Output>(work: impl Future<Output = Output>) -> Output {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("done in time")
}

/// Both ends of a connection over loopback, the client's first.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let client = client.unwrap();
    client.set_nodelay(true).unwrap();
    (client, server.unwrap().0)
}

/// Both ends after a handshake. Gives the client's error as it is.
async fn shaken(
    configuration: &TlsConfiguration,
    client: &Arc<ClientConfig>,
    server_name: &str,
) -> (io::Result<TlsStream<TcpStream>>, Result<Transport, TlsError>) {
    let (near, far) = connected().await;
    let connector = TlsConnector::from(client.clone());
    let transport = Transport::plain(far).unwrap();
    within(async { tokio::join!(connector.connect(name(server_name), near), transport.start_tls(configuration, None)) })
        .await
}

/// Both ends after a handshake that must go well.
async fn secured(
    configuration: &TlsConfiguration,
    client: &Arc<ClientConfig>,
    server_name: &str,
) -> (TlsStream<TcpStream>, Transport) {
    let (near, far) = shaken(configuration, client, server_name).await;
    (near.unwrap(), far.unwrap())
}

/// Both ends under one TLS version, with everything else as usual.
async fn usual(house: &House, version: &'static SupportedProtocolVersion) -> (TlsStream<TcpStream>, Transport) {
    secured(&house.configuration(TlsOptions::default()), &Arc::new(house.client(version)), "capulet.lit").await
}

/// Reads exactly that many bytes.
async fn read_exactly(transport: &Transport, length: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    while bytes.len() < length {
        assert_ne!(transport.read(&mut bytes).await.unwrap(), 0, "it ended after {} bytes", bytes.len());
    }
    assert_eq!(bytes.len(), length);
    bytes
}

/// The client hears what the server says, and the other way round.
async fn converse(near: &mut TlsStream<TcpStream>, far: &Transport) {
    within(async {
        near.write_all(b"<message/>").await.unwrap();
        assert_eq!(&read_exactly(far, 10).await[..], b"<message/>");
        far.write(b"<presence/>");
        far.flush().await.unwrap();
        let mut answer = [0; 11];
        near.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"<presence/>");
    })
    .await;
}

/// A client whose records we hold in our hands.
struct RawClient {
    socket: TcpStream,
    tls: ClientConnection,
    /// Everything the server sent, as it came.
    received: Vec<u8>,
    /// The same in plaintext.
    text: Vec<u8>,
}

impl RawClient {
    /// Both ends after a handshake.
    async fn secured(configuration: &TlsConfiguration, client: ClientConfig) -> (RawClient, Transport) {
        let (socket, far) = connected().await;
        let tls = ClientConnection::new(Arc::new(client), name("capulet.lit")).unwrap();
        let mut near = RawClient { socket, tls, received: Vec::new(), text: Vec::new() };
        let transport = Transport::plain(far).unwrap();
        let shake = async {
            while near.tls.is_handshaking() {
                near.send().await;
                if near.tls.is_handshaking() {
                    near.receive().await.unwrap();
                }
            }
            near.send().await;
        };
        let (far, ()) = within(async { tokio::join!(transport.start_tls(configuration, None), shake) }).await;
        (near, far.unwrap())
    }

    /// What the client has to send, as records.
    fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).unwrap();
        }
        records
    }

    async fn send(&mut self) {
        let records = self.records();
        self.socket.write_all(&records).await.unwrap();
    }

    /// Takes one read's worth.
    async fn receive(&mut self) -> Result<(), rustls::Error> {
        let mut bytes = vec![0; 64 * 1024];
        let length = within(self.socket.read(&mut bytes)).await.unwrap();
        assert_ne!(length, 0, "the server closed the connection");
        self.received.extend_from_slice(&bytes[..length]);
        let mut bytes = &bytes[..length];
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).unwrap();
            self.tls.process_new_packets()?;
            let _would_block = io::Read::read_to_end(&mut self.tls.reader(), &mut self.text);
        }
        Ok(())
    }
}
