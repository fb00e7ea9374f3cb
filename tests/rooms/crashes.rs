//! A room whose server is killed while everybody talks (faults row F1, promises P1 to P3).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use waxwing_testkit::{RawClient, TestServer};

use crate::archive::read_all;
use crate::{CHANNEL, enter, make, name_room, program};

/// How many talk, and how many messages of one of them are under way.
const TALKERS: usize = 4;
const UNDER_WAY: usize = 8;
/// So many messages are heard before the server is killed.
const ENOUGH: usize = 150;

/// Talks without end, and writes down what it hears, until the server is about to be killed.
async fn talk(
    mut client: RawClient,
    name: usize,
    enough: Arc<Notify>,
    mut dying: watch::Receiver<bool>,
) -> Vec<String> {
    let (mut heard, mut said) = (Vec::new(), 0);
    let mut own = HashSet::new();
    loop {
        while own.len() < UNDER_WAY {
            let body = format!("{name}-{said}");
            client
                .send(format!("<message to='{{room}}' type='groupchat' id='{body}'><body>{body}</body></message>"))
                .await;
            own.insert(body);
            said += 1;
        }
        let stanza = tokio::select! {
            biased;
            _ = dying.changed() => return heard,
            stanza = client.receive() => stanza,
        };
        let Some(body) = stanza.text_of("body") else { continue };
        assert_eq!(stanza.attribute("type"), Some("groupchat"), "{stanza}");
        own.remove(&body);
        heard.push(body);
        if heard.len() == ENOUGH {
            enough.notify_one();
        }
    }
}

#[tokio::test]
async fn f01_what_was_heard_in_a_room_is_there_after_its_server_was_killed() {
    let rates = "room_messages = 'unlimited'\noccupant_messages = 'unlimited'";
    let server = TestServer::start(program::options().toml(format!("[modules.muc]\n{rates}"))).await;
    let scene = server.scene();
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let (enough, (dying, told)) = (Arc::new(Notify::new()), watch::channel(false));
    let mut clients = vec![anna];
    for number in 1..TALKERS {
        let mut client = scene.session(&format!("p{number}/x")).await;
        enter(&mut client, &format!("p{number}")).await;
        clients.push(client);
    }
    let mut talks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        talks.spawn(talk(client, number, enough.clone(), told.clone()));
    }
    enough.notified().await;
    dying.send_replace(true);
    server.crash();
    let all_heard = talks.join_all().await;
    server.start_again().await.expect("it starts");
    let mut anna = scene.session("anna/y").await;
    anna.send("<iq type='get' id='in' to='{room}/anna'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    anna.expect("<iq type='error' id='in' {…}>{error:modify:not-acceptable}</iq>").await;
    let kept = read_all(&mut anna).await;
    for heard in &all_heard {
        assert!(kept.starts_with(heard), "what was heard is not the beginning of the archive: {heard:?} {kept:?}");
    }
    assert!(all_heard.iter().any(|heard| heard.len() >= ENOUGH));
    assert_eq!(kept.iter().collect::<HashSet<_>>().len(), kept.len(), "something is there twice: {kept:?}");
    for number in 0..TALKERS {
        let prefix = format!("{number}-");
        let own: Vec<usize> = kept
            .iter()
            .filter_map(|body| body.strip_prefix(&prefix))
            .map(|count| count.parse().expect("a number"))
            .collect();
        assert!(own.iter().copied().eq(0..own.len()), "of {number}: {own:?}");
    }
    // Nobody is left in it who is not there, it belongs to whom it belonged to, and it goes on.
    let came = enter(&mut anna, "anna").await;
    let presences: Vec<_> = came.iter().filter(|stanza| stanza.name == "presence").collect();
    assert!(presences.len() == 1 && presences[0].to_string().contains("owner"), "{presences:?}");
    anna.set_patience(Duration::from_secs(10));
    crate::talk(&mut anna, "again").await;
    assert_eq!(crate::next_message(&mut anna).await.text_of("body").as_deref(), Some("again"));
    drop(anna);
    server.stop().await;
}
