//! What is held back from a client that sleeps, until it wakes or something comes that cannot wait (XEP-0352).

use crate::notes::Note;
use crate::parcel::Parcel;

/// A note about a session: whether its client sleeps, and what is held back from it, in order.
///
/// A module at the stage Hold decides: what it takes there is held by the session's writer, here. What it lets by passes
/// what is held, unless it calls [`Held::let_go`] first: then everything held goes before it.
#[derive(Default)]
pub struct Held {
    /// Whether the client sleeps.
    pub asleep: bool,
    parcels: Vec<Parcel>,
    bytes: usize,
    goes: bool,
}

impl Note for Held {}

impl Held {
    /// How many stanzas are held.
    pub fn len(&self) -> usize {
        self.parcels.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// About how many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops what a newer stanza makes worthless.
    pub fn forget(&mut self, worthless: impl Fn(&Parcel) -> bool) {
        let bytes = &mut self.bytes;
        self.parcels.retain(|parcel| {
            let keep = !worthless(parcel);
            if !keep {
                *bytes = bytes.saturating_sub(parcel.stanza.size());
            }
            keep
        });
    }

    /// Everything held goes to the client before the next stanza that is not held.
    pub fn let_go(&mut self) {
        self.goes = true;
    }

    /// Holds a stanza, behind those held already.
    pub(crate) fn put(&mut self, mut parcel: Parcel) {
        // The session holds this note: the parcel must not hold the session.
        parcel.recipients.clear();
        self.bytes += parcel.stanza.size();
        self.parcels.push(parcel);
    }

    /// What goes now, if anything.
    pub(crate) fn going(&mut self) -> Vec<Parcel> {
        if self.goes { self.take() } else { Vec::new() }
    }

    /// Everything held.
    pub(crate) fn take(&mut self) -> Vec<Parcel> {
        self.goes = false;
        self.bytes = 0;
        std::mem::take(&mut self.parcels)
    }
}
