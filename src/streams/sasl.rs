//! SASL on the server's side (RFC 6120 §6): state machines without I/O, shared by `<auth/>` and later by SASL2.
//!
//! One [`Exchange`] lives for one attempt. The caller carries bytes to [`Exchange::step`] and answers what it asks:
//! [`Step::NeedCredentials`] with [`Exchange::credentials`], [`Step::CheckPassword`] with [`Exchange::password_checked`].
//! A lookup that fails for reasons of our own ends the attempt: the caller sends
//! [`SaslFailure::TemporaryAuthFailure`] and drops the exchange.

mod decoy;
pub mod encoding;
mod failure;
mod identity;
mod mechanism;
mod plain;
mod scram;
mod scram_message;

use std::sync::Arc;

use waxwing_core::address::{DomainPart, NodePart};
use waxwing_core::credentials::{Hash, ScramKeys};

pub use decoy::Decoy;
pub use failure::SaslFailure;
pub use mechanism::Mechanism;

/// The name of the channel binding of RFC 9266.
pub const TLS_EXPORTER: &str = "tls-exporter";
/// The name of the channel binding of RFC 5929 §4.
pub const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

/// What this connection can be bound to. Empty without TLS. `tls-unique` is not among them: it is broken
/// in TLS 1.2 and does not exist in TLS 1.3.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// The data of `tls-exporter` (RFC 9266).
    pub exporter: Option<[u8; 32]>,
    /// The data of `tls-server-end-point` (RFC 5929 §4): the hash of the certificate that was shown.
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// The data for the binding of that name; `None` when this connection does not have it.
    fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            TLS_EXPORTER => self.exporter.as_ref().map(|data| data.as_slice()),
            TLS_SERVER_END_POINT => self.server_end_point.as_deref(),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&'static str> {
        [TLS_EXPORTER, TLS_SERVER_END_POINT].into_iter().filter(|name| self.data(name).is_some()).collect()
    }
}

/// What one stream offers for authentication, and what an exchange must know about the stream.
#[derive(Clone)]
pub struct Offered {
    domain: DomainPart,
    mechanisms: Vec<Mechanism>,
    bindings: ChannelBindings,
    decoy: Arc<Decoy>,
}

impl Offered {
    /// Of the `enabled` mechanisms, those this connection can carry out: the -PLUS forms only where there is
    /// something to bind to. They come out in our order of preference, each once.
    pub fn new(domain: DomainPart, enabled: &[Mechanism], bindings: ChannelBindings, decoy: Arc<Decoy>) -> Offered {
        let can_bind = !bindings.names().is_empty();
        let mechanisms = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| enabled.contains(mechanism) && (can_bind || !mechanism.is_plus()))
            .collect();
        Offered { domain, mechanisms, bindings, decoy }
    }

    /// The mechanisms to advertise, the preferred first.
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    /// The channel bindings to advertise (XEP-0440); empty when no -PLUS mechanism is offered.
    pub fn channel_bindings(&self) -> Vec<&'static str> {
        if self.offers_plus() { self.bindings.names() } else { Vec::new() }
    }

    fn offers_plus(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| mechanism.is_plus())
    }

    /// What the hash of XEP-0474 §6.1 is made over: the advertised mechanisms and channel bindings, each sorted
    /// by octets.
    fn advertised(&self) -> String {
        let mut names: Vec<_> = self.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
        names.sort_unstable();
        let mut advertised = names.join("\u{1e}");
        let mut bindings = self.channel_bindings();
        if !bindings.is_empty() {
            bindings.sort_unstable();
            advertised.push('\u{1f}');
            advertised.push_str(&bindings.join("\u{1e}"));
        }
        advertised
    }
}

/// What is known of an account that wants to log in with SCRAM.
pub struct Account {
    /// Its keys for the hash that was asked for.
    pub keys: ScramKeys,
    /// It may not log in: said only to who knows the password (RFC 6120 §6.5.2).
    pub disabled: bool,
}

/// What became of a password that was to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the account's password.
    Right,
    /// It is not, or there is no such account.
    Wrong,
    /// It is the account's password, but the account may not log in.
    Disabled,
}

/// What the caller is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this to the client, then give its response to [`Exchange::step`].
    Challenge(Vec<u8>),
    /// Look up the account's keys, then call [`Exchange::credentials`].
    NeedCredentials {
        /// The account's name, prepared.
        username: NodePart,
        /// The hash whose keys are needed.
        hash: Hash,
    },
    /// Have the password checked, then call [`Exchange::password_checked`].
    CheckPassword {
        /// The account's name, prepared.
        username: NodePart,
        /// The password as the client sent it, not yet prepared.
        password: String,
    },
    /// The client is who it says.
    Success {
        /// The account's name, prepared: the authenticated identity is this name at the stream's domain.
        username: NodePart,
        /// Additional data with success; `None` when the mechanism has none.
        data: Option<Vec<u8>>,
    },
    /// The attempt failed; the exchange is over.
    Failure(SaslFailure),
}

/// One attempt to authenticate.
pub struct Exchange {
    machine: Machine,
}

enum Machine {
    Scram(Box<scram::Scram>),
    Plain(plain::Plain),
}

impl Exchange {
    /// Starts an attempt with the mechanism the client named. Only what was offered is taken:
    /// else [`SaslFailure::InvalidMechanism`].
    pub fn start(mechanism: &str, offered: &Offered) -> Result<Exchange, SaslFailure> {
        let mechanism = Mechanism::from_name(mechanism)
            .filter(|mechanism| offered.mechanisms.contains(mechanism))
            .ok_or(SaslFailure::InvalidMechanism)?;
        let machine = match mechanism {
            Mechanism::Scram { hash, plus } => Machine::Scram(Box::new(scram::Scram::new(hash, plus, offered))),
            Mechanism::Plain => Machine::Plain(plain::Plain::new(offered.domain.clone())),
        };
        Ok(Exchange { machine })
    }

    /// Takes what the client sent: the initial response of `<auth/>`, or `None` when it had none (then an empty
    /// challenge asks for it), later each response.
    pub fn step(&mut self, client: Option<&[u8]>) -> Step {
        match &mut self.machine {
            Machine::Scram(scram) => scram.step(client),
            Machine::Plain(plain) => plain.step(client),
        }
    }

    /// Answers [`Step::NeedCredentials`]; `None` for an account that does not exist or has no keys for that hash.
    /// The exchange goes on all the same, with the same work, and fails at its end (security row S25).
    pub fn credentials(&mut self, account: Option<Account>) -> Step {
        match &mut self.machine {
            Machine::Scram(scram) => scram.credentials(account),
            Machine::Plain(_) => Step::Failure(SaslFailure::NotAuthorized),
        }
    }

    /// Answers [`Step::CheckPassword`].
    pub fn password_checked(&mut self, verdict: Verdict) -> Step {
        match &mut self.machine {
            Machine::Plain(plain) => plain.password_checked(verdict),
            Machine::Scram(_) => Step::Failure(SaslFailure::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod client;
#[cfg(test)]
mod tests;
