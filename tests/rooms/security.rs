//! Rows S19 and S20 of the security list, and F29 of the fault list, over the wire.

use waxwing_testkit::{Element, RawClient};

use crate::common::SERVER;
use crate::{CHANNEL, MUC, enter, make, name_room, next_message, talk};

#[tokio::test]
async fn s19_receivers_see_exactly_one_occupant_id_and_the_server_made_it() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let mut mallory = scene.session("mallory/x").await;
    let forged = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>";
    mallory.send(format!("<presence to='{{room}}/mallory'>{forged}<x xmlns='{MUC}'/>{forged}</presence>")).await;
    let presence = anna.receive().await;
    mallory.send(format!("<message to='{{room}}' type='groupchat'>{forged}<body>x</body>{forged}</message>")).await;
    let message = next_message(&mut anna).await;
    let mut ids = Vec::new();
    for stanza in [&presence, &message] {
        let found: Vec<_> = stanza.elements().filter(|child| child.name == "occupant-id").collect();
        assert_eq!(found.len(), 1, "{stanza}");
        ids.push(found[0].attribute("id").unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], "forged");
    // A private message bears it, too.
    mallory.send(format!("<message to='{{room}}/anna' type='chat'>{forged}<body>x</body></message>")).await;
    let message = next_message(&mut anna).await;
    let found: Vec<_> = message.elements().filter(|child| child.name == "occupant-id").collect();
    assert_eq!((found.len(), found[0].attribute("id")), (1, Some(ids[0].as_str())), "{message}");
}

/// Passes over what the room tells, until it answers.
async fn answer(client: &mut RawClient) -> Element {
    loop {
        let stanza = client.receive().await;
        if stanza.name == "iq" {
            return stanza;
        }
    }
}

#[tokio::test]
async fn s20_lists_and_affiliations_are_guarded() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", &[]).await;
    for name in ["ben", "carl", "dora"] {
        scene.account(name).await;
    }
    let set =
        |items: &str| format!("<iq type='set' id='s' to='{{room}}'><query xmlns='{MUC}#admin'>{items}</query></iq>");
    anna.send(set("<item affiliation='member' jid='{ben}'/><item affiliation='admin' jid='{carl}'/><item affiliation='outcast' jid='{dora}'/>")).await;
    let result = answer(&mut anna).await;
    assert_eq!(result.attribute("type"), Some("result"), "{result}");
    let mut stranger = scene.session("stranger/x").await;
    for list in ["owner", "admin", "member", "outcast"] {
        stranger.send(format!("<iq type='get' id='l' to='{{room}}'><query xmlns='{MUC}#admin'><item affiliation='{list}'/></query></iq>")).await;
        stranger.expect("<iq {…} type='error'>{error:auth:forbidden}</iq>").await;
    }
    let mut ben = scene.session("ben/x").await;
    ben.send(set("<item affiliation='owner' jid='{ben}'/>")).await;
    ben.expect("<iq {…} type='error'>{error:cancel:not-allowed}</iq>").await;
    anna.send(set("<item affiliation='none' jid='{anna}'/>")).await;
    let refused = answer(&mut anna).await;
    assert!(refused.to_string().contains("conflict"), "the last owner went: {refused}");
    let mut carl = scene.session("carl/x").await;
    carl.send(set("<item affiliation='outcast' jid='{anna}'/>")).await;
    carl.expect("<iq {…} type='error'>{error:cancel:not-allowed}</iq>").await;
    let mut dora = scene.session("dora/x").await;
    for room in [scene.jid("room"), scene.jid("room").to_uppercase()] {
        dora.send(format!("<presence to='{room}/dora'><x xmlns='{MUC}'/></presence>")).await;
        dora.expect("<presence {…} type='error'>{…}{error:auth:forbidden}</presence>").await;
    }
    for nick in ["anna", "ANNA", "ａｎｎａ", "anna "] {
        ben.send(format!("<presence to='{{room}}/{nick}'><x xmlns='{MUC}'/></presence>")).await;
        ben.expect("<presence {…} type='error'>{…}{error:cancel:conflict}</presence>").await;
    }
    ben.send("<message to='{room}/anna' type='chat'><body>psst</body></message>").await;
    ben.expect("<message {…} type='error'>{error:modify:not-acceptable}</message>").await;
}

#[tokio::test]
async fn f29_poison_reaches_everyone_as_it_was_sent() {
    let scene = SERVER.scene().await;
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let mut ben = scene.session("ben/x").await;
    enter(&mut ben, "ben").await;
    let zalgo = format!("Z{}", "\u{334}\u{35B}\u{307}".repeat(3000));
    for body in ["\u{1F9D9}".repeat(100_000), "<".repeat(10_000), zalgo, "\u{202E}\u{5D0}\u{5D1}\u{2066}x".to_owned()] {
        let escaped = body.replace('<', "&lt;");
        ben.send_bytes(format!(
            "<message to='{}' type='groupchat' id='p'><body>{escaped}</body></message>",
            scene.jid("room")
        ))
        .await;
        for client in [&mut anna, &mut ben] {
            let message = next_message(client).await;
            assert!(message.text_of("body").as_deref() == Some(&*body), "changed on the way");
        }
    }
    let endless = "x".repeat(100_001);
    talk(&mut ben, &endless).await;
    ben.expect("<message {…} type='error'>{error:modify:policy-violation}</message>").await;
}
