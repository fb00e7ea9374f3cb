//! Subscriptions that people ask for themselves (XEP-0060 §6.1, §6.2, §8.6, §8.8).

use waxwing_testkit::RawClient;

use crate::common::SERVER;
use crate::{PUBSUB, ask, events, ids, publish, read, refusal};

async fn subscribe(client: &mut RawClient, word: &str, node: &str, jid: &str) -> waxwing_testkit::Element {
    let iq = format!(
        "<iq type='set' id='s' to='{{juliet}}'><pubsub xmlns='{PUBSUB}'><{word} node='{node}' jid='{jid}'/></pubsub></iq>"
    );
    ask(client, &iq).await
}

fn state(answer: &waxwing_testkit::Element) -> String {
    let subscription = answer.child("pubsub").and_then(|pubsub| pubsub.child("subscription"));
    subscription.and_then(|subscription| subscription.attribute("subscription")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_stranger_subscribes_to_what_is_open() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut paris = scene.online("paris/street").await;
    publish(&mut juliet, "n", "1", "calm", &[("access_model", "open")]).await;
    assert_eq!(refusal(&subscribe(&mut paris, "subscribe", "n", "{juliet}").await), "bad-request invalid-jid");
    // The last item comes before the answer, then each new one.
    assert_eq!(state(&subscribe(&mut paris, "subscribe", "n", "{paris}").await), "subscribed");
    publish(&mut juliet, "n", "2", "glad", &[]).await;
    assert_eq!(events(&paris.drain().await), ["juliet items n item:2:glad"]);
    let list = format!("<iq type='get' id='l' to='{{juliet}}'><pubsub xmlns='{PUBSUB}'><subscriptions/></pubsub></iq>");
    assert!(ask(&mut paris, &list).await.to_string().contains("subscribed"));
    assert_eq!(state(&subscribe(&mut paris, "unsubscribe", "n", "{paris}").await), "none");
    publish(&mut juliet, "n", "3", "sad", &[]).await;
    assert!(events(&paris.drain().await).is_empty());
    let answer = subscribe(&mut paris, "unsubscribe", "n", "{paris}").await;
    assert_eq!(answer.attribute("type"), Some("error"));
}

#[tokio::test]
async fn who_is_not_a_contact_any_more_is_not_subscribed_any_more() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.online("romeo/orchard").await;
    scene.befriend(&mut juliet, &mut romeo).await;
    publish(&mut juliet, "n", "1", "calm", &[]).await;
    assert_eq!(state(&subscribe(&mut romeo, "subscribe", "n", "{romeo}").await), "subscribed");
    publish(&mut juliet, "n", "2", "glad", &[]).await;
    assert_eq!(events(&romeo.drain().await), ["juliet items n item:2:glad"], "though he has said nothing of +notify");
    juliet.send("<presence type='unsubscribed' to='{romeo}'/>").await;
    juliet.drain().await;
    assert_eq!(events(&romeo.drain().await), ["juliet subscription n "]);
    publish(&mut juliet, "n", "3", "sad", &[]).await;
    assert!(events(&romeo.drain().await).is_empty());
}

#[tokio::test]
async fn the_owner_allows_a_subscription_or_does_not() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut paris = scene.online("paris/street").await;
    publish(&mut juliet, "n", "1", "calm", &[("access_model", "authorize")]).await;
    for (allow, told, shown) in [("false", "none", false), ("true", "subscribed", true)] {
        assert_eq!(state(&subscribe(&mut paris, "subscribe", "n", "{paris}").await), "pending");
        let again = subscribe(&mut paris, "subscribe", "n", "{paris}").await;
        assert_eq!(refusal(&again), "not-authorized pending-subscription");
        let asked = loop {
            let came = juliet.receive().await;
            if came.name == "message" {
                break came.to_string();
            }
        };
        assert!(asked.contains("subscribe_authorization") && asked.contains(&scene.jid("paris")), "{asked}");
        juliet
            .send(format!(
                "<message to='{{juliet}}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                 <value>{PUBSUB}#subscribe_authorization</value></field><field var='pubsub#node'><value>n</value></field>\
                 <field var='pubsub#subscriber_jid'><value>{{paris}}</value></field>\
                 <field var='pubsub#allow'><value>{allow}</value></field></x></message>"
            ))
            .await;
        juliet.barrier().await;
        let came = paris.drain().await;
        assert!(
            came[0].to_string().contains(&format!("\"{told}\"")) || came[0].to_string().contains(&format!("'{told}'")),
            "{came:?}"
        );
        let answer = read(&mut paris, "{juliet}", "n").await;
        match shown {
            true => assert_eq!(ids(&answer), ["1"]),
            false => assert_eq!(refusal(&answer), "not-authorized not-subscribed"),
        }
    }
    // And takes it back.
    let set = format!(
        "<iq type='set' id='o'><pubsub xmlns='{PUBSUB}#owner'><subscriptions node='n'>\
         <subscription jid='{{paris}}' subscription='none'/></subscriptions></pubsub></iq>"
    );
    ask(&mut juliet, &set).await;
    assert_eq!(refusal(&read(&mut paris, "{juliet}", "n").await), "not-authorized not-subscribed");
}
