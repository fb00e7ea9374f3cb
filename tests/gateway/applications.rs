//! UnifiedPush: applications reach their users through the XMPP client.

use std::net::SocketAddr;
use std::time::Duration;

use waxwing_testkit::http::{HttpAnswer, request};
use waxwing_testkit::{RawClient, TestOptions, TestServer};

use crate::common::options;
use crate::refused;

const UNIFIED: &str = "[modules.push_gateway.unified_push]\nenabled = true\ntimeout = \"2s\"\n";
const APPLICATION: &str = "bK3sdmrbtj3bf6XA2S12b8jJUA5TT1dhPEyeoZfVSRM=";
const INSTANCE: &str = "EtD/1XPLmoIph7W73CZ/uyv6FAnhEAXY1GySHX17vAw=";

fn with(more: &str) -> TestOptions {
    options().toml(format!("{UNIFIED}{more}"))
}

fn register(instance: &str) -> String {
    format!(
        "<iq type='set' id='r' to='push.{{host}}'><register xmlns='http://gultsch.de/xmpp/drafts/unified-push' \
         application='{APPLICATION}' instance='{instance}'/></iq>"
    )
}

/// Registers an application; gives back the path of its address.
async fn open(client: &mut RawClient) -> String {
    client.send(register(INSTANCE)).await;
    client
        .expect(
            "<iq type='result' id='r' from='push.{host}' to='{any}'>\
             <registered xmlns='http://gultsch.de/xmpp/drafts/unified-push' endpoint='{capture:endpoint}' \
             expiration='{any}'/></iq>",
        )
        .await;
    let endpoint = client.captured("endpoint");
    let path = endpoint.strip_prefix("https://capulet.lit").expect("our own address");
    assert_eq!(path.strip_prefix("/push/").expect("the route").len(), 43);
    path.to_owned()
}

async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    request(address, &format!("POST {path} HTTP/1.1"), headers, body).await
}

/// What the client is told, with this text in base64.
fn told(text: &str) -> String {
    format!(
        "<iq type='set' id='{{capture:id}}' from='push.{{host}}' to='{{any}}'>\
         <push xmlns='http://gultsch.de/xmpp/drafts/unified-push' application='{APPLICATION}' instance='{INSTANCE}'>{text}\
         </push></iq>"
    )
}

#[tokio::test]
async fn what_is_posted_reaches_the_client_and_its_sender_is_told() {
    let server = TestServer::start(with("")).await;
    let address = server.addresses().http[0];
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let path = open(&mut juliet).await;
    assert_eq!(open(&mut juliet).await, path, "renewed, not made anew");
    let posted = tokio::spawn({
        let path = path.clone();
        async move { post(address, &path, &[("TTL", "60")], "hello").await }
    });
    juliet.expect(told("aGVsbG8=")).await;
    juliet.send("<iq type='result' id='{id}' to='push.{host}'/>").await;
    let answer = posted.await.unwrap();
    assert_eq!((answer.status, answer.header("ttl")), (201, Some("60")));
    let found = request(address, &format!("GET {path} HTTP/1.1"), &[], "").await;
    assert_eq!((found.status, found.text()), (200, "{\"unifiedpush\":{\"version\":1}}".to_owned()));
    // It was confirmed, so it does not come again.
    drop(juliet);
    let mut juliet = scene.online("juliet/balcony").await;
    juliet.barrier().await;
}

#[tokio::test]
async fn what_cannot_be_delivered_is_told() {
    let server = TestServer::start(with("rate = \"4/min\"\n")).await;
    let address = server.addresses().http[0];
    let scene = server.scene();
    let mut juliet = scene.session("juliet/balcony").await;
    let path = open(&mut juliet).await;
    let nobody = format!("/push/{}", "A".repeat(43));
    for (path, headers, body, status) in [
        (nobody.as_str(), vec![], "x".to_owned(), 404),
        ("/push/short", vec![], "x".to_owned(), 404),
        ("/push", vec![], "x".to_owned(), 404),
        (&path, vec![], String::new(), 400),
        (&path, vec![("TTL", "soon")], "x".to_owned(), 400),
        (&path, vec![("Topic", "a b")], "x".to_owned(), 400),
        (&path, vec![], "x".repeat(4097), 413),
    ] {
        assert_eq!(post(address, path, &headers, &body).await.status, status, "{path} {headers:?}");
    }
    assert_eq!(request(address, &format!("DELETE {path} HTTP/1.1"), &[], "").await.status, 405);
    juliet.barrier().await;
    drop(juliet);
    wait_until_away(&server).await;
    // Nobody is there, and it may not wait: it is taken and lost (RFC 8030 §5.2).
    for _ in 0..4 {
        let answer = post(address, &path, &[("TTL", "0")], "x").await;
        assert_eq!((answer.status, answer.header("ttl")), (201, Some("0")));
    }
    let answer = post(address, &path, &[("TTL", "0")], "x").await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait > 0)));
}

