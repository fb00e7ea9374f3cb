//! External components (XEP-0114): other programs that speak for a domain of their own, such as bridges to other networks,
//! and what they may do in the name of accounts (XEP-0356).
//!
//! `connection.rs` is the listener and one connection, `stream.rs` its words; `desk.rs` is what waits for a component.
//! `privileges.rs` decides what it may do for others.

mod connection;
mod desk;
mod privileges;
mod settings;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use waxwing_core::address::{DomainPart, DomainRef, Jid};
use waxwing_core::contracts::{Contract, Privileges};
use waxwing_core::events::{Event, Happening};
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::random;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{MessageType, PresenceType, Stanza, StanzaType};

use desk::Desk;
pub use settings::{Access, ComponentSettings, Messages, Presences, Settings};

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "component",
    summary: "lets other programs, such as bridges, speak for domains of their own",
    xeps: &[
        Xep::complete(114, "1.6"),
        Xep::partial(
            356,
            "0.4.1",
            "no roster pushes; an IQ in an account's name reaches what strangers reach, and presence of a contact of several \
             accounts is told for each",
        ),
    ],
    stages: &[Standing::presence(Stage::Stamp), Standing::presence(Stage::Choose)],
    hears: &[Happening::Opening, Happening::Available, Happening::SessionEnded],
    offers: &[Contract::Privileges],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How long an IQ in somebody's name waits for its answer.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let mut desks = Vec::with_capacity(settings.components.len());
    for component in &settings.components {
        if component.domain.is_empty() || component.secret.is_empty() {
            return Err(StartError::Other("a component needs `domain` and `secret`".to_owned()));
        }
        privileges::check(component).map_err(StartError::Other)?;
        let domain = context.serve(&component.domain)?;
        desks.push(Arc::new(Desk::new(domain, component.clone(), settings.queue.get())));
    }
    let components = Arc::new(Components { context, settings, desks });
    components.context.contracts().offer_privileges(components.clone());
    Ok(Arc::new(External(components)))
}

/// The components of one host.
pub(crate) struct Components {
    context: Context,
    settings: Settings,
    desks: Vec<Arc<Desk>>,
}

struct External(Arc<Components>);

#[async_trait]
impl Module for External {
    async fn receive(&self, parcel: Parcel) -> Result<(), Refusal> {
        let to = parcel.stanza.to.as_ref();
        let Some(desk) = to.and_then(|to| self.0.desk(to.domain())).cloned() else {
            return Err(Refusal::item_not_found());
        };
        // The router keeps a head of it and answers for the refusal.
        desk.put(parcel).map_err(|(_, refusal)| refusal)
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match (stage, parcel.stanza.what) {
            // Unavailable for everyone: who ends the session without a word is told by the event.
            (Stage::Stamp, StanzaType::Presence(PresenceType::Unavailable))
                if parcel.stanza.to.is_none() && parcel.origin.session().is_some_and(|is| is.presence().is_some()) =>
            {
                self.0.tell(Presences::ManagedEntity, &parcel.stanza);
            }
            // Accounts of this host tell for themselves.
            (Stage::Choose, StanzaType::Presence(PresenceType::Available | PresenceType::Unavailable))
                if parcel.stanza.from.as_ref().is_some_and(|from| from.domain() != &**self.0.context.domain()) =>
            {
                self.0.tell(Presences::Roster, &parcel.stanza);
            }
            _ => {}
        }
        Ok(Pass::Onward)
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::Opening => listen(&self.0).await,
            Event::Available { session, first: true } => {
                if let Some(presence) = session.presence() {
                    self.0.tell(Presences::ManagedEntity, &presence);
                }
            }
            Event::SessionEnded(session) if session.presence().is_some() => {
                let gone = Stanza::presence(PresenceType::Unavailable).from(session.jid().clone());
                self.0.tell(Presences::ManagedEntity, &gone);
            }
            _ => {}
        }
    }
}

impl Privileges for Components {
    fn may_use_rosters(&self, entity: &Jid, to_change: bool) -> bool {
        let is_component = entity.node().is_none() && entity.resource().is_none();
        self.desk(entity.domain()).filter(|_| is_component).is_some_and(|desk| {
            let access = desk.settings.roster;
            if to_change { access.may_set() } else { access.may_get() }
        })
    }
}

impl Components {
    /// The desk of a domain.
    fn desk(&self, domain: &DomainRef) -> Option<&Arc<Desk>> {
        self.desks.iter().find(|desk| *desk.domain == *domain)
    }

