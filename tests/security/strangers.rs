//! S3: connections that never log in, in numbers and in silence.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waxwing_testkit::{RawClient, TestServer, stream_header};

use crate::common::options;
use crate::program;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.addresses().c2s[0]).await.expect("the server listens")
}

/// Sends these bytes on a connection in the clear, and gives everything the server says until it closes.
pub async fn answer_to(server: &TestServer, bytes: &[u8]) -> String {
    let mut socket = connect(server).await;
    socket.write_all(bytes).await.expect("the server reads");
    let mut answer = Vec::new();
    let mut closed = false;
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = socket.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
            if answer.ends_with(b"</stream:stream>") && !closed {
                closed = true;
                let _ = socket.shutdown().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server closes the connection");
    String::from_utf8(answer).expect("the server sends text")
}

/// Connections in the clear on which these bytes were sent and, if they hold a header, answered.
pub async fn hold(server: &TestServer, bytes: &[u8], number: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..number {
        let mut socket = connect(server).await;
        socket.write_all(bytes).await.expect("the server reads");
        let mut answer = Vec::new();
        let read = async {
            while !answer.ends_with(b"</stream:features>") {
                assert!(socket.read_buf(&mut answer).await.expect("an answer") > 0, "the server has closed");
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server answers");
        held.push(socket);
    }
    held
}

#[tokio::test]
async fn s03_connections_that_come_and_go_leave_nothing_behind() {
    let server = TestServer::start(program::options()).await;
    let process = program::Process::of(&server);
    let header = stream_header(&format!("to='{}' version='1.0'", server.host()));
    // A header and gone; half a header and gone; nothing and gone; half a TLS hello and gone.
    let cycles = async |number: usize| {
        for _ in 0..number {
            hold(&server, header.as_bytes(), 1).await;
            for bytes in [&header.as_bytes()[..60], b""] {
                connect(&server).await.write_all(bytes).await.expect("the server reads");
            }
            let mut tls = TcpStream::connect(server.addresses().c2s_tls[0]).await.expect("the server listens");
            tls.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.expect("the server reads");
        }
        // What is gone is noticed.
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    cycles(500).await;
    let before = process.memory();
    cycles(1_500).await;
    let after = process.memory();
    // The row allows 5 % over a million cycles.
    let allowed = before + before / 20;
    assert!(after <= allowed, "{} KiB have become {} KiB", before / 1024, after / 1024);
}

/// Waits until the server ends the connection: with `connection-timeout`, if it has a stream to say it on.
async fn ends(mut client: RawClient, has_stream: bool) {
    client.set_patience(Duration::from_secs(5));
    if has_stream {
        client.expect_stream_error("connection-timeout").await;
    } else {
        client.rest().await;
    }
}

#[tokio::test]
async fn s03_who_says_nothing_is_not_waited_for() {
    // 30 and 60 seconds by default (see `defaults`); shorter times show that it is these settings that do it.
    let limits = "[limits]\nunauthenticated_timeout = '700ms'\nbind_timeout = '900ms'";
    let server = TestServer::start(options().toml(limits)).await;
    let scene = server.scene();
    // Before the header, in the clear and under TLS; behind the header; after the login; in the middle of an element.
    let begun = Instant::now();
    let mut waiting = vec![(scene.connect().await, true), (scene.connect_tls().await, true)];
    let mut greeted = scene.connect().await;
    greeted.open_stream(scene.host()).await;
    let mut greeted_under_tls = scene.connect_tls().await;
    greeted_under_tls.open_stream(scene.host()).await;
    let mut halfway = scene.connect().await;
    halfway.open_stream(scene.host()).await;
    halfway.send("<starttls xmlns='urn:ietf:params:xml:ns:xm").await;
    let mut after_proceed = scene.connect().await;
    after_proceed.open_stream(scene.host()).await;
    after_proceed.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    after_proceed.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    waiting.extend([(greeted, true), (greeted_under_tls, true), (halfway, true), (after_proceed, false)]);
    waiting.push((scene.logged_in("romeo").await, true));
    // Nothing at all where TLS is to begin.
    let mut mute = TcpStream::connect(server.addresses().c2s_tls[0]).await.expect("the server listens");
    let read = tokio::time::timeout(PATIENCE, mute.read(&mut [0; 8])).await.expect("the server closes");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    for (client, has_stream) in waiting {
        ends(client, has_stream).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn s03_who_drips_does_not_gain_time() {
    let limits = "[limits]\nunauthenticated_timeout = '1500ms'\nbind_timeout = '1500ms'";
    let server = TestServer::start(options().toml(limits)).await;
    let scene = server.scene();
    let mut plain = scene.connect().await;
    plain.begin_stream("<").await;
    let mut greeted = scene.connect_tls().await;
    greeted.open_stream(scene.host()).await;
    let logged_in = scene.logged_in("romeo").await;
    // Letters of a name before the header, whitespace between elements.
    let mut clients = [(plain, "a"), (greeted, " "), (logged_in, " ")];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_300) {
        for (client, drop) in &mut clients {
            client.send_bytes(drop).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (client, _) in &mut clients {
        client.expect_stream_error("connection-timeout").await;
    }
    // Had the last drop counted, it would be 2.8 s.
    assert!(begun.elapsed() < Duration::from_millis(2_600), "{:?}", begun.elapsed());
}
