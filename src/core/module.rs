//! What a module is: a manifest that states everything before anything starts, and the verbs it answers to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use waxwing_storage::{Database, Migrations, StorageError};
use waxwing_xml::Element;
use xmpp_parsers::disco::{DiscoInfoResult, Item};

use crate::address::{BareJid, DomainPart};
use crate::answers::{Answer, Request, Topic};
use crate::commands::{Command, Order, Step};
pub use crate::config::SettingsDescription;
use crate::config::{Config, ConfigError};
use crate::contracts::{Contract, Contracts};
use crate::directory::Directory;
use crate::events::{Event, Happening};
use crate::host::Host;
use crate::house::House;
use crate::http::Route;
use crate::metrics::{Counter, Gauge, Histogram};
use crate::parcel::{Origin, Parcel};
use crate::questions::Unanswered;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::stages::{Pass, Stage, Standing};
use crate::stanza::Stanza;
use crate::stream_error::StreamError;

/// How much of a specification a module carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xep {
    /// The number of the XEP.
    pub number: u16,
    /// The version that was read, as the document gives it.
    pub version: &'static str,
    /// Whether all of it that concerns a server is carried.
    pub complete: bool,
    /// What is left out, or what is worth knowing; empty when nothing is.
    pub note: &'static str,
}

impl Xep {
    /// All of a XEP that concerns a server.
    pub const fn complete(number: u16, version: &'static str) -> Xep {
        Xep { number, version, complete: true, note: "" }
    }

    /// A part of a XEP, and which.
    pub const fn partial(number: u16, version: &'static str, note: &'static str) -> Xep {
        Xep { number, version, complete: false, note }
    }
}

/// Who advertises a feature in service discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entity {
    /// The host's own address.
    Host,
    /// The bare address of each account.
    Account,
}

/// What an entity is, in service discovery: a category and a type of the registry of identities (XEP-0030 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The category, such as `pubsub`.
    pub category: &'static str,
    /// The type within the category, such as `pep`.
    pub kind: &'static str,
}

/// A first-level element of a stream that is not a stanza (stream management, client state …).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamElement {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// When stream features are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Encrypted, beside the SASL mechanisms.
    Authenticating,
    /// Authenticated, beside resource binding.
    Binding,
}

/// What a module is and touches: plain data, readable before anything starts.
#[derive(Clone, Copy)]
pub struct Manifest {
    /// The name of its folder and of its table in the configuration.
    pub name: &'static str,
    /// One sentence for the module table.
    pub summary: &'static str,
    /// The specifications it carries.
    pub xeps: &'static [Xep],
    /// The features it advertises, and where.
    pub features: &'static [(Entity, &'static str)],
    /// What it makes of an entity, beside what the entity is anyway.
    pub identities: &'static [(Entity, Identity)],
    /// The namespaces of IQs it answers; one owner each.
    pub answers: &'static [Topic],
    /// The commands that people can run with their clients; one owner each.
    pub commands: &'static [Command],
    /// The stages it stands at.
    pub stages: &'static [Standing],
    /// The elements of a stream it takes.
    pub stream: &'static [StreamElement],
    /// The events it hears.
    pub hears: &'static [Happening],
    /// The contracts it offers; one provider each.
    pub offers: &'static [Contract],
    /// The contracts it cannot do without; their providers start before it.
    pub needs: &'static [Contract],
    /// The contracts it uses when they are there; their providers start before it.
    pub likes: &'static [Contract],
    /// Its tables.
    pub migrations: Option<Migrations>,
    /// The keys of its table in the configuration, with their texts and defaults.
    pub settings: Option<fn() -> SettingsDescription>,
    /// Whether it runs when the configuration does not name it.
    pub on_by_default: bool,
}

impl Manifest {
    /// A manifest that states nothing: the rest of a module's own.
    pub const EMPTY: Manifest = Manifest {
        name: "",
        summary: "",
        xeps: &[],
        features: &[],
        identities: &[],
        answers: &[],
        commands: &[],
        stages: &[],
        stream: &[],
        hears: &[],
        offers: &[],
        needs: &[],
        likes: &[],
        migrations: None,
        settings: None,
        on_by_default: true,
    };
}

