//! The wire of a TCP stream, as a session's writer sees it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use waxwing_core::stream_error::StreamError;
use waxwing_core::wire::{Framing, Wire};

use crate::connection::{close, closing};
use crate::tls::Transport;

/// The outgoing half of a TCP connection.
pub(crate) struct TcpWire {
    transport: Arc<Transport>,
    close_timeout: Duration,
}

impl TcpWire {
    pub(crate) fn new(transport: Arc<Transport>, close_timeout: Duration) -> TcpWire {
        TcpWire { transport, close_timeout }
    }
}

impl Wire for TcpWire {
    fn framing(&self) -> Framing {
        Framing::Stream
    }

    fn write(&mut self, elements: &[u8]) {
        self.transport.write(elements);
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(context)
    }

    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        async move {
            self.transport.write(&closing(last_words.as_ref()));
            close(&self.transport, self.close_timeout).await;
        }
        .boxed()
    }
}
