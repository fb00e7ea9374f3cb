//! Stream headers (RFC 6120 §4.7): what ours say, and what becomes of bad ones.

use waxwing_testkit::{Element, RawClient, Scene, TestServer, stream_header};

use crate::common::{SERVER, options};

/// A header as a client writes it before anyone knows who it is.
fn header(scene: &Scene, attributes: &str) -> String {
    stream_header(&format!("to='{}' version='1.0' {attributes}", scene.host()))
}

async fn opened(client: &mut RawClient, header: impl AsRef<str>) -> Element {
    client.begin_stream(header).await;
    client.expect_header().await
}

#[tokio::test]
async fn c01_our_header_answers_theirs() {
    let scene = SERVER.scene().await;
    for tls in [false, true] {
        for (theirs, ours) in [
            ("xml:lang='en'", None),
            ("xml:lang='en' from='romeo@{host}'", Some("romeo@{host}")),
            ("from='romeo@{host}/orchard'", Some("romeo@{host}")),
        ] {
            let mut client = if tls { scene.connect_tls().await } else { scene.connect().await };
            let header = opened(&mut client, header(&scene, theirs)).await;
            assert_eq!(header.attribute("from"), Some(scene.host()));
            assert_eq!(header.attribute("version"), Some("1.0"));
            assert!(header.attribute("id").is_some_and(|id| !id.is_empty()), "{header}");
            assert!(header.attribute("xml:lang").is_some_and(|lang| !lang.is_empty()), "{header}");
            let ours = ours.map(|ours| ours.replace("{host}", scene.host()));
            assert_eq!(header.attribute("to"), ours.as_deref(), "{theirs}");
            client.expect_features().await;
            let heard = client.heard();
            assert!(heard.contains("<stream:stream ") && heard.contains("xmlns='jabber:client'"), "{heard}");
        }
    }
}

#[tokio::test]
async fn c02_every_stream_has_an_unguessable_id_of_its_own() {
    let scene = SERVER.scene().await;
    let name = scene.account("romeo").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut client = scene.connect().await;
        ids.push(opened(&mut client, header(&scene, "id='mine'")).await);
        client.expect_features().await;
        client.starttls().await;
        ids.push(opened(&mut client, header(&scene, "id='mine'")).await);
        client.expect_features().await;
        let scram = client.scram(&name, &scene.password("romeo"));
        client.try_scram(&scram).await.expect("romeo logs in");
        ids.push(opened(&mut client, header(&scene, "id='mine'")).await);
        client.expect_features().await;
    }
    let mut ids: Vec<String> = ids.iter().map(|header| header.attribute("id").unwrap_or_default().to_owned()).collect();
    // 128 bits take 22 characters of base64.
    assert!(ids.iter().all(|id| id.len() >= 22 && id != "mine"), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 9, "{ids:?}");
}

/// Headers that are wrong, and the stream errors that may answer them.
fn bad_headers(host: &str) -> Vec<(String, &'static str)> {
    let (client, streams) = ("jabber:client", "http://etherx.jabber.org/streams");
    let with = |name: &str, content: &str, streams: &str, rest: &str| {
        let prefix = name.split(':').next().unwrap_or_default();
        format!("<?xml version='1.0'?><{name} xmlns='{content}' xmlns:{prefix}='{streams}' {rest}>")
    };
    let good = format!("to='{host}' version='1.0'");
    vec![
        (with("stream:stream", client, "http://wrong/", &good), "invalid-namespace"),
        (with("stream:stream", "jabber:server", streams, &good), "invalid-namespace"),
        (with("stream:stream", "jabber:foo", streams, &good), "invalid-namespace"),
        (with("foobar:stream", client, streams, &good), "bad-namespace-prefix"),
        (with("stream:stream", client, streams, "to='unknown.lit' version='1.0'"), "host-unknown"),
        (with("stream:stream", client, streams, "version='1.0'"), "host-unknown"),
        (with("stream:stream", client, streams, &format!("to='{host}'")), "unsupported-version"),
        (with("stream:stream", client, streams, "to='@@' version='1.0'"), "host-unknown|improper-addressing"),
        (with("stream:river", client, streams, &good), "bad-format|invalid-namespace|invalid-xml"),
        (format!("<stream xmlns='{client}' {good}>"), "invalid-namespace|bad-namespace-prefix|bad-format"),
        ("<<<".to_owned(), "not-well-formed"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "not-well-formed"),
        ("<!DOCTYPE x>".to_owned(), "restricted-xml|not-well-formed"),
        (format!("<stream:stream xmlns='{client}' {good}>"), "not-well-formed|bad-namespace-prefix"),
    ]
}

