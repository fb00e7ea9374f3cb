//! What those who are in rooms are told when the server stops, and when they are back after its start.

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::session::{Saved, Session};
use waxwing_core::wire::Keeper;

use super::house::{Scene, say, session};
use super::*;

const FAREWELL: &str = "<status code='110'/><status code='332'/>";

/// Stores a session when the server stops.
#[derive(Default)]
struct Store(Mutex<Option<Saved>>);

impl Keeper for Store {
    fn patience(&self, _: &Session) -> Duration {
        Duration::from_secs(60)
    }
    fn again(&self) -> Vec<Parcel> {
        Vec::new()
    }
    fn give_up(&self) -> Vec<Parcel> {
        Vec::new()
    }
    fn outlives_a_stop(&self) -> bool {
        true
    }
    fn suspend<'a>(&'a self, session: &'a Session, waiting: Vec<Parcel>) -> BoxFuture<'a, Result<(), Vec<Parcel>>> {
        assert!(waiting.is_empty(), "{} stanzas wait", waiting.len());
        *self.0.lock() = Some(session.save());
        std::future::ready(Ok(())).boxed()
    }
}

/// Rooms that a client is told of when it is back after a restart.
async fn told_after_a_restart(scene: &Scene, who: &Arc<Session>, paper: &Paper) -> Vec<String> {
    paper.forget();
    let host = scene.house.hosts()[0].clone();
    host.tell(HouseEvent::SessionResumed { session: who.clone(), after_restart: true }).await;
    say(
        who,
        "<iq type='get' id='done' to='conference.HOST'><ping xmlns='urn:xmpp:ping'/></iq>"
            .replace("HOST", host.domain().as_str())
            .as_str(),
    )
    .await;
    paper.wait_for("id='done'").await;
    let text = paper.text();
    let told = text.split("<presence from='").skip(1).filter(|rest| rest.contains("<status code='333'/>"));
    told.map(|rest| rest.split('\'').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn who_is_in_a_room_is_told_that_the_service_stops_before_his_stream_is_closed() {
    let scene = Scene::new("stop.test", "").await;
    let (_anna, to_anna) = scene.make("anna").await;
    let (_ben, to_ben) = scene.enter("ben").await;
    to_anna.wait_for("/ben'").await;
    scene.close().await;
    for paper in [&to_anna, &to_ben] {
        let text = paper.text();
        assert_eq!(text.matches("type='unavailable'").count(), 1, "only about himself: {text}");
        let (told, closed) = (text.find(FAREWELL), text.find("closed system-shutdown"));
        assert!(told.is_some() && told < closed, "{text}");
    }
}

#[tokio::test]
async fn who_comes_back_is_told_then_and_not_before() {
    let scene = Scene::new("stored.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let (_ben, to_ben) = scene.enter("ben").await;
    let store = Arc::new(Store::default());
    anna.keep_from_here(store.clone(), bytes::Bytes::from_static(b"<enabled/>"));
    to_anna.wait_for("<enabled/>").await;
    let room = scene.room.clone();
    scene.close().await;
    assert!(to_ben.text().contains(FAREWELL));
    assert_eq!(to_anna.count("332"), 0, "{}", to_anna.text());
    let saved = store.0.lock().take().expect("it was stored");
    assert!(saved.notes.contains(&("rooms".into(), format!("{room}/anna"))), "{:?}", saved.notes);
}

#[tokio::test]
async fn nobody_comes_in_while_the_server_stops() {
    let scene = Scene::new("closing.test", "").await;
    let (_anna, to_anna) = scene.make("anna").await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    let host = scene.house.hosts()[0].clone();
    host.tell(HouseEvent::Closing).await;
    to_anna.wait_for(FAREWELL).await;
    for room in [&scene.room, "another@conference.closing.test"] {
        to_ben.forget();
        say(&ben, &format!("<presence to='{room}/ben'><x xmlns='http://jabber.org/protocol/muc'/></presence>")).await;
        to_ben.wait_for("<error type='wait'").await;
        to_ben.wait_for("<resource-constraint").await;
    }
    scene.close().await;
}

#[tokio::test]
async fn after_a_restart_a_client_is_told_of_the_rooms_it_was_in_and_of_no_other() {
    let scene = Scene::new("truth.test", "").await;
    let (anna, _) = scene.make("anna").await;
    let (ben, to_ben) = scene.enter("ben").await;
    // A nickname that he was refused is not his.
    say(&ben, &format!("<presence to='{}/anna'/>", scene.room)).await;
    to_ben.wait_for("<conflict").await;
    assert_eq!(told_after_a_restart(&scene, &ben, &to_ben).await, [format!("{}/ben", scene.room)]);
    // He comes in again, under another one.
    scene.enter_again(&ben, &to_ben, "ben").await;
    say(&ben, &format!("<presence to='{}/benvolio'/>", scene.room)).await;
    to_ben.wait_for("/benvolio'").await;
    assert_eq!(told_after_a_restart(&scene, &ben, &to_ben).await, [format!("{}/benvolio", scene.room)]);
    // Kicked, he is in none; refused, neither; and what he only believes does not count.
    scene.enter_again(&ben, &to_ben, "benvolio").await;
    let kick = "<query xmlns='http://jabber.org/protocol/muc#admin'><item nick='benvolio' role='none'/></query>";
    say(&anna, &format!("<iq to='{}' type='set' id='kick'>{kick}</iq>", scene.room)).await;
    to_ben.wait_for("<status code='307'/>").await;
    assert!(told_after_a_restart(&scene, &ben, &to_ben).await.is_empty());
    say(&ben, &format!("<presence to='{}/anna'><x xmlns='http://jabber.org/protocol/muc'/></presence>", scene.room))
        .await;
    to_ben.wait_for("<conflict").await;
    say(&ben, &format!("<presence to='{}/ben'><show>away</show></presence>", scene.room)).await;
    to_ben.wait_for("<status code='333'/>").await;
    assert!(told_after_a_restart(&scene, &ben, &to_ben).await.is_empty());
    // Left and come again in one breath, he is in it.
    scene.enter_again(&ben, &to_ben, "ben").await;
    say(&ben, &format!("<presence to='{}/ben' type='unavailable'/>", scene.room)).await;
    scene.enter_again(&ben, &to_ben, "ben").await;
    assert_eq!(told_after_a_restart(&scene, &ben, &to_ben).await, [format!("{}/ben", scene.room)]);
    scene.close().await;
}
