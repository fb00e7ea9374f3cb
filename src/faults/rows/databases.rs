//! F3, F4 and F8: the database is killed, stands still, or has no room.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::database::{Cluster, Engine};
use crate::observer::{Observer, Seen};
use crate::play::Play;
use crate::process::{signal, until};
use crate::program::Settings;
use crate::rows::Act;
use crate::volume::Volume;

/// How long after the database is back messages may still be refused.
const RECOVERY: Duration = Duration::from_secs(10);

/// How long a message may wait until it is refused: ten seconds, and something for a machine that does other things.
const REFUSED: Duration = Duration::from_secs(13);

/// How quickly a client that stores nothing is answered, whatever the database does. Nineteen of twenty: the machine does
/// other things too.
const ANSWER: Duration = Duration::from_millis(100);

/// How many MiB a database has in row F8.
const ROOM: usize = 240;

/// Two who store nothing; one tells the other that it is there.
async fn observers(play: &Play) -> anyhow::Result<(Observer, Observer)> {
    let address = play.program.address();
    let reader = Observer::begin(address, "reader", None).await?;
    let writer = Observer::begin(address, "writer", Some("reader@capulet.lit/desk".to_owned())).await?;
    Ok((reader, writer))
}

/// What a fault of the database must not change.
struct Before {
    lost: usize,
    refused: usize,
}

impl Before {
    fn of(play: &Play) -> Before {
        let lost = play.sum(|state| state.lost.load(Ordering::Relaxed));
        Before { lost, refused: refused(play) }
    }
}

fn refused(play: &Play) -> usize {
    play.sum(|state| state.refused.load(Ordering::Relaxed))
}

fn taken(play: &Play) -> usize {
    play.sum(|state| state.taken.load(Ordering::Relaxed))
}

/// What those who store nothing have noticed of a fault.
fn look_at(act: &mut Act<'_>, who: [(&str, Seen); 2], during: Duration) {
    for (name, seen) in who {
        act.report.check(seen.lost.is_none(), || format!("the {name} has lost its connection: {:?}", seen.lost));
        act.report.time("answers within (95 %)", seen.percentile(95), Some(ANSWER));
        act.report.time("answers within (all)", seen.percentile(100), None);
        if name == "reader" {
            let least = (during.as_millis() / 400) as usize;
            act.report.check(seen.there() >= least, || {
                format!("{} presences were delivered in {during:.1?}, at least {least} were told", seen.there())
            });
        }
    }
}

/// Waits until messages are taken again, and until all that were refused have come back.
async fn recover(act: &mut Act<'_>, play: &Play, before: &Before) -> anyhow::Result<()> {
    let taken_before = taken(play);
    match until("messages are taken again", Duration::from_secs(60), || taken(play) > taken_before).await {
        Ok(took) => act.report.time("taken again after", took, Some(RECOVERY)),
        Err(error) => act.report.broken(format!("{error:#}")),
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let lost = play.sum(|state| state.lost.load(Ordering::Relaxed)) - before.lost;
    act.report.check(lost == 0, || format!("{lost} clients have lost their connections"));
    Ok(())
}

/// F3: kill -9 of PostgreSQL's processes under load.
pub async fn killed(act: &mut Act<'_>) -> anyhow::Result<()> {
    let cluster = act.cluster.context("F3 is about PostgreSQL")?;
    let mut play = act.play(Settings::default()).await?;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let (reader, writer) = observers(&play).await?;
        let before = Before::of(&play);
        play.speak();
        tokio::time::sleep(wait).await;
        let (_, _) = (reader.take(), writer.take());
        let began = Instant::now();
        let what = match dice.below(3) {
            0 => {
                cluster.kill().await?;
                let away = if act.arguments.short { 2 } else { 5 };
                tokio::time::sleep(Duration::from_secs(away)).await;
                cluster.launch().await?;
                "the postmaster"
            }
            1 => {
                let backends = cluster.backends().await;
                let one = backends.get(dice.below(backends.len().max(1))).copied();
                signal("-KILL", &one.into_iter().collect::<Vec<_>>()).await;
                "one backend"
            }
            _ => {
                signal("-KILL", &cluster.backends().await).await;
                "all backends"
            }
        };
        recover(act, &play, &before).await?;
        let during = began.elapsed();
        look_at(act, [("reader", reader.take()), ("writer", writer.take())], during);
        act.report.time("refused within", play.slowest(|state| &state.slowest_refusal), Some(REFUSED));
        act.report.add("refused", refused(&play) - before.refused);
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("killed {what} after {wait:.1?}"));
    }
    play.end(act.report.is_good()).await
}

