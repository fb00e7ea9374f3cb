//! What an idle connection costs in user memory: the transport alone, and with the task that waits to read from it.
//!
//! Heap bytes are counted by jemalloc, through which the C heap of aws-lc goes too; the resident set is the kernel's
//! figure. The clients live in a process of their own. Every connection has carried a stanza each way before.
//! `cargo bench -p waxwing-streams --bench idle_tls` (add `--profile dev` for a quick look), connections as argument.
#![allow(missing_docs, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tikv_jemalloc_ctl::{epoch, stats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use waxwing_streams::certificates::Certificates;
use waxwing_streams::tls::{TlsConfiguration, TlsOptions, Transport, provider};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STANZA: &[u8] = b"<message to='romeo@montague.lit' type='chat'><body>Wherefore art thou?</body></message>";
const VARIANTS: [&str; 3] = ["plain", "tls1.2", "tls1.3"];

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["clients", variant, address, count, certificate] => {
            runtime.block_on(clients(variant, address.parse().unwrap(), count.parse().unwrap(), certificate));
        }
        ["server", variant, count] => {
            let [alone, tasked] = runtime.block_on(measure(variant, count.parse().unwrap()));
            println!("{variant:<8} {:>15} {:>15} {:>15} {:>15}", alone.0, alone.1, tasked.0, tasked.1);
        }
        rest => {
            let count = rest.first().unwrap_or(&"2000");
            println!("{count} idle connections, bytes per connection");
            println!(
                "{:<8} {:>15} {:>15} {:>15} {:>15}",
                "", "transport heap", "resident", "with task heap", "resident"
            );
            // Each in a process of its own: none profits from memory another has left.
            for variant in VARIANTS {
                let server = Command::new(std::env::current_exe().unwrap()).args(["server", variant, count]).status();
                assert!(server.unwrap().success());
            }
        }
    }
}

/// Heap and resident bytes per connection: the transports alone, then with a waiting reader each.
async fn measure(variant: &str, count: usize) -> [(i64, i64); 2] {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Arc::new(Certificates::open(folder.path(), &["capulet.lit".to_owned()], true).unwrap());
    let configuration = TlsConfiguration::new(certificates, TlsOptions::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let certificate = folder.path().join("capulet.lit.crt").to_string_lossy().into_owned();

    // Warm what is made once: buffers of threads, the allocator's caches.
    let (warm, mut child) = connect(&listener, &configuration, variant, address, 100, &certificate).await;
    let before = settled().await;
    let (transports, mut clients) = connect(&listener, &configuration, variant, address, count, &certificate).await;
    let alone = settled().await;
    let tasks: Vec<_> = transports.iter().cloned().map(|transport| tokio::spawn(wait(transport))).collect();
    let tasked = settled().await;
    for process in [&mut child, &mut clients] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    drop((warm, transports));
    let each = |after: (i64, i64)| ((after.0 - before.0) / count as i64, (after.1 - before.1) / count as i64);
    [each(alone), each(tasked)]
}

/// What a session's reader does while nothing happens.
async fn wait(transport: Arc<Transport>) {
    let mut bytes = BytesMut::new();
    while transport.read(&mut bytes).await.is_ok_and(|length| length > 0) {
        bytes = BytesMut::new();
    }
}

async fn connect(
    listener: &TcpListener,
    configuration: &TlsConfiguration,
    variant: &str,
    address: SocketAddr,
    count: usize,
    certificate: &str,
) -> (Vec<Arc<Transport>>, Child) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["clients", variant, &address.to_string(), &count.to_string(), certificate])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut transports = Vec::with_capacity(count);
    for _ in 0..count {
        let (socket, _) = listener.accept().await.unwrap();
        let mut transport = Transport::plain(socket).unwrap();
        if variant != "plain" {
            transport = transport.start_tls(configuration, None).await.unwrap();
        }
        let mut bytes = BytesMut::new();
        while bytes.len() < STANZA.len() {
            assert_ne!(transport.read(&mut bytes).await.unwrap(), 0);
        }
        transport.write(&bytes);
        transport.flush().await.unwrap();
        transports.push(Arc::new(transport));
    }
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "ready");
    (transports, child)
}

/// Heap and resident bytes once they stand still.
async fn settled() -> (i64, i64) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    epoch::advance().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kibibytes: i64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (stats::allocated::read().unwrap() as i64, kibibytes * 1024)
}

/// The other process: connects, sends a stanza, reads it back, and stays.
async fn clients(variant: &str, address: SocketAddr, count: usize, certificate: &str) {
    let version: &'static SupportedProtocolVersion = if variant == "tls1.2" { &TLS12 } else { &TLS13 };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let connector = TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
    let (mut plain, mut secured) = (Vec::new(), Vec::new());
    let mut echo = vec![0; STANZA.len()];
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).await.unwrap();
        if variant == "plain" {
            socket.write_all(STANZA).await.unwrap();
            socket.read_exact(&mut echo).await.unwrap();
            plain.push(socket);
        } else {
            let mut stream = connector.connect(ServerName::try_from("capulet.lit").unwrap(), socket).await.unwrap();
            stream.write_all(STANZA).await.unwrap();
            stream.read_exact(&mut echo).await.unwrap();
            secured.push(stream);
        }
        assert_eq!(echo, STANZA);
    }
    println!("ready");
    std::future::pending::<()>().await;
}
