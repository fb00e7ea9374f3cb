//! The table of message delivery (RFC 6121 §8.5.4): every cell of it, and the type `error` in every row (C68).

use waxwing_testkit::{Element, RawClient, Scene};

use crate::common::SERVER;
use crate::offline::come_online;

/// How Juliet is there.
#[derive(Clone, Copy, Debug)]
enum Juliet {
    /// No account of that name.
    Nobody,
    /// An account, and no resource is available.
    Away,
    /// One resource, with a negative priority.
    Negative,
    /// One resource, `a`, with a priority that is not negative, and one, `low`, with a negative one.
    One,
    /// Two resources, `a` and `b`, with different priorities that are not negative, and one, `low`, with a negative one.
    Several,
}

/// What must come of a message.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Nobody gets it; the sender hears nothing, or `service-unavailable`.
    Silent,
    /// Nobody gets it; the sender hears `service-unavailable`.
    Error,
    /// Nobody gets it now; who comes online next does.
    Offline,
    /// These resources get it, and nobody else.
    Delivered(&'static [&'static str]),
    /// The most available of these or all of them, and nobody else.
    MostOrAll(&'static [&'static str]),
}

use Juliet::{Away, Negative, Nobody, One, Several};
use Outcome::{Delivered, Error, MostOrAll, Offline, Silent};

/// The resources of Juliet with their priorities.
fn resources(juliet: Juliet) -> &'static [(&'static str, i8)] {
    match juliet {
        Nobody | Away => &[],
        Negative => &[("low", -1)],
        One => &[("a", 0), ("low", -1)],
        Several => &[("a", 5), ("b", 0), ("low", -1)],
    }
}

/// Brings Juliet's resources online; each has seen the others come.
async fn bring_online(scene: &Scene, juliet: Juliet) -> Vec<(&'static str, RawClient)> {
    match juliet {
        Nobody => scene.stranger("juliet"),
        _ => drop(scene.account("juliet").await),
    }
    let mut online = Vec::new();
    for (resource, priority) in resources(juliet) {
        online.push((*resource, scene.online_with(&format!("juliet/{resource}"), *priority).await));
    }
    for (_, client) in &mut online {
        client.drain().await;
    }
    online
}

fn is_the_message(stanza: &Element) -> bool {
    stanza.name == "message" && stanza.attribute("id") == Some("cell")
}

/// One cell: Juliet's state, the address, the type, and what must come of it.
async fn cell(juliet: Juliet, to: &str, of_type: &str, outcome: Outcome) {
    let scene = SERVER.scene().await;
    let mut online = bring_online(&scene, juliet).await;
    let mut romeo = scene.session("romeo/orchard").await;
    let content = match of_type {
        "error" => "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
        _ => "<body>one cell</body>",
    };
    romeo.send(format!("<message id='cell' type='{of_type}' to='{to}'>{content}</message>")).await;

    let answers = romeo.drain().await;
    let is_error = |answer: &Element| {
        is_the_message(answer)
            && answer.attribute("type") == Some("error")
            && answer.child("error").is_some_and(|error| error.child("service-unavailable").is_some())
    };
    let mut took = Vec::new();
    for (resource, client) in &mut online {
        let came = client.drain().await;
        assert!(came.iter().all(is_the_message) && came.len() <= 1, "{resource} got {came:?}");
        for message in &came {
            assert_eq!(message.attribute("from"), Some(romeo.jid()), "{message}");
            assert_eq!(message.attribute("to"), Some(fill(&scene, to).as_str()), "{message}");
            took.push(*resource);
        }
    }
    let (heard_nothing, heard_error) = (answers.is_empty(), answers.len() == 1 && is_error(&answers[0]));
    match outcome {
        // RFC 6120 §8.3.1: an error is never answered.
        Silent if of_type == "error" => assert!(took.is_empty() && heard_nothing, "{took:?} {answers:?}"),
        Silent => assert!(took.is_empty() && (heard_nothing || heard_error), "{took:?} {answers:?}"),
        Error => assert!(took.is_empty() && heard_error, "{took:?} {answers:?}"),
        Offline => {
            assert!(took.is_empty() && heard_nothing, "{took:?} {answers:?}");
            let mut next = scene.session("juliet/next").await;
            let came = come_online(&mut romeo, &mut next, 0).await;
            let stored: Vec<_> = came.iter().filter(|stanza| is_the_message(stanza)).collect();
            assert_eq!(stored.len(), 1, "{came:?}");
            assert!(stored[0].child_in("urn:xmpp:delay", "delay").is_some(), "{}", stored[0]);
        }
        Delivered(resources) => assert!(took == resources && heard_nothing, "{took:?} {answers:?}"),
        MostOrAll(resources) => {
            assert!((took == resources || took == resources[..1]) && heard_nothing, "{took:?} {answers:?}");
        }
    }
    // What was delivered or refused is not kept as well.
    if !matches!((outcome, juliet), (Offline, _) | (_, Nobody)) {
        let mut next = scene.session("juliet/next").await;
        let came = come_online(&mut romeo, &mut next, 0).await;
        assert!(!came.iter().any(is_the_message), "it was kept as well: {came:?}");
    }
}

