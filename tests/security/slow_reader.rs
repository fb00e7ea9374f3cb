//! S34: a client that stops reading costs its own bound and nobody else's patience.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waxwing_core::address::FullJid;
use waxwing_core::house::House;
use waxwing_testkit::{Element, RawClient, TestServer};

use crate::program;

/// How many messages are sent, and how long each is: many times what may wait for one session, and what the system takes
/// for a socket that nobody reads.
const MESSAGES: usize = 4_000;
const LENGTH: usize = 12_000;

/// The numbers of the messages among what came; those that came back as errors, when `bounced`.
fn numbers(came: &[Element], bounced: bool) -> Vec<usize> {
    let messages = came.iter().filter(|element| element.name == "message");
    let wanted = messages.filter(|message| (message.attribute("type") == Some("error")) == bounced);
    wanted.filter_map(|message| message.attribute("id")?.strip_prefix('n')?.parse().ok()).collect()
}

/// How long pings take, the longest last.
async fn round_trips(client: &mut RawClient, number: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..number {
        let begun = Instant::now();
        client.barrier().await;
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort();
    times
}

#[tokio::test]
async fn s34_who_stops_reading_costs_a_bounded_amount_of_memory() {
    let server = TestServer::start(program::options()).await;
    let process = program::Process::of(&server);
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut nurse = scene.session("nurse/chamber").await;
    romeo.set_patience(Duration::from_secs(60));
    // The program settles with a volley that is read.
    let body = "x".repeat(LENGTH);
    let to = scene.jid("juliet");
    let message =
        |number: usize| format!("<message to='{to}' type='chat' id='n{number}'><body>{body}</body></message>");
    for number in 0..200 {
        romeo.send_bytes(message(number)).await;
        juliet.receive().await;
    }
    let quiet = round_trips(&mut nurse, 100).await;
    let before = process.memory();
    // From here on Juliet does not read.
    let flood = async {
        let mut came = Vec::new();
        for volley in 0..MESSAGES / 100 {
            let messages: String = (volley * 100..volley * 100 + 100).map(message).collect();
            romeo.send_bytes(messages).await;
            came.extend(romeo.drain().await);
        }
        came
    };
    let beside = async {
        let mut worst = Vec::new();
        while worst.len() < 300 {
            worst.extend(round_trips(&mut nurse, 10).await);
        }
        worst.sort();
        worst
    };
    let (mut came_back, busy) = tokio::join!(flood, beside);
    let sent = MESSAGES * LENGTH;
    // 1 MiB may wait for her. The rest is what the program needs to take in and store all of it, and what the allocator gives
    // back some seconds later; without a bound nearly all that was sent would wait, and go on waiting.
    let mut grown = usize::MAX;
    for _ in 0..60 {
        grown = process.memory().saturating_sub(before);
        if grown < sent / 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(grown < sent / 4, "{} KiB more after {} KiB were sent", grown / 1024, sent / 1024);
    // Others are served as before. The bound is for a machine that does all of it, clients too, on two cores.
    let (quiet, busy) = (quiet[quiet.len() / 2], busy[busy.len() * 99 / 100]);
    assert!(busy < quiet * 10 + Duration::from_millis(250), "{quiet:?} has become {busy:?}");

    // Her session is gone, and everyone hears so.
    nurse.send("<iq type='get' id='q' to='{juliet/balcony}'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    nurse.expect("<iq type='error' id='q' {…}>{error:cancel:service-unavailable}</iq>").await;
    // What she has in her socket, what is kept for her, and what went back to its sender: that is all of it, but for what
    // was on its way when the connection was given up.
    // What waited in her mailbox is kept or refused one after the other, beside what is new.
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let late = romeo.drain().await;
        if late.is_empty() {
            break;
        }
        came_back.extend(late);
    }
    let bounced: BTreeSet<usize> = numbers(&came_back, true).into_iter().collect();
    let mut again = scene.session("juliet/garden").await;
    again.set_patience(Duration::from_secs(20));
    again.send("<presence/>").await;
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    // They are delivered beside whatever else is done.
    for _ in 0..100 {
        kept.extend(numbers(&again.drain().await, false));
        if kept.len() >= 1_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What waited for her when she was given up, and the newest of what came after that. The archive has everything: nothing
    // was refused, and nothing is lost.
    assert!(kept.len() >= 1_000, "{} messages delivered again", kept.len());
    assert!(bounced.is_empty(), "{bounced:?}");
    again
        .send(
            "<iq type='set' id='count'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>\
             <max>0</max></set></query></iq>",
        )
        .await;
    let answer = loop {
        let element = again.receive().await;
        if element.name == "iq" {
            break element;
        }
    };
    let set = answer.child("fin").and_then(|fin| fin.child("set")).expect("a count");
    assert_eq!(set.text_of("count"), Some((200 + MESSAGES).to_string()), "{answer}");
}

#[tokio::test]
async fn s34_who_neither_reads_nor_leaves_is_let_go() {
    let server =
        TestServer::start(crate::common::options().toml("[limits]\nsend_timeout = '1s'\nping_after = '300s'")).await;
    let scene = server.scene();
    let juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let address = FullJid::new(juliet.jid()).expect("a full JID");
    let waits = async || {
        let address = address.clone();
        let look = async move |house: Arc<House>| house.directory().session(&address).map(|session| session.room());
        server.with_house(look).await
    };
    // So much that something waits for her, and far less than the mailbox holds.
    let body = "x".repeat(20_000);
    let begun = Instant::now();
    loop {
        romeo.send(format!("<message to='{{juliet/balcony}}' type='headline'><body>{body}</body></message>")).await;
        romeo.barrier().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "the system takes everything");
        if waits().await != Some(usize::MAX) {
            // Not only for the moment until the writer takes it.
            tokio::time::sleep(Duration::from_millis(100)).await;
            if waits().await != Some(usize::MAX) {
                break;
            }
        }
    }
    let begun = Instant::now();
    while waits().await.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the session stays for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(juliet);
}
