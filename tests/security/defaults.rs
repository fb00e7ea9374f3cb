//! S4: with an empty configuration every limit of the list's column "Ours" is in force.

use std::time::{Duration, Instant};

use waxwing_core::config::{Config, Count};
use waxwing_testkit::{RawClient, SharedServer, TestOptions, TestServer};

use crate::common::options;

/// As with an empty file, but for ports, folders and the host. The first three dozen of connections come at once;
/// everyone beyond waits for the listener.
static SERVER: SharedServer = SharedServer::new(empty);

fn empty() -> TestOptions {
    options().safe_defaults()
}

#[tokio::test]
async fn s04_the_numbers_are_those_of_the_list() {
    let scene = SERVER.scene().await;
    let config =
        scene.server().with_house(async |house: std::sync::Arc<waxwing_core::house::House>| house.config()).await;
    let (limits, ours) = (&config.limits, Config::default().limits);
    assert_eq!(*limits, ours, "the test kit leaves the limits alone");
    assert_eq!((limits.stanza_bytes.get(), limits.unauthenticated_stanza_bytes.get()), (1024 * 1024, 8 * 1024));
    assert_eq!((limits.stanza_depth, limits.stanza_elements), (Count::of(64), Count::of(4096)));
    assert_eq!((limits.stanza_attributes, limits.unauthenticated_stanza_elements), (Count::of(64), Count::of(32)));
    assert_eq!(limits.sessions_per_user, Count::of(10));
    assert_eq!(limits.unauthenticated_timeout.get(), Duration::from_secs(30));
    assert_eq!(limits.bind_timeout.get(), Duration::from_secs(60));
    assert_eq!(limits.send_buffer_bytes.get(), 1024 * 1024);
    assert_eq!(config.auth.scram_iterations, 10_000);
    assert_eq!(config.auth.minimum_password_length, 10);
    assert!(!config.auth.mechanisms.iter().any(|mechanism| mechanism == "PLAIN"));
    assert!(!config.tls.plaintext_on_loopback);
}

/// Sends something too large; the stream ends for it.
async fn too_much(mut client: RawClient, stanza: String) {
    client.send_bytes(stanza).await;
    client.expect_stream_error("policy-violation").await;
}

#[tokio::test]
async fn s04_stanzas_have_bounds() {
    let scene = SERVER.scene().await;
    let attributes: String = (0..65).map(|number| format!(" a{number}=''")).collect();
    for inside in [
        "x".repeat(1024 * 1024),
        format!("{}{}", "<a>".repeat(64), "</a>".repeat(64)),
        "<a/>".repeat(4_096),
        format!("<a{attributes}/>"),
        format!("<{}/>", "a".repeat(257)),
    ] {
        let romeo = scene.session("romeo/orchard").await;
        too_much(romeo, format!("<message to='{}'>{inside}</message>", scene.jid("romeo"))).await;
    }
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>";
    for inside in ["A".repeat(8 * 1024), "<a/>".repeat(32)] {
        let mut stranger = scene.connect_tls().await;
        stranger.open_stream(scene.host()).await;
        too_much(stranger, format!("{auth}{inside}</auth>")).await;
    }
}

#[tokio::test]
async fn s04_who_sends_fast_is_read_slowly() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.set_patience(Duration::from_secs(30));
    // 500 at once, then 50 a second.
    let begun = Instant::now();
    let pings: String = (0..600)
        .map(|number| format!("<iq type='get' id='{number}' to='{{host}}'><ping xmlns='urn:xmpp:ping'/></iq>"))
        .collect();
    romeo.send(pings).await;
    for number in 0..600 {
        romeo.expect(format!("<iq type='result' id='{number}' {{…}}/>")).await;
    }
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(1_500), "600 stanzas have passed in {taken:?}");
    // 1 MiB at once, then 16 kB a second.
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.set_patience(Duration::from_secs(30));
    let begun = Instant::now();
    let body = "x".repeat(100_000);
    for _ in 0..11 {
        juliet
            .send_bytes(format!("<message to='{}' type='headline'><body>{body}</body></message>", scene.host()))
            .await;
    }
    juliet.drain().await;
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(1_500), "1.1 MB have passed in {taken:?}");
}

/// How many of so many stanzas were refused; each must be refused for the same reason or not at all.
async fn refusals(client: &mut RawClient, stanzas: impl Iterator<Item = String>) -> usize {
    for stanza in stanzas {
        client.send(stanza).await;
    }
    let answers = client.drain().await;
    let refused = answers.iter().filter(|answer| {
        answer
            .child("error")
            .is_some_and(|error| error.child("policy-violation").is_some() && error.attribute("type") == Some("wait"))
    });
    refused.count()
}

