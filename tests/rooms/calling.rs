//! Members who are not in the room are called by push (XEP-0357), and find what was said in its archive.

use waxwing_testkit::{Element, RawClient, Scene};

use crate::common::SERVER;
use crate::{CHANNEL, MUC, make, name_room, next_message, talk};

/// Somebody registers his device with the app server, a client of the same host, and goes.
async fn away(scene: &Scene, who: &str) {
    let mut client = scene.online(&format!("{who}/phone")).await;
    client
        .send(format!("<iq type='set' id='on'><enable xmlns='urn:xmpp:push:0' jid='{{app/push}}' node='{who}'/></iq>"))
        .await;
    client.expect("<iq type='result' id='on' {…}/>").await;
    client.send("</stream:stream>").await;
    client.expect_end().await;
}

/// Passes over what the room tells, until it answers.
async fn answered(client: &mut RawClient) {
    loop {
        let stanza = client.receive().await;
        if stanza.name == "iq" {
            assert_eq!(stanza.attribute("type"), Some("result"), "{stanza}");
            return;
        }
    }
}

/// The next call: whose device it is for. The app server takes it.
async fn called(app: &mut RawClient) -> String {
    let call = app.receive().await;
    let publish = call.child("pubsub").and_then(|pubsub| pubsub.child("publish")).unwrap_or_else(|| panic!("{call}"));
    let node = publish.attribute("node").expect("a node").to_owned();
    let attribute = |name: &str| Element::attribute(&call, name).unwrap_or_else(|| panic!("no {name} in {call}"));
    app.send_bytes(format!("<iq type='result' id='{}' to='{}'/>", attribute("id"), attribute("from"))).await;
    node
}

#[tokio::test]
async fn members_who_are_away_are_called_and_find_what_was_said() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut app = scene.session("app/push").await;
    for who in ["ben", "carl", "stranger"] {
        away(&scene, who).await;
    }
    let mut anna = scene.session("anna/x").await;
    // Private by a password; into a room for members they would be invited, which calls, too.
    make(&mut anna, "anna", &[("muc#roomconfig_membersonly", "0"), ("muc#roomconfig_roomsecret", "sesame")]).await;
    let members = "<item affiliation='member' jid='{ben}'/><item affiliation='member' jid='{carl}'/>";
    anna.send(format!("<iq type='set' id='s' to='{{room}}'><query xmlns='{MUC}#admin'>{members}</query></iq>")).await;
    answered(&mut anna).await;
    let mut carl = scene.session("carl/desk").await;
    carl.send(format!("<presence to='{{room}}/carl'><x xmlns='{MUC}'><password>sesame</password></x></presence>"))
        .await;
    next_message(&mut carl).await;
    talk(&mut anna, "supper").await;
    next_message(&mut carl).await;
    assert_eq!(called(&mut app).await, "ben", "who is in the room and who is nobody there is not called");
    app.expect_silence(std::time::Duration::from_millis(300)).await;
    let mut ben = scene.session("ben/phone").await;
    ben.send("<iq type='set' id='q' to='{room}'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    assert!(next_message(&mut ben).await.to_string().contains(">supper<"));
}

#[tokio::test]
async fn in_a_channel_for_everybody_a_mention_calls() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut app = scene.session("app/push").await;
    away(&scene, "ben").await;
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let member = "<item affiliation='member' jid='{ben}' nick='benvolio'/>";
    anna.send(format!("<iq type='set' id='s' to='{{room}}'><query xmlns='{MUC}#admin'>{member}</query></iq>")).await;
    answered(&mut anna).await;
    talk(&mut anna, "chatter").await;
    next_message(&mut anna).await;
    app.expect_silence(std::time::Duration::from_millis(300)).await;
    talk(&mut anna, "Benvolio: where are you?").await;
    assert_eq!(called(&mut app).await, "ben");
}

/// In a private group everything calls, unless a member wants to be called for what is said to him only (XEP-0492).
#[tokio::test]
async fn who_wants_mentions_only_is_called_for_mentions_only() {
    let scene = SERVER.scene().await;
    let room = name_room(&scene);
    let mut app = scene.session("app/push").await;
    let mut ben = scene.session("ben/desk").await;
    ben.send(format!(
        "<iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>\
         <item id='{room}'><conference xmlns='urn:xmpp:bookmarks:1'><nick>benvolio</nick><extensions>\
         <notify xmlns='urn:xmpp:notification-settings:1'><on-mention/></notify></extensions></conference></item></publish>\
         </pubsub></iq>"
    ))
    .await;
    ben.expect("<iq type='result' id='b' {…}>{…}</iq>").await;
    ben.send("</stream:stream>").await;
    ben.expect_end().await;
    for who in ["ben", "carl"] {
        away(&scene, who).await;
    }
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", &[("muc#roomconfig_membersonly", "0"), ("muc#roomconfig_roomsecret", "sesame")]).await;
    let members = "<item affiliation='member' jid='{ben}' nick='benvolio'/><item affiliation='member' jid='{carl}'/>";
    anna.send(format!("<iq type='set' id='s' to='{{room}}'><query xmlns='{MUC}#admin'>{members}</query></iq>")).await;
    answered(&mut anna).await;
    talk(&mut anna, "supper is ready").await;
    assert_eq!(called(&mut app).await, "carl");
    app.expect_silence(std::time::Duration::from_millis(300)).await;
    talk(&mut anna, "benvolio, it gets cold").await;
    let mut both = [called(&mut app).await, called(&mut app).await];
    both.sort();
    assert_eq!(both, ["ben", "carl"]);
    // What he was called for is there when he comes, and so is the rest.
    let mut ben = scene.session("ben/phone").await;
    assert_eq!(crate::archive::read_all(&mut ben).await, ["supper is ready", "benvolio, it gets cold"]);
}
