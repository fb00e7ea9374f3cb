//! STARTTLS and direct TLS (RFC 6120 §5, RFC 7590, XEP-0368).

use std::time::Duration;

use waxwing_testkit::{RawClient, TestServer, TlsChoice};

use crate::common::{SERVER, options};

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

#[tokio::test]
async fn c28_before_tls_only_tls_is_offered() {
    let scene = SERVER.scene().await;
    let mut client = scene.connect().await;
    client.begin_stream(waxwing_testkit::stream_header("to='{host}' version='1.0'")).await;
    client.expect_header().await;
    client
        .expect(
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
        )
        .await;
}

async fn refuses_starttls(client: &mut RawClient) {
    client.send(STARTTLS).await;
    client.expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    client.expect_end().await;
}

#[tokio::test]
async fn c29_starttls_where_it_is_not_offered_fails() {
    let scene = SERVER.scene().await;
    // Under direct TLS it was never offered.
    let mut direct = scene.connect_tls().await;
    direct.open_stream(scene.host()).await;
    refuses_starttls(&mut direct).await;
    // A second time.
    let mut twice = scene.connect().await;
    twice.open_stream(scene.host()).await;
    twice.starttls().await;
    twice.open_stream(scene.host()).await;
    refuses_starttls(&mut twice).await;
    // After the login, and after binding.
    refuses_starttls(&mut scene.logged_in("romeo").await).await;
    refuses_starttls(&mut scene.session("romeo/orchard").await).await;
}

#[tokio::test]
async fn c30_no_word_is_said_when_the_handshake_fails() {
    let scene = SERVER.scene().await;
    for garbage in ["<iq type='get' id='1'/>", "GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{0}\u{5}hello"] {
        let mut client = scene.connect().await;
        client.open_stream(scene.host()).await;
        client.send(STARTTLS).await;
        client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        client.send_bytes(garbage).await;
        let rest = client.rest().await;
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(!text.contains('<'), "an alert at most, no XML: {text:?}");
    }
}

#[tokio::test]
async fn c31_after_tls_everything_begins_anew() {
    let scene = SERVER.scene().await;
    let mut client = scene.connect().await;
    client.set_stream_attributes("from='romeo@capulet.lit' xml:lang='de'");
    client.open_stream(scene.host()).await;
    client.starttls().await;
    client.set_stream_attributes("");
    client.begin_stream(waxwing_testkit::stream_header("to='{host}' version='1.0'")).await;
    let header = client.expect_header().await;
    assert_eq!(header.attribute("to"), None, "what was said before TLS is forgotten");
    let features = client.expect_features().await;
    assert!(features.child("starttls").is_none(), "{features}");
    assert!(!client.mechanisms().is_empty(), "{features}");
}

#[tokio::test]
async fn c31_the_stream_before_tls_is_gone() {
    let scene = SERVER.scene().await;
    let mut client = scene.connect().await;
    client.open_stream(scene.host()).await;
    client.starttls().await;
    // No header: the element has no stream to belong to.
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'/>").await;
    client
        .expect_stream_error("invalid-namespace|bad-format|bad-namespace-prefix|not-well-formed|not-authorized")
        .await;
}

/// A ClientHello by hand: the version it offers, its cipher suites and compression methods.
fn client_hello(version: u16, suites: &[u16], compressions: &[u8]) -> Vec<u8> {
    let vector = |length_bytes: usize, content: &[u8]| {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - length_bytes..], content].concat()
    };
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let extension = |number: u16, content: &[u8]| [&number.to_be_bytes(), vector(2, content).as_slice()].concat();
    let name = [&[0][..], &vector(2, b"capulet.lit")].concat();
    let extensions = [
        extension(0, &vector(2, &name)),
        extension(10, &vector(2, &words(&[0x001d, 0x0017]))),
        extension(11, &vector(1, &[0])),
        extension(13, &vector(2, &words(&[0x0403, 0x0804, 0x0401, 0x0201, 0x0203]))),
        extension(23, &[]),
    ]
    .concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &vector(1, &[]),
        &vector(2, &words(suites)),
        &vector(1, compressions),
        &vector(2, &extensions),
    ]
    .concat();
    let handshake = [&[1][..], &vector(3, &body)].concat();
    [&[22, 3, 1][..], &vector(2, &handshake)].concat()
}

/// The alert that a hello is answered with; `None` when the server goes on with the handshake.
async fn alert_for(hello: Vec<u8>) -> Option<(u8, u8)> {
    let scene = SERVER.scene().await;
    let mut client = scene.connect().await;
    client.open_stream(scene.host()).await;
    client.send(STARTTLS).await;
    client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    client.send_bytes(&hello).await;
    // A server that goes on waits for us; closing our direction ends that.
    client.shut_down().await;
    let rest = client.rest().await;
    assert!(rest.len() >= 7, "neither an alert nor a hello: {rest:?}");
    (rest[0] == 21).then(|| (rest[5], rest[6]))
}

