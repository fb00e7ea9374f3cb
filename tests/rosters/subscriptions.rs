//! Requests to see somebody, and their answers (RFC 6121 §3).

use waxwing_testkit::{Element, RawClient};

use crate::common::SERVER;
use crate::pair::{Inward, Outward, Pair, State, block, say, say_unheard};

/// Asks for the roster, so that changes of it are pushed.
async fn ask(client: &mut RawClient) {
    client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await;
    client.drain().await;
}

/// The push of an item with these attributes.
fn push(to: &str, contact: &str, item: &str) -> String {
    format!(
        "<iq type='set' id='{{any}}' to='{{{to}}}'><query xmlns='jabber:iq:roster' ver='{{any}}'>\
         <item jid='{{{contact}}}' {item}/></query></iq>"
    )
}

fn requests(came: &[Element]) -> Vec<&Element> {
    came.iter().filter(|stanza| stanza.attribute("type") == Some("subscribe")).collect()
}

#[tokio::test]
async fn c82_a_subscription_is_between_accounts() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut other = scene.online("juliet/chamber").await;
    juliet.drain().await;
    let mut romeo = scene.session("romeo/orchard").await;
    ask(&mut romeo).await;
    romeo
        .send("<presence type='subscribe' to='{juliet/balcony}' from='{romeo/orchard}' id='s1'><status>It is me</status></presence>")
        .await;
    let request =
        "<presence type='subscribe' from='{romeo}' to='{juliet}' id='s1'><status>It is me</status></presence>";
    juliet.expect(request).await;
    other.expect(request).await;
    romeo.expect(push("romeo/orchard", "juliet", "subscription='none' ask='subscribe'")).await;
    juliet.send("<presence type='subscribed' to='{romeo/orchard}' id='s2'/>").await;
    romeo.expect("<presence type='subscribed' from='{juliet}' to='{romeo}' id='s2'/>").await;
    romeo.expect(push("romeo/orchard", "juliet", "subscription='to'")).await;
    // He has not come online, so her presence is not for him yet.
    romeo.barrier().await;
}

#[tokio::test]
async fn c83_a_request_waits_until_it_is_answered() {
    let scene = SERVER.scene().await;
    scene.account("juliet").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let content = "<status xml:lang='de'>Ich bin's</status><nick xmlns='http://jabber.org/protocol/nick'>Romeo</nick>\
                   <x xmlns='urn:x' a='1'><y>z</y></x>";
    romeo.send(format!("<presence type='subscribe' to='{{juliet}}' id='s1' xml:lang='en'>{content}</presence>")).await;
    // Twice more, with and without content of their own: still one request.
    romeo.send("<presence type='subscribe' to='{juliet}' id='s2'/>").await;
    romeo.send("<presence type='subscribe' to='{juliet}' id='s3'><status>again</status></presence>").await;
    romeo.barrier().await;
    let whole = format!(
        "<presence type='subscribe' from='{{romeo}}' to='{{juliet}}' id='s1' xml:lang='en'>{content}</presence>"
    );
    for _ in 0..3 {
        let mut juliet = scene.session("juliet/balcony").await;
        juliet.barrier().await;
        juliet.send("<presence/>").await;
        juliet.expect("<presence from='{juliet/balcony}' to='{juliet}'/>").await;
        juliet.expect(&whole).await;
        // Once a login, not with every presence.
        juliet.send("<presence><show>away</show></presence>").await;
        juliet.expect("<presence from='{juliet/balcony}' to='{juliet}'><show>away</show></presence>").await;
        juliet.barrier().await;
    }
    for (answer, resource) in [("subscribed", "juliet/balcony"), ("unsubscribed", "juliet/chamber")] {
        let mut juliet = scene.session(resource).await;
        juliet.send(format!("<presence type='{answer}' to='{{romeo}}'/>")).await;
        juliet.barrier().await;
        let came = juliet.go_online(0).await;
        assert!(requests(&came).is_empty(), "{came:?}");
    }
}

#[tokio::test]
async fn c83_requests_of_several_people_come_in_order() {
    let scene = SERVER.scene().await;
    scene.account("juliet").await;
    for name in ["romeo", "paris", "tybalt"] {
        let mut client = scene.session(name).await;
        client.send("<presence type='subscribe' to='{juliet}'/>").await;
        client.barrier().await;
    }
    let mut juliet = scene.session("juliet/balcony").await;
    let came = juliet.go_online(0).await;
    let from: Vec<_> = requests(&came).iter().filter_map(|request| request.attribute("from")).collect();
    assert_eq!(from, [scene.jid("romeo"), scene.jid("paris"), scene.jid("tybalt")]);
}

