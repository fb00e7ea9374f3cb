//! Servers that cannot be reached: senders are told in time, nobody else is slowed (conformance rows C61 and C62, fault rows
//! F25 and F26, security row S37).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, UdpSocket};
use waxwing_testkit::RawClient;

use crate::authority::Signed;
use crate::names::{A, SRV, Zone, srv};
use crate::peer::{Peer, answering_header};
use crate::world::{Setup, World, say};

/// What the sender of a message to this domain is told, and after how long.
pub async fn told(juliet: &mut RawClient, domain: &str) -> (String, Duration) {
    let began = Instant::now();
    juliet.send(format!("<message to='x@{domain}' type='chat' id='m'><body>x</body></message>")).await;
    let error = juliet.expect(format!("<message type='error' from='x@{domain}' id='m' {{…}}>{{…}}</message>")).await;
    let condition = error.child("error").and_then(|error| error.elements().next().map(|child| child.name.clone()));
    (condition.expect("a condition"), began.elapsed())
}

/// A name server that knows these answers to questions of a type, and for everything else says that there is no such name.
async fn name_server(records: Vec<(&'static str, u16, Vec<u8>)>) -> SocketAddr {
    let zone = records.into_iter().fold(Zone::default(), |zone, (name, kind, data)| zone.with(name, kind, data));
    zone.serve().await
}

pub fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn c61_c62_s37_the_dns_decides_who_can_be_reached() {
    let names = name_server(vec![
        ("_xmpp-server._tcp.denied.test", SRV, srv(0, 5269, "")),
        ("_xmpp-server._tcp.inside.test", SRV, srv(0, 5269, "machine.inside.test")),
        ("machine.inside.test", A, vec![169, 254, 169, 254]),
        ("loop.test", A, vec![127, 0, 0, 1]),
        ("_xmpp-server._tcp.mail.test", SRV, srv(0, 25, "public.test")),
        ("public.test", A, vec![93, 184, 216, 34]),
    ])
    .await;
    let world = World::new(Setup { more: leak(format!("resolvers = [\"{names}\"]")), ..Setup::default() }).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    for domain in ["unknown.test", "denied.test", "inside.test", "loop.test", "mail.test", "127.0.0.1", "[::1]"] {
        let (condition, after) = told(&mut juliet, domain).await;
        assert_eq!(condition, "remote-server-not-found", "{domain}");
        assert!(after < Duration::from_secs(5), "{domain} after {after:?}");
    }
    // Below our own name nobody is looked for: we would find ourselves.
    let (condition, _) = told(&mut juliet, "nothing.capulet.lit").await;
    assert_eq!(condition, "item-not-found");
    say(&mut juliet, &mut romeo, "meanwhile").await;
}

#[tokio::test]
async fn c61_srv_records_lead_to_servers_in_their_order() {
    // Nobody listens at the first, and the second one is ours.
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dead_port = dead.local_addr().expect("bound").port();
    drop(dead);
    let alive = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let alive_port = alive.local_addr().expect("bound").port();
    let names = name_server(vec![
        ("_xmpp-server._tcp.verona.test", SRV, srv(1, dead_port, "a.verona.test")),
        ("_xmpps-server._tcp.verona.test", SRV, srv(2, alive_port, "b.verona.test")),
        ("a.verona.test", A, vec![127, 0, 0, 1]),
        ("b.verona.test", A, vec![127, 0, 0, 1]),
    ])
    .await;
    let more = leak(format!("private_addresses = true\nresolvers = [\"{names}\"]"));
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    juliet.send("<message to='x@verona.test' type='chat' id='m'><body>x</body></message>").await;
    let mut peer = Peer::accept_tls(&alive, &world.authority.sign("verona.test")).await;
    greet_and_accept(&mut peer, "verona.test", "").await;
    assert!(peer.until("</message>").await.contains("<body>x</body>"));
}

/// Plays a server that accepts EXTERNAL.
pub async fn greet_and_accept(peer: &mut Peer, from: &str, features: &str) {
    peer.until("<stream:stream").await;
    peer.until(">").await;
    peer.send(answering_header(from, "capulet.lit", "1")).await;
    peer.send(
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>",
    )
    .await;
    peer.until("</auth>").await;
    peer.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
    peer.until("<stream:stream").await;
    peer.until(">").await;
    peer.send(answering_header(from, "capulet.lit", "2")).await;
    peer.send(format!("<stream:features>{features}</stream:features>")).await;
}

#[tokio::test]
async fn f26_a_name_server_that_is_dead_slows_nobody() {
    // It takes questions and says nothing.
    let mute = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("bound");
    let more = leak(format!("resolvers = [\"{address}\"]\nresolver_timeout = \"300ms\""));
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    juliet.send("<message to='x@far.test' type='chat' id='m'><body>x</body></message>").await;
    let began = Instant::now();
    juliet.barrier().await;
    say(&mut juliet, &mut romeo, "meanwhile").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    juliet
        .expect("<message type='error' from='x@far.test' id='m' {…}>{error:wait:remote-server-timeout}{…}</message>")
        .await;
}

#[tokio::test]
async fn c61_f25_a_server_that_never_answers_costs_its_senders_only_so_long() {
    let world = World::new(Setup { more: "connect_timeout = \"1s\"\nqueue_stanzas = 3", ..Setup::default() }).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    world.montague.line.cut();
    for id in ["1", "2", "3", "4"] {
        juliet
            .send(
                format!("<message to='{{romeo}}' type='chat' id='{id}'><body>x</body></message>")
                    .replace("{romeo}", romeo.bare()),
            )
            .await;
    }
    // The queue is full at once; the rest is told when the time is over.
    juliet.expect("<message type='error' id='4' {…}>{error:wait:resource-constraint}{…}</message>").await;
    for id in ["1", "2", "3"] {
        juliet
            .expect(format!(
                "<message type='error' id='{id}' {{…}}>{{error:wait:remote-server-timeout}}{{…}}</message>"
            ))
            .await;
    }
    // What was turned back does not come later.
    world.montague.line.restore();
    tokio::time::sleep(Duration::from_millis(500)).await;
    say(&mut juliet, &mut romeo, "again").await;
}

#[tokio::test]
async fn c61_presence_is_not_worth_an_error_but_a_room_that_cannot_be_reached_is() {
    let world = World::new(Setup { more: "connect_timeout = \"1s\"", ..Setup::default() }).await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    world.montague.line.cut();
    juliet.send("<presence to='romeo@montague.lit'/>").await;
    juliet.send("<presence to='hall@montague.lit/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>").await;
    juliet.send("<iq type='get' to='montague.lit' id='q'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    juliet
        .expect(
            "<presence type='error' from='hall@montague.lit/J' {…}>{error:wait:remote-server-timeout}{…}</presence>",
        )
        .await;
    juliet.expect("<iq type='error' from='montague.lit' id='q' {…}>{error:wait:remote-server-timeout}{…}</iq>").await;
    juliet.expect_silence(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn what_the_other_server_does_not_take_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let names = name_server(vec![
        ("_xmpps-server._tcp.small.test", SRV, srv(0, listener.local_addr().expect("bound").port(), "small.test")),
        ("small.test", A, vec![127, 0, 0, 1]),
    ])
    .await;
    let more = leak(format!("private_addresses = true\nresolvers = [\"{names}\"]"));
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    let long = "x".repeat(20_000);
    juliet.send(format!("<message to='x@small.test' type='chat' id='1'><body>{long}</body></message>")).await;
    juliet.send("<message to='x@small.test' type='chat' id='2'><body>short</body></message>").await;
    let mut peer = Peer::accept_tls(&listener, &world.authority.sign("small.test")).await;
    greet_and_accept(
        &mut peer,
        "small.test",
        "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>",
    )
    .await;
    let heard = peer.until("</message>").await;
    assert!(heard.contains("short") && !heard.contains("xxxx"), "{heard}");
    juliet
        .expect("<message type='error' from='x@small.test' id='1' {…}>{error:modify:policy-violation}{…}</message>")
        .await;
}

#[tokio::test]
async fn f25_what_was_not_acknowledged_comes_again_and_what_was_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let names = name_server(vec![
        ("_xmpps-server._tcp.flaky.test", SRV, srv(0, listener.local_addr().expect("bound").port(), "flaky.test")),
        ("flaky.test", A, vec![127, 0, 0, 1]),
    ])
    .await;
    let more = leak(format!("private_addresses = true\nresolvers = [\"{names}\"]"));
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    let shown = world.authority.sign("flaky.test");
    let send = async |juliet: &mut RawClient, id: &str| {
        juliet.send(format!("<message to='x@flaky.test' type='chat' id='{id}'><body>{id}</body></message>")).await;
    };
    send(&mut juliet, "one").await;
    let mut peer = Peer::accept_tls(&listener, &shown).await;
    greet_and_accept(&mut peer, "flaky.test", "<sm xmlns='urn:xmpp:sm:3'/>").await;
    peer.until("<enable").await;
    peer.send("<enabled xmlns='urn:xmpp:sm:3' id='here' resume='true'/>").await;
    peer.until("<r xmlns").await;
    send(&mut juliet, "two").await;
    peer.until("two</body>").await;
    drop(peer);
    // It has had the first and not the second.
    let mut peer = Peer::accept_tls(&listener, &shown).await;
    greet_and_accept(&mut peer, "flaky.test", "<sm xmlns='urn:xmpp:sm:3'/>").await;
    assert!(peer.until("/>").await.contains("previd='here'"));
    peer.send("<resumed xmlns='urn:xmpp:sm:3' previd='here' h='1'/>").await;
    let again = peer.until("</message>").await;
    assert!(again.contains("two") && !again.contains("one"), "{again}");
    send(&mut juliet, "three").await;
    peer.until("three</body>").await;
    // It forgets everything: what it has not acknowledged comes once more, in order, before what is new.
    drop(peer);
    send(&mut juliet, "four").await;
    let mut peer = Peer::accept_tls(&listener, &shown).await;
    greet_and_accept(&mut peer, "flaky.test", "<sm xmlns='urn:xmpp:sm:3'/>").await;
    peer.until("<resume").await;
    peer.send(
        "<failed xmlns='urn:xmpp:sm:3' h='2'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
    )
    .await;
    peer.until("<enable").await;
    peer.send("<enabled xmlns='urn:xmpp:sm:3' id='anew' resume='true'/>").await;
    let rest = peer.until("four</body>").await;
    assert!(rest.contains("three") && !rest.contains("two"), "{rest}");
}

/// A server that takes part under this name, at a listener of the test.
async fn world_with(listener: &TcpListener, domain: &'static str, settings: &str) -> World {
    let target: &'static str = leak(format!("_xmpps-server._tcp.{domain}"));
    let port = listener.local_addr().expect("bound").port();
    let names = name_server(vec![(target, SRV, srv(0, port, domain)), (domain, A, vec![127, 0, 0, 1])]).await;
    let more = leak(format!("private_addresses = true\nresolvers = [\"{names}\"]\n{settings}"));
    World::new(Setup { more, ..Setup::default() }).await
}

const MANAGED: &str = "<sm xmlns='urn:xmpp:sm:3'/>";

/// Takes a connection and has it managed as a new stream.
async fn managed(listener: &TcpListener, shown: &Signed, domain: &str) -> Peer {
    let mut peer = Peer::accept_tls(listener, shown).await;
    greet_and_accept(&mut peer, domain, MANAGED).await;
    if peer.until("/>").await.contains("<resume") {
        peer.send("<failed xmlns='urn:xmpp:sm:3'/>").await;
        peer.until("<enable").await;
    }
    peer.send("<enabled xmlns='urn:xmpp:sm:3' id='here' resume='true'/>").await;
    peer
}

#[tokio::test]
async fn f25_what_was_turned_back_does_not_come_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let world = world_with(&listener, "gone.test", "resume_time = \"1s\"\nconnect_timeout = \"1s\"").await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    let shown = world.authority.sign("gone.test");
    juliet.send("<message to='x@gone.test' type='chat' id='one'><body>one</body></message>").await;
    let mut peer = managed(&listener, &shown, "gone.test").await;
    peer.until("one</body>").await;
    // It goes without having acknowledged it, and does not come back in time.
    drop((peer, listener));
    let told = "<message type='error' from='x@gone.test' id='one' {…}>{error:wait:remote-server-timeout}{…}</message>";
    juliet.expect(told).await;
    let listener = TcpListener::bind(address).await.expect("the port is free");
    let sending = async {
        // Until the pause after the failures is over, it is refused at once.
        for attempt in 0.. {
            juliet
                .send(format!("<message to='x@gone.test' type='chat' id='a{attempt}'><body>two</body></message>"))
                .await;
            let came = tokio::time::timeout(Duration::from_millis(100), juliet.receive()).await;
            match came {
                Ok(came) => assert_eq!(came.attribute("id"), Some(&*format!("a{attempt}")), "told twice: {came}"),
                Err(_) => return,
            }
        }
    };
    let (mut peer, ()) = tokio::join!(managed(&listener, &shown, "gone.test"), sending);
    let heard = peer.until("two</body>").await;
    assert!(!heard.contains("<body>one</body>"), "{heard}");
}

#[tokio::test]
async fn f25_a_stanza_that_the_other_server_does_not_bear_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let world = world_with(&listener, "strict.test", "").await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    let shown = world.authority.sign("strict.test");
    juliet.send("<message to='x@strict.test' type='chat' id='bad'><body>bad</body></message>").await;
    for _ in 0..3 {
        let mut peer = managed(&listener, &shown, "strict.test").await;
        peer.until("bad</body>").await;
        peer.send(
            "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        )
        .await;
        peer.rest().await;
    }
    juliet
        .expect(
            "<message type='error' from='x@strict.test' id='bad' {…}>{error:wait:remote-server-timeout}{…}</message>",
        )
        .await;
    // Others come through again.
    juliet.send("<message to='x@strict.test' type='chat' id='good'><body>good</body></message>").await;
    let heard = managed(&listener, &shown, "strict.test").await.until("good</body>").await;
    assert!(!heard.contains("bad"), "{heard}");
}

#[tokio::test]
async fn s37_a_server_sends_nobody_to_another_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let inside = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = inside.local_addr().expect("bound");
    let world = world_with(&listener, "elsewhere.test", "").await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    let sent = async {
        let mut peer = Peer::accept_tls(&listener, &world.authority.sign("elsewhere.test")).await;
        peer.until("<stream:stream").await;
        peer.send(answering_header("elsewhere.test", "capulet.lit", "1")).await;
        peer.send(format!(
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{there}</see-other-host>\
             </stream:error></stream:stream>"
        ))
        .await;
        peer.rest().await;
    };
    let ((condition, _), ()) = tokio::join!(told(&mut juliet, "elsewhere.test"), sent);
    assert_eq!(condition, "remote-server-timeout");
    assert!(inside.accept().now_or_never().is_none(), "it was followed inside");
}
