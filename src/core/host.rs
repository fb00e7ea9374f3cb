//! A host: one domain that is served here, with its modules and what they offer each other.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use waxwing_storage::StorageError;

use crate::address::{BareJid, DomainPart, FullJid, Jid, ResourcePart};
use crate::catalogue::Catalogue;
use crate::contracts::{Contracts, Resumed};
use crate::directory::Entered;
use crate::events::Event;
use crate::fault::Fault;
use crate::handover;
use crate::house::House;
use crate::module::StartError;
use crate::parcel::Parcel;
use crate::questions::Questions;
use crate::refusal::Refusal;
use crate::session::{Circumstances, Saved, Session};
use crate::stream_error::{StreamCondition, StreamError};
use crate::wire::{Keeper, Wire};

/// One domain that is served here.
pub struct Host {
    domain: DomainPart,
    address: BareJid,
    house: Arc<House>,
    contracts: Contracts,
    catalogue: ArcSwap<Catalogue>,
    questions: Questions,
    /// Domains that modules of this host serve, with the module's name.
    services: Mutex<Vec<(DomainPart, &'static str)>>,
}

impl Host {
    pub(crate) fn new(domain: DomainPart, house: Arc<House>) -> Arc<Host> {
        Arc::new(Host {
            address: BareJid::from_parts(None, &domain),
            domain,
            house,
            contracts: Contracts::default(),
            catalogue: ArcSwap::default(),
            questions: Questions::default(),
            services: Mutex::default(),
        })
    }

    /// The domain.
    pub fn domain(&self) -> &DomainPart {
        &self.domain
    }

    /// The domain as an address.
    pub fn address(&self) -> &BareJid {
        &self.address
    }

    /// The house it stands in.
    pub fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// What its modules offer each other.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// What it has asked others and nobody has answered yet.
    pub fn questions(&self) -> &Questions {
        &self.questions
    }

    /// Its modules.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    pub(crate) fn set_catalogue(&self, catalogue: Catalogue) {
        self.catalogue.store(Arc::new(catalogue));
    }

    /// The domains that its modules serve, with the modules' names: rooms, uploads, components.
    pub fn services(&self) -> Vec<(DomainPart, &'static str)> {
        self.services.lock().clone()
    }

    pub(crate) fn serve(&self, domain: &str, module: &'static str) -> Result<DomainPart, StartError> {
        let name = if domain.contains('.') { domain.to_owned() } else { format!("{domain}.{}", self.domain) };
        let domain = DomainPart::new(&name)
            .map_err(|error| StartError::Other(format!("{module} cannot serve {name}: {error}")))?
            .into_owned();
        self.house.claim(&domain, self, module)?;
        self.services.lock().push((domain.clone(), module));
        Ok(domain)
    }

    /// Tells an event to everyone on this host who hears it.
    pub async fn tell(&self, event: Event) {
        if let Event::AccountRemoved(account) = &event {
            for session in self.house.directory().sessions(account) {
                session.finish(Some(StreamError::saying(StreamCondition::NotAuthorized, "the account was removed")));
            }
        }
        self.catalogue().tell(&event).await;
    }

