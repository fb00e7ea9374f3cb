//! What waits for one other server, and who carries it there: one queue for each pair of domains, bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use waxwing_core::address::DomainPart;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;

use super::settings::Settings;

/// One of our domains and one of another server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) ours: DomainPart,
    pub(crate) theirs: DomainPart,
}

/// The queue from one of our domains to one of another server.
pub(crate) struct Link {
    pub(crate) pair: Pair,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Parcel>,
    bytes: usize,
    carrier: Carrier,
    /// How often in a row the server could not be reached.
    failures: u32,
    /// Until when what comes is refused at once, and how.
    refusing: Option<(Instant, Refusal)>,
}

/// Who empties the queue.
#[derive(Default)]
enum Carrier {
    #[default]
    Nobody,
    /// A task that connects to the server; to be woken.
    Task(Arc<Notify>),
    /// A connection of theirs that carries both directions; to be woken.
    Stream(Arc<Notify>),
}

/// What became of a parcel.
pub(crate) enum Put {
    /// It waits, and somebody will take it.
    Waits,
    /// It waits, and a task is to be begun for it.
    Begin(Arc<Link>, Arc<Notify>),
}

impl Link {
    fn new(pair: Pair) -> Arc<Link> {
        Arc::new(Link { pair, state: Mutex::default() })
    }

    fn put(self: &Arc<Link>, parcel: Parcel, settings: &Settings) -> Result<Put, Refusal> {
        let mut state = self.state.lock();
        if let Some((until, refusal)) = &state.refusing
            && *until > Instant::now()
        {
            return Err(refusal.clone());
        }
        let bytes = state.bytes + parcel.stanza.size();
        if !settings.queue_stanzas.allows(state.waiting.len() + 1) || !settings.queue_bytes.allows(bytes) {
            return Err(Refusal::resource_constraint().saying("too much waits for that server already"));
        }
        state.bytes = bytes;
        state.waiting.push_back(parcel);
        if let Carrier::Task(wake) | Carrier::Stream(wake) = &state.carrier {
            wake.notify_one();
            return Ok(Put::Waits);
        }
        let wake = Arc::new(Notify::new());
        state.carrier = Carrier::Task(wake.clone());
        Ok(Put::Begin(self.clone(), wake))
    }

    /// The next that waits.
    pub(crate) fn take(&self) -> Option<Parcel> {
        let mut state = self.state.lock();
        let parcel = state.waiting.pop_front()?;
        state.bytes -= parcel.stanza.size();
        Some(parcel)
    }

    /// Whether something waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// The server was reached.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock();
        (state.failures, state.refusing) = (0, None);
    }

    /// The server could not be reached. Gives what waited, to be turned back, and how long the pause is.
    pub(crate) fn failed(&self, refusal: &Refusal, settings: &Settings) -> (VecDeque<Parcel>, Duration) {
        let mut state = self.state.lock();
        let pause = pause_after(state.failures, settings);
        state.failures = state.failures.saturating_add(1);
        state.refusing = Instant::now().checked_add(pause).map(|until| (until, refusal.clone()));
        state.bytes = 0;
        (std::mem::take(&mut state.waiting), pause)
    }

    /// The task wants to go; false when something has come in the meantime.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.carrier = Carrier::Nobody;
        }
        state.waiting.is_empty()
    }

    /// A connection of theirs takes over, if nobody carries yet.
    pub(crate) fn lend(&self, wake: &Arc<Notify>) -> bool {
        let mut state = self.state.lock();
        let free = matches!(state.carrier, Carrier::Nobody);
        if free {
            state.carrier = Carrier::Stream(wake.clone());
            (state.failures, state.refusing) = (0, None);
        }
        free
    }

    /// That connection is over. Gives what wakes the task that is to be begun for what waits, if something does.
    pub(crate) fn take_back(&self) -> Option<Arc<Notify>> {
        let mut state = self.state.lock();
        let begin = !state.waiting.is_empty();
        let wake = Arc::new(Notify::new());
        state.carrier = if begin { Carrier::Task(wake.clone()) } else { Carrier::Nobody };
        begin.then_some(wake)
    }

    /// Whether nothing is known here that matters.
    fn is_idle(&self) -> bool {
        let state = self.state.lock();
        let refuses = state.refusing.as_ref().is_some_and(|(until, _)| *until > Instant::now());
        matches!(state.carrier, Carrier::Nobody) && state.waiting.is_empty() && !refuses
    }
}

/// How long a server is left alone after so many failures in a row.
pub(crate) fn pause_after(failures: u32, settings: &Settings) -> Duration {
    let most = settings.retry_at_most.get().min(Duration::from_secs(86_400));
    settings.retry_after.get().min(most).saturating_mul(1 << failures.min(16)).min(most)
}

/// All queues of a host.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<Pair, Arc<Link>>>);

impl Links {
    /// Puts a parcel into the queue of a pair.
    ///
    /// # Errors
    /// Why it cannot wait there.
    pub(crate) fn put(&self, pair: Pair, parcel: Parcel, settings: &Settings) -> Result<Put, Refusal> {
        // Under the lock of the table: a link that is not in it has no second life.
        let mut links = self.0.lock();
        let link = find(&mut links, pair, settings)?;
        link.put(parcel, settings)
    }

