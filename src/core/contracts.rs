//! Contracts: what one module asks of another, with one provider each and a typed reply.

use std::any::Any;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use waxwing_storage::StorageError;
use waxwing_xml::Element;

use crate::address::{BareJid, Jid, NodePart, NodeRef};
pub use crate::archive::Archive;
use crate::credentials::{Hash, ScramKeys};
pub use crate::nodes::Nodes;
use crate::parcel::Parcel;
pub use crate::push::Push;
use crate::refusal::Refusal;
use crate::session::Session;

/// Why something could not be done to an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name is taken.
    #[error("the account exists already")]
    Exists,
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// The name or the password breaks a rule, which the text tells.
    #[error("{0}")]
    NotAcceptable(String),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The accounts of one host.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Whether there is such an account.
    async fn exists(&self, name: &NodeRef) -> Result<bool, StorageError>;

    /// The keys that check a login; `None` when there is no such account or it has no keys of this hash.
    async fn scram_keys(&self, name: &NodeRef, hash: Hash) -> Result<Option<ScramKeys>, StorageError>;

    /// Whether the password is right. Takes as long for an account that does not exist.
    async fn check_password(&self, name: &NodeRef, password: &str) -> Result<bool, StorageError>;

    /// Whether an operator has closed the account; asked only after a correct proof.
    async fn is_disabled(&self, name: &NodeRef) -> Result<bool, StorageError>;

    /// Prepares a name that somebody wants for a new account (RFC 6122 nodeprep).
    ///
    /// # Errors
    /// [`AccountError::NotAcceptable`] when it is no localpart, or when other servers could take it for another name.
    fn prepare_name(&self, wanted: &str) -> Result<NodePart, AccountError> {
        let prepared = NodePart::new(wanted).map(Cow::into_owned);
        prepared.map_err(|error| AccountError::NotAcceptable(error.to_string()))
    }

    /// Makes an account.
    async fn create(&self, name: &NodeRef, password: &str) -> Result<(), AccountError>;

    /// Sets a new password.
    async fn set_password(&self, name: &NodeRef, password: &str) -> Result<(), AccountError>;

    /// Closes an account for good, before anybody is told: from now on it does not exist, and its sessions go on until
    /// [`Accounts::remove`] does the rest. For someone who must answer in between.
    async fn retire(&self, name: &NodeRef) -> Result<(), AccountError> {
        let _ = name;
        Ok(())
    }

    /// Removes an account, retired or not, and, through the event, everything that is kept of it.
    async fn remove(&self, name: &NodeRef) -> Result<(), AccountError>;

    /// Account names in order, after `after`, at most `most`.
    async fn list(&self, after: Option<&NodeRef>, most: u32) -> Result<Vec<NodePart>, StorageError>;
}

/// The state of a contact in a roster, as the wire shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum Subscription {
    None,
    To,
    From,
    Both,
}

impl Subscription {
    /// Whether the contact may see the account's presence.
    pub fn contact_sees_account(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }

    /// Whether the account may see the contact's presence.
    pub fn account_sees_contact(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }

    /// The value of the `subscription` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }
}

/// A contact as other modules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The contact's address.
    pub jid: BareJid,
    /// Who may see whose presence.
    pub subscription: Subscription,
    /// The groups the account has put it in.
    pub groups: Vec<String>,
}

/// Who knows whom: the rosters of one host.
#[async_trait]
pub trait Contacts: Send + Sync {
    /// Every contact of an account that its roster shows.
    async fn contacts(&self, account: &BareJid) -> Result<Arc<[Contact]>, StorageError>;

    /// One contact of an account.
    async fn contact(&self, account: &BareJid, contact: &BareJid) -> Result<Option<Contact>, StorageError>;
}

/// Whom an account does not want to hear (XEP-0191).
#[async_trait]
pub trait Blocking: Send + Sync {
    /// Whether the account has blocked the address.
    async fn is_blocked(&self, account: &BareJid, address: &Jid) -> Result<bool, StorageError>;
}

/// A session that a new stream goes on with.
pub struct Resumed {
    /// The session, taken over from its old stream ([`Session::take_over`]).
    pub session: Arc<Session>,
    /// The number that `take_over` gave.
    pub wire_number: u32,
    /// Whether the server was stopped since the session had its old stream.
    pub after_restart: bool,
    /// What is said first on the new stream.
    pub greeting: Bytes,
    /// What is said instead when the session has come to its end in the meantime; the client may bind then.
    pub otherwise: Bytes,
}

/// Going on with a session on another stream (XEP-0198 §5).
#[async_trait]
pub trait Resumption: Send + Sync {
    /// Whether this element of a stream that is not bound yet is its business.
    fn is_request(&self, element: &Element) -> bool;

    /// The answer to such an element of a client that has not logged in yet.
    fn too_early(&self) -> Bytes;

    /// Takes over the session that the request names, if it belongs to the account.
    ///
    /// # Errors
    /// What the client is answered instead; it may bind then.
    async fn resume(&self, account: &BareJid, request: &Element) -> Result<Resumed, Bytes>;
}

/// What components may do in the name of accounts (XEP-0356 §4).
pub trait Privileges: Send + Sync {
    /// Whether an entity may ask for the rosters of the host's accounts, or change them.
    fn may_use_rosters(&self, entity: &Jid, to_change: bool) -> bool;
}

/// The way to other servers. `Any`, so that whoever opens the listeners can find what it has started itself.
#[async_trait]
pub trait Federation: Any + Send + Sync {
    /// Takes a parcel for a domain that is not ours. It is queued when this returns; what cannot be delivered later comes
    /// back to its sender as `remote-server-not-found` or `remote-server-timeout`.
    ///
    /// # Errors
    /// What the sender is told at once: the queue for that server is full, or it could not be reached a moment ago.
    async fn send(&self, parcel: Parcel) -> Result<(), Refusal>;
}

/// Writes the registry of contracts: the enum for manifests, and a place for each provider.
macro_rules! contracts {
    ($($(#[$doc:meta])* $contract:ident $field:ident $offer:ident;)*) => {
        /// The contracts, for a module's manifest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Contract { $($(#[$doc])* $contract,)* }

        /// The providers of one host. Each is set once, while its modules start.
        #[derive(Default)]
        pub struct Contracts { $($field: OnceLock<Arc<dyn $contract>>,)* }

        impl Contracts {
            $(
                $(#[$doc])*
                /// `None` when no module offers it on this host.
                pub fn $field(&self) -> Option<&Arc<dyn $contract>> { self.$field.get() }

                /// Offers the contract; false when another module has offered it before.
                pub fn $offer(&self, provider: Arc<dyn $contract>) -> bool { self.$field.set(provider).is_ok() }
            )*

            /// Whether someone offers it.
            pub fn has(&self, contract: Contract) -> bool {
                match contract { $(Contract::$contract => self.$field.get().is_some(),)* }
            }
        }
    };
}

contracts! {
    /// The accounts of the host.
    Accounts accounts offer_accounts;
    /// The rosters of the host.
    Contacts contacts offer_contacts;
    /// The block lists of the host.
    Blocking blocking offer_blocking;
    /// The archives of the host's accounts and rooms.
    Archive archive offer_archive;
    /// The nodes of the host's accounts.
    Nodes nodes offer_nodes;
    /// Waking devices that are away.
    Push push offer_push;
    /// What components may do in the name of accounts.
    Privileges privileges offer_privileges;
    /// Going on with sessions on another stream.
    Resumption resumption offer_resumption;
    /// The way to other servers.
    Federation federation offer_federation;
}
