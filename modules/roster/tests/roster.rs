//! Rosters in a small house: one host, clients whose wires are strings, neighbours and strangers (RFC 6121 §2 and §3).
//!
//! In what clients have heard, addresses stand without the host, and ids of pushes and versions are left out.

mod world;

use world::World;

const NOTHING: [&str; 0] = [];

/// A push of one item to a device.
fn push(to: &str, item: &str) -> String {
    format!("<iq to='{to}' type='set'><query xmlns='jabber:iq:roster'><item {item}/></query></iq>")
}

fn set(item: &str) -> String {
    format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
}

#[tokio::test]
async fn c74_a_change_is_pushed_to_all_who_have_asked_for_the_roster() {
    let world = World::new("c74.lit").await;
    let orchard = world.online("romeo", "orchard").await;
    let phone = world.online("romeo", "phone").await;
    let dumb = world.session("romeo", "dumb").await;
    dumb.says("<presence/>").await;
    orchard.says(&set("<item jid='juliet@{host}' name='J'><group>Verona</group></item>")).await;
    let query = "<query xmlns='jabber:iq:roster'><item jid='juliet' name='J' subscription='none'><group>Verona</group>\
                 </item></query>";
    let pushed = |device| format!("<iq to='romeo/{device}' type='set'>{query}</iq>");
    let done = "<iq from='romeo' to='romeo/orchard' id='s' type='result'/>".to_owned();
    assert_eq!(orchard.heard().await, [pushed("orchard"), done]);
    assert_eq!(phone.heard().await, [pushed("phone")]);
    assert_eq!(dumb.heard().await, NOTHING);
    orchard.says("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    let whole = format!("<iq from='romeo' to='romeo/orchard' id='g' type='result'>{query}</iq>");
    assert_eq!(orchard.heard().await, [whole]);
    assert_eq!(world.contacts("romeo").await, ["juliet: none"]);
}

#[tokio::test]
async fn c72_c75_c76_c79_sets_that_are_refused() {
    let world = World::new("c72.lit").await;
    let romeo = world.online("romeo", "orchard").await;
    for (iq, condition) in [
        (
            "<iq type='set' id='s' to='juliet@{host}'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>",
            "forbidden",
        ),
        ("<iq type='get' id='s' to='juliet@{host}'><query xmlns='jabber:iq:roster'/></iq>", "service-unavailable"),
        (&set("<item jid='a@b'/><item jid='c@d'/>"), "bad-request"),
        (&set("<item jid='a@b'><group/></item>"), "not-acceptable"),
        (&set("<item jid='a@b' subscription='remove'/>"), "item-not-found"),
        (&set("<item jid='romeo@{host}'/>"), "not-allowed"),
        ("<iq type='set' id='s'><other xmlns='jabber:iq:roster'/></iq>", "bad-request"),
    ] {
        romeo.says(iq).await;
        let heard = romeo.heard().await;
        assert!(heard.len() == 1 && heard[0].contains(&format!("<{condition} ")), "{iq}: {heard:?}");
    }
    world
        .elsewhere_says(
            "<iq from='x@elsewhere.lit/y' to='romeo@{host}' type='set' id='1'>\
             <query xmlns='jabber:iq:roster'><item jid='evil@elsewhere.lit'/></query></iq>",
        )
        .await;
    assert_eq!(world.contacts("romeo").await, NOTHING);
    assert_eq!(romeo.heard().await, NOTHING);
}

#[tokio::test]
async fn c80_a_client_that_knows_a_version_is_told_what_has_changed() {
    let world = World::new("c80.lit").await;
    let romeo = world.online("romeo", "orchard").await;
    let ask = |version: &str| format!("<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='{version}'/></iq>");
    let latest = || romeo.latest_version();
    for contact in ["a", "b", "c"] {
        romeo.says(&set(&format!("<item jid='{contact}@x.lit'/>"))).await;
    }
    romeo.heard().await;
    let known = latest();
    romeo.says(&set("<item jid='b@x.lit' subscription='remove'/>")).await;
    romeo.says(&set("<item jid='a@x.lit' name='A'/>")).await;
    romeo.heard().await;
    let now = latest();
    let phone = world.session("romeo", "phone").await;
    let empty = "<iq from='romeo' to='romeo/phone' id='g' type='result'/>".to_owned();
    phone.says(&ask(&now)).await;
    assert_eq!(phone.heard().await, std::slice::from_ref(&empty));
    phone.says(&ask(&known)).await;
    let pushes = [
        push("romeo/phone", "jid='b@x.lit' subscription='remove'"),
        push("romeo/phone", "jid='a@x.lit' name='A' subscription='none'"),
    ];
    assert_eq!(phone.heard().await, [empty, pushes[0].clone(), pushes[1].clone()]);
    assert_eq!(phone.latest_version(), now);
    for unknown in ["", "7", "nonsense", "99999999999999"] {
        phone.says(&ask(unknown)).await;
        let heard = phone.heard().await;
        assert!(heard.len() == 1 && heard[0].contains("jid='c@x.lit'") && heard[0].contains("name='A'"), "{heard:?}");
        assert_eq!(phone.latest_version(), now, "{unknown}");
    }
}

#[tokio::test]
async fn c82_c83_c81_a_request_waits_until_it_is_answered() {
    let world = World::new("c83.lit").await;
    let romeo = world.online("romeo", "orchard").await;
    for _ in 0..3 {
        romeo
            .says("<presence to='juliet@{host}/balcony' type='subscribe'><nick xmlns='urn:n'>R</nick></presence>")
            .await;
    }
    // One change, one push; the other two changed nothing.
    assert_eq!(romeo.heard().await, [push("romeo/orchard", "jid='juliet' subscription='none' ask='subscribe'")]);
    let request = "<presence from='romeo' to='juliet' type='subscribe'><nick xmlns='urn:n'>R</nick></presence>";
    for resource in ["balcony", "chamber"] {
        let juliet = world.session("juliet", resource).await;
        juliet.says("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        let empty = format!(
            "<iq from='juliet' to='juliet/{resource}' id='r' type='result'><query xmlns='jabber:iq:roster'/></iq>"
        );
        assert_eq!(juliet.heard().await, [empty], "a request is no contact");
        juliet.says("<presence/>").await;
        assert_eq!(juliet.heard().await, [request]);
        juliet.says("<presence><show>away</show></presence>").await;
        assert_eq!(juliet.heard().await, NOTHING);
        juliet.dies().await;
    }
    let juliet = world.online("juliet", "balcony").await;
    juliet.says("<presence to='romeo@{host}' type='subscribed'/>").await;
    assert_eq!(juliet.heard().await, [push("juliet/balcony", "jid='romeo' subscription='from'")]);
    assert_eq!(
        romeo.heard().await,
        [
            "<presence from='juliet' to='romeo' type='subscribed'/>".to_owned(),
            push("romeo/orchard", "jid='juliet' subscription='to'")
        ]
    );
    assert_eq!(world.told(), ["romeo sees juliet"]);
    let chamber = world.session("juliet", "chamber").await;
    chamber.says("<presence/>").await;
    assert_eq!(chamber.heard().await, NOTHING);
    assert_eq!(
        (world.contacts("romeo").await, world.contacts("juliet").await),
        (vec!["juliet: to".into()], vec!["romeo: from".into()])
    );
}

#[tokio::test]
async fn c84_c85_what_is_agreed_is_not_asked_again_and_what_was_not_asked_is_not_heard() {
    let world = World::new("c84.lit").await;
    let (romeo, juliet) = (world.online("romeo", "o").await, world.online("juliet", "b").await);
    world.elsewhere_says("<presence from='x@elsewhere.lit/y' to='romeo@{host}' type='subscribed'/>").await;
    world.elsewhere_says("<presence from='x@elsewhere.lit' to='romeo@{host}' type='unsubscribed'/>").await;
    world.elsewhere_says("<presence from='x@elsewhere.lit' to='romeo@{host}' type='unsubscribe'/>").await;
    assert_eq!((romeo.heard().await, world.contacts("romeo").await), (vec![], vec![]));
    romeo.says("<presence to='juliet@{host}' type='subscribe'/>").await;
    juliet.says("<presence to='romeo@{host}' type='subscribed'/>").await;
    for client in [&romeo, &juliet] {
        client.heard().await;
    }
    world.told();
    romeo.says("<presence to='juliet@{host}' type='subscribe'/>").await;
    assert_eq!(juliet.heard().await, NOTHING);
    assert_eq!(romeo.heard().await, NOTHING, "he has not asked, as far as his server knows, so the answer is dropped");
    assert_eq!(world.told(), ["romeo sees juliet"]);
}

#[tokio::test]
async fn c86_an_approval_in_advance_answers_for_the_account() {
    let world = World::new("c86.lit").await;
    let (romeo, juliet) = (world.online("romeo", "o").await, world.online("juliet", "b").await);
    juliet.says("<presence to='romeo@{host}' type='subscribed'/>").await;
    assert_eq!(juliet.heard().await, [push("juliet/b", "jid='romeo' subscription='none' approved='true'")]);
    assert_eq!(romeo.heard().await, NOTHING);
    romeo.says("<presence to='juliet@{host}' type='subscribe'/>").await;
    assert_eq!(juliet.heard().await, [push("juliet/b", "jid='romeo' subscription='from' approved='true'")]);
    assert_eq!(
        romeo.heard().await,
        [
            push("romeo/o", "jid='juliet' subscription='none' ask='subscribe'"),
            "<presence from='juliet' to='romeo' type='subscribed'/>".to_owned(),
            push("romeo/o", "jid='juliet' subscription='to'"),
        ]
    );
    assert_eq!(world.told(), ["romeo sees juliet"]);
    let features = waxwing_features(&world);
    assert!(features.contains("urn:xmpp:features:pre-approval") && features.contains("urn:xmpp:features:rosterver"));
}

fn waxwing_features(world: &World) -> String {
    let catalogue = world.house.hosts()[0].catalogue();
    let module = catalogue.module("roster").expect("it runs");
    assert!(module.stream_features(waxwing_core::module::Phase::Authenticating).is_empty());
    let features = module.stream_features(waxwing_core::module::Phase::Binding);
    features.iter().map(|feature| String::from_utf8_lossy(feature).into_owned()).collect()
}

/// Makes Romeo and Juliet see each other, and forgets what was said about it.
async fn befriended(world: &World) -> (world::Client, world::Client) {
    let (romeo, juliet) = (world.online("romeo", "o").await, world.online("juliet", "b").await);
    for (one, name, other, other_name) in [(&romeo, "romeo", &juliet, "juliet"), (&juliet, "juliet", &romeo, "romeo")] {
        one.says(&format!("<presence to='{other_name}@{{host}}' type='subscribe'/>")).await;
        other.says(&format!("<presence to='{name}@{{host}}' type='subscribed'/>")).await;
    }
    assert_eq!(
        (world.contacts("romeo").await, world.contacts("juliet").await),
        (vec!["juliet: both".into()], vec!["romeo: both".into()])
    );
    for client in [&romeo, &juliet] {
        client.heard().await;
    }
    world.told();
    (romeo, juliet)
}

#[tokio::test]
async fn c78_who_is_removed_hears_of_what_has_ended() {
    let world = World::new("c78.lit").await;
    let (romeo, juliet) = befriended(&world).await;
    romeo.says(&set("<item jid='juliet@{host}' subscription='remove'/>")).await;
    assert_eq!(
        romeo.heard().await,
        [
            push("romeo/o", "jid='juliet' subscription='remove'"),
            "<iq from='romeo' to='romeo/o' id='s' type='result'/>".to_owned()
        ]
    );
    assert_eq!(
        juliet.heard().await,
        [
            "<presence from='romeo' to='juliet' type='unsubscribe'/>".to_owned(),
            push("juliet/b", "jid='romeo' subscription='to'"),
            "<presence from='romeo' to='juliet' type='unsubscribed'/>".to_owned(),
            push("juliet/b", "jid='romeo' subscription='none'"),
        ]
    );
    assert_eq!(world.told(), ["romeo sees no more juliet", "juliet sees no more romeo"]);
    assert_eq!(world.contacts("romeo").await, NOTHING);
}

#[tokio::test]
async fn an_account_that_is_removed_leaves_no_contact_behind() {
    let world = World::new("removed.lit").await;
    let (romeo, juliet) = befriended(&world).await;
    world.elsewhere_says("<presence from='x@elsewhere.lit' to='romeo@{host}' type='subscribe'/>").await;
    romeo.heard().await;
    world.remove_account("romeo").await;
    assert!(romeo.session.has_ended());
    assert_eq!(world.contacts("romeo").await, NOTHING);
    assert_eq!(world.contacts("juliet").await, ["romeo: none"]);
    let heard = juliet.heard().await;
    assert!(heard[0].contains("'unsubscribe'") && heard[2].contains("'unsubscribed'"), "{heard:?}");
    assert_eq!(world.told(), ["romeo sees no more juliet", "juliet sees no more romeo"]);
    let again = world.session("romeo", "o").await;
    again.says("<presence/>").await;
    assert_eq!(again.heard().await, NOTHING, "the request of the stranger is gone, too");
}

#[tokio::test]
async fn s33_rosters_and_requests_have_bounds() {
    let world = World::with("s33.lit", "contacts = 2\nrequests = 2\nrequest_bytes = 300").await;
    let romeo = world.online("romeo", "o").await;
    romeo.says(&set("<item jid='a@x.lit'/>")).await;
    romeo.says("<presence to='b@x.lit' type='subscribe'/>").await;
    romeo.heard().await;
    for beyond in [
        set("<item jid='c@x.lit'/>"),
        "<presence to='c@x.lit' type='subscribe'/>".to_owned(),
        "<presence to='c@x.lit' type='subscribed'/>".to_owned(),
    ] {
        romeo.says(&beyond).await;
        let heard = romeo.heard().await;
        assert!(heard.len() == 1 && heard[0].contains("<policy-violation"), "{beyond}: {heard:?}");
    }
    romeo.says(&set("<item jid='a@x.lit' name='still'/>")).await;
    assert_eq!(romeo.heard().await.len(), 2, "what is there can be changed");
    // Of many requests some wait, and one that is too large waits without its content; nobody is told of the rest.
    let long = "x".repeat(1000);
    for name in ["p", "q", "r"] {
        let stanza = format!(
            "<presence from='{name}@x.lit' to='juliet@{{host}}' type='subscribe'><nick xmlns='urn:n'>{long}</nick></presence>"
        );
        world.elsewhere_says(&stanza).await;
    }
    let juliet = world.session("juliet", "b").await;
    juliet.says("<presence/>").await;
    assert_eq!(
        juliet.heard().await,
        ["p", "q"].map(|name| format!("<presence from='{name}@x.lit' to='juliet' type='subscribe'/>"))
    );
}

#[tokio::test]
async fn s33_two_who_answer_everything_at_once_come_to_rest() {
    let world = World::new("loop.lit").await;
    let clients = [world.online("romeo", "o").await, world.online("juliet", "b").await];
    clients[0].says("<presence to='juliet@{host}' type='subscribe'/>").await;
    // Both agree to everything, ask back, and end whatever was ended.
    let mut said = 0;
    for round in 0..20 {
        if round == 8 {
            clients[0].says("<presence to='juliet@{host}' type='unsubscribe'/>").await;
        }
        let mut quiet = true;
        for (client, other) in [(&clients[0], "juliet"), (&clients[1], "romeo")] {
            for stanza in client.heard().await {
                for (cause, answers) in [
                    ("type='subscribe'", &["subscribed", "subscribe"][..]),
                    ("type='unsubscribe'", &["unsubscribed", "unsubscribe"]),
                    ("type='unsubscribed'", &["unsubscribe"]),
                ] {
                    for answer in answers.iter().filter(|_| stanza.starts_with("<presence") && stanza.contains(cause)) {
                        client.says(&format!("<presence to='{other}@{{host}}' type='{answer}'/>")).await;
                        said += 1;
                        quiet = false;
                    }
                }
            }
        }
        if quiet && round > 8 {
            assert!(said < 20, "{said}");
            return;
        }
    }
    panic!("they never come to rest");
}
