//! Presence in a small house: one host, made-up accounts and contacts, clients whose wires are strings (RFC 6121 §4).

mod world;

use std::time::Duration;

use world::World;

/// Romeo and Juliet see each other, Romeo sees the nurse, and Benvolio sees Romeo.
const VERONA: &[(&str, &str, &str)] = &[
    ("romeo", "juliet", "both"),
    ("juliet", "romeo", "both"),
    ("romeo", "nurse", "to"),
    ("nurse", "romeo", "from"),
    ("romeo", "benvolio", "from"),
    ("benvolio", "romeo", "to"),
    ("romeo", "tybalt", "none"),
];

#[tokio::test]
async fn c87_initial_presence_is_told_to_contacts_and_devices_and_each_that_is_watched_is_asked() {
    let world = World::new("c87.lit", VERONA).await;
    let juliet = world.online("juliet", "balcony").await;
    let nurse = world.online("nurse", "door").await;
    let tybalt = world.online("tybalt", "street").await;
    let benvolio = world.online("benvolio", "field").await;
    let phone = world.online("romeo", "phone").await;
    for client in [&juliet, &nurse, &tybalt, &benvolio, &phone] {
        client.heard().await;
    }
    let orchard = world.session("romeo", "orchard").await;
    orchard.says("<presence><show>away</show><priority>3</priority></presence>").await;
    let shown = |to: &str| {
        format!("<presence from='romeo@c87.lit/orchard' to='{to}'><show>away</show><priority>3</priority></presence>")
    };
    assert_eq!(juliet.heard().await, [shown("juliet@c87.lit")]);
    assert_eq!(benvolio.heard().await, [shown("benvolio@c87.lit")]);
    assert_eq!(phone.heard().await, [shown("romeo@c87.lit")]);
    assert_eq!(nurse.heard().await, [""; 0]);
    assert_eq!(tybalt.heard().await, [""; 0]);
    assert_eq!(
        orchard.heard().await,
        [
            shown("romeo@c87.lit"),
            "<presence from='romeo@c87.lit/phone' to='romeo@c87.lit/orchard'/>".to_owned(),
            "<presence from='juliet@c87.lit/balcony' to='romeo@c87.lit/orchard'/>".to_owned(),
            "<presence from='nurse@c87.lit/door' to='romeo@c87.lit/orchard'/>".to_owned(),
        ]
    );
    assert_eq!(orchard.session.priority(), Some(3));
}

#[tokio::test]
async fn c90_later_presence_is_broadcast_and_asks_nobody() {
    let world = World::new("c90.lit", VERONA).await;
    let juliet = world.online("juliet", "balcony").await;
    let romeo = world.online("romeo", "orchard").await;
    juliet.heard().await;
    romeo.heard().await;
    romeo.says("<presence><priority>-1</priority></presence>").await;
    let shown = |to| format!("<presence from='romeo@c90.lit/orchard' to='{to}'><priority>-1</priority></presence>");
    assert_eq!(juliet.heard().await, [shown("juliet@c90.lit")]);
    // Juliet's presence does not come again: there was no new probe.
    assert_eq!(romeo.heard().await, [shown("romeo@c90.lit")]);
    assert_eq!(romeo.session.priority(), Some(-1));
}

