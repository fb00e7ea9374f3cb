//! A TCP relay in front of PostgreSQL that can be cut, silenced and restored.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxwing_storage::Settings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Everything passes.
    Open,
    /// Connections stay, nothing passes: a stopped server, or a network that swallows packets.
    Silent,
    /// Connections are closed, new ones refused: a server that was stopped.
    Cut,
}

pub struct Proxy {
    line: watch::Sender<Line>,
    here: SocketAddr,
    there: SocketAddr,
    accepted: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A relay to the server these settings name, and settings that lead through it.
    pub async fn to(settings: &Settings) -> (Proxy, Settings) {
        let (scheme, rest) = settings.url.split_once("://").unwrap();
        let (address, database) = rest.split_once('/').unwrap();
        let (user, host) = address.rsplit_once('@').unwrap();
        let there = tokio::net::lookup_host(host).await.expect("host:port").next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let line = watch::channel(Line::Open).0;
        let accepting = tokio::spawn(accept(listener, there, line.subscribe(), accepted.clone()));
        let settings = Settings { url: format!("{scheme}://{user}@{here}/{database}"), ..settings.clone() };
        (Proxy { line, here, there, accepted, accepting }, settings)
    }

    pub fn cut(&self) {
        self.accepting.abort();
        self.line.send_replace(Line::Cut);
    }

    pub fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// After silence or a cut, everything passes again. What was swallowed in silence arrives late.
    pub async fn restore(&mut self) {
        self.line.send_replace(Line::Open);
        if self.accepting.is_finished() || {
            tokio::task::yield_now().await;
            self.accepting.is_finished()
        } {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.here).unwrap();
            let listener = socket.listen(64).unwrap();
            let accepted = self.accepted.clone();
            self.accepting = tokio::spawn(accept(listener, self.there, self.line.subscribe(), accepted));
        }
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, there: SocketAddr, line: watch::Receiver<Line>, accepted: Arc<AtomicUsize>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        let line = line.clone();
        tokio::spawn(async move {
            let server = TcpStream::connect(there).await.unwrap();
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            let mut cut = line.clone();
            tokio::select! {
                _ = pump(client_in, server_out, line.clone()) => {}
                _ = pump(server_in, client_out, line) => {}
                _ = cut.wait_for(|line| *line == Line::Cut) => {}
            }
        });
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut line: watch::Receiver<Line>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if line.wait_for(|line| *line == Line::Open).await.is_err() {
            return;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
