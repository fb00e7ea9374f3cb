//! What a server may send: addresses on every stanza, hosts that are ours, and lists (conformance rows C51 to C53, security
//! rows S14 and S17).

use std::time::{Duration, Instant};

use crate::peer::{Peer, logged_in, stream_error};
use crate::world::{Setup, World, say};

/// A world whose Capulets are visited by a peer that has proved to be `evil.test`.
async fn visited() -> (World, Peer) {
    let world = World::new(Setup::default()).await;
    let peer = logged_in(world.capulet.server.addresses().s2s_tls[0], &world.authority, "evil.test").await;
    (world, peer)
}

/// The stream error that a stanza leads to.
async fn error_for(stanza: &str) -> String {
    let (_world, mut peer) = visited().await;
    peer.send(stanza).await;
    stream_error(&peer.rest().await)
}

#[tokio::test]
async fn c51_both_addresses_are_there_and_proper() {
    let (world, _) = visited().await;
    for addresses in [
        "to='capulet.lit'",
        "from='evil.test'",
        "from='' to='capulet.lit'",
        "from='evil.test' to=''",
        "from='@evil.test' to='capulet.lit'",
        "from='evil.test' to='a@b@capulet.lit'",
    ] {
        let address = world.capulet.server.addresses().s2s_tls[0];
        let mut peer = logged_in(address, &world.authority, "evil.test").await;
        peer.send(format!("<message {addresses}><body>x</body></message>")).await;
        assert_eq!(stream_error(&peer.rest().await), "improper-addressing", "{addresses}");
    }
}

#[tokio::test]
async fn c52_from_is_what_was_proved() {
    assert_eq!(
        error_for("<message from='x@good.test' to='capulet.lit'><body>x</body></message>").await,
        "invalid-from"
    );
}

#[tokio::test]
async fn c53_to_is_one_of_ours_and_nothing_is_relayed() {
    for to in ["verona.lit", "romeo@montague.lit", "nowhere.capulet.lit"] {
        let stanza = format!("<message from='x@evil.test' to='{to}'><body>x</body></message>");
        assert_eq!(error_for(&stanza).await, "host-unknown", "{to}");
    }
}

#[tokio::test]
async fn c53_a_stream_goes_to_one_of_ours() {
    let (world, _) = visited().await;
    let address = world.capulet.server.addresses().s2s_tls[0];
    for to in ["", "verona.lit", "nowhere.capulet.lit"] {
        let mut peer = Peer::connect_tls(address, None).await;
        peer.send(crate::peer::header("evil.test", to)).await;
        assert_eq!(stream_error(&peer.rest().await), "host-unknown", "{to:?}");
    }
}

#[tokio::test]
async fn s14_nobody_speaks_for_others() {
    for from in ["x@good.test", "sub.evil.test", "capulet.lit", "x@conference.capulet.lit", "montague.lit"] {
        let stanza = format!("<message from='{from}' to='a@capulet.lit'><body>x</body></message>");
        assert_eq!(error_for(&stanza).await, "invalid-from", "{from}");
    }
}