/// F4: PostgreSQL stands still, for ten seconds and for a minute.
pub async fn stalled(act: &mut Act<'_>) -> anyhow::Result<()> {
    let cluster = act.cluster.context("F4 is about PostgreSQL")?;
    let mut play = act.play(Settings::default()).await?;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let (reader, writer) = observers(&play).await?;
        let before = Before::of(&play);
        play.speak();
        tokio::time::sleep(wait).await;
        let (_, _) = (reader.take(), writer.take());
        // Every fourth is a long one.
        let is_long = repetition % 4 == 3;
        let stall = match (act.arguments.short, is_long) {
            (true, _) => Duration::from_secs(4),
            (false, false) => Duration::from_secs(10),
            (false, true) => Duration::from_secs(60),
        };
        let processes = cluster.processes().await;
        signal("-STOP", &processes).await;
        let memory = play.program.memory();
        tokio::time::sleep(stall).await;
        let growth = play.program.memory().saturating_sub(memory);
        signal("-CONT", &processes).await;
        recover(act, &play, &before).await?;
        look_at(act, [("reader", reader.take()), ("writer", writer.take())], stall);
        let came_back = refused(&play) - before.refused;
        act.report.time("refused within", play.slowest(|state| &state.slowest_refusal), Some(REFUSED));
        act.report.add("refused", came_back);
        if is_long {
            act.report.check(came_back > 0, || "a minute's stall refused nothing".to_owned());
        } else {
            act.report.check(came_back == 0, || format!("{came_back} messages came back"));
        }
        act.report.check(growth < 64 << 20, || format!("the server has grown by {growth} bytes"));
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("stopped after {wait:.1?} for {stall:?}, grown by {growth} bytes"));
    }
    play.end(act.report.is_good()).await
}

/// F8: the database's volume is full.
pub async fn full(act: &mut Act<'_>) -> anyhow::Result<()> {
    let volume = Volume::mount(ROOM).await?;
    let cluster = match act.engine {
        Engine::Sqlite => None,
        Engine::Postgres => {
            let programs = act.arguments.postgres.as_ref().context("where PostgreSQL's programs are is not known")?;
            Some(Cluster::start_in(programs, volume.path()).await?)
        }
    };
    let mut play = match &cluster {
        None => act.play_at(format!("sqlite:{}", volume.path().join("waxwing.db").display())).await?,
        Some(cluster) => act.play_at(cluster.new_database().await?).await?,
    };
    let mut crashed = 0;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let (reader, writer) = observers(&play).await?;
        let before = Before::of(&play);
        play.speak();
        tokio::time::sleep(wait).await;
        let (_, _) = (reader.take(), writer.take());
        // The server tries for twelve seconds: every second time it is full for longer.
        let is_long = repetition % 2 == 1;
        let (shortest, longest) = match (act.arguments.short, is_long) {
            (true, _) => (2, 3),
            (false, false) => (2, 8),
            (false, true) => (15, 20),
        };
        let stall = dice.between(Duration::from_secs(shortest), Duration::from_secs(longest));
        volume.fill()?;
        tokio::time::sleep(stall).await;
        volume.clear()?;
        if let Some(cluster) = &cluster
            && !cluster.is_alive().await
        {
            // Without room for its journal PostgreSQL ends; its supervisor starts it again.
            crashed += 1;
            cluster.kill().await?;
            cluster.launch().await?;
        }
        recover(act, &play, &before).await?;
        look_at(act, [("reader", reader.take()), ("writer", writer.take())], stall);
        act.report.time("refused within", play.slowest(|state| &state.slowest_refusal), Some(REFUSED));
        let came_back = refused(&play) - before.refused;
        act.report.add("refused", came_back);
        act.report.check(!is_long || came_back > 0, || "nothing was refused, was the volume full at all?".to_owned());
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("filled after {wait:.1?} for {stall:.1?}"));
    }
    act.report.add("PostgreSQL ended", crashed);
    play.end(act.report.is_good()).await?;
    if let Some(cluster) = cluster {
        cluster.stop().await;
    }
    Ok(())
}
