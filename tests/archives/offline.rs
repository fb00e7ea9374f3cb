//! Offline messages as a cursor into the archive: kept once, delivered once, and not to those who read the archive
//! (XEP-0160, XEP-0313 §3.5).

use std::sync::Arc;
use std::time::Duration;

use waxwing_core::storage::values;
use waxwing_testkit::{Element, RawClient, Scene, TestServer};

use crate::common::{SERVER, options};
use crate::{ask, bodies, ids};

/// Romeo writes to Juliet's account, and her server has taken it all.
async fn say(romeo: &mut RawClient, words: &[String]) {
    for word in words {
        romeo.send(format!("<message to='{{juliet}}' type='chat' id='{word}'><body>{word}</body></message>")).await;
    }
    romeo.barrier().await;
}

fn words(name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{name}{number}")).collect()
}

/// The messages among what came.
fn messages(came: &[Element]) -> Vec<String> {
    came.iter().filter(|stanza| stanza.name == "message").filter_map(|message| message.text_of("body")).collect()
}

/// Juliet becomes available there; the bodies of what she is given.
async fn comes(scene: &Scene, who: &str) -> (RawClient, Vec<String>) {
    let mut juliet = scene.session(who).await;
    let got = messages(&juliet.go_online(0).await);
    (juliet, got)
}

/// How many messages are kept for an account in the table, and whether it has a cursor.
async fn kept(server: &Arc<TestServer>, account: &str) -> (i64, bool) {
    let account = account.to_owned();
    server
        .with_house(move |house| async move {
            let messages = "SELECT count(*) FROM offline_messages WHERE owner = $1";
            let cursors = "SELECT count(*) FROM offline_cursors WHERE owner = $1";
            let mut counts = Vec::new();
            for sql in [messages, cursors] {
                let row = house.database().fetch_optional(sql, values![&*account]).await.unwrap().unwrap();
                counts.push(row.integer(0).unwrap());
            }
            (counts[0], counts[1] == 1)
        })
        .await
}

/// Waits until it is so: what was delivered is done with a moment later.
async fn until_kept(server: &Arc<TestServer>, account: &str, expected: (i64, bool)) {
    for _ in 0..500 {
        if kept(server, account).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(kept(server, account).await, expected);
}

#[tokio::test]
async fn c70_what_the_archive_holds_is_not_kept_twice_and_comes_once() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let account = scene.account("juliet").await;
    let all = words("a", 0..30);
    say(&mut romeo, &all).await;
    assert_eq!(kept(scene.server(), &scene.jid("juliet")).await, (0, true), "{account}");
    let mut juliet = scene.session("juliet/balcony").await;
    let came = juliet.go_online(0).await;
    assert_eq!(messages(&came), all);
    until_kept(scene.server(), &scene.jid("juliet"), (0, false)).await;
    // Each tells when it came and under which id the archive holds it.
    let (results, _) = ask(&mut juliet, "", "").await;
    let told: Vec<String> = came
        .iter()
        .filter(|stanza| stanza.name == "message")
        .map(|message| {
            let delay = message.child_in("urn:xmpp:delay", "delay").expect("a delay");
            assert_eq!(delay.attribute("from"), Some(scene.host()), "{message}");
            let id = message.child_in("urn:xmpp:sid:0", "stanza-id").expect("an id");
            assert_eq!(id.attribute("by"), Some(juliet.bare()), "{message}");
            id.attribute("id").unwrap().to_owned()
        })
        .collect();
    assert_eq!(told, ids(&results));
    // Nobody else gets them.
    let (mut phone, got) = comes(&scene, "juliet/phone").await;
    assert_eq!(got, [""; 0]);
    say(&mut romeo, &words("live", 0..1)).await;
    for client in [&mut juliet, &mut phone] {
        assert_eq!(messages(&client.drain().await), ["live0"]);
    }
    assert_eq!(kept(scene.server(), &scene.jid("juliet")).await, (0, false));
    // Away again: only what is new comes.
    juliet.send("<presence type='unavailable'/>").await;
    phone.send("<presence type='unavailable'/>").await;
    juliet.drain().await;
    phone.drain().await;
    say(&mut romeo, &words("b", 0..3)).await;
    assert_eq!(messages(&juliet.go_online(0).await), words("b", 0..3));
    assert_eq!(messages(&phone.go_online(0).await), [""; 0]);
}

