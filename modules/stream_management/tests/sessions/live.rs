//! While the server runs.

use std::time::Duration;

use waxwing_core::events::Event;
use waxwing_core::parcel::{ForThisSession, Origin, Parcel};
use waxwing_core::stanza::{Stanza, element};

use crate::world::World;

const JULIET: &str = "juliet@live.test/balcony";

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn enabling_counts_from_the_answer_on() {
    let world = World::new("live.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.bind("juliet", "balcony").await;
    juliet.says("<presence/>").await;
    romeo.writes(JULIET, "before").await;
    let enabled = juliet.enable("<enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/>").await;
    assert_eq!(enabled.attribute("max").as_deref(), Some("60"));
    assert_eq!(enabled.attribute("resume").as_deref(), Some("true"));
    assert!(juliet.id.len() >= 22, "128 bits at least (S26)");
    assert_eq!(juliet.asks().await, 0, "what came before <enable/> does not count");
    juliet.writes("romeo@live.test", "one").await;
    juliet.says("<iq type='get' id='1' to='live.test'><q xmlns='urn:q'/></iq>").await;
    juliet.received += 1;
    assert!(juliet.line.next().await.contains("service-unavailable"));
    assert_eq!(juliet.asks().await, 2);
    juliet.says("<r xmlns='urn:xmpp:sm:3'/>").await;
    juliet.says("<r xmlns='urn:xmpp:sm:3'/>").await;
    for _ in 0..2 {
        assert_eq!(juliet.line.next().await, "<a xmlns='urn:xmpp:sm:3' h='2'/>", "each request has its answer");
    }
    // One stanza was sent since: the message before does not count.
    juliet.acknowledges().await;
    let error = juliet.tries("<a xmlns='urn:xmpp:sm:3' h='2'/>").await.unwrap_err();
    assert_eq!(error.application, Some(("handled-count-too-high", "urn:xmpp:sm:3")));
    assert_eq!(error.condition.name(), "undefined-condition");
}

#[tokio::test]
async fn what_is_out_of_place_fails_and_the_stream_goes_on() {
    let world = World::new("live.test").await;
    let juliet = world.bind("juliet", "balcony").await;
    let failed =
        "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    for early in [
        "<r xmlns='urn:xmpp:sm:3'/>",
        "<a xmlns='urn:xmpp:sm:3' h='0'/>",
        "<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>",
    ] {
        juliet.says(early).await;
        assert_eq!(juliet.line.next().await, failed, "{early}");
    }
    juliet.says("<enable xmlns='urn:xmpp:sm:3'/>").await;
    assert_eq!(juliet.line.next().await, "<enabled xmlns='urn:xmpp:sm:3'/>");
    juliet.says("<enable xmlns='urn:xmpp:sm:3'/>").await;
    assert_eq!(juliet.line.next().await, failed, "once is enough");
    juliet.is_cut_off().await;
    juliet.ends().await;
}

#[tokio::test]
async fn c27_after_a_resumption_everything_comes_once_and_in_order() {
    const JULIET_IN_ORDER: &str = "juliet@order.test/balcony";
    let world = World::new("order.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    for number in numbers(0..20) {
        let to = if number.len() % 2 == 0 { "juliet@order.test" } else { JULIET_IN_ORDER };
        romeo.writes(to, &number).await;
    }
    assert_eq!(juliet.receives_many(12).await, numbers(0..12));
    juliet.acknowledges().await;
    assert_eq!(juliet.receives_many(3).await, numbers(12..15));
    // Twenty were written; five never arrived, three were never acknowledged.
    for round in 1..4 {
        juliet.writes("romeo@order.test/orchard", "hi").await;
        juliet.is_cut_off().await;
        romeo.writes(JULIET_IN_ORDER, &(19 + 2 * round - 1).to_string()).await;
        romeo.writes("juliet@order.test", &(19 + 2 * round).to_string()).await;
        assert_eq!(world.resume(&mut juliet).await, round as u32, "all of hers were handled");
    }
    let rest = 26 - juliet.got.len();
    juliet.receives_many(rest).await;
    assert_eq!(juliet.got, numbers(0..26));
    juliet.acknowledges().await;
    world.resume(&mut juliet).await;
    assert_eq!(juliet.line.try_next(), None, "nothing is sent twice");
    assert!(world.diary().iter().all(|line| line == "resumed balcony false"));
}

