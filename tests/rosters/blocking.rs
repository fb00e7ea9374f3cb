//! Blocked contacts (XEP-0191, as it meets RFC 6121 §4 and §8).

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;

/// Romeo and Juliet see each other; all is quiet.
async fn friends(scene: &Scene) -> (RawClient, RawClient) {
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    (romeo, juliet)
}

/// Juliet blocks or unblocks somebody; she has not asked for her list, so the answer is all she gets.
async fn tell(juliet: &mut RawClient, word: &str, items: &str) {
    juliet.send(format!("<iq type='set' id='b'><{word} xmlns='urn:xmpp:blocking'>{items}</{word}></iq>")).await;
}

#[tokio::test]
async fn c94_who_is_blocked_sees_nobody_there() {
    let scene = SERVER.scene().await;
    let (mut romeo, mut juliet) = friends(&scene).await;
    tell(&mut juliet, "block", "<item jid='{romeo}'/>").await;
    juliet.expect("<iq type='result' id='b' from='{any}' to='{juliet/balcony}'/>").await;
    romeo.expect("<presence type='unavailable' from='{juliet/balcony}' to='{romeo}'/>").await;

    // Nothing she does is shown to him.
    for presence in ["<presence><show>away</show></presence>", "<presence type='unavailable'/>", "<presence/>"] {
        juliet.send(presence).await;
        let came = juliet.drain().await;
        assert!(came.iter().all(|stanza| stanza.attribute("from") == Some(juliet.jid())), "{came:?}");
        romeo.barrier().await;
    }
    // Nothing he does comes to her; he gets the answer of an account that is not there.
    for to in ["{juliet}", "{juliet/balcony}"] {
        for stanza in [
            format!("<message type='chat' id='x' to='{to}'><body>x</body></message>"),
            format!("<message id='x' to='{to}'><body>x</body></message>"),
            format!("<iq type='get' id='x' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>"),
            format!("<iq type='set' id='x' to='{to}'><x xmlns='urn:x'/></iq>"),
        ] {
            romeo.send(&stanza).await;
            let kind = stanza.split([' ', '<']).nth(1).expect("a name").to_owned();
            romeo
                .expect(format!(
                    "<{kind} type='error' id='x' from='{to}' to='{{romeo/orchard}}'>{{error:cancel:service-unavailable}}{{…}}</{kind}>"
                ))
                .await;
        }
        for silent in [
            format!("<message type='headline' to='{to}'><body>x</body></message>"),
            format!(
                "<message type='error' to='{to}'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            ),
            format!("<iq type='result' id='x' to='{to}'/>"),
            format!("<presence to='{to}'/>"),
            format!("<presence type='probe' to='{to}'/>"),
            format!("<presence type='unavailable' to='{to}'/>"),
        ] {
            romeo.send(silent).await;
            romeo.barrier().await;
        }
    }
    romeo.send("<presence><show>xa</show></presence>").await;
    romeo.drain().await;
    juliet.barrier().await;
    // His other devices and those that come online now see no more of her, and she nothing of them.
    let mut garden = scene.session("romeo/garden").await;
    let came = garden.go_online(0).await;
    assert!(
        came.iter().all(|stanza| stanza.attribute("from").is_some_and(|from| from.starts_with(garden.bare()))),
        "{came:?}"
    );
    juliet.barrier().await;
}

#[tokio::test]
async fn c94_who_has_blocked_cannot_speak_to_the_blocked() {
    let scene = SERVER.scene().await;
    let (mut romeo, mut juliet) = friends(&scene).await;
    tell(&mut juliet, "block", "<item jid='{romeo}'/>").await;
    juliet.drain().await;
    romeo.drain().await;
    for to in ["{romeo}", "{romeo/orchard}"] {
        for (kind, rest) in [
            ("message", "type='chat'><body>x</body>"),
            ("presence", "type='probe'>"),
            ("iq", "type='get'><ping xmlns='urn:xmpp:ping'/>"),
        ] {
            juliet.send(format!("<{kind} id='x' to='{to}' {rest}</{kind}>")).await;
            juliet
                .expect(format!(
                    "<{kind} type='error' id='x' from='{to}' to='{{juliet/balcony}}'>\
                     <error type='cancel' {{…}}><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                     <blocked xmlns='urn:xmpp:blocking:errors'/>{{…}}</error>{{…}}</{kind}>"
                ))
                .await;
        }
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn c94_both_see_each_other_again_when_the_block_ends() {
    let scene = SERVER.scene().await;
    let (mut romeo, mut juliet) = friends(&scene).await;
    for unblock in ["<item jid='{romeo}'/>", ""] {
        tell(&mut juliet, "block", "<item jid='{romeo}'/>").await;
        juliet.drain().await;
        romeo.drain().await;
        juliet.send("<presence><show>dnd</show></presence>").await;
        juliet.drain().await;
        romeo.send("<presence><show>xa</show></presence>").await;
        romeo.drain().await;
        tell(&mut juliet, "unblock", unblock).await;
        juliet
            .expect_in_any_order(&[
                "<iq type='result' id='b' from='{any}' to='{juliet/balcony}'/>",
                "<presence from='{romeo/orchard}' to='{juliet}'><show>xa</show></presence>",
            ])
            .await;
        romeo.expect("<presence from='{juliet/balcony}' to='{romeo}'><show>dnd</show></presence>").await;
        // The subscriptions have outlived it.
        romeo.send("<presence/>").await;
        juliet.expect("<presence from='{romeo/orchard}' to='{juliet}'/>").await;
        juliet.send("<presence/>").await;
        romeo.drain().await;
        juliet.drain().await;
        romeo.drain().await;
    }
}

#[tokio::test]
async fn c94_a_blocked_strangers_request_is_never_shown() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut paris = scene.online("paris/street").await;
    tell(&mut juliet, "block", "<item jid='{paris}'/>").await;
    juliet.drain().await;
    for word in ["subscribe", "subscribed", "unsubscribe", "unsubscribed"] {
        paris.send(format!("<presence type='{word}' to='{{juliet}}'/>")).await;
        paris.barrier().await;
    }
    juliet.barrier().await;
    // Nor is it kept for later.
    tell(&mut juliet, "unblock", "").await;
    juliet.drain().await;
    let mut next = scene.session("juliet/chamber").await;
    let came = next.go_online(0).await;
    assert!(came.iter().all(|stanza| stanza.attribute("type").is_none()), "{came:?}");
}

#[tokio::test]
async fn c94_devices_that_have_asked_for_the_list_hear_of_its_changes() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.session("juliet/balcony").await;
    let mut chamber = scene.session("juliet/chamber").await;
    juliet.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>").await;
    juliet.expect("<iq type='result' id='l' {…}><blocklist xmlns='urn:xmpp:blocking'/></iq>").await;
    tell(&mut chamber, "block", "<item jid='iago@x.lit'/><item jid='y.lit'/>").await;
    let items = "<item jid='iago@x.lit'/><item jid='y.lit'/>{unordered}";
    juliet
        .expect(format!(
            "<iq type='set' id='{{any}}' from='{{juliet}}' to='{{juliet/balcony}}'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>"
        ))
        .await;
    chamber.expect("<iq type='result' id='b' {…}/>").await;
    chamber.barrier().await;
    chamber.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>").await;
    chamber
        .expect(format!("<iq type='result' id='l' {{…}}><blocklist xmlns='urn:xmpp:blocking'>{items}</blocklist></iq>"))
        .await;
}
