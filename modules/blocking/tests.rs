//! The module inside a house: two people, one of whom has had enough.

use std::io;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::address::FullJid;
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::{Contact, Contacts, Subscription};
use waxwing_core::departure::depart;
use waxwing_core::house::House;
use waxwing_core::session::Circumstances;
use waxwing_core::stanza::element;
use waxwing_core::stream_error::StreamError;
use waxwing_core::testing::Inhabitants;
use waxwing_core::wire::{Framing, Wire};

use super::*;

/// Who has an account.
const PEOPLE: Inhabitants = Inhabitants(|name| ["romeo", "juliet", "nurse", "paris"].contains(&name));

/// Romeo and Juliet see each other; the nurse and Juliet see each other.
struct Town;

#[async_trait]
impl Contacts for Town {
    async fn contacts(&self, account: &BareJid) -> Result<Arc<[Contact]>, StorageError> {
        let friends: &[&str] = match account.as_str() {
            "juliet@verona.lit" => &["romeo@verona.lit", "nurse@verona.lit"],
            _ => &["juliet@verona.lit"],
        };
        let both = |jid: &&str| Contact {
            jid: BareJid::new(jid).unwrap(),
            subscription: Subscription::Both,
            groups: Vec::new(),
        };
        Ok(friends.iter().map(both).collect())
    }
    async fn contact(&self, _: &BareJid, _: &BareJid) -> Result<Option<Contact>, StorageError> {
        Ok(None)
    }
}

/// Writes down the probes that arrive.
#[async_trait]
impl Module for Town {
    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        if parcel.stanza.what == StanzaType::Presence(PresenceType::Probe) {
            PROBES.lock().push(format!(
                "{} asks {}",
                parcel.stanza.from.as_ref().unwrap(),
                parcel.stanza.to.as_ref().unwrap()
            ));
            return Ok(Pass::Taken);
        }
        Ok(Pass::Onward)
    }
}

static PROBES: Mutex<Vec<String>> = Mutex::new(Vec::new());

static TOWN: Manifest = Manifest {
    name: "town",
    offers: &[Contract::Accounts, Contract::Contacts],
    stages: &[Standing::presence(Stage::SettleReceived)],
    ..Manifest::EMPTY
};
const TOWN_PLAN: Plan = Plan {
    manifest: &TOWN,
    start: |context| {
        Box::pin(async move {
            assert!(context.contracts().offer_accounts(Arc::new(PEOPLE)));
            assert!(context.contracts().offer_contacts(Arc::new(Town)));
            Ok(Arc::new(Town) as Arc<dyn Module>)
        })
    },
};

async fn house() -> Arc<House> {
    let known = [KnownModule::from(PLAN.manifest), KnownModule::from(&TOWN)];
    let text = "hosts = [\"verona.lit\"]\n[modules.blocking]\naddresses = 3\n[storage]\nurl = \"sqlite::memory:\"";
    let config = Config::from_text(text, &known).unwrap_or_else(|errors| panic!("{errors:?}"));
    House::assemble(Arc::new(config), &[PLAN, TOWN_PLAN]).await.unwrap()
}

#[derive(Clone, Default)]
struct Client(Arc<Mutex<String>>);

