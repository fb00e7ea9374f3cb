//! S33: floods of presence and subscriptions, talks that feed themselves, and rosters without end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use waxwing_core::house::House;
use waxwing_core::storage::Value;
use waxwing_testkit::{Element, RawClient, TestServer};

use crate::common::{SERVER, options};

/// Refusals that say "later" among what came.
fn refusals(came: &[Element]) -> usize {
    let is_refusal = |element: &&Element| {
        let error = element.child("error");
        error.is_some_and(|error| error.child("policy-violation").is_some() && error.attribute("type") == Some("wait"))
    };
    came.iter().filter(is_refusal).count()
}

#[tokio::test]
async fn s33_a_flood_of_requests_ends_at_the_limit() {
    let server = TestServer::start(options().toml("[limits]\nsubscriptions = '20/h'")).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let mut mallory = scene.session("mallory/den").await;
    // Always the same victim, asked and left and asked again; and a thousand others.
    let mut requests = String::new();
    for number in 0..500 {
        requests
            .push_str("<presence type='subscribe' to='{juliet}' id='s'/><presence type='unsubscribe' to='{juliet}'/>");
        requests.push_str(&format!("<presence type='subscribe' to='n{number}@{{host}}' id='s'/>"));
    }
    mallory.send(requests).await;
    assert_eq!(refusals(&mallory.drain().await), 1_000 - 20);
    let seen = juliet.drain().await;
    let asked = seen.iter().filter(|presence| presence.attribute("type") == Some("subscribe")).count();
    assert!((1..=20).contains(&asked), "{asked} requests have reached the victim");
    // A second session of the account has no new allowance.
    let mut again = scene.session("mallory/other").await;
    again.send("<presence type='subscribe' to='{juliet}' id='s'/>").await;
    assert_eq!(refusals(&again.drain().await), 1);
}

#[tokio::test]
async fn s33_a_flood_of_presence_ends_at_the_limit() {
    let server = TestServer::start(options().toml("[limits]\npresences = '10/min'")).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let mut mallory = scene.online("mallory/den").await;
    scene.befriend(&mut juliet, &mut mallory).await;
    let flood: String = (0..100).map(|number| format!("<presence><status>{number}</status></presence>")).collect();
    mallory.send(flood).await;
    let refused = refusals(&mallory.drain().await);
    let seen = juliet.drain().await.iter().filter(|element| element.name == "presence").count();
    // One of the ten was the initial presence.
    assert_eq!((refused, seen), (91, 9));
    // To go offline is always allowed.
    mallory.send("<presence type='unavailable'/>").await;
    juliet.expect("<presence type='unavailable' from='{mallory/den}' to='{any}'/>").await;
}

#[tokio::test]
async fn s33_coming_and_going_counts_as_often_as_it_is_said() {
    let server = TestServer::start(options().toml("[limits]\npresences = '10/min'")).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    let mut mallory = scene.online("mallory/den").await;
    scene.befriend(&mut juliet, &mut mallory).await;
    mallory.send("<presence type='unavailable'/><presence/>".repeat(50)).await;
    mallory.drain().await;
    let seen = juliet.drain().await.iter().filter(|element| element.name == "presence").count();
    assert!(seen <= 20, "{seen} changes have been told");
}

/// A client that agrees to everything and asks back, as careless bots do. How many stanzas it has sent.
async fn answer_everything(bot: &mut RawClient, came: Vec<Element>) -> usize {
    let mut sent = 0;
    for presence in came.iter().filter(|element| element.name == "presence") {
        let Some(from) = presence.attribute("from") else { continue };
        let answers: &[&str] = match presence.attribute("type") {
            Some("subscribe") => &["subscribed", "subscribe"],
            Some("unsubscribe") => &["unsubscribed", "unsubscribe"],
            Some("subscribed") => &["subscribed"],
            Some("unsubscribed") => &["unsubscribed"],
            _ => &[],
        };
        for answer in answers {
            bot.send_bytes(format!("<presence type='{answer}' to='{from}'/>")).await;
            sent += 1;
        }
    }
    sent
}