#[tokio::test]
async fn c03_a_bad_header_is_answered_by_our_header_first() {
    let scene = SERVER.scene().await;
    for (bad, condition) in bad_headers(scene.host()) {
        let mut client = scene.connect().await;
        client.begin_stream(bad).await;
        let header = client.expect_header().await;
        assert_eq!(header.attribute("version"), Some("1.0"), "{header}");
        assert!(header.attribute("id").is_some_and(|id| !id.is_empty()), "{header}");
        assert!(header.attribute("from").is_some_and(|from| ["", scene.host()].contains(&from)), "{header}");
        client.expect_stream_error(condition).await;
    }
}

async fn refused(header: impl AsRef<str>, condition: &str) {
    let scene = SERVER.scene().await;
    for tls in [false, true] {
        let mut client = if tls { scene.connect_tls().await } else { scene.connect().await };
        client.begin_stream(header.as_ref()).await;
        client.expect_stream_error(condition).await;
    }
}

#[tokio::test]
async fn c04_a_wrong_stream_namespace_is_refused() {
    refused(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://wrong/' to='{host}' version='1.0'>",
        "invalid-namespace",
    )
    .await;
}

#[tokio::test]
async fn c05_a_wrong_content_namespace_is_refused() {
    for content in ["jabber:server", "jabber:foo", ""] {
        let header = format!(
            "<stream:stream xmlns='{content}' xmlns:stream='http://etherx.jabber.org/streams' to='{{host}}' version='1.0'>"
        );
        refused(header, "invalid-namespace").await;
    }
}

#[tokio::test]
async fn c06_another_prefix_for_the_stream_is_refused() {
    refused(
        "<foobar:stream xmlns='jabber:client' xmlns:foobar='http://etherx.jabber.org/streams' to='{host}' version='1.0'>",
        "bad-namespace-prefix",
    )
    .await;
}

#[tokio::test]
async fn c07_an_unknown_host_is_refused() {
    let scene = SERVER.scene().await;
    for to in ["to='montague.lit'", "to='sub.{host}'", "to='romeo@{host}'", "to=''", ""] {
        let mut client = scene.connect().await;
        client.begin_stream(stream_header(&format!("{to} version='1.0'"))).await;
        let header = client.expect_header().await;
        assert!(header.attribute("from").is_some_and(|from| ["", scene.host()].contains(&from)), "{header}");
        client.expect_stream_error("host-unknown").await;
    }
}

#[tokio::test]
async fn c08_versions_are_compared_as_numbers() {
    let scene = SERVER.scene().await;
    for version in ["1.0", "1.1", "1.10", "01.0", "2.0", "10.0"] {
        let mut client = scene.connect().await;
        let header = opened(&mut client, stream_header(&format!("to='{{host}}' version='{version}'"))).await;
        assert_eq!(header.attribute("version"), Some("1.0"), "for {version}");
        client.expect_features().await;
    }
    for version in ["", "version='0.9'", "version=''", "version='one'", "version='1'"] {
        let mut client = scene.connect().await;
        client.begin_stream(stream_header(&format!("to='{{host}}' {version}"))).await;
        client.expect_stream_error("unsupported-version").await;
    }
}

#[tokio::test]
async fn c09_stanzas_before_the_login_end_the_stream() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for stanza in [
        "<message to='{juliet/balcony}'><body>too early</body></message>",
        "<message to='{juliet}' from='{juliet}'><body>too early</body></message>",
        "<presence to='{juliet}'/>",
        "<iq type='get' id='1' to='{juliet/balcony}'><ping xmlns='urn:xmpp:ping'/></iq>",
    ] {
        for tls in [false, true] {
            let mut client = if tls { scene.connect_tls().await } else { scene.connect().await };
            client.open_stream(scene.host()).await;
            client.send(stanza).await;
            client.expect_stream_error("not-authorized").await;
        }
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c09_stanzas_before_binding_end_the_stream() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for stanza in [
        "<message to='{juliet/balcony}'><body>too early</body></message>",
        "<presence/>",
        "<presence to='{juliet}'/>",
        "<iq type='get' id='1' to='{juliet/balcony}'><ping xmlns='urn:xmpp:ping'/></iq>",
    ] {
        let mut romeo = scene.logged_in("romeo").await;
        romeo.send(stanza).await;
        romeo.expect_stream_error("not-authorized").await;
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c25_a_redirect_is_given_only_inside_tls() {
    let moved = "[modules.streams]\nredirect = '[2001:db8::1]:5222'";
    let server = TestServer::start(options().toml(moved)).await;
    let scene = server.scene();
    let mut client = scene.connect().await;
    client.begin_stream(stream_header(&format!("to='{}' version='1.0'", scene.host()))).await;
    client.expect_header().await;
    assert!(client.expect_features().await.child("starttls").is_some(), "before TLS nobody is sent anywhere");
    client.starttls().await;
    client.begin_stream(stream_header(&format!("to='{}' version='1.0'", scene.host()))).await;
    let error = client.expect_stream_error("see-other-host").await;
    assert_eq!(error.child("see-other-host").expect("the condition").text(), "[2001:db8::1]:5222");
}
