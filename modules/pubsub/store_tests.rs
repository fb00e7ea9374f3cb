//! The tables of nodes on both engines.

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::refusal::Refusal;
use waxwing_storage::{Database, on_both_engines};

use crate::access::{Affiliation, Subscribed};
use crate::configuration::{Access, Configuration};
use crate::store::{Bounds, MIGRATIONS, NewItem, Page, Store, Window};

const BOUNDS: Bounds = Bounds { nodes: 3, items: 100, bytes: 100_000 };

fn jid(name: &str) -> BareJid {
    BareJid::new(&format!("{name}@capulet.lit")).unwrap()
}

fn many() -> Configuration {
    Configuration { max_items: None, ..Configuration::default() }
}

async fn publish(store: &Store, owner: &str, node: &str, ids: &[&str], made: &Configuration) -> Result<(), Refusal> {
    let payloads: Vec<String> = ids.iter().map(|id| format!("<a xmlns='urn:a'>{id}</a>")).collect();
    let items: Vec<NewItem<'_>> =
        ids.iter().zip(&payloads).map(|(id, payload)| NewItem { id, payload: Some(payload.as_bytes()) }).collect();
    let owner = jid(owner);
    let decide = |found: Option<&Configuration>| Ok(found.unwrap_or(made).clone());
    store.publish(&owner, node, &owner, &items, decide).await.map(|_| ())
}

async fn page(store: &Store, owner: &str, node: &str, window: Window) -> Page {
    let shelf = store.shelf(&jid(owner)).await.unwrap();
    store.page(shelf.node(node).unwrap(), window).await.unwrap()
}

const ALL: Window = Window { low: 0, high: i64::MAX, newest: false, most: 1_000, bytes: 1_000_000 };

async fn ids(store: &Store, owner: &str, node: &str, window: Window) -> String {
    let page = page(store, owner, node, window).await;
    page.items.iter().map(|item| &*item.id).collect::<Vec<_>>().join(" ")
}

