//! What a room of a hundred costs: all enter at once, several talk at once, everyone hears everything once and in one order.
//!
//! `cargo bench --bench rooms` (`OCCUPANTS=100`, `SENDERS=10`, `MESSAGES=100` of each sender). A server in this process, clients
//! over TLS, the archive on. The processor's time is that of the server's threads alone. Fails when a message is lost,
//! doubled or out of order.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use waxwing_testkit::{RawClient, TestServer};

const MUC: &str = "http://jabber.org/protocol/muc";
/// How long anything may take: this is no test of speed for a debug build.
const PATIENCE: Duration = Duration::from_secs(120);
/// Messages that one sender has under way.
const UNDER_WAY: usize = 10;

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Enters the room; gives back when the welcome was complete, and how many presences came until then.
async fn enter(client: &mut RawClient, room: &str, nick: usize) -> anyhow::Result<usize> {
    client.send(format!("<presence to='{room}/n{nick}'><x xmlns='{MUC}'/></presence>")).await;
    let mut presences = 0;
    loop {
        let stanza = client.receive().await;
        ensure!(stanza.attribute("type") != Some("error"), "n{nick} did not come in: {stanza}");
        presences += usize::from(stanza.name == "presence");
        if stanza.name == "message" && stanza.child("subject").is_some() {
            return Ok(presences);
        }
    }
}

/// Reads until everyone's presence has come: who enters first sees the others come later.
async fn see_everyone(client: &mut RawClient, seen: usize, occupants: usize) -> anyhow::Result<()> {
    for _ in seen..occupants {
        let stanza = client.receive().await;
        ensure!(stanza.name == "presence", "no presence: {stanza}");
    }
    Ok(())
}

/// What one client heard, in its order.
type Heard = Vec<Box<str>>;

/// Says `messages` if it is a sender, and hears those of all.
async fn talk(
    mut client: RawClient,
    room: String,
    nick: usize,
    messages: usize,
    senders: usize,
) -> anyhow::Result<(RawClient, Heard, Vec<Duration>)> {
    let mut heard: Heard = Vec::with_capacity(messages * senders);
    let (mut said, mut under_way) = (0, HashMap::new());
    let mut times = Vec::new();
    let own = format!("n{nick}-");
    let mine = if nick < senders { messages } else { 0 };
    while heard.len() < messages * senders {
        while said < mine && under_way.len() < UNDER_WAY {
            let body = format!("{own}{said}");
            client
                .send(format!("<message to='{room}' type='groupchat' id='{body}'><body>{body}</body></message>"))
                .await;
            under_way.insert(body, Instant::now());
            said += 1;
        }
        let stanza = client.receive().await;
        ensure!(stanza.attribute("type") == Some("groupchat"), "not what was said: {stanza}");
        let body = stanza.text_of("body").context("a message has a body")?;
        times.extend(under_way.remove(&*body).map(|since| since.elapsed()));
        heard.push(body.into());
    }
    Ok((client, heard, times))
}

/// Nothing is lost or doubled, each sender's messages are in order, and all hear the same order.
fn check(all: &[Heard], messages: usize, senders: usize) -> anyhow::Result<()> {
    let first = all.first().context("somebody heard something")?;
    for heard in all {
        ensure!(heard == first, "not all have heard the same in the same order");
    }
    for sender in 0..senders {
        let prefix = format!("n{sender}-");
        let own: Vec<&str> = first.iter().filter_map(|body| body.strip_prefix(&*prefix)).collect();
        let expected: Vec<String> = (0..messages).map(|number| number.to_string()).collect();
        ensure!(own == expected, "lost, doubled or out of order, of sender {sender}: {own:?}");
    }
    Ok(())
}

fn row(what: &str, elapsed: Duration, processor: Duration, count: usize, of: &str) {
    let each = processor.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!(
        "{what:<28} {:>8.3} s   server's processor {:>8.3} s   {each:>8.2} µs for each of {count} {of}",
        elapsed.as_secs_f64(),
        processor.as_secs_f64()
    );
}

async fn measure() -> anyhow::Result<()> {
    let occupants = from_environment("OCCUPANTS", 100);
    let senders = from_environment("SENDERS", 10).min(occupants);
    let messages = from_environment("MESSAGES", 100);
    let settings = "[modules.muc]\nnew_rooms = 'public-channel'\noccupant_messages = 'unlimited'\n\
                    room_messages = 'unlimited'\noccupant_presences = 'unlimited'";
    let server: Arc<TestServer> = TestServer::start(common::options().toml(settings)).await;
    let scene = server.scene();
    let mut clients = Vec::with_capacity(occupants);
    for number in 0..occupants {
        let mut client = scene.session(&format!("user{number}/x")).await;
        client.set_patience(PATIENCE);
        clients.push(client);
    }
    let room = format!("{}@conference.{}", scene.local("coven"), scene.host());
    enter(&mut clients[0], &room, 0).await?;
    clients[0]
        .send(format!(
            "<iq type='set' id='make' to='{room}'><query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/>\
             </query></iq>"
        ))
        .await;
    while clients[0].receive().await.name != "iq" {}

    let (since, processor) = (Instant::now(), server.processor_time());
    let entered = clients.iter_mut().enumerate().skip(1).map(|(nick, client)| {
        let room = room.clone();
        async move { enter(client, &room, nick).await }
    });
    let mut seen = vec![1];
    seen.extend(try_join_all(entered).await?);
    let took = since.elapsed();
    try_join_all(clients.iter_mut().zip(seen).map(|(client, seen)| see_everyone(client, seen, occupants))).await?;
    let spent = server.processor_time() - processor;
    row("all enter at once", took, spent, occupants * occupants, "presences");

    for senders in [1, senders] {
        let (since, processor) = (Instant::now(), server.processor_time());
        let talks =
            clients.drain(..).enumerate().map(|(nick, client)| talk(client, room.clone(), nick, messages, senders));
        let done = try_join_all(talks).await?;
        let (took, spent) = (since.elapsed(), server.processor_time() - processor);
        let (mut all, mut times) = (Vec::new(), Vec::new());
        for (client, heard, own) in done {
            clients.push(client);
            all.push(heard);
            times.extend(own);
        }
        check(&all, messages, senders)?;
        times.sort_unstable();
        row(
            &format!("{senders} talk, {UNDER_WAY} under way"),
            took,
            spent,
            messages * senders * occupants,
            "deliveries",
        );
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!("{:<28} median {:.1} ms, 99 of 100 within {:.1} ms", "  said and heard by oneself", at(50), at(99));
    }
    println!("{occupants} heard everything: nothing lost, nothing doubled, one order");
    drop(clients);
    server.stop().await;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(measure())
}
