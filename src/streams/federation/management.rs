//! Stream management between servers: nothing that was sent is forgotten before it is acknowledged, and a stream that broke
//! goes on where it stopped (XEP-0198).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use waxwing_core::parcel::Parcel;
use waxwing_core::random;
use waxwing_core::xml::{Element, Writer};

use super::link::Pair;

/// The namespace.
pub(crate) const NAMESPACE: &str = "urn:xmpp:sm:3";
/// Asks how far the peer is.
pub(crate) const REQUEST: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";
/// Wishes for management that survives the connection.
pub(crate) const ENABLE: &[u8] = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>";

fn word(name: &str) -> Writer {
    let mut writer = Writer::new();
    writer.open(name).attribute("xmlns", NAMESPACE);
    writer
}

/// How far we are.
pub(crate) fn answer(handled: u32) -> Vec<u8> {
    word("a").attribute("h", &handled.to_string()).finish().to_vec()
}

/// Goes on with a stream. We take nothing on the streams we open, so we have handled nothing.
pub(crate) fn resume(id: &str) -> Vec<u8> {
    word("resume").attribute("previd", id).attribute("h", "0").finish().to_vec()
}

/// The stream goes on.
pub(crate) fn resumed(id: &str, handled: u32) -> Vec<u8> {
    word("resumed").attribute("previd", id).attribute("h", &handled.to_string()).finish().to_vec()
}

/// The stream is managed from here on.
pub(crate) fn enabled(id: &str, time: Duration) -> Vec<u8> {
    let seconds = time.as_secs().min(86_400).to_string();
    word("enabled").attribute("id", id).attribute("resume", "true").attribute("max", &seconds).finish().to_vec()
}

/// It cannot be done.
pub(crate) fn failed(condition: &str) -> Vec<u8> {
    let mut writer = word("failed");
    writer.open(condition).attribute("xmlns", waxwing_core::namespaces::STANZA_ERRORS);
    writer.finish().to_vec()
}

/// The number in `h`.
pub(crate) fn h(element: &Element) -> Option<u32> {
    element.attribute("h")?.trim().parse().ok()
}

/// What was sent on a managed stream and not acknowledged yet.
#[derive(Default)]
pub(crate) struct Outbox {
    /// What to resume with; none when the peer does not offer it.
    pub(crate) id: Option<String>,
    sent: VecDeque<Parcel>,
    bytes: usize,
    /// How many the peer has acknowledged.
    acknowledged: u32,
    /// Whether it has acknowledged any since [`Outbox::begin`].
    has_got_on: bool,
}

impl Outbox {
    /// For a stream that begins.
    pub(crate) fn new(id: Option<String>) -> Outbox {
        Outbox { id, ..Outbox::default() }
    }

    /// A connection begins.
    pub(crate) fn begin(&mut self) {
        self.has_got_on = false;
    }

    /// Whether the peer has acknowledged anything on this connection.
    pub(crate) fn has_got_on(&self) -> bool {
        self.has_got_on
    }

    /// Keeps what is being sent.
    pub(crate) fn push(&mut self, parcel: Parcel) {
        self.bytes += parcel.stanza.size();
        self.sent.push_back(parcel);
    }

    /// Forgets what the peer has handled. False when it cannot have handled so many.
    pub(crate) fn acknowledge(&mut self, handled: u32) -> bool {
        let new = handled.wrapping_sub(self.acknowledged) as usize;
        if new > self.sent.len() {
            return false;
        }
        self.acknowledged = handled;
        self.has_got_on |= new > 0;
        for parcel in self.sent.drain(..new) {
            self.bytes -= parcel.stanza.size();
        }
        true
    }

    /// Whether everything is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// How many wait for their acknowledgement, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.sent.len(), self.bytes)
    }

    /// What is not acknowledged, to be sent again on the same stream.
    pub(crate) fn again(&self) -> impl Iterator<Item = &Parcel> {
        self.sent.iter()
    }

    /// What is not acknowledged, to be sent on another stream or given up.
    pub(crate) fn into_rest(self) -> VecDeque<Parcel> {
        self.sent
    }
}

/// A managed stream of another server, as its reader sees it.
#[derive(Clone)]
pub(crate) struct Managed {
    pub(crate) id: String,
    handled: Arc<AtomicU32>,
    /// Another connection goes on with it: this one is over.
    pub(crate) cut: CancellationToken,
    /// The reader has come to its end; the count is final.
    ended: CancellationToken,
}

impl Managed {
    fn new(id: String, handled: u32) -> Managed {
        let handled = Arc::new(AtomicU32::new(handled));
        Managed { id, handled, cut: CancellationToken::new(), ended: CancellationToken::new() }
    }

    /// How many stanzas were handled.
    pub(crate) fn handled(&self) -> u32 {
        self.handled.load(Ordering::Acquire)
    }

    /// One more was.
    pub(crate) fn count(&self) {
        self.handled.fetch_add(1, Ordering::AcqRel);
    }
}

struct Remembered {
    pair: Pair,
    managed: Managed,
    /// When its connection broke.
    left_at: Option<Instant>,
}

/// The managed streams of other servers, those that broke included, for a time.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Remembered>>);