on_both_engines! {
    [MIGRATIONS];

    async fn items_are_kept_in_the_order_of_their_publication(database: Database) {
        let store = Store::new(database, 1_000, BOUNDS);
        for id in ["b", "a", "c"] {
            publish(&store, "juliet", "n", &[id], &many()).await.unwrap();
        }
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "b a c");
        publish(&store, "juliet", "n", &["b"], &many()).await.unwrap();
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "a c b", "published again, it is the newest");
        publish(&store, "juliet", "n", &["e", "a", "d"], &many()).await.unwrap();
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "c b e a d");
        let shelf = store.shelf(&jid("juliet")).await.unwrap();
        let node = shelf.node("n").unwrap();
        let newest: Vec<Box<str>> = ["d".into(), "a".into()].into();
        assert_eq!(store.ids(node, 2).await.unwrap(), newest);
        let some = store.by_ids(node, &["d", "x", "c"]).await.unwrap();
        assert_eq!(some.iter().map(|item| &*item.id).collect::<Vec<_>>(), ["c", "d"]);
        assert_eq!(some[0].payload.as_deref(), Some(&b"<a xmlns='urn:a'>c</a>"[..]));
        assert_eq!(&*some[0].publisher, "juliet@capulet.lit");
        assert_eq!(store.retract(node, &["c", "x", "d"]).await.unwrap().len(), 2);
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "b e a");
        store.purge(node).await.unwrap();
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "");
    }

    async fn a_node_keeps_no_more_items_than_it_may(database: Database) {
        let store = Store::new(database, 1_000, BOUNDS);
        let three = Configuration { max_items: Some(3), ..Configuration::default() };
        for number in 0..5 {
            publish(&store, "juliet", "n", &[&number.to_string()], &three).await.unwrap();
        }
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "2 3 4");
        let shelf = store.shelf(&jid("juliet")).await.unwrap();
        let one = Configuration::default();
        store.configure(&jid("juliet"), shelf.node("n").unwrap(), &one).await.unwrap();
        assert_eq!(ids(&store, "juliet", "n", ALL).await, "4");
        let passing = Configuration { persist_items: false, ..Configuration::default() };
        publish(&store, "juliet", "passing", &["1"], &passing).await.unwrap();
        assert_eq!(ids(&store, "juliet", "passing", ALL).await, "");
    }

    async fn pages_have_bounds_in_number_and_in_bytes(database: Database) {
        let store = Store::new(database, 1_000, BOUNDS);
        for number in 10..30 {
            publish(&store, "juliet", "n", &[&number.to_string()], &many()).await.unwrap();
        }
        let two = Window { most: 2, ..ALL };
        let first = page(&store, "juliet", "n", two).await;
        assert_eq!((first.items.len(), first.before, first.count), (2, 0, 20));
        let second = page(&store, "juliet", "n", Window { low: first.items[1].position, ..two }).await;
        assert_eq!((&*second.items[0].id, second.before), ("12", 2));
        assert_eq!(ids(&store, "juliet", "n", Window { newest: true, ..two }).await, "28 29");
        let high = second.items[0].position;
        assert_eq!(ids(&store, "juliet", "n", Window { newest: true, high, ..two }).await, "10 11");
        // Each item weighs some 175 bytes.
        assert_eq!(ids(&store, "juliet", "n", Window { bytes: 600, ..ALL }).await, "10 11 12");
        assert_eq!(ids(&store, "juliet", "n", Window { bytes: 600, newest: true, ..ALL }).await, "27 28 29");
    }

    async fn an_account_has_bounds(database: Database) {
        let store = Store::new(database, 1_000, Bounds { bytes: 1_000, ..BOUNDS });
        for node in ["a", "b", "c"] {
            publish(&store, "juliet", node, &["1"], &many()).await.unwrap();
        }
        let refusal = publish(&store, "juliet", "d", &["1"], &many()).await.unwrap_err();
        assert_eq!(refusal.condition.name(), "policy-violation");
        assert!(store.make(&jid("juliet"), "d", &many()).await.is_err());
        for id in ["2", "3"] {
            publish(&store, "juliet", "a", &[id], &many()).await.unwrap();
        }
        assert!(publish(&store, "juliet", "a", &["4"], &many()).await.is_err(), "there is no room for it");
        assert_eq!(ids(&store, "juliet", "a", ALL).await, "1 2 3", "what was refused has left no trace");
        publish(&store, "juliet", "a", &["3"], &many()).await.unwrap();
        publish(&store, "nurse", "a", &["1"], &many()).await.unwrap();
        let shelf = store.shelf(&jid("juliet")).await.unwrap();
        store.retract(shelf.node("a").unwrap(), &["1"]).await.unwrap();
        publish(&store, "juliet", "a", &["4"], &many()).await.unwrap();
    }

    async fn s21_a_refused_publication_leaves_nothing(database: Database) {
        let store = Store::new(database.clone(), 1_000, BOUNDS);
        let item = NewItem { id: "1", payload: None };
        let refused = store.publish(&jid("juliet"), "n", &jid("juliet"), &[item], |_| Err(Refusal::conflict())).await;
        assert!(refused.is_err());
        assert!(store.shelf(&jid("juliet")).await.unwrap().0.is_empty());
        let rows = database.fetch_all("SELECT 1 FROM pubsub_nodes", &[]).await.unwrap();
        assert!(rows.is_empty());
    }

    async fn lists_of_a_node_are_kept_and_go_with_it(database: Database) {
        let store = Store::new(database.clone(), 1_000, BOUNDS);
        let (juliet, romeo) = (jid("juliet"), jid("romeo"));
        store.make(&juliet, "n", &Configuration { access: Access::Whitelist, ..many() }).await.unwrap();
        publish(&store, "juliet", "n", &["1"], &many()).await.unwrap();
        let node = store.shelf(&juliet).await.unwrap().node("n").unwrap().clone();
        assert_eq!(node.configuration.access, Access::Whitelist);
        let changes = [(romeo.clone(), Affiliation::Member), (jid("tybalt"), Affiliation::Outcast)];
        store.affiliate(&juliet, &node, &changes).await.unwrap();
        let desk: Jid = romeo.with_resource_str("desk").unwrap().into();
        store.subscribe(&juliet, &node, &[(desk.clone(), Some(Subscribed::Pending))]).await.unwrap();
        let node = store.shelf(&juliet).await.unwrap().node("n").unwrap().clone();
        assert_eq!((node.affiliation(&romeo), node.subscribed(&romeo)), (Affiliation::Member, Some(Subscribed::Pending)));
        store.subscribe(&juliet, &node, &[(desk.clone(), Some(Subscribed::Yes))]).await.unwrap();
        store.affiliate(&juliet, &node, &[(romeo.clone(), Affiliation::None)]).await.unwrap();
        let node = store.shelf(&juliet).await.unwrap().node("n").unwrap().clone();
        assert_eq!((node.affiliation(&romeo), node.subscribed(&romeo)), (Affiliation::None, Some(Subscribed::Yes)));
        store.subscribe(&juliet, &node, &[(desk, None)]).await.unwrap();
        assert_eq!(store.shelf(&juliet).await.unwrap().node("n").unwrap().subscribed(&romeo), None);
        store.delete(&juliet, &node).await.unwrap();
        assert!(store.shelf(&juliet).await.unwrap().0.is_empty());
        publish(&store, "juliet", "m", &["1"], &many()).await.unwrap();
        publish(&store, "nurse", "m", &["1"], &many()).await.unwrap();
        store.forget_account(&juliet).await.unwrap();
        let left = "SELECT (SELECT count(*) FROM pubsub_nodes), (SELECT count(*) FROM pubsub_items), \
            (SELECT count(*) FROM pubsub_affiliations)";
        let row = database.fetch_optional(left, &[]).await.unwrap().unwrap();
        assert_eq!([0, 1, 2].map(|index| row.integer(index).unwrap()), [1, 1, 0]);
    }

    async fn the_last_items_of_many_are_found_at_once(database: Database) {
        let store = Store::new(database, 1_000, BOUNDS);
        for (owner, node, id) in
            [("juliet", "mood", "1"), ("juliet", "mood", "2"), ("nurse", "mood", "3"), ("nurse", "tune", "4"), ("romeo", "mood", "5")]
        {
            publish(&store, owner, node, &[id], &many()).await.unwrap();
        }
        let node = store.shelf(&jid("nurse")).await.unwrap().node("mood").unwrap().clone();
        store.affiliate(&jid("nurse"), &node, &[(jid("tybalt"), Affiliation::Outcast)]).await.unwrap();
        let owners = ["juliet@capulet.lit", "nurse@capulet.lit"];
        let mut found = store.last(&owners, &["mood", "x"], &jid("tybalt")).await.unwrap();
        found.sort_by(|one, other| one.owner.cmp(&other.owner));
        let told: Vec<_> = found.iter().map(|last| (last.owner.as_str(), &*last.item.id, last.affiliation)).collect();
        assert_eq!(
            told,
            [
                ("juliet@capulet.lit", "2", Affiliation::None),
                ("nurse@capulet.lit", "3", Affiliation::Outcast)
            ]
        );
    }

    async fn items_go_when_their_time_has_come(database: Database) {
        let store = Store::new(database.clone(), 1_000, BOUNDS);
        let short = Configuration { item_expire: Some(60), ..many() };
        publish(&store, "juliet", "short", &["1", "2"], &short).await.unwrap();
        publish(&store, "juliet", "long", &["1"], &many()).await.unwrap();
        assert_eq!(store.expire().await.unwrap(), 0);
        let age = "UPDATE pubsub_items SET published_at = published_at - 100000 WHERE id = '1'";
        database.execute(age, &[]).await.unwrap();
        assert_eq!(ids(&store, "juliet", "short", ALL).await, "2", "nobody sees it any more");
        assert_eq!(store.expire().await.unwrap(), 1);
        let sizes = "SELECT name, items FROM pubsub_nodes ORDER BY name";
        let rows = database.fetch_all(sizes, &[]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.integer(1).unwrap()).collect::<Vec<_>>(), [1, 1]);
    }

    async fn s21_ids_that_look_like_statements_are_text(database: Database) {
        let store = Store::new(database, 1_000, BOUNDS);
        let odd = "' OR 1=1--";
        publish(&store, "juliet", odd, &[odd, "b"], &many()).await.unwrap();
        let node = store.shelf(&jid("juliet")).await.unwrap().node(odd).unwrap().clone();
        assert_eq!(store.position(&node, odd).await.unwrap(), Some(1));
        assert_eq!(store.position(&node, "' OR 1=1").await.unwrap(), None);
        assert_eq!(store.retract(&node, &[odd]).await.unwrap(), [odd]);
        assert_eq!(ids(&store, "juliet", odd, ALL).await, "b");
    }

    async fn s21_no_more_is_remembered_than_allowed(database: Database) {
        let store = Store::new(database, 64, BOUNDS);
        for number in 0..1_000 {
            store.shelf(&jid(&format!("user{number}"))).await.unwrap();
        }
        assert!(store.remembered() <= 64, "{}", store.remembered());
    }
}
