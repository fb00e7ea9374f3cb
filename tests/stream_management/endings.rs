//! Clients that do not answer, and those that never come back (faults row F14, conformance row C24).

use std::time::Duration;

use waxwing_testkit::TestServer;

use crate::common::{SERVER, options};
use crate::managed::Managed;

#[tokio::test]
async fn c24_a_client_that_answers_no_ping_is_told_so_and_may_come_back() {
    let server = TestServer::start(options().toml("[limits]\nping_after = '300ms'\nping_timeout = '300ms'")).await;
    let scene = server.scene();
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    let ping = juliet.client.receive().await;
    assert!(ping.child_in("urn:xmpp:ping", "ping").is_some(), "{ping}");
    loop {
        let element = juliet.client.receive().await;
        if element.name == "error" {
            assert!(element.child("connection-timeout").is_some(), "{element}");
            break;
        }
        assert_eq!(element.name, "r", "{element}");
    }
    juliet.client.hang_up();
    assert_eq!(juliet.resumes(&scene).await, 0);
    let again = juliet.client.receive().await;
    assert_eq!(again.attribute("id"), ping.attribute("id"), "it was not acknowledged: {again}");
}

#[tokio::test]
async fn f14_who_acknowledges_nothing_counts_as_gone_and_its_contacts_see_nothing_of_it() {
    let own = "[limits]\nping_timeout = '500ms'\n[modules.stream_management]\nask_every = '100ms'\nresume_for = '3s'";
    let server = TestServer::start(options().toml(own)).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    let mut juliet = Managed::enable(juliet, "juliet/balcony").await;
    juliet.writes("{romeo/orchard}", "hi").await;
    romeo.expect("<message id='hi' {…}>{…}</message>").await;
    romeo.send("<message type='chat' to='{juliet/balcony}' id='1'><body>1</body></message>").await;
    assert_eq!(juliet.receives().await, "1");
    juliet.received = 0;
    // She reads it, and says nothing more.
    juliet.client.expect("<r xmlns='urn:xmpp:sm:3'/>").await;
    juliet.client.expect_stream_error("connection-timeout").await;
    romeo.send("<message type='chat' to='{juliet}' id='2'><body>2</body></message>").await;
    romeo.barrier().await;
    juliet.got.clear();
    assert_eq!(juliet.resumes(&scene).await, 1);
    juliet.receives_until("2").await;
    assert_eq!(juliet.got, ["1", "2"]);
    romeo.barrier().await;
    // The next time she does not come back: her contacts hear it once, and what she has not received waits for her.
    juliet.acknowledges().await;
    juliet.breaks();
    romeo.send("<message type='chat' to='{juliet/balcony}' id='3'><body>3</body></message>").await;
    romeo.barrier().await;
    romeo.expect("<presence from='{juliet/balcony}' to='{any}' type='unavailable'/>").await;
    romeo.barrier().await;
    let failed = juliet.tries_to_resume(&scene).await;
    assert_eq!((failed.name.as_str(), failed.attribute("h")), ("failed", Some("1")), "{failed}");
    juliet.client.bind("balcony").await;
    let came = juliet.client.go_online(0).await;
    let mut bodies: Vec<String> = came.iter().filter_map(|stanza| stanza.text_of("body")).collect();
    while bodies.is_empty() {
        bodies.extend(juliet.client.receive().await.text_of("body"));
    }
    assert_eq!(bodies, ["3"]);
    romeo.expect("<presence from='{juliet/balcony}' {…}>{…}</presence>").await;
    romeo.barrier().await;
}

#[tokio::test]
async fn a_closed_stream_is_the_end_and_what_was_not_acknowledged_is_kept() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    for text in ["1", "2"] {
        romeo
            .send(format!("<message type='chat' to='{{juliet/balcony}}' id='{text}'><body>{text}</body></message>"))
            .await;
    }
    juliet.receives_until("1").await;
    juliet.acknowledges().await;
    juliet.receives_until("2").await;
    juliet.client.send("</stream:stream>").await;
    juliet.client.expect_end().await;
    assert_eq!(juliet.tries_to_resume(&scene).await.name, "failed");
    juliet.client.bind("balcony").await;
    let came = juliet.client.go_online(0).await;
    let mut bodies: Vec<String> = came.iter().filter_map(|stanza| stanza.text_of("body")).collect();
    while bodies.is_empty() {
        bodies.extend(juliet.client.receive().await.text_of("body"));
    }
    assert_eq!(bodies, ["2"]);
}

#[tokio::test]
async fn a_question_to_who_never_comes_back_is_answered() {
    let server = TestServer::start(options().toml("[modules.stream_management]\nresume_for = '300ms'")).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    juliet.breaks();
    romeo.send("<iq type='get' id='q' to='{juliet/balcony}'><q xmlns='urn:q'/></iq>").await;
    romeo.set_patience(Duration::from_secs(10));
    romeo.expect("<iq type='error' id='q' {…}>{error:cancel:service-unavailable}</iq>").await;
}