/// The verbs. A module writes those its manifest names; the others are never called.
#[async_trait]
pub trait Module: Send + Sync + 'static {
    /// Answers an IQ of type get or set on one of its topics.
    ///
    /// With [`Scope::Account`](crate::answers::Scope::Account) the account may not exist: then it is asked by somebody who
    /// is not its owner, and what comes back tells him nothing but the refusal that any stranger gets (security row S25).
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let _ = request;
        Err(Refusal::service_unavailable())
    }

    /// Carries out a step of one of its commands, for somebody who may run it.
    ///
    /// # Errors
    /// Why the step is not taken; the command stays where it is.
    async fn command(&self, order: Order<'_>) -> Result<Step, Refusal> {
        let _ = order;
        Err(Refusal::feature_not_implemented())
    }

    /// Looks at a parcel at one of its stages.
    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let _ = (stage, parcel);
        Ok(Pass::Onward)
    }

    /// Takes a parcel for a domain of its own: a room, a node, a component.
    async fn receive(&self, parcel: Parcel) -> Result<(), Refusal> {
        let _ = parcel;
        Err(Refusal::service_unavailable())
    }

    /// Takes one of its stream elements from a bound client. A stream error ends the stream.
    async fn stream(&self, session: &Arc<Session>, element: Element) -> Result<(), StreamError> {
        let _ = (session, element);
        Ok(())
    }

    /// Hears an event it has asked for.
    async fn hear(&self, event: &Event) {
        let _ = event;
    }

    /// The stream features it offers now, each one complete element with its namespace.
    fn stream_features(&self, phase: Phase) -> Vec<Bytes> {
        let _ = phase;
        Vec::new()
    }

    /// Features beyond the manifest's that depend on its settings, for service discovery.
    fn more_features(&self, of: Entity) -> Vec<String> {
        let _ = of;
        Vec::new()
    }

    /// What a node of the host or of an account is (`disco#info`), asked of every module until one knows the node; `node`
    /// is never empty. Who asks is allowed to see the account.
    ///
    /// # Errors
    /// Why it is not told, when the node is the module's.
    async fn describe(&self, node: &str, request: Request<'_>) -> Result<Option<DiscoInfoResult>, Refusal> {
        let _ = (node, request);
        Ok(None)
    }

    /// What there is below a node (`disco#items`), asked of every module until one knows the node; with an empty `node`,
    /// below the host or the account itself: then what all modules tell is one list. At most 100 items.
    ///
    /// # Errors
    /// Why it is not told, when the node is the module's.
    async fn list(&self, node: &str, request: Request<'_>) -> Result<Option<Vec<Item>>, Refusal> {
        let _ = (node, request);
        Ok(None)
    }
}

/// Why a module could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its settings cannot be read.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// Its tables cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Anything else, in one clear line.
    #[error("{0}")]
    Other(String),
}

/// What a starting module gives back.
pub type Started = BoxFuture<'static, Result<Arc<dyn Module>, StartError>>;

/// A module as the assembly lists it.
#[derive(Clone, Copy)]
pub struct Plan {
    /// What it states.
    pub manifest: &'static Manifest,
    /// Starts it for one host.
    pub start: fn(Context) -> Started,
}

/// What a module may touch: its host, its settings, and the rest of the house through the hall.
#[derive(Clone)]
pub struct Context {
    host: Arc<Host>,
    module: &'static str,
}

impl Context {
    pub(crate) fn new(host: Arc<Host>, module: &'static str) -> Context {
        Context { host, module }
    }

    /// The host this instance serves.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The whole house.
    pub fn house(&self) -> &Arc<House> {
        self.host.house()
    }

    /// The host's domain.
    pub fn domain(&self) -> &DomainPart {
        self.host.domain()
    }

    /// The operator's decisions.
    pub fn config(&self) -> Arc<Config> {
        self.house().config()
    }

    /// The module's own settings on this host.
    ///
    /// # Errors
    /// What is wrong in the configuration, and where.
    pub fn settings<T: DeserializeOwned + Default>(&self) -> Result<T, ConfigError> {
        self.config().module(self.host.domain().as_str(), self.module)
    }

