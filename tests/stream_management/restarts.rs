//! Sessions over a stop of the server and over a crash (faults rows F1, F18).

use waxwing_testkit::TestServer;

use crate::common::options;
use crate::managed::Managed;

#[tokio::test]
async fn f18_a_stopped_server_goes_on_with_every_session_where_it_was() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    juliet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    juliet.drain().await;
    let mut juliet = Managed::enable(juliet, "juliet/balcony").await;
    let mut romeo = Managed::enable(romeo, "romeo/orchard").await;
    romeo.writes("{juliet}", "1").await;
    romeo.writes("{juliet}", "2").await;
    assert_eq!(romeo.asks().await, 2);
    juliet.receives_until("1").await;
    juliet.acknowledges().await;
    juliet.breaks();
    romeo.writes("{juliet/balcony}", "3").await;
    assert_eq!(romeo.asks().await, 3);
    server.stop().await;
    romeo.client.expect_stream_error("system-shutdown").await;
    server.start_again().await.expect("it starts");
    assert_eq!(romeo.resumes(&scene).await, 3);
    romeo.writes("{juliet/balcony}", "4").await;
    assert_eq!(romeo.asks().await, 4);
    assert_eq!(juliet.resumes(&scene).await, 0);
    juliet.receives_until("4").await;
    assert_eq!(juliet.got, ["1", "2", "3", "4"]);
    // She still wants copies, and is still seen.
    let mut other = scene.online("juliet/chamber").await;
    other.send("<message type='chat' to='{romeo}' id='5'><body>5</body></message>").await;
    loop {
        let element = juliet.client.receive().await;
        if let Some(sent) = element.child_in("urn:xmpp:carbons:2", "sent") {
            assert!(sent.to_string().contains("<body>5</body>"), "{sent}");
            break;
        }
    }
    romeo.client.send("<presence type='probe' to='{juliet}'/>").await;
    let mut seen = false;
    while !seen {
        let element = romeo.client.receive().await;
        seen = element.attribute("from") == Some(&scene.jid("juliet/balcony"));
    }
}

#[tokio::test]
async fn f1_after_a_crash_clients_learn_how_far_they_got() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    scene.account("romeo").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    for text in ["1", "2", "3"] {
        juliet.writes("{romeo}", text).await;
    }
    assert_eq!(juliet.asks().await, 3);
    server.crash();
    server.start_again().await.expect("it starts");
    let failed = juliet.tries_to_resume(&scene).await;
    assert_eq!((failed.name.as_str(), failed.attribute("h")), ("failed", Some("3")), "{failed}");
    assert!(failed.child("item-not-found").is_some());
    juliet.client.bind("balcony").await;
    juliet.client.barrier().await;
}

/// Romeo writes to Juliet's account and waits for nothing.
async fn talks(romeo: &mut Managed, lines: &[String]) {
    for line in lines {
        romeo.writes("{juliet}", line).await;
    }
    assert!(romeo.asks().await > 0);
}

#[tokio::test]
async fn f18_what_is_said_while_sessions_come_back_is_shown_at_once_and_once() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = Managed::online(&scene, "romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    let mut expected: Vec<String> = Vec::new();
    for round in 0..6 {
        let lines: Vec<String> = (0..30).map(|line| format!("{round}-{line:02}")).collect();
        let (before, meanwhile) = lines.split_at(10);
        expected.extend(lines.iter().cloned());
        let is_stopped = round % 2 == 1;
        if is_stopped {
            // Some wait in a session without a wire when it is stored.
            juliet.breaks();
            talks(&mut romeo, before).await;
            server.stop().await;
            server.start_again().await.expect("it starts");
            let handled = romeo.resumes(&scene).await;
            assert_eq!(handled as usize, expected.len() - meanwhile.len());
        } else {
            talks(&mut romeo, before).await;
            juliet.breaks();
        }
        // The rest comes while she comes back.
        tokio::join!(talks(&mut romeo, meanwhile), async {
            juliet.resumes(&scene).await;
            if juliet.got.last() != expected.last() {
                juliet.receives_until(expected.last().expect("something was said")).await;
            }
        });
        assert_eq!(juliet.got, expected, "round {round}");
        if round != 2 {
            juliet.acknowledges().await;
        }
    }
    // Nothing comes later, and nothing is left for another device.
    juliet.asks().await;
    assert_eq!(juliet.got, expected);
    let mut phone = scene.session("juliet/phone").await;
    let came = phone.go_online(0).await;
    assert!(came.iter().all(|stanza| stanza.name != "message"), "{came:?}");
}
