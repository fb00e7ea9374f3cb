//! The suite of the roster's tables, run on both engines.

use std::time::Duration;

use waxwing_core::storage::on_both_engines;

use super::*;

fn jid(text: &str) -> BareJid {
    BareJid::new(text).expect("an address")
}

fn romeo() -> BareJid {
    jid("romeo@montague.lit")
}

/// An item with everything that can stand in one.
fn full(contact: &str) -> Item {
    Item {
        contact: jid(contact),
        name: Some("Юлия 'J' <b>".to_owned()),
        groups: vec!["Verona".to_owned(), "a \"b\" \\ c\nd".to_owned()],
        state: State { sees_contact: true, seen_by_contact: true, approved: true, ..State::default() },
        version: 0,
    }
}

async fn put(store: &Store, account: &BareJid, item: &mut Item) {
    let mut change = store.change(account).await.unwrap();
    change.put(item).await.unwrap();
    change.commit().await.unwrap();
}

async fn remove(store: &Store, account: &BareJid, contact: &str, remembered: usize) -> i64 {
    let mut change = store.change(account).await.unwrap();
    let version = change.remove(&jid(contact), remembered).await.unwrap();
    change.commit().await.unwrap();
    version
}

/// What a client that knows `version` is told: the contacts that changed, a removed one with a `-`.
async fn since(store: &Store, account: &BareJid, version: i64) -> Option<Vec<String>> {
    match store.read_since(account, version, 50).await.unwrap() {
        Since::Unknown => None,
        Since::Changes { items, .. } => {
            let told = |item: Result<Item, (BareJid, i64)>| match item {
                Ok(item) => item.contact.to_string(),
                Err((contact, _)) => format!("-{contact}"),
            };
            Some(items.into_iter().map(told).collect())
        }
    }
}

