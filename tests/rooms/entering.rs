//! Finding, making, entering and leaving rooms.

use waxwing_testkit::TestServer;

use crate::common::{SERVER, options};
use crate::{CHANNEL, MUC, enter, make, name_room, next_message, talk};

#[tokio::test]
async fn example_001_to_006_disco_leads_to_the_service_and_its_rooms() {
    let scene = SERVER.scene().await;
    let room = name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    anna.send("<iq type='get' id='1' to='{host}'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>").await;
    let items = anna.receive().await;
    assert!(items.to_string().contains(&format!("conference.{}", scene.host())), "{items}");
    anna.send(
        "<iq type='get' id='2' to='conference.{host}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    )
    .await;
    anna.expect(
        "<iq type='result' id='2' from='conference.{host}' to='{anna/x}'>\
         <query xmlns='http://jabber.org/protocol/disco#info'><identity category='conference' type='text' name='{any}'/>\
         <feature var='http://jabber.org/protocol/muc'/>{…}</query></iq>",
    )
    .await;
    anna.send(
        "<iq type='get' id='3' to='conference.{host}'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    )
    .await;
    let rooms = anna.receive().await.to_string();
    assert!(rooms.contains(&room), "{rooms}");
}

/// Whether a client knows rooms, and in which it is, only the client can say: the server brings question and answer.
#[tokio::test]
async fn example_014_to_017_a_contact_is_asked_about_rooms() {
    const INFO: &str = "http://jabber.org/protocol/disco#info";
    const ITEMS: &str = "http://jabber.org/protocol/disco#items";
    let scene = SERVER.scene().await;
    let mut hag = scene.session("hag66/pda").await;
    let mut wicca = scene.online("wiccarocks/laptop").await;
    wicca.drain().await;
    for (id, namespace, node, answer) in [
        ("yh2fs843", INFO, String::new(), format!("<feature var='{MUC}'/>")),
        ("gp7w61v3", ITEMS, format!(" node='{MUC}#rooms'"), "<item jid='coven@chat.shakespeare.lit'/>".to_owned()),
    ] {
        let query = format!("<query xmlns='{namespace}'{node}");
        hag.send(format!("<iq to='{{wiccarocks/laptop}}' id='{id}' type='get'>{query}/></iq>")).await;
        let asked = wicca.receive().await;
        assert_eq!((asked.attribute("id"), asked.attribute("from")), (Some(id), Some(scene.jid("hag66/pda").as_str())));
        let found = asked.child_in(namespace, "query").unwrap_or_else(|| panic!("{asked}"));
        assert_eq!(found.attribute("node").is_some(), !node.is_empty(), "{asked}");
        wicca.send(format!("<iq to='{{hag66/pda}}' id='{id}' type='result'>{query}>{answer}</query></iq>")).await;
        let answered = hag.receive().await;
        assert_eq!((answered.attribute("id"), answered.attribute("type")), (Some(id), Some("result")), "{answered}");
        assert!(answered.child_in(namespace, "query").is_some_and(|query| query.children.len() == 1), "{answered}");
    }
}

#[tokio::test]
async fn a_nickname_may_be_a_picture() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let mut ben = scene.session("ben/\u{1F4F1}").await;
    enter(&mut ben, "\u{1F9D9}\u{1F3FD}").await;
    let address = format!("{}/\u{1F9D9}\u{1F3FD}", scene.jid("room"));
    talk(&mut ben, "spell").await;
    assert_eq!(next_message(&mut anna).await.attribute("from"), Some(address.as_str()));
    anna.send(format!("<message to='{address}' type='chat' id='pm'><body>psst</body></message>")).await;
    while next_message(&mut ben).await.attribute("id") != Some("pm") {}
    let mut carl = scene.session("carl/x").await;
    carl.send(format!("<presence to='{address}\u{FE0F}'><x xmlns='{MUC}'/></presence>")).await;
    carl.expect("<presence {…} type='error'>{…}{error:cancel:conflict}</presence>").await;
}

#[tokio::test]
async fn a_private_group_is_what_a_new_room_is() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    let mut ben = scene.online("ben/x").await;
    make(&mut anna, "anna", &[]).await;
    ben.send(format!("<presence to='{{room}}/ben' id='p'><x xmlns='{MUC}'/></presence>")).await;
    ben.expect(
        "<presence from='{room}/ben' to='{ben/x}' id='p' type='error'><x xmlns='http://jabber.org/protocol/muc'/>\
         {error:auth:registration-required}</presence>",
    )
    .await;
    anna.send(format!("<message to='{{room}}' id='i'><x xmlns='{MUC}#user'><invite to='{{ben}}'/></x></message>"))
        .await;
    let invitation = next_message(&mut ben).await;
    assert!(invitation.child_in("http://jabber.org/protocol/muc#user", "x").is_some(), "{invitation}");
    let came = enter(&mut ben, "ben").await;
    // Anna, himself, the subject; no warning that everyone may read.
    assert_eq!(came.len(), 3);
    assert!(!came[1].to_string().contains("170"), "{}", came[1]);
}

