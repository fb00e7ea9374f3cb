//! XMPP on WebSocket (RFC 7395): conformance rows C96 to C103, security rows S1, S2, S6, S15 and S28, resumption.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use waxwing_testkit::http::{read_answer, request};
use waxwing_testkit::scram::{Scram, base64, from_base64};
use waxwing_testkit::websocket::frame::Frame;
use waxwing_testkit::websocket::frame::coding::{CloseCode, Data, OpCode};
use waxwing_testkit::websocket::{Message, connect};
use waxwing_testkit::{TestServer, Web};

use crate::common::{SERVER, options};

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='capulet.lit' version='1.0'/>";
const SM: &str = "urn:xmpp:sm:3";

type Socket = WebSocketStream<TcpStream>;

async fn socket(address: SocketAddr) -> Socket {
    connect(address, "capulet.lit").await
}

async fn http() -> (waxwing_testkit::Scene, SocketAddr) {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().http[0];
    (scene, address)
}

/// The next message; its text.
async fn text(socket: &mut Socket) -> String {
    match next(socket).await {
        Message::Text(text) => text.to_string(),
        other => panic!("expected text, found {other:?}"),
    }
}

async fn next(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.expect("something comes in time");
    next.expect("the WebSocket is open").expect("a message")
}

/// Everything that still comes, and the code it is closed with.
async fn ending(socket: &mut Socket) -> (String, CloseCode) {
    let mut said = String::new();
    loop {
        match next(socket).await {
            Message::Text(text) => said.push_str(&text),
            Message::Close(Some(frame)) => {
                // The connection ends behind it.
                let rest = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("it ends in time");
                assert!(matches!(rest, None | Some(Err(_))), "{rest:?}");
                return (said, frame.code);
            }
            other => panic!("found {other:?} after {said}"),
        }
    }
}

/// A stream is open, and this is sent as one frame: what comes of it.
async fn after_open(address: SocketAddr, bad: Message) -> (String, CloseCode) {
    let mut socket = socket(address).await;
    socket.send(Message::text(OPEN)).await.expect("it is sent");
    text(&mut socket).await;
    text(&mut socket).await;
    let _ = socket.send(bad).await;
    ending(&mut socket).await
}

/// Logs in and binds, on a WebSocket on which nothing has been said.
async fn log_in(socket: &mut Socket, name: &str, password: &str) {
    let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
    let scram = Scram::new("SCRAM-SHA-256", name, password);
    let auth = format!("<auth xmlns='{sasl}' mechanism='SCRAM-SHA-256'>{}</auth>", base64(scram.first()));
    let challenge = said(socket, &[OPEN, &auth], "<challenge ").await;
    let challenge = challenge.split(['<', '>']).nth(2).expect("a challenge");
    let response = base64(scram.last(&from_base64(challenge)).message);
    said(socket, &[&format!("<response xmlns='{sasl}'>{response}</response>")], "<success ").await;
    let bind = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    said(socket, &[OPEN, bind], "<iq ").await;
}

/// Says this, and gives the message that is waited for.
async fn said(socket: &mut Socket, words: &[&str], wanted: &str) -> String {
    for word in words {
        socket.send(Message::text(*word)).await.expect("it is sent");
    }
    loop {
        let heard = text(socket).await;
        if heard.starts_with(wanted) {
            return heard;
        }
    }
}

fn upgrade_headers() -> Vec<(&'static str, &'static str)> {
    vec![
        ("host", "capulet.lit"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
}

#[tokio::test]
async fn c96_the_subprotocol_is_demanded_and_echoed() {
    let (_scene, address) = http().await;
    let line = "GET /xmpp-websocket HTTP/1.1";
    let ask = async |more: &[(&'static str, &'static str)]| {
        request(address, line, &[upgrade_headers().as_slice(), more].concat(), "").await
    };
    assert_eq!(ask(&[]).await.status, 400);
    assert_eq!(ask(&[("sec-websocket-protocol", "chat, soap")]).await.status, 400);
    let answer = ask(&[("sec-websocket-protocol", "chat, xmpp")]).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("xmpp")));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // Security row S6: compression is not negotiated.
    let offers = [("sec-websocket-protocol", "xmpp"), ("sec-websocket-extensions", "permessage-deflate")];
    let answer = ask(&offers).await;
    assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, None));
    // What is no handshake at all, or one of another version.
    assert_eq!(request(address, line, &[("host", "capulet.lit")], "").await.status, 400);
    let mut old = upgrade_headers();
    old[3].1 = "8";
    old.push(("sec-websocket-protocol", "xmpp"));
    let answer = request(address, line, &old, "").await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
}

