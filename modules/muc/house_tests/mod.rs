//! Rooms in a house: awake and asleep, with an archive that is slow, fails or breaks, and clients that come and go.

mod activity;
mod calling;
mod closing;
mod house;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use house::{Scene, say, session, shelf};
use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::events::Event as HouseEvent;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::testing::{Paper, eventually};

#[tokio::test]
async fn what_is_said_is_archived_and_then_heard_by_all() {
    let scene = Scene::new("say.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let (_, to_ben) = scene.enter("ben").await;
    to_anna.wait_for("from='coven@conference.say.test/ben'").await;
    scene.talk(&anna, "hello").await;
    assert_eq!(shelf("say.test").bodies(), ["hello"]);
    for sent in [&to_anna, &to_ben] {
        sent.wait_for("<body>hello</body>").await;
        sent.wait_for("<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='coven@conference.say.test'/>").await;
        assert_eq!(sent.count("<body>"), 1);
    }
    scene.close().await;
}

#[tokio::test]
async fn what_cannot_be_archived_is_not_heard_and_its_sender_learns_it() {
    let scene = Scene::new("away.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let (_, to_ben) = scene.enter("ben").await;
    shelf("away.test").is_away.store(true, Ordering::SeqCst);
    scene.talk(&anna, "lost").await;
    to_anna.wait_for("id='lost' type='error'><error type='wait'").await;
    shelf("away.test").is_away.store(false, Ordering::SeqCst);
    scene.talk(&anna, "kept").await;
    to_ben.wait_for("<body>kept</body>").await;
    assert_eq!(to_ben.count("<body>lost</body>"), 0);
    scene.close().await;
}

#[tokio::test]
async fn all_hear_the_same_order_and_it_is_the_archives() {
    let scene = Scene::new("order.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let mut clients = vec![(anna, to_anna)];
    for name in ["ben", "carl", "dora", "emil"] {
        clients.push(scene.enter(name).await);
    }
    shelf("order.test").delay.store(3, Ordering::SeqCst);
    let scene = Arc::new(scene);
    let mut tasks = Vec::new();
    for (number, (client, _)) in clients.iter().enumerate() {
        let (scene, client) = (scene.clone(), client.clone());
        tasks.push(tokio::spawn(async move {
            for message in 0..10 {
                scene.talk(&client, &format!("m{number}-{}{message}", "x".repeat((number + message) % 3))).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let archived = shelf("order.test").bodies();
    assert_eq!(archived.len(), 50);
    for (_, sent) in &clients {
        sent.wait_for(&format!("<body>{}</body>", archived[49])).await;
        let text = sent.text();
        let heard: Vec<&str> = text.split("<body>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
        assert_eq!(heard, archived);
    }
    // Each sender's own are in the order in which he sent them.
    for number in 0..5 {
        let own = archived.iter().filter(|body| body.starts_with(&format!("m{number}-")));
        let last: Vec<char> = own.map(|body| body.chars().last().unwrap()).collect();
        assert_eq!(last, ('0'..='9').collect::<Vec<_>>());
    }
    drop(clients);
    let Ok(scene) = Arc::try_unwrap(scene) else { panic!("somebody still talks") };
    scene.close().await;
}

#[tokio::test]
async fn a_session_that_ends_leaves_its_rooms() {
    let scene = Scene::new("ghost.test", "").await;
    let (_, to_anna) = scene.make("anna").await;
    let (ben, _) = scene.enter("ben").await;
    ben.end(None);
    to_anna
        .wait_for("<presence from='coven@conference.ghost.test/ben' to='anna@ghost.test/x' type='unavailable'>")
        .await;
    scene.close().await;
}

#[tokio::test]
async fn a_room_sleeps_and_wakes_with_all_it_remembers() {
    let scene = Scene::new("sleep.test", "sleep_after = '50ms'").await;
    // Each session has a writer; a room has a task while it is awake.
    let tasks = scene.house.tasks().len() + 1;
    let (anna, to_anna) = scene.make("anna").await;
    assert_eq!(scene.house.tasks().len(), tasks + 1);
    say(&anna, &format!("<message to='{}' type='groupchat'><subject>Spells</subject></message>", scene.room)).await;
    scene.talk(&anna, "remember").await;
    say(
        &anna,
        &format!(
            "<iq to='{}' type='set' id='ban'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='outcast' jid='carl@sleep.test'/></query></iq>",
            scene.room
        ),
    )
    .await;
    say(&anna, &format!("<presence to='{}/anna' type='unavailable'/>", scene.room)).await;
    to_anna.wait_for("role='none'").await;
    let awake = || scene.house.tasks().len() - tasks;
    eventually(|| awake() == 0, || "nobody is in it, nobody asks, and it does not sleep".to_owned()).await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    say(&ben, &format!("<presence to='{}/ben'><x xmlns='http://jabber.org/protocol/muc'/></presence>", scene.room))
        .await;
    to_ben.wait_for("<subject>Spells</subject>").await;
    to_ben.wait_for("<body>remember</body>").await;
    to_ben.wait_for("affiliation='none'").await;
    let (carl, to_carl) = session(&scene.house, "carl").await;
    say(&carl, &format!("<presence to='{}/carl'><x xmlns='http://jabber.org/protocol/muc'/></presence>", scene.room))
        .await;
    to_carl.wait_for("<forbidden").await;
    scene.close().await;
}

#[tokio::test]
async fn f2_a_room_that_fails_comes_back_and_others_do_not_notice() {
    let scene = Scene::new("fail.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let (ben, to_ben) = scene.enter("ben").await;
    say(
        &anna,
        &format!(
            "<iq to='{}' type='set' id='adm'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='admin' jid='ben@fail.test'/></query></iq>",
            scene.room
        ),
    )
    .await;
    let other = Scene { house: scene.house.clone(), room: "heath@conference.fail.test".to_owned() };
    let (carl, to_carl) = other.make("carl").await;
    shelf("fail.test").breaks.store(true, Ordering::SeqCst);
    scene.talk(&anna, "boom").await;
    to_anna.wait_for("id='boom' type='error'").await;
    to_anna.wait_for("internal-server-error").await;
    to_anna.wait_for("<status code='110'/><status code='333'/>").await;
    to_ben.wait_for("<status code='110'/><status code='333'/>").await;
    shelf("fail.test").breaks.store(false, Ordering::SeqCst);
    to_ben.forget();
    let since = std::time::Instant::now();
    scene.enter_again(&ben, &to_ben, "ben").await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    scene.talk(&ben, "again").await;
    to_ben.wait_for("<body>again</body>").await;
    say(&ben, &format!("<iq to='{}' type='get' id='l'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='outcast'/></query></iq>", scene.room)).await;
    to_ben.wait_for("id='l' type='result'").await;
    other.talk(&carl, "undisturbed").await;
    to_carl.wait_for("<body>undisturbed</body>").await;
    assert_eq!(to_carl.count("333"), 0);
    scene.close().await;
}

#[tokio::test]
async fn example_067_rooms_that_are_not_there() {
    let scene = Scene::new("nothing.test", "").await;
    let (anna, to_anna) = session(&scene.house, "anna").await;
    let room = &scene.room;
    say(&anna, &format!("<iq to='{room}/anna' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
    to_anna
        .wait_for("id='p' type='error'><error type='modify' by='coven@conference.nothing.test'><not-acceptable")
        .await;
    say(&anna, &format!("<message to='{room}' type='groupchat' id='m'><body>x</body></message>")).await;
    to_anna
        .wait_for("id='m' type='error'><error type='cancel' by='coven@conference.nothing.test'><item-not-found")
        .await;
    say(&anna, &format!("<presence to='{room}/anna'/>")).await;
    to_anna.wait_for("<status code='110'/><status code='307'/><status code='333'/>").await;
    say(
        &anna,
        &format!("<iq to='{room}' type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"),
    )
    .await;
    to_anna.wait_for("id='d' type='error'").await;
    say(&anna, &format!("<iq to='{room}' type='get' id='g'><query xmlns='jabber:iq:register'/></iq>")).await;
    to_anna
        .wait_for("id='g' type='error'><error type='cancel' by='coven@conference.nothing.test'><item-not-found")
        .await;
    scene.close().await;
}

#[tokio::test]
async fn a_destroyed_room_is_not_taken_over() {
    let scene = Scene::new("gone.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    scene.talk(&anna, "secret").await;
    say(&anna, &scene.owner("<destroy/>")).await;
    to_anna.wait_for("<destroy/>").await;
    to_anna.wait_for("id='own' type='result'").await;
    assert!(shelf("gone.test").bodies().is_empty());
    let (ben, to_ben) = session(&scene.house, "ben").await;
    say(&ben, &format!("<presence to='{}/ben'><x xmlns='http://jabber.org/protocol/muc'/></presence>", scene.room))
        .await;
    to_ben.wait_for("<gone").await;
    scene.close().await;
}

#[tokio::test]
async fn each_room_says_for_how_long_its_messages_are_kept() {
    let host = "days.test";
    let scene = Scene::new(host, "").await;
    let (anna, to_anna) = scene.make("anna").await;
    for days in ["7", "7", "0"] {
        let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
        let fields = field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig")
            + &field("waxwing#roomconfig_archive_days", days);
        say(&anna, &scene.owner(&format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>"))).await;
        to_anna.wait_for("id='own' type='result'").await;
        to_anna.forget();
    }
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(*shelf(host).kept_for.lock(), [None, Some(week), None], "only what changes is told to the archive");
    scene.close().await;
}

#[tokio::test]
async fn a_temporary_room_leaves_nothing_behind() {
    let scene = Scene::new("passing.test", "new_rooms = 'temporary'").await;
    let (anna, to_anna) = scene.make("anna").await;
    scene.talk(&anna, "x").await;
    say(&anna, &format!("<presence to='{}/anna' type='unavailable'/>", scene.room)).await;
    to_anna.wait_for("role='none'").await;
    let (ben, to_ben) = session(&scene.house, "ben").await;
    say(&ben, &format!("<presence to='{}/ben'><x xmlns='http://jabber.org/protocol/muc'/></presence>", scene.room))
        .await;
    to_ben.wait_for("<status code='201'/>").await;
    assert!(shelf("passing.test").bodies().is_empty());
    scene.close().await;
}

#[tokio::test]
async fn example_152_strangers_make_no_rooms_and_nobody_too_many() {
    let scene = Scene::new("create.test", "rooms_per_owner = 1").await;
    let stranger = element(format!(
        "<presence from='bard@elsewhere.lit/x' to='{}/bard'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
        scene.room
    ))
    .unwrap();
    let stranger = Stanza::read(stranger).unwrap().unwrap();
    let domain = DomainPart::new("elsewhere.lit").unwrap().into_owned();
    scene.house.send(Parcel::new(stranger, Origin::Remote(domain))).await;
    // The room would be locked for her.
    let (anna, to_anna) = scene.make("anna").await;
    let room = "second@conference.create.test";
    say(&anna, &format!("<presence to='{room}/anna'><x xmlns='http://jabber.org/protocol/muc'/></presence>")).await;
    to_anna.wait_for("<not-allowed").await;
    scene.close().await;
}

#[tokio::test]
async fn example_003_to_007_the_service_lists_public_rooms_and_its_archive_answers() {
    let scene = Scene::new("list.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let service = "conference.list.test";
    say(
        &anna,
        &format!("<iq to='{service}' type='get' id='i'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"),
    )
    .await;
    to_anna.wait_for("<identity category='conference' type='text' name='Group chats'/>").await;
    say(
        &anna,
        &format!(
            "<iq to='{service}' type='get' id='r'><query xmlns='http://jabber.org/protocol/disco#items'>\
         <set xmlns='http://jabber.org/protocol/rsm'><max>10</max></set></query></iq>"
        ),
    )
    .await;
    to_anna.wait_for(&format!("<item jid='{}' name='coven'/>", scene.room)).await;
    to_anna.wait_for("<count>1</count>").await;
    scene.talk(&anna, "kept").await;
    to_anna.forget();
    say(&anna, &format!("<iq to='{}' type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>", scene.room)).await;
    to_anna.wait_for("<fin xmlns='urn:xmpp:mam:2' complete='true'/></iq>").await;
    assert_eq!(to_anna.count("<result "), 1);
    say(&anna, &format!("<iq to='{}' type='get' id='c'><vCard xmlns='vcard-temp'/></iq>", scene.room)).await;
    to_anna.wait_for("id='c' type='error'").await;
    say(
        &anna,
        &format!("<iq to='{}' type='set' id='s'><vCard xmlns='vcard-temp'><FN>Cave</FN></vCard></iq>", scene.room),
    )
    .await;
    to_anna.wait_for("id='s' type='result'").await;
    say(&anna, &format!("<iq to='{}' type='get' id='c2'><vCard xmlns='vcard-temp'/></iq>", scene.room)).await;
    to_anna.wait_for("id='c2' type='result'><vCard xmlns='vcard-temp'><FN>Cave</FN></vCard>").await;
    scene.close().await;
}

#[tokio::test]
async fn an_account_that_is_removed_is_forgotten_by_rooms_that_sleep() {
    let scene = Scene::new("remove.test", "sleep_after = '50ms'").await;
    let (anna, to_anna) = scene.make("anna").await;
    say(
        &anna,
        &format!(
            "<iq to='{}' type='set' id='adm'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='admin' jid='ben@remove.test'/></query></iq>",
            scene.room
        ),
    )
    .await;
    to_anna.wait_for("id='adm' type='result'").await;
    let tasks = scene.house.tasks().len();
    anna.end(None);
    // Her writer goes, and the room.
    eventually(|| scene.house.tasks().len() == tasks - 2, || "the room does not sleep".to_owned()).await;
    let host = scene.house.hosts()[0].clone();
    host.tell(HouseEvent::AccountRemoved(BareJid::new("anna@remove.test").unwrap())).await;
    let (ben, to_ben) = scene.enter("ben").await;
    say(&ben, &format!("<iq to='{}' type='get' id='o'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='owner'/></query></iq>", scene.room)).await;
    to_ben.wait_for("<item affiliation='owner' jid='ben@remove.test'/>").await;
    assert_eq!(to_ben.count("anna@remove.test"), 0);
    scene.close().await;
}

#[tokio::test]
async fn who_is_back_after_a_restart_is_told_that_he_is_in_no_room() {
    let scene = Scene::new("back.test", "").await;
    let (anna, to_anna) = scene.make("anna").await;
    let host = scene.house.hosts()[0].clone();
    host.tell(HouseEvent::SessionResumed { session: anna.clone(), after_restart: false }).await;
    assert_eq!(to_anna.count("333"), 0);
    host.tell(HouseEvent::SessionResumed { session: anna.clone(), after_restart: true }).await;
    to_anna
        .wait_for("<presence from='coven@conference.back.test/anna' to='anna@back.test/x' type='unavailable'>")
        .await;
    to_anna.wait_for("<status code='333'/>").await;
    scene.close().await;
}

#[tokio::test]
async fn a_hundred_enter_at_once_and_everyone_sees_everyone() {
    let scene = Scene::new("hundred.test", "").await;
    let (_, to_first) = scene.make("user0").await;
    let scene = Arc::new(scene);
    let tasks: Vec<_> = (1..100)
        .map(|number| {
            let scene = scene.clone();
            tokio::spawn(async move {
                let (client, sent) = session(&scene.house, &format!("user{number}")).await;
                say(
                    &client,
                    &format!(
                        "<presence to='{}/user{number}'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
                        scene.room
                    ),
                )
                .await;
                (client, sent)
            })
        })
        .collect();
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.unwrap());
    }
    for sent in clients.iter().map(|(_, sent)| sent).chain([&to_first]) {
        for _ in 0..500 {
            if sent.count("<presence ") >= if std::ptr::eq(sent, &to_first) { 99 } else { 100 } {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let total: usize =
        clients.iter().map(|(_, sent)| sent.count("<presence ")).sum::<usize>() + to_first.count("<presence ");
    // Each sees all that are in, all see each: the maker saw himself before.
    assert_eq!(total, 100 * 100 - 1);
    // A hundred who enter are not a hundred times a hundred writes.
    let writes: usize = clients.iter().map(|(_, sent)| sent.flushes()).sum();
    assert!(writes < total / 10, "{total} presences in {writes} writes");
    let (late, to_late) = session(&scene.house, "late").await;
    say(&late, &format!("<presence to='{}/late'><x xmlns='http://jabber.org/protocol/muc'/></presence>", scene.room))
        .await;
    to_late.wait_for("<service-unavailable").await;
    scene.talk(&clients[0].0, "hello").await;
    for (_, sent) in &clients {
        sent.wait_for("<body>hello</body>").await;
    }
    // At a stop each is told that he is out, and not of everyone else that he is.
    let Ok(scene) = Arc::try_unwrap(scene) else { panic!("somebody still enters") };
    scene.close().await;
    for (_, sent) in &clients {
        assert_eq!((sent.count("<status code='332'/>"), sent.count("type='unavailable'")), (1, 1));
    }
}

/// The longest message there may be, markup that is none, heaps of accents, and letters that turn the line around.
#[tokio::test]
async fn f29_poison_reaches_a_hundred_as_it_was_sent_and_they_talk_on() {
    let scene = Scene::new("poison.test", "").await;
    let mut clients = vec![scene.make("user0").await];
    for number in 1..100 {
        clients.push(scene.enter(&format!("user{number}")).await);
    }
    let zalgo = format!("Z{}", "\u{334}\u{35B}\u{307}".repeat(3_000));
    let poison =
        ["\u{1F9D9}".repeat(100_000), "&lt;".repeat(10_000), zalgo, "\u{202E}\u{5D0}\u{5D1}\u{2066}x".to_owned()];
    for (_, sent) in &clients {
        sent.forget();
    }
    for body in &poison {
        say(&clients[7].0, &format!("<message to='{}' type='groupchat'><body>{body}</body></message>", scene.room))
            .await;
    }
    scene.talk(&clients[8].0, "hello").await;
    for (_, sent) in &clients {
        sent.wait_for("<body>hello</body>").await;
        let text = sent.text();
        let heard: Vec<&str> = text.split("<body>").skip(1).filter_map(|rest| rest.split("</body>").next()).collect();
        assert!(heard[..4].iter().zip(&poison).all(|(heard, sent)| heard == sent) && heard.len() == 5, "changed");
        sent.forget();
    }
    scene.close().await;
}
