//! Features, order, counters (XEP-0198 §2 to §6).

use crate::common::SERVER;
use crate::managed::{Managed, SM};

const FAILED: &str =
    "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";

#[tokio::test]
async fn it_is_offered_to_who_has_logged_in_and_to_nobody_else() {
    let scene = SERVER.scene().await;
    let mut stranger = scene.connect_tls().await;
    assert!(stranger.open_stream(scene.host()).await.child_in(SM, "sm").is_none());
    stranger.send("<enable xmlns='urn:xmpp:sm:3'/>").await;
    stranger.expect(FAILED).await;
    stranger.send("<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>").await;
    stranger.expect(FAILED).await;
    let mut juliet = scene.logged_in("juliet").await;
    assert!(juliet.features().child_in(SM, "sm").is_some());
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    juliet.expect(FAILED).await;
    juliet.bind("balcony").await;
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/><enable xmlns='urn:xmpp:sm:3'/>").await;
    juliet.expect("<enabled xmlns='urn:xmpp:sm:3' id='{any}' resume='true' max='{any}'/>").await;
    juliet.expect(FAILED).await;
    juliet.send("<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>").await;
    juliet.expect(FAILED).await;
}

#[tokio::test]
async fn stanzas_are_counted_in_both_directions() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    assert_eq!(juliet.asks().await, 0);
    for text in ["1", "2", "3"] {
        juliet.writes("{romeo/orchard}", text).await;
    }
    assert_eq!(juliet.asks().await, 3);
    for text in ["1", "2", "3"] {
        romeo.expect(format!("<message type='chat' id='{text}' {{…}}><body>{text}</body>{{…}}</message>")).await;
    }
    // What is refused has arrived, too, and its answer counts.
    juliet.client.send("<iq type='get' id='q' to='{host}'><nothing xmlns='urn:nothing'/></iq>").await;
    assert_eq!(juliet.asks().await, 4);
    assert_eq!(juliet.received, 1);
    juliet.acknowledges().await;
    juliet.client.send("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    let error = juliet.client.expect_stream_error("undefined-condition").await;
    assert!(error.child_in(SM, "handled-count-too-high").is_some(), "{error}");
}

#[tokio::test]
async fn an_acknowledgement_without_a_number_ends_the_stream() {
    let scene = SERVER.scene().await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    juliet.client.send("<a xmlns='urn:xmpp:sm:3'/>").await;
    juliet.client.expect_stream_error("invalid-xml").await;
}

#[tokio::test]
async fn s26_ids_are_unguessable_and_never_the_same() {
    let scene = SERVER.scene().await;
    let mut ids = std::collections::HashSet::new();
    for resource in 0..8 {
        let client = scene.session(&format!("juliet/{resource}")).await;
        let managed = Managed::enable(client, "juliet").await;
        assert!(managed.id.len() >= 22, "128 bits at least: {}", managed.id);
        assert!(ids.insert(managed.id));
    }
}

#[tokio::test]
async fn c27_a_thousand_messages_come_once_and_in_order_over_broken_connections() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    for piece in expected.chunks(200) {
        for text in piece {
            let to = if text.len() % 2 == 0 { "{juliet}" } else { "{juliet/balcony}" };
            romeo.send(format!("<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>")).await;
        }
        romeo.barrier().await;
        // Somewhere in the middle the connection breaks; of what was read not everything was acknowledged.
        juliet.receives_until(&piece[60]).await;
        juliet.acknowledges().await;
        juliet.receives_until(&piece[97]).await;
        juliet.writes("{romeo}", "still there").await;
        juliet.asks().await;
        juliet.breaks();
        romeo.drain().await;
        juliet.resumes(&scene).await;
        if juliet.got.last() != piece.last() {
            juliet.receives_until(piece.last().expect("a piece")).await;
        }
    }
    assert_eq!(juliet.got, expected);
    assert_eq!(juliet.asks().await, 5);
}
