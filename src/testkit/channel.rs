//! One connection of a client: in the clear or under TLS, and every byte of it in the transcript.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::bridge::Bridge;

/// What carries the bytes.
pub(crate) enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A WebSocket, or BOSH.
    Bridge(Bridge),
    /// The connection is gone.
    Gone,
}

/// How a connection has ended, from the client's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server has closed it in good order: FIN, and under TLS `close_notify` before it.
    Proper,
    /// It broke off, and how.
    Broken(String),
}

impl Carrier {
    /// Opens a connection.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Carrier> {
        let stream = TcpStream::connect(address).await?;
        // Tests count round trips, and some send byte by byte.
        stream.set_nodelay(true)?;
        Ok(Carrier::Plain(stream))
    }

    /// Takes the connection out.
    pub(crate) fn take(&mut self) -> Carrier {
        std::mem::replace(self, Carrier::Gone)
    }

    /// Reads some bytes; an ending in place of bytes when there are no more.
    pub(crate) async fn receive(&mut self) -> Result<Vec<u8>, Ending> {
        let mut buffer = vec![0; 16 * 1024];
        match self.read(&mut buffer).await {
            Ok(0) => Err(Ending::Proper),
            Ok(length) => {
                buffer.truncate(length);
                Ok(buffer)
            }
            Err(error) => Err(Ending::Broken(error.to_string())),
        }
    }

    /// Writes everything. While the server does not take it, what the server sends is read into `received`, so that two
    /// full buffers never wait for each other.
    pub(crate) async fn deliver(
        &mut self,
        bytes: &[u8],
        patience: Duration,
        received: &mut Vec<u8>,
    ) -> Result<(), String> {
        let (mut reading, mut writing) = tokio::io::split(self);
        let work = async {
            let written = async {
                writing.write_all(bytes).await?;
                writing.flush().await
            };
            tokio::pin!(written);
            let mut buffer = vec![0; 16 * 1024];
            let mut may_read = true;
            loop {
                tokio::select! {
                    biased;
                    done = &mut written => return done.map_err(|error| error.to_string()),
                    read = reading.read(&mut buffer), if may_read => match read {
                        Ok(length @ 1..) => received.extend_from_slice(&buffer[..length]),
                        // The ending is found again by the next read.
                        Ok(0) | Err(_) => may_read = false,
                    },
                }
            }
        };
        match tokio::time::timeout(patience, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("the server has not taken {} bytes within {patience:?}", bytes.len())),
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Carrier::Bridge(bridge) => Pin::new(bridge).poll_read(context, buffer),
            Carrier::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Carrier::Bridge(bridge) => Pin::new(bridge).poll_write(context, bytes),
            Carrier::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Bridge(bridge) => Pin::new(bridge).poll_flush(context),
            Carrier::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Bridge(bridge) => Pin::new(bridge).poll_shutdown(context),
            Carrier::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