#[tokio::test]
async fn s28_pages_of_other_origins_are_refused() {
    let own = "[http]\norigins = ['https://app.montague.lit']";
    let server = TestServer::start(options().toml(own)).await;
    let address = server.addresses().http[0];
    let ask = async |origin: &'static str| {
        let more = [("sec-websocket-protocol", "xmpp"), ("origin", origin), ("cookie", "session=1")];
        let headers = [upgrade_headers().as_slice(), &more].concat();
        request(address, "GET /xmpp-websocket HTTP/1.1", &headers, "").await.status
    };
    for ours in ["http://capulet.lit", "https://capulet.lit:5443", "https://app.montague.lit"] {
        assert_eq!(ask(ours).await, 101, "{ours}");
    }
    for other in ["https://evil", "null", "https://montague.lit", "http://app.montague.lit", "file://"] {
        assert_eq!(ask(other).await, 403, "{other}");
    }
}

#[tokio::test]
async fn nobody_logs_in_in_the_clear_from_elsewhere() {
    let own = "[http]\ntrusted_proxies = ['127.0.0.1']";
    let server = TestServer::start(options().toml(own)).await;
    let unlisted = SERVER.scene().await;
    let ask = async |address: SocketAddr, more: &[(&'static str, &'static str)]| {
        let headers = [upgrade_headers().as_slice(), &[("sec-websocket-protocol", "xmpp")], more].concat();
        request(address, "GET /xmpp-websocket HTTP/1.1", &headers, "").await.status
    };
    let address = server.addresses().http[0];
    let (client, tls) = (("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"));
    assert_eq!(ask(address, &[client, tls]).await, 101);
    assert_eq!(ask(address, &[client]).await, 403);
    assert_eq!(ask(address, &[client, ("x-forwarded-proto", "http")]).await, 403);
    assert_eq!(ask(address, &[]).await, 403, "the proxy says nothing");
    // A proxy that is not listed is not believed, and its clients are not taken for people at this machine.
    assert_eq!(ask(unlisted.server().addresses().http[0], &[client, tls]).await, 403);
}

#[tokio::test]
async fn c97_a_frame_is_one_whole_element() {
    let (_scene, address) = http().await;
    let ping = "<iq xmlns='jabber:client' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";
    for (bad, condition) in [
        (Message::binary(ping.as_bytes().to_vec()), "bad-format"),
        (Message::text(format!("{ping}{ping}")), "not-well-formed"),
        (Message::text(&ping[..40]), "not-well-formed"),
        (Message::text(format!(" {ping}")), "not-well-formed"),
        (Message::text(format!("<?xml version='1.0'?>{ping}")), "restricted-xml"),
        (Message::text(""), "not-well-formed"),
        (Message::text("</open>"), "not-well-formed"),
    ] {
        let shown = format!("{bad:?}");
        let (said, code) = after_open(address, bad).await;
        assert!(said.starts_with("<stream:error "), "{shown}: {said}");
        assert!(said.contains(&format!("<{condition} ")), "{shown}: {said}");
        assert!(said.ends_with("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"), "{shown}: {said}");
        assert!(!said.contains("<iq"), "{shown}: half of it was taken: {said}");
        let expected = if shown.starts_with("Binary") { CloseCode::Unsupported } else { CloseCode::Normal };
        assert_eq!(code, expected, "{shown}");
    }
}

