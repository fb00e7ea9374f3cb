//! The tables on both engines.

use waxwing_core::address::{BareJid, DomainPart, FullJid};
use waxwing_storage::{Database, on_both_engines};

use crate::devices::{Device, Target};
use crate::store::{Bounded, Endpoint, MIGRATIONS, Store, forget};

fn store(database: &Database, gateway: &str) -> Store {
    Store::new(database.clone(), &DomainPart::new(gateway).unwrap().into_owned())
}

fn device(node: &str, owner: &str, name: &str) -> Device {
    Device {
        node: node.to_owned(),
        secret: format!("secret of {node}"),
        owner: BareJid::new(owner).unwrap(),
        name: name.to_owned(),
        target: Target::Web { endpoint: format!("https://{node}"), key: vec![4; 65], authentication: vec![7; 16] },
    }
}

fn endpoint(token: &str, client: &str, instance: &str, expires: i64) -> Endpoint {
    Endpoint {
        token: token.to_owned(),
        client: FullJid::new(client).unwrap(),
        application: "app".to_owned(),
        instance: instance.to_owned(),
        expires,
    }
}

const JULIET: &str = "juliet@capulet.lit";
const BALCONY: &str = "juliet@capulet.lit/balcony";

on_both_engines! {
    [MIGRATIONS];

    async fn a_device_keeps_its_node_and_can_be_removed(database: Database) {
        let store = store(&database, "push.capulet.lit");
        let first = device("n1", JULIET, "phone");
        let done = |node: &str| Bounded::Done((node.to_owned(), format!("secret of {node}")));
        assert_eq!(store.register(&first, 1, 2).await.unwrap(), done("n1"));
        assert_eq!(store.device("n1").await.unwrap(), Some(first.clone()));
        let again = device("n2", JULIET, "phone");
        assert_eq!(store.register(&again, 2, 2).await.unwrap(), done("n1"), "the same device");
        let kept = store.device("n1").await.unwrap().unwrap();
        assert_eq!((kept.target, kept.secret.as_str()), (again.target, "secret of n1"));
        assert!(store.device("n2").await.unwrap().is_none());
        let of_another_service =
            Device { target: Target::Fcm { token: "t".to_owned(), account: None }, ..device("n3", JULIET, "phone") };
        assert_eq!(store.register(&of_another_service, 3, 2).await.unwrap(), done("n3"));
        assert_eq!(store.register(&device("n4", JULIET, "tablet"), 4, 2).await.unwrap(), Bounded::TooMany);
        assert_eq!(store.register(&device("n5", "nurse@capulet.lit", "tablet"), 4, 2).await.unwrap(), done("n5"));
        let juliet = BareJid::new(JULIET).unwrap();
        let nodes: Vec<_> = store.devices(&juliet).await.unwrap().into_iter().map(|device| device.node).collect();
        assert_eq!(nodes, ["n1", "n3"]);
        assert!(!store.unregister("n5", &juliet).await.unwrap(), "it is not hers");
        assert!(store.unregister("n3", &juliet).await.unwrap());
        // It was registered anew while its service said that it was gone.
        store.remove_dead(&first).await.unwrap();
        assert!(store.device("n1").await.unwrap().is_some());
        store.remove_dead(&store.device("n1").await.unwrap().unwrap()).await.unwrap();
        assert!(store.device("n1").await.unwrap().is_none());
    }

    async fn gateways_know_their_own_devices_only_and_accounts_are_forgotten_everywhere(database: Database) {
        let (one, other) = (store(&database, "push.capulet.lit"), store(&database, "push.montague.lit"));
        one.register(&device("n1", JULIET, "phone"), 1, 5).await.unwrap();
        other.register(&device("n2", JULIET, "phone"), 1, 5).await.unwrap();
        other.register(&device("n3", "nurse@capulet.lit", "phone"), 1, 5).await.unwrap();
        other.open(&endpoint("t", BALCONY, "i", 100), 5).await.unwrap();
        assert!(other.device("n1").await.unwrap().is_none());
        forget(&database, &BareJid::new(JULIET).unwrap()).await.unwrap();
        assert!(one.device("n1").await.unwrap().is_none() && other.device("n2").await.unwrap().is_none());
        assert!(other.endpoint("t", 1).await.unwrap().is_none());
        assert!(other.device("n3").await.unwrap().is_some());
    }

    async fn addresses_are_renewed_and_end(database: Database) {
        let store = store(&database, "push.capulet.lit");
        let first = endpoint("t1", BALCONY, "i", 100);
        assert_eq!(store.open(&first, 1).await.unwrap(), Bounded::Done("t1".to_owned()));
        assert_eq!(store.endpoint("t1", 99).await.unwrap(), Some(first));
        assert_eq!(store.endpoint("t1", 100).await.unwrap(), None);
        let renewed = endpoint("t2", BALCONY, "i", 200);
        assert_eq!(store.open(&renewed, 1).await.unwrap(), Bounded::Done("t1".to_owned()));
        assert_eq!(store.endpoint("t1", 150).await.unwrap().map(|endpoint| endpoint.expires), Some(200));
        assert_eq!(store.open(&endpoint("t3", BALCONY, "j", 200), 1).await.unwrap(), Bounded::TooMany);
        let client = FullJid::new(BALCONY).unwrap();
        assert!(!store.close_own(&client, "app", "j").await.unwrap());
        assert!(store.close_own(&client, "app", "i").await.unwrap());
        assert_eq!(store.endpoint("t1", 150).await.unwrap(), None);
    }

    async fn what_waits_is_bounded_replaced_by_topic_and_given_to_its_client_alone(database: Database) {
        let store = store(&database, "push.capulet.lit");
        let (client, stranger) = (FullJid::new(BALCONY).unwrap(), FullJid::new("nurse@capulet.lit/x").unwrap());
        let address = endpoint("t", BALCONY, "i", 1_000);
        store.open(&address, 5).await.unwrap();
        let keep = |id, topic, content: &'static [u8]| {
            let (store, address) = (&store, &address);
            async move { store.keep(address, id, topic, content, (10, 500), 2).await.unwrap() }
        };
        assert_eq!(keep(1, "", b"one").await, Bounded::Done(()));
        assert_eq!(keep(2, "topic", b"two").await, Bounded::Done(()));
        assert_eq!(keep(3, "topic", b"three").await, Bounded::Done(()), "it takes the place of the second");
        assert_eq!(keep(4, "", b"four").await, Bounded::TooMany);
        let waiting = store.waiting(&client, 10, 10).await.unwrap();
        let seen: Vec<_> = waiting.iter().map(|waits| (waits.id, waits.content.as_slice())).collect();
        assert_eq!(seen, [(1, b"one".as_slice()), (3, b"three".as_slice())]);
        assert!(store.waiting(&client, 500, 10).await.unwrap().is_empty(), "too late");
        assert!(store.waiting(&stranger, 10, 10).await.unwrap().is_empty());
        assert!(!store.given(1, &stranger).await.unwrap());
        assert!(store.given(1, &client).await.unwrap() && !store.given(1, &client).await.unwrap());
        store.revoke(3, &stranger).await.unwrap();
        assert!(store.endpoint("t", 10).await.unwrap().is_some());
        store.revoke(3, &client).await.unwrap();
        assert!(store.endpoint("t", 10).await.unwrap().is_none());
        assert!(store.waiting(&client, 10, 10).await.unwrap().is_empty());
    }

    async fn what_is_old_is_forgotten(database: Database) {
        let store = store(&database, "push.capulet.lit");
        store.register(&device("old", JULIET, "a"), 10, 5).await.unwrap();
        store.register(&device("new", JULIET, "b"), 20, 5).await.unwrap();
        store.open(&endpoint("over", BALCONY, "i", 50), 5).await.unwrap();
        store.open(&endpoint("good", BALCONY, "j", 500), 5).await.unwrap();
        let good = endpoint("good", BALCONY, "j", 500);
        store.keep(&good, 1, "", b"late", (1, 40), 5).await.unwrap();
        store.keep(&good, 2, "", b"in time", (1, 400), 5).await.unwrap();
        store.forget_old(50, 20).await.unwrap();
        assert!(store.device("old").await.unwrap().is_none() && store.device("new").await.unwrap().is_some());
        assert!(store.endpoint("over", 1).await.unwrap().is_none() && store.endpoint("good", 1).await.unwrap().is_some());
        let waiting = store.waiting(&FullJid::new(BALCONY).unwrap(), 1, 10).await.unwrap();
        assert_eq!(waiting.iter().map(|waits| waits.id).collect::<Vec<_>>(), [2]);
    }
}
