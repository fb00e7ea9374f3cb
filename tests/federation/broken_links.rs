//! Links that break: nothing is lost and nothing doubled, and either server may go and come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use waxwing_testkit::{RawClient, TlsChoice};

use crate::world::{Setup, World, bodies_until, message, say};

/// As many messages as the issue asks for, each way.
const MESSAGES: usize = 1_000;

fn numbered() -> Vec<String> {
    (0..MESSAGES).map(|number| number.to_string()).collect()
}

async fn a_thousand_each_way(world: &World, disturb: impl AsyncFn(usize)) {
    let (mut romeo, mut juliet) = world.lovers().await;
    let (he, she) = (romeo.jid().to_owned(), juliet.jid().to_owned());
    let all = numbered();
    let last = all.last().expect("there are some").clone();
    for (index, text) in all.iter().enumerate() {
        romeo.send_bytes(message(&she, text)).await;
        juliet.send_bytes(message(&he, text)).await;
        disturb(index).await;
    }
    let (to_her, to_him) = tokio::join!(bodies_until(&mut juliet, &last), bodies_until(&mut romeo, &last));
    let first_wrong = |heard: &[String]| heard.iter().zip(&all).position(|(came, wanted)| came != wanted);
    assert_eq!((first_wrong(&to_her), to_her.len()), (None, all.len()), "to Juliet");
    assert_eq!((first_wrong(&to_him), to_him.len()), (None, all.len()), "to Romeo");
    for client in [&mut romeo, &mut juliet] {
        client.expect_silence(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn c27_a_thousand_messages_each_way_keep_their_order() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", ..Setup::default() }).await;
    a_thousand_each_way(&world, async |_| {}).await;
}

#[tokio::test]
async fn c27_a_thousand_messages_each_way_over_one_connection() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", bidirectional: true, ..Setup::default() }).await;
    a_thousand_each_way(&world, async |_| {}).await;
}

#[tokio::test]
async fn f25_a_link_that_is_cut_in_between_loses_nothing_and_doubles_nothing() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", ..Setup::default() }).await;
    let disturb = async |index: usize| {
        if index % 90 == 89 {
            world.capulet.line.break_off();
        }
        if index % 130 == 129 {
            world.montague.line.break_off();
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    };
    a_thousand_each_way(&world, disturb).await;
    // The line was really cut while it was used.
    assert!(world.capulet.line.accepted() > 3 && world.montague.line.accepted() > 3);
}

#[tokio::test]
async fn a_server_that_was_stopped_is_found_again_by_both() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    say(&mut romeo, &mut juliet, "before").await;
    say(&mut juliet, &mut romeo, "before").await;
    world.capulet.restart().await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    juliet.set_patience(Duration::from_secs(20));
    say(&mut romeo, &mut juliet, "after").await;
    say(&mut juliet, &mut romeo, "after").await;
    world.montague.crash().await;
    let mut romeo = world.montague.scene().online("romeo/orchard").await;
    romeo.set_patience(Duration::from_secs(20));
    say(&mut juliet, &mut romeo, "at last").await;
    say(&mut romeo, &mut juliet, "at last").await;
}

/// The certificate that a server shows to other servers now.
async fn shown(address: SocketAddr) -> Vec<u8> {
    let config = TlsChoice::new().unchecked().alpn(&["xmpp-server"]).configuration(".".as_ref(), true).expect("TLS");
    let socket = TcpStream::connect(address).await.expect("it listens");
    let name = "capulet.lit".try_into().expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS is agreed on");
    let chain = stream.get_ref().1.peer_certificates().expect("one is shown");
    chain[0].to_vec()
}

#[tokio::test]
async fn f27_servers_take_a_new_certificate_under_load_and_lose_nothing() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", ..Setup::default() }).await;
    let address = world.capulet.server.addresses().s2s_tls[0];
    let before = shown(address).await;
    let disturb = async |index: usize| {
        if index % 250 == 100 {
            world.capulet.take_certificate(&world.authority.sign("capulet.lit"));
            assert_ne!(shown(address).await, before);
        }
        // Only new connections show it.
        if index % 250 == 200 {
            world.capulet.line.break_off();
            world.montague.line.break_off();
        }
    };
    a_thousand_each_way(&world, disturb).await;
}

#[tokio::test]
async fn f27_a_server_whose_certificate_has_expired_talks_again_with_a_new_one() {
    let world = World::new(Setup { more: "connect_timeout = \"5s\"", ..Setup::default() }).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    world.capulet.take_certificate(&world.authority.sign_expired("capulet.lit"));
    let (he, she) = (romeo.bare().to_owned(), juliet.bare().to_owned());
    // Neither does she get out with it, nor does anybody believe that he has reached her.
    for (from, to) in [(&mut juliet, he), (&mut romeo, she)] {
        from.send_bytes(message(&to, "vain")).await;
        from.expect("<message type='error' id='vain' {…}>{error:wait:remote-server-timeout}{…}</message>").await;
    }
    world.capulet.take_certificate(&world.authority.sign("capulet.lit"));
    // Each side leaves the other alone for a moment after a failure.
    until_it_comes(&mut juliet, &mut romeo).await;
    until_it_comes(&mut romeo, &mut juliet).await;
}

/// Says something again and again until it is not refused any more.
async fn until_it_comes(from: &mut RawClient, to: &mut RawClient) {
    for attempt in 0.. {
        from.send_bytes(message(to.jid(), &format!("attempt-{attempt}"))).await;
        let answer = tokio::select! { answer = from.receive() => answer, came = to.receive() => came };
        if answer.attribute("type") != Some("error") {
            return assert_eq!(answer.child("body").map(|body| body.text()), Some(format!("attempt-{attempt}")));
        }
        assert!(attempt < 100, "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
