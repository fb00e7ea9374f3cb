//! What holds for every request of the web: hosts, paths, headers, bounds, proxies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use waxwing_testkit::http::{read_answer, request, request_on};
use waxwing_testkit::websocket::upgrade;
use waxwing_testkit::{TestServer, TlsChoice};

use crate::common::{SERVER, options};

#[tokio::test]
async fn s31_what_is_not_there_is_404_with_the_security_headers() {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().http[0];
    let paths = [
        "/nothing",
        "/.well-known/",
        "/.well-known",
        "//",
        "/..",
        "/../etc/passwd",
        "/%2e%2e/",
        "/..;/metrics",
        "/%u002e%u002e/",
        "/.well-known/%2e%2e/host-meta",
        "/metrics",
        "/health/live",
        "/.well-known//host-meta",
        "/.well-known/host-meta/",
        "/.WELL-KNOWN/host-meta",
        "/.well-known/host-meta%00",
    ];
    for path in paths {
        let answer = request(address, &format!("GET {path} HTTP/1.1"), &[], "").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("server"), None, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_named() {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().http[0];
    let answer = request(address, "DELETE /.well-known/host-meta HTTP/1.1", &[], "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    let answer = request(address, "HEAD /.well-known/host-meta HTTP/1.1", &[], "").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn s28_only_names_of_this_server_are_answered() {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().http[0];
    let status =
        async |host: &str| request(address, "GET /.well-known/host-meta HTTP/1.1", &[("host", host)], "").await.status;
    for ours in ["capulet.lit", "CAPULET.lit:5280", "web.capulet.lit", "127.0.0.1:5280", "[::1]", "localhost:5280"] {
        assert_eq!(status(ours).await, 200, "{ours}");
    }
    // A page that lets its own name point to this machine is no page of ours.
    for other in ["evil.lit", "capulet.lit.evil.lit", "evilcapulet.lit"] {
        assert_eq!(status(other).await, 421, "{other}");
    }
    let two = request(address, "GET / HTTP/1.1", &[("host", "capulet.lit"), ("host", "evil.lit")], "").await;
    assert_eq!(two.status, 400);
}

/// Shakes hands with the web over TLS, after these bytes.
async fn tls(server: &TestServer, begin: &[u8], protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let choice = TlsChoice::new().alpn(protocols);
    let config = choice.configuration(&server.certificates(), false).expect("certificates");
    let mut socket = TcpStream::connect(server.addresses().https[0]).await.expect("it listens");
    socket.write_all(begin).await.expect("it is sent");
    let name = "capulet.lit".try_into().expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// What a proxy says before a client that comes from this address (PROXY protocol 2).
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let ports = [0x1f, 0x90, 0, 80];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &client, &[127, 0, 0, 1], &ports].concat()
}

#[tokio::test]
async fn http2_and_http1_are_told_apart_under_tls() {
    let scene = SERVER.scene().await;
    let server = scene.server();
    let connect = async |protocols: &[&str]| tls(server, b"", protocols).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let socket = connect(protocols).await.expect("a handshake");
        let answer = request_on(socket, "GET /.well-known/host-meta HTTP/1.1", &[], "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("strict-transport-security").is_some());
        assert!(answer.text().contains("wss://capulet.lit/xmpp-websocket"), "{}", answer.text());
    }
    let mut socket = connect(&["h2", "http/1.1"]).await.expect("a handshake");
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // The preface and empty settings: the server answers with settings of its own (RFC 9113 §3.4).
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is taken");
    let mut frame = [0; 9];
    socket.read_exact(&mut frame).await.expect("a frame comes");
    assert_eq!(frame[3], 4, "settings come first");
    assert!(connect(&["xmpp-client"]).await.is_err(), "XMPP is not spoken here");
}

#[tokio::test]
async fn heads_and_bodies_have_an_end() {
    let own = "[http]\nheader_timeout = '1s'\nbody_timeout = '1s'";
    let server = TestServer::start(options().toml(own)).await;
    let address = server.addresses().http[0];
    let long = "x".repeat(20 * 1024);
    let answer = request(address, "GET / HTTP/1.1", &[("x-long", &long)], "").await;
    assert_eq!(answer.status, 431);
    // A head that comes a byte at a time, and one that does not come at all.
    let begin = Instant::now();
    let mut slow = TcpStream::connect(address).await.expect("it listens");
    let mut silent = TcpStream::connect(address).await.expect("it listens");
    for byte in b"GET / HTTP/1.1\r\nhost: capulet.lit\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaa" {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(read_answer(&mut slow, false).await.status, 200);
    assert_eq!(read_answer(&mut silent, false).await.status, 0);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn connections_of_an_address_are_counted_unless_a_listed_proxy_makes_them() {
    let limited = "[limits]\nunauthenticated_connections_per_address = 3\n";
    let opened = async |server: &TestServer| {
        let address = server.addresses().http[0];
        let mut open = Vec::new();
        for _ in 0..6 {
            let mut socket = TcpStream::connect(address).await.expect("it listens");
            let head = "GET /.well-known/host-meta HTTP/1.1";
            let _ = socket.write_all(format!("{head}\r\nhost: capulet.lit\r\n\r\n").as_bytes()).await;
            let answer = read_answer(&mut socket, false).await;
            open.push((answer.status, socket));
        }
        open.iter().filter(|(status, _)| *status != 0).count()
    };
    let server = TestServer::start(options().toml(limited)).await;
    assert_eq!(opened(&server).await, 3);
    let server = TestServer::start(options().toml(limited).toml("[http]\ntrusted_proxies = ['127.0.0.1']")).await;
    assert_eq!(opened(&server).await, 6);
}

#[tokio::test]
async fn the_proxy_protocol_is_demanded_of_those_listed_and_taken_from_nobody_else() {
    let header = proxy_header([192, 0, 2, 7]);
    let ask = async |server: &TestServer, begin: &[u8]| {
        let mut socket = TcpStream::connect(server.addresses().http[0]).await.expect("it listens");
        let _ = socket.write_all(begin).await;
        request_on(socket, "GET /.well-known/host-meta HTTP/1.1", &[], "").await.status
    };
    let listed = TestServer::start(options().toml("[http]\nproxy_protocol = ['127.0.0.0/8']")).await;
    // From elsewhere and in the clear: no way in is told. So the address in the header is what counts.
    assert_eq!(ask(&listed, &header).await, 404);
    assert_eq!(ask(&listed, b"").await, 0);
    let others = TestServer::start(options()).await;
    assert_ne!(ask(&others, &header).await, 200);
    assert_eq!(ask(&others, b"").await, 200);
}

#[tokio::test]
async fn over_tls_too_clients_behind_a_proxy_are_told_apart_by_what_it_says() {
    let limited = "[limits]\nunauthenticated_connections_per_address = 1\n";
    let upgraded = async |server: &TestServer, begin: &[u8], headers: &[(&'static str, &str)]| {
        let socket = tls(server, begin, &["http/1.1"]).await.ok()?;
        let headers = [&[("sec-websocket-protocol", "xmpp")], headers].concat();
        upgrade(socket, "capulet.lit", &headers).await.ok()
    };
    let server = TestServer::start(options().toml(limited).toml("[http]\nproxy_protocol = ['127.0.0.1']")).await;
    let first = upgraded(&server, &proxy_header([192, 0, 2, 7]), &[]).await;
    assert!(first.is_some());
    assert!(upgraded(&server, &proxy_header([192, 0, 2, 7]), &[]).await.is_none(), "the same client again");
    assert!(upgraded(&server, &proxy_header([192, 0, 2, 8]), &[]).await.is_some(), "another one");
    for (name, one, other) in [
        ("forwarded", "for=192.0.2.7;proto=https", "for=192.0.2.8;proto=https"),
        ("x-forwarded-for", "192.0.2.7", "192.0.2.8"),
    ] {
        let listed = format!("[http]\ntrusted_proxies = ['127.0.0.1']\nforwarded_header = '{name}'");
        let server = TestServer::start(options().toml(limited).toml(listed)).await;
        let from = |address: &'static str| [("x-forwarded-proto", "https"), (name, address)];
        let first = upgraded(&server, b"", &from(one)).await;
        assert!(first.is_some(), "{name}");
        assert!(upgraded(&server, b"", &from(one)).await.is_none(), "{name}: the same client again");
        assert!(upgraded(&server, b"", &from(other)).await.is_some(), "{name}: another one");
    }
}