/// Suites that TLS 1.2 may use here: ECDHE with AES-GCM or ChaCha20.
const GOOD_SUITES: [u16; 4] = [0xc02b, 0xc02c, 0xcca9, 0xc02f];

#[tokio::test]
async fn c32_the_hello_of_these_tests_is_a_good_one() {
    assert_eq!(alert_for(client_hello(0x0303, &GOOD_SUITES, &[0])).await, None);
}

#[tokio::test]
async fn c32_old_versions_of_tls_are_refused() {
    // TLS 1.0, 1.1 and SSL 3.0, each with suites it knows: protocol_version.
    for version in [0x0301, 0x0302, 0x0300] {
        let suites = [0xc009, 0xc00a, 0xc013, 0x002f, 0x0035];
        let alert = alert_for(client_hello(version, &suites, &[0])).await;
        assert_eq!(alert, Some((2, 70)), "version {version:x}");
    }
}

#[tokio::test]
async fn c32_weak_suites_are_refused() {
    for (name, suites) in [
        ("NULL", vec![0xc006, 0x0001, 0x0002]),
        ("RC4", vec![0xc007, 0xc011, 0x0005]),
        ("3DES", vec![0xc008, 0xc012, 0x000a]),
        ("EXPORT", vec![0x0003, 0x0008, 0x0014]),
        ("anonymous", vec![0xc018, 0x0034]),
        ("CBC", vec![0xc009, 0xc023, 0xc013]),
        ("RSA key exchange", vec![0x009c, 0x009d, 0x002f]),
    ] {
        let alert = alert_for(client_hello(0x0303, &suites, &[0])).await;
        assert_eq!(alert, Some((2, 40)), "{name}");
    }
}

#[tokio::test]
async fn c32_tls_compression_is_refused() {
    let alert = alert_for(client_hello(0x0303, &GOOD_SUITES, &[1])).await;
    assert!(alert.is_some_and(|(level, _)| level == 2), "{alert:?}");
}

#[tokio::test]
async fn c32_tls_1_2_and_1_3_are_served() {
    let scene = SERVER.scene().await;
    for (choice, version) in [(TlsChoice::new().only_tls12(), "TLSv1_2"), (TlsChoice::new().only_tls13(), "TLSv1_3")] {
        let mut client = scene.try_connect_tls(choice).await.expect("a handshake");
        assert_eq!(client.tls().map(|tls| tls.version.as_str()), Some(version));
        client.open_stream(scene.host()).await;
    }
}

#[tokio::test]
async fn c33_the_certificate_follows_the_name_that_is_asked_for() {
    let server = TestServer::start(options().hosts(&["capulet.lit", "montague.lit"])).await;
    let scene = server.scene();
    for name in ["capulet.lit", "montague.lit"] {
        let mut client = scene.try_connect_tls(TlsChoice::new().name(name)).await.expect("a handshake");
        assert!(client.tls().is_some_and(|tls| tls.names(name)), "the certificate of {name}");
        client.open_stream(name).await;
    }
    // With STARTTLS the stream says who is meant, also when SNI does not.
    let mut client = scene.connect().await;
    client.open_stream("montague.lit").await;
    client.try_starttls(TlsChoice::new().name("montague.lit").without_name()).await.expect("a handshake");
    client.open_stream("montague.lit").await;
    // Direct TLS to one host and a stream to the other.
    for (name, to) in [("capulet.lit", "montague.lit"), ("montague.lit", "capulet.lit")] {
        let mut client = scene.try_connect_tls(TlsChoice::new().name(name)).await.expect("a handshake");
        client.begin_stream(waxwing_testkit::stream_header(&format!("to='{to}' version='1.0'"))).await;
        client.expect_stream_error("host-unknown|policy-violation").await;
    }
}

#[tokio::test]
async fn c33_alpn_names_the_protocol() {
    let scene = SERVER.scene().await;
    let client = scene.connect_tls().await;
    assert_eq!(client.tls().and_then(|tls| tls.alpn.as_deref()), Some("xmpp-client"));
    // A client that offers none is served, one that offers only others is not.
    let mut none = scene.try_connect_tls(TlsChoice::new().alpn(&[])).await.expect("a handshake");
    none.open_stream(scene.host()).await;
    for protocol in ["xmpp-server", "http/1.1"] {
        assert!(scene.try_connect_tls(TlsChoice::new().alpn(&[protocol])).await.is_err(), "{protocol}");
    }
}

#[tokio::test]
async fn c30_a_client_that_never_begins_tls_is_not_kept() {
    let server = TestServer::start(options().toml("[limits]\nunauthenticated_timeout = '1s'")).await;
    let scene = server.scene();
    let mut silent = scene.connect().await;
    let mut slow = scene.connect().await;
    slow.open_stream(scene.host()).await;
    slow.send(STARTTLS).await;
    slow.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    for client in [&mut silent, &mut slow] {
        client.set_patience(Duration::from_secs(6));
    }
    assert!(!String::from_utf8_lossy(&slow.rest().await).contains('<'));
    silent.rest().await;
}
