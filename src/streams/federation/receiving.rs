//! What another server sends us: addresses are checked on every stanza, then it goes to the router (RFC 6120 §8.1,
//! security row S14).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waxwing_core::address::DomainRef;
use waxwing_core::house::House;
use waxwing_core::namespaces;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::router;
use waxwing_core::stanza::Stanza;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::Element;

use super::settings::Settings;
use super::{Embassy, embassy_of};
use crate::bucket::Bucket;

/// What a peer has proved, and for whom.
#[derive(Default)]
pub(crate) struct Proved {
    /// By certificate: to all of our hosts.
    pub(crate) by_certificate: Option<waxwing_core::address::DomainPart>,
    /// By dialback: theirs to ours, and to no other.
    pub(crate) pairs: Vec<super::link::Pair>,
}

impl Proved {
    /// Whether anything was proved.
    pub(crate) fn anything(&self) -> bool {
        self.by_certificate.is_some() || !self.pairs.is_empty()
    }

    /// Whether the peer may speak for `from` at all.
    fn speaks_for(&self, from: &DomainRef) -> bool {
        self.by_certificate.as_deref() == Some(from) || self.pairs.iter().any(|pair| *pair.theirs == *from)
    }

    /// Whether the peer may speak for `from` to `to`.
    pub(crate) fn may_say(&self, from: &DomainRef, to: &DomainRef) -> bool {
        self.by_certificate.as_deref() == Some(from)
            || self.pairs.iter().any(|pair| *pair.theirs == *from && *pair.ours == *to)
    }
}

/// Takes a stanza of another server. When it returns, everything the stanza had to change is stored: only then is it
/// counted as handled.
///
/// # Errors
/// What ends the stream.
pub(crate) async fn receive(house: &Arc<House>, proved: &Proved, element: Element) -> Result<(), StreamError> {
    if !matches!(element.name(), "message" | "presence" | "iq") || element.namespace() != namespaces::SERVER {
        return Err(StreamCondition::UnsupportedStanzaType.into());
    }
    // The bytes mean the same in the namespace of clients, which is the one that all modules know.
    let limits = crate::connection::scanner_limits(&house.config().limits, true);
    let element = Element::parse(element.as_bytes().clone(), namespaces::CLIENT, &limits)
        .map_err(|error| crate::header::error_for(&error))?;
    let read = Stanza::read(element).ok_or(StreamCondition::UnsupportedStanzaType)?;
    let (stanza, refusal) = match read {
        Ok(stanza) => (stanza, None),
        Err(malformed) => (malformed.stanza, Some(malformed.refusal)),
    };
    let (Some(from), Some(to)) = (&stanza.from, &stanza.to) else {
        let text = "a stanza between servers has a proper `from` and a proper `to`";
        return Err(StreamError::saying(StreamCondition::ImproperAddressing, text));
    };
    if !proved.speaks_for(from.domain()) {
        let text = format!("this stream has not proved that it speaks for {}", from.domain());
        return Err(StreamError::saying(StreamCondition::InvalidFrom, text));
    }
    let takes_part = embassy_of(house, to.domain()).is_some_and(|embassy| embassy.talks_to(from.domain()));
    if !takes_part {
        return Err(StreamError::saying(StreamCondition::HostUnknown, format!("{} is not served here", to.domain())));
    }
    if !proved.may_say(from.domain(), to.domain()) {
        let text = format!("this stream has not proved that it speaks for {} to {}", from.domain(), to.domain());
        return Err(StreamError::saying(StreamCondition::InvalidFrom, text));
    }
    let origin = Origin::Remote(from.domain().to_owned());
    let parcel = Parcel::new(stanza, origin);
    match refusal {
        Some(refusal) => router::bounce(house, &parcel, &refusal).await,
        None => house.send(parcel).await,
    }
    Ok(())
}

/// How fast one server may send, over all its connections.
pub(crate) struct Guest(Mutex<(Bucket, Bucket)>);

impl Guest {
    pub(crate) fn new(settings: &Settings) -> Guest {
        let now = Instant::now();
        let rate = settings.server_bytes;
        let per_second = if rate.is_unlimited() { f64::INFINITY } else { rate.get() as f64 };
        let bytes = Bucket::new(per_second, settings.server_bytes_burst.get() as f64, now);
        Guest(Mutex::new((bytes, Bucket::for_rate(settings.server_stanzas, settings.server_stanzas_burst.get(), now))))
    }

    /// Counts a stanza; how long nothing more is to be read.
    pub(crate) fn pace(&self, bytes: usize) -> Duration {
        let now = Instant::now();
        let mut buckets = self.0.lock();
        let of_bytes = buckets.0.take(bytes as f64, now);
        of_bytes.max(buckets.1.take(1.0, now)).min(Duration::from_secs(60))
    }
}

impl Embassy {
    /// A place for one more connection of a server; `None` when it has as many as it may have.
    pub(crate) fn guest(&self, domain: &DomainRef) -> Option<Arc<Guest>> {
        let mut guests = self.guests.lock();
        if guests.len() > 1_000 || !self.settings.servers.allows(guests.len() + 1) {
            guests.retain(|_, guest| Arc::strong_count(guest) > 1);
        }
        let guest = guests.entry(domain.to_owned()).or_insert_with(|| Arc::new(Guest::new(&self.settings)));
        // One count is that of the table.
        self.settings.connections_per_server.allows(Arc::strong_count(guest)).then(|| guest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::Pair;
    use super::*;
    use waxwing_core::address::DomainPart;

    fn domain(name: &str) -> DomainPart {
        DomainPart::new(name).unwrap().into_owned()
    }

    #[test]
    fn s14_a_proof_is_good_for_what_was_proved() {
        let mut proved = Proved::default();
        assert!(!proved.anything());
        proved.pairs.push(Pair { ours: domain("capulet.lit"), theirs: domain("evil.test") });
        assert!(proved.may_say(&domain("evil.test"), &domain("capulet.lit")));
        assert!(!proved.may_say(&domain("evil.test"), &domain("conference.capulet.lit")));
        assert!(!proved.speaks_for(&domain("sub.evil.test")) && !proved.speaks_for(&domain("good.test")));
        proved.by_certificate = Some(domain("montague.lit"));
        assert!(proved.may_say(&domain("montague.lit"), &domain("conference.capulet.lit")));
        assert!(!proved.may_say(&domain("conference.montague.lit"), &domain("capulet.lit")));
    }

    #[test]
    fn a_guest_that_is_too_fast_waits() {
        let settings = Settings { server_stanzas_burst: waxwing_core::limits::Count::of(2), ..Settings::default() };
        let guest = Guest::new(&settings);
        assert!(guest.pace(100).is_zero() && guest.pace(100).is_zero());
        assert!(!guest.pace(100).is_zero());
    }
}
