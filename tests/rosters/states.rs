//! Table G: the states of a subscription (RFC 6121, appendix A): nine states, eight events, a test for each cell.
//!
//! Romeo's server is watched. What Juliet's server believes is chosen so that Romeo's word would be shown to her if it
//! came, and that hers is brought to him: so silence means that his server has kept the word to itself.

use Mark::{Agreed, Approved, Off, On};
use Way::{Received, Sent};

use crate::pair::{Inward, Outward, Pair, State};

const fn state(outward: Outward, inward: Inward) -> State {
    State { outward, inward }
}

const NONE: State = state(Outward::Nothing, Inward::Nothing);
const NONE_OUT: State = state(Outward::Asked, Inward::Nothing);
const NONE_IN: State = state(Outward::Nothing, Inward::Pending);
const NONE_OUT_IN: State = state(Outward::Asked, Inward::Pending);
const TO: State = state(Outward::Sees, Inward::Nothing);
const TO_IN: State = state(Outward::Sees, Inward::Pending);
const FROM: State = state(Outward::Nothing, Inward::Seen);
const FROM_OUT: State = state(Outward::Asked, Inward::Seen);
const BOTH: State = state(Outward::Sees, Inward::Seen);

/// Which way a word goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From Romeo to Juliet.
    Sent,
    /// From Juliet to Romeo.
    Received,
}

/// What becomes of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// It goes on: to Juliet's server, or to Romeo's clients.
    On,
    /// It ends here.
    Off,
    /// It ends here, and Romeo's server says `subscribed` (§3.1.3).
    Agreed,
    /// It ends here, and is noted as an approval in advance (§3.4.2).
    Approved,
}

/// What Juliet's server must believe, so that what it is sent shows, and what she says is sent.
fn beside(romeo: State, way: Way, word: &str) -> State {
    let outward = match romeo.inward {
        Inward::Nothing => Outward::Nothing,
        Inward::Pending => Outward::Asked,
        Inward::Seen => Outward::Sees,
    };
    let inward = match romeo.outward {
        Outward::Nothing => Inward::Nothing,
        Outward::Asked => Inward::Pending,
        Outward::Sees => Inward::Seen,
    };
    match (way, word) {
        (Sent, "subscribe") => state(outward, Inward::Nothing),
        (Sent, "unsubscribe") => state(outward, Inward::Seen),
        (Sent, "subscribed") => state(Outward::Asked, inward),
        (Sent, _) => state(Outward::Sees, inward),
        (Received, "subscribe") => state(Outward::Nothing, inward),
        (Received, "unsubscribe") => state(Outward::Sees, inward),
        (Received, "subscribed") => state(outward, Inward::Pending),
        (Received, _) => state(outward, Inward::Seen),
    }
}

/// What a server believes when the person has said this and it has taken effect.
fn spoken(before: State, word: &str) -> State {
    match word {
        "subscribe" if before.outward == Outward::Nothing => state(Outward::Asked, before.inward),
        "unsubscribe" => state(Outward::Nothing, before.inward),
        "subscribed" if before.inward == Inward::Pending => state(before.outward, Inward::Seen),
        "unsubscribed" => state(before.outward, Inward::Nothing),
        _ => before,
    }
}

/// What a server believes when the person was told this.
fn heard(before: State, word: &str) -> State {
    match word {
        "subscribe" if before.inward == Inward::Nothing => state(before.outward, Inward::Pending),
        "unsubscribe" => state(before.outward, Inward::Nothing),
        "subscribed" if before.outward == Outward::Asked => state(Outward::Sees, before.inward),
        "unsubscribed" => state(Outward::Nothing, before.inward),
        _ => before,
    }
}

/// The push that shows the change from one state to another; none if it shows nothing.
fn push(owner: &str, contact: &str, before: State, after: State) -> Option<String> {
    (before.item() != after.item()).then(|| pushed(owner, contact, after.item()))
}

fn pushed(owner: &str, contact: &str, item: &str) -> String {
    format!(
        "<iq type='set' id='{{any}}' to='{{{owner}}}'><query xmlns='jabber:iq:roster' ver='{{any}}'>\
         <item jid='{{{contact}}}' {item}/></query></iq>"
    )
}

const ROMEO: &str = "romeo/orchard";
const JULIET: &str = "juliet/balcony";

fn word_to(word: &str, from: &str, to: &str) -> String {
    format!("<presence type='{word}' from='{{{from}}}' to='{{{to}}}'/>")
}

fn here(from: &str, to: &str) -> String {
    format!("<presence from='{{{from}}}' to='{{{to}}}'/>")
}

