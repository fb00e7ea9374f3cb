//! How much memory an idle session costs: several thousand clients of one server, each with an account of its own, logged in
//! over TLS, roster fetched, presence sent, then silent.
//!
//! `cargo bench --bench sessions` (`SESSIONS=4000`, `SETTLE=15` seconds of silence before the second look, `TRANSPORT=tcp` or
//! `websocket`, both over TLS). Linux only: the server's private memory is read from `/proc`.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::SinkExt;
use futures_util::stream::{self, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use waxwing_testkit::scram::{Scram, base64, from_base64};
use waxwing_testkit::websocket::{Message, upgrade};
use waxwing_testkit::{TlsChoice, stream_header};

const PASSWORD: &str = "a-long-enough-passphrase";

/// Clients that log in at the same time.
const AT_ONCE: usize = 16;

/// Sessions that are there before the first look, so that what a server costs as such does not count.
const WARM_UP: usize = 200;

/// How clients come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    WebSocket,
}

impl Transport {
    fn from_environment() -> anyhow::Result<Transport> {
        match std::env::var("TRANSPORT").as_deref() {
            Err(_) | Ok("tcp") => Ok(Transport::Tcp),
            Ok("websocket") => Ok(Transport::WebSocket),
            Ok(other) => bail!("TRANSPORT is {other:?}, which is neither tcp nor websocket"),
        }
    }

    /// The application protocol of TLS.
    fn protocol(self) -> &'static str {
        match self {
            Transport::Tcp => "xmpp-client",
            Transport::WebSocket => "http/1.1",
        }
    }

    /// What a session may cost in bytes.
    fn target(self) -> usize {
        match self {
            Transport::Tcp => 10 * 1024,
            Transport::WebSocket => 12 * 1024,
        }
    }
}

/// One client: a stream of bytes, or of frames with one element each.
enum Client {
    Tcp(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

impl Client {
    async fn say(&mut self, xml: &str) -> anyhow::Result<()> {
        match self {
            Client::Tcp(stream) => {
                stream.write_all(xml.as_bytes()).await?;
                // What TLS still holds goes out here: with many clients in one task a write may end before it has.
                Ok(stream.flush().await?)
            }
            Client::WebSocket(socket) => Ok(socket.send(Message::text(xml)).await?),
        }
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        let header = match self {
            Client::Tcp(_) => stream_header("to='localhost' version='1.0'"),
            Client::WebSocket(_) => {
                "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>".to_owned()
            }
        };
        self.say(&header).await
    }

    /// What comes next, appended.
    async fn hear(&mut self, heard: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Client::Tcp(stream) => ensure!(stream.read_buf(heard).await? > 0, "the server closed the stream"),
            Client::WebSocket(socket) => match socket.next().await.context("the server closed the WebSocket")?? {
                Message::Text(text) => heard.extend_from_slice(text.as_bytes()),
                Message::Close(_) => bail!("the server closed the WebSocket"),
                _ => {}
            },
        }
        Ok(())
    }

    /// The connection alone; frames are not looked at any more, so that nothing of this process grows with them.
    fn into_connection(self) -> TlsStream<TcpStream> {
        match self {
            Client::Tcp(stream) => *stream,
            Client::WebSocket(socket) => socket.into_inner(),
        }
    }
}

/// The server under measure; killed when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn start(folder: &Path, port: u16, transport: Transport) -> anyhow::Result<Server> {
    let lifted = [
        "connections",
        "connections_burst",
        "connections_per_address",
        "unauthenticated_connections_per_address",
        "unauthenticated_timeout",
    ];
    let limits: String = lifted.iter().map(|limit| format!("{limit} = 'unlimited'\n")).collect();
    let path = |name: &str| folder.join(name).display().to_string();
    let listener = if transport == Transport::Tcp { "c2s_tls" } else { "https" };
    let text = format!(
        "[storage]\nurl = 'sqlite:{}'\n[tls]\ncertificates = '{}'\n[listen]\nc2s = []\n{listener} = ['127.0.0.1:{port}']\ns2s = []\nhttp = []\nhealth = []\n\
         [http]\nwebsocket_ping = 'unlimited'\n[limits]\n{limits}[log]\nfilter = 'warn'\n[modules.register]\nopen = true\nregistrations = 'unlimited'\n",
        path("waxwing.db"),
        path("certs"),
    );
    let config = folder.join("waxwing.toml");
    std::fs::write(&config, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
    command.arg("serve").arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
    let server = Server(command.spawn()?);
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(server);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the server does not listen")
}

/// Reads until `text` has come; gives everything that came.
async fn read_until(client: &mut Client, text: &str) -> anyhow::Result<String> {
    let mut heard = Vec::new();
    loop {
        tokio::time::timeout(Duration::from_secs(60), client.hear(&mut heard)).await??;
        let all = String::from_utf8_lossy(&heard);
        if all.contains(text) {
            return Ok(all.into_owned());
        }
        ensure!(!all.contains("type='error'") && !all.contains("<failure"), "refused: {all}");
    }
}

/// The text of the first element of this name.
fn text_of<'a>(heard: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let after = heard.split_once(&format!("<{name} ")).and_then(|(_, rest)| rest.split_once('>'));
    after.and_then(|(_, rest)| rest.split_once('<')).map(|(text, _)| text).context("no such element came")
}

