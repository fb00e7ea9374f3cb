//! One port for clients, other servers and the web, told apart by the application protocol of TLS (`[listen] all_tls`).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use waxwing_testkit::http::request_on;
use waxwing_testkit::{TestServer, TlsChoice, stream_header};

use crate::authority::Authority;
use crate::common;
use crate::peer::Peer;
use crate::world::federating;

const ALL_TLS: &str = "[listen]\nall_tls = [\"127.0.0.1:0\"]\n";

async fn shake(address: SocketAddr, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let config = TlsChoice::new().unchecked().alpn(protocols).configuration(".".as_ref(), true).expect("TLS");
    let socket = TcpStream::connect(address).await.expect("the server accepts");
    TlsConnector::from(Arc::new(config)).connect("capulet.lit".try_into().expect("a name"), socket).await
}

/// What a server answers to the header of a client.
async fn greeted(mut stream: TlsStream<TcpStream>) -> String {
    let header = stream_header("to='capulet.lit' version='1.0'");
    stream.write_all(header.as_bytes()).await.expect("it is sent");
    stream.flush().await.expect("it is sent");
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while !heard.contains("</stream:features>") {
        let count = stream.read(&mut buffer).await.expect("an answer");
        assert_ne!(count, 0, "it ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    heard
}

#[tokio::test]
async fn clients_servers_and_the_web_share_one_port() {
    let authority = Authority::new();
    let certificates = tempfile::tempdir().expect("a folder");
    authority.sign("capulet.lit").write(certificates.path(), "capulet.lit");
    let text =
        federating(&authority.file(), certificates.path(), &[], "[modules.streams]\npublic_addresses = ['192.0.2.1']");
    let text = text.replace("[listen]\n", ALL_TLS);
    let server = TestServer::start(common::options().hosts(&["capulet.lit"]).toml(text)).await;
    let address = server.addresses().all_tls[0];

    let mut montague = Peer::connect_tls(address, Some(&authority.sign("montague.lit"))).await;
    montague.log_in("montague.lit", "capulet.lit").await;
    let ping = "<iq type='get' id='p' from='montague.lit' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>";
    montague.send(ping).await;
    montague.send("</stream:stream>").await;
    assert!(!montague.rest().await.contains("stream:error"));

    for protocols in [&["xmpp-client"][..], &[]] {
        let stream = shake(address, protocols).await.expect("TLS is agreed on");
        assert!(greeted(stream).await.contains("SCRAM-SHA-256"), "{protocols:?}");
    }
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = shake(address, protocols).await.expect("TLS is agreed on");
        let answer = request_on(stream, "GET /.well-known/host-meta.json HTTP/1.1", &[], "").await;
        assert_eq!(answer.status, 200, "{protocols:?}");
        let told = answer.text();
        assert!(told.contains("alt-connections:tls") && told.contains("alt-connections:s2s-tls"), "{told}");
    }
    let web = shake(address, &["h2", "http/1.1"]).await.expect("TLS is agreed on");
    assert_eq!(web.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(shake(address, &["imap"]).await.is_err(), "that is not spoken here");
}

#[tokio::test]
async fn where_no_host_talks_to_servers_none_is_let_in() {
    let server = TestServer::start(common::options().toml(ALL_TLS)).await;
    let address = server.addresses().all_tls[0];
    assert!(shake(address, &["xmpp-server"]).await.is_err());
    assert!(shake(address, &["xmpp-client"]).await.is_ok());
}
