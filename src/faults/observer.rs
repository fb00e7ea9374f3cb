//! One who stores nothing: asks the server whether it is there, over and over, and tells another observer its presence.
//! Whatever happens to the database, this must go on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::program::HOST;
use crate::wire::{Gone, Wire};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(100);

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How long each answer took.
    pub answers: Vec<Duration>,
    /// How often each other has told that it is there, and that it has gone.
    pub presences: HashMap<String, (usize, usize)>,
    /// Why its connection was lost.
    pub lost: Option<String>,
}

impl Seen {
    /// The time within which so many of a hundred answers came.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.answers.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(place).copied().unwrap_or(Duration::MAX)
    }

    /// How many presences have come that say "there", from anyone.
    pub fn there(&self) -> usize {
        self.presences.values().map(|(there, _)| there).sum()
    }
}

/// An observer at work.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Logs in under this name, making the account if it is not there, and begins. It tells its presence to `to`.
    ///
    /// # Errors
    /// When it cannot log in.
    pub async fn begin(address: SocketAddr, name: &str, to: Option<String>) -> anyhow::Result<Observer> {
        let failed = |gone: Gone| anyhow::anyhow!("{name} cannot begin: {gone}");
        let mut wire = Wire::connect(address, false).await.map_err(failed)?;
        // It may be there from an earlier repetition.
        let _ = wire.register(HOST, name).await;
        drop(wire);
        let mut wire = Wire::connect(address, false).await.map_err(failed)?;
        wire.login(HOST, name).await.map_err(failed)?;
        let bind = "urn:ietf:params:xml:ns:xmpp-bind";
        wire.send(&format!(
            "<iq type='set' id='b'><bind xmlns='{bind}'><resource>desk</resource></bind></iq><presence/>"
        ))
        .await
        .map_err(failed)?;
        wire.answer().await.map_err(failed)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let writing = seen.clone();
        let task = tokio::spawn(async move {
            let gone = observe(wire, to, &writing).await;
            writing.lock().unwrap_or_else(PoisonError::into_inner).lost = Some(gone.to_string());
        });
        Ok(Observer { seen, task })
    }

    /// What it has seen since this was last asked.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often somebody has told that it is there, and that it has gone.
    pub fn presences_of(&self, jid: &str) -> (usize, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.presences.get(jid).copied().unwrap_or_default()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn observe(mut wire: Wire, to: Option<String>, seen: &Mutex<Seen>) -> Gone {
    let mut asked: Option<(u32, Instant)> = None;
    let mut number = 0;
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if asked.is_some() {
                    continue;
                }
                number += 1;
                asked = Some((number, Instant::now()));
                let mut xml =
                    format!("<iq type='get' to='{HOST}' id='p{number}'><ping xmlns='urn:xmpp:ping'/></iq>");
                if let Some(to) = &to {
                    xml.push_str(&format!("<presence to='{to}'><status>{number}</status></presence>"));
                }
                if let Err(gone) = wire.send(&xml).await {
                    return gone;
                }
            }
            element = wire.next() => {
                let element = match element {
                    Ok(element) => element,
                    Err(gone) => return gone,
                };
                let id = element.attribute("id").unwrap_or_default();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                match (element.name(), asked) {
                    ("iq", Some((number, since))) if id == format!("p{number}") => {
                        seen.answers.push(since.elapsed());
                        asked = None;
                    }
                    ("presence", _) => {
                        let from = element.attribute("from").unwrap_or_default().into_owned();
                        let (there, gone) = seen.presences.entry(from).or_default();
                        match element.attribute("type").as_deref() {
                            None => *there += 1,
                            Some("unavailable") => *gone += 1,
                            Some(_) => {}
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_answers() {
        let answers = (1..=200).rev().map(Duration::from_millis).collect();
        let seen = Seen { answers, ..Seen::default() };
        assert_eq!(seen.percentile(50), Duration::from_millis(101));
        assert_eq!(seen.percentile(100), Duration::from_millis(200));
        assert_eq!(Seen::default().percentile(95), Duration::MAX);
    }
}
