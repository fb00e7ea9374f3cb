//! SASL on a client's stream (RFC 6120 §6): elements in, elements out, around the exchange's state machine.

use std::sync::Arc;

use waxwing_core::address::{BareJid, account};
use waxwing_core::host::Host;
use waxwing_core::namespaces;
use waxwing_core::xml::{Element, Writer};

use crate::listeners::Shared;
use crate::sasl::encoding::{decode_initial, decode_response, encode};
use crate::sasl::{Account, ChannelBindings, Exchange, Mechanism, Offered, SaslFailure, Step, Verdict};

/// What an element has led to.
pub(crate) enum Progress {
    /// Send this and wait for the next element.
    Say(Vec<u8>),
    /// The attempt failed; tell the client.
    Failed(Vec<u8>),
    /// The client is who it says.
    Succeeded {
        /// What to send before the stream begins anew.
        words: Vec<u8>,
        /// Who it is.
        account: BareJid,
        /// By which mechanism.
        mechanism: &'static str,
    },
}

/// The authentication of one stream: what it offers and the attempt that runs.
pub(crate) struct Authentication {
    offered: Offered,
    attempt: Option<(Exchange, &'static str)>,
    failures: usize,
}

impl Authentication {
    pub(crate) fn new(shared: &Shared, host: &Host, bindings: ChannelBindings) -> Authentication {
        let decoy = shared.decoy.clone();
        let offered = Offered::new(host.domain().clone(), &shared.mechanisms, bindings, decoy);
        Authentication { offered, attempt: None, failures: 0 }
    }

    pub(crate) fn offered(&self) -> &Offered {
        &self.offered
    }

    /// How many attempts have failed on this stream.
    pub(crate) fn failures(&self) -> usize {
        self.failures
    }

    /// Takes one element of the SASL namespace.
    pub(crate) async fn element(&mut self, host: &Arc<Host>, element: &Element, encrypted: bool) -> Progress {
        match self.advance(host, element, encrypted).await {
            Ok(Step::Challenge(data)) => Progress::Say(say("challenge", Some(&data))),
            Ok(Step::Success { username, data }) => {
                let mechanism = self.attempt.take().map_or("", |(_, mechanism)| mechanism);
                Progress::Succeeded {
                    words: say("success", data.as_deref()),
                    account: account(&username, host.domain()),
                    mechanism,
                }
            }
            Ok(Step::Failure(failure)) | Err(failure) => {
                self.attempt = None;
                self.failures += 1;
                Progress::Failed(failure_words(failure))
            }
            // The lookups were made in `advance`.
            Ok(Step::NeedCredentials { .. } | Step::CheckPassword { .. }) => {
                self.attempt = None;
                Progress::Failed(failure_words(SaslFailure::TemporaryAuthFailure))
            }
        }
    }

    async fn advance(&mut self, host: &Arc<Host>, element: &Element, encrypted: bool) -> Result<Step, SaslFailure> {
        let step = match element.name() {
            // A second <auth/> takes the place of the first (RFC 6120 §6.4.2).
            "auth" => {
                self.attempt = None;
                if !encrypted {
                    return Err(SaslFailure::EncryptionRequired);
                }
                let mechanism = element.attribute("mechanism").unwrap_or_default();
                let mut exchange = Exchange::start(&mechanism, &self.offered)?;
                let initial = decode_initial(&element.text())?;
                let step = exchange.step(initial.as_deref());
                let name = Mechanism::from_name(&mechanism).map_or("", Mechanism::name);
                self.attempt = Some((exchange, name));
                step
            }
            "response" => {
                let (exchange, _) = self.attempt.as_mut().ok_or(SaslFailure::MalformedRequest)?;
                let response = decode_response(&element.text())?;
                exchange.step(Some(&response))
            }
            "abort" => return Err(SaslFailure::Aborted),
            _ => return Err(SaslFailure::MalformedRequest),
        };
        let (exchange, _) = self.attempt.as_mut().ok_or(SaslFailure::MalformedRequest)?;
        look_up(host, exchange, step).await
    }
}

/// Answers what an exchange asks about an account.
async fn look_up(host: &Host, exchange: &mut Exchange, step: Step) -> Result<Step, SaslFailure> {
    let Some(accounts) = host.contracts().accounts() else { return Err(SaslFailure::TemporaryAuthFailure) };
    let temporary = |error| {
        tracing::warn!(%error, "login.storage");
        SaslFailure::TemporaryAuthFailure
    };
    match step {
        Step::NeedCredentials { username, hash } => {
            let keys = accounts.scram_keys(&username, hash).await.map_err(temporary)?;
            // Asked for unknown names too: the same work for everyone.
            let disabled = accounts.is_disabled(&username).await.map_err(temporary)?;
            Ok(exchange.credentials(keys.map(|keys| Account { keys, disabled })))
        }
        Step::CheckPassword { username, password } => {
            let right = accounts.check_password(&username, &password).await.map_err(temporary)?;
            let disabled = accounts.is_disabled(&username).await.map_err(temporary)?;
            Ok(exchange.password_checked(match (right, disabled) {
                (false, _) => Verdict::Wrong,
                (true, true) => Verdict::Disabled,
                (true, false) => Verdict::Right,
            }))
        }
        step => Ok(step),
    }
}

/// An element with base64 data, or without any.
fn say(name: &'static str, data: Option<&[u8]>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.open(name).attribute("xmlns", namespaces::SASL);
    if let Some(data) = data {
        writer.text(&encode(data));
    }
    writer.close();
    writer.finish().to_vec()
}

fn failure_words(failure: SaslFailure) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.open("failure").attribute("xmlns", namespaces::SASL);
    writer.open(failure.name()).close();
    writer.close();
    writer.finish().to_vec()
}