#[tokio::test]
async fn c98_a_stream_begins_with_open() {
    let (_scene, address) = http().await;
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit' \
                  version='1.0'/>";
    for (first, condition) in [
        ("<open xmlns='jabber:client' to='capulet.lit' version='1.0'/>", "invalid-namespace"),
        ("<open to='capulet.lit' version='1.0'/>", "invalid-namespace"),
        ("<message xmlns='jabber:client'/>", "bad-format"),
        (header, "not-well-formed"),
    ] {
        let mut socket = socket(address).await;
        socket.send(Message::text(first)).await.expect("it is sent");
        assert!(text(&mut socket).await.starts_with("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' "), "{first}");
        let (said, _) = ending(&mut socket).await;
        assert!(said.contains(&format!("<{condition} ")) && said.contains("<close "), "{first}: {said}");
    }
    // The header's own errors are those of any stream.
    for (open, condition) in [
        (OPEN.replace("capulet.lit", "montague.lit"), "host-unknown"),
        (OPEN.replace("1.0", "0.9"), "unsupported-version"),
    ] {
        let mut socket = socket(address).await;
        socket.send(Message::text(open)).await.expect("it is sent");
        assert!(text(&mut socket).await.starts_with("<open "));
        assert!(ending(&mut socket).await.0.contains(&format!("<{condition} ")));
    }
}

#[tokio::test]
async fn c99_what_comes_stands_alone() {
    let (scene, address) = http().await;
    let mut socket = socket(address).await;
    socket.send(Message::text(OPEN)).await.expect("it is sent");
    let open = text(&mut socket).await;
    for part in [" id='", " from='capulet.lit'", " version='1.0'", " xml:lang='en'"] {
        assert!(open.contains(part), "{part}: {open}");
    }
    let features = text(&mut socket).await;
    assert!(features.starts_with("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"), "{features}");
    assert!(!features.contains("starttls"), "{features}");
    // Stanzas of others, answers, presence: everything declares its namespace.
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.web_session("juliet/balcony", Web::Socket).await;
    juliet.go_online(0).await;
    romeo.send("<message to='{juliet/balcony}' type='chat' id='1'><body>Hi</body></message>").await;
    juliet.expect("<message {…}>{…}<body>Hi</body></message>").await;
    juliet.send("<iq type='get' id='d' to='{host}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>").await;
    juliet.expect("<iq type='result' id='d' {…}>{…}</iq>").await;
    let heard = juliet.heard();
    let stanzas = ["<message ", "<presence ", "<iq "];
    let tags = stanzas.iter().flat_map(|start| heard.match_indices(start));
    let mut count = 0;
    for (at, _) in tags {
        let tag = heard[at..].split('>').next().unwrap_or_default();
        assert!(tag.contains(" xmlns='jabber:client'"), "{tag}");
        count += 1;
    }
    assert!(count >= 3, "{heard}");
}

