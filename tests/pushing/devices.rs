//! Devices that have a connection, or seem to: awake, asleep (XEP-0352), silent or gone (XEP-0198).

use std::time::{Duration, Instant};

use waxwing_testkit::RawClient;

use crate::app::{App, SERVER, goes, registers, writes};

const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";

/// The client turns stream management on.
async fn manages(client: &mut RawClient) {
    client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    client.expect("<enabled xmlns='urn:xmpp:sm:3' id='{capture:sm}' {…}/>").await;
}

#[tokio::test]
async fn a_device_that_has_just_got_it_is_not_called() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    registers(&mut phone, "phone").await;
    let mut tablet = scene.online("juliet/tablet").await;
    registers(&mut tablet, "tablet").await;
    goes(tablet).await;
    phone.drain().await;
    writes(&mut romeo, "juliet", "hi").await;
    phone.expect("<message {…}><body>hi</body>{…}</message>").await;
    assert_eq!(app.takes_call().await.node, "tablet", "the one that is away");
    app.is_left_alone().await;
}

#[tokio::test]
async fn a_sleeping_client_that_acknowledges_nothing_is_called_at_once() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    registers(&mut phone, "phone").await;
    phone.send(INACTIVE).await;
    phone.barrier().await;
    writes(&mut romeo, "juliet", "hi").await;
    assert_eq!(app.takes_call().await.count(), 1);
    // It is told itself all the same.
    phone.expect("<message {…}><body>hi</body>{…}</message>").await;
    phone.send("<active xmlns='urn:xmpp:csi:0'/>").await;
    phone.barrier().await;
    writes(&mut romeo, "juliet", "you look").await;
    app.is_left_alone().await;
}

#[tokio::test]
async fn a_sleeping_client_that_acknowledges_is_called_only_when_it_does_not() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    registers(&mut phone, "phone").await;
    manages(&mut phone).await;
    phone.send(INACTIVE).await;
    writes(&mut romeo, "juliet", "one").await;
    phone.expect("<message {…}><body>one</body>{…}</message>").await;
    phone.expect("<r xmlns='urn:xmpp:sm:3'/>").await;
    phone.send("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    app.client.expect_silence(Duration::from_millis(2_500)).await;
    // Now its connection is dead, and nobody knows.
    let begun = Instant::now();
    writes(&mut romeo, "juliet", "two").await;
    assert_eq!(app.takes_call().await.count(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "it had time to answer");
    app.is_left_alone().await;
}

#[tokio::test]
async fn a_client_that_waits_to_come_back_is_called() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    registers(&mut phone, "phone").await;
    manages(&mut phone).await;
    phone.barrier().await;
    // What was on its way when the connection broke is called for as soon as it is known to have broken.
    let begun = Instant::now();
    writes(&mut romeo, "juliet", "one").await;
    phone.hang_up();
    assert_eq!(app.takes_call().await.count(), 1);
    assert!(begun.elapsed() < Duration::from_millis(1_900), "it is not waited for");
    tokio::time::sleep(Duration::from_millis(400)).await;
    writes(&mut romeo, "juliet", "two").await;
    assert_eq!(app.takes_call().await.count(), 2);
    // It comes back: all of it is there, and it is counted anew.
    let mut again = scene.logged_in("juliet").await;
    again.send("<resume xmlns='urn:xmpp:sm:3' previd='{sm}' h='1'/>").await;
    again.expect("<resumed xmlns='urn:xmpp:sm:3' {…}/>").await;
    again.expect("<message {…}><body>one</body>{…}</message>").await;
    again.expect("<message {…}><body>two</body>{…}</message>").await;
    again.send("<a xmlns='urn:xmpp:sm:3' h='3'/>").await;
    app.is_left_alone().await;
    again.hang_up();
    tokio::time::sleep(Duration::from_millis(300)).await;
    writes(&mut romeo, "juliet", "three").await;
    assert_eq!(app.takes_call().await.count(), 1);
}

#[tokio::test]
async fn what_a_session_leaves_behind_is_not_called_for_twice() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    registers(&mut phone, "phone").await;
    phone.send("<enable xmlns='urn:xmpp:sm:3' resume='true' max='1'/>").await;
    phone.expect("<enabled xmlns='urn:xmpp:sm:3' {…}/>").await;
    writes(&mut romeo, "juliet", "one").await;
    phone.hang_up();
    assert_eq!(app.takes_call().await.count(), 1);
    // After a second the session ends, and what it had not received is kept.
    app.client.expect_silence(Duration::from_millis(2_000)).await;
    let mut phone = scene.session("juliet/phone").await;
    phone.send("<presence/>").await;
    phone.expect_in_any_order(&["<presence {…}/>", "<message {…}><body>one</body>{…}</message>"]).await;
}