#[tokio::test]
async fn c88_c89_a_probe_is_answered_to_those_who_may_know() {
    let world = World::new("c88.lit", VERONA).await;
    let phone = world.online("romeo", "phone").await;
    let orchard = world.online("romeo", "orchard").await;
    let absent = world.session("romeo", "silent").await;
    let (benvolio, nurse) = (world.session("benvolio", "b").await, world.session("nurse", "n").await);
    benvolio.says("<presence type='probe' to='romeo@c88.lit'/>").await;
    let mut answers = benvolio.heard().await;
    answers.sort();
    let shown = |device: &str, to: &str| format!("<presence from='romeo@c88.lit/{device}' to='{to}'/>");
    assert_eq!(answers, [shown("orchard", "benvolio@c88.lit/b"), shown("phone", "benvolio@c88.lit/b")]);
    benvolio.says("<presence type='probe' to='romeo@c88.lit/phone'/>").await;
    assert_eq!(benvolio.heard().await, [shown("phone", "benvolio@c88.lit/b")]);
    // The nurse may not know, a device that has said nothing is not there, and nor is Juliet.
    nurse.says("<presence type='probe' to='romeo@c88.lit'/>").await;
    nurse.says("<presence type='probe' to='romeo@c88.lit/phone'/>").await;
    benvolio.says("<presence type='probe' to='romeo@c88.lit/silent'/>").await;
    phone.says("<presence type='probe' to='juliet@c88.lit'/>").await;
    phone.says("<presence type='probe' to='nobody@c88.lit'/>").await;
    phone.heard().await;
    for client in [&nurse, &benvolio, &absent] {
        assert_eq!(client.heard().await, [""; 0]);
    }
    drop(orchard);
}

#[tokio::test]
async fn c91_a_session_that_ends_is_told_to_all_who_saw_it_exactly_once() {
    let world = World::new("c91.lit", VERONA).await;
    let juliet = world.online("juliet", "balcony").await;
    let tybalt = world.online("tybalt", "street").await;
    let phone = world.online("romeo", "phone").await;
    let orchard = world.online("romeo", "orchard").await;
    orchard.says("<presence to='tybalt@c91.lit/street'/>").await;
    orchard.says("<presence to='juliet@c91.lit/balcony'/>").await;
    for client in [&juliet, &tybalt, &phone] {
        client.heard().await;
    }
    orchard.dies().await;
    let gone = |to: &str| format!("<presence from='romeo@c91.lit/orchard' to='{to}' type='unavailable'/>");
    assert_eq!(juliet.heard().await, [gone("juliet@c91.lit")]);
    assert_eq!(tybalt.heard().await, [gone("tybalt@c91.lit/street")]);
    assert_eq!(phone.heard().await, [gone("romeo@c91.lit")]);
}

#[tokio::test]
async fn c91_who_has_said_good_bye_is_not_excused_again() {
    let world = World::new("c91b.lit", VERONA).await;
    let juliet = world.online("juliet", "balcony").await;
    let tybalt = world.online("tybalt", "street").await;
    let romeo = world.online("romeo", "orchard").await;
    romeo.says("<presence to='tybalt@c91b.lit/street'/>").await;
    for client in [&juliet, &tybalt, &romeo] {
        client.heard().await;
    }
    romeo.says("<presence type='unavailable'><status>gone</status></presence>").await;
    assert_eq!(romeo.session.priority(), None);
    let gone = |to: &str| {
        format!("<presence from='romeo@c91b.lit/orchard' to='{to}' type='unavailable'><status>gone</status></presence>")
    };
    assert_eq!(romeo.heard().await, [gone("romeo@c91b.lit")]);
    assert_eq!(juliet.heard().await, [gone("juliet@c91b.lit")]);
    assert_eq!(tybalt.heard().await, [gone("tybalt@c91b.lit/street")]);
    romeo.says("<presence type='unavailable'/>").await;
    romeo.dies().await;
    assert_eq!(juliet.heard().await, [""; 0]);
    assert_eq!(tybalt.heard().await, [""; 0]);
}

#[tokio::test]
async fn c92_directed_presence_is_remembered_until_it_is_taken_back() {
    let world = World::new("c92.lit", VERONA).await;
    let tybalt = world.online("tybalt", "street").await;
    let paris = world.online("paris", "house").await;
    let romeo = world.online("romeo", "orchard").await;
    for name in ["tybalt", "paris"] {
        romeo.says(&format!("<presence to='{name}@c92.lit'><show>chat</show></presence>")).await;
    }
    assert_eq!(tybalt.heard().await.len(), 2, "its own presence, and Romeo's");
    assert_eq!(paris.heard().await.len(), 2);
    romeo.says("<presence><show>dnd</show></presence>").await;
    assert_eq!(tybalt.heard().await, [""; 0], "a broadcast is not for those who were told besides");
    romeo.says("<presence to='tybalt@c92.lit' type='unavailable'/>").await;
    assert_eq!(tybalt.heard().await.len(), 1);
    romeo.says("<presence type='unavailable'/>").await;
    assert_eq!(tybalt.heard().await, [""; 0]);
    assert_eq!(paris.heard().await, ["<presence from='romeo@c92.lit/orchard' to='paris@c92.lit' type='unavailable'/>"]);
}

