//! Carbons (XEP-0280): every device of an account sees both sides of its conversations.
//!
//! `rules.rs` decides what is copied, `envelope.rs` writes a copy once for all devices, `recent.rs` remembers what was
//! copied so that the errors which answer it are, too.

mod envelope;
mod recent;
mod rules;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::archive::KeptForSender;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::directory::Sessions;
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, Xep};
use waxwing_core::notes::Note;
use waxwing_core::parcel::{ForThisSession, Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::Stanza;

use recent::Recent;
use rules::{CARBONS, Side, is_copied};

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(async move { Ok(start(context)) }) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "carbons",
    summary: "copies messages to the other devices of an account",
    xeps: &[Xep::complete(280, "1.0.1"), Xep::complete(297, "1.0"), Xep::partial(334, "1.0.0", "no-copy")],
    features: &[(Entity::Host, CARBONS), (Entity::Host, "urn:xmpp:carbons:rules:0")],
    answers: &[Topic::account(CARBONS)],
    stages: &[
        Standing::messages(Stage::Stamp),
        Standing::messages(Stage::CopySent),
        Standing::messages(Stage::Guard),
        Standing::messages(Stage::CopyReceived),
    ],
    ..Manifest::EMPTY
};

fn start(context: Context) -> Arc<dyn Module> {
    Arc::new(Carbons { context, hasher: RandomState::new() })
}

struct Carbons {
    context: Context,
    /// Its key is secret: nobody can choose ids that collide with another's.
    hasher: RandomState,
}

/// The device wants copies.
struct WantsCopies;

impl Note for WantsCopies {
    const WRITTEN_AS: Option<&'static str> = Some("carbons");

    fn read_back(_: &str) -> Option<WantsCopies> {
        Some(WantsCopies)
    }
}

#[async_trait]
impl Module for Carbons {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let (Some(session), true) = (request.session, request.is_from_owner()) else {
            return Err(Refusal::not_allowed().saying("copies are for the clients of the account itself"));
        };
        match request.payload().name() {
            "enable" if request.is_set() => session.put_note(WantsCopies),
            "disable" if request.is_set() => drop(session.take_note::<WantsCopies>()),
            _ => return Err(Refusal::bad_request()),
        }
        Ok(Answer::Empty)
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match stage {
            Stage::Stamp | Stage::Guard => rules::strip_forged(&mut parcel.stanza)?,
            Stage::CopySent => self.copy_sent(parcel).await?,
            Stage::CopyReceived => {
                self.copy_received(parcel);
                rules::strip_private(&mut parcel.stanza)?;
            }
            _ => {}
        }
        Ok(Pass::Onward)
    }
}

impl Carbons {
    /// Tells the sender's other devices (§8).
    async fn copy_sent(&self, parcel: &mut Parcel) -> Result<(), Refusal> {
        let (Origin::Session(sender), Some(to)) = (parcel.origin.clone(), &parcel.stanza.to) else { return Ok(()) };
        let account = sender.account();
        // What one writes to oneself arrives at one's own account: there the others are told, and once.
        if to.to_bare() == *account {
            return Ok(());
        }
        let others = self.others(account, std::slice::from_ref(&sender));
        if others.is_empty() {
            return Ok(());
        }
        let message = self.hash(to, &parcel.stanza);
        if !is_copied(&parcel.stanza, Side::Sent, || was_copied(&sender, message)) {
            return Ok(());
        }
        remember(&sender, &parcel.stanza, message);
        let kept = parcel.notes.get::<KeptForSender>().map(|KeptForSender(id)| *id);
        match envelope::copy(&parcel.stanza, Side::Sent, account, kept, now_milliseconds()) {
            Ok(copy) => others.iter().for_each(|session| deliver(session, &copy)),
            Err(fault) => tracing::debug!(fault = fault.id(), "carbons.no_copy"),
        }
        Ok(())
    }

    /// Tells the recipient's other devices (§7).
    fn copy_received(&self, parcel: &Parcel) {
        let (Some(to), Some(from)) = (&parcel.stanza.to, &parcel.stanza.from) else { return };
        // When no device takes it, it is kept for them, and none is told meanwhile.
        let Some(first) = parcel.recipients.first() else { return };
        let account = to.to_bare();
        let mut others = self.others(&account, &parcel.recipients);
        // Who writes to another device of the same account knows what it has written.
        others.retain(|session| !parcel.origin.session().is_some_and(|sender| Arc::ptr_eq(session, sender)));
        if others.is_empty() {
            return;
        }
        let message = self.hash(from, &parcel.stanza);
        if !is_copied(&parcel.stanza, Side::Received, || was_copied(first, message)) {
            return;
        }
        for session in &parcel.recipients {
            remember(session, &parcel.stanza, message);
        }
        match envelope::copy(&parcel.stanza, Side::Received, &account, None, now_milliseconds()) {
            Ok(copy) => others.iter().for_each(|session| deliver(session, &copy)),
            Err(fault) => tracing::debug!(fault = fault.id(), "carbons.no_copy"),
        }
    }

    /// The devices of an account that want copies, without those that get the message itself. One with a negative priority
    /// does not want to hear of messages that are not for it alone (RFC 6121 §8.5.2; security row S16).
    fn others(&self, account: &BareJid, recipients: &[Arc<Session>]) -> Sessions {
        let mut sessions = self.context.directory().sessions(account);
        sessions.retain(|session| {
            !recipients.iter().any(|recipient| Arc::ptr_eq(recipient, session))
                && session.priority().is_none_or(|priority| priority >= 0)
                && session.has_note::<WantsCopies>()
        });
        sessions
    }

    /// A message as the two ends of a conversation know it; none when it has no id.
    fn hash(&self, peer: &Jid, stanza: &Stanza) -> Option<u64> {
        Some(self.hasher.hash_one((peer.to_bare(), stanza.id.as_deref()?)))
    }
}

fn was_copied(session: &Session, message: Option<u64>) -> bool {
    let Some(message) = message else { return false };
    session.has_note::<Recent>() && session.with_note(|recent: &mut Recent| recent.has(message))
}

fn remember(session: &Session, stanza: &Stanza, message: Option<u64>) {
    if let Some(message) = message.filter(|_| !stanza.is_error()) {
        session.with_note(|recent: &mut Recent| recent.remember(message));
    }
}

/// Gives a device its copy. It is of no use to anybody else, and its refusal is nobody's business (§10.3).
fn deliver(session: &Arc<Session>, copy: &Stanza) {
    let copy = copy.clone().to(session.jid().clone());
    let _ = session.deliver(Parcel::new(copy, Origin::House).noting(ForThisSession));
}