/// `{juliet/a}` as the address it stands for.
fn fill(scene: &Scene, to: &str) -> String {
    scene.jid(to.trim_matches(['{', '}']))
}

/// Writes a test for each cell of the table.
macro_rules! table {
    ($($name:ident: $juliet:ident, $to:literal, $of_type:literal => $outcome:expr;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                cell($juliet, $to, $of_type, $outcome).await;
            }
        )+

        const CELLS: &[&str] = &[$(stringify!($name)),+];
    };
}

table! {
    d01_nobody_bare_normal: Nobody, "{juliet}", "normal" => Silent;
    d02_nobody_bare_chat: Nobody, "{juliet}", "chat" => Silent;
    d03_nobody_bare_groupchat: Nobody, "{juliet}", "groupchat" => Error;
    d04_nobody_bare_headline: Nobody, "{juliet}", "headline" => Silent;
    d05_nobody_full_normal: Nobody, "{juliet/a}", "normal" => Silent;
    d06_nobody_full_chat: Nobody, "{juliet/a}", "chat" => Silent;
    d07_nobody_full_groupchat: Nobody, "{juliet/a}", "groupchat" => Silent;
    d08_nobody_full_headline: Nobody, "{juliet/a}", "headline" => Silent;

    d09_away_bare_normal: Away, "{juliet}", "normal" => Offline;
    d10_away_bare_chat: Away, "{juliet}", "chat" => Offline;
    d11_away_bare_groupchat: Away, "{juliet}", "groupchat" => Error;
    d12_away_bare_headline: Away, "{juliet}", "headline" => Silent;
    d13_away_full_normal: Away, "{juliet/a}", "normal" => Silent;
    d14_away_full_chat: Away, "{juliet/a}", "chat" => Offline;
    d15_away_full_groupchat: Away, "{juliet/a}", "groupchat" => Silent;
    d16_away_full_headline: Away, "{juliet/a}", "headline" => Silent;

    d17_negative_bare_normal: Negative, "{juliet}", "normal" => Offline;
    d18_negative_bare_chat: Negative, "{juliet}", "chat" => Offline;
    d19_negative_bare_groupchat: Negative, "{juliet}", "groupchat" => Error;
    d20_negative_bare_headline: Negative, "{juliet}", "headline" => Silent;
    d21_negative_match_normal: Negative, "{juliet/low}", "normal" => Delivered(&["low"]);
    d22_negative_match_chat: Negative, "{juliet/low}", "chat" => Delivered(&["low"]);
    d23_negative_match_groupchat: Negative, "{juliet/low}", "groupchat" => Delivered(&["low"]);
    d24_negative_match_headline: Negative, "{juliet/low}", "headline" => Delivered(&["low"]);
    d25_negative_no_match_normal: Negative, "{juliet/gone}", "normal" => Silent;
    d26_negative_no_match_chat: Negative, "{juliet/gone}", "chat" => Offline;
    d27_negative_no_match_groupchat: Negative, "{juliet/gone}", "groupchat" => Silent;
    d28_negative_no_match_headline: Negative, "{juliet/gone}", "headline" => Silent;

    d29_one_bare_normal: One, "{juliet}", "normal" => Delivered(&["a"]);
    d30_one_bare_chat: One, "{juliet}", "chat" => Delivered(&["a"]);
    d31_one_bare_groupchat: One, "{juliet}", "groupchat" => Error;
    d32_one_bare_headline: One, "{juliet}", "headline" => Delivered(&["a"]);
    d33_one_match_normal: One, "{juliet/a}", "normal" => Delivered(&["a"]);
    d34_one_match_chat: One, "{juliet/a}", "chat" => Delivered(&["a"]);
    d35_one_match_groupchat: One, "{juliet/a}", "groupchat" => Delivered(&["a"]);
    d36_one_match_headline: One, "{juliet/a}", "headline" => Delivered(&["a"]);
    d37_one_no_match_normal: One, "{juliet/gone}", "normal" => Silent;
    d38_one_no_match_chat: One, "{juliet/gone}", "chat" => Delivered(&["a"]);
    d39_one_no_match_groupchat: One, "{juliet/gone}", "groupchat" => Silent;
    d40_one_no_match_headline: One, "{juliet/gone}", "headline" => Silent;

    d41_several_bare_normal: Several, "{juliet}", "normal" => MostOrAll(&["a", "b"]);
    d42_several_bare_chat: Several, "{juliet}", "chat" => MostOrAll(&["a", "b"]);
    d43_several_bare_groupchat: Several, "{juliet}", "groupchat" => Error;
    d44_several_bare_headline: Several, "{juliet}", "headline" => Delivered(&["a", "b"]);
    d45_several_match_normal: Several, "{juliet/b}", "normal" => Delivered(&["b"]);
    d46_several_match_chat: Several, "{juliet/b}", "chat" => Delivered(&["b"]);
    d47_several_match_groupchat: Several, "{juliet/b}", "groupchat" => Delivered(&["b"]);
    d48_several_match_headline: Several, "{juliet/b}", "headline" => Delivered(&["b"]);
    d49_several_no_match_normal: Several, "{juliet/gone}", "normal" => Silent;
    d50_several_no_match_chat: Several, "{juliet/gone}", "chat" => MostOrAll(&["a", "b"]);
    d51_several_no_match_groupchat: Several, "{juliet/gone}", "groupchat" => Silent;
    d52_several_no_match_headline: Several, "{juliet/gone}", "headline" => Silent;

    c68_nobody_bare_error: Nobody, "{juliet}", "error" => Silent;
    c68_nobody_full_error: Nobody, "{juliet/a}", "error" => Silent;
    c68_away_bare_error: Away, "{juliet}", "error" => Silent;
    c68_away_full_error: Away, "{juliet/a}", "error" => Silent;
    c68_negative_bare_error: Negative, "{juliet}", "error" => Silent;
    c68_negative_no_match_error: Negative, "{juliet/gone}", "error" => Silent;
    c68_one_bare_error: One, "{juliet}", "error" => Silent;
    c68_one_no_match_error: One, "{juliet/gone}", "error" => Silent;
    c68_several_bare_error: Several, "{juliet}", "error" => Silent;
    c68_several_no_match_error: Several, "{juliet/gone}", "error" => Silent;
}

/// The names above are made by a macro; this one also tells a reader of names that they are there.
#[test]
fn d_every_cell_of_the_table_has_a_test() {
    for (states, addresses) in [
        (&["nobody", "away"][..], &["bare", "full"][..]),
        (&["negative", "one", "several"], &["bare", "match", "no_match"]),
    ] {
        for state in states {
            for address in addresses {
                for of_type in ["normal", "chat", "groupchat", "headline"] {
                    let name = format!("{state}_{address}_{of_type}");
                    let found = CELLS.iter().filter(|cell| cell.get(4..) == Some(&name)).count();
                    assert_eq!(found, 1, "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn c68_an_error_reaches_the_resource_it_names() {
    cell(Several, "{juliet/b}", "error", Delivered(&["b"])).await;
    cell(Negative, "{juliet/low}", "error", Delivered(&["low"])).await;
}
