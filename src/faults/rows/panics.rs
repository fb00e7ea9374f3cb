//! F2: a task of the server panics. The server must be one built for development: only that has fail points.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::observer::Observer;
use crate::person::{Order, name_of};
use crate::process::until;
use crate::program::{HOST, Settings};
use crate::rows::Act;

/// Arms the server's fail points.
const ARMED: (&str, &str) = ("WAXWING_FAIL_POINTS", "1");

/// F2: a panic in the reader or in the writer of one session.
pub async fn one_session(act: &mut Act<'_>) -> anyhow::Result<()> {
    let environment = vec![(ARMED.0.to_owned(), ARMED.1.to_owned())];
    let mut play = act.play_with(act.arguments.clients(), Settings::default(), environment).await?;
    let clients = play.actors.len();
    for repetition in 0..act.arguments.repetitions() {
        let mut dice = act.dice(repetition);
        let wait = act.before(&mut dice);
        let observer = Observer::begin(play.program.address(), "writer", None).await?;
        play.speak();
        tokio::time::sleep(wait).await;
        let victim = dice.below(clients);
        let at = if dice.below(2) == 0 { "departure" } else { "handover" };
        let lost = play.sum(|state| state.lost.load(Ordering::Relaxed));
        let of_victim = play.actors[victim].state.lost.load(Ordering::Relaxed);
        let fail = format!("<fail xmlns='urn:waxwing:fail-point' at='{at}'/>");
        // To itself: what departs and what is handed over belong to the same session.
        let to = format!("{}@{HOST}/phone", name_of(victim));
        let presence = format!("<presence to='{to}'>{fail}</presence>");
        // What has departed is counted before it is handed over.
        let order = if at == "departure" { Order::Provoke(presence) } else { Order::Send(presence) };
        play.actors[victim].order(order);
        let state = &play.actors[victim].state;
        until("the session ends", Duration::from_secs(10), || state.lost.load(Ordering::Relaxed) > of_victim).await?;
        let condition = state.stream_error.lock().map(|mut condition| condition.take()).unwrap_or_default();
        act.report.check(condition.as_deref() == Some("internal-server-error"), || {
            format!("a panic in {at} has ended the session of person{victim} with {condition:?}")
        });
        play.all_online(Duration::from_secs(30)).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let lost = play.sum(|state| state.lost.load(Ordering::Relaxed)) - lost;
        act.report.check(lost == 1, || format!("{lost} clients have lost their connections, one should"));
        let seen = observer.take();
        act.report.check(seen.lost.is_none(), || format!("the observer has lost its connection: {:?}", seen.lost));
        let verdict = play.judge().await?;
        act.report.repetition(verdict, &format!("a panic in the {at} of person{victim} after {wait:.1?}"));
    }
    play.end(act.report.is_good()).await
}