#[tokio::test]
async fn s33_two_who_agree_to_everything_come_to_rest() {
    let scene = SERVER.scene().await;
    let mut one = scene.online("romeo/orchard").await;
    let mut other = scene.online("juliet/balcony").await;
    for first in ["subscribe", "unsubscribe", "subscribed", "unsubscribed"] {
        one.send_bytes(format!("<presence type='{first}' to='{}'/>", other.bare())).await;
        let (mut rounds, mut sent) = (0, 0);
        loop {
            let came = other.drain().await;
            let mut now = answer_everything(&mut other, came).await;
            let came = one.drain().await;
            now += answer_everything(&mut one, came).await;
            sent += now;
            rounds += 1;
            if now == 0 && rounds > 2 {
                break;
            }
            assert!(rounds < 20, "after {first} the two have sent {sent} stanzas and do not stop");
        }
        // Each side answers each of the two directions, and each answer once more.
        assert!(sent <= 12, "{sent} stanzas came of one {first}");
        one.expect_silence(Duration::from_millis(100)).await;
    }
}

/// Gives an account so many contacts, as an import would.
async fn give_contacts(server: &TestServer, account: String, number: i64) {
    let given = server.with_house(async move |house: Arc<House>| {
        let roster = "INSERT INTO rosters (account, version, forgotten) VALUES ($1, $2, 0)";
        house.database().execute(roster, &[Value::from(account.as_str()), Value::from(number)]).await?;
        let items = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $2) \
                     INSERT INTO roster_items (account, contact, name, group_names, sees_contact, seen_by_contact, \
                     asked, approved, removed, version) \
                     SELECT $1, 'contact' || n || '@capulet.lit', 'Contact ' || n, '[]', 1, 1, 0, 0, 0, n FROM numbers";
        house.database().execute(items, &[Value::from(account.as_str()), Value::from(number)]).await
    });
    assert_eq!(given.await.expect("the database takes it"), u64::try_from(number).expect("a number of rows"));
}

#[tokio::test]
async fn s33_a_roster_has_a_thousand_contacts() {
    let scene = SERVER.scene().await;
    scene.account("romeo").await;
    give_contacts(scene.server(), scene.jid("romeo"), 999).await;
    let mut romeo = scene.session("romeo/orchard").await;
    let add = |name: &str| {
        format!("<iq type='set' id='{name}'><query xmlns='jabber:iq:roster'><item jid='{name}@{{host}}'/></query></iq>")
    };
    romeo.send(add("last")).await;
    romeo.expect("<iq type='result' id='last' {…}/>").await;
    romeo.send(add("onemore")).await;
    romeo.expect("<iq type='error' id='onemore' {…}>{error:modify:policy-violation}{…}</iq>").await;
    // A request makes a contact, too.
    romeo.send("<presence type='subscribe' to='other@{host}' id='s'/>").await;
    let answer = romeo.receive().await;
    assert!(answer.child("error").is_some_and(|error| error.child("policy-violation").is_some()), "{answer}");
    // Changing and removing goes on.
    romeo.send(add("last")).await;
    romeo.expect("<iq type='result' id='last' {…}/>").await;
    romeo.barrier().await;
}

#[tokio::test]
async fn s33_a_roster_of_ten_thousand_is_read_in_good_time() {
    let scene = SERVER.scene().await;
    scene.account("romeo").await;
    give_contacts(scene.server(), scene.jid("romeo"), 10_000).await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut fastest = Duration::MAX;
    for turn in 0..3 {
        let begun = Instant::now();
        romeo.send(format!("<iq type='get' id='{turn}'><query xmlns='jabber:iq:roster'/></iq>")).await;
        let roster = romeo.receive().await;
        fastest = fastest.min(begun.elapsed());
        assert_eq!(roster.child("query").map(|query| query.elements().count()), Some(10_000));
    }
    // The row's 200 ms are for a release build on a quiet machine; the client's own reading is in it here.
    assert!(fastest < Duration::from_millis(1_500), "{fastest:?}");
}