#[tokio::test]
async fn who_has_read_the_archive_gets_only_what_came_after() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..5)).await;
    // It is worth an answer, and not worth an archive.
    let passing =
        "<message to='{juliet}' type='chat'><body>passing</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>";
    romeo.send(passing).await;
    romeo.barrier().await;
    let mut juliet = scene.session("juliet/balcony").await;
    let (results, _) = ask(&mut juliet, "", "").await;
    assert_eq!(bodies(&results), words("a", 0..5));
    // Between her question and her presence.
    say(&mut romeo, &words("b", 0..2)).await;
    let came = juliet.go_online(0).await;
    assert_eq!(messages(&came), ["passing", "b0", "b1"]);
    until_kept(scene.server(), &scene.jid("juliet"), (0, false)).await;
    let (_, got) = comes(&scene, "juliet/phone").await;
    assert_eq!(got, [""; 0]);
}

#[tokio::test]
async fn who_reads_the_archive_page_by_page_has_read_it_with_the_last_one() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..4)).await;
    let mut juliet = scene.session("juliet/balcony").await;
    let (first, _) = ask(&mut juliet, "", "<max>3</max>").await;
    assert_eq!(bodies(&first), words("a", 0..3));
    say(&mut romeo, &words("b", 0..2)).await;
    let (second, _) = ask(&mut juliet, "", &format!("<after>{}</after>", ids(&first)[2])).await;
    assert_eq!(bodies(&second), ["a3", "b0", "b1"]);
    assert_eq!(messages(&juliet.go_online(0).await), [""; 0]);
    // One who asks what there is, and no more, will ask for it.
    juliet.send("<presence type='unavailable'/>").await;
    juliet.drain().await;
    say(&mut romeo, &words("c", 0..2)).await;
    let mut phone = scene.session("juliet/phone").await;
    phone.send("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>").await;
    phone.expect("<iq type='result' id='m' {…}>{…}</iq>").await;
    assert_eq!(messages(&phone.go_online(0).await), [""; 0]);
    until_kept(scene.server(), &scene.jid("juliet"), (0, false)).await;
}

#[tokio::test]
async fn what_a_client_has_not_acknowledged_goes_to_the_next_one() {
    let server = TestServer::start(options().toml("[modules.stream_management]\nresume_for = 0\n")).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    let all = words("a", 0..40);
    say(&mut romeo, &all).await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<enable xmlns='urn:xmpp:sm:3'/>").await;
    juliet.expect("<enabled xmlns='urn:xmpp:sm:3' {…}/>").await;
    juliet.send_bytes("<presence/>").await;
    let mut got = Vec::new();
    let mut received = 0;
    while got.len() < all.len() {
        let stanza = juliet.receive().await;
        received += u32::from(matches!(stanza.name.as_str(), "message" | "presence" | "iq"));
        got.extend(messages(std::slice::from_ref(&stanza)));
        if got.len() == 25 && stanza.name == "message" {
            juliet.send_bytes(format!("<a xmlns='urn:xmpp:sm:3' h='{received}'/>")).await;
        }
    }
    assert_eq!(got, all);
    assert_eq!(kept(&server, &scene.jid("juliet")).await, (0, true), "not all is with her");
    juliet.hang_up();
    until_kept(&server, &scene.jid("juliet"), (15, false)).await;
    let (_phone, got) = comes(&scene, "juliet/phone").await;
    assert_eq!(got, all[25..]);
    until_kept(&server, &scene.jid("juliet"), (0, false)).await;
}