/// Makes an account, logs in, binds, fetches the roster and becomes available.
async fn session(world: &World, number: usize) -> anyhow::Result<TlsStream<TcpStream>> {
    let name = format!("user{number}");
    let socket = TcpStream::connect(("127.0.0.1", world.port)).await?;
    socket.set_nodelay(true)?;
    let stream = TlsConnector::from(world.tls.clone()).connect(ServerName::try_from("localhost")?, socket).await?;
    let mut client = match world.transport {
        Transport::Tcp => Client::Tcp(Box::new(stream)),
        Transport::WebSocket => {
            let socket = upgrade(stream, "localhost", &[("sec-websocket-protocol", "xmpp")]).await?;
            Client::WebSocket(Box::new(socket))
        }
    };
    client.open().await?;
    read_until(&mut client, "</stream:features>").await?;
    let register = format!(
        "<iq xmlns='jabber:client' type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
         <password>{PASSWORD}</password></query></iq>"
    );
    client.say(&register).await?;
    read_until(&mut client, "type='result'").await?;

    let scram = Scram::new("SCRAM-SHA-256", &name, PASSWORD);
    let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
    let first = base64(scram.first());
    client.say(&format!("<auth xmlns='{sasl}' mechanism='SCRAM-SHA-256'>{first}</auth>")).await?;
    let challenge = read_until(&mut client, "</challenge>").await?;
    let last = scram.last(&from_base64(text_of(&challenge, "challenge")?));
    client.say(&format!("<response xmlns='{sasl}'>{}</response>", base64(last.message))).await?;
    read_until(&mut client, "</success>").await?;

    client.open().await?;
    read_until(&mut client, "</stream:features>").await?;
    let bind = "<iq xmlns='jabber:client' type='set' id='b'>\
         <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>phone</resource></bind></iq>";
    client.say(bind).await?;
    read_until(&mut client, "</iq>").await?;
    for stanza in [
        "<iq xmlns='jabber:client' type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>",
        "<presence xmlns='jabber:client'/>",
        "<iq xmlns='jabber:client' type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
    ] {
        client.say(stanza).await?;
    }
    read_until(&mut client, "id='p'").await?;
    Ok(client.into_connection())
}

/// Private memory of a process in bytes: what its allocator holds, stacks, and nothing that is shared.
fn private_memory(process: u32) -> anyhow::Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon in /proc")?;
    let kilobytes: usize = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kilobytes * 1024)
}

/// Where clients come, and how.
struct World {
    tls: Arc<rustls::ClientConfig>,
    port: u16,
    transport: Transport,
}

async fn open(world: &World, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<TlsStream<TcpStream>>> {
    let opened: Vec<anyhow::Result<_>> =
        stream::iter(numbers).map(|number| session(world, number)).buffer_unordered(AT_ONCE).collect().await;
    opened.into_iter().collect()
}

async fn measure() -> anyhow::Result<()> {
    let sessions = from_environment("SESSIONS", 4_000);
    let settle = Duration::from_secs(from_environment("SETTLE", 15) as u64);
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let transport = Transport::from_environment()?;
    let server = start(folder.path(), port, transport).await?;
    let choice = TlsChoice::new().alpn(&[transport.protocol()]);
    let tls = Arc::new(choice.configuration(&folder.path().join("certs"), true)?);
    let world = World { tls, port, transport };

    let warm = open(&world, 0..WARM_UP).await?;
    tokio::time::sleep(settle).await;
    let before = private_memory(server.0.id())?;
    let begin = Instant::now();
    let clients = open(&world, WARM_UP..WARM_UP + sessions).await?;
    let took = begin.elapsed();
    let at_once = private_memory(server.0.id())?;
    tokio::time::sleep(settle).await;
    let after = private_memory(server.0.id())?;

    let each = |later: usize| later.saturating_sub(before) / sessions;
    println!(
        "sessions opened              {:>10}  ({:.1} s, accounts made included)",
        clients.len(),
        took.as_secs_f64()
    );
    println!("server before ({:>4} sessions) {:>8} KiB", warm.len(), before / 1024);
    println!("per session, right after     {:>10} B", each(at_once));
    println!("per session, settled         {:>10} B  (target: {})", each(after), transport.target());
    Ok(())
}

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(measure())
}
