//! Push: devices that are away are called when a message waits for them, through the servers of their apps (XEP-0357).
//!
//! `worth.rs` says which messages count, `notify.rs` what an account has muted (XEP-0492), `desk.rs` when a device is
//! called; all of them are plain decisions. `courier.rs` does the work around them; `watches.rs` finds connections that are
//! dead and do not look it.

mod commands;
mod courier;
mod desk;
mod notify;
mod protocol;
mod settings;
mod store;
mod watches;
mod worth;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::commands::{Order, Step};
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::house::Place;
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::stages::{Pass, Stage, Standing};

use courier::{Courier, Told};
use protocol::{PUSH, Wish};
pub use settings::Settings;
use store::Registration;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(async move { start(context) }) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "push",
    summary: "calls devices that are away, through the servers of their apps",
    xeps: &[
        Xep::partial(357, "0.4.1", "the user's server; no pending-subscription-count"),
        Xep::complete(492, "0.2.0"),
    ],
    features: &[(Entity::Account, PUSH)],
    answers: &[Topic::account(PUSH)],
    commands: &commands::COMMANDS,
    stages: &[Standing::messages(Stage::Notice)],
    hears: &[
        Happening::SessionOpened,
        Happening::SessionResumed,
        Happening::SessionWaits,
        Happening::Available,
        Happening::AccountRemoved,
    ],
    offers: &[Contract::Push],
    likes: &[Contract::Nodes],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How often messages are looked at that a client has not acknowledged.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is written down what came of calls.
const WRITE_EVERY: Duration = Duration::from_secs(10);

fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let courier = Courier::start(context.clone(), settings);
    context.contracts().offer_push(courier.clone());
    let looking = courier.clone();
    context.every(LOOK_EVERY, move || {
        looking.look_around();
        std::future::ready(())
    });
    let writing = courier.clone();
    context.every(WRITE_EVERY, move || {
        let courier = writing.clone();
        async move { courier.write_down().await }
    });
    Ok(Arc::new(PushModule(courier)))
}

struct PushModule(Arc<Courier>);

#[async_trait]
impl Module for PushModule {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        // Nobody learns here whether somebody else has an account.
        let session = request.session.filter(|_| request.is_from_owner()).ok_or_else(Refusal::service_unavailable)?;
        if !request.is_set() {
            return Err(Refusal::bad_request());
        }
        let owner = session.account();
        match protocol::read(request.payload(), |bytes| self.0.settings.option_bytes.allows(bytes))? {
            Wish::Enable { service, node, options } => {
                self.check(&service)?;
                let new = Registration {
                    id: self.0.context.house().ids().next(),
                    service,
                    node,
                    resource: session.jid().resource().to_string(),
                    options,
                    since: now_milliseconds(),
                    last_call: None,
                    last_result: None,
                };
                let id = self.0.store.enable(owner, &new, self.0.settings.registrations_per_account.get()).await?;
                self.0.desk.lock().forget(id);
            }
            Wish::Disable { service, node } => self.disable(owner, &service, node.as_deref()).await?,
        }
        Ok(Answer::Empty)
    }

    async fn command(&self, order: Order<'_>) -> Result<Step, Refusal> {
        self.0.command(order).await
    }

    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let (Some(from), Some(to)) = (&parcel.stanza.from, &parcel.stanza.to) else { return Ok(Pass::Onward) };
        let owner = to.to_bare();
        // What one writes oneself, on another device, calls nobody.
        if from.to_bare() == owner {
            return Ok(Pass::Onward);
        }
        if let Some(node) = protocol::revoked_node(&parcel.stanza, &owner) {
            self.revoke(&owner, from, &node).await;
            return Ok(Pass::Onward);
        }
        if let Some(told) = self.0.told(&parcel.stanza, owner, from.clone(), true) {
            // It was given to a session once, and comes back from there.
            let given_at = Some(parcel.delivered_at).filter(|at| *at != 0);
            self.0.offer(Told { arrived_at: given_at.unwrap_or(told.arrived_at), is_late: given_at.is_some(), ..told });
        }
        Ok(Pass::Onward)
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::SessionOpened(session)
            | Event::SessionResumed { session, .. }
            | Event::Available { session, first: true } => self.0.is_here(session),
            Event::SessionWaits(_) => self.0.look_around(),
            Event::AccountRemoved(account) => self.forget_account(account).await,
            _ => {}
        }
    }
}

impl PushModule {
    /// An account of ours is no app server: the server's own word must not be published in its nodes because somebody else
    /// wants it so. One of its clients may be.
    fn check(&self, service: &Jid) -> Result<(), Refusal> {
        let is_account = service.node().is_some() && service.resource().is_none();
        if is_account && matches!(self.0.context.house().place(service.domain()), Place::Host(_)) {
            return Err(Refusal::not_acceptable().saying("this is an account and not a push service"));
        }
        Ok(())
    }

    async fn disable(&self, owner: &BareJid, service: &Jid, node: Option<&str>) -> Result<(), Refusal> {
        let registrations = self.0.store.of_account(owner).await?;
        self.0.store.disable(owner, service, node).await?;
        let gone = registrations.iter().filter(|registration| {
            registration.service == *service && node.is_none_or(|node| registration.node == node)
        });
        let mut desk = self.0.desk.lock();
        gone.for_each(|registration| desk.forget(registration.id));
        Ok(())
    }

    /// An app server says that it takes nothing more from the account (§8).
    async fn revoke(&self, owner: &BareJid, from: &Jid, node: &str) {
        let registrations = self.0.registrations(owner).await;
        if !registrations.iter().any(|registration| registration.service == *from && registration.node == node) {
            return;
        }
        if let Err(refusal) = self.disable(owner, from, Some(node)).await {
            tracing::debug!(account = %owner, %refusal, "push.not_revoked");
        }
    }

    async fn forget_account(&self, account: &BareJid) {
        let registrations = self.0.store.remembered(account);
        if let Err(error) = self.0.store.delete_account(account).await {
            tracing::warn!(%account, %error, "push.not_forgotten");
        }
        let mut desk = self.0.desk.lock();
        registrations.iter().flat_map(|registrations| registrations.iter()).for_each(|one| desk.forget(one.id));
    }
}