on_both_engines! {
    [MIGRATIONS];

    async fn an_item_is_read_as_it_was_written(database: Database) {
        let store = Store(database);
        assert_eq!(store.read(&romeo()).await.unwrap(), Roster::default());
        let (mut juliet, mut nurse) = (full("juliet@capulet.lit"), Item::new(jid("nurse@capulet.lit")));
        put(&store, &romeo(), &mut juliet).await;
        put(&store, &romeo(), &mut nurse).await;
        let mut roster = store.read(&romeo()).await.unwrap();
        roster.items.sort_by_key(|item| item.version);
        assert_eq!(roster.items, [juliet.clone(), nurse]);
        assert_eq!(roster.version, roster.items[1].version);
        assert_eq!(store.read_one(&romeo(), &juliet.contact).await.unwrap().item, Some(juliet));
        assert_eq!(store.read(&jid("benvolio@montague.lit")).await.unwrap(), Roster::default());
    }

    async fn c77_an_update_leaves_nothing_of_what_was(database: Database) {
        let store = Store(database);
        let mut item = full("juliet@capulet.lit");
        put(&store, &romeo(), &mut item).await;
        let mut bare = Item::new(item.contact.clone());
        put(&store, &romeo(), &mut bare).await;
        assert_eq!(store.read(&romeo()).await.unwrap().items, [bare]);
    }

    async fn c80_a_client_is_told_what_changed_since_its_version(database: Database) {
        let store = Store(database);
        assert_eq!(since(&store, &romeo(), 0).await, Some(vec![]));
        assert_eq!(since(&store, &romeo(), 7).await, None);
        let (mut a, mut b) = (Item::new(jid("a@x.lit")), Item::new(jid("b@x.lit")));
        put(&store, &romeo(), &mut a).await;
        let first = a.version;
        put(&store, &romeo(), &mut b).await;
        assert!(b.version > first, "versions grow");
        assert_eq!(since(&store, &romeo(), b.version).await, Some(vec![]));
        assert_eq!(since(&store, &romeo(), first).await, Some(vec!["b@x.lit".to_owned()]));
        put(&store, &romeo(), &mut a).await;
        let removed = remove(&store, &romeo(), "b@x.lit", 10).await;
        assert!(removed > a.version && a.version > b.version);
        // The final state of each, in the order of the last changes.
        assert_eq!(since(&store, &romeo(), first).await, Some(vec!["a@x.lit".to_owned(), "-b@x.lit".to_owned()]));
        assert_eq!(since(&store, &romeo(), removed).await, Some(vec![]));
        for unknown in [0, first - 3_600_000, removed + 1, i64::MAX, -1] {
            assert_eq!(since(&store, &romeo(), unknown).await, None, "{unknown}");
        }
        assert_eq!(store.read_since(&romeo(), first, 1).await.unwrap(), Since::Unknown);
        assert!(matches!(store.read_since(&romeo(), first, 2).await.unwrap(), Since::Changes { .. }));
    }

    async fn removed_contacts_are_forgotten_beyond_the_bound(database: Database) {
        let store = Store(database);
        let contacts = ["c0@x.lit", "c1@x.lit", "c2@x.lit", "c3@x.lit"];
        for contact in contacts {
            put(&store, &romeo(), &mut Item::new(jid(contact))).await;
        }
        let mut removed = Vec::new();
        for contact in contacts {
            removed.push(remove(&store, &romeo(), contact, 2).await);
        }
        // The first two are forgotten: who knows a version before that has to read the whole roster.
        assert_eq!(since(&store, &romeo(), removed[0]).await, None);
        let rest = vec!["-c2@x.lit".to_owned(), "-c3@x.lit".to_owned()];
        assert_eq!(since(&store, &romeo(), removed[1]).await, Some(rest));
        // A removed contact that comes back is a contact like any other.
        let mut again = Item::new(jid("c2@x.lit"));
        put(&store, &romeo(), &mut again).await;
        assert_eq!(since(&store, &romeo(), removed[3]).await, Some(vec!["c2@x.lit".to_owned()]));
        assert_eq!(store.read(&romeo()).await.unwrap().items, [again]);
    }

    async fn c83_a_request_is_kept_once_and_whole_until_it_is_answered(database: Database) {
        let store = Store(database);
        let (romeo, juliet) = (romeo(), jid("juliet@capulet.lit"));
        for stanza in [&b"<presence type='subscribe'><nick>J</nick></presence>"[..], b"<presence/>"] {
            let mut change = store.change(&romeo).await.unwrap();
            assert!(change.keep_request(&juliet, stanza, 10).await.unwrap());
            change.commit().await.unwrap();
        }
        let kept = store.read_requests(&romeo, 10).await.unwrap();
        assert_eq!(kept, [b"<presence type='subscribe'><nick>J</nick></presence>"]);
        let entry = store.read_one(&romeo, &juliet).await.unwrap();
        assert!(entry.is_asked && entry.item.is_none());
        // C81: a contact that only has asked stands in no roster.
        assert_eq!(store.read(&romeo).await.unwrap().items, []);
        let mut change = store.change(&romeo).await.unwrap();
        assert!(!change.keep_request(&jid("nurse@capulet.lit"), b"<presence/>", 1).await.unwrap());
        change.drop_request(&juliet).await.unwrap();
        change.commit().await.unwrap();
        assert!(store.read_requests(&romeo, 10).await.unwrap().is_empty());
        assert!(!store.read_one(&romeo, &juliet).await.unwrap().is_asked);
    }

    async fn a_change_that_is_dropped_never_happened(database: Database) {
        let store = Store(database);
        let romeo = romeo();
        let mut item = full("juliet@capulet.lit");
        put(&store, &romeo, &mut item).await;
        let mut change = store.change(&romeo).await.unwrap();
        change.remove(&item.contact, 10).await.unwrap();
        assert_eq!(change.count().await.unwrap(), 0);
        drop(change);
        assert_eq!(store.read(&romeo).await.unwrap().items, [item]);
    }

    async fn changes_of_one_account_come_one_after_the_other(database: Database) {
        let store = Store(database);
        let slow = async {
            let account = romeo();
            let mut change = store.change(&account).await.unwrap();
            let mut item = Item::new(jid("first@x.lit"));
            change.put(&mut item).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            change.commit().await.unwrap();
            item.version
        };
        let quick = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let account = romeo();
            let mut change = store.change(&account).await.unwrap();
            assert_eq!(change.count().await.unwrap(), 1, "the slow one was not waited for");
            let mut item = Item::new(jid("second@x.lit"));
            change.put(&mut item).await.unwrap();
            change.commit().await.unwrap();
            item.version
        };
        let (first, second) = tokio::join!(slow, quick);
        assert!(first < second);
    }

    async fn what_is_deleted_says_who_has_to_be_told(database: Database) {
        let store = Store(database);
        put(&store, &romeo(), &mut full("juliet@capulet.lit")).await;
        put(&store, &romeo(), &mut Item::new(jid("gone@x.lit"))).await;
        remove(&store, &romeo(), "gone@x.lit", 10).await;
        put(&store, &jid("other@montague.lit"), &mut full("juliet@capulet.lit")).await;
        let account = romeo();
        let mut change = store.change(&account).await.unwrap();
        change.keep_request(&jid("nurse@capulet.lit"), b"<presence/>", 10).await.unwrap();
        change.commit().await.unwrap();
        let mut told = store.delete(&romeo()).await.unwrap();
        told.sort_by_key(|(contact, _)| contact.to_string());
        let both = State { sees_contact: true, seen_by_contact: true, ..State::default() };
        let asked = State { is_asked: true, ..State::default() };
        assert_eq!(told, [(jid("juliet@capulet.lit"), both), (jid("nurse@capulet.lit"), asked)]);
        assert_eq!(store.read(&romeo()).await.unwrap(), Roster::default());
        assert!(store.read_requests(&romeo(), 10).await.unwrap().is_empty());
        assert_eq!(store.delete(&romeo()).await.unwrap(), []);
        assert_eq!(store.read(&jid("other@montague.lit")).await.unwrap().items.len(), 1);
    }

    async fn a_roster_of_ten_thousand_is_read_at_once(database: Database) {
        let store = Store(database);
        let account = romeo();
        let mut change = store.change(&account).await.unwrap();
        for number in 0..10_000 {
            change.put(&mut Item::new(jid(&format!("contact{number}@capulet.lit")))).await.unwrap();
        }
        change.commit().await.unwrap();
        let started = std::time::Instant::now();
        assert_eq!(store.read(&account).await.unwrap().items.len(), 10_000);
        let took = started.elapsed();
        // Generous for a debug build on a busy machine; a query for each contact would take many times as long.
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
