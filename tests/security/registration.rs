//! S32: accounts are made where the operator wants it, as many as he wants, and passwords belong to their owners.

use waxwing_testkit::{Element, RawClient, Scene, TestServer};

use crate::common::{SERVER, options};

async fn at_the_door(scene: &Scene) -> RawClient {
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    client
}

fn condition(answer: &Element) -> String {
    let error = answer.child("error").unwrap_or_else(|| panic!("an error, not {answer}"));
    error.elements().next().map(|condition| condition.name.clone()).unwrap_or_default()
}

fn wish(username: &str, password: &str) -> String {
    format!(
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{username}</username>\
         <password>{password}</password></query></iq>"
    )
}

#[tokio::test]
async fn s32_by_default_nobody_makes_an_account() {
    let scene = SERVER.scene().await;
    let name = scene.local("mallory");
    let mut client = at_the_door(&scene).await;
    assert!(!client.features().to_string().contains("register"), "{}", client.features());
    client.send(wish(&name, "correct horse battery")).await;
    assert_eq!(condition(&client.receive().await), "not-allowed");
    // Nor in any other way: the older protocol, with an address, after somebody else's login.
    client.send("<iq type='get' id='g' to='{host}'><query xmlns='jabber:iq:register'/></iq>").await;
    assert_eq!(condition(&client.receive().await), "service-unavailable");
    client
        .send("<iq type='set' id='r' to='{host}'><query xmlns='jabber:iq:auth'><username>a</username></query></iq>")
        .await;
    client.expect_stream_error("not-authorized").await;
    assert!(!scene.server().has_account(scene.host(), &name).await);
    let mut romeo = scene.session("romeo/orchard").await;
    for to in ["", "to='{host}'", "to='{romeo}'"] {
        romeo.send(wish(&name, "correct horse battery").replace("id=", &format!("{to} id="))).await;
        assert_eq!(condition(&romeo.receive().await), "forbidden");
    }
    assert!(!scene.server().has_account(scene.host(), &name).await);
}

#[tokio::test]
async fn s32_an_open_server_makes_only_so_many_accounts_for_an_address() {
    let server = TestServer::start(options().toml("[modules.register]\nopen = true\nregistrations = '3/h'")).await;
    let scene = server.scene();
    assert!(at_the_door(&scene).await.features().to_string().contains("iq-register"));
    // In the clear it is neither offered nor done.
    let mut plain = scene.connect().await;
    assert!(!plain.open_stream(scene.host()).await.to_string().contains("register"));
    plain.send(wish("plain", "correct horse battery")).await;
    plain.expect_stream_error("not-authorized|policy-violation").await;
    let mut made = 0;
    for number in 0..10 {
        // A new connection each time, and several wishes on one.
        let mut client = at_the_door(&scene).await;
        client.send(wish(&format!("bot{number}"), "correct horse battery")).await;
        let answer = client.receive().await;
        match answer.attribute("type") {
            Some("result") => made += 1,
            _ => assert!(["policy-violation", "not-acceptable"].contains(&condition(&answer).as_str()), "{answer}"),
        }
    }
    assert_eq!(made, 3);
    // Nothing half made is left, and a name that is taken does not become free by trying.
    for number in 3..10 {
        assert!(!server.has_account(scene.host(), &format!("bot{number}")).await);
    }
}

#[tokio::test]
async fn s32_an_open_server_makes_no_weak_accounts() {
    let server = TestServer::start(options().toml("[modules.register]\nopen = true\nregistrations = '3/h'")).await;
    let scene = server.scene();
    let mut client = at_the_door(&scene).await;
    for (name, password) in [
        ("alice", ""),
        ("alice", "short"),
        ("alice", "password123"),
        ("alice", "alicealice"),
        ("alice", "1234567890"),
        ("alice@montague.lit", "correct horse battery"),
        ("", "correct horse battery"),
    ] {
        client.send(wish(name, password)).await;
        let refused = condition(&client.receive().await);
        assert!(["not-acceptable", "jid-malformed"].contains(&refused.as_str()), "{name} {password}: {refused}");
    }
    assert!(!server.has_account(scene.host(), "alice").await);
    // What was refused does not count against the address.
    client.send(wish("alice", "correct horse battery")).await;
    client.expect("<iq type='result' id='r' {…}/>").await;
    // A stranger removes nobody.
    client.send("<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
    let refused = condition(&client.receive().await);
    assert!(["unexpected-request", "registration-required", "not-allowed"].contains(&refused.as_str()), "{refused}");
    assert!(server.has_account(scene.host(), "alice").await);
}

#[tokio::test]
async fn s32_a_password_is_changed_by_its_owner_alone() {
    let scene = SERVER.scene().await;
    let juliet = scene.account("juliet").await;
    let mut mallory = scene.session("mallory/den").await;
    let others = [juliet.clone(), juliet.to_uppercase(), format!("{juliet}@{}", scene.host()), String::new()];
    for to in ["", "to='{host}'", "to='{juliet}'", "to='{mallory}'"] {
        for name in &others {
            mallory.send(wish(name, "mallory's choice").replace("id=", &format!("from='{{juliet}}' {to} id="))).await;
            let answer = mallory.receive().await;
            assert_eq!(answer.attribute("type"), Some("error"), "{to} {name}: {answer}");
        }
        mallory.send(format!("<iq type='set' id='x' {to} from='{{juliet}}'><query xmlns='jabber:iq:register'><remove/><username>{juliet}</username></query></iq>")).await;
        assert_eq!(mallory.receive().await.attribute("type"), Some("error"));
    }
    // Hers is what it was.
    let mut client = scene.connect_tls().await;
    client.login(&juliet, &scene.password("juliet")).await;
}

#[tokio::test]
async fn s32_a_new_password_ends_what_the_old_one_began() {
    let scene = SERVER.scene().await;
    let name = scene.account("romeo").await;
    let mut stolen = scene.online("romeo/thief").await;
    let mut romeo = scene.session("romeo/orchard").await;
    for weak in ["", "short", name.as_str()] {
        romeo.send(wish(&name, weak)).await;
        let refused = condition(&romeo.receive().await);
        assert!(["not-acceptable", "bad-request"].contains(&refused.as_str()), "{weak}: {refused}");
    }
    stolen.drain().await;
    romeo.send(wish(&name, "a new and better one")).await;
    romeo.expect("<iq type='result' id='r' {…}/>").await;
    stolen.expect_stream_error("reset|not-authorized|conflict").await;
    romeo.drain().await;
    let mut client = at_the_door(&scene).await;
    let old = client.scram(&name, &scene.password("romeo"));
    client.try_scram(&old).await.expect_err("the old password is worth nothing");
    let new = client.scram(&name, "a new and better one");
    client.try_scram(&new).await.expect("the new one is");
}
