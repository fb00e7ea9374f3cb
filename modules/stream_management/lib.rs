//! Stream management (XEP-0198): what is sent is acknowledged, and a session outlives its stream, its server's stop, and,
//! by its counter, even a crash.
//!
//! `queue.rs` counts what is under way to a client, `answers.rs` decides when the client is told what has arrived from
//! it; both are plain state machines. `managed.rs` is the session's keeper around them; `resuming.rs` hands a session to a
//! new stream, `restart.rs` leads it over a stop of the server. `shared.rs` knows all sessions of the host.

mod answers;
mod elements;
mod kept;
mod managed;
mod queue;
mod restart;
mod resuming;
mod settings;
mod shared;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::module::{Context, Manifest, Module, Phase, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::{Condition, Refusal};
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::Element;

use elements::SM;
use managed::{IsManaged, Managed};
use queue::Wrong;
pub use settings::Settings;
use shared::Shared;
use store::Change;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "stream_management",
    summary: "acknowledges stanzas, and lets sessions outlive their streams",
    xeps: &[Xep::partial(198, "1.6.3", "for clients; without SASL2 and Bind 2")],
    stages: &[Standing::all(Stage::Count)],
    stream: elements::ELEMENTS,
    hears: &[
        Happening::Opening,
        Happening::SessionEnded,
        Happening::SessionResumed,
        Happening::PasswordChanged,
        Happening::AccountRemoved,
    ],
    offers: &[Contract::Resumption],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How often numbers are looked for that nobody will ask about any more.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let shared = Shared::new(context.clone())?;
    context.contracts().offer_resumption(Arc::new(resuming::Resuming(shared.clone())));
    let looking = shared.clone();
    let every = shared.settings.ask_every.get().clamp(Duration::from_millis(100), FORGET_EVERY);
    context.every(every, move || {
        looking.look_around();
        std::future::ready(())
    });
    let forgetting = shared.clone();
    context.every(FORGET_EVERY, move || {
        let shared = forgetting.clone();
        async move {
            let before = now_milliseconds().saturating_sub(shared.remember_for());
            if let Err(error) = shared.store.delete_old(shared.context.domain().as_str(), before).await {
                tracing::warn!(%error, "stream_management.nothing_forgotten");
            }
        }
    });
    Ok(Arc::new(StreamManagement(shared)))
}

struct StreamManagement(Arc<Shared>);

#[async_trait]
impl Module for StreamManagement {
    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        // At Count there is one recipient: the session whose writer asks.
        let Some(session) = parcel.recipients.first().filter(|session| session.is_kept()).cloned() else {
            return Ok(Pass::Onward);
        };
        if let Some(IsManaged(managed)) = session.note() {
            managed.keep(&session, parcel);
        }
        Ok(Pass::Onward)
    }

    async fn stream(&self, session: &Arc<Session>, element: Element) -> Result<(), StreamError> {
        let managed = session.note().map(|IsManaged(managed)| managed);
        match (element.name(), managed) {
            ("enable", None) => self.enable(session, &element),
            ("r", Some(managed)) => self.0.answer(session, &managed),
            ("a", Some(managed)) => acknowledge(session, &managed, &element)?,
            // A second <enable/>, <resume/> on a stream that has its session, or nothing to acknowledge (§3, §6).
            _ => session.send_element(elements::failed(Condition::UnexpectedRequest, None)),
        }
        Ok(())
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::Opening => self.0.bring_back().await,
            Event::SessionEnded(session) => {
                if let Some(IsManaged(managed)) = session.take_note() {
                    self.forget(session, &managed).await;
                }
            }
            Event::SessionResumed { session, .. } => {
                if let Some(IsManaged(managed)) = session.note() {
                    managed.ask(session);
                }
            }
            // Security row S27: what was logged in with the old password is not gone on with.
            Event::PasswordChanged(account) => {
                for (session, managed) in self.0.of_account(account) {
                    managed.refuse_resumption();
                    if managed.waits() {
                        session.end(None);
                    }
                }
                if let Err(error) = self.0.store.refuse_account(account).await {
                    tracing::warn!(%account, %error, "stream_management.not_refused");
                }
            }
            Event::AccountRemoved(account) => {
                if let Err(error) = self.0.store.delete_account(account).await {
                    tracing::warn!(%account, %error, "stream_management.not_deleted");
                }
            }
            _ => {}
        }
    }

    fn stream_features(&self, phase: Phase) -> Vec<bytes::Bytes> {
        if phase == Phase::Binding { vec![elements::feature()] } else { Vec::new() }
    }
}

impl StreamManagement {
    /// The client wants its session to be managed (§3).
    fn enable(&self, session: &Arc<Session>, element: &Element) {
        let patience = match elements::wants_resumption(element) {
            true => self.0.settings.patience(elements::preferred_seconds(element)),
            false => Duration::ZERO,
        };
        let managed = Arc::new(Managed::new(self.0.clone(), session, patience));
        let resumable = managed.is_resumable().then(|| (&*managed.id, patience.as_secs().max(1)));
        let enabled = elements::enabled(resumable, self.0.settings.location.as_deref());
        session.put_note(IsManaged(managed.clone()));
        self.0.enter(session, &managed);
        session.keep_from_here(managed, enabled);
    }

    /// The session is over. Its number is remembered, for a client that comes too late.
    async fn forget(&self, session: &Session, managed: &Managed) {
        self.0.leave(managed);
        let handled = managed.handled(session);
        let is_of_use = managed.is_resumable() && !managed.answers.lock().is_stored(handled);
        if !is_of_use && !managed.is_restored() {
            return;
        }
        let (id, account) = (managed.id.clone(), session.account().clone());
        let change = Change::Counted { id, account, handled, forget: managed.is_restored() };
        if let Err(error) = self.0.changes.submit(change).await {
            tracing::debug!(%error, "stream_management.number_not_stored");
        }
    }
}

/// The client says what it has received (§4).
fn acknowledge(session: &Session, managed: &Managed, element: &Element) -> Result<(), StreamError> {
    let Some(number) = elements::number(element) else {
        return Err(StreamError::saying(StreamCondition::InvalidXml, "an acknowledgement needs a number in h"));
    };
    match managed.acknowledge(session, number) {
        Ok(()) => Ok(()),
        // An old number says nothing new.
        Err(Wrong::GoesBack) => Ok(()),
        Err(Wrong::TooHigh(sent)) => {
            let text = format!("{number} stanzas are acknowledged, and {sent} were sent");
            Err(StreamError::saying(StreamCondition::UndefinedCondition, text).because("handled-count-too-high", SM))
        }
    }
}
