//! A relay between clients and the server that can freeze: connections stay open and nothing passes, as when a telephone
//! has left its network.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A relay. Dropped, it ends with all its connections.
pub struct Relay {
    address: SocketAddr,
    frozen: Arc<watch::Sender<bool>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A relay to this address.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to(there: SocketAddr) -> anyhow::Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (frozen, _) = watch::channel(false);
        let frozen = Arc::new(frozen);
        let for_connections = frozen.clone();
        let accepting = tokio::spawn(async move {
            let mut pumps = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(there).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                pumps.spawn(pump(from_client, to_server, for_connections.subscribe()));
                pumps.spawn(pump(from_server, to_client, for_connections.subscribe()));
            }
        });
        Ok(Relay { address, frozen, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, not even the end of a connection.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            _ = frozen.wait_for(|frozen| *frozen) => None,
            read = from.read(&mut buffer) => Some(read),
        };
        match read {
            // Both halves are kept, so neither side learns anything.
            None => return std::future::pending().await,
            Some(Ok(0) | Err(_)) => return,
            Some(Ok(length)) => {
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