    /// The database.
    pub fn database(&self) -> &Database {
        self.house().database()
    }

    /// Who is online.
    pub fn directory(&self) -> &Directory {
        self.house().directory()
    }

    /// What other modules of this host can be asked for.
    pub fn contracts(&self) -> &Contracts {
        self.host.contracts()
    }

    /// Serves `label.host` (or, with a dot in it, exactly that domain): parcels for it come to [`Module::receive`].
    ///
    /// # Errors
    /// When it is not a domain, or another module or host has it.
    pub fn serve(&self, domain: &str) -> Result<DomainPart, StartError> {
        self.host.serve(domain, self.module)
    }

    /// Serves a path of the web on this host.
    ///
    /// # Errors
    /// When the path is taken.
    pub fn route(&self, route: Route) -> Result<(), StartError> {
        let path = route.path.clone();
        match self.house().routes().add(self.domain(), route) {
            true => Ok(()),
            false => Err(StartError::Other(format!("{path} is served by another module"))),
        }
    }

    /// A counter of this host, by a name for the figures (`/metrics`) that begins with the module's. Keep it.
    pub fn counter(&self, name: &'static str, about: &'static str) -> Counter {
        self.house().metrics().counter(name, about, &[("host", self.domain().as_str())])
    }

    /// As [`Context::counter`], a figure that goes up and down.
    pub fn gauge(&self, name: &'static str, about: &'static str) -> Gauge {
        self.house().metrics().gauge(name, about, &[("host", self.domain().as_str())])
    }

    /// As [`Context::counter`], how long something takes, in seconds.
    pub fn seconds(&self, name: &'static str, about: &'static str) -> Histogram {
        self.house().metrics().seconds(name, about, &[("host", self.domain().as_str())])
    }

    /// A peer has reached a limit of the configuration: this key of it.
    pub fn limit_hit(&self, limit: &'static str) {
        self.house().metrics().limit_hit(limit);
    }

    /// Sends a stanza of the server's own. It begins at the router; refusals of IQs and messages come back to `from`.
    pub async fn send(&self, stanza: Stanza) {
        self.house().send(Parcel::new(stanza, Origin::House)).await;
    }

    /// Whether somebody may run the commands of the host, by the operator's configuration (`hosts.operators`) as it is now.
    pub fn is_operator(&self, who: &BareJid) -> bool {
        self.config().host(self.domain().as_str()).is_some_and(|host| host.operators.contains(who))
    }

    /// Asks somebody: an IQ of type get or set, from the host itself or the bare address of one of its accounts. Gives back
    /// the result or the error that came from the very address that was asked.
    ///
    /// # Errors
    /// Why there is none. Nothing was asked when too many questions are open.
    pub async fn ask(&self, question: Stanza, patience: Duration) -> Result<Stanza, Unanswered> {
        let most = self.config().limits.open_questions.get();
        let waiting = self.host.questions().enter(&question, most)?;
        waiting.answer(self.send(question), patience).await
    }

    /// Tells an event to everyone on this host who hears it.
    pub async fn tell(&self, event: Event) {
        self.host.tell(event).await;
    }

    /// Whether the account exists on this host. An account that is online does.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn account_exists(&self, account: &BareJid) -> Result<bool, StorageError> {
        self.host.account_exists(account).await
    }

    /// Runs `work` every `period` until the house is shut down. One run at a time.
    pub fn every<F>(&self, period: Duration, work: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stopped = self.house().stopped();
        self.house().tasks().spawn(async move {
            let mut ticks = tokio::time::interval(period.max(Duration::from_millis(10)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    _ = ticks.tick() => work().await,
                }
            }
        });
    }
}

/// Who asks before a login, for topics with [`crate::answers::Scope::Stranger`].
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// Where the connection comes from.
    pub peer: Option<IpAddr>,
}

/// The plans of an assembly by their names.
pub fn by_name(plans: &[Plan]) -> HashMap<&'static str, Plan> {
    plans.iter().map(|plan| (plan.manifest.name, *plan)).collect()
}
