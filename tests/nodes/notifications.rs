//! Who is told of what (XEP-0163 §4), and what is told to whoever comes online.

use crate::common::{SERVER, options};
use crate::{PRIVATE, PUBSUB, answer_questions, ask, events, features, listener, next_event, presence, publish};

#[tokio::test]
async fn only_who_wants_to_hear_of_a_node_does() {
    let scene = SERVER.scene().await;
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &["urn:mood", "urn:tune"]).await;
    let (mut phone, _) = listener(&scene, "juliet/phone", &["urn:tune"]).await;
    let (mut romeo, _) = listener(&scene, "romeo/orchard", &["urn:mood"]).await;
    let mut garden = scene.online("romeo/garden").await;
    let (mut paris, _) = listener(&scene, "paris/street", &["urn:mood"]).await;
    scene.befriend(&mut juliet, &mut romeo).await;
    for client in [&mut juliet, &mut phone, &mut romeo, &mut garden, &mut paris] {
        client.drain().await;
    }
    juliet.send(crate::publication("urn:mood", "1", "calm", &[])).await;
    let event = |to: &str| {
        format!(
            "<message from='{{juliet}}' to='{to}' type='headline' id='{{any}}'><event xmlns='{PUBSUB}#event'>\
             <items node='urn:mood'><item id='1'><mood xmlns='urn:mood'>calm</mood></item></items></event></message>"
        )
    };
    juliet
        .expect_in_any_order(&[event("{juliet/balcony}"), "<iq type='result' id='publish' {…}>{…}</iq>".to_owned()])
        .await;
    romeo.expect(event("{romeo/orchard}")).await;
    for client in [&mut juliet, &mut phone, &mut romeo, &mut garden, &mut paris] {
        client.barrier().await;
    }
    // A node for the account alone is told to nobody else.
    publish(&mut phone, "urn:tune", "1", "x", PRIVATE).await;
    assert_eq!(next_event(&mut juliet).await, "juliet items urn:tune item:1:x");
    romeo.barrier().await;
}

#[tokio::test]
async fn s16_who_has_blocked_or_is_blocked_hears_nothing() {
    let scene = SERVER.scene().await;
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &[]).await;
    let (mut romeo, _) = listener(&scene, "romeo/orchard", &["urn:mood"]).await;
    scene.befriend(&mut juliet, &mut romeo).await;
    publish(&mut juliet, "urn:mood", "1", "calm", &[]).await;
    assert_eq!(next_event(&mut romeo).await, "juliet items urn:mood item:1:calm");
    let block = |name: &str, whom: &str| {
        format!("<iq type='set' id='b'><{name} xmlns='urn:xmpp:blocking'><item jid='{{{whom}}}'/></{name}></iq>")
    };
    ask(&mut juliet, &block("block", "romeo")).await;
    publish(&mut juliet, "urn:mood", "2", "sad", &[]).await;
    assert!(events(&romeo.drain().await).is_empty());
    ask(&mut juliet, &block("unblock", "romeo")).await;
    ask(&mut romeo, &block("block", "juliet")).await;
    publish(&mut juliet, "urn:mood", "3", "glad", &[]).await;
    assert!(events(&romeo.drain().await).is_empty());
}

#[tokio::test]
async fn the_last_items_come_with_ones_presence() {
    let scene = SERVER.scene().await;
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &[]).await;
    let mut romeo = scene.online("romeo/orchard").await;
    scene.befriend(&mut juliet, &mut romeo).await;
    publish(&mut juliet, "urn:mood", "1", "calm", &[]).await;
    publish(&mut juliet, "urn:mood", "2", "glad", &[]).await;
    publish(&mut juliet, "urn:tune", "1", "song", &[]).await;
    publish(&mut juliet, "urn:private", "1", "x", PRIVATE).await;
    publish(&mut romeo, "urn:mood", "1", "in love", &[]).await;
    // Another device of Romeo's: his own last item and hers, each once, with when it was published.
    let (mut garden, came) = listener(&scene, "romeo/garden", &["urn:mood", "urn:private"]).await;
    let mut told = events(&came);
    told.sort();
    assert_eq!(told, ["juliet items urn:mood item:2:glad", "romeo items urn:mood item:1:in love"]);
    let delays = came.iter().filter(|stanza| stanza.child("event").is_some());
    assert!(delays.clone().all(|stanza| stanza.child_in("urn:xmpp:delay", "delay").is_some()), "{came:?}");
    // Saying the same again brings nothing; wanting more brings that.
    let (information, version) = features(&["urn:mood", "urn:private"]);
    garden.send(presence(&version)).await;
    assert!(events(&answer_questions(&mut garden, &information).await).is_empty());
    let (information, version) = features(&["urn:mood", "urn:tune"]);
    garden.send(presence(&version)).await;
    let told = events(&answer_questions(&mut garden, &information).await);
    assert_eq!(told, ["juliet items urn:tune item:1:song"]);
    garden.send("<presence type='unavailable'/>").await;
    garden.send(presence(&version)).await;
    let told = events(&answer_questions(&mut garden, &information).await);
    assert_eq!(told.len(), 3, "{told:?}");
}

