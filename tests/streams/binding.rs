//! Resource binding (RFC 6120 §7).

use waxwing_testkit::RawClient;

use crate::common::SERVER;

const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// Asks for a resource and takes nothing for granted.
async fn ask(client: &mut RawClient, id: &str, resource: &str) {
    client
        .send_bytes(format!(
            "<iq type='set' id='{id}'><bind xmlns='{BIND}'><resource>{resource}</resource></bind></iq>"
        ))
        .await;
}

#[tokio::test]
async fn c43_without_a_resource_the_server_makes_an_unguessable_one() {
    let scene = SERVER.scene().await;
    let mut resources = Vec::new();
    for _ in 0..4 {
        let mut client = scene.logged_in("romeo").await;
        let jid = client.bind("").await;
        let (bare, resource) = jid.split_once('/').expect("a full JID");
        assert_eq!(bare, scene.jid("romeo"));
        // RFC 6120 §7.5 names a random UUID: 122 bits, 21 letters of base64.
        assert!(resource.len() >= 21, "{resource}");
        client.barrier().await;
        resources.push((client, resource.to_owned()));
    }
    resources.sort_by(|one, other| one.1.cmp(&other.1));
    resources.dedup_by(|one, other| one.1 == other.1);
    assert_eq!(resources.len(), 4);
}

#[tokio::test]
async fn c44_a_resource_in_use_goes_to_the_newer_session() {
    let scene = SERVER.scene().await;
    let mut older = scene.online("romeo/orchard").await;
    let mut juliet = scene.session("juliet/balcony").await;
    let mut newer = scene.session("romeo/orchard").await;
    assert_eq!(older.jid(), newer.jid(), "the third way of RFC 6120 §7.7.2.2");
    older.expect_stream_error("conflict").await;
    juliet.send("<message to='{romeo/orchard}' type='chat'><body>only once</body></message>").await;
    newer
        .expect("<message from='{juliet/balcony}' to='{romeo/orchard}' type='chat'><body>only once</body>{stanza-id}</message>")
        .await;
    newer.barrier().await;
}

#[tokio::test]
async fn c45_a_resource_that_is_none_is_refused_or_made() {
    let scene = SERVER.scene().await;
    let mut client = scene.logged_in("romeo").await;
    for (number, bad) in ["x".repeat(1024).as_str(), "a\u{7f}b", "a&#x85;b", "\u{fdd0}", "\u{e000}"].iter().enumerate()
    {
        ask(&mut client, &format!("b{number}"), bad).await;
        client.expect(format!("<iq type='error' id='b{number}' {{…}}>{{error:modify:bad-request}}{{…}}</iq>")).await;
    }
    // 1023 bytes fit, and an empty one asks for any.
    ask(&mut client, "good", &"x".repeat(1023)).await;
    client.expect("<iq type='result' id='good' {…}><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{any}</jid></bind></iq>").await;
    let mut other = scene.logged_in("romeo").await;
    ask(&mut other, "empty", "").await;
    let result = other.expect(
        "<iq type='result' id='empty' {…}><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{romeo}/{capture:made}</jid></bind></iq>",
    ).await;
    assert!(other.captured("made").len() >= 21, "{result}");
}

#[tokio::test]
async fn c46_the_eleventh_session_is_refused_and_the_others_stay() {
    let scene = SERVER.scene().await;
    let mut sessions = Vec::new();
    for number in 0..10 {
        sessions.push(scene.session(&format!("romeo/{number}")).await);
    }
    let mut eleventh = scene.logged_in("romeo").await;
    ask(&mut eleventh, "11", "eleven").await;
    eleventh.expect("<iq type='error' id='11' {…}>{error:wait:resource-constraint}{…}</iq>").await;
    // In place of one of the ten it may come.
    ask(&mut eleventh, "12", "0").await;
    eleventh.expect("<iq type='result' id='12' {…}>{…}</iq>").await;
    let mut replaced = sessions.remove(0);
    replaced.expect_stream_error("conflict").await;
    for session in &mut sessions {
        session.barrier().await;
    }
}

#[tokio::test]
async fn c47_a_stream_binds_once() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    for resource in ["garden", "orchard", ""] {
        ask(&mut romeo, "again", resource).await;
        romeo.expect("<iq type='error' id='again' {…}>{error:cancel:not-allowed}{…}</iq>").await;
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn c48_too_many_bad_binds_end_the_stream() {
    let scene = SERVER.scene().await;
    let mut client = scene.logged_in("romeo").await;
    for number in 0..11 {
        ask(&mut client, &number.to_string(), "\u{7f}").await;
    }
    let mut refused = 0;
    loop {
        let answer = client.receive().await;
        if answer.name == "error" {
            assert!(answer.child("policy-violation").is_some(), "{answer}");
            break;
        }
        assert_eq!(answer.attribute("type"), Some("error"), "{answer}");
        refused += 1;
    }
    assert!((5..=11).contains(&refused), "RFC 6120 §7.7.3 wants at least 5 and at most 10 retries, not {refused}");
    client.expect_end().await;
}
