//! Presence that is told to all who may know, and to some besides (RFC 6121 §4.2, §4.4 to §4.7).

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::pair::{Inward, Outward, Pair, State};

/// Romeo with two devices and Juliet with one, who see each other; all is quiet.
async fn friends(scene: &Scene) -> (RawClient, RawClient, RawClient) {
    let mut romeo = scene.online("romeo/orchard").await;
    let mut garden = scene.online("romeo/garden").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    for client in [&mut romeo, &mut garden, &mut juliet] {
        client.drain().await;
    }
    (romeo, garden, juliet)
}

#[tokio::test]
async fn c87_initial_presence_is_shown_to_contacts_and_own_devices() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut garden = scene.online("romeo/garden").await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<presence><show>dnd</show><status>asleep</status></presence>").await;
    juliet.drain().await;
    scene.befriend(&mut garden, &mut juliet).await;
    let mut stranger = scene.online("paris/street").await;
    let content = "<show>chat</show><status>here</status><priority>3</priority><c xmlns='urn:x' ver='1'/>";
    romeo.send(format!("<presence id='p1' xml:lang='en'>{content}</presence>")).await;
    let shown =
        |to: &str| format!("<presence id='p1' xml:lang='en' from='{{romeo/orchard}}' to='{to}'>{content}</presence>");
    juliet.expect(shown("{juliet}")).await;
    garden.expect(shown("{romeo}")).await;
    // He sees himself, his other device, and the answer to the one question to his contact.
    romeo
        .expect_in_any_order(&[
            shown("{romeo}"),
            "<presence from='{romeo/garden}' to='{romeo/orchard}'/>".to_owned(),
            "<presence from='{juliet/balcony}' to='{romeo/orchard}'><show>dnd</show><status>asleep</status></presence>"
                .to_owned(),
        ])
        .await;
    for client in [&mut romeo, &mut garden, &mut juliet, &mut stranger] {
        client.barrier().await;
    }
}

#[tokio::test]
async fn c87_each_subscription_leads_one_way() {
    let (nothing, sees) = (Outward::Nothing, Outward::Sees);
    for (outward, inward) in [
        (nothing, Inward::Seen),
        (sees, Inward::Nothing),
        (nothing, Inward::Nothing),
        (Outward::Asked, Inward::Pending),
    ] {
        let romeo = State { outward, inward };
        let juliet = State {
            outward: match inward {
                Inward::Nothing => nothing,
                Inward::Pending => Outward::Asked,
                Inward::Seen => sees,
            },
            inward: match outward {
                Outward::Nothing => Inward::Nothing,
                Outward::Asked => Inward::Pending,
                Outward::Sees => Inward::Seen,
            },
        };
        let mut pair = Pair::new(romeo, juliet).await;
        pair.juliet.go_online(0).await;
        pair.romeo.barrier().await;
        pair.romeo.send("<presence/>").await;
        pair.romeo.expect("<presence from='{romeo/orchard}' to='{romeo}'/>").await;
        if outward == sees {
            pair.romeo.expect("<presence from='{juliet/balcony}' to='{romeo/orchard}'/>").await;
        }
        if inward == Inward::Pending {
            pair.romeo.expect("<presence type='subscribe' from='{juliet}' to='{romeo}'/>").await;
        }
        if inward == Inward::Seen {
            pair.juliet.expect("<presence from='{romeo/orchard}' to='{juliet}'/>").await;
        }
        pair.romeo.barrier().await;
        pair.juliet.barrier().await;
    }
}

#[tokio::test]
async fn c90_later_presence_is_told_and_nobody_is_asked_again() {
    let scene = SERVER.scene().await;
    let (mut romeo, mut garden, mut juliet) = friends(&scene).await;
    romeo.send("<presence><show>away</show></presence>").await;
    let shown = |to: &str| format!("<presence from='{{romeo/orchard}}' to='{{{to}}}'><show>away</show></presence>");
    juliet.expect(shown("juliet")).await;
    garden.expect(shown("romeo")).await;
    romeo.expect(shown("romeo")).await;
    // Neither Juliet's presence nor that of the other device comes again.
    romeo.barrier().await;
    // The priority leads messages from now on.
    romeo.send("<presence><priority>-5</priority></presence>").await;
    for client in [&mut romeo, &mut garden, &mut juliet] {
        client.drain().await;
    }
    juliet.send("<message type='chat' to='{romeo}' id='m1'><body>x</body></message>").await;
    garden
        .expect("<message type='chat' from='{juliet/balcony}' to='{romeo}' id='m1'><body>x</body>{…}</message>")
        .await;
    romeo.barrier().await;
}

