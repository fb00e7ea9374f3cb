//! F1 and F18: the server is gone for a moment, killed or asked to go.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::program::Settings;
use crate::rows::Act;

/// How long everybody may take to come back.
const BACK: Duration = Duration::from_secs(15);

/// How long a killed server may take to listen again.
const LISTENS: Duration = Duration::from_secs(2);

/// How long a server may take to stop.
const STOPS: Duration = Duration::from_secs(30);

/// F1: kill -9 under load.
pub async fn killed(act: &mut Act<'_>) -> anyhow::Result<()> {
    let mut play = act.play(Settings::default()).await?;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let before = act.before(&mut dice);
        play.speak();
        tokio::time::sleep(before).await;
        let failed_before = play.sum(|state| state.failed.load(Ordering::Relaxed));
        let listens = play.program.kill_and_start().await?;
        act.report.time("listens after", listens, Some(LISTENS));
        let began = Instant::now();
        // Nobody is online who has not noticed yet.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let back = play.all_online(Duration::from_secs(60)).await.map(|_| began.elapsed());
        match back {
            Ok(back) => act.report.time("all back after", back, Some(BACK)),
            Err(error) => act.report.broken(format!("{error:#}")),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let verdict = play.judge().await?;
        let failed = play.sum(|state| state.failed.load(Ordering::Relaxed)) - failed_before;
        let clients = play.actors.len();
        act.report.check(failed == clients, || format!("{failed} of {clients} were told that they cannot resume"));
        act.report.repetition(verdict, &format!("killed after {before:.1?}, listens after {listens:.1?}"));
    }
    play.end(act.report.is_good()).await
}

/// F18: SIGTERM under load.
pub async fn stopped(act: &mut Act<'_>) -> anyhow::Result<()> {
    let mut play = act.play(Settings::default()).await?;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let before = act.before(&mut dice);
        play.speak();
        tokio::time::sleep(before).await;
        let resumed_before = play.sum(|state| state.resumed.load(Ordering::Relaxed));
        let (took, status) = play.program.stop().await?;
        act.report.time("stops within", took, Some(STOPS));
        act.report.check(status.success(), || format!("the server has ended with {status}"));
        act.report.time("starts within", play.program.start().await?, None);
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        match play.all_online(Duration::from_secs(60)).await {
            Ok(_) => act.report.time("all back after", began.elapsed(), Some(BACK)),
            Err(error) => act.report.broken(format!("{error:#}")),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let verdict = play.judge().await?;
        let resumed = play.sum(|state| state.resumed.load(Ordering::Relaxed)) - resumed_before;
        let clients = play.actors.len();
        act.report.check(resumed == clients, || format!("{resumed} of {clients} have resumed"));
        act.report.repetition(verdict, &format!("stopped after {before:.1?}, within {took:.1?}"));
    }
    play.end(act.report.is_good()).await
}
