//! UnifiedPush: what an application's server posts to an address reaches the application through the user's XMPP client,
//! by the protocol that Conversations and `up` speak. The addresses are push resources of RFC 8030 §5.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use waxwing_core::address::{DomainPart, FullJid, Jid};
use waxwing_core::clock::{date_time, now_milliseconds};
use waxwing_core::module::Context;
use waxwing_core::namespaces::STANZA_ERRORS;
use waxwing_core::random;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, Stanza, StanzaType, element};
use waxwing_core::xml::{Child, Element, Writer};

use crate::commands::{is_digest, to_base64};
use crate::counters::Counters;
use crate::protocol::UNIFIED_PUSH;
use crate::rates::Rates;
use crate::settings;
use crate::store::{Bounded, Endpoint, Store};

/// A client that comes back is given so many at once; the rest waits for the next time.
const MOST_AT_ONCE: u32 = 200;
/// The ids of questions about what is kept begin with this, followed by its number.
const KEPT: &str = "up-";
/// The longest `Topic` (RFC 8030 §5.4).
const LONGEST_TOPIC: usize = 32;

/// The distributor's server.
pub struct UnifiedPush {
    context: Context,
    gateway: DomainPart,
    url: String,
    store: Store,
    settings: settings::UnifiedPush,
    most: usize,
    rates: Rates,
    counters: Arc<Counters>,
    /// Requests that wait for the answer of a client, by the ids of our questions.
    asked: Mutex<HashMap<Box<str>, Asked>>,
    /// How many requests may wait.
    most_asked: usize,
}

/// Who was asked, and who waits for the answer.
type Asked = (FullJid, oneshot::Sender<Told>);

/// What a client says about a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The application has it.
    Got,
    /// There is no such application.
    Revoked,
    /// Not now.
    Away,
}

/// What a sender asks for beside the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// How long it may be kept, in seconds (RFC 8030 §5.2).
    pub seconds: Option<u64>,
    /// What it replaces (§5.4).
    pub topic: Option<String>,
}

/// What a sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is taken, and kept at most so many seconds.
    Taken(u64),
    /// There is nothing in it, or a header is wrong.
    Bad,
    /// There is no such address, or not any more.
    NoAddress,
    /// It is too large.
    TooLarge,
    /// Too much comes; again after this time.
    TooMuch(Duration),
    /// It cannot be kept at the moment.
    Unavailable,
}

impl UnifiedPush {
    /// A server for the clients of a gateway.
    pub fn new(
        context: Context,
        gateway: DomainPart,
        store: Store,
        counters: Arc<Counters>,
        all: &settings::Settings,
    ) -> UnifiedPush {
        let settings = all.unified_push.clone();
        let url = match settings.url.as_str() {
            "" => format!("https://{}{PATH}/", context.domain()),
            url if url.ends_with('/') => url.to_owned(),
            url => format!("{url}/"),
        };
        UnifiedPush {
            context,
            gateway,
            url,
            store,
            most: all.registrations_per_account.get(),
            rates: Rates::new(settings.rate),
            settings,
            counters,
            asked: Mutex::default(),
            most_asked: all.waiting.get(),
        }
    }

    /// How large a notification may be, in bytes.
    pub fn most_bytes(&self) -> usize {
        self.settings.size.get()
    }