#[tokio::test]
async fn c91_everyone_who_was_told_hears_of_the_end_once() {
    for says_goodbye in [true, false] {
        let scene = SERVER.scene().await;
        let (mut romeo, mut garden, mut juliet) = friends(&scene).await;
        let mut paris = scene.online("paris/street").await;
        let mut nurse = scene.session("nurse/hall").await;
        // To somebody else, to a device that is not available, and to a friend besides.
        for to in ["{paris}", "{nurse/hall}", "{juliet/balcony}"] {
            romeo.send(format!("<presence to='{to}'/>")).await;
        }
        romeo.barrier().await;
        paris.expect("<presence from='{romeo/orchard}' to='{paris}'/>").await;
        nurse.expect("<presence from='{romeo/orchard}' to='{nurse/hall}'/>").await;
        juliet.expect("<presence from='{romeo/orchard}' to='{juliet/balcony}'/>").await;
        let status = if says_goodbye {
            romeo.send("<presence type='unavailable'><status>bye</status></presence>").await;
            romeo
                .expect(
                    "<presence type='unavailable' from='{romeo/orchard}' to='{romeo}'><status>bye</status></presence>",
                )
                .await;
            "<status>bye</status>"
        } else {
            romeo.hang_up();
            ""
        };
        let gone =
            |to: &str| format!("<presence type='unavailable' from='{{romeo/orchard}}' to='{to}'>{status}</presence>");
        paris.expect(gone("{paris}")).await;
        nurse.expect(gone("{nurse/hall}")).await;
        juliet.expect(gone("{juliet}")).await;
        garden.expect(gone("{romeo}")).await;
        // The session is over for good: another end is told to nobody.
        if says_goodbye {
            romeo.send("<presence type='unavailable'/>").await;
            romeo.barrier().await;
            romeo.send("</stream:stream>").await;
            romeo.expect_end().await;
        }
        // The address is free again when the end has been told.
        let mut again = scene.session("romeo/orchard").await;
        again.barrier().await;
        for client in [&mut paris, &mut nurse, &mut juliet, &mut garden] {
            client.barrier().await;
        }
    }
}

