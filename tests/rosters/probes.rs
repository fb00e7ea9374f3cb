//! Whoever may see somebody can ask (RFC 6121 §4.3).

use waxwing_testkit::Element;

use crate::common::SERVER;
use crate::pair::say;

#[tokio::test]
async fn c88_a_contact_is_answered_with_all_that_there_is() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut chamber = scene.session("juliet/chamber").await;
    let mut silent = scene.session("juliet/silent").await;
    say("subscribe", &mut romeo, &mut juliet).await;
    say("subscribed", &mut juliet, &mut romeo).await;
    let full = "<show>dnd</show><status xml:lang='en'>asleep</status><priority>-3</priority><c xmlns='urn:x' ver='1'/>";
    chamber.send(format!("<presence id='c1'>{full}</presence>")).await;
    for client in [&mut chamber, &mut juliet, &mut romeo] {
        client.drain().await;
    }
    romeo.send("<presence type='probe' to='{juliet}'/>").await;
    romeo
        .expect_in_any_order(&[
            "<presence from='{juliet/balcony}' to='{romeo/orchard}'/>".to_owned(),
            format!("<presence id='c1' from='{{juliet/chamber}}' to='{{romeo/orchard}}'>{full}</presence>"),
        ])
        .await;
    // Her clients do not hear of it.
    for client in [&mut romeo, &mut juliet, &mut chamber, &mut silent] {
        client.barrier().await;
    }
    // C89: of one device that device, of one that is not available nothing.
    romeo.send("<presence type='probe' to='{juliet/chamber}'/>").await;
    romeo.expect(format!("<presence id='c1' from='{{juliet/chamber}}' to='{{romeo/orchard}}'>{full}</presence>")).await;
    for to in ["{juliet/silent}", "{juliet/gone}"] {
        romeo.send(format!("<presence type='probe' to='{to}'/>")).await;
        let came = romeo.drain().await;
        assert!(came.iter().all(says_nothing_more_than_away), "{came:?}");
    }
}

/// What somebody who is away, somebody who does not want to be seen, and nobody at all may be answered with.
fn says_nothing_more_than_away(answer: &Element) -> bool {
    matches!(answer.attribute("type"), Some("unsubscribed" | "unavailable"))
        && answer.attribute("from").is_some_and(|from| !from.contains('/'))
        && answer.elements().next().is_none()
}

#[tokio::test]
async fn c88_c89_strangers_learn_nothing() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut paris = scene.online("paris/street").await;
    // To see somebody is not to be seen, and to have asked is not to be allowed.
    say("subscribe", &mut juliet, &mut paris).await;
    say("subscribed", &mut paris, &mut juliet).await;
    juliet.drain().await;
    let mut tybalt = scene.online("tybalt/street").await;
    say("subscribe", &mut tybalt, &mut juliet).await;
    scene.account("nurse").await;
    scene.stranger("nobody");
    for asker in [&mut paris, &mut tybalt] {
        let mut answers = Vec::new();
        for to in ["{juliet}", "{juliet/balcony}", "{nurse}", "{nurse/x}", "{nobody}", "{nobody/x}"] {
            asker.send(format!("<presence type='probe' to='{to}'/>")).await;
            let came = asker.drain().await;
            assert!(came.iter().all(says_nothing_more_than_away), "{to}: {came:?}");
            answers.push(came.len());
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "whether she is there can be told: {answers:?}");
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c88_nobody_is_there_for_a_contact_that_is_away() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    juliet.send("<presence type='unavailable'><status>gone</status></presence>").await;
    juliet.drain().await;
    romeo.drain().await;
    romeo.send("<presence type='probe' to='{juliet}'/>").await;
    // The RFC leaves the choice between her last words and silence.
    for answer in romeo.drain().await {
        assert_eq!((answer.name.as_str(), answer.attribute("type")), ("presence", Some("unavailable")), "{answer}");
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c88_one_may_ask_for_ones_own_devices() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut garden = scene.online("romeo/garden").await;
    romeo.send("<presence type='probe' to='{romeo}'/>").await;
    romeo.expect("<presence from='{romeo/garden}' to='{romeo/orchard}'/>").await;
    romeo.barrier().await;
    garden.barrier().await;
}
