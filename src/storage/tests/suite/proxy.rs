//! A TCP relay in front of PostgreSQL that can be cut, silenced and restored.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
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
    /// What the server does not get to answer any more.
    last_words: Arc<Mutex<Option<Vec<u8>>>>,
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
        let last_words = Arc::default();
        let listening =
            Listening { there, line: line.clone(), accepted: accepted.clone(), last_words: Arc::clone(&last_words) };
        let accepting = tokio::spawn(listening.accept(listener));
        let settings = Settings { url: format!("{scheme}://{user}@{here}/{database}"), ..settings.clone() };
        (Proxy { line, here, there, accepted, accepting, last_words }, settings)
    }

    pub fn cut(&self) {
        self.accepting.abort();
        self.line.send_replace(Line::Cut);
    }

    /// As soon as a client has sent these bytes, the server gets them and does what they say, and its answer is lost:
    /// connections are silent, until [`Proxy::cut`] or [`Proxy::restore`].
    pub fn lose_the_answer_to(&self, words: &[u8]) {
        *self.last_words.lock() = Some(words.to_vec());
    }

    /// Whether those bytes have come.
    pub fn has_lost_an_answer(&self) -> bool {
        self.last_words.lock().is_none()
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
            let listening = Listening {
                there: self.there,
                line: self.line.clone(),
                accepted: self.accepted.clone(),
                last_words: self.last_words.clone(),
            };
            self.accepting = tokio::spawn(listening.accept(listener));
        }
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

struct Listening {
    there: SocketAddr,
    line: watch::Sender<Line>,
    accepted: Arc<AtomicUsize>,
    last_words: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Listening {
    async fn accept(self, listener: TcpListener) {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            self.accepted.fetch_add(1, Ordering::Relaxed);
            let (there, line, last_words) = (self.there, self.line.clone(), self.last_words.clone());
            tokio::spawn(async move {
                let server = TcpStream::connect(there).await.unwrap();
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                let mut cut = line.subscribe();
                tokio::select! {
                    _ = pump(client_in, server_out, line.clone(), Some(last_words)) => {}
                    _ = pump(server_in, client_out, line, None) => {}
                    _ = cut.wait_for(|line| *line == Line::Cut) => {}
                }
            });
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: watch::Sender<Line>,
    last_words: Option<Arc<Mutex<Option<Vec<u8>>>>>,
) {
    let mut state = line.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if state.wait_for(|line| *line == Line::Open).await.is_err() {
            return;
        }
        if let Some(last_words) = &last_words {
            let mut last_words = last_words.lock();
            let said = |words: &Vec<u8>| buffer[..count].windows(words.len()).any(|window| window == &words[..]);
            if last_words.as_ref().is_some_and(said) {
                *last_words = None;
                line.send_replace(Line::Silent);
            }
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
