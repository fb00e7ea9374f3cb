//! The archive of a room: what was said is there before anyone hears it, and can be taken back.

use crate::common::SERVER;
use crate::{CHANNEL, MUC, enter, make, name_room, next_message, talk};
use waxwing_testkit::{Element, RawClient};

/// A room that everyone may enter, with everyone's address for all to see.
const CHANNEL_WITH_ADDRESSES: &[(&str, &str)] =
    &[("muc#roomconfig_membersonly", "0"), ("muc#roomconfig_whois", "anyone")];

fn id_of(message: &Element) -> String {
    let id = message.child_in("urn:xmpp:sid:0", "stanza-id").unwrap_or_else(|| panic!("no id: {message}"));
    id.attribute("id").expect("an id").to_owned()
}

/// The messages in the archive of the room.
async fn ask(client: &mut RawClient) -> Vec<Element> {
    client.send("<iq type='set' id='q' to='{room}'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>").await;
    let mut found = Vec::new();
    loop {
        let stanza = client.receive().await;
        if stanza.name == "iq" {
            assert_eq!(stanza.attribute("type"), Some("result"), "{stanza}");
            return found;
        }
        let result = stanza.child_in("urn:xmpp:mam:2", "result").unwrap_or_else(|| panic!("{stanza}"));
        found.push(result.clone());
    }
}

/// The bodies of all that is in the archive of the room, read page by page.
pub async fn read_all(client: &mut RawClient) -> Vec<String> {
    let (mut bodies, mut after) = (Vec::new(), String::new());
    loop {
        client
            .send(format!(
                "<iq type='set' id='q' to='{{room}}'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>\
                 <max>50</max>{after}</set></query></iq>"
            ))
            .await;
        let fin = loop {
            let stanza = client.receive().await;
            match stanza.child_in("urn:xmpp:mam:2", "result") {
                Some(result) => bodies.extend(stored(result).text_of("body")),
                None if stanza.name == "iq" => break stanza,
                None => {}
            }
        };
        let fin = fin.child_in("urn:xmpp:mam:2", "fin").unwrap_or_else(|| panic!("{fin}"));
        if fin.attribute("complete") == Some("true") {
            return bodies;
        }
        let last = fin.child_in("http://jabber.org/protocol/rsm", "set").and_then(|set| set.text_of("last"));
        let last = last.expect("where the page ends");
        after = format!("<after>{last}</after>");
    }
}

fn stored(result: &Element) -> &Element {
    let forwarded = result.child_in("urn:xmpp:forward:0", "forwarded").expect("what is forwarded");
    forwarded.child_in("jabber:client", "message").expect("a message")
}

#[tokio::test]
async fn what_is_heard_is_in_the_archive_under_its_id() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", &[]).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        talk(&mut anna, &format!("m{number}")).await;
        ids.push(id_of(&next_message(&mut anna).await));
        let found = ask(&mut anna).await;
        assert_eq!(found.last().unwrap().attribute("id"), Some(ids.last().unwrap().as_str()));
    }
    let found = ask(&mut anna).await;
    assert_eq!(found.iter().map(|result| result.attribute("id").unwrap()).collect::<Vec<_>>(), ids);
    let first = stored(&found[0]);
    assert_eq!(first.attribute("to"), None);
    assert_eq!(first.attribute("from"), Some(format!("{}/anna", scene.jid("room")).as_str()));
    assert!(first.to_string().contains("muc#user"), "everyone sees addresses here: {first}");
    // Nobody else reads it.
    let mut stranger = scene.session("stranger/x").await;
    stranger.send("<iq type='set' id='q' to='{room}'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    stranger.expect("<iq {…} type='error'>{error:auth:forbidden}</iq>").await;
}

#[tokio::test]
async fn a_moderator_takes_a_message_back_and_those_who_were_away_learn_it() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let mut ben = scene.session("ben/x").await;
    enter(&mut ben, "ben").await;
    talk(&mut ben, "spam").await;
    let id = id_of(&next_message(&mut anna).await);
    next_message(&mut ben).await;
    let request = format!(
        "<iq type='set' id='m' to='{{room}}'><moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'>\
         <retract xmlns='urn:xmpp:message-retract:1'/><reason>Spam</reason></moderate></iq>"
    );
    ben.send(&request).await;
    ben.expect("<iq {…} type='error'>{error:auth:forbidden}</iq>").await;
    anna.send(&request).await;
    let told = next_message(&mut ben).await;
    assert_eq!(told.attribute("from"), Some(scene.jid("room").as_str()));
    let retract = told.child_in("urn:xmpp:message-retract:1", "retract").expect("a retraction");
    assert_eq!(retract.attribute("id"), Some(id.as_str()));
    next_message(&mut anna).await;
    anna.expect("<iq {…} id='m' type='result'/>").await;
    let found = ask(&mut anna).await;
    assert_eq!(found.len(), 2);
    assert!(stored(&found[0]).child_in("urn:xmpp:message-retract:1", "retracted").is_some(), "{}", found[0]);
    assert!(!found[0].to_string().contains(">spam<"), "{}", found[0]);
    assert_eq!(found[0].attribute("id"), Some(id.as_str()));
    let mut carl = scene.session("carl/x").await;
    let came = enter(&mut carl, "carl").await;
    assert!(came.iter().all(|stanza| stanza.child("body").is_none()), "{came:?}");
}

#[tokio::test]
async fn history_is_there_when_a_room_wakes() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    anna.send("<message to='{room}' type='groupchat'><subject>Spells</subject></message>").await;
    next_message(&mut anna).await;
    talk(&mut anna, "first").await;
    let id = id_of(&next_message(&mut anna).await);
    let mut ben = scene.session("ben/x").await;
    let came = enter(&mut ben, "ben").await;
    let messages: Vec<_> = came.iter().filter(|stanza| stanza.name == "message").collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].text_of("body").as_deref(), Some("first"));
    assert_eq!(id_of(messages[0]), id);
    assert!(messages[0].child_in("urn:xmpp:delay", "delay").is_some());
    assert_eq!(messages[1].text_of("subject").as_deref(), Some("Spells"));
    assert!(!came.iter().any(|stanza| stanza.to_string().contains(MUC) && stanza.name == "message"));
}

#[tokio::test]
async fn addresses_that_everyone_saw_are_hidden_when_the_room_hides_them() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL_WITH_ADDRESSES).await;
    talk(&mut anna, "seen").await;
    next_message(&mut anna).await;
    let mut ben = scene.session("ben/x").await;
    assert!(ask(&mut ben).await[0].to_string().contains(&scene.jid("anna/x")));
    let field = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                 <field var='muc#roomconfig_whois'><value>moderators</value></field>";
    anna.send(format!(
        "<iq type='set' id='w' to='{{room}}'><query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{field}</x>\
         </query></iq>"
    ))
    .await;
    while anna.receive().await.name != "iq" {}
    let found = ask(&mut ben).await;
    assert_eq!(stored(&found[0]).text_of("body").as_deref(), Some("seen"));
    assert!(!found[0].to_string().contains("anna-") && !found[0].to_string().contains("jid="), "{}", found[0]);
    ben.send(
        "<iq type='set' id='q' to='{room}'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='with'><value>{anna}</value></field>\
         </x></query></iq>",
    )
    .await;
    ben.expect("<iq {…} type='error'>{error:auth:forbidden}</iq>").await;
}