#[tokio::test]
async fn c84_who_is_allowed_already_is_answered_by_the_server() {
    for seen in [
        State { outward: Outward::Nothing, inward: Inward::Seen },
        State { outward: Outward::Sees, inward: Inward::Seen },
    ] {
        let romeo = State {
            outward: Outward::Nothing,
            inward: if seen.outward == Outward::Sees { Inward::Seen } else { Inward::Nothing },
        };
        // Romeo's server has lost what Juliet has granted.
        let mut pair = Pair::new(romeo, seen).await;
        pair.come_online().await;
        pair.romeo.send("<presence type='subscribe' to='{juliet}'/>").await;
        pair.romeo.expect(push("romeo/orchard", "juliet", State { outward: Outward::Asked, ..romeo }.item())).await;
        pair.romeo.expect("<presence type='subscribed' from='{juliet}' to='{romeo}'/>").await;
        pair.romeo.expect(push("romeo/orchard", "juliet", State { outward: Outward::Sees, ..romeo }.item())).await;
        pair.romeo.expect("<presence from='{juliet/balcony}' to='{romeo}'/>").await;
        pair.romeo.barrier().await;
        // She is not asked again, and nothing changes for her.
        pair.juliet.barrier().await;
    }
}

#[tokio::test]
async fn c85_nobody_makes_himself_be_seen() {
    // The states in which `subscribed` comes although nobody waits for it; From is what another server takes for Both.
    for outward in [Outward::Nothing, Outward::Sees] {
        for inward in [Inward::Nothing, Inward::Pending, Inward::Seen] {
            let juliet = State { outward, inward };
            // Romeo's server believes that she has asked, so his word goes out.
            let romeo_outward = match inward {
                Inward::Nothing => Outward::Nothing,
                Inward::Pending => Outward::Asked,
                Inward::Seen => Outward::Sees,
            };
            let mut pair = Pair::new(State { outward: romeo_outward, inward: Inward::Pending }, juliet).await;
            ask(&mut pair.juliet).await;
            pair.romeo.send("<presence type='subscribed' to='{juliet}'/>").await;
            pair.romeo.barrier().await;
            pair.juliet.barrier().await;
            pair.juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
            let roster = pair.juliet.receive().await;
            let item = roster.child("query").and_then(|query| query.child("item"));
            let found = item.and_then(|item| item.attribute("subscription")).unwrap_or("none");
            assert_eq!(format!("subscription='{found}'"), juliet.item(), "{roster}");
        }
    }
}

#[tokio::test]
async fn c86_an_approval_in_advance_answers_for_the_person() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    ask(&mut juliet).await;
    let mut romeo = scene.online("romeo/orchard").await;
    ask(&mut romeo).await;
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.expect(push("juliet/balcony", "romeo", "subscription='none' approved='true'")).await;
    juliet.barrier().await;
    // He does not hear of it.
    romeo.barrier().await;
    // Once more changes nothing.
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.barrier().await;
    romeo.send("<presence type='subscribe' to='{juliet}'/>").await;
    romeo.expect(push("romeo/orchard", "juliet", "subscription='none' ask='subscribe'")).await;
    romeo.expect("<presence type='subscribed' from='{juliet}' to='{romeo}'/>").await;
    romeo.expect(push("romeo/orchard", "juliet", "subscription='to'")).await;
    romeo.expect("<presence from='{juliet/balcony}' to='{romeo}'/>").await;
    romeo.barrier().await;
    // She is not asked.
    juliet.expect(push("juliet/balcony", "romeo", "subscription='from' approved='true'")).await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c86_an_approval_can_be_taken_back() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    ask(&mut juliet).await;
    let mut romeo = scene.online("romeo/orchard").await;
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.expect(push("juliet/balcony", "romeo", "subscription='none' approved='true'")).await;
    juliet.send("<presence type='unsubscribed' to='{romeo}'/>").await;
    juliet.expect(push("juliet/balcony", "romeo", "subscription='none'")).await;
    juliet.barrier().await;
    romeo.barrier().await;
    // Now he has to ask.
    romeo.send("<presence type='subscribe' to='{juliet}'/>").await;
    juliet.expect("<presence type='subscribe' from='{romeo}' to='{juliet}'/>").await;
    romeo.barrier().await;
}

/// The states of table G are made by these words; that they do what the tests believe shows here.
#[tokio::test]
async fn what_is_said_to_somebody_who_has_blocked_is_not_heard() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    ask(&mut romeo).await;
    say_unheard("subscribe", &mut romeo, &mut juliet).await;
    romeo.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let item = "<item jid='{juliet}' subscription='none' ask='subscribe'/>";
    romeo.expect(format!("<iq type='result' id='r' {{…}}><query xmlns='jabber:iq:roster'>{item}</query></iq>")).await;
    // Her server knows nothing of it: what she says now is an approval in advance.
    ask(&mut juliet).await;
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.expect(push("juliet/balcony", "romeo", "subscription='none' approved='true'")).await;
    romeo.barrier().await;
    // Who has blocked somebody cannot speak to him either.
    let bare = juliet.bare().to_owned();
    block("block", &mut romeo, &bare).await;
    romeo.send("<presence type='subscribe' to='{juliet}' id='p'/>").await;
    romeo.expect("<presence type='error' id='p' {…}>{error:cancel:not-acceptable}{…}</presence>").await;
    say("unsubscribed", &mut juliet, &mut romeo).await;
}