    /// Answers `<register/>`: opens an address for an application, or renews it.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn register(&self, register: Child<'_>, client: &Jid) -> Result<Element, Refusal> {
        let (client, application, instance) = read(register, client)?;
        let lasts = i64::try_from(self.settings.expires.get().as_millis()).unwrap_or(i64::MAX);
        let expires = now_milliseconds().saturating_add(lasts.min(FAR_AWAY));
        let token = URL_SAFE_NO_PAD.encode(random::bytes::<32>());
        let endpoint = Endpoint { token, client, application, instance, expires };
        let Bounded::Done(token) = self.store.open(&endpoint, self.most).await? else {
            let text = format!("an account has {} addresses for applications at most", self.most);
            return Err(Refusal::resource_constraint().saying(text));
        };
        let mut writer = Writer::with_capacity(256);
        writer.open("registered").attribute("xmlns", UNIFIED_PUSH);
        writer.attribute("endpoint", &format!("{}{token}", self.url)).attribute("expiration", &date_time(expires));
        writer.close();
        Ok(element(writer.finish())?)
    }

    /// Answers `<unregister/>`: closes the address of an application.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn unregister(&self, unregister: Child<'_>, client: &Jid) -> Result<(), Refusal> {
        let (client, application, instance) = read(unregister, client)?;
        match self.store.close_own(&client, &application, &instance).await? {
            true => Ok(()),
            false => Err(Refusal::item_not_found().saying("there is no such registration")),
        }
    }

    /// Takes what a sender has posted. What may be kept is stored before anything else happens.
    pub async fn take(&self, token: &str, content: &[u8], wishes: &Wishes) -> Answer {
        let now = now_milliseconds();
        if content.is_empty() || wishes.topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return Answer::Bad;
        }
        if !self.settings.size.allows(content.len()) {
            return Answer::TooLarge;
        }
        let endpoint = match self.store.endpoint(token, now).await {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return Answer::NoAddress,
            Err(error) => return unavailable(&error),
        };
        if let Err(wait) = self.rates.take(token, Instant::now()) {
            return Answer::TooMuch(wait);
        }
        self.counters.left.inc();
        let longest = if self.settings.kept.get() == 0 { 0 } else { self.settings.kept_for.get().as_secs() };
        let seconds = wishes.seconds.unwrap_or(longest).min(longest);
        let id = match seconds {
            0 => random::token(),
            seconds => {
                let number = self.context.house().ids().next();
                let expires = now.saturating_add(i64::try_from(seconds).unwrap_or(FAR_AWAY).saturating_mul(1000));
                let topic = wishes.topic.as_deref().unwrap_or_default();
                let kept =
                    self.store.keep(&endpoint, number, topic, content, (now, expires), self.settings.kept.get()).await;
                match kept {
                    Ok(Bounded::Done(())) => format!("{KEPT}{number}"),
                    Ok(Bounded::TooMany) => return Answer::TooMuch(Duration::from_secs(60)),
                    Err(error) => return unavailable(&error),
                }
            }
        };
        match self.tell(&endpoint, id, content).await {
            Told::Revoked if seconds == 0 => {
                if let Err(error) = self.store.close(token).await {
                    return unavailable(&error);
                }
                Answer::NoAddress
            }
            // What is kept was settled when the client's answer was heard.
            Told::Revoked => Answer::NoAddress,
            Told::Got | Told::Away => Answer::Taken(seconds),
        }
    }

    /// Tells a client, if it is there, and waits for its answer.
    async fn tell(&self, endpoint: &Endpoint, id: String, content: &[u8]) -> Told {
        let client = &endpoint.client;
        let is_ours = self.context.house().host(client.domain()).is_some();
        if is_ours && self.context.directory().session(client).is_none() {
            return Told::Away;
        }
        let Some(stanza) = self.question(client, &id, &endpoint.application, &endpoint.instance, content) else {
            return Told::Away;
        };
        let (answered, answer) = oneshot::channel();
        {
            let mut asked = self.asked.lock();
            if asked.len() >= self.most_asked {
                return Told::Away;
            }
            asked.insert(id.as_str().into(), (client.clone(), answered));
        }
        self.context.send(stanza).await;
        let told = tokio::time::timeout(self.settings.timeout.get(), answer).await;
        self.asked.lock().remove(id.as_str());
        match told {
            Ok(Ok(told)) => told,
            // It will answer later, or hear of it again when it comes back.
            Ok(Err(_)) | Err(_) => Told::Away,
        }
    }

    /// A client has answered one of our questions. When this returns, the answer is stored.
    ///
    /// # Errors
    /// When storage does not answer; then the client hears of it again.
    pub async fn heard(&self, answer: &Stanza) -> Result<(), Refusal> {
        let (Some(id), Some(Ok(client))) = (answer.id.as_deref(), answer.from.clone().map(Jid::try_into_full)) else {
            return Ok(());
        };
        let told = read_answer(answer);
        if let Some(number) = id.strip_prefix(KEPT).and_then(|number| number.parse().ok()) {
            match told {
                Told::Got => {
                    if self.store.given(number, &client).await? {
                        self.counters.told.inc();
                    }
                }
                Told::Revoked => self.store.revoke(number, &client).await?,
                Told::Away => {}
            }
        }
        let mut asked = self.asked.lock();
        if asked.get(id).is_some_and(|(of, _)| *of == client)
            && let Some((_, waits)) = asked.remove(id)
        {
            // Whoever has waited may have gone.
            let _ = waits.send(told);
        }
        Ok(())
    }

    /// A client is back: it is told what waits for it.
    pub async fn welcome(&self, client: &FullJid) {
        let waiting = match self.store.waiting(client, now_milliseconds(), MOST_AT_ONCE).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%error, "push_gateway.waiting_not_read");
                return;
            }
        };
        for waits in waiting {
            let id = format!("{KEPT}{}", waits.id);
            if let Some(stanza) = self.question(client, &id, &waits.application, &waits.instance, &waits.content) {
                self.context.send(stanza).await;
            }
        }
    }

    fn question(
        &self,
        client: &FullJid,
        id: &str,
        application: &str,
        instance: &str,
        content: &[u8],
    ) -> Option<Stanza> {
        let mut writer = Writer::with_capacity(256 + content.len() * 4 / 3);
        writer.open("push").attribute("xmlns", UNIFIED_PUSH);
        writer.attribute("application", application).attribute("instance", instance);
        writer.text(&to_base64(content)).close();
        let push = element(writer.finish()).ok()?;
        let from = Jid::from_parts(None, &self.gateway, None);
        Some(Stanza::iq(IqType::Set).id(id).from(from).to(client.clone()).with(push))
    }
}

