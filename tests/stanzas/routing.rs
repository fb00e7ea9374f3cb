//! Stanzas for nobody, for accounts, for resources that are gone (RFC 6120 §10.5, RFC 6121 §8.5).

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::offline::come_online;

/// Sends a stanza to an address and gives what comes back, with the address taken out.
async fn answers(scene: &Scene, romeo: &mut RawClient, stanza: &str, to: &str) -> Vec<String> {
    let to = scene.jid(to);
    romeo.send(stanza.replace("{to}", &to)).await;
    romeo.drain().await.iter().map(|answer| answer.to_string().replace(&to, "{to}")).collect()
}

/// Nobody of that name; an account that is offline; an account that is online. Romeo knows none of them.
async fn people(scene: &Scene) -> (RawClient, RawClient) {
    scene.stranger("nobody");
    scene.account("offline").await;
    (scene.online("juliet/balcony").await, scene.session("romeo/orchard").await)
}

#[tokio::test]
async fn c63_who_does_not_exist_looks_like_who_does_not_know_one() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut romeo) = people(&scene).await;
    for (stanza, expected) in [
        ("<message id='m' to='{to}' type='chat'><body>x</body></message>", &["", "service-unavailable"][..]),
        ("<message id='m' to='{to}'><body>x</body></message>", &["", "service-unavailable"]),
        ("<message id='m' to='{to}' type='headline'><body>x</body></message>", &["", "service-unavailable"]),
        ("<iq id='m' to='{to}' type='get'><query xmlns='jabber:iq:version'/></iq>", &["service-unavailable"]),
        ("<iq id='m' to='{to}' type='get'><query xmlns='jabber:iq:last'/></iq>", &["service-unavailable", "forbidden"]),
        (
            "<iq id='m' to='{to}' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            &["service-unavailable"],
        ),
        ("<presence id='m' to='{to}'/>", &[""]),
        ("<presence id='m' to='{to}' type='unavailable'/>", &[""]),
        ("<presence id='m' to='{to}' type='probe'/>", &["", "unsubscribed"]),
    ] {
        let nobody = answers(&scene, &mut romeo, stanza, "nobody").await;
        let offline = answers(&scene, &mut romeo, stanza, "offline").await;
        assert_eq!(nobody, offline, "{stanza}");
        let fits = |expected: &&str| match *expected {
            "" => nobody.is_empty(),
            word => nobody.len() == 1 && nobody[0].contains(word),
        };
        assert!(expected.iter().any(fits), "{stanza}: {nobody:?}");
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c64_the_server_answers_for_the_account() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut romeo) = people(&scene).await;
    for of_type in ["get", "set"] {
        romeo.send(format!("<iq id='q' to='{{juliet}}' type='{of_type}'><x xmlns='urn:unknown'/></iq>")).await;
        romeo
            .expect(
                "<iq id='q' from='{juliet}' to='{romeo/orchard}' type='error'>{error:cancel:service-unavailable}{…}</iq>",
            )
            .await;
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c65_a_resource_that_is_not_there_is_no_different_from_nobody() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut romeo) = people(&scene).await;
    for payload in ["<x xmlns='urn:unknown'/>", "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:version'/>"] {
        let question = format!("<iq id='q' to='{{to}}' type='get'>{payload}</iq>");
        let nobody = answers(&scene, &mut romeo, &question, "nobody/x").await;
        assert!(nobody.len() == 1 && nobody[0].contains("service-unavailable"), "{nobody:?}");
        assert_eq!(nobody, answers(&scene, &mut romeo, &question, "offline/x").await, "offline");
        assert_eq!(nobody, answers(&scene, &mut romeo, &question, "juliet/x").await, "online, another resource");
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c65_a_resource_that_is_there_gets_the_question() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut romeo) = people(&scene).await;
    romeo.send("<iq id='q' to='{juliet/balcony}' type='get'><x xmlns='urn:x'/></iq>").await;
    juliet.expect("<iq id='q' to='{juliet/balcony}' from='{romeo/orchard}' type='get'><x xmlns='urn:x'/></iq>").await;
    juliet.send("<iq id='q' to='{romeo/orchard}' type='result'><y xmlns='urn:x'/></iq>").await;
    romeo.expect("<iq id='q' to='{romeo/orchard}' from='{juliet/balcony}' type='result'><y xmlns='urn:x'/></iq>").await;
}

#[tokio::test]
async fn c66_an_unknown_type_of_message_is_a_normal_one() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut romeo) = people(&scene).await;
    for (to, id) in [("{juliet}", "1"), ("{juliet/balcony}", "2"), ("{offline}", "3")] {
        romeo.send(format!("<message type='foo' id='{id}' to='{to}'><body>x</body></message>")).await;
    }
    romeo.barrier().await;
    for (to, id) in [("{juliet}", "1"), ("{juliet/balcony}", "2")] {
        let template = format!(
            "<message id='{id}' to='{to}' from='{{romeo/orchard}}' {{…}}><body>x</body>{{stanza-id}}</message>"
        );
        let message = juliet.expect(template).await;
        assert!(matches!(message.attribute("type"), None | Some("normal" | "foo")), "{message}");
    }
    juliet.barrier().await;
    // Stored like a normal one for who is offline.
    let mut offline = scene.session("offline/x").await;
    let came = come_online(&mut romeo, &mut offline, 0).await;
    assert!(came.iter().any(|stanza| stanza.attribute("id") == Some("3")), "{came:?}");
}
