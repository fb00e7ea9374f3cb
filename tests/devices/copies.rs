//! What is copied to whom (XEP-0280 §6 to §10).

use waxwing_testkit::{Element, RawClient, Scene};

use crate::common::SERVER;

const CARBONS: &str = "urn:xmpp:carbons:2";

/// A client that is online and wants copies.
pub async fn copied(scene: &Scene, who: &str) -> RawClient {
    let mut client = scene.online(who).await;
    enable(&mut client).await;
    client
}

pub async fn enable(client: &mut RawClient) {
    client.send("<iq type='set' id='enable'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    loop {
        let answer = client.receive().await;
        if answer.attribute("id") == Some("enable") {
            assert_eq!(answer.attribute("type"), Some("result"), "{answer}");
            return;
        }
    }
}

/// The message inside a copy, and which side it is.
pub fn inside(copy: &Element) -> Option<(&'static str, Element)> {
    let (side, element) =
        ["sent", "received"].into_iter().find_map(|side| Some((side, copy.child_in(CARBONS, side)?)))?;
    let message = element.child_in("urn:xmpp:forward:0", "forwarded")?.child_in("jabber:client", "message")?;
    Some((side, message.clone()))
}

/// What a client has been sent of messages: each as its side and id, with `direct` for those that are for itself.
pub async fn messages(client: &mut RawClient) -> Vec<String> {
    let came = client.drain().await;
    let told = came.iter().filter(|stanza| stanza.name == "message").map(|stanza| match inside(stanza) {
        Some((side, message)) => format!("{side} {}", message.attribute("id").unwrap_or_default()),
        None => format!("direct {}", stanza.attribute("id").unwrap_or_default()),
    });
    told.collect()
}

#[tokio::test]
async fn both_sides_of_a_conversation_are_copied() {
    let scene = SERVER.scene().await;
    let mut romeo = copied(&scene, "romeo/orchard").await;
    let mut home = copied(&scene, "romeo/home").await;
    let mut plain = scene.online("romeo/plain").await;
    let mut juliet = copied(&scene, "juliet/balcony").await;
    let mut chamber = copied(&scene, "juliet/chamber").await;
    for client in [&mut romeo, &mut home, &mut plain, &mut juliet, &mut chamber] {
        client.drain().await;
    }
    romeo.send("<message type='chat' to='{juliet/balcony}' id='1'><body>&lt;hi&gt;</body></message>").await;
    romeo.barrier().await;
    let direct = juliet.expect("<message type='chat' from='{romeo/orchard}' to='{juliet/balcony}' id='1'><body>&lt;hi></body>{…}</message>").await;
    let copy = chamber
        .expect(
            "<message type='chat' from='{juliet}' to='{juliet/chamber}'><received xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{any}'/>\
             <message xmlns='jabber:client' type='chat' from='{romeo/orchard}' to='{juliet/balcony}' id='1'>\
             <body>&lt;hi></body>{…}</message></forwarded></received></message>",
        )
        .await;
    let sent = home
        .expect(
            "<message type='chat' from='{romeo}' to='{romeo/home}'><sent xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{any}'/>\
             <message xmlns='jabber:client' type='chat' from='{romeo/orchard}' to='{juliet/balcony}' id='1'>\
             <body>&lt;hi></body>{…}</message></forwarded></sent></message>",
        )
        .await;
    for client in [&mut romeo, &mut home, &mut plain, &mut juliet, &mut chamber] {
        client.barrier().await;
    }
    // Each copy names the message as the account's own archive does, and only that.
    let id = |message: &Element, by: &str| {
        let ids: Vec<&Element> = message.elements().filter(|child| child.name == "stanza-id").collect();
        assert!(ids.len() <= 1, "{message}");
        ids.first().map(|id| {
            assert_eq!(id.attribute("by"), Some(by), "{message}");
            id.attribute("id").unwrap_or_default().to_owned()
        })
    };
    let juliets = id(&direct, &scene.jid("juliet"));
    assert_eq!(id(&inside(&copy).expect("a copy").1, &scene.jid("juliet")), juliets);
    let romeos = id(&inside(&sent).expect("a copy").1, &scene.jid("romeo"));
    assert!(juliets.is_some() && romeos.is_some() && juliets != romeos);
}

