//! Contacts on other servers: asked what they want to hear of, told of changes and of what they have missed (XEP-0163 §4.3).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::contracts::{Contact, Contacts, Contract, Federation, Nodes, Subscription};
use waxwing_core::house::House;
use waxwing_core::module::{Context, Manifest, Module, Plan};
use waxwing_core::nodes::Audience;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::StorageError;
use waxwing_core::testing::{EVERYONE, assemble};

/// Romeo of another server may see everybody.
struct Romeo;

#[async_trait]
impl Contacts for Romeo {
    async fn contacts(&self, _: &BareJid) -> Result<Arc<[Contact]>, StorageError> {
        let jid = BareJid::new("romeo@montague.lit").unwrap();
        Ok(Arc::from([Contact { jid, subscription: Subscription::Both, groups: Vec::new() }]))
    }
    async fn contact(&self, account: &BareJid, contact: &BareJid) -> Result<Option<Contact>, StorageError> {
        Ok(self.contacts(account).await?.iter().find(|known| known.jid == *contact).cloned())
    }
}

/// What was sent to other servers.
static SENT: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Wire;

#[async_trait]
impl Federation for Wire {
    async fn send(&self, parcel: Parcel) -> Result<(), Refusal> {
        SENT.lock().push(String::from_utf8_lossy(&parcel.stanza.to_bytes()).into_owned());
        Ok(())
    }
}

struct Base;
impl Module for Base {}

static BASE: Manifest = Manifest {
    name: "base",
    offers: &[Contract::Accounts, Contract::Contacts, Contract::Federation],
    ..Manifest::EMPTY
};

fn start(context: &Context) -> Arc<dyn Module> {
    context.contracts().offer_accounts(Arc::new(EVERYONE));
    context.contracts().offer_contacts(Arc::new(Romeo));
    context.contracts().offer_federation(Arc::new(Wire));
    Arc::new(Base)
}

const BASE_PLAN: Plan = Plan { manifest: &BASE, start: |context| Box::pin(async move { Ok(start(&context)) }) };

/// Takes what was sent and holds these words; waits for it.
async fn sent(words: &[&str]) -> String {
    for _ in 0..300 {
        {
            let mut sent = SENT.lock();
            if let Some(at) = sent.iter().position(|stanza| words.iter().all(|word| stanza.contains(word))) {
                return sent.remove(at);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{words:?} was not sent, only: {:?}", SENT.lock());
}

async fn arrive(house: &Arc<House>, from: &str, xml: &str) {
    let stanza = Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap();
    let domain = DomainPart::new(from).unwrap().into_owned();
    house.send(Parcel::new(stanza, Origin::Remote(domain))).await;
}

fn attribute<'a>(stanza: &'a str, name: &str) -> &'a str {
    let rest = stanza.split(&format!(" {name}='")).nth(1).unwrap();
    rest.split('\'').next().unwrap()
}

#[tokio::test]
async fn contacts_elsewhere_are_asked_and_told() {
    let text = "[storage]\nurl = 'sqlite::memory:'\n[[hosts]]\nname = 'capulet.lit'";
    let house = assemble(text, &[BASE_PLAN, crate::PLAN]).await.unwrap();
    let nodes: Arc<dyn Nodes> = house.hosts()[0].contracts().nodes().unwrap().clone();
    let juliet = BareJid::new("juliet@capulet.lit").unwrap();
    let publish = async |word: &str, audience| {
        let payload = element(format!("<mood xmlns='urn:mood'>{word}</mood>")).unwrap();
        let node = if audience == Audience::Owner { "urn:secret" } else { "urn:mood" };
        nodes.publish(&juliet, node, vec![("1".into(), payload)], audience).await.unwrap();
    };
    publish("calm", Audience::Contacts).await;
    // He comes online, and a stranger of the same server does; he is asked, by his full address.
    let presence = |name: &str| {
        format!(
            "<presence from='{name}@montague.lit/orchard' to='juliet@capulet.lit'><c xmlns='http://jabber.org/protocol/caps' \
             hash='md5' node='urn:test' ver='1'/></presence>"
        )
    };
    arrive(&house, "montague.lit", &presence("paris")).await;
    arrive(&house, "montague.lit", &presence("romeo")).await;
    let question = sent(&["disco#info", "to='romeo@montague.lit/orchard'", "from='juliet@capulet.lit'"]).await;
    let answer = |from: &str| {
        format!(
            "<iq type='result' id='{}' from='{from}' to='juliet@capulet.lit'>\
             <query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:mood+notify'/>\
             <feature var='urn:secret+notify'/></query></iq>",
            attribute(&question, "id")
        )
    };
    // Somebody else's answer is none.
    arrive(&house, "evil.lit", &answer("romeo@evil.lit/orchard")).await;
    arrive(&house, "montague.lit", &answer("paris@montague.lit/orchard")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(SENT.lock().is_empty(), "{:?}", SENT.lock());
    arrive(&house, "montague.lit", &answer("romeo@montague.lit/orchard")).await;
    let last = sent(&["calm", "to='romeo@montague.lit/orchard'", "urn:xmpp:delay"]).await;
    assert!(last.contains("type='headline'") && last.contains("from='juliet@capulet.lit'"), "{last}");
    // From now on he hears of changes, but not of what is hers alone; the same presence again brings nothing.
    publish("secret", Audience::Owner).await;
    arrive(&house, "montague.lit", &presence("romeo")).await;
    publish("glad", Audience::Contacts).await;
    let event = sent(&["glad"]).await;
    assert!(event.contains("to='romeo@montague.lit/orchard'") && !event.contains("urn:xmpp:delay"), "{event}");
    arrive(
        &house,
        "montague.lit",
        "<presence type='unavailable' from='romeo@montague.lit/orchard' to='juliet@capulet.lit'/>",
    )
    .await;
    publish("sad", Audience::Contacts).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(SENT.lock().is_empty(), "{:?}", SENT.lock());
    house.shut_down(Duration::from_secs(5)).await;
}