#[tokio::test]
async fn c93_directed_presence_needs_no_broadcast_before() {
    let world = World::new("c93.lit", VERONA).await;
    let juliet = world.online("juliet", "balcony").await;
    juliet.heard().await;
    let romeo = world.session("romeo", "orchard").await;
    romeo.says("<presence to='juliet@c93.lit'/>").await;
    assert_eq!(juliet.heard().await, ["<presence from='romeo@c93.lit/orchard' to='juliet@c93.lit'/>"]);
    assert_eq!(romeo.session.priority(), None, "not available: bare messages do not come");
    romeo.dies().await;
    assert_eq!(
        juliet.heard().await,
        ["<presence from='romeo@c93.lit/orchard' to='juliet@c93.lit' type='unavailable'/>"]
    );
}

#[tokio::test]
async fn s33_directed_presence_has_a_bound() {
    let world = World::with("s33.lit", VERONA, "[modules.presence]\ndirected = 2").await;
    let romeo = world.session("romeo", "orchard").await;
    for (number, refused) in [(1, false), (2, false), (1, false), (3, true)] {
        romeo.says(&format!("<presence to='room{number}@elsewhere.lit/r' id='p'/>")).await;
        let answers = romeo.heard().await;
        let limited = answers.iter().any(|answer| answer.contains("resource-constraint"));
        assert_eq!(limited, refused, "{number}: {answers:?}");
    }
    romeo.says("<presence to='room1@elsewhere.lit/r' type='unavailable'/>").await;
    romeo.heard().await;
    romeo.says("<presence to='room3@elsewhere.lit/r'/>").await;
    assert!(!romeo.heard().await.iter().any(|answer| answer.contains("resource-constraint")));
}

#[tokio::test]
async fn c67_presence_for_nobody_in_particular_has_a_type_for_everybody() {
    let world = World::new("c67.lit", VERONA).await;
    let romeo = world.session("romeo", "orchard").await;
    for of_type in ["probe", "foo", "subscribe"] {
        romeo.says(&format!("<presence id='1' type='{of_type}'/>")).await;
        let answers = romeo.heard().await;
        assert!(answers.len() == 1 && answers[0].contains("<bad-request"), "{of_type}: {answers:?}");
    }
    for priority in ["200", "x"] {
        romeo.says(&format!("<presence id='1'><priority>{priority}</priority></presence>")).await;
        assert!(romeo.heard().await[0].contains("<bad-request"), "{priority}");
    }
    romeo.says("<presence type='error'/>").await;
    assert_eq!(romeo.heard().await, [""; 0]);
    assert_eq!(romeo.session.priority(), None);
}

#[tokio::test]
async fn a_subscription_shows_and_hides_every_device() {
    let world = World::new("shown.lit", VERONA).await;
    let tybalt = world.online("tybalt", "street").await;
    let _phone = world.online("romeo", "phone").await;
    let _orchard = world.online("romeo", "orchard").await;
    let silent = world.session("romeo", "silent").await;
    tybalt.heard().await;
    world.granted("romeo", "tybalt").await;
    let mut shown = tybalt.heard().await;
    shown.sort();
    let seen =
        |device: &str, more: &str| format!("<presence from='romeo@shown.lit/{device}' to='tybalt@shown.lit'{more}/>");
    assert_eq!(shown, [seen("orchard", ""), seen("phone", "")]);
    world.ended("romeo", "tybalt").await;
    let mut hidden = tybalt.heard().await;
    hidden.sort();
    assert_eq!(hidden, [seen("orchard", " type='unavailable'"), seen("phone", " type='unavailable'")]);
    drop(silent);
}