impl Memory {
    /// A stream is managed from now on. `None` when there is no room for another.
    pub(crate) fn begin(&self, pair: &Pair, most: usize) -> Option<Managed> {
        let mut streams = self.0.lock();
        if streams.len() >= most {
            let oldest = streams.iter().filter_map(|(id, one)| Some((one.left_at?, id.clone()))).min()?;
            streams.remove(&oldest.1);
        }
        let managed = Managed::new(random::token(), 0);
        let remembered = Remembered { pair: pair.clone(), managed: managed.clone(), left_at: None };
        streams.insert(managed.id.clone(), remembered);
        Some(managed)
    }

    /// Goes on with a stream on another connection, once its old one has come to its end. `None` when it is not known, is
    /// somebody else's, or broke too long ago.
    pub(crate) async fn resume(&self, id: &str, pair: &Pair, time: Duration) -> Option<Managed> {
        let old = {
            let mut streams = self.0.lock();
            let is_his = streams
                .get(id)
                .is_some_and(|one| one.pair == *pair && one.left_at.is_none_or(|left| left.elapsed() <= time));
            // Taken out: of two connections that want it, one gets it.
            if is_his { streams.remove(id)?.managed } else { return None }
        };
        old.cut.cancel();
        old.ended.cancelled().await;
        let managed = Managed::new(id.to_owned(), old.handled());
        let remembered = Remembered { pair: pair.clone(), managed: managed.clone(), left_at: None };
        self.0.lock().insert(id.to_owned(), remembered);
        Some(managed)
    }

    /// The reader has come to its end; with `broken`, the stream can be gone on with.
    pub(crate) fn end(&self, managed: &Managed, broken: bool) {
        if !managed.cut.is_cancelled() {
            let mut streams = self.0.lock();
            if broken {
                if let Some(one) = streams.get_mut(&managed.id) {
                    one.left_at = Some(Instant::now());
                }
            } else {
                streams.remove(&managed.id);
            }
        }
        managed.ended.cancel();
    }

    /// Forgets what broke too long ago.
    pub(crate) fn forget_old(&self, time: Duration) {
        self.0.lock().retain(|_, one| one.left_at.is_none_or(|left| left.elapsed() <= time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::address::DomainPart;
    use waxwing_core::parcel::Origin;
    use waxwing_core::stanza::{MessageType, Stanza};

    fn parcel(id: &str) -> Parcel {
        Parcel::new(Stanza::message(MessageType::Chat).id(id), Origin::House)
    }

    fn ids(outbox: &Outbox) -> String {
        outbox.again().filter_map(|parcel| parcel.stanza.id.as_deref()).collect()
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_in_order() {
        let mut outbox = Outbox::new(None);
        "abcd".chars().for_each(|id| outbox.push(parcel(&id.to_string())));
        assert!(outbox.acknowledge(1) && outbox.acknowledge(1) && outbox.acknowledge(3));
        assert_eq!((ids(&outbox).as_str(), outbox.size().0), ("d", 1));
        // Neither more than was sent nor less than before.
        assert!(!outbox.acknowledge(5) && !outbox.acknowledge(2));
        assert!(outbox.acknowledge(4) && outbox.is_empty() && outbox.size() == (0, 0));
    }

    #[test]
    fn the_count_goes_round() {
        let mut outbox = Outbox { acknowledged: u32::MAX, ..Outbox::default() };
        outbox.push(parcel("a"));
        outbox.push(parcel("b"));
        assert!(outbox.acknowledge(0));
        assert_eq!(ids(&outbox), "b");
    }

    fn pair(theirs: &str) -> Pair {
        let domain = |name: &str| DomainPart::new(name).unwrap().into_owned();
        Pair { ours: domain("capulet.lit"), theirs: domain(theirs) }
    }

    #[tokio::test]
    async fn a_stream_that_broke_goes_on_for_its_owner_and_once() {
        let (memory, time) = (Memory::default(), Duration::from_secs(60));
        let first = memory.begin(&pair("montague.lit"), 10).unwrap();
        first.count();
        first.count();
        assert!(memory.resume(&first.id, &pair("evil.test"), time).await.is_none());
        memory.end(&first, true);
        let second = memory.resume(&first.id, &pair("montague.lit"), time).await.unwrap();
        assert_eq!((second.handled(), second.id.as_str()), (2, first.id.as_str()));
        assert!(first.cut.is_cancelled());
        memory.end(&second, false);
        assert!(memory.resume(&first.id, &pair("montague.lit"), time).await.is_none());
    }

    #[tokio::test]
    async fn what_broke_long_ago_makes_room() {
        let memory = Memory::default();
        let first = memory.begin(&pair("montague.lit"), 1).unwrap();
        assert!(memory.begin(&pair("verona.lit"), 1).is_none());
        memory.end(&first, true);
        assert!(memory.begin(&pair("verona.lit"), 1).is_some());
        assert!(memory.resume(&first.id, &pair("montague.lit"), Duration::from_secs(60)).await.is_none());
        let old = memory.begin(&pair("mantua.lit"), 10).unwrap();
        memory.end(&old, true);
        assert!(memory.resume(&old.id, &pair("mantua.lit"), Duration::ZERO).await.is_none());
        memory.forget_old(Duration::ZERO);
        assert_eq!(memory.0.lock().len(), 1);
    }
}
