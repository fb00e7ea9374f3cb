//! S6, S9, S10: compression, injection before TLS, and a login that wanders to another host.

use waxwing_testkit::scram::{Scram, base64};
use waxwing_testkit::{RawClient, TestServer, stream_header};

use crate::common::{SERVER, options};

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const COMPRESS: &str = "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>";

#[tokio::test]
async fn s06_compression_is_never_offered_and_always_refused() {
    let scene = SERVER.scene().await;
    let mut plain = scene.connect().await;
    plain.open_stream(scene.host()).await;
    let mut encrypted = scene.connect_tls().await;
    encrypted.open_stream(scene.host()).await;
    let logged_in = scene.logged_in("romeo").await;
    for mut client in [plain, encrypted, logged_in] {
        assert!(!client.features().to_string().contains("compress"), "{}", client.features());
        for method in ["zlib", "lzw", ""] {
            client.send(COMPRESS.replace("zlib", method)).await;
            client.expect("<failure xmlns='http://jabber.org/protocol/compress'><unsupported-method/></failure>").await;
        }
        // The stream goes on as it was: nothing of it is compressed, and TLS is as necessary as before.
        if client.tls().is_none() {
            client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>").await;
            client.expect_sasl_failure("encryption-required").await;
        }
    }
    // On a bound stream it is no longer a question (XEP-0138 §3.2.1): the stream ends, or the method is refused.
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send(COMPRESS).await;
    let answer = romeo.receive().await;
    assert!(
        ["unsupported-method", "unsupported-stanza-type"].iter().any(|name| answer.child(name).is_some()),
        "{answer}"
    );
}

#[tokio::test]
async fn s09_plaintext_behind_starttls_has_no_effect() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let name = scene.account("romeo").await;
    let header = stream_header(&format!("to='{}' version='1.0'", scene.host()));
    let plain_login = base64(format!("\0{name}\0{}", scene.password("romeo")));
    let scram = base64(Scram::new("SCRAM-SHA-256", &name, &scene.password("romeo")).first());
    for injected in [
        "<iq type='get' id='injected'><query xmlns='jabber:iq:register'/></iq>".to_owned(),
        "<message to='{juliet/balcony}'><body>injected</body></message>".to_owned(),
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain_login}</auth>"),
        format!("{header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{scram}</auth>"),
        STARTTLS.to_owned(),
        "</stream:stream>".to_owned(),
        "<".to_owned(),
    ] {
        // One segment holds both.
        let mut client = scene.connect().await;
        client.open_stream(scene.host()).await;
        client.send(format!("{STARTTLS}{injected}")).await;
        let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert_eq!(rest, "", "the connection ends without a word: {injected}");
        // The plaintext comes where the handshake should be.
        let mut client = scene.connect().await;
        client.open_stream(scene.host()).await;
        client.send(STARTTLS).await;
        client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        client.send(&injected).await;
        // Too short for a record: the client gives up.
        client.shut_down().await;
        let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(!rest.contains('<'), "an alert at most: {rest:?}");
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn s09_what_was_said_before_tls_is_forgotten() {
    let scene = SERVER.scene().await;
    let name = scene.account("romeo").await;
    let mut client = scene.connect().await;
    client.open_stream(scene.host()).await;
    let scram = Scram::new("SCRAM-SHA-256", &name, &scene.password("romeo"));
    let failure = client.auth("SCRAM-SHA-256", &base64(scram.first())).await;
    assert!(failure.child("encryption-required").is_some(), "{failure}");
    client.starttls().await;
    client.open_stream(scene.host()).await;
    // A second half without a first.
    client.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>biws</response>").await;
    client.expect_sasl_failure("malformed-request").await;
}

#[tokio::test]
async fn s09_without_tls_there_is_tls_and_nothing_else() {
    let server = TestServer::start(options().toml("[auth]\nmechanisms = ['SCRAM-SHA-256', 'PLAIN']")).await;
    let scene = server.scene();
    let name = scene.account("romeo").await;
    for mechanism in
        ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL", "ANONYMOUS", "X-UNKNOWN"]
    {
        let mut client = scene.connect().await;
        let features = client.open_stream(scene.host()).await;
        let names: Vec<&str> = features.elements().map(|feature| feature.name.as_str()).collect();
        assert_eq!(names, ["starttls"], "{features}");
        assert!(features.child("starttls").is_some_and(|tls| tls.child("required").is_some()), "{features}");
        let response = base64(format!("\0{name}\0{}", scene.password("romeo")));
        let failure = client.auth(mechanism, &response).await;
        assert!(failure.name == "failure" && failure.child("encryption-required").is_some(), "{mechanism}: {failure}");
    }
    // Nor is anything else done for a stranger in the clear.
    for stanza in [
        "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>",
        "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    ] {
        let mut client = scene.connect().await;
        client.open_stream(scene.host()).await;
        client.send(stanza).await;
        client.expect_stream_error("not-authorized|policy-violation").await;
    }
}

/// A client that has logged in on the first host and not begun its new stream.
async fn proven(server: &std::sync::Arc<TestServer>, host: &str) -> (waxwing_testkit::Scene, RawClient) {
    let scene = server.scene();
    let at = if host == server.host() { "romeo".to_owned() } else { "romeo@host2".to_owned() };
    let name = scene.account(&at).await;
    let mut client = scene.try_connect_tls(waxwing_testkit::TlsChoice::new().name(host)).await.expect("a handshake");
    client.open_stream(host).await;
    let scram = client.scram(&name, &scene.password(&at));
    client.try_scram(&scram).await.expect("the right password");
    (scene, client)
}

#[tokio::test]
async fn s10_a_login_holds_for_its_own_host() {
    let server = TestServer::start(options().hosts(&["capulet.lit", "montague.lit"])).await;
    for (host, other) in [("capulet.lit", "montague.lit"), ("montague.lit", "capulet.lit")] {
        for attributes in [
            format!("to='{other}'"),
            format!("to='{other}' from='{{romeo}}'"),
            format!("to='rooms.{host}'"),
            "to='{romeo}'".to_owned(),
            "to='unknown.lit'".to_owned(),
            String::new(),
        ] {
            let (scene, mut client) = proven(&server, host).await;
            // Somebody of this name is on the other host, too.
            scene.account(if host == "capulet.lit" { "nurse@host2" } else { "nurse" }).await;
            client.begin_stream(stream_header(&format!("{attributes} version='1.0'"))).await;
            // An error comes first and at once, no features before it.
            client.expect_stream_error("not-authorized|host-unknown|improper-addressing").await;
        }
        // Somebody else of the other host.
        let (_, mut client) = proven(&server, host).await;
        client.begin_stream(stream_header(&format!("to='{host}' from='romeo@{other}' version='1.0'"))).await;
        client.expect_stream_error("invalid-from").await;
    }
}

#[tokio::test]
async fn s10_the_row_names_the_error_for_the_other_host() {
    let server = TestServer::start(options().hosts(&["capulet.lit", "montague.lit"])).await;
    let (_, mut client) = proven(&server, "capulet.lit").await;
    client.begin_stream(stream_header("to='montague.lit' version='1.0'")).await;
    client.expect_stream_error("not-authorized").await;
    // The other way with STARTTLS, where the name in TLS says nothing.
    let scene = server.scene();
    let name = scene.account("juliet").await;
    let mut client = scene.connect().await;
    client.login(&name, &scene.password("juliet")).await;
    // A second header where the first has opened the stream already.
    client.send(stream_header("to='montague.lit' version='1.0'").trim_start_matches("<?xml version='1.0'?>")).await;
    client.expect_stream_error("not-authorized|not-well-formed").await;
}
