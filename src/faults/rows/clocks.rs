//! F17: the machine's clock jumps.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;

use crate::program::Settings;
use crate::rows::Act;

/// F17: an hour forth, an hour back, and perhaps a crash while the clock is wrong.
pub async fn jumps(act: &mut Act<'_>) -> anyhow::Result<()> {
    let library = act.arguments.clock.as_ref().context("the clock cannot be made to jump: there is no C compiler")?;
    let library = library.canonicalize().context("the library of the clock")?;
    let clock = tempfile::NamedTempFile::new()?;
    std::fs::write(clock.path(), "0\n")?;
    let environment =
        [("LD_PRELOAD", library.display().to_string()), ("CLOCK_SKEW", clock.path().display().to_string())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let mut play = act.play_with(act.arguments.clients(), Settings::default(), environment).await?;
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let lost = play.sum(|state| state.lost.load(Ordering::Relaxed));
        play.speak();
        tokio::time::sleep(wait).await;
        let jumps = if dice.below(2) == 0 { ["3600", "-3600"] } else { ["-3600", "3600"] };
        for jump in jumps {
            // Replaced as a whole, because the server reads it all the time.
            let new = tempfile::NamedTempFile::new_in(clock.path().parent().context("the clock is in a folder")?)?;
            std::fs::write(new.path(), format!("{jump}\n"))?;
            std::fs::rename(new.path(), clock.path())?;
            tokio::time::sleep(dice.between(Duration::from_millis(500), Duration::from_millis(2500))).await;
        }
        let dies = dice.below(3) == 0;
        if dies {
            play.program.kill_and_start().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            play.all_online(Duration::from_secs(60)).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        } else {
            let lost = play.sum(|state| state.lost.load(Ordering::Relaxed)) - lost;
            act.report.check(lost == 0, || format!("{lost} clients have lost their connections"));
        }
        let verdict = play.judge().await?;
        let end = if dies { ", then killed" } else { "" };
        act.report.repetition(verdict, &format!("clock {} after {wait:.1?}{end}", jumps.join(", then ")));
    }
    play.end(act.report.is_good()).await
}