#[tokio::test]
async fn s04_an_account_bothers_only_so_many_others() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let to = |number: usize| format!("<message to='n{number}@{{host}}' type='headline' id='{number}'/>");
    assert_eq!(refusals(&mut romeo, (0..60).map(to)).await, 0);
    assert_eq!(refusals(&mut romeo, (60..70).map(to)).await, 10, "60 addresses in a minute");
    assert_eq!(refusals(&mut romeo, (0..10).map(to)).await, 0, "whom he has written to he may go on writing to");
    let ask = |number: usize| format!("<presence type='subscribe' to='n{number}@{{host}}' id='{number}'/>");
    assert_eq!(refusals(&mut romeo, (0..20).map(ask)).await, 0);
    assert_eq!(refusals(&mut romeo, (20..30).map(ask)).await, 10, "20 requests in an hour");
    let show = |number: usize| format!("<presence id='{number}'><status>{number}</status></presence>");
    assert_eq!(refusals(&mut romeo, (0..10).map(show)).await, 0);
    assert_eq!(refusals(&mut romeo, (10..20).map(show)).await, 10, "10 changes in a minute");
    assert_eq!(refusals(&mut romeo, std::iter::once("<presence type='unavailable'/>".to_owned())).await, 0);
}

#[tokio::test]
async fn s04_an_account_has_ten_sessions() {
    let scene = SERVER.scene().await;
    let mut sessions = Vec::new();
    for number in 0..10 {
        sessions.push(scene.session(&format!("romeo/{number}")).await);
    }
    let mut eleventh = scene.logged_in("romeo").await;
    eleventh.send("<iq type='set' id='11'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
    eleventh.expect("<iq type='error' id='11' {…}>{error:wait:resource-constraint}{…}</iq>").await;
}

#[tokio::test]
async fn s04_an_address_has_fifty_strangers() {
    let server = TestServer::start(empty()).await;
    let scene = server.scene();
    let mut strangers = Vec::new();
    for _ in 0..50 {
        let mut client = scene.connect().await;
        client.open_stream(scene.host()).await;
        strangers.push(client);
    }
    let mut one_more = scene.connect().await;
    assert!(one_more.rest().await.is_empty(), "closed without a word");
    // Whoever leaves or logs in makes room.
    let mut leaving = strangers.pop().expect("a stranger");
    leaving.send("</stream:stream>").await;
    leaving.expect_end().await;
    drop(leaving);
    let mut romeo = loop {
        let mut client = scene.connect().await;
        client.begin_stream(waxwing_testkit::stream_header("to='{host}' version='1.0'")).await;
        // The server closes its side a moment after the client has seen the end.
        match tokio::time::timeout(Duration::from_secs(2), client.rest()).await {
            Ok(_) => continue,
            Err(_) => break client,
        }
    };
    romeo.hang_up();
}

#[tokio::test]
async fn s04_connections_come_no_faster_than_twenty_a_second() {
    let server = TestServer::start(empty()).await;
    let begun = Instant::now();
    // 50 at once, then 20 a second.
    for _ in 0..90 {
        let header = waxwing_testkit::stream_header("to='capulet.lit' version='1.0'");
        crate::strangers::answer_to(&server, format!("{header}</stream:stream>").as_bytes()).await;
    }
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(1_500), "90 connections have passed in {taken:?}");
}

#[tokio::test]
async fn s04_who_keeps_failing_is_slowed_and_then_banned() {
    let server = TestServer::start(empty()).await;
    let scene = server.scene();
    let name = scene.account("romeo").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = scene.connect_tls().await;
        client.open_stream(scene.host()).await;
        clients.push(client);
    }
    let mut one_who_is_in = scene.session("juliet/balcony").await;
    let mut last = scene.connect_tls().await;
    last.open_stream(scene.host()).await;
    let begun = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for mut client in clients {
        waiting.spawn(async move { client.auth("SCRAM-SHA-256", "bm9uc2Vuc2U=").await });
    }
    while let Some(failure) = waiting.join_next().await {
        assert_eq!(failure.expect("an answer").name, "failure");
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "the sixth failure and all later ones wait two seconds");
    // 20 failures in an hour: nobody comes in from there any more, with whatever password.
    let address = server.addresses().c2s[0];
    let mut banned = tokio::net::TcpStream::connect(address).await.expect("the system still accepts");
    let read = tokio::io::AsyncReadExt::read(&mut banned, &mut [0; 8]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // But accounts are never locked, and who is in stays in.
    let scram = last.scram(&name, &scene.password("romeo"));
    last.try_scram(&scram).await.expect("the account is not locked");
    one_who_is_in.barrier().await;
}

#[tokio::test]
async fn s04_an_address_has_a_bound_of_connections() {
    // 500 by default; a lower one shows that it is this setting that does it.
    let server = TestServer::start(options().toml("[limits]\nconnections_per_address = 4")).await;
    let scene = server.scene();
    let mut sessions = Vec::new();
    for number in 0..4 {
        sessions.push(scene.session(&format!("romeo/{number}")).await);
    }
    assert!(scene.connect().await.rest().await.is_empty(), "closed without a word");
    for session in &mut sessions {
        session.barrier().await;
    }
}
