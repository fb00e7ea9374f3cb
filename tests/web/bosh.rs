//! XMPP over BOSH (XEP-0124, XEP-0206): sessions, windows, keys, security rows S1, S2, S15 and S29, resumption.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use waxwing_testkit::bosh::{attribute, content, post};
use waxwing_testkit::http::request;
use waxwing_testkit::{Scene, TestServer, Web};

use crate::common::{SERVER, options};

const HOST: &str = "capulet.lit";
const SM: &str = "urn:xmpp:sm:3";

async fn http() -> (Scene, SocketAddr) {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().http[0];
    (scene, address)
}

/// A session that has begun: its id, and the first response.
async fn begin(address: SocketAddr, rid: u64, more: &str) -> (String, String) {
    let attributes = format!("rid='{rid}' to='{HOST}' ver='1.11' {more}");
    let answer = post(address, HOST, &attributes, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let sid = attribute(&text, "sid").unwrap_or_else(|| panic!("no session: {text}"));
    (sid.to_owned(), text)
}

/// The condition a session or a request was ended with.
async fn condition(address: SocketAddr, attributes: &str, content: &str) -> String {
    let answer = post(address, HOST, attributes, content).await;
    let text = answer.text();
    assert_eq!(attribute(&text, "type"), Some("terminate"), "{attributes}: {} {text}", answer.status);
    attribute(&text, "condition").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_session_is_what_was_asked_for_within_bounds() {
    let (_scene, address) = http().await;
    let (sid, text) = begin(address, 7, "wait='999' hold='100' ack='1'").await;
    assert_eq!(sid.len(), 24);
    for (name, value) in [
        ("wait", "60"),
        ("hold", "2"),
        ("requests", "3"),
        ("inactivity", "60"),
        ("maxpause", "120"),
        ("polling", "2"),
        ("ver", "1.11"),
        ("from", HOST),
        ("ack", "7"),
        ("xmpp:version", "1.0"),
        ("xmpp:restartlogic", "true"),
    ] {
        assert_eq!(attribute(&text, name), Some(value), "{text}");
    }
    assert!(content(&text).starts_with("<stream:features xmlns:stream="), "{text}");
    assert!(!text.contains("starttls") && !text.contains("-PLUS"), "{text}");
    let (_, polling) = begin(address, 7, "wait='0' hold='1'").await;
    assert_eq!((attribute(&polling, "hold"), attribute(&polling, "requests")), (Some("0"), Some("1")));
    let (_, old) = begin(address, 7, "wait='5'").await;
    assert_eq!(attribute(&old, "ack"), None);
    // Media types that no browser runs.
    for (wish, given) in [("text/plain", "text/plain; charset=utf-8"), ("text/html", "text/xml; charset=utf-8")] {
        let attributes = format!("rid='1' to='{HOST}' ver='1.6' content='{wish}'");
        assert_eq!(post(address, HOST, &attributes, "").await.header("content-type"), Some(given));
    }
}

#[tokio::test]
async fn bad_beginnings_are_told_why() {
    let (_scene, address) = http().await;
    for (attributes, expected) in [
        ("rid='1' ver='1.6'", "improper-addressing"),
        ("rid='1' ver='1.6' to=''", "improper-addressing"),
        ("rid='1' ver='1.6' to='montague.lit'", "host-unknown"),
        ("to='capulet.lit' ver='1.6'", "bad-request"),
        ("rid='x' to='capulet.lit' ver='1.6'", "bad-request"),
        ("rid='0' to='capulet.lit' ver='1.6'", "bad-request"),
        ("rid='9007199254740992' to='capulet.lit' ver='1.6'", "bad-request"),
        ("rid='1' sid='nobody'", "item-not-found"),
    ] {
        assert_eq!(condition(address, attributes, "").await, expected, "{attributes}");
    }
    for bad in
        ["", "x", "<html/>", "<body/>", "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='capulet.lit'>"]
    {
        assert_eq!(request(address, "POST /http-bind HTTP/1.1", &[], bad).await.status, 400, "{bad}");
    }
    assert_eq!(request(address, "GET /http-bind HTTP/1.1", &[], "").await.status, 405);
}

#[tokio::test]
async fn s28_pages_of_other_origins_are_refused_and_ours_are_named() {
    let (_scene, address) = http().await;
    let body = format!("<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='{HOST}' ver='1.6'/>");
    let ask = async |line: &str, origin: &str| request(address, line, &[("origin", origin)], &body).await;
    let ours = ask("POST /http-bind HTTP/1.1", "http://capulet.lit").await;
    assert_eq!((ours.status, ours.header("access-control-allow-origin")), (200, Some("http://capulet.lit")));
    let preflight = ask("OPTIONS /http-bind HTTP/1.1", "http://capulet.lit").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("content-type"));
    for line in ["POST /http-bind HTTP/1.1", "OPTIONS /http-bind HTTP/1.1"] {
        let evil = ask(line, "https://evil").await;
        assert_eq!((evil.status, evil.header("access-control-allow-origin")), (403, None), "{line}");
    }
    assert_eq!(
        request(address, "POST /http-bind HTTP/1.1", &[], &body).await.header("access-control-allow-origin"),
        None
    );
}

#[tokio::test]
async fn s29_ids_cannot_be_guessed_and_a_wrong_guess_ends_nothing() {
    let (_scene, address) = http().await;
    let (sid, _) = begin(address, 1_000, "wait='5' hold='1'").await;
    let (other, _) = begin(address, 1_000, "wait='5' hold='1'").await;
    assert_ne!(sid, other);
    for wrong in [1, 999, 1_003, 5_000, 9_007_199_254_740_991u64] {
        let attributes = format!("sid='{sid}' rid='{wrong}'");
        assert_eq!(condition(address, &attributes, "").await, "item-not-found", "{wrong}");
        assert_eq!(condition(address, &format!("{attributes} type='terminate'"), "").await, "item-not-found");
    }
    let attributes = format!("sid='{sid}' rid='1001' stream='x'");
    assert_eq!(condition(address, &attributes, "").await, "item-not-found");
    // Whose it is goes on.
    let ping = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>";
    let answer = post(address, HOST, &format!("sid='{sid}' rid='1001'"), ping).await.text();
    assert!(content(&answer).contains("invalid-mechanism"), "{answer}");
}

#[tokio::test]
async fn a_response_that_was_lost_is_given_again() {
    let (_scene, address) = http().await;
    let (sid, first) = begin(address, 50, "wait='5' hold='1'").await;
    let again = post(address, HOST, &format!("sid='{sid}' rid='50'"), "").await.text();
    assert_eq!(again, first);
    // Two requests for the same turn: the first is told to give up.
    let attributes = format!("sid='{sid}' rid='51'");
    let old = tokio::spawn({
        let attributes = attributes.clone();
        async move { post(address, HOST, &attributes, "").await.text() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let new = tokio::spawn(async move { post(address, HOST, &attributes, "").await.text() });
    assert_eq!(attribute(&old.await.expect("an answer"), "type"), Some("error"));
    let begun = Instant::now();
    let answer = new.await.expect("an answer");
    assert!(content(&answer).is_empty() && attribute(&answer, "type").is_none(), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(8), "held no longer than it may be");
}

#[tokio::test]
async fn requests_out_of_order_are_heard_in_order() {
    let (_scene, address) = http().await;
    let (sid, _) = begin(address, 10, "wait='5' hold='1'").await;
    let later = tokio::spawn({
        let attributes = format!("sid='{sid}' rid='12'");
        async move { post(address, HOST, &attributes, "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await.text() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let bad = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>";
    let first = post(address, HOST, &format!("sid='{sid}' rid='11'"), bad).await.text();
    let second = later.await.expect("an answer");
    // Which of the two carries which answer depends on when they are ready; the order of the answers does not.
    let third = post(address, HOST, &format!("sid='{sid}' rid='13'"), "").await.text();
    let both = format!("{first}{second}{third}");
    let (mechanism, aborted) = (both.find("invalid-mechanism"), both.find("<aborted"));
    assert!(mechanism.is_some() && aborted.is_some() && mechanism < aborted, "{both}");
}

#[tokio::test]
async fn keys_that_do_not_follow_end_the_session() {
    let (_scene, address) = http().await;
    // SHA-1 of "abc".
    let key = "newkey='a9993e364706816aba3e25717850c26c9cd0d89d'";
    let (sid, _) = begin(address, 10, &format!("wait='1' hold='1' {key}")).await;
    let bad = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>";
    let answer = post(address, HOST, &format!("sid='{sid}' rid='11' key='abc'"), bad).await.text();
    assert!(content(&answer).contains("invalid-mechanism"), "{answer}");
    assert_eq!(condition(address, &format!("sid='{sid}' rid='12' key='abc'"), "").await, "item-not-found");
    assert_eq!(condition(address, &format!("sid='{sid}' rid='13' key='abc'"), "").await, "item-not-found");
}

#[tokio::test]
async fn hasty_polls_end_the_session_and_old_clients_get_statuses() {
    let (_scene, address) = http().await;
    let (sid, _) = begin(address, 10, "wait='0' hold='0'").await;
    let poll = async |sid: &str, rid: u64| post(address, HOST, &format!("sid='{sid}' rid='{rid}'"), "").await;
    assert!(!poll(&sid, 11).await.text().contains("terminate"));
    assert!(poll(&sid, 12).await.text().contains("condition='policy-violation'"));
    // Without `ver`.
    let answer = post(address, HOST, &format!("rid='10' to='{HOST}' wait='0'"), "").await.text();
    let sid = attribute(&answer, "sid").expect("a session").to_owned();
    assert_eq!(poll(&sid, 11).await.status, 200);
    assert_eq!(poll(&sid, 12).await.status, 403);
}

#[tokio::test]
async fn a_silent_client_is_forgotten_and_a_pause_is_granted() {
    let server = TestServer::start(options().toml("[http]\nbosh_inactivity = '1s'\nbosh_pause = '30s'")).await;
    let address = server.addresses().http[0];
    let (silent, _) = begin(address, 10, "wait='1' hold='1'").await;
    let (pausing, _) = begin(address, 10, "wait='1' hold='1'").await;
    let answer = post(address, HOST, &format!("sid='{pausing}' rid='11' pause='10'"), "").await.text();
    assert!(!answer.contains("terminate"), "{answer}");
    tokio::time::sleep(Duration::from_millis(2_800)).await;
    let attributes = format!("sid='{silent}' rid='11'");
    let gone = condition(address, &attributes, "").await;
    assert!(matches!(gone.as_str(), "item-not-found" | "remote-connection-failed"), "{gone}");
    let answer = post(address, HOST, &format!("sid='{pausing}' rid='12'"), "").await.text();
    assert!(!answer.contains("terminate"), "{answer}");
}

#[tokio::test]
async fn people_talk_over_bosh_and_end_in_good_order() {
    let (scene, _) = http().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.web_session("juliet/balcony", Web::Bosh).await;
    juliet.go_online(0).await;
    for number in 0..20 {
        romeo
            .send(format!("<message to='{{juliet/balcony}}' type='chat' id='{number}'><body>{number}</body></message>"))
            .await;
        juliet.expect(format!("<message {{…}}>{{…}}<body>{number}</body></message>")).await;
        juliet
            .send(format!("<message to='{{romeo/orchard}}' type='chat' id='a{number}'><body>{number}</body></message>"))
            .await;
        romeo.expect(format!("<message {{…}}><body>{number}</body>{{…}}</message>")).await;
    }
    juliet.barrier().await;
    juliet.send("</stream:stream>").await;
    juliet.expect_end().await;
}

#[tokio::test]
async fn sessions_survive_a_lost_bosh_session_and_change_their_transport() {
    let (scene, _) = http().await;
    let mut romeo = scene.online("romeo/orchard").await;
    for (first, second) in [(Web::Bosh, Web::Socket), (Web::Socket, Web::Bosh), (Web::Bosh, Web::Bosh)] {
        let mut juliet = scene.web_session("juliet/balcony", first).await;
        juliet.go_online(0).await;
        juliet.send(format!("<enable xmlns='{SM}' resume='true'/>")).await;
        let enabled = juliet.expect(format!("<enabled xmlns='{SM}' id='{{any}}' resume='true' max='{{any}}'/>")).await;
        let id = enabled.attribute("id").expect("an id").to_owned();
        juliet.hang_up();
        drop(juliet);
        romeo.send("<message to='{juliet/balcony}' type='chat' id='m'><body>still there?</body></message>").await;
        romeo.barrier().await;
        let mut juliet = scene.web_logged_in("juliet", second).await;
        juliet.send(format!("<resume xmlns='{SM}' previd='{id}' h='0'/>")).await;
        juliet.expect(format!("<resumed xmlns='{SM}' previd='{id}' h='0'/>")).await;
        juliet.expect("<message {…}>{…}<body>still there?</body>{…}</message>").await;
        juliet.send("</stream:stream>").await;
        // A wish for an acknowledgement may come before the end.
        while juliet.receive_or_close().await.is_some() {}
        romeo.drain().await;
    }
}

#[tokio::test]
async fn one_session_goes_from_transport_to_transport() {
    let (scene, _) = http().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    juliet.send(format!("<enable xmlns='{SM}' resume='true'/>")).await;
    let enabled = juliet.expect(format!("<enabled xmlns='{SM}' id='{{any}}' resume='true' max='{{any}}'/>")).await;
    let id = enabled.attribute("id").expect("an id").to_owned();
    let ways = [Some(Web::Socket), Some(Web::Bosh), None, Some(Web::SecureSocket), Some(Web::Bosh)];
    for (handled, way) in ways.into_iter().enumerate() {
        juliet.hang_up();
        drop(juliet);
        romeo
            .send(format!("<message to='{{juliet/balcony}}' type='chat' id='m'><body>{handled}</body></message>"))
            .await;
        romeo.barrier().await;
        juliet = match way {
            Some(web) => scene.web_logged_in("juliet", web).await,
            None => scene.logged_in("juliet").await,
        };
        juliet.send(format!("<resume xmlns='{SM}' previd='{id}' h='{handled}'/>")).await;
        juliet.expect(format!("<resumed xmlns='{SM}' previd='{id}' h='0'/>")).await;
        juliet.expect(format!("<message {{…}}>{{…}}<body>{handled}</body>{{…}}</message>")).await;
    }
}

#[tokio::test]
async fn s01_s02_s15_attacks_fail_over_bosh_too() {
    let (scene, address) = http().await;
    for (bad, expected) in [
        ("<a><!-- x --></a>".to_owned(), "restricted-xml"),
        ("<a><?x y?></a>".to_owned(), "restricted-xml"),
        (format!("<a>{}</a>", "x".repeat(9 * 1024)), "policy-violation"),
        (format!("<a>{}</a>", "<b/>".repeat(40)), "policy-violation"),
        (format!("{}{}", "<a>".repeat(40), "</a>".repeat(40)), "policy-violation"),
    ] {
        let (sid, _) = begin(address, 10, "wait='5' hold='1'").await;
        let answer = post(address, HOST, &format!("sid='{sid}' rid='11'"), &bad).await.text();
        assert_eq!(attribute(&answer, "condition"), Some("remote-stream-error"), "{answer}");
        assert!(answer.contains(&format!("<{expected} ")), "{answer}");
    }
    let doctype = "<!DOCTYPE x [<!ENTITY a 'b'>]><body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='&a;'/>";
    assert_eq!(request(address, "POST /http-bind HTTP/1.1", &[], doctype).await.status, 400);
    // A stranger's request is bounded before it is looked at.
    let (sid, _) = begin(address, 10, "wait='5' hold='1'").await;
    let large = format!("<a>{}</a>", "<b>x</b>".repeat(8 * 1024));
    let answer = post(address, HOST, &format!("sid='{sid}' rid='11'"), &large).await;
    assert!(answer.status == 413 || answer.text().contains("policy-violation"), "{}", answer.text());
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.web_session("romeo/orchard", Web::Bosh).await;
    romeo.send("<message from='{juliet}' to='{juliet/balcony}' type='chat' id='1'><body>x</body></message>").await;
    juliet.expect("<message from='{romeo/orchard}' {…}><body>x</body>{…}</message>").await;
    romeo.send(format!("<message>{}</message>", "<b/>".repeat(10_000))).await;
    romeo.expect_stream_error("policy-violation").await;
}

#[tokio::test]
async fn a_server_that_stops_tells_bosh_clients() {
    let server = TestServer::start(options()).await;
    let address = server.addresses().http[0];
    let (sid, _) = begin(address, 10, "wait='20' hold='1'").await;
    let waiting = tokio::spawn(async move { post(address, HOST, &format!("sid='{sid}' rid='11'"), "").await.text() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.stop().await;
    let answer = waiting.await.expect("an answer");
    assert_eq!(attribute(&answer, "condition"), Some("system-shutdown"), "{answer}");
}