    /// Tells a component that has just come what it may do, and who is there.
    fn greet(&self, desk: &Arc<Desk>) {
        let advertised = privileges::advertised(&desk.settings).ok().flatten();
        if let Some(privileges) = advertised {
            let message = Stanza::message(MessageType::Normal).id(random::token()).with(privileges);
            let message = message.from(self.context.host().address().clone()).to(address_of(&desk.domain));
            let _ = desk.put(Parcel::new(message, Origin::House));
        }
        if desk.settings.presence == Presences::None {
            return;
        }
        let is_ours = |session: &Arc<Session>| session.host().domain() == self.context.domain();
        for session in self.context.directory().everyone().iter().filter(|session| is_ours(session)) {
            if let Some(presence) = session.presence() {
                let told = (*presence).clone().from(session.jid().clone()).to(address_of(&desk.domain));
                let _ = desk.put(Parcel::new(told, Origin::House));
            }
        }
    }

    /// Tells a presence to every component that has asked for as much and may know.
    fn tell(&self, least: Presences, presence: &Stanza) {
        for desk in &self.desks {
            let is_told = match desk.settings.presence {
                Presences::None => false,
                Presences::ManagedEntity => least == Presences::ManagedEntity,
                Presences::Roster => true,
            };
            if is_told && desk.is_connected() {
                let told = presence.clone().to(address_of(&desk.domain));
                // Presence that finds no room is not missed for long.
                let _ = desk.put(Parcel::new(told, Origin::House));
            }
        }
    }

    /// A component has said something.
    async fn hear(&self, desk: &Arc<Desk>, parcel: Parcel) {
        let host = self.context.domain();
        if let Some(message) = privileges::message(&parcel.stanza, &desk.settings, host) {
            return match message {
                Ok(message) => self.context.send(message).await,
                Err(refusal) => self.turn_back(&parcel, &refusal).await,
            };
        }
        if let Some(iq) = privileges::iq(&parcel.stanza, &desk.settings, host) {
            return match iq {
                Ok(iq) => self.ask_for(desk, parcel, iq),
                Err(refusal) => self.turn_back(&parcel, &refusal).await,
            };
        }
        self.context.house().send(parcel).await;
    }

    /// Asks in an account's name, and brings the answer to the component. Nobody waits for it.
    fn ask_for(&self, desk: &Arc<Desk>, parcel: Parcel, mut iq: Stanza) {
        let (context, desk) = (self.context.clone(), desk.clone());
        // Ids of different components could be the same.
        let theirs = iq.id.replace(random::token().into());
        self.context.house().tasks().spawn(async move {
            let answered = context.ask(iq, PATIENCE).await;
            let reply = match answered {
                Ok(mut answer) => {
                    answer.id = theirs;
                    privileges::wrapped(&answer).ok().map(|wrapped| Stanza::result_of(&parcel.stanza).with(wrapped))
                }
                Err(unanswered) => {
                    let refusal = Refusal::remote_server_timeout().saying(unanswered.to_string());
                    Stanza::error_for(&parcel.stanza, &refusal).ok().flatten()
                }
            };
            if let Some(reply) = reply {
                let _ = desk.put(Parcel::new(reply, Origin::House));
            }
        });
    }

    /// Sends the error for a parcel to whoever it is from.
    async fn turn_back(&self, parcel: &Parcel, refusal: &Refusal) {
        if let Ok(Some(error)) = Stanza::error_for(&parcel.stanza, refusal)
            && error.to.is_some()
        {
            self.context.send(error).await;
        }
    }
}

/// Listens for components, where there can be some. An address that cannot be had is no reason to keep everyone waiting.
async fn listen(components: &Arc<Components>) {
    if components.desks.is_empty() {
        return;
    }
    for address in &components.settings.listen {
        match TcpListener::bind(address).await {
            Ok(socket) => {
                tracing::info!(%address, components = components.desks.len(), "component.listening");
                let accepting = connection::accept(components.clone(), *address, socket);
                components.context.house().tasks().spawn(accepting);
            }
            Err(error) => {
                let mend = "name another address in [modules.component] listen";
                tracing::error!(%address, %error, mend, "component.cannot_listen");
            }
        }
    }
}

/// A domain as an address.
fn address_of(domain: &DomainPart) -> Jid {
    Jid::from_parts(None, domain, None)
}
