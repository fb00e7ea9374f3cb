//! From plain to TLS on the same socket: STARTTLS (RFC 6120 §5) and direct TLS (XEP-0368) alike.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::server::UnbufferedServerConnection;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::channel::READ_SIZE;
use super::configuration::Choice;
use super::exporter::{self, SecretCatcher};
use super::hello::{Hello, HelloReader};
use super::session::{Session, Stage};
use super::{TlsConfiguration, TlsError, Transport, scratch};

/// Bytes thrown away after a failed handshake, so that closing does not reset the connection before the peer has
/// read the alert.
const LINGER: usize = 64 * 1024;

impl Transport {
    /// Shakes hands as the server, on a connection that is still plain. The certificate is that for SNI, else for
    /// `fallback_name` (the stream's `to`).
    ///
    /// For STARTTLS the caller must have read nothing beyond `<starttls/>`, and treats bytes that came with it as an
    /// attack (security row S9): whatever the socket has now is taken for TLS. What is pending, as `<proceed/>`, is
    /// sent first. When it fails an alert has been sent and the connection is closed, without a word of XML
    /// (RFC 6120 §5.4.3.2). Has no end of its own: bound it with a timeout.
    pub async fn start_tls(
        self,
        configuration: &TlsConfiguration,
        fallback_name: Option<&str>,
    ) -> Result<Transport, TlsError> {
        // In a box: the handshake is large, and the future of the whole stream would stay as large.
        Box::pin(accept(self, configuration, fallback_name)).await
    }

    /// Shakes hands as the client, for streams to other servers. As [`Transport::start_tls`] otherwise.
    pub async fn start_tls_as_client(
        self,
        configuration: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Transport, TlsError> {
        let session = Session::client(UnbufferedClientConnection::new(configuration, name)?);
        Box::pin(async {
            self.flush().await?;
            let transport = self.under(session);
            shake(&transport, |_, _| {}).await?;
            Ok(transport)
        })
        .await
    }
}

async fn accept(
    transport: Transport,
    configuration: &TlsConfiguration,
    fallback_name: Option<&str>,
) -> Result<Transport, TlsError> {
    transport.flush().await?;
    let Hello { server_name, protocols, bytes } = read_hello(&transport.socket).await?;
    let configuration = configuration.for_protocols(&protocols);
    let Choice { certificate, configuration } = match configuration.choose(server_name.as_deref(), fallback_name) {
        Ok(choice) => choice,
        Err(error) => {
            /// Record: alert, TLS 1.2, two bytes; fatal, unrecognized_name.
            const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
            refuse(&transport.socket, &ALERT);
            return Err(error);
        }
    };
    // This copy lives as long as the handshake, and so does the secret it catches.
    let catcher = Arc::new(SecretCatcher::default());
    let mut configuration = (*configuration).clone();
    configuration.key_log = catcher.clone();
    let connection = UnbufferedServerConnection::new(Arc::new(configuration))?;
    let transport = transport.under(Session::server(connection, bytes));

    let mut server_random = None;
    shake(&transport, |_, output| {
        if server_random.is_none() {
            server_random = exporter::server_random(output);
        }
    })
    .await?;

    let mut channel = transport.channel.lock();
    if let Some(session) = channel.session_mut() {
        let suite = session.state().negotiated_cipher_suite();
        let exporter = suite
            .zip(catcher.take())
            .and_then(|(suite, caught)| exporter::channel_binding(suite, &caught, server_random));
        let facts = session.facts_mut();
        facts.exporter = exporter;
        facts.certificate = Some(certificate);
        facts.server_name = server_name.map(String::into_boxed_str);
    }
    drop(channel);
    Ok(transport)
}

async fn read_hello(socket: &TcpStream) -> Result<Hello, TlsError> {
    let mut reader = HelloReader::new();
    loop {
        socket.readable().await?;
        let step = scratch::with(|scratch| {
            let room = scratch.incoming(READ_SIZE);
            let length = socket.try_read(room)?;
            Ok((length, reader.take(&room[..length])))
        });
        match step {
            Ok((0, _)) => return Err(TlsError::Closed),
            Ok((_, Ok(Some(hello)))) => return Ok(hello),
            Ok((_, Ok(None))) => {}
            Ok((_, Err(bad))) => {
                refuse(socket, &bad.alert);
                return Err(bad.error);
            }
            Err(error) if is_would_block(&error) => {}
            Err(error) => return Err(TlsError::Io(error)),
        }
    }
}

/// Goes back and forth until data may flow.
async fn shake(transport: &Transport, mut watch_output: impl FnMut(&Session, &[u8])) -> Result<(), TlsError> {
    let mut socket_is_ready = false;
    loop {
        let step = transport.channel.lock().shake(&transport.socket, socket_is_ready, &mut watch_output);
        match step {
            Ok(Ok(Stage::Handshaking)) => transport.flush().await?,
            Ok(Ok(Stage::Open | Stage::PeerClosed)) => {
                transport.flush().await?;
                return Ok(());
            }
            Ok(Ok(Stage::Failed)) => return Err(TlsError::Closed),
            Ok(Err(error)) => {
                refuse(&transport.socket, &[]);
                return Err(TlsError::Protocol(error));
            }
            Err(error) if is_would_block(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(TlsError::Closed),
            Err(error) => return Err(TlsError::Io(error)),
        }
        transport.socket.readable().await?;
        socket_is_ready = true;
    }
}

/// Sends an alert, if there is one, and ends the connection so that the peer can read it. Does not wait: who has
/// sent us so much that its socket is full does not care.
fn refuse(socket: &TcpStream, alert: &[u8]) {
    if !alert.is_empty() {
        let _sent = socket.try_write(alert);
    }
    let _ended = SockRef::from(socket).shutdown(Shutdown::Write);
    scratch::with(|scratch| {
        let mut left = LINGER;
        while let Ok(length @ 1..) = socket.try_read(scratch.incoming(READ_SIZE)) {
            left = left.saturating_sub(length);
            if left == 0 {
                return;
            }
        }
    });
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
