//! Messages for who is not there (XEP-0160, RFC 6121 §8.5.2.2.1), and what "there" means.

use std::time::Duration;

use waxwing_testkit::{Element, RawClient};

use crate::common::SERVER;

/// The ids of the messages among what came.
fn ids(came: &[Element]) -> Vec<&str> {
    came.iter().filter(|stanza| stanza.name == "message").filter_map(|stanza| stanza.attribute("id")).collect()
}

/// Juliet's client sends this presence; gives what comes before a message that Romeo sends it then. New messages wait
/// behind those that were kept, so with it all of these are there.
pub(crate) async fn come_online(romeo: &mut RawClient, juliet: &mut RawClient, priority: i8) -> Vec<Element> {
    let mut came = juliet.go_online(priority).await;
    let to = juliet.jid().to_owned();
    romeo.send_bytes(format!("<message type='chat' id='newest' to='{to}'><body>newest</body></message>")).await;
    loop {
        let stanza = juliet.receive().await;
        if stanza.attribute("id") == Some("newest") {
            assert_eq!(stanza.text_of("body").as_deref(), Some("newest"), "{stanza}");
            return came;
        }
        came.push(stanza);
    }
}

async fn say(romeo: &mut RawClient, to: &str, ids: std::ops::Range<u32>) {
    for id in ids {
        romeo.send(format!("<message type='chat' id='{id}' to='{to}'><body>number {id}</body></message>")).await;
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn c69_a_negative_priority_never_gets_what_is_for_the_person() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut negative = scene.online_with("juliet/negative", -1).await;
    for of_type in ["chat", "normal", "headline"] {
        romeo.send(format!("<message type='{of_type}' to='{{juliet}}'><body>x</body></message>")).await;
        romeo.drain().await;
    }
    negative.barrier().await;
    // Becoming positive and negative again changes who gets it at once.
    let mut positive = scene.session("juliet/positive").await;
    come_online(&mut romeo, &mut positive, 1).await;
    negative.drain().await;
    positive.send("<presence><priority>-1</priority></presence>").await;
    negative.send("<presence><priority>0</priority></presence>").await;
    positive.drain().await;
    negative.drain().await;
    positive.drain().await;
    say(&mut romeo, "{juliet}", 1..2).await;
    let message = negative.receive().await;
    assert_eq!(message.attribute("id"), Some("1"), "{message}");
    negative.barrier().await;
    positive.barrier().await;
}

#[tokio::test]
async fn c70_the_offline_messages_come_once_in_order_and_with_their_time() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, "{juliet}", 0..20).await;
    let mut juliet = scene.session("juliet/balcony").await;
    // Not before she is available.
    juliet.barrier().await;
    let came = come_online(&mut romeo, &mut juliet, 0).await;
    let expected: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    assert_eq!(ids(&came), expected);
    let message = came.iter().find(|stanza| stanza.name == "message").expect("messages came");
    assert_eq!(message.attribute("to"), Some(scene.jid("juliet").as_str()), "{message}");
    assert_eq!(message.attribute("from"), Some(romeo.jid()), "{message}");
    assert_eq!(message.text_of("body").as_deref(), Some("number 0"));
    let delay = message.child_in("urn:xmpp:delay", "delay").expect("a delay");
    let stamp = delay.attribute("stamp").unwrap_or_default();
    assert!(stamp.len() >= 20 && stamp.contains('T') && stamp.ends_with('Z'), "{delay}");
    // Once: neither another presence nor another session gets them again.
    assert!(ids(&come_online(&mut romeo, &mut juliet, 1).await).is_empty());
    juliet.send("<presence type='unavailable'/>").await;
    juliet.drain().await;
    let mut other = scene.session("juliet/garden").await;
    assert!(ids(&come_online(&mut romeo, &mut other, 0).await).is_empty());
}

#[tokio::test]
async fn c70_what_is_for_one_resource_reaches_no_other_while_they_catch_up() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut balcony = scene.session("juliet/balcony").await;
    let mut garden = scene.session("juliet/garden").await;
    for round in 0..5 {
        say(&mut romeo, "{juliet}", 0..10).await;
        balcony.send("<presence/>").await;
        garden.send("<presence/>").await;
        let mut came = [balcony.drain().await, garden.drain().await];
        for resource in ["balcony", "garden"] {
            romeo
                .send(format!(
                    "<message type='chat' id='{resource}' to='{{juliet/{resource}}}'><body>{round}</body></message>"
                ))
                .await;
        }
        // It may take a moment: what was kept is delivered apart from the sender's stanzas.
        for _ in 0..100 {
            came[0].extend(balcony.drain().await);
            came[1].extend(garden.drain().await);
            if came.iter().map(|came| ids(came).len()).sum::<usize>() >= 12 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let [balcony_got, garden_got] = came.each_ref().map(|came| ids(came));
        assert!(balcony_got.contains(&"balcony") && !balcony_got.contains(&"garden"), "{balcony_got:?} {garden_got:?}");
        assert!(garden_got.contains(&"garden") && !garden_got.contains(&"balcony"), "{balcony_got:?} {garden_got:?}");
        for client in [&mut balcony, &mut garden] {
            client.send("<presence type='unavailable'/>").await;
            client.drain().await;
        }
        balcony.drain().await;
    }
}

#[tokio::test]
async fn c70_a_negative_priority_leaves_the_offline_messages_where_they_are() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, "{juliet}", 0..3).await;
    let mut juliet = scene.session("juliet/balcony").await;
    assert!(ids(&come_online(&mut romeo, &mut juliet, -1).await).is_empty());
    // With a priority that is not negative they come (XEP-0160 §3).
    assert_eq!(ids(&come_online(&mut romeo, &mut juliet, 0).await), ["0", "1", "2"]);
}

#[tokio::test]
async fn c71_connected_is_not_available() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.session("juliet/balcony").await;
    // What is for the person waits.
    say(&mut romeo, "{juliet}", 1..2).await;
    juliet.barrier().await;
    // What is for the resource comes, of every kind.
    romeo.send("<message type='chat' to='{juliet/balcony}' id='2'/>").await;
    juliet.expect("<message type='chat' to='{juliet/balcony}' from='{romeo/orchard}' id='2'/>").await;
    romeo.send("<presence to='{juliet/balcony}'/>").await;
    juliet.expect("<presence to='{juliet/balcony}' from='{romeo/orchard}'/>").await;
    romeo.send("<iq type='get' id='q' to='{juliet/balcony}'><x xmlns='urn:x'/></iq>").await;
    juliet.expect("<iq type='get' id='q' to='{juliet/balcony}' from='{romeo/orchard}'><x xmlns='urn:x'/></iq>").await;
    assert_eq!(ids(&come_online(&mut romeo, &mut juliet, 0).await), ["1"]);
    // Unavailable again, it is as before.
    juliet.send("<presence type='unavailable'/>").await;
    juliet.drain().await;
    say(&mut romeo, "{juliet}", 3..4).await;
    juliet.barrier().await;
    assert_eq!(ids(&come_online(&mut romeo, &mut juliet, 0).await), ["3"]);
}