#[tokio::test]
async fn s14_s17_what_is_inside_makes_nobody_another() {
    let (world, mut peer) = visited().await;
    let scene = world.capulet.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let (bare, full) = (juliet.bare().to_owned(), juliet.jid().to_owned());
    // A carbon copy, a result of an archive and a roster push that are none: they keep their true sender.
    peer.send(format!(
        "<message from='x@evil.test' to='{full}' id='1'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
         <message xmlns='jabber:client' from='{bare}' to='{bare}'><body>forged</body></message></forwarded></received></message>"
    ))
    .await;
    peer.send(format!(
        "<iq from='x@evil.test' to='{full}' type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='x@evil.test'/></query></iq>"
    ))
    .await;
    juliet.expect("<message from='x@evil.test' to='{juliet/balcony}' id='1'>{…}</message>").await;
    juliet.expect("<iq from='x@evil.test' to='{juliet/balcony}' type='set' id='2'>{…}</iq>").await;
    // To the account itself it is answered by the server, and changes nothing.
    peer.send(format!(
        "<iq from='x@evil.test' to='{bare}' type='set' id='3'><query xmlns='jabber:iq:roster'><item jid='x@evil.test'/></query></iq>"
    ))
    .await;
    juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    juliet.expect("<iq type='result' id='r' {…}><query xmlns='jabber:iq:roster' {…}/></iq>").await;
    juliet.expect_silence(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn a_server_that_is_blocked_is_not_welcome_and_not_written_to() {
    let world = World::new(Setup { more: "block = [\"evil.test\"]", ..Setup::default() }).await;
    let address = world.capulet.server.addresses().s2s_tls[0];
    for from in ["evil.test", "rooms.evil.test"] {
        let mut peer = Peer::connect_tls(address, Some(&world.authority.sign(from))).await;
        peer.send(crate::peer::header(from, "capulet.lit")).await;
        assert_eq!(stream_error(&peer.rest().await), "policy-violation");
    }
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    juliet.send("<message to='x@evil.test' type='chat' id='m'><body>x</body></message>").await;
    juliet
        .expect(
            "<message type='error' from='x@evil.test' id='m' {…}>{error:cancel:remote-server-not-found}{…}</message>",
        )
        .await;
}

#[tokio::test]
async fn only_servers_of_the_list_are_welcome_and_written_to() {
    let world = World::new(Setup { more: "allow = [\"montague.lit\", \"capulet.lit\"]", ..Setup::default() }).await;
    let address = world.capulet.server.addresses().s2s_tls[0];
    let mut peer = Peer::connect_tls(address, Some(&world.authority.sign("verona.lit"))).await;
    peer.send(crate::peer::header("verona.lit", "capulet.lit")).await;
    assert_eq!(stream_error(&peer.rest().await), "policy-violation");
    let (mut romeo, mut juliet) = world.lovers().await;
    juliet.send("<message to='x@verona.lit' type='chat' id='m'><body>x</body></message>").await;
    juliet
        .expect(
            "<message type='error' from='x@verona.lit' id='m' {…}>{error:cancel:remote-server-not-found}{…}</message>",
        )
        .await;
    say(&mut juliet, &mut romeo, "hello").await;
    say(&mut romeo, &mut juliet, "hello").await;
}

#[tokio::test]
async fn a_server_that_is_too_fast_is_read_slowly_and_no_other_is() {
    let more = "server_stanzas = \"10/s\"\nserver_stanzas_burst = 5";
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let address = world.capulet.server.addresses().s2s_tls[0];
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    let to = juliet.jid().to_owned();
    let text = |domain: &str, id: usize| {
        format!("<message from='x@{domain}' to='{to}' type='chat' id='{id}'><body>x</body></message>")
    };
    // Two connections of one server count together.
    let mut peers = [
        logged_in(address, &world.authority, "evil.test").await,
        logged_in(address, &world.authority, "evil.test").await,
    ];
    let mut other = logged_in(address, &world.authority, "good.test").await;
    let began = Instant::now();
    for id in 0..10 {
        peers[0].send(text("evil.test", id)).await;
        peers[1].send(text("evil.test", id)).await;
    }
    other.send(text("good.test", 1)).await;
    let (mut evil, mut good_after) = (0, None);
    while evil < 20 {
        match juliet.receive().await.attribute("from") {
            Some("x@good.test") => good_after = Some(evil),
            Some("x@evil.test") => evil += 1,
            _ => {}
        }
    }
    // Twenty stanzas: five at once, each of the others a tenth of a second.
    assert!(began.elapsed() > Duration::from_millis(1_000), "{:?}", began.elapsed());
    assert!(good_after.is_some_and(|after| after < 15), "{good_after:?}");
}

#[tokio::test]
async fn a_server_has_no_more_connections_than_it_may() {
    let world = World::new(Setup { more: "connections_per_server = 2", ..Setup::default() }).await;
    let address = world.capulet.server.addresses().s2s_tls[0];
    let _first = logged_in(address, &world.authority, "evil.test").await;
    let second = logged_in(address, &world.authority, "evil.test").await;
    let mut third = Peer::connect_tls(address, Some(&world.authority.sign("evil.test"))).await;
    third.greet("evil.test", "capulet.lit").await;
    third.send(crate::peer::EXTERNAL).await;
    assert_eq!(stream_error(&third.rest().await), "policy-violation");
    drop(second);
    // Others are not concerned, and a place that is free again can be had.
    logged_in(address, &world.authority, "good.test").await;
}
