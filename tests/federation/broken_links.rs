//! Links that break: nothing is lost and nothing doubled, and either server may go and come back.

use std::time::Duration;

use crate::world::{Setup, World, bodies_until, message, say};

/// As many messages as the issue asks for, each way.
const MESSAGES: usize = 1_000;

fn numbered() -> Vec<String> {
    (0..MESSAGES).map(|number| number.to_string()).collect()
}

async fn a_thousand_each_way(world: &World, disturb: impl AsyncFn(usize)) {
    let (mut romeo, mut juliet) = world.lovers().await;
    let (he, she) = (romeo.jid().to_owned(), juliet.jid().to_owned());
    let all = numbered();
    let last = all.last().expect("there are some").clone();
    for (index, text) in all.iter().enumerate() {
        romeo.send_bytes(message(&she, text)).await;
        juliet.send_bytes(message(&he, text)).await;
        disturb(index).await;
    }
    let (to_her, to_him) = tokio::join!(bodies_until(&mut juliet, &last), bodies_until(&mut romeo, &last));
    assert_eq!(to_her, all, "to Juliet");
    assert_eq!(to_him, all, "to Romeo");
    for client in [&mut romeo, &mut juliet] {
        client.expect_silence(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn c27_a_thousand_messages_each_way_keep_their_order() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", ..Setup::default() }).await;
    a_thousand_each_way(&world, async |_| {}).await;
}

#[tokio::test]
async fn c27_a_thousand_messages_each_way_over_one_connection() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", bidirectional: true, ..Setup::default() }).await;
    a_thousand_each_way(&world, async |_| {}).await;
}

#[tokio::test]
async fn f25_a_link_that_is_cut_in_between_loses_nothing_and_doubles_nothing() {
    let world = World::new(Setup { more: "queue_stanzas = 5000", ..Setup::default() }).await;
    let disturb = async |index: usize| {
        if index % 90 == 89 {
            world.capulet.line.break_off();
        }
        if index % 130 == 129 {
            world.montague.line.break_off();
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    };
    a_thousand_each_way(&world, disturb).await;
    // The line was really cut while it was used.
    assert!(world.capulet.line.accepted() > 3 && world.montague.line.accepted() > 3);
}

#[tokio::test]
async fn a_server_that_was_stopped_is_found_again_by_both() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    say(&mut romeo, &mut juliet, "before").await;
    say(&mut juliet, &mut romeo, "before").await;
    world.capulet.restart().await;
    let mut juliet = world.capulet.scene().online("juliet/balcony").await;
    juliet.set_patience(Duration::from_secs(20));
    say(&mut romeo, &mut juliet, "after").await;
    say(&mut juliet, &mut romeo, "after").await;
    world.montague.crash().await;
    let mut romeo = world.montague.scene().online("romeo/orchard").await;
    romeo.set_patience(Duration::from_secs(20));
    say(&mut juliet, &mut romeo, "at last").await;
    say(&mut romeo, &mut juliet, "at last").await;
}