#[tokio::test]
async fn who_may_see_an_account_from_now_on_is_told_at_once_and_who_may_not_no_more() {
    let scene = SERVER.scene().await;
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &[]).await;
    publish(&mut juliet, "urn:mood", "1", "calm", &[]).await;
    let (mut romeo, came) = listener(&scene, "romeo/orchard", &["urn:mood"]).await;
    assert!(events(&came).is_empty());
    romeo.send("<presence type='subscribe' to='{juliet}'/>").await;
    romeo.drain().await;
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.drain().await;
    let (information, _) = features(&["urn:mood"]);
    let told = events(&answer_questions(&mut romeo, &information).await);
    assert_eq!(told, ["juliet items urn:mood item:1:calm"]);
    juliet.send("<presence type='unsubscribed' to='{romeo}'/>").await;
    juliet.drain().await;
    publish(&mut juliet, "urn:mood", "2", "sad", &[]).await;
    assert!(events(&romeo.drain().await).is_empty());
}

#[tokio::test]
async fn what_is_taken_away_is_told_and_who_is_away_hears_nothing_later() {
    let scene = SERVER.scene().await;
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &["n"]).await;
    let (mut phone, _) = listener(&scene, "juliet/phone", &["n"]).await;
    for id in ["a", "b", "c"] {
        publish(&mut juliet, "n", id, "x", &[("max_items", "max"), ("notify_retract", "0")]).await;
    }
    phone.drain().await;
    let retract = |id: &str, notify: &str| {
        format!(
            "<iq type='set' id='x'><pubsub xmlns='{PUBSUB}'><retract node='n'{notify}><item id='{id}'/></retract></pubsub></iq>"
        )
    };
    ask(&mut juliet, &retract("a", "")).await;
    assert!(events(&phone.drain().await).is_empty());
    ask(&mut juliet, &retract("b", " notify='true'")).await;
    assert_eq!(next_event(&mut phone).await, "juliet items n retract:b:");
    let owner = |content: &str| format!("<iq type='set' id='o'><pubsub xmlns='{PUBSUB}#owner'>{content}</pubsub></iq>");
    ask(&mut juliet, &owner("<delete node='n'/>")).await;
    assert_eq!(next_event(&mut phone).await, "juliet delete n ");
    // Nobody is there: nothing is kept for later, of whichever type the messages are.
    phone.send("<presence type='unavailable'/>").await;
    juliet.send("<presence type='unavailable'/>").await;
    publish(&mut juliet, "m", "1", "x", &[("notification_type", "normal"), ("send_last_published_item", "never")])
        .await;
    let (mut later, came) = listener(&scene, "juliet/tablet", &["m"]).await;
    assert!(events(&came).is_empty() && events(&later.drain().await).is_empty());
}

#[tokio::test]
async fn everyone_hears_of_changes_in_the_order_in_which_they_were_made() {
    let scene = SERVER.scene().await;
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &[]).await;
    let (mut phone, _) = listener(&scene, "juliet/phone", &["n"]).await;
    let (mut other, _) = listener(&scene, "juliet/tablet", &[]).await;
    for round in 0..10 {
        juliet.send(crate::publication("n", "1", &format!("a{round}"), &[])).await;
        other.send(crate::publication("n", "1", &format!("b{round}"), &[])).await;
    }
    juliet.drain().await;
    other.drain().await;
    let told = events(&phone.drain().await);
    assert_eq!(told.len(), 20);
    // What was told last is what is there.
    let answer = crate::read(&mut juliet, "{juliet}", "n").await;
    let last = answer.to_string();
    let word = told.last().unwrap().rsplit(':').next().unwrap();
    assert!(last.contains(word), "{told:?} {last}");
}

#[tokio::test]
async fn a_device_that_comes_back_after_a_restart_hears_of_what_it_wants() {
    let server = waxwing_testkit::TestServer::start(options()).await;
    let scene = server.scene();
    let (mut juliet, _) = listener(&scene, "juliet/balcony", &[]).await;
    publish(&mut juliet, "urn:mood", "1", "calm", &[]).await;
    drop(juliet);
    server.stop().await;
    server.start_again().await.expect("the server starts again");
    let (_juliet, came) = listener(&scene, "juliet/balcony", &["urn:mood"]).await;
    assert_eq!(events(&came), ["juliet items urn:mood item:1:calm"]);
}