/// Where the addresses are on our own web listener.
pub const PATH: &str = "/push";

/// About three hundred years, in milliseconds.
const FAR_AWAY: i64 = 10_000_000_000_000;

fn unavailable(error: &waxwing_storage::StorageError) -> Answer {
    tracing::warn!(%error, "push_gateway.not_kept");
    Answer::Unavailable
}

/// Who registers what: an application and one of its registrations, both as digests, so that neither this server nor its
/// operator learns which applications somebody has.
fn read(register: Child<'_>, client: &Jid) -> Result<(FullJid, String, String), Refusal> {
    let client = client.clone().try_into_full();
    let client = client.map_err(|_| Refusal::bad_request().saying("only a client can register"))?;
    let digest = |name: &str| {
        let value = register.attribute(name).filter(|value| is_digest(value)).map(|value| value.into_owned());
        value.ok_or_else(|| Refusal::bad_request().saying(format!("{name} is no SHA-256 digest in base64")))
    };
    Ok((client, digest("application")?, digest("instance")?))
}

fn is_topic(topic: &str) -> bool {
    (1..=LONGEST_TOPIC).contains(&topic.len())
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn read_answer(answer: &Stanza) -> Told {
    if answer.what == StanzaType::Iq(IqType::Result) {
        return Told::Got;
    }
    let error = answer.own_payload("error");
    let has = |condition| error.is_some_and(|error| error.child(STANZA_ERRORS, condition).is_some());
    if has("item-not-found") || has("feature-not-implemented") { Told::Revoked } else { Told::Away }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_clients_are_understood() {
        let read = |error: &str| {
            let xml = format!(
                "<iq id='1' type='error' from='a@b/c'><error type='cancel'>\
                 <{error} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
            );
            read_answer(&Stanza::read(element(xml).unwrap()).unwrap().unwrap())
        };
        assert_eq!(read("item-not-found"), Told::Revoked);
        assert_eq!(read("feature-not-implemented"), Told::Revoked);
        assert_eq!(read("service-unavailable"), Told::Away);
        assert_eq!(read_answer(&Stanza::iq(IqType::Result)), Told::Got);
    }

    #[test]
    fn topics_follow_rfc_8030() {
        assert!(is_topic("upd") && is_topic("aB_-9"));
        assert!(!is_topic("") && !is_topic("a b") && !is_topic(&"a".repeat(33)));
    }
}
