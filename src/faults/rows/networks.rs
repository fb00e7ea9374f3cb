//! F12, F14 and F16: clients that do not read, connections that lead nowhere, and two that come back at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::observer::Observer;
use crate::person::{Order, name_of};
use crate::process::until;
use crate::program::{HOST, Settings};
use crate::relay::Relay;
use crate::rows::Act;

/// Small bounds, so that little has to be sent to reach them.
const NARROW: Settings = Settings {
    limits: "stanza_bytes = '256 KiB'\nsend_buffer_bytes = '256 KiB'\nsend_timeout = '20s'\n",
    sections: "[modules.stream_management]\nunacknowledged_bytes = '256 KiB'\n",
};

/// A connection that is silent counts as lost after three seconds, and a session waits for five.
const IMPATIENT: Settings = Settings {
    limits: "ping_after = '2s'\nping_timeout = '2s'\n",
    sections: "[modules.stream_management]\nask_every = '1s'\nresume_for = '5s'\n",
};

/// How long it takes at most until a silent client's session is over with these settings.
const OVER: Duration = Duration::from_secs(1 + 2 + 2 + 5 + 4);

/// F12: clients stop reading while many write to them.
pub async fn slow_reader(act: &mut Act<'_>) -> anyhow::Result<()> {
    let mut play = act.play(NARROW).await?;
    let clients = play.actors.len();
    let burst = if act.arguments.short { 400 } else { 1500 };
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let observer = Observer::begin(play.program.address(), "writer", None).await?;
        let victim = dice.below(clients);
        play.actors[victim].order(Order::BeNarrow);
        tokio::time::sleep(Duration::from_millis(500)).await;
        play.all_online(Duration::from_secs(30)).await?;
        play.speak();
        tokio::time::sleep(wait).await;
        observer.take();
        let memory = play.program.memory();
        let time = dice.between(Duration::from_secs(4), Duration::from_secs(8));
        play.actors[victim].order(Order::StopReading(time));
        for step in 1..=3 {
            let other = (victim + clients - step) % clients;
            play.actors[other].order(Order::Burst { to: victim, count: burst });
        }
        tokio::time::sleep(time).await;
        let growth = play.program.memory().saturating_sub(memory);
        let seen = observer.take();
        act.report.check(seen.lost.is_none(), || format!("the observer has lost its connection: {:?}", seen.lost));
        act.report.time("answers within (95 %)", seen.percentile(95), Some(Duration::from_millis(300)));
        act.report.check(growth < 32 << 20, || format!("the server has grown by {growth} bytes"));
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("person{victim} read nothing for {time:.1?}, grown by {growth} bytes"));
    }
    play.end(act.report.is_good()).await
}

/// F14: connections stay open and lead nowhere; most clients come back another way, some too late.
pub async fn half_open(act: &mut Act<'_>) -> anyhow::Result<()> {
    let mut play = act.play(IMPATIENT).await?;
    let (clients, direct) = (play.actors.len(), play.program.address());
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let watcher = Observer::begin(direct, "watcher", None).await?;
        let relay = Relay::to(direct).await?;
        let mut through: Vec<usize> = (0..clients).filter(|_| dice.below(2) == 0).collect();
        for number in &through {
            play.actors[*number].order(Order::GoTo(relay.address()));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        play.all_online(Duration::from_secs(30)).await?;
        // One of them is known to the watcher, and stays away until its session is over.
        let sleeper = through.pop().unwrap_or(0);
        let jid = format!("{}@{HOST}/phone", name_of(sleeper));
        play.actors[sleeper].order(Order::GoTo(relay.address()));
        tokio::time::sleep(Duration::from_millis(500)).await;
        play.all_online(Duration::from_secs(30)).await?;
        play.actors[sleeper].order(Order::Send(format!("<presence to='watcher@{HOST}/desk'/>")));
        until("the watcher sees the sleeper", Duration::from_secs(10), || watcher.presences_of(&jid).0 > 0).await?;
        play.speak();
        tokio::time::sleep(wait).await;
        let resumed = play.sum(|state| state.resumed.load(Ordering::Relaxed));
        relay.freeze();
        let began = Instant::now();
        for number in &through {
            // Well before the server gives up: all of them resume.
            tokio::time::sleep(dice.between(Duration::ZERO, Duration::from_secs(2)) / through.len() as u32).await;
            play.actors[*number].order(Order::GoTo(direct));
        }
        let early = began.elapsed() < Duration::from_secs(5) && watcher.presences_of(&jid).1 > 0;
        act.report.check(!early, || "the watcher was told too early that the sleeper has gone".to_owned());
        match until("the watcher is told", OVER, || watcher.presences_of(&jid).1 > 0).await {
            Ok(_) => act.report.time("sleeper gone after", began.elapsed(), Some(OVER)),
            Err(error) => act.report.broken(format!("{error:#}")),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let told = watcher.presences_of(&jid).1;
        act.report.check(told == 1, || format!("the watcher was told {told} times that the sleeper has gone"));
        let resumed = play.sum(|state| state.resumed.load(Ordering::Relaxed)) - resumed;
        act.report.check(resumed >= through.len(), || format!("{resumed} of {} have resumed", through.len()));
        act.report.add("resumed", resumed);
        play.actors[sleeper].order(Order::GoTo(direct));
        tokio::time::sleep(Duration::from_millis(300)).await;
        play.all_online(Duration::from_secs(30)).await?;
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("{} frozen after {wait:.1?}", through.len() + 1));
    }
    play.end(act.report.is_good()).await
}

/// F16: two connections resume the same session at once, the old one perhaps still open.
pub async fn two_at_once(act: &mut Act<'_>) -> anyhow::Result<()> {
    let mut play = act.play(Settings::default()).await?;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        play.speak();
        tokio::time::sleep(wait).await;
        let resumed = play.sum(|state| state.resumed.load(Ordering::Relaxed));
        let mut racing = 0;
        for actor in &play.actors {
            if dice.below(3) == 0 {
                actor.order(Order::Race { keep_old: dice.below(2) == 0 });
                racing += 1;
                tokio::time::sleep(dice.between(Duration::ZERO, Duration::from_millis(20))).await;
            }
        }
        let done = || play.sum(|state| state.resumed.load(Ordering::Relaxed)) >= resumed + racing;
        if let Err(error) = until("everybody has resumed", Duration::from_secs(60), done).await {
            act.report.broken(format!("{error:#}"));
        }
        play.all_online(Duration::from_secs(30)).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        act.report.add("races", racing);
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("{racing} races after {wait:.1?}"));
    }
    play.end(act.report.is_good()).await
}