#[tokio::test]
async fn c94_blocked_contacts_are_neither_told_nor_asked() {
    let world = World::new("c94.lit", VERONA).await;
    let juliet = world.online("juliet", "balcony").await;
    juliet.heard().await;
    world.block("romeo", "juliet");
    let romeo = world.online("romeo", "orchard").await;
    let heard = romeo.heard().await;
    assert!(!heard.iter().any(|stanza| stanza.contains("juliet")), "{heard:?}");
    world.granted("romeo", "juliet").await;
    romeo.says("<presence><show>away</show></presence>").await;
    romeo.dies().await;
    assert_eq!(juliet.heard().await, [""; 0]);
}

/// The end of a session in the middle of its broadcast: whoever heard the beginning hears the end, last of all and once.
#[tokio::test]
async fn c91_no_ghost_stays_when_a_session_dies_while_it_speaks() {
    let names = ["a", "b", "c"];
    let contacts = names.map(|name| ("romeo", name, "from"));
    let world = World::new("ghosts.lit", &contacts).await;
    let mut watchers = Vec::new();
    for name in names {
        let watcher = world.online(name, "x").await;
        watcher.heard().await;
        watchers.push(watcher);
    }
    // Romeo begins to speak and is held up on the way to his second contact; then his connection breaks.
    let gate = world.hold_up_on_the_way_to("b");
    let romeo = world.session("romeo", "orchard").await;
    let speaking = {
        let romeo = romeo.clone();
        tokio::spawn(async move { romeo.says("<presence/>").await })
    };
    gate.reached().await;
    let dying = {
        let romeo = romeo.clone();
        tokio::spawn(async move { romeo.dies().await })
    };
    while world.is_online(&romeo) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    gate.open();
    speaking.await.expect("no panic");
    dying.await.expect("no panic");
    let shown = |to: &str| format!("<presence from='romeo@ghosts.lit/orchard' to='{to}@ghosts.lit'/>");
    let gone =
        |to: &str| format!("<presence from='romeo@ghosts.lit/orchard' to='{to}@ghosts.lit' type='unavailable'/>");
    assert_eq!(watchers[0].heard().await, [shown("a"), gone("a")]);
    assert_eq!(watchers[1].heard().await, [shown("b"), gone("b")]);
    // The third would have been next; instead the broadcast ended.
    assert_eq!(watchers[2].heard().await, [gone("c")]);
}

#[tokio::test]
async fn c87_a_thousand_contacts_cost_one_look_at_the_roster() {
    let names: Vec<String> = (0..1000).map(|number| format!("c{number}")).collect();
    let contacts: Vec<(&str, &str, &str)> = names.iter().map(|name| ("romeo", name.as_str(), "both")).collect();
    let world = World::new("thousand.lit", &contacts).await;
    let before = world.looks();
    let romeo = world.online("romeo", "orchard").await;
    assert_eq!(romeo.heard().await.len(), 1);
    // Those who are away are not looked up in their own rosters to find out that they are away.
    assert_eq!(world.looks() - before, 1);
    let before = world.looks();
    romeo.says("<presence><show>away</show></presence>").await;
    romeo.dies().await;
    assert_eq!(world.looks() - before, 2);
}

/// Everyone a client asks after answers at once: more than its mailbox holds, and it is not disconnected for that.
#[tokio::test]
async fn c87_many_who_are_there_do_not_drown_a_client_that_reads() {
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let mut contacts: Vec<(&str, &str, &str)> = names.iter().map(|name| ("romeo", name.as_str(), "to")).collect();
    contacts.extend(names.iter().map(|name| (name.as_str(), "romeo", "from")));
    let world = World::new("crowd.lit", &contacts).await;
    let mut crowd = Vec::new();
    for name in &names {
        let client = world.session(name, "x").await;
        client.says(&format!("<presence><status>{}</status></presence>", "x".repeat(50_000))).await;
        crowd.push(client);
    }
    let romeo = world.online("romeo", "orchard").await;
    assert_eq!(romeo.heard().await.len(), 1 + names.len());
    assert!(!romeo.session.has_ended());
}
