//! Questions and answers: who owns which namespace of IQs, and what an owner is given and gives back.

use std::net::IpAddr;
use std::sync::Arc;

use waxwing_xml::{Child, Element};

use crate::address::{BareJid, Jid};
use crate::fault::Fault;
use crate::session::Session;
use crate::stanza::{IqType, Stanza, StanzaType, encode};

/// Whom an IQ is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The host itself.
    Host,
    /// An account of the host: its bare JID, or no address at all from its own client.
    Account,
    /// The host, by a client that has not logged in yet (in-band registration).
    Stranger,
}

impl Scope {
    /// How many scopes there are.
    pub(crate) const COUNT: usize = 3;
}

/// What a module answers: one owner for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Whom it is addressed to.
    pub scope: Scope,
    /// The namespace of the payload.
    pub namespace: &'static str,
}

impl Topic {
    /// A topic of the host.
    pub const fn host(namespace: &'static str) -> Topic {
        Topic { scope: Scope::Host, namespace }
    }

    /// A topic of each account.
    pub const fn account(namespace: &'static str) -> Topic {
        Topic { scope: Scope::Account, namespace }
    }

    /// A topic for clients that have not logged in.
    pub const fn stranger(namespace: &'static str) -> Topic {
        Topic { scope: Scope::Stranger, namespace }
    }
}

/// An IQ of type get or set with exactly one payload.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The IQ.
    pub stanza: &'a Stanza,
    /// Whom it is addressed to.
    pub scope: Scope,
    /// The client of ours that asks; none when another server or a service does, or before login.
    pub session: Option<&'a Arc<Session>>,
    /// Where a client that has not logged in connects from.
    pub stranger: Option<IpAddr>,
}

impl<'a> Request<'a> {
    /// Its one payload.
    pub fn payload(&self) -> Child<'a> {
        self.stanza.payloads().next().expect("an iq of type get or set has one payload: checked when it was read")
    }

    /// Whether it wants to change something.
    pub fn is_set(&self) -> bool {
        self.stanza.what == StanzaType::Iq(IqType::Set)
    }

    /// Who asks.
    pub fn from(&self) -> Option<&'a Jid> {
        self.stanza.from.as_ref()
    }

    /// The account that is asked, for topics of accounts.
    pub fn account(&self) -> Option<BareJid> {
        self.stanza.to.as_ref().map(Jid::to_bare)
    }

    /// Whether the account that is asked asks itself, through its own client.
    pub fn is_from_owner(&self) -> bool {
        match (self.session, &self.stanza.to) {
            (Some(session), Some(to)) => *session.account() == to.to_bare(),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// What is answered.
#[derive(Debug)]
pub enum Answer {
    /// A result without a payload.
    Empty,
    /// A result with this payload.
    Payload(Element),
    /// The module has sent the answer itself, or will.
    Sent,
}

impl Answer {
    /// A result with one of xmpp-parsers' types.
    ///
    /// # Errors
    /// A fault when the type cannot be written.
    pub fn with<T: xso::AsXml>(payload: &T) -> Result<Answer, Fault> {
        Ok(Answer::Payload(encode(payload)?))
    }
}