#[tokio::test]
async fn two_talk_and_one_leaves_without_a_word() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    let mut ben = scene.session("ben/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    enter(&mut ben, "ben").await;
    talk(&mut ben, "hello").await;
    for client in [&mut anna, &mut ben] {
        let message = next_message(client).await;
        assert_eq!(message.text_of("body").as_deref(), Some("hello"));
        assert_eq!(message.attribute("from"), Some(format!("{}/ben", scene.jid("room")).as_str()));
        assert_eq!(message.attribute("id"), Some("hello"));
    }
    ben.hang_up();
    drop(ben);
    let gone = anna.receive().await;
    assert_eq!(gone.attribute("type"), Some("unavailable"), "{gone}");
}

#[tokio::test]
async fn a_nickname_a_password_and_a_kick() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    let mut ben = scene.session("ben/x").await;
    make(
        &mut anna,
        "anna",
        &[("waxwing#roomconfig_preset", "public-channel"), ("muc#roomconfig_roomsecret", "sesame")],
    )
    .await;
    ben.send(format!("<presence to='{{room}}/ben'><x xmlns='{MUC}'/></presence>")).await;
    ben.expect("<presence {…} type='error'>{…}{error:auth:not-authorized}</presence>").await;
    ben.send(format!("<presence to='{{room}}/Anna'><x xmlns='{MUC}'><password>sesame</password></x></presence>")).await;
    ben.expect("<presence {…} type='error'>{…}{error:cancel:conflict}</presence>").await;
    ben.send(format!("<presence to='{{room}}/ben'><x xmlns='{MUC}'><password>sesame</password></x></presence>")).await;
    next_message(&mut ben).await;
    ben.send("<presence to='{room}/benvolio'/>").await;
    let (gone, here) = (ben.receive().await.to_string(), ben.receive().await.to_string());
    assert!(gone.contains("303") && here.contains("benvolio"), "{gone} {here}");
    anna.send(format!("<iq type='set' id='k' to='{{room}}'><query xmlns='{MUC}#admin'><item nick='benvolio' role='none'/></query></iq>")).await;
    let kicked = ben.receive().await.to_string();
    assert!(kicked.contains("307") && kicked.contains("110"), "{kicked}");
    talk(&mut ben, "still here?").await;
    ben.expect("<message {…} type='error'>{error:modify:not-acceptable}</message>").await;
}

#[tokio::test]
async fn a_ping_to_oneself_tells_the_truth() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    anna.send("<iq type='get' id='in' to='{room}/anna'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    anna.expect("<iq type='result' id='in' from='{room}/anna' to='{anna/x}'/>").await;
    anna.send("<presence type='unavailable' to='{room}/anna'/>").await;
    anna.expect("<presence {…} type='unavailable'>{…}</presence>").await;
    anna.send("<iq type='get' id='out' to='{room}/anna'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    anna.expect("<iq type='error' id='out' from='{room}/anna' to='{anna/x}'>{error:modify:not-acceptable}</iq>").await;
}

/// Whoever is in the room, there are never more than the operator allows.
#[tokio::test]
async fn one_too_many_does_not_come_in() {
    let server = TestServer::start(options().toml("[modules.muc]\noccupants = 2")).await;
    let scene = server.scene();
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let mut ben = scene.session("ben/x").await;
    enter(&mut ben, "ben").await;
    let mut carl = scene.session("carl/x").await;
    carl.send(format!("<presence to='{{room}}/carl'><x xmlns='{MUC}'/></presence>")).await;
    carl.expect("<presence {…} type='error'>{…}{error:wait:service-unavailable}</presence>").await;
    // A device that went without a word leaves its place.
    ben.hang_up();
    drop(ben);
    anna.receive().await;
    let gone = anna.receive().await;
    assert_eq!(gone.attribute("type"), Some("unavailable"), "{gone}");
    enter(&mut carl, "carl").await;
    drop((anna, carl));
    server.stop().await;
}
