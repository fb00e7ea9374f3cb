//! Room activity (XEP-0437): who is told that something was said while he was not there.

use std::time::Duration;

use super::house::{Scene, say, session};
use super::*;

const LISTEN: &str = "<rai xmlns='urn:xmpp:rai:0'/>";

async fn listen(scene: &Scene, session: &Arc<waxwing_core::session::Session>) {
    let host = scene.room.split('@').nth(1).unwrap();
    say(session, &format!("<presence to='{host}'>{LISTEN}</presence>")).await;
}

fn told(scene: &Scene) -> String {
    format!("<rai xmlns='urn:xmpp:rai:0'><activity>{}</activity></rai>", scene.room)
}

async fn affiliate(scene: &Scene, owner: &Arc<waxwing_core::session::Session>, items: &str) {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>");
    say(owner, &format!("<iq to='{}' type='set' id='adm'>{query}</iq>", scene.room)).await;
}

async fn settled() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn who_is_away_is_told_once_until_he_was_there() {
    let scene = Scene::new("rai.test", "").await;
    let (anna, _) = scene.make("anna").await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    listen(&scene, &ben).await;
    affiliate(&scene, &anna, "<item affiliation='member' jid='ben@rai.test'/>").await;
    scene.talk(&anna, "one").await;
    to_ben.wait_for(&told(&scene)).await;
    scene.talk(&anna, "two").await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 1);
    assert_eq!(to_ben.count("<body>"), 0, "only that something was said");
    scene.enter_again(&ben, &to_ben, "ben").await;
    scene.talk(&anna, "three").await;
    to_ben.wait_for("<body>three</body>").await;
    assert_eq!(to_ben.count("<rai "), 0, "he hears it");
    say(&ben, &format!("<presence to='{}/ben' type='unavailable'/>", scene.room)).await;
    to_ben.wait_for("type='unavailable'").await;
    to_ben.forget();
    say(&anna, &format!("<message to='{}' type='groupchat'><active xmlns='urn:x'/></message>", scene.room)).await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 0, "nothing to read");
    scene.talk(&anna, "four").await;
    to_ben.wait_for(&told(&scene)).await;
    // Who does not belong to it any more is told nothing, nor who does not want to know.
    scene.enter_again(&ben, &to_ben, "ben").await;
    affiliate(&scene, &anna, "<item affiliation='outcast' jid='ben@rai.test'/>").await;
    to_ben.wait_for("<status code='301'/>").await;
    scene.talk(&anna, "five").await;
    affiliate(&scene, &anna, "<item affiliation='member' jid='ben@rai.test'/>").await;
    let service = scene.room.split('@').nth(1).unwrap();
    say(&ben, &format!("<presence to='{service}' type='unavailable'/>")).await;
    scene.talk(&anna, "six").await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 0);
    scene.close().await;
}

#[tokio::test]
async fn what_was_said_before_he_asks_is_told_at_once_and_after_a_rest_too() {
    let scene = Scene::new("rest.test", "sleep_after = '50ms'").await;
    let (anna, _) = scene.make("anna").await;
    affiliate(
        &scene,
        &anna,
        "<item affiliation='member' jid='ben@rest.test'/><item affiliation='member' jid='carl@rest.test'/>",
    )
    .await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    scene.enter_again(&ben, &to_ben, "ben").await;
    scene.talk(&anna, "heard").await;
    say(&ben, &format!("<presence to='{}/ben' type='unavailable'/>", scene.room)).await;
    to_ben.wait_for("type='unavailable'").await;
    to_ben.forget();
    listen(&scene, &ben).await;
    let (carl, to_carl) = session(&scene.house, "carl").await;
    listen(&scene, &carl).await;
    to_carl.wait_for(&told(&scene)).await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 0, "he has heard it");
    // The room falls asleep, and is asked in the database.
    let tasks = scene.house.tasks().len() - 2;
    anna.end(None);
    eventually(|| scene.house.tasks().len() == tasks, || "the room does not sleep".to_owned()).await;
    to_carl.forget();
    listen(&scene, &carl).await;
    to_carl.wait_for(&told(&scene)).await;
    listen(&scene, &ben).await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 0);
    assert_eq!(scene.house.tasks().len(), tasks, "it has not been woken");
    // A client that is back after a restart of the server is told without asking.
    to_carl.forget();
    let host = scene.house.hosts()[0].clone();
    host.tell(HouseEvent::SessionResumed { session: carl.clone(), after_restart: true }).await;
    to_carl.wait_for(&told(&scene)).await;
    scene.close().await;
}

#[tokio::test]
async fn strangers_are_not_told() {
    let scene = Scene::new("stranger.test", "").await;
    let (anna, _) = scene.make("anna").await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    listen(&scene, &ben).await;
    scene.talk(&anna, "one").await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 0, "he is no member");
    scene.close().await;
}

#[tokio::test]
async fn who_is_in_the_room_or_not_of_it_any_more_is_not_told() {
    let scene = Scene::new("inside.test", "").await;
    let (anna, _) = scene.make("anna").await;
    affiliate(&scene, &anna, "<item affiliation='member' jid='ben@inside.test'/>").await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    scene.enter_again(&ben, &to_ben, "ben").await;
    // He asks while he is in the room.
    listen(&scene, &ben).await;
    scene.talk(&anna, "one").await;
    to_ben.wait_for("<body>one</body>").await;
    say(&ben, &format!("<presence to='{}/ben' type='unavailable'/>", scene.room)).await;
    to_ben.wait_for("type='unavailable'").await;
    assert_eq!(to_ben.count("<rai "), 0);
    affiliate(&scene, &anna, "<item affiliation='none' jid='ben@inside.test'/>").await;
    scene.talk(&anna, "two").await;
    settled().await;
    assert_eq!(to_ben.count("<rai "), 0);
    scene.close().await;
}

#[tokio::test]
async fn what_was_said_after_he_left_is_news() {
    let scene = Scene::new("left.test", "").await;
    let (anna, _) = scene.make("anna").await;
    affiliate(&scene, &anna, "<item affiliation='member' jid='ben@left.test'/>").await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    scene.enter_again(&ben, &to_ben, "ben").await;
    say(&ben, &format!("<presence to='{}/ben' type='unavailable'/>", scene.room)).await;
    to_ben.wait_for("type='unavailable'").await;
    settled().await;
    scene.talk(&anna, "one").await;
    listen(&scene, &ben).await;
    to_ben.wait_for(&told(&scene)).await;
    scene.close().await;
}
