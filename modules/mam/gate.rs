//! Who may read now: of all queries so many at a time, of each account one (security row S35).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use waxwing_core::address::BareJid;
use waxwing_core::refusal::Refusal;

/// Whoever waits longer is told to come again.
const PATIENCE: Duration = Duration::from_secs(15);

/// So many doors are looked through for some that nobody needs.
const MANY: usize = 1024;

/// One at a time.
type Door = Arc<tokio::sync::Mutex<()>>;

/// The gate before the archives of a host.
pub struct Gate {
    patience: Duration,
    places: Arc<Semaphore>,
    doors: Mutex<HashMap<BareJid, Door>>,
}

/// A query is under way until this is dropped.
pub struct Inside<'a> {
    gate: &'a Gate,
    who: BareJid,
    door: Option<OwnedMutexGuard<()>>,
    _place: OwnedSemaphorePermit,
}

impl Gate {
    /// Lets so many in at a time.
    pub fn new(most: usize) -> Gate {
        let places = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Gate { patience: PATIENCE, places, doors: Mutex::default() }
    }

    /// Waits until it is this asker's turn.
    ///
    /// # Errors
    /// `resource-constraint` when that takes too long.
    pub async fn enter(&self, who: BareJid) -> Result<Inside<'_>, Refusal> {
        let door = {
            let mut doors = self.doors.lock();
            if doors.len() >= MANY && doors.len().is_multiple_of(MANY) {
                // Whoever was cut off while he waited has left his door behind.
                doors.retain(|_, door| Arc::strong_count(door) > 1);
            }
            doors.entry(who.clone()).or_default().clone()
        };
        let entering = async {
            let door = door.lock_owned().await;
            let place = self.places.clone().acquire_owned().await;
            place.ok().map(|place| (door, place))
        };
        match timeout(self.patience, entering).await {
            Ok(Some((door, place))) => Ok(Inside { gate: self, who, door: Some(door), _place: place }),
            _ => {
                self.tidy(&who);
                Err(Refusal::resource_constraint().saying("too many queries wait to be answered, try again later"))
            }
        }
    }

    /// Takes away the door of an asker when nobody stands before or behind it.
    fn tidy(&self, who: &BareJid) {
        let mut doors = self.doors.lock();
        if doors.get(who).is_some_and(|door| Arc::strong_count(door) == 1) {
            doors.remove(who);
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.door = None;
        self.gate.tidy(&self.who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn s35_an_account_waits_for_itself_and_not_for_others() {
        let gate = Gate { patience: Duration::from_millis(30), ..Gate::new(2) };
        let first = gate.enter(jid("a@b")).await.unwrap();
        assert_eq!(gate.enter(jid("a@b")).await.err().unwrap().condition.name(), "resource-constraint");
        let other = gate.enter(jid("c@d")).await.unwrap();
        assert_eq!(gate.enter(jid("e@f")).await.err().unwrap().condition.name(), "resource-constraint");
        drop(first);
        let again = gate.enter(jid("a@b")).await.unwrap();
        drop((other, again));
        assert!(gate.doors.lock().is_empty());
        assert_eq!(gate.places.available_permits(), 2);
    }
}
