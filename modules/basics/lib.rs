//! The small questions everyone may ask a server: are you there (XEP-0199), what are you (XEP-0092), what is the time
//! (XEP-0202), and how long has somebody been away (XEP-0012).
//!
//! In the assembly it stands before `presence`, which takes what a client says to everyone when it goes: what it says
//! then is the last of an account's status.

mod last;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Scope, Topic};
use waxwing_core::clock::{date_time, now_milliseconds};
use waxwing_core::contracts::{Contact, Contract};
use waxwing_core::events::{Event, Happening};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::element;
use waxwing_core::storage::{GroupCommit, GroupCommitSettings, StorageError};
use waxwing_core::xml::Writer;

use store::{Ended, Store};

const PING: &str = "urn:xmpp:ping";
const VERSION: &str = "jabber:iq:version";
const TIME: &str = "urn:xmpp:time";
const LAST: &str = "jabber:iq:last";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "basics",
    summary: "answers pings and questions for version, time and last activity",
    xeps: &[
        Xep::complete(12, "2.0"),
        Xep::complete(92, "1.1"),
        Xep::partial(199, "2.0.1", "the answers; questions to silent clients are the streams' business"),
        Xep::complete(202, "2.0"),
    ],
    features: &[
        (Entity::Host, PING),
        (Entity::Host, VERSION),
        (Entity::Host, TIME),
        (Entity::Host, LAST),
        (Entity::Account, PING),
        (Entity::Account, LAST),
    ],
    answers: &[
        Topic::host(PING),
        Topic::account(PING),
        Topic::host(VERSION),
        Topic::host(TIME),
        Topic::host(LAST),
        Topic::account(LAST),
    ],
    stages: &[Standing::presence(Stage::SettleSent), Standing::iqs(Stage::Guard)],
    hears: &[Happening::SessionEnded, Happening::AccountRemoved],
    likes: &[Contract::Contacts],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether everyone who asks is told which version of Waxwing runs here.
    pub show_version: bool,
    /// Whether everyone who asks is told which operating system it runs on.
    pub show_system: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { show_version: true, show_system: false }
    }
}

/// The end of a session does not wait longer for the database.
const PATIENCE: Duration = Duration::from_secs(2);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let store = Store(context.database().clone());
    let how = GroupCommitSettings { patience: PATIENCE, ..GroupCommitSettings::default() };
    let ends = GroupCommit::start(context.database().clone(), &how, Ended::batch());
    Ok(Arc::new(Basics { context, settings, store, ends }))
}

/// The small answers of one host.
struct Basics {
    context: Context,
    settings: Settings,
    store: Store,
    ends: GroupCommit<Ended>,
}

#[async_trait]
impl Module for Basics {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        if request.scope == Scope::Account {
            self.admit(&request).await?;
        }
        if request.is_set() {
            return Err(Refusal::not_allowed().saying("this is asked for, not set"));
        }
        let payload = request.payload();
        let expected = match payload.namespace() {
            PING => "ping",
            TIME => "time",
            _ => "query",
        };
        if payload.name() != expected {
            return Err(Refusal::bad_request().saying(format!("the question is <{expected}/>")));
        }
        match payload.namespace() {
            PING => Ok(Answer::Empty),
            VERSION => Ok(Answer::Payload(element(version(&self.settings).finish())?)),
            TIME => Ok(Answer::Payload(element(time(now_milliseconds()).finish())?)),
            _ => self.answer_last(&request).await,
        }
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match stage {
            Stage::SettleSent => Ok(last::note_status(parcel)),
            _ => self.guard_devices(parcel).await,
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::SessionEnded(session) => self.note_end(session).await,
            Event::AccountRemoved(account) => self.forget(account).await,
            _ => {}
        }
    }
}

impl Basics {
    /// Whether somebody may ask an account: itself, and those who may see its presence (XEP-0012 §8).
    ///
    /// # Errors
    /// See [`refusal`].
    async fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let (Some(account), Some(asker)) = (request.account(), request.from().map(Jid::to_bare)) else {
            return if request.is_from_owner() { Ok(()) } else { Err(Refusal::service_unavailable()) };
        };
        self.admit_asker(&account, &asker, request.payload().namespace()).await
    }

    async fn admit_asker(&self, account: &BareJid, asker: &BareJid, namespace: &str) -> Result<(), Refusal> {
        if asker == account {
            return Ok(());
        }
        let contact = self.contact(account, asker).await?;
        match contact {
            Some(contact) if contact.subscription.contact_sees_account() => Ok(()),
            contact => Err(refusal(contact.is_some(), namespace)),
        }
    }

    async fn contact(&self, account: &BareJid, contact: &BareJid) -> Result<Option<Contact>, StorageError> {
        match self.context.contracts().contacts() {
            Some(contacts) => contacts.contact(account, contact).await,
            None => Ok(None),
        }
    }
}

/// What somebody is told who may not ask. XEP-0012 §3 wants `forbidden`, which tells that the account exists: only those
/// hear it whom the account has on its roster. For everyone else there is no difference to an account that does not
/// exist (security row S25).
fn refusal(is_contact: bool, namespace: &str) -> Refusal {
    if is_contact && namespace == LAST { Refusal::forbidden() } else { Refusal::service_unavailable() }
}

/// XEP-0092 §3.
fn version(settings: &Settings) -> Writer {
    let mut writer = Writer::new();
    writer.open("query").attribute("xmlns", VERSION);
    writer.open("name").text("Waxwing").close();
    let version = if settings.show_version { env!("CARGO_PKG_VERSION") } else { "" };
    writer.open("version").text(version).close();
    if settings.show_system {
        writer.open("os").text(std::env::consts::OS).close();
    }
    writer
}

/// XEP-0202 §3. A server is nowhere: its time is that of Greenwich.
fn time(milliseconds: i64) -> Writer {
    let mut writer = Writer::new();
    writer.open("time").attribute("xmlns", TIME);
    writer.open("tzo").text("+00:00").close();
    writer.open("utc").text(&date_time(milliseconds)).close();
    writer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut writer: Writer) -> String {
        String::from_utf8(writer.finish().to_vec()).unwrap()
    }

    #[test]
    fn the_operator_decides_what_is_told_of_the_software() {
        let told = |show_version, show_system| written(version(&Settings { show_version, show_system }));
        let (number, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS);
        let start = "<query xmlns='jabber:iq:version'><name>Waxwing</name>";
        assert_eq!(told(true, true), format!("{start}<version>{number}</version><os>{system}</os></query>"));
        assert_eq!(told(false, false), format!("{start}<version/></query>"));
        assert_eq!(written(version(&Settings::default())), format!("{start}<version>{number}</version></query>"));
    }

    #[test]
    fn the_time_is_written_as_the_xep_wants() {
        assert_eq!(
            written(time(1_795_351_919_123)),
            "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>2026-11-22T12:51:59.123Z</utc></time>"
        );
    }

    #[test]
    fn s25_only_a_contact_learns_that_the_account_exists() {
        assert_eq!(refusal(true, LAST), Refusal::forbidden());
        for other in [refusal(false, LAST), refusal(false, PING), refusal(true, PING)] {
            assert_eq!(other, Refusal::service_unavailable());
        }
    }
}