#[tokio::test]
async fn what_one_device_had_not_and_another_has_comes_no_second_time() {
    let server = TestServer::start(options().toml("[modules.stream_management]\nresume_for = 0\n")).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    let mut balcony = scene.online("juliet/balcony").await;
    balcony.send("<enable xmlns='urn:xmpp:sm:3'/>").await;
    balcony.expect("<enabled xmlns='urn:xmpp:sm:3' {…}/>").await;
    say(&mut romeo, &words("a", 0..2)).await;
    let (mut phone, got) = comes(&scene, "juliet/phone").await;
    assert_eq!(got, [""; 0]);
    say(&mut romeo, &words("b", 0..2)).await;
    assert_eq!(messages(&phone.drain().await), words("b", 0..2));
    balcony.hang_up();
    // What came before she was there she has not had.
    for expected in words("a", 0..2) {
        let message = phone.receive().await;
        match message.name.as_str() {
            "message" => assert_eq!(message.text_of("body"), Some(expected)),
            _ => assert_eq!(phone.receive().await.text_of("body"), Some(expected)),
        }
    }
    assert_eq!(messages(&phone.drain().await), [""; 0]);
    until_kept(&server, &scene.jid("juliet"), (0, false)).await;
}

#[tokio::test]
async fn what_was_retracted_meanwhile_is_not_delivered() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..3)).await;
    romeo
        .send(
            "<message to='{juliet}' type='chat' id='r'><retract xmlns='urn:xmpp:message-retract:1' id='a1'/></message>",
        )
        .await;
    romeo.barrier().await;
    let mut juliet = scene.session("juliet/balcony").await;
    let came = juliet.go_online(0).await;
    assert_eq!(messages(&came), ["a0", "a2"]);
    assert!(came.iter().any(|stanza| stanza.child_in("urn:xmpp:message-retract:1", "retract").is_some()), "{came:?}");
    assert!(!came.iter().any(|stanza| stanza.child_in("urn:xmpp:message-retract:1", "retracted").is_some()));
}

#[tokio::test]
async fn only_so_many_are_delivered_to_who_does_not_ask_the_archive() {
    let server = TestServer::start(options().toml("[modules.offline]\narchived_messages = 3\nmessages = 2\n")).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    // No bound for what is in the archive, and so no error that tells strangers who is here (security row S25).
    say(&mut romeo, &words("a", 0..10)).await;
    romeo.drain().await;
    let (mut juliet, got) = comes(&scene, "juliet/balcony").await;
    assert_eq!(got, words("a", 7..10));
    until_kept(&server, &scene.jid("juliet"), (0, false)).await;
    assert_eq!(bodies(&ask(&mut juliet, "", "").await.0), words("a", 0..10));
}

#[tokio::test]
async fn s25_a_full_store_is_told_to_those_who_see_the_account_and_to_nobody_else() {
    let server =
        TestServer::start(options().toml("[modules.offline]\nmessages = 1\n[modules.mam]\ndefault = \"never\"\n"))
            .await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let mut tybalt = scene.online("tybalt/street").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    juliet.send("<presence type='unavailable'/>").await;
    juliet.drain().await;
    romeo.drain().await;
    say(&mut romeo, &words("a", 0..1)).await;
    assert_eq!(kept(&server, &scene.jid("juliet")).await, (1, false));
    romeo.send("<message to='{juliet}' type='chat' id='x'><body>x</body></message>").await;
    let refused = romeo.receive().await;
    assert_eq!((refused.attribute("id"), refused.attribute("type")), (Some("x"), Some("error")), "{refused}");
    tybalt.send("<message to='{juliet}' type='chat' id='x'><body>x</body></message>").await;
    tybalt.barrier().await;
}

