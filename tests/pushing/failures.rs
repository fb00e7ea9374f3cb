//! App servers that refuse, fail, lie or say nothing (fault row F28), and that nobody else suffers from it.

use std::time::{Duration, Instant};

use waxwing_testkit::TestServer;

use crate::app::{App, SERVER, away, goes, quick, registers, writes};

#[tokio::test]
async fn a_dead_registration_ends_and_those_of_others_stay() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    away(&scene, "juliet/phone", "same").await;
    away(&scene, "juliet/tablet", "other").await;
    away(&scene, "nurse/phone", "same").await;
    writes(&mut romeo, "juliet", "one").await;
    for _ in 0..2 {
        let called = app.call().await;
        let is_dead = called.node == "same";
        let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        let (of, content) = if is_dead { ("error", error) } else { ("result", "") };
        app.client.send(format!("<iq type='{of}' id='{}' to='{{host}}'>{content}</iq>", called.id())).await;
    }
    app.client.drain().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    writes(&mut romeo, "juliet", "two").await;
    assert_eq!(app.takes_call().await.node, "other");
    app.is_left_alone().await;
    writes(&mut romeo, "nurse", "two").await;
    assert_eq!(app.takes_call().await.node, "same", "hers is another");
}

#[tokio::test]
async fn f28_an_app_server_that_cannot_now_is_asked_again_later() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    away(&scene, "juliet/phone", "n1").await;
    writes(&mut romeo, "juliet", "one").await;
    let begun = Instant::now();
    app.refuses_call("wait", "resource-constraint").await;
    writes(&mut romeo, "juliet", "two").await;
    assert_eq!(app.refuses_call("wait", "resource-constraint").await.count(), 2);
    let once = begun.elapsed();
    assert!(once >= Duration::from_millis(380), "after {once:?}");
    assert_eq!(app.takes_call().await.count(), 2);
    let twice = begun.elapsed() - once;
    assert!(twice >= Duration::from_millis(780), "after {twice:?}, which is not twice as long");
    app.is_left_alone().await;
}

#[tokio::test]
async fn f28_an_app_server_that_never_answers_holds_up_no_message_and_is_not_flooded() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    registers(&mut phone, "n1").await;
    goes(phone).await;
    let mut desk = scene.online("juliet/desk").await;
    let begun = Instant::now();
    for number in 0..200 {
        romeo.send(format!("<message type='chat' to='{{juliet}}'><body>{number}</body></message>")).await;
    }
    romeo.drain().await;
    for number in 0..200 {
        let message = desk.receive().await;
        assert_eq!(message.text_of("body"), Some(number.to_string()));
    }
    let took = begun.elapsed();
    assert_eq!(app.call().await.count(), 1);
    // Nothing more until it has been given up: a second for the answer, and the time after a failure.
    app.client.expect_silence(Duration::from_millis(1_000).saturating_sub(begun.elapsed())).await;
    assert_eq!(app.takes_call().await.count(), 200, "one call for all of them; the messages took {took:?}");
    app.is_left_alone().await;
}

#[tokio::test]
async fn s17_only_the_app_server_that_was_asked_can_answer() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut mallory = scene.online("mallory/x").await;
    away(&scene, "juliet/phone", "n1").await;
    writes(&mut romeo, "juliet", "one").await;
    let called = app.call().await;
    let gone = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    mallory.send(format!("<iq type='error' id='{}' to='{{host}}' from='{{app/push}}'>{gone}</iq>", called.id())).await;
    mallory.drain().await;
    app.client.send(format!("<iq type='result' id='{}' to='{{host}}'/>", called.id())).await;
    app.client.drain().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    writes(&mut romeo, "juliet", "two").await;
    assert_eq!(app.takes_call().await.node, "n1");
}

#[tokio::test]
async fn f28_what_is_registered_disabled_and_dead_stays_so_over_a_restart_and_counting_begins_anew() {
    let server = TestServer::start(quick()).await;
    let scene = server.scene();
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/phone").await;
    for node in ["stays", "is-disabled", "is-dead"] {
        registers(&mut juliet, node).await;
    }
    juliet
        .send("<iq type='set' id='off'><disable xmlns='urn:xmpp:push:0' jid='{app/push}' node='is-disabled'/></iq>")
        .await;
    juliet.expect("<iq type='result' id='off' {…}/>").await;
    goes(juliet).await;
    writes(&mut romeo, "juliet", "one").await;
    for _ in 0..2 {
        let called = app.call().await;
        let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        let (of, content) = if called.node == "is-dead" { ("error", error) } else { ("result", "") };
        app.client.send(format!("<iq type='{of}' id='{}' to='{{host}}'>{content}</iq>", called.id())).await;
    }
    app.client.drain().await;
    server.stop().await;
    server.start_again().await.unwrap();
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    writes(&mut romeo, "juliet", "two").await;
    let called = app.takes_call().await;
    assert_eq!((called.node.as_str(), called.count()), ("stays", 1), "what waited before was called for before");
    assert_eq!(called.option("secret").as_deref(), Some("secret of stays"));
    app.is_left_alone().await;
}