#[tokio::test]
async fn copies_go_to_who_wants_them_and_did_not_get_the_message() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut one = copied(&scene, "juliet/one").await;
    let mut two = copied(&scene, "juliet/two").await;
    let mut negative = scene.online_with("juliet/negative", -1).await;
    enable(&mut negative).await;
    let mut silent = scene.session("juliet/silent").await;
    enable(&mut silent).await;
    for client in [&mut one, &mut two, &mut negative, &mut silent] {
        client.drain().await;
    }
    // To the account: both that are open get it themselves, the one that has said nothing gets a copy.
    romeo.send("<message type='chat' to='{juliet}' id='1'><body>x</body></message>").await;
    romeo.barrier().await;
    assert_eq!(messages(&mut one).await, ["direct 1"]);
    assert_eq!(messages(&mut two).await, ["direct 1"]);
    assert_eq!(messages(&mut silent).await, ["received 1"]);
    assert_eq!(messages(&mut negative).await, [] as [String; 0], "s16: none to a negative priority");
    // What one writes to oneself comes to each device once.
    one.send("<message type='chat' to='{juliet/two}' id='2'><body>x</body></message>").await;
    one.barrier().await;
    assert_eq!(messages(&mut two).await, ["direct 2"]);
    assert_eq!(messages(&mut silent).await, ["received 2"]);
    one.send("<message type='chat' to='{juliet}' id='3'><body>x</body></message>").await;
    assert_eq!(messages(&mut one).await, ["direct 3"]);
    assert_eq!(messages(&mut two).await, ["direct 3"]);
    assert_eq!(messages(&mut silent).await, ["received 3"]);
    // Whoever does not want them any more gets none, as often as it is said.
    for _ in 0..2 {
        silent.send("<iq type='set' id='d'><disable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        silent.expect("<iq type='result' id='d' {…}/>").await;
        two.send("<iq type='set' id='e'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        two.expect("<iq type='result' id='e' {…}/>").await;
    }
    romeo.send("<message type='chat' to='{juliet/one}' id='4'><body>x</body></message>").await;
    romeo.barrier().await;
    assert_eq!(messages(&mut silent).await, [] as [String; 0]);
    assert_eq!(messages(&mut two).await, ["received 4"]);
}

#[tokio::test]
async fn only_messages_of_instant_messaging_are_copied() {
    let scene = SERVER.scene().await;
    let mut romeo = copied(&scene, "romeo/orchard").await;
    let mut home = copied(&scene, "romeo/home").await;
    let mut juliet = copied(&scene, "juliet/balcony").await;
    let mut chamber = copied(&scene, "juliet/chamber").await;
    for client in [&mut romeo, &mut home, &mut juliet, &mut chamber] {
        client.drain().await;
    }
    for (of, id, content) in [
        ("chat", "state", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
        ("normal", "nothing", "<x xmlns='urn:x'/>"),
        ("normal", "receipt", "<received xmlns='urn:xmpp:receipts' id='1'/>"),
        ("headline", "news", "<body>x</body>"),
        ("chat", "private", "<body>x</body><private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/>"),
        ("chat", "no-copy", "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>"),
        ("normal", "invitation", "<x xmlns='jabber:x:conference' jid='room@rooms.lit'/>"),
        ("chat", "occupant", "<body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/>"),
    ] {
        romeo.send(format!("<message type='{of}' to='{{juliet/balcony}}' id='{id}'>{content}</message>")).await;
    }
    romeo.barrier().await;
    let direct: Vec<String> =
        juliet.drain().await.iter().map(|message| message.attribute("id").unwrap_or_default().to_owned()).collect();
    assert_eq!(direct, ["state", "nothing", "receipt", "news", "private", "no-copy", "invitation", "occupant"]);
    assert_eq!(messages(&mut home).await, ["sent state", "sent receipt", "sent invitation", "sent occupant"]);
    assert_eq!(messages(&mut chamber).await, ["received state", "received receipt", "received invitation"]);
}

#[tokio::test]
async fn an_error_is_copied_like_the_message_it_answers() {
    let scene = SERVER.scene().await;
    let mut romeo = copied(&scene, "romeo/orchard").await;
    let mut home = copied(&scene, "romeo/home").await;
    let mut juliet = scene.online("juliet/balcony").await;
    for client in [&mut romeo, &mut home, &mut juliet] {
        client.drain().await;
    }
    for (id, of) in [("copied", "chat"), ("not-copied", "headline")] {
        romeo.send(format!("<message type='{of}' to='{{juliet/balcony}}' id='{id}'><body>x</body></message>")).await;
        juliet.expect(format!("<message id='{id}' {{…}}>{{…}}</message>")).await;
        juliet
            .send(format!(
                "<message type='error' to='{{romeo/orchard}}' id='{id}'><error type='cancel'>\
                 <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            ))
            .await;
        juliet.barrier().await;
    }
    assert_eq!(messages(&mut romeo).await, ["direct copied", "direct not-copied"]);
    assert_eq!(messages(&mut home).await, ["sent copied", "received copied"]);
}

#[tokio::test]
async fn only_ones_own_copies_can_be_asked_for() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    scene.account("juliet").await;
    romeo.send("<iq type='set' id='1' to='{juliet}'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    romeo.expect("<iq type='error' id='1' {…}>{error:cancel:not-allowed}</iq>").await;
    romeo.send("<iq type='set' id='2' to='{romeo}'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    romeo.expect("<iq type='result' id='2' {…}/>").await;
    romeo.send("<iq type='get' id='3'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    romeo.expect("<iq type='error' id='3' {…}>{error:modify:bad-request}</iq>").await;
    romeo.send("<iq type='get' id='4' to='{host}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>").await;
    let info = romeo.receive().await.to_string();
    for feature in ["urn:xmpp:carbons:2", "urn:xmpp:carbons:rules:0"] {
        assert!(info.contains(&format!("'{feature}'")) || info.contains(&format!("\"{feature}\"")), "{info}");
    }
}
