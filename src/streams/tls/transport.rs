//! A TCP connection, plain or under TLS, shared by the task that reads and the task that writes.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::TlsInfo;
use super::channel::{Channel, Received};
use super::session::Session;

/// A TCP connection, plain or under TLS. Put it in an [`std::sync::Arc`]: one task reads, one task writes.
///
/// Idle it holds no buffer, only the TLS keys. The lock inside is held for the time of one system call and the
/// cryptography of what it carries, never while waiting.
pub struct Transport {
    pub(super) socket: TcpStream,
    pub(super) channel: Mutex<Channel>,
    peer: SocketAddr,
}

impl Transport {
    /// The most bytes of plaintext one read can bring, a little above what is asked of the socket.
    pub const MAX_READ: usize = 64 * 1024;

    /// Over a connected socket, without TLS. Small writes go out at once (`TCP_NODELAY`).
    pub fn plain(socket: TcpStream) -> io::Result<Transport> {
        socket.set_nodelay(true)?;
        let peer = socket.peer_addr()?;
        Ok(Transport { socket, channel: Mutex::new(Channel::new(None)), peer })
    }

    /// The same connection, which a proxy has made for this client.
    pub(crate) fn for_client(self, peer: SocketAddr) -> Transport {
        Transport { peer, ..self }
    }

    /// The same connection, from here on under TLS.
    pub(super) fn under(self, session: Session) -> Transport {
        Transport { channel: Mutex::new(Channel::new(Some(Box::new(session)))), ..self }
    }

    /// Reads what has come: appends it to `into` and gives its length, 0 at the end (`close_notify` or FIN).
    ///
    /// Nothing is held while it waits, and an empty [`BytesMut`] is given memory only when something is there; so
    /// give it an empty one when idle. Can be dropped at any time without loss. A TLS error sends an alert and ends
    /// the stream; what was decrypted before it is in `into`. For one task at a time.
    pub async fn read(&self, into: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, into)).await
    }

    /// As [`Transport::read`].
    pub fn poll_read(&self, context: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let known = self.channel.lock().receive_known(into);
        if let Some(received) = known {
            return Poll::Ready(Ok(received.length()));
        }
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            let received = self.channel.lock().receive(&self.socket, into);
            match received {
                // Not a whole record yet.
                Ok(Received::Bytes(0)) => {}
                Ok(received) => return Poll::Ready(Ok(received.length())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends: encrypts, and gives the socket what it takes at once. The rest waits for [`Transport::flush`], in
    /// memory: look at [`Transport::pending`] before, for nothing here bounds it. After an error or a close nothing
    /// is sent; the flush tells.
    pub fn write(&self, plaintext: &[u8]) {
        self.channel.lock().write(&self.socket, plaintext);
    }

    /// As [`Transport::write`], for many parts: small ones share a TLS record and a system call.
    pub fn write_parts<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) {
        self.channel.lock().write_parts(&self.socket, parts);
    }

    /// Bytes the socket has not taken yet.
    pub fn pending(&self) -> usize {
        self.channel.lock().pending()
    }

    /// Waits until the socket has taken all that is pending. For one task at a time.
    pub async fn flush(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// As [`Transport::flush`].
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.channel.lock().send_pending(&self.socket);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
            ready!(self.socket.poll_write_ready(context))?;
        }
    }

    /// Ends our half: `close_notify` under TLS, everything pending, then FIN. Reading goes on until the peer closes
    /// too. A peer that does not read keeps it waiting: bound it with a timeout, then drop the transport.
    pub async fn close(&self) {
        self.begin_close();
        if self.flush().await.is_ok() {
            self.end_close();
        }
    }

    /// The first half of [`Transport::close`]: nothing more is taken. A flush comes between the halves.
    pub(crate) fn begin_close(&self) {
        self.channel.lock().close(&self.socket);
    }

    /// The second half of [`Transport::close`].
    pub(crate) fn end_close(&self) {
        // The peer may have gone in the meantime; then there is nothing to end.
        let _ended = SockRef::from(&self.socket).shutdown(Shutdown::Write);
    }

    /// What TLS agreed on; `None` without TLS.
    pub fn info(&self) -> Option<TlsInfo> {
        self.channel.lock().session().and_then(Session::info)
    }

    /// The certificates the peer showed, its own first; none on client streams.
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.channel.lock().session().map(Session::peer_certificates).unwrap_or_default()
    }

    /// Whether it is under TLS.
    pub fn is_tls(&self) -> bool {
        self.channel.lock().session().is_some()
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl Received {
    fn length(&self) -> usize {
        match self {
            Received::Bytes(length) => *length,
            Received::End => 0,
        }
    }
}