impl Wire for Client {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, elements: &[u8]) {
        self.0.lock().push_str(std::str::from_utf8(elements).unwrap());
    }
    fn poll_flush(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn close(self: Box<Self>, _: Option<StreamError>) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

struct Person {
    session: Arc<Session>,
    client: Client,
}

impl Person {
    async fn comes(house: &House, jid: &str) -> Person {
        let jid = FullJid::new(jid).unwrap();
        let client = Client::default();
        let (host, wire) = (house.host(jid.domain()).unwrap(), Box::new(client.clone()));
        let (account, resource) = (jid.to_bare(), Some(jid.resource().to_owned()));
        let opened = host.open_session(&account, resource, Circumstances::default(), wire, |_| Default::default());
        let session = opened.await.unwrap();
        let presence = element("<presence><show>chat</show></presence>".to_owned()).unwrap();
        session.set_presence(Some(Stanza::read(presence).unwrap().unwrap()));
        Person { session, client }
    }

    async fn sends(&self, xml: &str) {
        depart(&self.session, self.session.wire_number(), element(xml.to_owned()).unwrap()).await.unwrap();
    }

    /// Everything read since the last time. Whoever asks has seen to it that nothing more is under way.
    async fn reads(&self) -> String {
        let all = self.session.progress().put;
        while self.session.progress().taken < all {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::mem::take(&mut *self.client.0.lock())
    }

    /// Sends an IQ and gives back what was read then, ids of pushes left out.
    async fn asks(&self, of: &str, payload: &str) -> String {
        self.sends(&format!("<iq id='q' type='{of}'>{payload}</iq>")).await;
        let mut read = self.reads().await;
        while let Some(start) = read.find(" id='").filter(|start| !read[*start..].starts_with(" id='q'")) {
            let end = start + 5 + read[start + 5..].find('\'').unwrap() + 1;
            read.replace_range(start..end, "");
        }
        read
    }
}

const RESULT: &str = "<iq from='juliet@verona.lit' to='juliet@verona.lit/balcony' id='q' type='result'/>";

fn items(name: &str, jids: &[&str]) -> String {
    let items: String = jids.iter().map(|jid| format!("<item jid='{jid}'/>")).collect();
    format!("<{name} xmlns='urn:xmpp:blocking'>{items}</{name}>")
}

#[tokio::test]
async fn lists_are_shown_changed_and_pushed_to_whoever_has_asked() {
    let house = house().await;
    let juliet = Person::comes(&house, "juliet@verona.lit/balcony").await;
    let phone = Person::comes(&house, "juliet@verona.lit/phone").await;
    let show = "<blocklist xmlns='urn:xmpp:blocking'/>";
    let empty = RESULT.replace("/>", &format!(">{show}</iq>"));
    assert_eq!(juliet.asks("get", show).await, empty);
    let block = items("block", &["tybalt@verona.lit", "mantua.lit"]);
    let push =
        |change: &str| format!("<iq from='juliet@verona.lit' to='juliet@verona.lit/balcony' type='set'>{change}</iq>");
    let sorted = items("block", &["mantua.lit", "tybalt@verona.lit"]);
    assert_eq!(juliet.asks("set", &block).await, push(&sorted) + RESULT);
    assert_eq!(phone.reads().await, "", "the phone has not asked");
    let listed = items("blocklist", &["mantua.lit", "tybalt@verona.lit"]);
    assert_eq!(juliet.asks("get", show).await, empty.replace(show, &listed));
    let refused = juliet.asks("set", &items("block", &["a.lit", "b.lit"])).await;
    assert!(refused.contains("<policy-violation "), "{refused}");
    assert!(juliet.asks("set", &items("block", &["juliet@verona.lit"])).await.contains("<not-allowed "));
    assert!(juliet.asks("set", "<block xmlns='urn:xmpp:blocking'/>").await.contains("<bad-request "));
    let unblock = items("unblock", &["mantua.lit"]);
    assert_eq!(juliet.asks("set", &unblock).await, push(&unblock) + RESULT);
    let all = "<unblock xmlns='urn:xmpp:blocking'/>";
    assert_eq!(juliet.asks("set", all).await, push(all) + RESULT);
    assert_eq!(juliet.asks("get", show).await, empty);
    let romeo = Person::comes(&house, "romeo@verona.lit/orchard").await;
    for to in ["juliet@verona.lit", "nobody@verona.lit"] {
        romeo.sends(&format!("<iq id='1' type='get' to='{to}'>{show}</iq>")).await;
        let refused = romeo.reads().await;
        assert!(refused.contains("<service-unavailable "), "the same for everyone who is not the owner: {refused}");
    }
    house.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn c94_a_blocked_contact_sees_nobody_and_is_not_seen() {
    let house = house().await;
    let juliet = Person::comes(&house, "juliet@verona.lit/balcony").await;
    let romeo = Person::comes(&house, "romeo@verona.lit/orchard").await;
    let nurse = Person::comes(&house, "nurse@verona.lit/kitchen").await;
    juliet.asks("set", &items("block", &["romeo@verona.lit", "paris@verona.lit"])).await;
    assert_eq!(
        romeo.reads().await,
        "<presence from='juliet@verona.lit/balcony' to='romeo@verona.lit' type='unavailable'/>"
    );
    assert_eq!(nurse.reads().await, "");
    // What comes from Romeo.
    for (xml, answer) in [
        ("<message to='juliet@verona.lit' id='1' type='chat'><body>x</body></message>", "service-unavailable"),
        ("<message to='juliet@verona.lit/balcony' id='1'><body>x</body></message>", "service-unavailable"),
        ("<message to='juliet@verona.lit' id='1' type='headline'><body>x</body></message>", ""),
        ("<message to='juliet@verona.lit/balcony' id='1' type='error'/>", ""),
        ("<iq to='juliet@verona.lit/balcony' id='1' type='get'><q xmlns='urn:q'/></iq>", "service-unavailable"),
        ("<iq to='juliet@verona.lit/balcony' id='1' type='result'/>", ""),
        ("<presence to='juliet@verona.lit'/>", ""),
        ("<presence to='juliet@verona.lit' type='subscribe'/>", ""),
        ("<presence to='juliet@verona.lit' type='probe'/>", ""),
    ] {
        romeo.sends(xml).await;
        let read = romeo.reads().await;
        assert_eq!(read.is_empty(), answer.is_empty(), "{xml}: {read}");
        assert!(read.contains(answer) && !read.contains("blocked"), "{xml}: {read}");
    }
    assert_eq!(juliet.reads().await, "");
    // What goes to Romeo.
    for (xml, is_answered) in [
        ("<message to='romeo@verona.lit' id='2'><body>x</body></message>", true),
        ("<iq to='romeo@verona.lit/orchard' id='2' type='get'><q xmlns='urn:q'/></iq>", true),
        ("<presence to='romeo@verona.lit/orchard'/>", true),
        ("<iq to='romeo@verona.lit/orchard' id='2' type='result'/>", false),
    ] {
        juliet.sends(xml).await;
        let read = juliet.reads().await;
        let error = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
        assert_eq!(read.contains(error), is_answered, "{xml}: {read}");
        assert_eq!(read.contains("<blocked xmlns='urn:xmpp:blocking:errors'/>"), is_answered, "{xml}: {read}");
    }
    assert_eq!(romeo.reads().await, "");
    // Others are not affected.
    nurse.sends("<message to='juliet@verona.lit' id='3'><body>x</body></message>").await;
    assert!(juliet.reads().await.contains("from='nurse@verona.lit/kitchen'"));
    // And then she thinks better of it.
    juliet.asks("set", &items("unblock", &["romeo@verona.lit"])).await;
    assert_eq!(
        romeo.reads().await,
        "<presence from='juliet@verona.lit/balcony' to='romeo@verona.lit'><show>chat</show></presence>"
    );
    assert_eq!(*PROBES.lock(), ["juliet@verona.lit asks romeo@verona.lit"]);
    romeo.sends("<message to='juliet@verona.lit' id='4'><body>x</body></message>").await;
    assert!(juliet.reads().await.contains("id='4'"));
    house.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn s16_a_blocked_domain_does_not_cut_off_the_own_server_and_devices() {
    let house = house().await;
    let juliet = Person::comes(&house, "juliet@verona.lit/balcony").await;
    let phone = Person::comes(&house, "juliet@verona.lit/phone").await;
    let nurse = Person::comes(&house, "nurse@verona.lit/kitchen").await;
    juliet.asks("set", &items("block", &["verona.lit"])).await;
    assert!(nurse.reads().await.contains("type='unavailable'"));
    juliet.sends("<message to='juliet@verona.lit/phone' id='1'><body>x</body></message>").await;
    assert!(phone.reads().await.contains("id='1'"));
    juliet.sends("<iq to='verona.lit' id='2' type='get'><q xmlns='urn:q'/></iq>").await;
    let read = juliet.reads().await;
    assert!(read.contains("from='verona.lit'") && !read.contains("blocked"), "{read}");
    juliet.sends("<message to='nurse@verona.lit' id='3'><body>x</body></message>").await;
    assert!(juliet.reads().await.contains("<blocked "));
    let host = house.hosts()[0].clone();
    let blocking = host.contracts().blocking().unwrap();
    let (juliet, nurse) = (BareJid::new("juliet@verona.lit").unwrap(), Jid::new("nurse@verona.lit").unwrap());
    assert!(blocking.is_blocked(&juliet, &nurse).await.unwrap());
    assert!(!blocking.is_blocked(&juliet, &Jid::new("verona.lit").unwrap()).await.unwrap());
    host.tell(Event::AccountRemoved(juliet.clone())).await;
    assert!(!blocking.is_blocked(&juliet, &nurse).await.unwrap(), "nothing outlives its account");
    house.shut_down(Duration::from_secs(1)).await;
}
