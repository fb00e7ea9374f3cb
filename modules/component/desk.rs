//! A component's desk: what waits for it, bounded, and which connection takes it. A component is one connection at a time;
//! a newer one takes the place of an older (XEP-0114 has no way to tell a dead one from a silent one).

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;
use waxwing_core::address::DomainPart;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::{ErrorType, Refusal};

use crate::settings::ComponentSettings;

/// Parcels are taken to the connection in bundles of so many bytes.
const BUNDLE: usize = 64 * 1024;

/// One component of the host.
pub struct Desk {
    /// Its domain.
    pub domain: DomainPart,
    /// What the operator said about it.
    pub settings: ComponentSettings,
    state: Mutex<State>,
    news: Notify,
    /// How many bytes may wait.
    room: usize,
}

#[derive(Default)]
struct State {
    /// The number of the newest connection.
    newest: u64,
    /// Whether that one is there.
    is_connected: bool,
    waiting: VecDeque<Parcel>,
    bytes: usize,
}

/// What a connection is to do.
pub enum Work {
    /// Write these.
    Write(Vec<Parcel>),
    /// Nothing yet.
    Wait,
    /// Say goodbye: another connection has taken its place.
    Leave,
}

impl Desk {
    /// A desk that nobody sits at yet. `room` is how many bytes may wait.
    pub fn new(domain: DomainPart, settings: ComponentSettings, room: usize) -> Desk {
        Desk { domain, settings, state: Mutex::default(), news: Notify::new(), room }
    }

    /// A connection sits down. Gives its number.
    pub fn sit_down(&self) -> u64 {
        let mut state = self.state.lock();
        state.newest += 1;
        state.is_connected = true;
        let number = state.newest;
        drop(state);
        self.news.notify_waiters();
        number
    }

    /// A connection is gone. Gives what waited for it, unless another has taken its place.
    pub fn stand_up(&self, number: u64) -> Option<VecDeque<Parcel>> {
        let mut state = self.state.lock();
        if state.newest != number {
            return None;
        }
        state.is_connected = false;
        state.bytes = 0;
        Some(std::mem::take(&mut state.waiting))
    }

    /// Whether a component is connected.
    pub fn is_connected(&self) -> bool {
        self.state.lock().is_connected
    }

    /// Puts a parcel on the desk.
    ///
    /// # Errors
    /// The parcel's refusal when nobody is there or too much waits. The parcel is lost with it; the caller has its head.
    pub fn put(&self, parcel: Parcel) -> Result<(), (Box<Parcel>, Refusal)> {
        let mut state = self.state.lock();
        if !state.is_connected {
            let text = format!("the component {} is not connected", self.domain);
            let refusal = Refusal::remote_server_timeout().of_type(ErrorType::Wait).saying(text);
            return Err((Box::new(parcel), refusal));
        }
        let bytes = state.bytes.saturating_add(parcel.stanza.size());
        if bytes > self.room {
            let refusal = Refusal::resource_constraint().saying("the component does not read what it is sent");
            return Err((Box::new(parcel), refusal));
        }
        state.bytes = bytes;
        state.waiting.push_back(parcel);
        drop(state);
        self.news.notify_waiters();
        Ok(())
    }

    /// What the connection with this number does next.
    pub fn work(&self, number: u64) -> Work {
        let mut state = self.state.lock();
        if state.newest != number {
            return Work::Leave;
        }
        let (mut bundle, mut bytes) = (Vec::new(), 0);
        while bytes < BUNDLE
            && let Some(parcel) = state.waiting.pop_front()
        {
            bytes += parcel.stanza.size();
            bundle.push(parcel);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        if bundle.is_empty() { Work::Wait } else { Work::Write(bundle) }
    }

    /// Waits until there may be work; to be made before looking for it, so that nothing is missed.
    pub fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::parcel::Origin;
    use waxwing_core::stanza::{MessageType, Stanza};

    fn desk(room: usize) -> Desk {
        let domain = DomainPart::new("irc.capulet.lit").unwrap().into_owned();
        Desk::new(domain, ComponentSettings::default(), room)
    }

    fn parcel(id: &str) -> Parcel {
        Parcel::new(Stanza::message(MessageType::Chat).id(id), Origin::House)
    }

    fn ids(parcels: impl IntoIterator<Item = Parcel>) -> Vec<String> {
        parcels.into_iter().map(|parcel| parcel.stanza.id.unwrap().into_string()).collect()
    }

    #[test]
    fn nothing_waits_for_a_component_that_is_not_there() {
        let desk = desk(10_000);
        assert_eq!(desk.put(parcel("1")).unwrap_err().1.condition.name(), "remote-server-timeout");
        let number = desk.sit_down();
        assert!(desk.put(parcel("2")).is_ok());
        assert_eq!(ids(desk.stand_up(number).unwrap()), ["2"], "what was not written goes back");
        assert!(desk.put(parcel("3")).is_err());
    }

    #[test]
    fn a_newer_connection_goes_on_where_the_older_one_was() {
        let desk = desk(10_000);
        let older = desk.sit_down();
        for id in ["1", "2"] {
            assert!(desk.put(parcel(id)).is_ok());
        }
        let newer = desk.sit_down();
        assert!(matches!(desk.work(older), Work::Leave));
        let Work::Write(bundle) = desk.work(newer) else { panic!("two wait") };
        assert_eq!(ids(bundle), ["1", "2"]);
        assert!(desk.stand_up(older).is_none(), "who was sent away takes nothing along");
        assert!(desk.is_connected());
        assert!(matches!(desk.work(newer), Work::Wait));
    }

    #[test]
    fn what_waits_is_bounded() {
        let desk = desk(450);
        desk.sit_down();
        assert!(desk.put(parcel("1")).is_ok());
        assert!(desk.put(parcel("2")).is_ok());
        assert_eq!(desk.put(parcel("3")).unwrap_err().1.condition.name(), "resource-constraint");
    }
}