#[tokio::test]
async fn f16_a_stream_that_was_replaced_is_closed_and_says_nothing_more() {
    let world = World::new("live.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    let (old_number, old_line) = (juliet.number, juliet.line.clone());
    assert_eq!(world.resume(&mut juliet).await, 0);
    assert_eq!(old_line.next().await, "closed conflict");
    // Whatever is still read from the old stream departs no more, and its end is nobody's end.
    let late = element("<message to='romeo@live.test/orchard'><body>late</body></message>".to_owned()).unwrap();
    waxwing_core::departure::depart(&juliet.session, old_number, late).await.unwrap();
    juliet.session.lost(old_number);
    juliet.session.stream_ended(old_number, None);
    juliet.writes("romeo@live.test/orchard", "now").await;
    let mut romeo = romeo;
    assert_eq!(romeo.receives().await, "now");
    assert_eq!(juliet.asks().await, 1);
    assert!(!juliet.session.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_of_two_resumptions_at_once_one_wins() {
    let world = World::new("race.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    let mut expected = Vec::new();
    for round in 0..50 {
        juliet.is_cut_off().await;
        romeo.writes("juliet@race.test/balcony", &round.to_string()).await;
        expected.push(round.to_string());
        let (one, other) = tokio::join!(
            world.try_to_resume("juliet", &juliet.id, juliet.received),
            world.try_to_resume("juliet", &juliet.id, juliet.received),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        let number = juliet.session.wire_number();
        let (winner, loser) = if one.1 == number { (one, other) } else { (other, one) };
        assert_eq!(winner.1, number);
        (juliet.number, juliet.line) = (winner.1, winner.2);
        assert!(juliet.line.next().await.starts_with("<resumed"));
        assert_eq!(juliet.receives().await, round.to_string());
        juliet.acknowledges().await;
        while loser.2.next().await != "closed conflict" {}
    }
    assert_eq!(juliet.got, expected);
}

#[tokio::test]
async fn s27_only_the_same_account_may_resume() {
    let world = World::new("live.test").await;
    let juliet = world.enabled("juliet", "balcony").await;
    let not_found =
        "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    juliet.is_cut_off().await;
    for (name, id) in [("tybalt", juliet.id.as_str()), ("juliet", "some-other-id"), ("juliet", "")] {
        assert_eq!(world.try_to_resume(name, id, 0).await.unwrap_err(), not_found);
    }
    assert!(juliet.session.waits_since().is_some(), "nothing has happened to the session");
    world.house.hosts()[0].tell(Event::PasswordChanged(world.account("juliet"))).await;
    juliet.ends().await;
    assert_eq!(world.try_to_resume("juliet", &juliet.id, 0).await.unwrap_err(), not_found);
    // One with a wire stays, and cannot be resumed later.
    let juliet = world.enabled("juliet", "balcony").await;
    world.house.hosts()[0].tell(Event::PasswordChanged(world.account("juliet"))).await;
    assert!(!juliet.session.has_ended());
    assert_eq!(world.try_to_resume("juliet", &juliet.id, 0).await.unwrap_err(), not_found);
    juliet.is_cut_off().await;
    juliet.ends().await;
}

#[tokio::test]
async fn numbers_that_cannot_be_true_resume_nothing() {
    let world = World::new("live.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    for number in numbers(0..3) {
        romeo.writes(JULIET, &number).await;
    }
    juliet.receives_many(2).await;
    juliet.acknowledges().await;
    juliet.writes("romeo@live.test/orchard", "hi").await;
    for wrong in [1, 4] {
        let answer = world.try_to_resume("juliet", &juliet.id, wrong).await.unwrap_err();
        assert!(answer.contains("h='1'") && answer.contains("item-not-found"), "{answer}");
    }
    assert!(!juliet.session.has_ended(), "somebody who says so harms no stream");
    assert_eq!(juliet.asks().await, 1);
}

#[tokio::test]
async fn what_a_lost_client_has_not_received_goes_elsewhere_in_order() {
    let settings = "[modules.stream_management]\nresume_for = '300ms'";
    let world = World::with("lost.test", settings).await;
    let mut romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    for number in numbers(0..4) {
        romeo.writes("juliet@lost.test/balcony", &number).await;
    }
    juliet.receives_many(4).await;
    juliet.says("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    juliet.writes("romeo@lost.test/orchard", "hi").await;
    assert_eq!(romeo.receives().await, "hi");
    assert_eq!(juliet.asks().await, 1);
    juliet.writes("romeo@lost.test/orchard", "ho").await;
    assert_eq!(romeo.receives().await, "ho");
    juliet.is_cut_off().await;
    let copy = Stanza::read(element("<message type='chat'><body>copy</body></message>".to_owned()).unwrap());
    let copy = Parcel::new(copy.unwrap().unwrap(), Origin::House).noting(ForThisSession);
    assert!(juliet.session.deliver(copy).is_ok());
    romeo.says("<iq type='get' id='q' to='juliet@lost.test/balcony'><q xmlns='urn:q'/></iq>").await;
    romeo.says("<presence to='juliet@lost.test/balcony'/>").await;
    romeo.says("<message type='headline' to='juliet@lost.test/balcony'><body>news</body></message>").await;
    for number in numbers(4..6) {
        romeo.writes("juliet@lost.test/balcony", &number).await;
    }
    juliet.ends().await;
    assert_eq!(world.diary(), ["kept 2", "kept 3", "kept 4", "kept 5", "ended balcony"]);
    let answer = romeo.line.next().await;
    assert!(answer.contains("id='q'") && answer.contains("service-unavailable"), "{answer}");
    // Too late: but the client learns how many of its stanzas arrived.
    let failed = loop {
        let failed = world.try_to_resume("juliet", &juliet.id, juliet.received).await.unwrap_err();
        if failed.contains("h='2'") {
            break failed;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(failed.contains("item-not-found"));
}

#[tokio::test]
async fn a_client_that_closes_its_stream_leaves_nothing_behind() {
    let world = World::new("live2.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    romeo.writes("juliet@live2.test/balcony", "not acknowledged").await;
    juliet.receives().await;
    juliet.session.stream_ended(juliet.number, None);
    assert_eq!(juliet.last_words().await, "closed");
    juliet.ends().await;
    assert_eq!(world.diary(), ["kept not acknowledged", "ended balcony"]);
    assert!(world.try_to_resume("juliet", &juliet.id, 0).await.unwrap_err().contains("item-not-found"));
}

#[tokio::test]
async fn a_client_that_acknowledges_nothing_is_sent_no_more_than_the_bound() {
    let settings = "[modules.stream_management]\nunacknowledged_stanzas = 5\nask_after_stanzas = 3";
    let world = World::with("bound.test", settings).await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    for number in numbers(0..12) {
        romeo.writes("juliet@bound.test", &number).await;
    }
    assert_eq!(juliet.receives_many(5).await, numbers(0..5));
    tokio::time::sleep(Duration::from_millis(50)).await;
    while let Some(element) = juliet.line.try_next() {
        assert_eq!(element, "<r xmlns='urn:xmpp:sm:3'/>");
    }
    juliet.acknowledges().await;
    assert_eq!(juliet.receives_many(5).await, numbers(5..10));
    juliet.acknowledges().await;
    assert_eq!(juliet.receives_many(2).await, numbers(10..12));
}

#[tokio::test]
async fn s34_a_client_that_never_reads_is_bounded_and_loses_nothing() {
    let settings = "[limits]\nstanza_bytes = '10kB'\nsend_buffer_bytes = '10kB'\n[modules.stream_management]\nunacknowledged_bytes = '4kB'";
    let world = World::with("slow.test", settings).await;
    let romeo = world.bind("romeo", "orchard").await;
    let juliet = world.enabled("juliet", "balcony").await;
    juliet.line.sticks();
    let mut expected = Vec::new();
    for number in 0..100 {
        let text = format!("{number}{}", "x".repeat(500));
        expected.push(format!("kept {text}"));
        romeo.writes("juliet@slow.test/balcony", &text).await;
    }
    juliet.ends().await;
    let mut kept = world.diary_with("ended balcony").await;
    kept.retain(|line| line != "ended balcony");
    kept.sort_by_key(|line| {
        line.trim_start_matches("kept ").split('x').next().map(|number| number.parse::<u32>().unwrap())
    });
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn f14_a_client_that_does_not_answer_counts_as_gone_and_can_come_back() {
    let settings = "[limits]\nping_timeout = '300ms'\n[modules.stream_management]\nask_every = '100ms'";
    let world = World::with("silent.test", settings).await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(juliet.session.waits_since().is_none(), "who has nothing to acknowledge is not disturbed");
    romeo.writes("juliet@silent.test", "0").await;
    assert_eq!(juliet.receives().await, "0");
    assert_eq!(juliet.line.next().await, "<r xmlns='urn:xmpp:sm:3'/>");
    juliet.acknowledges().await;
    romeo.writes("juliet@silent.test", "1").await;
    assert_eq!(juliet.last_words().await, "closed connection-timeout");
    assert!(juliet.session.waits_since().is_some());
    romeo.writes("juliet@silent.test", "2").await;
    world.resume(&mut juliet).await;
    assert_eq!(juliet.receives_many(2).await, ["1", "2"]);
    assert!(!world.diary().iter().any(|line| line.starts_with("ended")), "nobody has seen it go");
}

#[tokio::test]
async fn sessions_that_wait_are_bounded_and_give_way() {
    let settings = "[limits]\nsessions_per_user = 3\n[modules.stream_management]\nwaiting_sessions_per_account = 2";
    let world = World::with("many.test", settings).await;
    let mut waiting = Vec::new();
    for resource in ["a", "b", "c"] {
        let client = world.enabled("juliet", resource).await;
        client.is_cut_off().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        waiting.push(client);
    }
    assert_eq!(world.diary_with("ended a").await, ["ended a"], "two may wait");
    // Who is here goes before who may come back.
    let here = world.enabled("juliet", "d").await;
    let here_too = world.enabled("juliet", "e").await;
    assert_eq!(world.diary_with("ended b").await, ["ended b"]);
    assert!(!here.session.has_ended() && !here_too.session.has_ended() && !waiting[2].session.has_ended());
}

#[tokio::test]
async fn sessions_that_wait_are_bounded_in_memory_together() {
    let settings = "[modules.stream_management]\nwaiting_bytes = '20kB'\nask_every = '100ms'";
    let world = World::with("memory.test", settings).await;
    let romeo = world.bind("romeo", "orchard").await;
    for name in ["a", "b"] {
        let client = world.enabled(name, name).await;
        client.is_cut_off().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(world.diary().is_empty());
    romeo.writes("b@memory.test/b", &"x".repeat(15_000)).await;
    assert_eq!(world.diary_with("ended a").await, ["ended a"], "the one that waits for the longest time goes");
}

#[tokio::test]
async fn binding_the_same_resource_ends_the_session_that_waits() {
    let world = World::new("again.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let juliet = world.enabled("juliet", "balcony").await;
    juliet.is_cut_off().await;
    romeo.writes("juliet@again.test/balcony", "missed").await;
    let again = world.enabled("juliet", "balcony").await;
    assert_eq!(world.diary(), ["kept missed", "ended balcony"]);
    assert!(world.try_to_resume("juliet", &juliet.id, 0).await.is_err());
    assert!(!again.session.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_no_answer_goes_back_behind_what_a_resumed_stream_has_said() {
    let world = World::new("answers.test").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    let mut said = 0;
    for round in 0..50 {
        // Questions whose answers do not leave any more, or whose numbers are still being stored when the connection
        // breaks.
        juliet.line.sticks();
        for _ in 0..5 {
            juliet.says("<presence/>").await;
            said += 1;
            juliet.says("<r xmlns='urn:xmpp:sm:3'/>").await;
            tokio::time::sleep(Duration::from_millis(round % 4)).await;
        }
        juliet.session.lost(juliet.number);
        assert_eq!(world.resume(&mut juliet).await, said);
        assert_eq!(juliet.asks().await, said, "the first answer on the new stream");
        assert_eq!(juliet.line.try_next(), None, "the only one");
    }
}