#[tokio::test]
async fn what_was_kept_by_an_older_version_comes_in_its_place() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..1)).await;
    let (account, stanza) = (
        scene.jid("juliet"),
        format!(
            "<message xmlns='jabber:client' from='tybalt@elsewhere.lit' to='{}' type='chat'><body>old</body></message>",
            scene.jid("juliet")
        ),
    );
    scene
        .server()
        .with_house(move |house| async move {
            let sql = "INSERT INTO offline_messages (id, owner, stored_at, size, stanza) VALUES ($1, $2, 0, $3, $4)";
            let values = values![house.ids().next(), &*account, stanza.len() as i64, stanza.as_bytes()];
            house.database().execute(sql, values).await.unwrap();
        })
        .await;
    say(&mut romeo, &words("b", 0..1)).await;
    let (_juliet, got) = comes(&scene, "juliet/balcony").await;
    assert_eq!(got, ["a0", "old", "b0"]);
    until_kept(scene.server(), &scene.jid("juliet"), (0, false)).await;
}

#[tokio::test]
async fn f01_the_cursor_outlives_a_crash() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..5)).await;
    server.crash();
    server.start_again().await.unwrap();
    let mut romeo = scene.session("romeo/orchard").await;
    say(&mut romeo, &words("b", 0..2)).await;
    let (_juliet, got) = comes(&scene, "juliet/balcony").await;
    assert_eq!(got, [words("a", 0..5), words("b", 0..2)].concat());
    until_kept(&server, &scene.jid("juliet"), (0, false)).await;
}

#[tokio::test]
async fn a_message_for_one_device_that_is_gone_comes_too_and_one_that_was_received_does_not() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut negative = scene.online_with("juliet/negative", -1).await;
    say(&mut romeo, &words("a", 0..1)).await;
    romeo.send("<message to='{juliet/negative}' type='chat'><body>received</body></message>").await;
    romeo.send("<message to='{juliet}/gone' type='chat'><body>for one that is gone</body></message>").await;
    romeo.barrier().await;
    assert_eq!(messages(&negative.drain().await), ["received"]);
    say(&mut romeo, &words("b", 0..1)).await;
    assert_eq!(kept(scene.server(), &scene.jid("juliet")).await, (1, true));
    let (_juliet, got) = comes(&scene, "juliet/balcony").await;
    assert_eq!(got, ["a0", "for one that is gone", "b0"]);
    until_kept(scene.server(), &scene.jid("juliet"), (0, false)).await;
}

#[tokio::test]
async fn what_is_over_is_not_delivered() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..3)).await;
    let account = scene.jid("juliet");
    scene
        .server()
        .with_house(move |house| async move {
            // What the archive's expiry does.
            let sql = "DELETE FROM mam_messages WHERE id = (SELECT min(m.id) FROM mam_messages m JOIN mam_archives a
                ON a.number = m.archive WHERE a.owner = $1)";
            house.database().execute(sql, values![&*account]).await.unwrap();
        })
        .await;
    let (_juliet, got) = comes(&scene, "juliet/balcony").await;
    assert_eq!(got, words("a", 1..3));
}

#[tokio::test]
async fn what_is_committed_between_the_archive_and_the_presence_is_delivered() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    say(&mut romeo, &words("a", 0..3)).await;
    let mut juliet = scene.session("juliet/balcony").await;
    // Nobody else writes for a while.
    let mut standstill = server
        .with_house(|house| async move {
            let mut standstill = house.database().begin().await.unwrap();
            if house.database().engine() == waxwing_core::storage::Engine::Postgres {
                standstill.execute("LOCK TABLE mam_messages IN SHARE MODE", values![]).await.unwrap();
            }
            Some(standstill)
        })
        .await;
    // It has its id, which is older than the question; and it is not committed.
    romeo.send("<message to='{juliet}' type='chat' id='late'><body>late</body></message>").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (results, _) = ask(&mut juliet, "", "").await;
    assert_eq!(bodies(&results), words("a", 0..3));
    let standstill = standstill.take().unwrap();
    server.with_house(|_| async move { standstill.commit().await.unwrap() }).await;
    romeo.barrier().await;
    assert_eq!(messages(&juliet.go_online(0).await), ["late"]);
    until_kept(&server, &scene.jid("juliet"), (0, false)).await;
}