#[tokio::test]
async fn c91_who_comes_back_at_once_is_not_taken_for_gone() {
    let scene = SERVER.scene().await;
    let (mut romeo, _garden, mut juliet) = friends(&scene).await;
    for _ in 0..10 {
        romeo.hang_up();
        romeo = scene.online("romeo/orchard").await;
        // First the old end, then the new beginning, and that is the last word.
        juliet.expect("<presence type='unavailable' from='{romeo/orchard}' to='{juliet}'/>").await;
        juliet.expect("<presence from='{romeo/orchard}' to='{juliet}'/>").await;
    }
    romeo.barrier().await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c91_a_client_that_comes_back_is_told_from_the_beginning() {
    let scene = SERVER.scene().await;
    let (mut romeo, _garden, mut juliet) = friends(&scene).await;
    romeo.send("<presence type='unavailable'/>").await;
    romeo.drain().await;
    juliet.expect("<presence type='unavailable' from='{romeo/orchard}' to='{juliet}'/>").await;
    // What happens now does not concern it.
    juliet.send("<presence><show>xa</show></presence>").await;
    juliet.drain().await;
    romeo.barrier().await;
    romeo.send("<presence/>").await;
    romeo
        .expect_in_any_order(&[
            "<presence from='{romeo/orchard}' to='{romeo}'/>",
            "<presence from='{romeo/garden}' to='{romeo/orchard}'/>",
            "<presence from='{juliet/balcony}' to='{romeo/orchard}'><show>xa</show></presence>",
        ])
        .await;
    juliet.expect("<presence from='{romeo/orchard}' to='{juliet}'/>").await;
}

#[tokio::test]
async fn c92_presence_for_one_is_for_one() {
    let scene = SERVER.scene().await;
    let (mut romeo, mut garden, mut juliet) = friends(&scene).await;
    let mut paris = scene.online("paris/street").await;
    romeo.send("<presence to='{paris/street}' id='d1'><show>chat</show><x xmlns='urn:x'/></presence>").await;
    paris.expect("<presence from='{romeo/orchard}' to='{paris/street}' id='d1'><show>chat</show><x xmlns='urn:x'/></presence>").await;
    romeo.barrier().await;
    juliet.barrier().await;
    garden.barrier().await;
    // It is no subscription: a broadcast is not for him, a question is not answered.
    romeo.send("<presence><show>away</show></presence>").await;
    romeo.drain().await;
    paris.barrier().await;
    paris.send("<presence type='probe' to='{romeo}'/>").await;
    let came = paris.drain().await;
    assert!(came.iter().all(|stanza| stanza.attribute("type") == Some("unsubscribed")), "{came:?}");
    // That it is gone for him is told once, also when it is gone for all later.
    romeo.send("<presence type='unavailable' to='{paris/street}'><status>later</status></presence>").await;
    paris
        .expect(
            "<presence type='unavailable' from='{romeo/orchard}' to='{paris/street}'><status>later</status></presence>",
        )
        .await;
    juliet.drain().await;
    romeo.send("<presence type='unavailable'/>").await;
    romeo.drain().await;
    juliet.expect("<presence type='unavailable' from='{romeo/orchard}' to='{juliet}'/>").await;
    paris.barrier().await;
}

#[tokio::test]
async fn c93_who_shows_himself_to_some_is_not_there_for_the_others() {
    let scene = SERVER.scene().await;
    let mut paris = scene.online("paris/street").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut garden = scene.online("romeo/garden").await;
    scene.befriend(&mut garden, &mut juliet).await;
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send("<presence to='{paris/street}'/>").await;
    paris.expect("<presence from='{romeo/orchard}' to='{paris/street}'/>").await;
    // Nobody shows himself to it, and it is shown to nobody else.
    for client in [&mut romeo, &mut juliet, &mut garden] {
        client.barrier().await;
    }
    // What is for the person does not come here, what is for the device does.
    paris.send("<message type='chat' to='{romeo}' id='m1'/><message type='chat' to='{romeo/orchard}' id='m2'/>").await;
    romeo.expect("<message type='chat' from='{paris/street}' to='{romeo/orchard}' id='m2'/>").await;
    garden.expect("<message type='chat' from='{paris/street}' to='{romeo}' id='m1'/>").await;
    // Its end is told where it was seen.
    romeo.hang_up();
    paris.expect("<presence type='unavailable' from='{romeo/orchard}' to='{paris/street}'/>").await;
    let mut again = scene.session("romeo/orchard").await;
    again.barrier().await;
    for client in [&mut paris, &mut juliet, &mut garden] {
        client.barrier().await;
    }
}

#[tokio::test]
async fn c95_odd_content_is_forwarded_or_refused() {
    let scene = SERVER.scene().await;
    let (mut romeo, mut garden, mut juliet) = friends(&scene).await;
    for content in [
        "<show>away</show><show>dnd</show>",
        "<show>dancing</show>",
        "<show/>",
        "<show xml:lang='de'>away</show>",
        "<show><b xmlns='urn:x'/>away</show>",
        "<status>one</status><status>two</status>",
        "<status xml:lang='de'>eins</status><status xml:lang='de'>zwei</status>",
        "<status/>",
        "<priority>1</priority><priority>2</priority>",
        "<show xmlns='urn:x'>unknown</show><y xmlns='urn:y'>&lt;&amp;&gt;</y>",
    ] {
        romeo.send(format!("<presence id='o'>{content}</presence>")).await;
        let answers = romeo.drain().await;
        assert_eq!(answers.len(), 1, "{answers:?}");
        if answers[0].attribute("type") == Some("error") {
            let error = answers[0].child("error");
            assert!(error.is_some_and(|error| error.child("bad-request").is_some()), "{}", answers[0]);
        } else {
            let shown =
                |to: &str| format!("<presence id='o' from='{{romeo/orchard}}' to='{{{to}}}'>{content}</presence>");
            juliet.expect(shown("juliet")).await;
            garden.expect(shown("romeo")).await;
        }
        juliet.barrier().await;
        garden.barrier().await;
    }
    // It is there as it was.
    juliet.send("<message type='chat' to='{romeo/orchard}' id='m'/>").await;
    romeo.expect("<message type='chat' from='{juliet/balcony}' to='{romeo/orchard}' id='m'/>").await;
}
