//! Events: what one module tells and many hear, without a reply.

use std::sync::Arc;

use crate::address::BareJid;
use crate::session::Session;

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Everything runs, and the listeners open next. Told once, by the process that serves; commands of the operator that
    /// only look at the database do not tell it.
    Opening,
    /// The server is about to stop: no client says anything more, each is still there and can be told something, and the
    /// database answers. Who hears it takes moments: the house does not wait long.
    Closing,
    /// A client has bound a resource.
    SessionOpened(Arc<Session>),
    /// A session is over and has left the directory; its notes and last presence are still there.
    SessionEnded(Arc<Session>),
    /// A session has lost its stream, and its client is back on another.
    SessionResumed {
        /// The session.
        session: Arc<Session>,
        /// Whether the server was stopped in between: then messages may have been kept that the session would have got.
        after_restart: bool,
    },
    /// A session has lost its stream, and waits for its client to come back.
    SessionWaits(Arc<Session>),
    /// A session's broadcast presence has gone out; `first` when it was not available before.
    Available {
        /// The session.
        session: Arc<Session>,
        /// Whether it was not available before.
        first: bool,
    },
    /// The contact may see the account's presence from now on.
    SubscriptionGranted {
        /// Whose presence it is.
        account: BareJid,
        /// Who may see it.
        contact: BareJid,
    },
    /// The contact may no longer see the account's presence.
    SubscriptionEnded {
        /// Whose presence it is.
        account: BareJid,
        /// Who could see it.
        contact: BareJid,
    },
    /// What a node of an account holds has changed, by whomever, and is committed. Told before whoever changed it is
    /// answered; also when the node is gone.
    NodeChanged {
        /// Whose node it is.
        account: BareJid,
        /// Its name.
        node: Arc<str>,
    },
    /// The account was made.
    AccountCreated(BareJid),
    /// The account's password has changed.
    PasswordChanged(BareJid),
    /// The account is gone; whoever keeps something of it deletes it now.
    AccountRemoved(BareJid),
}

/// The kinds of event, for a module's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is an event above")]
pub enum Happening {
    Opening,
    Closing,
    SessionOpened,
    SessionEnded,
    SessionResumed,
    SessionWaits,
    Available,
    SubscriptionGranted,
    SubscriptionEnded,
    NodeChanged,
    AccountCreated,
    PasswordChanged,
    AccountRemoved,
}

impl Event {
    /// Which kind it is.
    pub fn happening(&self) -> Happening {
        match self {
            Event::Opening => Happening::Opening,
            Event::Closing => Happening::Closing,
            Event::SessionOpened(_) => Happening::SessionOpened,
            Event::SessionEnded(_) => Happening::SessionEnded,
            Event::SessionResumed { .. } => Happening::SessionResumed,
            Event::SessionWaits(_) => Happening::SessionWaits,
            Event::Available { .. } => Happening::Available,
            Event::SubscriptionGranted { .. } => Happening::SubscriptionGranted,
            Event::SubscriptionEnded { .. } => Happening::SubscriptionEnded,
            Event::NodeChanged { .. } => Happening::NodeChanged,
            Event::AccountCreated(_) => Happening::AccountCreated,
            Event::PasswordChanged(_) => Happening::PasswordChanged,
            Event::AccountRemoved(_) => Happening::AccountRemoved,
        }
    }
}
