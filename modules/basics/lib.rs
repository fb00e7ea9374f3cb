//! The small questions every client asks: ping (XEP-0199), version (0092), time (0202) and last activity (0012).

mod last;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::Jid;
use waxwing_core::answers::{Answer, Request, Scope, Topic};
use waxwing_core::clock::{date_time, now_milliseconds};
use waxwing_core::config::SettingsDescription;
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, StartError, Xep};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_core::xml::Writer;
use xmpp_parsers::version::VersionResult;

const PING: &str = "urn:xmpp:ping";
const VERSION: &str = "jabber:iq:version";
const TIME: &str = "urn:xmpp:time";
const LAST: &str = "jabber:iq:last";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

static MANIFEST: Manifest = Manifest {
    name: "basics",
    summary: "answers pings and questions for version, time and last activity",
    xeps: &[Xep::complete(12, "2.0"), Xep::complete(92, "1.1"), Xep::complete(199, "2.0.1"), Xep::complete(202, "2.0")],
    features: &[
        (Entity::Host, PING),
        (Entity::Account, PING),
        (Entity::Host, VERSION),
        (Entity::Host, TIME),
        (Entity::Host, LAST),
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
    hears: &[Happening::SessionEnded, Happening::AccountRemoved],
    likes: &[Contract::Contacts],
    migrations: Some(last::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may decide.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Whether the server tells which version it is and on which operating system it runs. Its name it always tells.
    show_version: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { show_version: true }
    }
}

struct Basics {
    settings: Settings,
    context: Context,
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    Ok(Arc::new(Basics { settings: context.settings()?, context }))
}

#[async_trait]
impl Module for Basics {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        if request.is_set() {
            return Err(Refusal::bad_request().saying("this can be asked, not set"));
        }
        match (request.payload().namespace(), request.scope) {
            (PING, _) => Ok(Answer::Empty),
            (VERSION, _) => self.version(),
            (TIME, _) => time(now_milliseconds()),
            (LAST, Scope::Account) => self.last_activity(request).await,
            (LAST, _) => last_answer(self.context.house().uptime().as_secs(), None),
            _ => Err(Refusal::service_unavailable()),
        }
    }

    async fn hear(&self, event: &Event) {
        let database = self.context.database();
        let written = match event {
            Event::SessionEnded(session) if self.context.directory().sessions(session.account()).is_empty() => {
                last::write(database, session.account(), now_milliseconds()).await
            }
            Event::AccountRemoved(account) => last::forget(database, account).await,
            _ => Ok(()),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "basics.last_activity_not_written");
        }
    }
}

impl Basics {
    fn version(&self) -> Result<Answer, Refusal> {
        let told = |text: &str| self.settings.show_version.then(|| text.to_owned());
        let version = told(env!("CARGO_PKG_VERSION")).unwrap_or_default();
        Ok(Answer::with(&VersionResult { name: "Waxwing".to_owned(), version, os: told(std::env::consts::OS) })?)
    }

    /// XEP-0012 §4: for oneself and for contacts who may see one's presence; others learn nothing.
    async fn last_activity(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let Some(account) = request.account() else { return Err(Refusal::bad_request()) };
        if !request.is_from_owner() && !self.may_see(&account, request.from()).await? {
            return Err(Refusal::service_unavailable());
        }
        if !self.context.directory().available(&account).is_empty() {
            return last_answer(0, None);
        }
        match last::read(self.context.database(), &account).await? {
            Some(since) => {
                let seconds = now_milliseconds().saturating_sub(since).max(0) / 1000;
                last_answer(seconds.unsigned_abs(), None)
            }
            None => Err(Refusal::service_unavailable()),
        }
    }

    async fn may_see(&self, account: &waxwing_core::address::BareJid, asks: Option<&Jid>) -> Result<bool, Refusal> {
        let (Some(contacts), Some(asks)) = (self.context.contracts().contacts(), asks) else { return Ok(false) };
        let contact = contacts.contact(account, &asks.to_bare()).await?;
        Ok(contact.is_some_and(|contact| contact.subscription.contact_sees_account()))
    }
}

fn last_answer(seconds: u64, status: Option<&str>) -> Result<Answer, Refusal> {
    let mut writer = Writer::new();
    writer.open("query").attribute("xmlns", LAST).attribute("seconds", &seconds.to_string());
    writer.text(status.unwrap_or_default());
    Ok(Answer::Payload(element(writer.finish())?))
}

/// XEP-0202: the server lives in UTC.
fn time(now: i64) -> Result<Answer, Refusal> {
    let mut writer = Writer::new();
    writer.open("time").attribute("xmlns", TIME);
    writer.open("tzo").text("+00:00").close();
    writer.open("utc").text(&date_time(now)).close();
    Ok(Answer::Payload(element(writer.finish())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(answer: Result<Answer, Refusal>) -> String {
        match answer.unwrap() {
            Answer::Payload(payload) => String::from_utf8(payload.as_bytes().to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn time_is_told_as_xep_0202_shows_it() {
        let told = payload(time(1_795_351_919_123));
        assert_eq!(told, "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>2026-11-22T12:51:59.123Z</utc></time>");
    }

    #[test]
    fn last_activity_is_told_in_seconds() {
        assert_eq!(payload(last_answer(903, None)), "<query xmlns='jabber:iq:last' seconds='903'/>");
    }
}
