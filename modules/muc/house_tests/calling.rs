//! Members who are away are called when something is said (XEP-0357): all of them, once, after it is kept.

use std::sync::atomic::Ordering;

use super::house::{Scene, say, shelf};

const GROUP: &str = "new_rooms = 'private-group'";

async fn affiliate(scene: &Scene, owner: &std::sync::Arc<waxwing_core::session::Session>, items: &str) {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>");
    say(owner, &format!("<iq to='{}' type='set' id='a'>{query}</iq>", scene.room)).await;
}

/// Who was called, since this was asked last.
fn called(host: &str) -> Vec<String> {
    let mut called = std::mem::take(&mut *shelf(host).called.lock());
    called.sort();
    called
}

#[tokio::test]
async fn who_is_away_is_called_and_nobody_else() {
    let host = "call.test";
    let scene = Scene::new(host, GROUP).await;
    let (anna, to_anna) = scene.make("anna").await;
    affiliate(
        &scene,
        &anna,
        "<item affiliation='member' jid='ben@call.test'/><item affiliation='admin' jid='carl@call.test' nick='Il Carlo'/>\
         <item affiliation='member' jid='dora@elsewhere.lit'/><item affiliation='outcast' jid='eve@call.test'/>\
         <item affiliation='member' jid='call.test'/>",
    )
    .await;
    to_anna.wait_for("id='a' type='result'").await;
    scene.talk(&anna, "hello").await;
    to_anna.wait_for("<body>hello</body>").await;
    let call = |who: &str, rest: &str| format!("{who}@{host} {} {}/anna Private {rest}", scene.room, scene.room);
    assert_eq!(called(host), [call("ben", "false Normal true hello"), call("carl", "false Normal true hello")]);
    // A name in the text is a mention; one's own device in the room is enough.
    let (_ben, to_ben) = scene.enter("ben").await;
    scene.talk(&anna, "il carlo, ben: where are you?").await;
    to_ben.wait_for("where are you?").await;
    assert_eq!(called(host), [call("carl", "true Urgent true il carlo, ben: where are you?")]);
    // What is encrypted calls, and says nothing.
    let encrypted = "<encrypted xmlns='eu.siacs.conversations.axolotl'/><body>carlo</body>";
    say(&anna, &format!("<message to='{}' type='groupchat'>{encrypted}</message>", scene.room)).await;
    to_ben.wait_for("axolotl").await;
    assert_eq!(called(host), [call("carl", "false Normal false carlo")]);
    // States of the moment, subjects, retractions, reactions: nothing that somebody says.
    for (inside, told) in [
        ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", "<composing"),
        ("<subject>Spells</subject>", "<subject>Spells"),
        ("<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>", "<reactions"),
        ("<retract xmlns='urn:xmpp:message-retract:1' id='1'/><body>fallback</body>", "<retract"),
    ] {
        say(&anna, &format!("<message to='{}' type='groupchat'>{inside}</message>", scene.room)).await;
        to_ben.wait_for(told).await;
        assert!(called(host).is_empty(), "{inside}");
    }
    scene.close().await;
}

#[tokio::test]
async fn what_is_not_kept_calls_nobody_and_everybodys_room_says_so() {
    let host = "public.test";
    let scene = Scene::new(host, "").await;
    let (anna, to_anna) = scene.make("anna").await;
    affiliate(&scene, &anna, "<item affiliation='member' jid='ben@public.test'/>").await;
    to_anna.wait_for("id='a' type='result'").await;
    shelf(host).is_away.store(true, Ordering::SeqCst);
    scene.talk(&anna, "lost").await;
    to_anna.wait_for("id='lost' type='error'").await;
    assert!(called(host).is_empty());
    shelf(host).is_away.store(false, Ordering::SeqCst);
    let all = "<body>all</body><mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#channel'/>";
    say(&anna, &format!("<message to='{}' type='groupchat'>{all}</message>", scene.room)).await;
    to_anna.wait_for("<body>all</body>").await;
    scene.talk(&anna, "kept").await;
    to_anna.wait_for("<body>kept</body>").await;
    let call = |rest: &str| format!("ben@{host} {} {}/anna Public {rest}", scene.room, scene.room);
    assert_eq!(called(host), [call("false Normal true kept"), call("true Urgent true all")]);
    // Who is no member any more is not called.
    affiliate(&scene, &anna, "<item affiliation='none' jid='ben@public.test'/>").await;
    scene.talk(&anna, "without ben").await;
    to_anna.wait_for("<body>without ben</body>").await;
    assert!(called(host).is_empty());
    scene.close().await;
}
