//! The table of messages on both engines.

use waxwing_storage::{GroupCommit, GroupCommitSettings, on_both_engines};

use super::*;

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

fn message(id: i64, owner: &str, stanza: &[u8]) -> Change {
    Change::Keep(Message {
        id,
        owner: jid(owner),
        stored_at: id * 10,
        stanza: stanza.to_vec(),
        size: stanza.len(),
        comes_back: false,
        refused: Arc::default(),
    })
}

fn coming_back(id: i64, owner: &str, stanza: &[u8]) -> Change {
    match message(id, owner, stanza) {
        Change::Keep(message) => Change::Keep(Message { comes_back: true, ..message }),
        change => change,
    }
}

fn refused(change: &Change) -> bool {
    matches!(change, Change::Keep(message) if message.refused.load(Ordering::Acquire))
}

const WIDE: Room = Room { messages: Count::UNLIMITED, bytes: ByteSize::UNLIMITED };

async fn ids(store: &Store, owner: &str, after: i64, most: u32, bytes: u32) -> Vec<i64> {
    let page = store.page(&jid(owner), after, most, bytes).await.unwrap();
    page.into_iter().map(|kept| kept.id).collect()
}

on_both_engines! {
    [MIGRATIONS];

    async fn messages_come_back_as_they_were_in_the_order_of_their_ids(database: Database) {
        let store = Store::new(database.clone());
        assert_eq!(store.newest_id().await.unwrap(), 0);
        let batch = [message(7, "a@x", b"<seven/>"), message(3, "a@x", b"<three/>"), message(5, "b@x", b"\0\xFF")];
        WIDE.write(&database, &batch).await.unwrap();
        let page = store.page(&jid("a@x"), 0, 10, 1000).await.unwrap();
        let kept = |id, stanza: &[u8]| Kept { id, content: Ok((id * 10, stanza.to_vec())) };
        assert_eq!(page, [kept(3, b"<three/>"), kept(7, b"<seven/>")]);
        assert_eq!(store.page(&jid("b@x"), 0, 10, 1000).await.unwrap(), [kept(5, b"\0\xFF")]);
        assert_eq!(store.newest_id().await.unwrap(), 7);
        assert!(store.page(&jid("c@x"), 0, 10, 1000).await.unwrap().is_empty());
    }

    async fn a_page_is_bounded_in_messages_and_in_bytes(database: Database) {
        let store = Store::new(database.clone());
        let batch: Vec<_> = (1..=10).map(|id| message(id, "a@x", &[b'x'; 100])).collect();
        WIDE.write(&database, &batch).await.unwrap();
        assert_eq!(ids(&store, "a@x", 0, 3, 10_000).await, [1, 2, 3]);
        assert_eq!(ids(&store, "a@x", 3, 10, 250).await, [4, 5, 6], "the one that fills the page is part of it");
        assert_eq!(ids(&store, "a@x", 6, 10, 1).await, [7], "one at least");
        assert_eq!(ids(&store, "a@x", 8, 10, 10_000).await, [9, 10]);
    }

    async fn what_was_delivered_is_deleted_and_nothing_else(database: Database) {
        let store = Store::new(database.clone());
        let batch = [1, 2, 3].map(|id| message(id, "a@x", b"m")).into_iter().chain([message(4, "b@x", b"m")]);
        WIDE.write(&database, &batch.collect::<Vec<_>>()).await.unwrap();
        store.delete(&[1, 3, 99]).await.unwrap();
        store.delete(&[]).await.unwrap();
        assert_eq!(ids(&store, "a@x", 0, 10, 100).await, [2]);
        store.forget(&jid("a@x")).await.unwrap();
        assert!(ids(&store, "a@x", 0, 10, 100).await.is_empty());
        assert_eq!(ids(&store, "b@x", 0, 10, 100).await, [4]);
    }

    async fn s34_room_is_bounded_for_each_account(database: Database) {
        let store = Store::new(database.clone());
        let room = Room { messages: Count::of(3), bytes: ByteSize::bytes(250) };
        let verdicts = |batch: &[Change]| batch.iter().map(refused).collect::<Vec<_>>();
        let first: Vec<_> = (1..=4).map(|id| message(id, "a@x", b"m")).collect();
        room.write(&database, &first).await.unwrap();
        assert_eq!(verdicts(&first), [false, false, false, true]);
        let second = [message(5, "a@x", b"m"), message(6, "b@x", &[0; 200]), message(7, "b@x", &[0; 51]), message(8, "b@x", &[0; 50])];
        room.write(&database, &second).await.unwrap();
        assert_eq!(verdicts(&second), [true, false, true, false]);
        assert_eq!(ids(&store, "a@x", 0, 10, 1000).await, [1, 2, 3]);
        assert_eq!(ids(&store, "b@x", 0, 10, 1000).await, [6, 8]);
        let back = [coming_back(2, "a@x", b"m"), coming_back(4, "a@x", b"m")];
        room.write(&database, &back).await.unwrap();
        assert_eq!(verdicts(&back), [false, false], "what had its place keeps it");
        assert_eq!(ids(&store, "a@x", 0, 10, 1000).await, [1, 2, 3, 4]);
    }

    async fn a_cursor_moves_as_it_is_told_and_goes_with_its_account(database: Database) {
        let store = Store::new(database.clone());
        let cursor = async || store.cursor(&jid("a@x")).await.unwrap();
        assert_eq!(cursor().await, None);
        for (write, says) in [
            (Write::Lower(7), Some(7)),
            (Write::Lower(9), Some(7)),
            (Write::Lower(5), Some(5)),
            (Write::Set(8), Some(8)),
            (Write::Clear, None),
            (Write::Clear, None),
            (Write::Set(3), Some(3)),
        ] {
            WIDE.write(&database, &[Change::Move(jid("a@x"), write), message(1, "a@x", b"m")]).await.unwrap();
            assert_eq!(cursor().await, says, "{write:?}");
        }
        assert_eq!(store.cursor(&jid("b@x")).await.unwrap(), None);
        store.forget(&jid("a@x")).await.unwrap();
        assert_eq!(cursor().await, None);
    }

    async fn many_senders_share_commits(database: Database) {
        let writer = GroupCommit::start(database.clone(), &GroupCommitSettings::default(), WIDE);
        let senders: Vec<_> = (1..=200).map(|id| {
            let writer = writer.clone();
            tokio::spawn(async move { writer.write(message(id, &format!("user{}@x", id % 5), b"m")).await })
        }).collect();
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        let mut all = Vec::new();
        for owner in 0..5 {
            all.extend(ids(&Store::new(database.clone()), &format!("user{owner}@x"), 0, 1000, 1_000_000).await);
        }
        all.sort_unstable();
        assert_eq!(all, (1..=200).collect::<Vec<_>>());
    }
}
