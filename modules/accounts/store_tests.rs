//! The tables of accounts on both engines.

use std::num::NonZeroU32;

use waxwing_core::address::DomainPart;
use waxwing_storage::on_both_engines;

use super::*;

fn name(text: &str) -> NodePart {
    NodePart::new(text).unwrap().into_owned()
}

fn store(database: &Database, host: &str) -> Store {
    Store::new(database.clone(), &DomainPart::new(host).unwrap())
}

fn keys(password: &str) -> [ScramKeys; 3] {
    Hash::ALL.map(|hash| ScramKeys::new(password, NonZeroU32::new(4).unwrap(), hash).unwrap())
}

on_both_engines! {
    [MIGRATIONS];

    async fn an_account_is_made_once_and_found_by_its_keys(database: Database) {
        let store = store(&database, "verona.lit");
        let (romeo, made) = (name("romeo"), keys("wherefore"));
        assert!(!store.exists(&romeo).await.unwrap());
        assert!(store.create(&romeo, &made).await.unwrap());
        assert!(!store.create(&romeo, &keys("another")).await.unwrap());
        assert!(store.exists(&romeo).await.unwrap() && !store.is_disabled(&romeo).await.unwrap());
        for keys in &made {
            assert_eq!(store.keys(&romeo, keys.hash).await.unwrap().as_ref(), Some(keys));
        }
        assert_eq!(store.strongest_keys(&romeo).await.unwrap().unwrap().hash, Hash::Sha512);
        assert!(store.keys(&name("juliet"), Hash::Sha1).await.unwrap().is_none());
    }

    async fn hosts_do_not_share_accounts(database: Database) {
        let (verona, mantua) = (store(&database, "verona.lit"), store(&database, "mantua.lit"));
        assert!(verona.create(&name("romeo"), &keys("a")).await.unwrap());
        assert!(!mantua.exists(&name("romeo")).await.unwrap());
        assert!(mantua.create(&name("romeo"), &keys("b")).await.unwrap());
        assert!(verona.retire(&name("romeo")).await.unwrap());
        assert!(mantua.exists(&name("romeo")).await.unwrap());
        assert_eq!(mantua.names(None, 10).await.unwrap(), [name("romeo")]);
    }

    async fn a_new_password_takes_the_place_of_the_old(database: Database) {
        let store = store(&database, "verona.lit");
        let romeo = name("romeo");
        assert!(!store.set_keys(&romeo, &keys("x")).await.unwrap(), "nobody has this account");
        store.create(&romeo, &keys("old")).await.unwrap();
        let new = keys("new");
        assert!(store.set_keys(&romeo, &new).await.unwrap());
        for keys in &new {
            assert_eq!(store.keys(&romeo, keys.hash).await.unwrap().as_ref(), Some(keys));
        }
    }

    async fn a_name_is_free_when_its_last_owner_is_forgotten(database: Database) {
        let store = store(&database, "verona.lit");
        let romeo = name("romeo");
        assert!(!store.retire(&romeo).await.unwrap());
        store.create(&romeo, &keys("a")).await.unwrap();
        assert!(store.retire(&romeo).await.unwrap() && !store.retire(&romeo).await.unwrap());
        assert!(!store.exists(&romeo).await.unwrap() && store.is_retired(&romeo).await.unwrap());
        assert!(store.strongest_keys(&romeo).await.unwrap().is_none(), "nobody logs in to it");
        assert!(!store.create(&romeo, &keys("b")).await.unwrap() && !store.set_keys(&romeo, &keys("b")).await.unwrap());
        assert!(store.names(None, 10).await.unwrap().is_empty());
        let retired = store.retired_before(now_milliseconds() + 1, 10).await.unwrap();
        assert_eq!((retired.len(), &retired[0]), (1, &romeo));
        assert!(store.retired_before(now_milliseconds() - 60_000, 10).await.unwrap().is_empty());
        store.free(&["romeo", "nobody"]).await.unwrap();
        assert!(!store.is_retired(&romeo).await.unwrap());
        assert!(store.create(&romeo, &keys("b")).await.unwrap());
        store.free(&["romeo"]).await.unwrap();
        assert!(store.exists(&romeo).await.unwrap(), "only what has ended is freed");
    }

    async fn names_are_paged_in_the_order_of_their_bytes(database: Database) {
        let store = store(&database, "verona.lit");
        let sorted = ["-a", "10", "9", "_z", "abe", "b-c", "ba", "tybalt", "é", "ж"];
        for text in sorted.iter().rev() {
            store.create(&name(text), &keys("a")).await.unwrap();
        }
        let mut paged = Vec::new();
        loop {
            let page = store.names(paged.last().map(|last: &NodePart| &**last), 3).await.unwrap();
            assert!(page.len() <= 3);
            if page.is_empty() { break; }
            paged.extend(page);
        }
        assert_eq!(paged.iter().map(|name| name.as_str()).collect::<Vec<_>>(), sorted);
    }

    async fn the_journal_tells_others_what_changed_and_when_in_order(database: Database) {
        let (here, there) = (store(&database, "verona.lit"), store(&database, "verona.lit"));
        let (romeo, juliet) = (name("romeo"), name("juliet"));
        assert_eq!(here.newest_change().await.unwrap(), 0);
        here.create(&romeo, &keys("a")).await.unwrap();
        there.create(&juliet, &keys("a")).await.unwrap();
        there.create(&juliet, &keys("a")).await.unwrap();
        there.set_keys(&juliet, &keys("b")).await.unwrap();
        here.retire(&romeo).await.unwrap();
        let seen: Vec<_> = here.changes_after(0, 10).await.unwrap().into_iter()
            .map(|change| (change.number, change.about.unwrap(), change.is_own)).collect();
        assert_eq!(seen, [
            (1, (romeo.clone(), What::Created), true),
            (2, (juliet.clone(), What::Created), false),
            (3, (juliet.clone(), What::Password), false),
            (4, (romeo.clone(), What::Removed), true),
        ]);
        assert_eq!(there.newest_change().await.unwrap(), 4);
        let rest = there.changes_after(2, 1).await.unwrap();
        assert_eq!((rest.len(), rest[0].number, rest[0].is_own), (1, 3, true));
        assert_eq!(here.forget_changes_before(now_milliseconds() + 1).await.unwrap(), 4);
        here.create(&romeo, &keys("a")).await.unwrap();
        assert_eq!(here.newest_change().await.unwrap(), 4, "the name was not free");
    }

    async fn many_accounts_made_at_once_leave_no_gap_in_the_journal(database: Database) {
        let made: Vec<_> = (0..40).map(|number| {
            let (store, made) = (store(&database, "verona.lit"), keys("a"));
            // Every name is wanted twice: one of both is refused, and takes no number.
            tokio::spawn(async move { store.create(&name(&format!("user{}", number / 2)), &made).await.unwrap() })
        }).collect();
        let mut count = 0;
        for task in made {
            count += usize::from(task.await.unwrap());
        }
        assert_eq!(count, 20);
        let journal = store(&database, "verona.lit").changes_after(0, 100).await.unwrap();
        assert_eq!(journal.iter().map(|change| change.number).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    }

    async fn f31_a_name_that_cannot_be_read_hides_no_other(database: Database) {
        let store = store(&database, "verona.lit");
        store.create(&name("romeo"), &keys("a")).await.unwrap();
        let broken = "INSERT INTO accounts (host, name, created_at, changed_at) VALUES ('verona.lit', 'a b@c', 0, 0)";
        database.execute(broken, values![]).await.unwrap();
        assert_eq!(store.names(None, 10).await.unwrap(), [name("romeo")]);
    }
}