    /// Lends the queue of a pair to a connection of theirs.
    pub(crate) fn lend(&self, pair: Pair, wake: &Arc<Notify>, settings: &Settings) -> Option<Arc<Link>> {
        let mut links = self.0.lock();
        let link = find(&mut links, pair, settings).ok()?;
        link.lend(wake).then_some(link)
    }

    /// Forgets what does not matter any more.
    pub(crate) fn tidy_up(&self) {
        self.0.lock().retain(|_, link| !link.is_idle());
    }
}

fn find(links: &mut HashMap<Pair, Arc<Link>>, pair: Pair, settings: &Settings) -> Result<Arc<Link>, Refusal> {
    if let Some(link) = links.get(&pair) {
        return Ok(link.clone());
    }
    if !settings.servers.allows(links.len() + 1) {
        links.retain(|_, link| !link.is_idle());
        if !settings.servers.allows(links.len() + 1) {
            return Err(Refusal::resource_constraint().saying("this server talks to too many others already"));
        }
    }
    Ok(links.entry(pair).or_insert_with_key(|pair| Link::new(pair.clone())).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::limits::{ByteSize, Count, Period};
    use waxwing_core::parcel::Origin;
    use waxwing_core::stanza::{MessageType, Stanza};

    fn pair(theirs: &str) -> Pair {
        let domain = |name: &str| DomainPart::new(name).unwrap().into_owned();
        Pair { ours: domain("capulet.lit"), theirs: domain(theirs) }
    }

    fn parcel(id: &str) -> Parcel {
        Parcel::new(Stanza::message(MessageType::Chat).id(id), Origin::House)
    }

    fn ids(parcels: impl IntoIterator<Item = Parcel>) -> String {
        parcels.into_iter().filter_map(|parcel| parcel.stanza.id).collect()
    }

    #[test]
    fn f25_a_queue_is_bounded_and_its_own() {
        let settings = Settings { queue_stanzas: Count::of(2), ..Settings::default() };
        let links = Links::default();
        let put = |theirs: &str, id: &str| links.put(pair(theirs), parcel(id), &settings);
        let Ok(Put::Begin(link, _)) = put("montague.lit", "a") else { panic!("a task is to be begun") };
        assert!(matches!(put("montague.lit", "b"), Ok(Put::Waits)));
        assert_eq!(put("montague.lit", "c").err().unwrap().condition.name(), "resource-constraint");
        assert!(matches!(put("verona.lit", "d"), Ok(Put::Begin(..))));
        assert!(!link.leave());
        assert_eq!(ids(std::iter::from_fn(|| link.take())), "ab");
        assert!(link.leave());
        let small = Settings { queue_bytes: ByteSize::bytes(10), ..Settings::default() };
        assert!(links.put(pair("mantua.lit"), parcel("e"), &small).is_err());
    }

    #[tokio::test]
    async fn f25_after_a_failure_senders_are_told_at_once_for_a_while() {
        let settings = Settings { retry_after: Period::milliseconds(40), ..Settings::default() };
        let links = Links::default();
        let Ok(Put::Begin(link, _)) = links.put(pair("montague.lit"), parcel("a"), &settings) else { panic!() };
        let (back, pause) = link.failed(&Refusal::remote_server_timeout(), &settings);
        assert_eq!((ids(back).as_str(), pause), ("a", Duration::from_millis(40)));
        assert!(link.leave());
        let refused = links.put(pair("montague.lit"), parcel("b"), &settings).err().unwrap();
        assert_eq!(refused.condition.name(), "remote-server-timeout");
        links.tidy_up();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(matches!(links.put(pair("montague.lit"), parcel("c"), &settings), Ok(Put::Begin(..))));
        assert_eq!(link.failed(&Refusal::remote_server_timeout(), &settings).1, Duration::from_millis(80));
    }

    #[test]
    fn s37_pauses_double_up_to_their_bound() {
        let settings = Settings::default();
        let pauses: Vec<u64> = (0..9).map(|failures| pause_after(failures, &settings).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pause_after(u32::MAX, &settings).as_secs(), 300);
    }

    #[test]
    fn a_connection_of_theirs_carries_until_it_is_over() {
        let (links, settings, wake) = (Links::default(), Settings::default(), Arc::new(Notify::new()));
        let link = links.lend(pair("montague.lit"), &wake, &settings).unwrap();
        assert!(links.lend(pair("montague.lit"), &wake, &settings).is_none());
        assert!(matches!(links.put(pair("montague.lit"), parcel("a"), &settings), Ok(Put::Waits)));
        assert!(link.take_back().is_some());
        assert!(link.take().is_some() && link.leave());
        assert!(links.lend(pair("montague.lit"), &wake, &settings).is_some());
        assert!(link.take_back().is_none());
        links.tidy_up();
        assert!(links.0.lock().is_empty());
    }
}