/// All that Romeo and Juliet must get, in this order.
fn expected(before: State, juliet: State, way: Way, word: &str, after: State, mark: Mark) -> [Vec<String>; 2] {
    let (mut to_romeo, mut to_juliet) = (Vec::new(), Vec::new());
    if way == Sent {
        match mark {
            Approved => to_romeo.push(pushed(ROMEO, "juliet", &format!("{} approved='true'", after.item()))),
            _ => to_romeo.extend(push(ROMEO, "juliet", before, after)),
        }
        // She sees him go before she is told that it is over, and he comes after she is told that she may see him.
        to_juliet.extend(
            (word == "unsubscribed" && before.inward == Inward::Seen).then(|| word_to("unavailable", ROMEO, "juliet")),
        );
        if mark == On {
            to_juliet.push(word_to(word, "romeo", "juliet"));
            to_juliet.extend(push(JULIET, "romeo", juliet, heard(juliet, word)));
            // Juliet's server shows her no more.
            to_romeo.extend((word == "unsubscribe").then(|| word_to("unavailable", JULIET, "romeo")));
        }
        to_juliet.extend((word == "subscribed" && after.inward != before.inward).then(|| here(ROMEO, "juliet")));
        return [to_romeo, to_juliet];
    }
    let spoken = spoken(juliet, word);
    to_juliet.extend(push(JULIET, "romeo", juliet, spoken));
    to_romeo.extend((word == "unsubscribed").then(|| word_to("unavailable", JULIET, "romeo")));
    to_romeo.extend((mark == On).then(|| word_to(word, "juliet", "romeo")));
    to_romeo.extend(push(ROMEO, "juliet", before, after));
    to_romeo.extend((word == "subscribed").then(|| here(JULIET, "romeo")));
    if mark == Agreed {
        to_juliet.push(word_to("subscribed", "romeo", "juliet"));
        to_juliet.extend(push(JULIET, "romeo", spoken, heard(spoken, "subscribed")));
        to_juliet.push(here(ROMEO, "juliet"));
    }
    if word == "unsubscribe" && before.inward == Inward::Seen {
        to_juliet.push(word_to("unavailable", ROMEO, "juliet"));
    }
    [to_romeo, to_juliet]
}

/// One cell: Romeo's state, the word, his state from then on, and whether the word goes on.
async fn cell(before: State, way: Way, word: &str, after: State, mark: Mark) {
    let juliet = beside(before, way, word);
    let mut pair = Pair::new(before, juliet).await;
    pair.come_online().await;
    check_state(&mut pair, before, false).await;
    let [to_romeo, to_juliet] = expected(before, juliet, way, word, after, mark);
    match way {
        Sent => pair.romeo.send(format!("<presence type='{word}' to='{{juliet}}'/>")).await,
        Received => pair.juliet.send(format!("<presence type='{word}' to='{{romeo}}'/>")).await,
    }
    for template in to_romeo {
        pair.romeo.expect(template).await;
    }
    for template in to_juliet {
        pair.juliet.expect(template).await;
    }
    // Whoever spoke first, then the other, then whatever the other's server has said by itself.
    match way {
        Sent => pair.romeo.barrier().await,
        Received => pair.juliet.barrier().await,
    }
    pair.romeo.barrier().await;
    pair.juliet.barrier().await;
    check_state(&mut pair, after, mark == Approved).await;
}

