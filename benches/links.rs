//! What a message to another server costs: two servers, people on each who write to each other, both directions at once.
//!
//! `cargo bench --bench links` (`PAIRS=20` of people, `MESSAGES=500` each way for each pair). Both servers in this process, with
//! TLS and stream management between them, archives as they are by default; the line runs through a relay whose processor time
//! does not count. The processor's time is that of the threads of both servers: of one message at the sender's and at the
//! recipient's. Fails when a message is lost, doubled or out of order, also where the line is cut in between.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

#[path = "../tests/federation/authority.rs"]
mod authority;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/relay/mod.rs"]
mod relay;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/federation/world.rs"]
mod world;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tokio::sync::Mutex;
use waxwing_testkit::RawClient;

use world::{Setup, World, message};

/// How long anything may take: this is no test of speed for a debug build.
const PATIENCE: Duration = Duration::from_secs(120);
/// Messages that one person has under way.
const UNDER_WAY: usize = 10;

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// When each message under way was sent.
type Sent = Arc<Mutex<VecDeque<Instant>>>;

/// One person: says `messages` to another, and hears as many; how long each that was heard took.
async fn talk(
    mut client: RawClient,
    other: String,
    messages: usize,
    mine: Sent,
    theirs: Sent,
) -> anyhow::Result<(RawClient, Vec<Duration>)> {
    let (mut said, mut times) = (0, Vec::with_capacity(messages));
    while said < messages || times.len() < messages {
        while said < messages && mine.lock().await.len() < UNDER_WAY {
            mine.lock().await.push_back(Instant::now());
            client.send_bytes(message(&other, &said.to_string())).await;
            said += 1;
        }
        if times.len() == messages {
            tokio::task::yield_now().await;
            continue;
        }
        let stanza = client.receive().await;
        let body = stanza.text_of("body").with_context(|| format!("a message: {stanza}"))?;
        ensure!(body == times.len().to_string(), "lost, doubled or out of order: {body} after {}", times.len());
        times.push(theirs.lock().await.pop_front().context("it was sent")?.elapsed());
    }
    Ok((client, times))
}

async fn measure(what: &str, setup: Setup, cuts: bool) -> anyhow::Result<()> {
    let (pairs, messages) = (from_environment("PAIRS", 20), from_environment("MESSAGES", 500));
    let world = World::new(setup).await;
    let mut people = Vec::with_capacity(pairs);
    for number in 0..pairs {
        let romeo = world.montague.scene().online(&format!("romeo{number}/x")).await;
        let juliet = world.capulet.scene().online(&format!("juliet{number}/x")).await;
        people.push([romeo, juliet]);
    }
    // The first message makes the connections.
    for [romeo, juliet] in &mut people {
        romeo.set_patience(PATIENCE);
        juliet.set_patience(PATIENCE);
        world::say(romeo, juliet, "warm").await;
        world::say(juliet, romeo, "warm").await;
    }
    let processor = || world.capulet.server.processor_time() + world.montague.server.processor_time();
    let (since, before) = (Instant::now(), processor());
    let talks = people.into_iter().flat_map(|[romeo, juliet]| {
        let (his, hers) = (Sent::default(), Sent::default());
        let (he, she) = (romeo.jid().to_owned(), juliet.jid().to_owned());
        [talk(romeo, she, messages, his.clone(), hers.clone()), talk(juliet, he, messages, hers, his)]
    });
    let cutting = async {
        for line in [&world.capulet.line, &world.montague.line].into_iter().cycle() {
            if cuts {
                tokio::time::sleep(Duration::from_millis(400)).await;
                line.break_off();
            } else {
                std::future::pending::<()>().await;
            }
        }
    };
    let done = tokio::select! { done = try_join_all(talks) => done?, () = cutting => unreachable!("it never ends") };
    let (took, spent) = (since.elapsed(), processor() - before);
    let connections = world.capulet.line.accepted() + world.montague.line.accepted();
    let count = pairs * 2 * messages;
    let mut times: Vec<Duration> = done.iter().flat_map(|(_, times)| times.iter().copied()).collect();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!(
        "{what:<34} {:>8.0} messages/s   {:>8.2} µs of both servers for each of {count}   median {:.1} ms, 99 of 100 within \
         {:.1} ms   {connections} connections",
        count as f64 / took.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / count as f64,
        at(50),
        at(99)
    );
    drop(done);
    world.capulet.server.stop().await;
    world.montague.server.stop().await;
    Ok(())
}

async fn run() -> anyhow::Result<()> {
    let usual = Setup {
        more: "queue_stanzas = 100000\nqueue_bytes = '100 MiB'\nserver_stanzas = 'unlimited'\n\
                               server_bytes = 'unlimited'",
        ..Setup::default()
    };
    measure("STARTTLS, EXTERNAL", usual, false).await?;
    measure("direct TLS, EXTERNAL", Setup { direct_tls: true, ..usual }, false).await?;
    measure("one connection both ways (bidi)", Setup { bidirectional: true, ..usual }, false).await?;
    measure("the line cut every 0.4 s", usual, true).await?;
    println!("nothing lost, nothing doubled, all in order");
    Ok(())
}

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}
