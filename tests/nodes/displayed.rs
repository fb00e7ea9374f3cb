//! Where a conversation was read, told by the server to the account's other devices (XEP-0490 §4.5).

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{PUBSUB, ask, ids, listener, publish, read, refusal};

const NODE: &str = "urn:xmpp:mds:displayed:0";

const POSITION: &str = "<displayed xmlns='urn:xmpp:mds:displayed:0'><stanza-id xmlns='urn:xmpp:sid:0' by='{juliet}' id='0423'/></displayed>";

async fn devices(scene: &Scene) -> [RawClient; 3] {
    let mut juliet = scene.online("juliet/balcony").await;
    let (mut phone, _) = listener(scene, "juliet/phone", &[NODE]).await;
    phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    phone.drain().await;
    juliet.drain().await;
    [juliet, phone, scene.online("romeo/orchard").await]
}

#[tokio::test]
async fn a_marker_for_a_contact_tells_the_other_devices_too() {
    let scene = SERVER.scene().await;
    let [mut juliet, mut phone, mut romeo] = devices(&scene).await;
    let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='the-msg-1'/>";
    juliet.send(format!("<message to='{{romeo}}' type='chat' id='m'>{marker}{POSITION}</message>")).await;
    // The contact does not see which message of her archive it was; nor does a copy, nor the archive.
    let came = romeo.receive().await;
    assert!(came.to_string().contains("chat-markers") && !came.to_string().contains("mds"), "{came}");
    let mut came = vec![phone.receive().await, phone.receive().await];
    came.sort_by_key(|stanza| stanza.child("event").is_none());
    let event = came[0].to_string();
    for part in [NODE, &scene.jid("romeo"), "0423", "headline"] {
        assert!(event.contains(part), "{part}: {event}");
    }
    assert!(came[1].to_string().contains("urn:xmpp:carbons:2") && !came[1].to_string().contains("mds"), "{came:?}");
    juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let archive: String = juliet.drain().await.iter().map(ToString::to_string).collect();
    assert!(archive.contains("chat-markers") && !archive.contains("mds"), "{archive}");
    assert_eq!(ids(&read(&mut juliet, "{juliet}", NODE).await), [scene.jid("romeo")]);
    // What was published so is the account's alone, for each conversation one item.
    assert_eq!(refusal(&read(&mut romeo, "{juliet}", NODE).await), "not-authorized presence-subscription-required");
    juliet.send(format!("<message to='nurse@{{host}}'>{marker}{POSITION}</message>")).await;
    juliet.send(format!("<message to='{{romeo}}'>{marker}{}</message>", POSITION.replace("0423", "0424"))).await;
    juliet.drain().await;
    let answer = read(&mut juliet, "{juliet}", NODE).await;
    assert_eq!(ids(&answer).len(), 2);
    assert!(answer.to_string().contains("0424"), "{answer}");
    // The other device comes later, and reads where she was.
    let mut tablet = scene.online("juliet/tablet").await;
    assert_eq!(ids(&read(&mut tablet, "{juliet}", NODE).await).len(), 2);
}

#[tokio::test]
async fn a_position_never_gets_out_whatever_becomes_of_it() {
    let scene = SERVER.scene().await;
    let [mut juliet, _phone, mut romeo] = devices(&scene).await;
    // She has opened the node to everyone: then nothing is written there.
    publish(&mut juliet, NODE, "x", "y", &[("access_model", "open")]).await;
    for content in [
        POSITION.to_owned(),
        POSITION.repeat(2),
        "<displayed xmlns='urn:xmpp:mds:displayed:0'/>".to_owned(),
        "<displayed xmlns='urn:xmpp:mds:displayed:0'><x xmlns='urn:x'/></displayed>".to_owned(),
    ] {
        juliet.send(format!("<message to='{{romeo}}' type='chat'><body>x</body>{content}</message>")).await;
        let came = romeo.receive().await;
        assert!(came.child("body").is_some() && !came.to_string().contains("mds"), "{came}");
    }
    assert_eq!(ids(&read(&mut juliet, "{juliet}", NODE).await), ["x"]);
}

#[tokio::test]
async fn the_account_says_that_it_does_so() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let iq = "<iq type='get' id='d' to='{juliet}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let told = ask(&mut juliet, iq).await.to_string();
    for feature in
        ["urn:xmpp:mds:server-assist:0", "urn:xmpp:bookmarks:1#compat", "urn:xmpp:bookmarks:1#compat-pep", PUBSUB]
    {
        assert!(told.contains(feature), "{feature}: {told}");
    }
}