async fn wait_until_away(server: &TestServer) {
    for _ in 0..100 {
        if server.with_house(|house| async move { house.directory().count() }).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("somebody is still there");
}

#[tokio::test]
async fn what_comes_while_the_client_is_away_waits_for_it_over_a_restart() {
    let server = TestServer::start(with("kept = 3\n")).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let path = open(&mut juliet).await;
    drop(juliet);
    wait_until_away(&server).await;
    let address = server.addresses().http[0];
    assert_eq!(post(address, &path, &[], "one").await.status, 201);
    for text in ["two", "three"] {
        assert_eq!(post(address, &path, &[("Topic", "upd")], text).await.status, 201);
    }
    assert_eq!(post(address, &path, &[("TTL", "1")], "too late").await.status, 201);
    assert_eq!(post(address, &path, &[], "too much").await.status, 429);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.stop().await;
    server.start_again().await.unwrap();
    // Another client of hers is none of its business.
    let mut elsewhere = scene.online("juliet/elsewhere").await;
    elsewhere.barrier().await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<presence/>").await;
    juliet
        .expect_in_any_order(&[
            told("b25l"),
            "<presence from='{juliet/balcony}' to='{any}'>{…}</presence>".to_owned(),
            "<presence from='{juliet/elsewhere}' to='{any}'>{…}</presence>".to_owned(),
        ])
        .await;
    juliet.send("<iq type='result' id='{id}' to='push.{host}'/>").await;
    juliet.expect(told("dGhyZWU=")).await;
    juliet.barrier().await;
    // The second was not confirmed: it comes again.
    drop(juliet);
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<presence/>").await;
    let came = juliet.drain().await;
    let pushes: Vec<String> =
        came.iter().filter_map(|stanza| stanza.child("push")).map(waxwing_testkit::Element::text).collect();
    assert_eq!(pushes, ["dGhyZWU="]);
}

#[tokio::test]
async fn an_application_that_is_gone_has_no_address_any_more() {
    let server = TestServer::start(with("")).await;
    let address = server.addresses().http[0];
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let mut nurse = scene.online("nurse/room").await;
    for (kept, condition) in [("60", "item-not-found"), ("0", "feature-not-implemented")] {
        let path = open(&mut juliet).await;
        let posted = tokio::spawn({
            let path = path.clone();
            async move { post(address, &path, &[("TTL", kept)], "hello").await.status }
        });
        juliet.expect(told("aGVsbG8=")).await;
        // Somebody else says so: nobody listens.
        let error = format!(
            "<iq type='error' id='{{id}}' to='push.{{host}}'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        );
        nurse.send(&error).await;
        nurse.barrier().await;
        assert!(!posted.is_finished());
        juliet.send(&error).await;
        assert_eq!(posted.await.unwrap(), 404);
        assert_eq!(post(address, &path, &[], "hello").await.status, 404);
    }
    let path = open(&mut juliet).await;
    let unregister = register(INSTANCE).replace("<register", "<unregister");
    juliet.send(&unregister).await;
    juliet.expect("<iq type='result' id='r' from='push.{host}' to='{juliet/balcony}'/>").await;
    assert_eq!(post(address, &path, &[], "hello").await.status, 404);
    juliet.send(&unregister).await;
    juliet.expect(refused("r", "cancel:item-not-found")).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_hears_of_it_again() {
    let server = TestServer::start(with("").toml("[modules.push_gateway.unified_push]\ntimeout = \"200ms\"")).await;
    let address = server.addresses().http[0];
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let path = open(&mut juliet).await;
    assert_eq!(post(address, &path, &[], "hello").await.status, 201);
    juliet.expect(told("aGVsbG8=")).await;
    let late = juliet.captured("id");
    drop(juliet);
    wait_until_away(&server).await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<presence/>").await;
    let came = juliet.drain().await;
    assert_eq!(came.iter().filter(|stanza| stanza.child("push").is_some()).count(), 1);
    // It may answer whenever it likes.
    juliet.send(format!("<iq type='result' id='{late}' to='push.{{host}}'/>")).await;
    juliet.barrier().await;
    juliet.send("<presence to='push.{host}'/>").await;
    assert!(juliet.drain().await.is_empty(), "nothing waits any more");
}

#[tokio::test]
async fn only_clients_of_this_host_register_and_with_digests_only() {
    let server = TestServer::start(with("").hosts(&["capulet.lit", "montague.lit"])).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo@host2/orchard").await;
    romeo.send(register(INSTANCE)).await;
    romeo.expect(refused("r", "auth:forbidden")).await;
    let mut juliet = scene.session("juliet/balcony").await;
    for instance in ["", "com.example.app", "AAAA"] {
        juliet.send(register(instance)).await;
        juliet.expect(refused("r", "modify:bad-request")).await;
    }
}