/// Romeo's roster shows the state, and a device of his that comes online gets Juliet's request exactly when it waits for
/// an answer.
async fn check_state(pair: &mut Pair, state: State, approved: bool) {
    pair.romeo.send("<iq type='get' id='state'><query xmlns='jabber:iq:roster'/></iq>").await;
    let result = pair.romeo.receive().await;
    assert_eq!(result.attribute("type"), Some("result"), "{result}");
    let query = result.child("query").expect("a roster");
    let mut found: Vec<String> = query
        .elements()
        .map(|item| {
            assert_eq!(item.attribute("jid"), Some(pair.juliet.bare()), "{item}");
            let shown =
                ["subscription", "ask", "approved"].map(|name| Some(format!("{name}='{}'", item.attribute(name)?)));
            shown.into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
        .collect();
    let nothing = NONE.item();
    // A contact with whom there is nothing need not be in the roster.
    if found.is_empty() && state.item() == nothing && !approved {
        found.push(nothing.to_owned());
    }
    let item = if approved { format!("{} approved='true'", state.item()) } else { state.item().to_owned() };
    assert_eq!(found, [item], "{result}");

    let mut later = pair.scene.session("romeo").await;
    let came = later.go_online(0).await;
    let requests: Vec<_> = came.iter().filter(|stanza| stanza.attribute("type") == Some("subscribe")).collect();
    assert_eq!(requests.len(), usize::from(state.inward == Inward::Pending), "{came:?}");
    later.send("<presence type='unavailable'/>").await;
    later.drain().await;
    pair.romeo.drain().await;
    pair.juliet.drain().await;
}

/// Writes a test for each cell of the table.
macro_rules! table {
    ($($name:ident: $before:ident, $way:ident, $word:literal => $after:ident, $mark:ident;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                cell($before, $way, $word, $after, $mark).await;
            }
        )+

        const CELLS: &[&str] = &[$(stringify!($name)),+];
    };
}

table! {
    g01_none_sent_subscribe: NONE, Sent, "subscribe" => NONE_OUT, On;
    g02_none_sent_unsubscribe: NONE, Sent, "unsubscribe" => NONE, On;
    g03_none_sent_subscribed: NONE, Sent, "subscribed" => NONE, Approved;
    g04_none_sent_unsubscribed: NONE, Sent, "unsubscribed" => NONE, Off;
    g05_none_received_subscribe: NONE, Received, "subscribe" => NONE_IN, On;
    g06_none_received_unsubscribe: NONE, Received, "unsubscribe" => NONE, Off;
    g07_none_received_subscribed: NONE, Received, "subscribed" => NONE, Off;
    g08_none_received_unsubscribed: NONE, Received, "unsubscribed" => NONE, Off;

    g09_none_pending_out_sent_subscribe: NONE_OUT, Sent, "subscribe" => NONE_OUT, On;
    g10_none_pending_out_sent_unsubscribe: NONE_OUT, Sent, "unsubscribe" => NONE, On;
    g11_none_pending_out_sent_subscribed: NONE_OUT, Sent, "subscribed" => NONE_OUT, Approved;
    g12_none_pending_out_sent_unsubscribed: NONE_OUT, Sent, "unsubscribed" => NONE_OUT, Off;
    g13_none_pending_out_received_subscribe: NONE_OUT, Received, "subscribe" => NONE_OUT_IN, On;
    g14_none_pending_out_received_unsubscribe: NONE_OUT, Received, "unsubscribe" => NONE_OUT, Off;
    g15_none_pending_out_received_subscribed: NONE_OUT, Received, "subscribed" => TO, On;
    g16_none_pending_out_received_unsubscribed: NONE_OUT, Received, "unsubscribed" => NONE, On;

    g17_none_pending_in_sent_subscribe: NONE_IN, Sent, "subscribe" => NONE_OUT_IN, On;
    g18_none_pending_in_sent_unsubscribe: NONE_IN, Sent, "unsubscribe" => NONE_IN, On;
    g19_none_pending_in_sent_subscribed: NONE_IN, Sent, "subscribed" => FROM, On;
    g20_none_pending_in_sent_unsubscribed: NONE_IN, Sent, "unsubscribed" => NONE, On;
    g21_none_pending_in_received_subscribe: NONE_IN, Received, "subscribe" => NONE_IN, Off;
    g22_none_pending_in_received_unsubscribe: NONE_IN, Received, "unsubscribe" => NONE, On;
    g23_none_pending_in_received_subscribed: NONE_IN, Received, "subscribed" => NONE_IN, Off;
    g24_none_pending_in_received_unsubscribed: NONE_IN, Received, "unsubscribed" => NONE_IN, Off;

    g25_none_pending_out_in_sent_subscribe: NONE_OUT_IN, Sent, "subscribe" => NONE_OUT_IN, On;
    g26_none_pending_out_in_sent_unsubscribe: NONE_OUT_IN, Sent, "unsubscribe" => NONE_IN, On;
    g27_none_pending_out_in_sent_subscribed: NONE_OUT_IN, Sent, "subscribed" => FROM_OUT, On;
    g28_none_pending_out_in_sent_unsubscribed: NONE_OUT_IN, Sent, "unsubscribed" => NONE_OUT, On;
    g29_none_pending_out_in_received_subscribe: NONE_OUT_IN, Received, "subscribe" => NONE_OUT_IN, Off;
    g30_none_pending_out_in_received_unsubscribe: NONE_OUT_IN, Received, "unsubscribe" => NONE_OUT, On;
    g31_none_pending_out_in_received_subscribed: NONE_OUT_IN, Received, "subscribed" => TO_IN, On;
    g32_none_pending_out_in_received_unsubscribed: NONE_OUT_IN, Received, "unsubscribed" => NONE_IN, On;

    g33_to_sent_subscribe: TO, Sent, "subscribe" => TO, On;
    g34_to_sent_unsubscribe: TO, Sent, "unsubscribe" => NONE, On;
    g35_to_sent_subscribed: TO, Sent, "subscribed" => TO, Approved;
    g36_to_sent_unsubscribed: TO, Sent, "unsubscribed" => TO, Off;
    g37_to_received_subscribe: TO, Received, "subscribe" => TO_IN, On;
    g38_to_received_unsubscribe: TO, Received, "unsubscribe" => TO, Off;
    g39_to_received_subscribed: TO, Received, "subscribed" => TO, Off;
    g40_to_received_unsubscribed: TO, Received, "unsubscribed" => NONE, On;

    g41_to_pending_in_sent_subscribe: TO_IN, Sent, "subscribe" => TO_IN, On;
    g42_to_pending_in_sent_unsubscribe: TO_IN, Sent, "unsubscribe" => NONE_IN, On;
    g43_to_pending_in_sent_subscribed: TO_IN, Sent, "subscribed" => BOTH, On;
    g44_to_pending_in_sent_unsubscribed: TO_IN, Sent, "unsubscribed" => TO, On;
    g45_to_pending_in_received_subscribe: TO_IN, Received, "subscribe" => TO_IN, Off;
    g46_to_pending_in_received_unsubscribe: TO_IN, Received, "unsubscribe" => TO, On;
    g47_to_pending_in_received_subscribed: TO_IN, Received, "subscribed" => TO_IN, Off;
    g48_to_pending_in_received_unsubscribed: TO_IN, Received, "unsubscribed" => NONE_IN, On;

    g49_from_sent_subscribe: FROM, Sent, "subscribe" => FROM_OUT, On;
    g50_from_sent_unsubscribe: FROM, Sent, "unsubscribe" => FROM, On;
    g51_from_sent_subscribed: FROM, Sent, "subscribed" => FROM, Off;
    g52_from_sent_unsubscribed: FROM, Sent, "unsubscribed" => NONE, On;
    g53_from_received_subscribe: FROM, Received, "subscribe" => FROM, Agreed;
    g54_from_received_unsubscribe: FROM, Received, "unsubscribe" => NONE, On;
    g55_from_received_subscribed: FROM, Received, "subscribed" => FROM, Off;
    g56_from_received_unsubscribed: FROM, Received, "unsubscribed" => FROM, Off;

    g57_from_pending_out_sent_subscribe: FROM_OUT, Sent, "subscribe" => FROM_OUT, On;
    g58_from_pending_out_sent_unsubscribe: FROM_OUT, Sent, "unsubscribe" => FROM, On;
    g59_from_pending_out_sent_subscribed: FROM_OUT, Sent, "subscribed" => FROM_OUT, Off;
    g60_from_pending_out_sent_unsubscribed: FROM_OUT, Sent, "unsubscribed" => NONE_OUT, On;
    g61_from_pending_out_received_subscribe: FROM_OUT, Received, "subscribe" => FROM_OUT, Agreed;
    g62_from_pending_out_received_unsubscribe: FROM_OUT, Received, "unsubscribe" => NONE_OUT, On;
    g63_from_pending_out_received_subscribed: FROM_OUT, Received, "subscribed" => BOTH, On;
    g64_from_pending_out_received_unsubscribed: FROM_OUT, Received, "unsubscribed" => FROM, On;

    g65_both_sent_subscribe: BOTH, Sent, "subscribe" => BOTH, On;
    g66_both_sent_unsubscribe: BOTH, Sent, "unsubscribe" => FROM, On;
    g67_both_sent_subscribed: BOTH, Sent, "subscribed" => BOTH, Off;
    g68_both_sent_unsubscribed: BOTH, Sent, "unsubscribed" => TO, On;
    g69_both_received_subscribe: BOTH, Received, "subscribe" => BOTH, Agreed;
    g70_both_received_unsubscribe: BOTH, Received, "unsubscribe" => TO, On;
    g71_both_received_subscribed: BOTH, Received, "subscribed" => BOTH, Off;
    g72_both_received_unsubscribed: BOTH, Received, "unsubscribed" => FROM, On;
}

/// The names above are made by a macro; this one also tells a reader of names that they are there.
#[test]
fn g_every_cell_of_the_table_has_a_test() {
    let states = [
        "none",
        "none_pending_out",
        "none_pending_in",
        "none_pending_out_in",
        "to",
        "to_pending_in",
        "from",
        "from_pending_out",
        "both",
    ];
    for state in states {
        for way in ["sent", "received"] {
            for word in ["subscribe", "unsubscribe", "subscribed", "unsubscribed"] {
                let name = format!("{state}_{way}_{word}");
                assert_eq!(CELLS.iter().filter(|cell| cell.get(4..) == Some(&name)).count(), 1, "{name}");
            }
        }
    }
    assert_eq!(CELLS.len(), 72);
}
