//! A connection as hyper wants it: reads and writes over our own transport, which holds no buffer while it is idle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use crate::tls::Transport;

/// How much may wait for the socket before hyper has to wait, too.
const MOST_PENDING: usize = 64 * 1024;

/// A connection under hyper's HTTP.
pub(crate) struct HttpStream {
    transport: Arc<Transport>,
    /// What was read and hyper had no room for.
    left: BytesMut,
    /// How long the peer may take nothing of what is written to it.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl HttpStream {
    /// Over a transport, of which `left` was read already.
    pub(crate) fn new(transport: Arc<Transport>, left: BytesMut, patience: Duration) -> HttpStream {
        HttpStream { transport, left, patience, stalled: None }
    }

    /// The transport, and what was read and not looked at.
    pub(crate) fn into_parts(self) -> (Arc<Transport>, BytesMut) {
        (self.transport, self.left)
    }

    /// Waits for the socket as long as the patience lasts.
    fn poll_drained(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.transport.poll_flush(context) {
            Poll::Ready(done) => {
                self.stalled = None;
                Poll::Ready(done)
            }
            Poll::Pending => {
                let patience = self.patience;
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(stalled.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl Read for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left.is_empty() && ready!(this.transport.poll_read(context, &mut this.left))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let length = this.left.len().min(buffer.remaining());
        buffer.put_slice(&this.left[..length]);
        this.left.advance(length);
        if this.left.is_empty() {
            this.left = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for HttpStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.transport.pending() >= MOST_PENDING {
            ready!(self.poll_drained(context))?;
        }
        let bytes = &bytes[..bytes.len().min(MOST_PENDING)];
        self.transport.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drained(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.begin_close();
        ready!(self.poll_drained(context))?;
        self.transport.end_close();
        Poll::Ready(Ok(()))
    }
}