#[tokio::test]
async fn c100_a_login_begins_the_stream_anew_and_tls_is_never_started() {
    let (scene, address) = http().await;
    for web in [Web::Socket, Web::SecureSocket] {
        // The kit opens twice, and closes nothing in between.
        let mut juliet = scene.web_session("juliet/balcony", web).await;
        juliet.barrier().await;
        let heard = juliet.heard();
        assert_eq!(heard.matches("<stream:stream ").count(), 2, "{heard}");
        assert!(!heard.contains("</stream:stream>") && !heard.contains("starttls"), "{heard}");
        // Where TLS is ours, a login can be bound to it (RFC 9266).
        assert_eq!(heard.contains("SCRAM-SHA-256-PLUS"), web == Web::SecureSocket, "{heard}");
    }
    let starttls = Message::text("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    let (said, _) = after_open(address, starttls).await;
    assert!(said.starts_with("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><close "), "{said}");
    // Before a new <open/> nothing counts.
    let mut romeo = scene.web_logged_in("romeo", Web::Socket).await;
    romeo.begin_stream("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{host}' version='1.0'/>").await;
    romeo.expect_header().await;
}

#[tokio::test]
async fn c101_close_is_answered_and_pings_too() {
    let (scene, address) = http().await;
    let mut socket = socket(address).await;
    socket.send(Message::Ping(b"are you there?".to_vec().into())).await.expect("it is sent");
    assert_eq!(next(&mut socket).await, Message::Pong(b"are you there?".to_vec().into()));
    socket.send(Message::text(OPEN)).await.expect("it is sent");
    text(&mut socket).await;
    text(&mut socket).await;
    let close = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";
    socket.send(Message::text(close)).await.expect("it is sent");
    assert_eq!(ending(&mut socket).await, (close.to_owned(), CloseCode::Normal));
    // A bound session ends the same way, and what waits is written before.
    let mut juliet = scene.web_session("juliet/balcony", Web::Socket).await;
    juliet.send("</stream:stream>").await;
    juliet.expect_end().await;
}

#[tokio::test]
async fn c101_sessions_survive_a_lost_websocket_and_change_their_transport() {
    let (scene, _) = http().await;
    let mut romeo = scene.online("romeo/orchard").await;
    for (first, second) in
        [(Some(Web::Socket), None), (None, Some(Web::SecureSocket)), (Some(Web::Socket), Some(Web::Socket))]
    {
        let mut juliet = match first {
            Some(web) => scene.web_session("juliet/balcony", web).await,
            None => scene.session("juliet/balcony").await,
        };
        juliet.go_online(0).await;
        juliet.send(format!("<enable xmlns='{SM}' resume='true'/>")).await;
        let enabled = juliet.expect(format!("<enabled xmlns='{SM}' id='{{any}}' resume='true' max='{{any}}'/>")).await;
        let id = enabled.attribute("id").expect("an id").to_owned();
        juliet.hang_up();
        drop(juliet);
        romeo.send("<message to='{juliet/balcony}' type='chat' id='m'><body>still there?</body></message>").await;
        romeo.barrier().await;
        let mut juliet = match second {
            Some(web) => scene.web_logged_in("juliet", web).await,
            None => scene.logged_in("juliet").await,
        };
        juliet.send(format!("<resume xmlns='{SM}' previd='{id}' h='0'/>")).await;
        juliet.expect(format!("<resumed xmlns='{SM}' previd='{id}' h='0'/>")).await;
        juliet.expect("<message {…}>{…}<body>still there?</body>{…}</message>").await;
        juliet
            .send("<message xmlns='jabber:client' to='{romeo/orchard}' type='chat' id='b'><body>yes</body></message>")
            .await;
        romeo.expect("<message {…}><body>yes</body>{…}</message>").await;
        juliet.send("</stream:stream>").await;
        // A wish for an acknowledgement may come before the end.
        while juliet.receive_or_close().await.is_some() {}
        romeo.drain().await;
    }
}

#[tokio::test]
async fn c101_a_websocket_that_is_closed_without_close_counts_as_lost() {
    let (scene, address) = http().await;
    let mut socket = socket(address).await;
    socket.send(Message::text(OPEN)).await.expect("it is sent");
    text(&mut socket).await;
    text(&mut socket).await;
    socket.close(None).await.expect("it is sent");
    let answer = next(&mut socket).await;
    assert!(matches!(answer, Message::Close(_)), "no word of XMPP: {answer:?}");
    drop(scene);
}

#[tokio::test]
async fn c102_clients_are_sent_elsewhere_over_tls_only() {
    let own = "[modules.streams]\nredirect_websocket = 'wss://new.capulet.lit/xmpp-websocket'\n\
               [http]\ntrusted_proxies = ['127.0.0.1']";
    let server = TestServer::start(options().toml(own)).await;
    let ask = async |scheme: &str| {
        let socket = TcpStream::connect(server.addresses().http[0]).await.expect("it listens");
        let headers =
            [("sec-websocket-protocol", "xmpp"), ("x-forwarded-for", "127.0.0.9"), ("x-forwarded-proto", scheme)];
        let upgraded = waxwing_testkit::websocket::upgrade(socket, "capulet.lit", &headers).await;
        let mut socket = upgraded.expect("a WebSocket");
        socket.send(Message::text(OPEN)).await.expect("it is sent");
        (text(&mut socket).await, socket)
    };
    let (said, mut socket) = ask("https").await;
    let uri = "see-other-uri='wss://new.capulet.lit/xmpp-websocket'";
    assert_eq!(said, format!("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' {uri}/>"));
    assert_eq!(ending(&mut socket).await, (String::new(), CloseCode::Normal));
    assert!(ask("http").await.0.starts_with("<open "));
    let bad = "[modules.streams]\nredirect_websocket = 'ws://new.capulet.lit/'";
    assert!(TestServer::try_start(options().toml(bad)).await.is_err());
}

/// A WebSocket of which every byte is ours.
async fn naked(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let headers: Vec<String> = upgrade_headers().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("GET /xmpp-websocket HTTP/1.1\r\n{}sec-websocket-protocol: xmpp\r\n\r\n", headers.concat());
    socket.write_all(head.as_bytes()).await.expect("it is sent");
    assert_eq!(read_answer(&mut socket, false).await.status, 101);
    socket
}

#[tokio::test]
async fn c103_frames_keep_to_the_protocol_and_to_bounds() {
    let server = TestServer::start(options().toml("[limits]\nunauthenticated_stanza_bytes = '10000'")).await;
    let address = server.addresses().http[0];
    let mut socket = naked(address).await;
    // Not masked.
    socket.write_all(&[0x81, 4, b'<', b'a', b'/', b'>']).await.expect("it is sent");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await;
    read.expect("it ends in time").expect("it ends well");
    assert!(rest.ends_with(&[0x88, 2, 0x03, 0xea]), "1002: {rest:?}");
    // A head alone that promises too much is enough.
    let mut socket = naked(address).await;
    let mut head = vec![0x81, 0xff];
    head.extend_from_slice(&20_001u64.to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    socket.write_all(&head).await.expect("it is sent");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await;
    read.expect("it ends in time").expect("it ends well");
    assert!(rest.ends_with(&[0x88, 2, 0x03, 0xf1]), "1009: {rest:?}");
    // Between one and two times the limit: a stream error.
    let (said, code) = after_open(address, Message::text(format!("<a>{}</a>", "x".repeat(15_000)))).await;
    assert!(said.contains("<policy-violation ") && code == CloseCode::Normal, "{said} {code}");
    // Eight pieces are well, nine are not.
    for (pieces, is_taken) in [(8, true), (9, false)] {
        let mut socket = connect(address, "capulet.lit").await;
        let parts: Vec<&[u8]> = OPEN.as_bytes().chunks(OPEN.len().div_ceil(pieces)).collect();
        assert_eq!(parts.len(), pieces);
        for (index, part) in parts.iter().enumerate() {
            let code = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
            let frame = Frame::message(part.to_vec(), code, index + 1 == pieces);
            let _ = socket.send(Message::Frame(frame)).await;
        }
        if is_taken {
            assert!(text(&mut socket).await.starts_with("<open "));
        } else {
            assert_eq!(ending(&mut socket).await.1, CloseCode::Size);
        }
    }
}

#[tokio::test]
async fn s01_s02_xml_attacks_are_refused_before_and_after_the_login() {
    let (scene, address) = http().await;
    let nested = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
    let attributes: String = (0..1000).map(|number| format!(" a{number}=''")).collect();
    for (bad, condition) in [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>".to_owned(), "restricted-xml"),
        ("<a><!-- x --></a>".to_owned(), "restricted-xml"),
        ("<a><?x y?></a>".to_owned(), "restricted-xml"),
        ("<a>&lol;</a>".to_owned(), "restricted-xml|not-well-formed"),
        (format!("<a>{}</a>", "x".repeat(9 * 1024)), "policy-violation"),
        (nested, "policy-violation"),
        (format!("<a>{}</a>", "<b/>".repeat(40)), "policy-violation"),
        (format!("<a{attributes}/>"), "policy-violation"),
    ] {
        let (said, _) = after_open(address, Message::text(bad.clone())).await;
        let is_right = condition.split('|').any(|condition| said.contains(&format!("<{condition} ")));
        assert!(is_right, "{}: {said}", &bad[..bad.len().min(60)]);
    }
    for (bad, condition) in [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>".to_owned(), "restricted-xml"),
        (format!("<message>{}{}</message>", "<a>".repeat(10_000), "</a>".repeat(10_000)), "policy-violation"),
        (format!("<message>{}</message>", "<b/>".repeat(100_000)), "policy-violation"),
        (format!("<message><{}/></message>", "x".repeat(64 * 1024)), "policy-violation"),
    ] {
        let mut juliet = scene.web_session("juliet/balcony", Web::Socket).await;
        juliet.send_bytes(&bad).await;
        juliet.expect_stream_error(condition).await;
    }
}

#[tokio::test]
async fn s06_compression_is_refused() {
    let (_scene, address) = http().await;
    // A frame that says it is compressed, although nothing was agreed on.
    let mut socket = naked(address).await;
    socket.write_all(&[0xc1, 0x80, 0, 0, 0, 0]).await.expect("it is sent");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await;
    read.expect("it ends in time").expect("it ends well");
    assert!(rest.ends_with(&[0x88, 2, 0x03, 0xea]), "{rest:?}");
}

#[tokio::test]
async fn s15_nobody_speaks_for_others() {
    let (scene, _) = http().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.web_session("romeo/orchard", Web::Socket).await;
    for forged in ["{juliet}", "admin@{host}/x", "{host}", "nurse@evil.lit"] {
        romeo
            .send(format!(
                "<message from='{forged}' to='{{juliet/balcony}}' type='chat' id='1'><body>x</body></message>"
            ))
            .await;
        juliet.expect("<message from='{romeo/orchard}' {…}><body>x</body>{…}</message>").await;
    }
}

#[tokio::test]
async fn a_silent_client_is_asked_with_a_ping_and_then_given_up() {
    let own = "[http]\nwebsocket_ping = '300ms'\n[limits]\nping_timeout = '1s'\nclose_timeout = '300ms'";
    let server = TestServer::start(options().toml(own)).await;
    let scene = server.scene();
    // tungstenite answers pings by itself, as long as somebody reads.
    let mut juliet = scene.web_session("juliet/balcony", Web::Socket).await;
    scene.account("romeo").await;
    let mut romeo = socket(server.addresses().http[0]).await;
    log_in(&mut romeo, &scene.local("romeo"), &scene.password("romeo")).await;
    // From here on nobody answers for him.
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), romeo.get_mut().read_to_end(&mut bytes)).await;
    read.expect("he is given up in time").expect("it ends well");
    assert_eq!(bytes.first(), Some(&0x89), "a ping comes first: {bytes:?}");
    let said = String::from_utf8_lossy(&bytes);
    assert!(said.contains("<connection-timeout "), "{said}");
    // Who answered, meanwhile, is still there.
    juliet.barrier().await;
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let server = TestServer::start(options()).await;
    let address = server.addresses().http[0];
    let scene = server.scene();
    let mut juliet = scene.web_session("juliet/balcony", Web::Socket).await;
    let mut stranger = socket(address).await;
    stranger.send(Message::text(OPEN)).await.expect("it is sent");
    text(&mut stranger).await;
    text(&mut stranger).await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    assert!(ending(&mut stranger).await.0.contains("<system-shutdown "));
    juliet.expect_stream_error("system-shutdown").await;
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn websocket_can_be_turned_off() {
    let server = TestServer::start(options().toml("[http]\nwebsocket = false")).await;
    let headers = [upgrade_headers().as_slice(), &[("sec-websocket-protocol", "xmpp")]].concat();
    let answer = request(server.addresses().http[0], "GET /xmpp-websocket HTTP/1.1", &headers, "").await;
    assert_eq!(answer.status, 404);
    let meta = request(server.addresses().http[0], "GET /.well-known/host-meta HTTP/1.1", &[], "").await;
    assert!(!meta.text().contains("websocket"), "{}", meta.text());
}