    /// Whether the account exists. An account that is online does.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn account_exists(&self, account: &BareJid) -> Result<bool, StorageError> {
        if account.domain() != &*self.domain {
            return Ok(false);
        }
        if !self.house.directory().sessions(account).is_empty() {
            return Ok(true);
        }
        match (self.contracts.accounts(), account.node()) {
            (Some(accounts), Some(name)) => accounts.exists(name).await,
            _ => Ok(false),
        }
    }

    /// Binds a client: the session begins, and an older one with the same full JID ends before (RFC 6120 §7.7.2.2,
    /// the third way). Without a `resource` the server makes one. What `welcome` writes is the first the client reads.
    ///
    /// # Errors
    /// `resource-constraint` when the account has as many sessions as it may have.
    pub async fn open_session(
        self: &Arc<Host>,
        account: &BareJid,
        resource: Option<ResourcePart>,
        circumstances: Circumstances,
        wire: Box<dyn Wire>,
        welcome: impl FnOnce(&FullJid) -> Bytes,
    ) -> Result<Arc<Session>, Refusal> {
        let jid: FullJid = match resource {
            Some(resource) => account.with_resource(&resource),
            None => account.with_resource_str(&crate::random::token()).map_err(Fault::new)?,
        };
        let limits = &self.house.config().limits;
        let session = Arc::new(Session::new(jid, self.clone(), circumstances, limits.send_buffer_bytes.get()));
        session.send_element(welcome(session.jid()));
        let most = limits.sessions_per_user.get();
        let mut entered = self.house.directory().enter(&session, most);
        if matches!(entered, Entered::TooMany) && self.end_longest_waiting(account).await {
            entered = self.house.directory().enter(&session, most);
        }
        match entered {
            Entered::TooMany => {
                let text = format!("the account has {} sessions, more are not allowed", limits.sessions_per_user);
                return Err(Refusal::resource_constraint().saying(text));
            }
            Entered::InPlaceOf(older) => {
                older.end(Some(StreamError::saying(StreamCondition::Conflict, "the resource was bound anew")));
                older.wait_for_end().await;
            }
            Entered::After(older) => older.wait_for_end().await,
            Entered::Alone => {}
        }
        tracing::info!(session = %session.jid(), transport = session.circumstances().transport,
            mechanism = session.circumstances().mechanism, "session.opened");
        handover::start(session.clone(), Some(wire));
        self.tell(Event::SessionOpened(session.clone())).await;
        Ok(session)
    }

    /// Ends the session of an account that waits for its client for the longest time; false when none does. A client that
    /// is here goes before one that may never come back.
    async fn end_longest_waiting(&self, account: &BareJid) -> bool {
        let sessions = self.house.directory().sessions(account);
        let waiting = sessions.iter().filter_map(|session| Some((session.waits_since()?, session)));
        let Some((_, oldest)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        oldest.end(None);
        oldest.wait_for_end().await;
        true
    }

    /// Goes on with a session on another stream: what the contract `Resumption` has given, and the new transport.
    ///
    /// # Errors
    /// What the client is answered when the session has come to its end; it may bind then.
    pub async fn resume_session(&self, resumed: Resumed, wire: Box<dyn Wire>) -> Result<Arc<Session>, Bytes> {
        let Resumed { session, wire_number, after_restart, greeting, otherwise } = resumed;
        if !session.attach(wire_number, wire, greeting) {
            return Err(otherwise);
        }
        tracing::info!(session = %session.jid(), "session.resumed");
        self.tell(Event::SessionResumed { session: session.clone(), after_restart }).await;
        Ok(session)
    }

    /// Brings back a session that was saved when the server was stopped. It waits for its client, as its keeper says,
    /// and is there for everyone meanwhile. `None` when the account has as many sessions as it may have, or one with
    /// this full JID.
    pub fn restore_session(self: &Arc<Host>, saved: Saved, keeper: Arc<dyn Keeper>) -> Option<Arc<Session>> {
        let limits = &self.house.config().limits;
        let directory = self.house.directory();
        if directory.session(&saved.jid).is_some() {
            return None;
        }
        let session = Arc::new(Session::restored(saved, self.clone(), keeper, limits.send_buffer_bytes.get()));
        let entered = directory.enter(&session, limits.sessions_per_user.get());
        if !matches!(entered, Entered::Alone | Entered::After(_)) {
            return None;
        }
        tracing::debug!(session = %session.jid(), "session.restored");
        handover::start(session.clone(), None);
        Some(session)
    }

    /// A stanza that no session of its recipient will get any more goes forward: to what keeps it, else back to its
    /// sender.
    pub async fn rescue(self: &Arc<Host>, parcel: Parcel) {
        handover::keep(self, parcel).await;
    }

    /// Whether the address is this host itself.
    pub fn is_self(&self, address: &Jid) -> bool {
        address.node().is_none() && address.resource().is_none() && address.domain() == &*self.domain
    }
}
