//! The queue against a model that remembers everything and never wraps around.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { stanzas: 4, bytes: 100, ask_after_stanzas: 3, ask_after_bytes: 50 };

fn queue_of(count: u32) -> Queue<u32> {
    let mut queue = Queue::default();
    (1..=count).for_each(|number| queue.push(number, 10));
    queue
}

#[test]
fn an_acknowledgement_frees_what_was_sent_up_to_its_number() {
    let mut queue = queue_of(3);
    assert_eq!(queue.acknowledge(0), Ok(0));
    assert_eq!(queue.acknowledge(2), Ok(2));
    assert_eq!(queue.acknowledge(2), Ok(0), "said twice, it is true twice");
    assert_eq!((queue.iter().copied().collect::<Vec<_>>(), queue.bytes()), (vec![3], 10));
    queue.push(4, 5);
    assert_eq!(queue.acknowledge(4), Ok(2));
    assert!(queue.is_empty() && queue.bytes() == 0);
}

#[test]
fn what_cannot_be_true_changes_nothing() {
    let mut queue = queue_of(3);
    queue.acknowledge(1).unwrap();
    assert_eq!(queue.acknowledge(4), Err(Wrong::TooHigh(3)));
    assert_eq!(queue.acknowledge(0), Err(Wrong::GoesBack));
    assert_eq!(queue.iter().count(), 2);
}

#[test]
fn counters_wrap_around_at_two_to_the_thirty_second() {
    let mut queue = Queue::restored(u32::MAX - 1, [('a', 1), ('b', 1)]);
    queue.push('c', 1);
    queue.push('d', 1);
    assert_eq!(queue.sent(), 0);
    assert_eq!(queue.acknowledge(1), Err(Wrong::TooHigh(0)));
    assert_eq!(queue.acknowledge(u32::MAX - 1), Ok(2));
    assert_eq!(queue.acknowledge(0), Ok(2));
    assert!(queue.is_empty());
}

#[test]
fn it_is_bounded_in_stanzas_and_in_bytes_and_always_takes_one() {
    let mut queue = queue_of(3);
    assert!(queue.has_room(&BOUNDS));
    queue.push(4, 10);
    assert!(!queue.has_room(&BOUNDS));
    queue.acknowledge(1).unwrap();
    assert!(queue.has_room(&BOUNDS));
    queue.acknowledge(4).unwrap();
    queue.push(5, 5000);
    assert!(!queue.has_room(&BOUNDS));
    queue.take();
    assert!(queue.has_room(&BOUNDS));
}

#[test]
fn one_question_is_asked_at_a_time() {
    let now = Instant::now();
    let mut queue = queue_of(0);
    assert!(!queue.ask(now), "there is nothing to ask about");
    queue.push(1, 10);
    assert!(!queue.is_long(&BOUNDS));
    queue.push(2, 40);
    assert!(queue.is_long(&BOUNDS), "by its bytes");
    assert!(queue.ask(now));
    assert!(!queue.ask(now));
    queue.acknowledge(1).unwrap();
    assert!(queue.ask(now), "what was answered may be asked again");
    queue.forget_question();
    assert!(queue.ask(now));
}

#[test]
fn f14_an_answer_is_overdue_after_its_time_and_a_slow_line_has_more() {
    let (now, patience) = (Instant::now(), Duration::from_secs(30));
    let later = |seconds| now + Duration::from_secs(seconds);
    let mut queue = queue_of(1);
    assert!(!queue.is_overdue(later(1000), patience), "nothing was asked");
    queue.ask(now);
    assert!(!queue.is_overdue(later(30), patience));
    assert!(queue.is_overdue(later(31), patience));
    queue.push(2, 1024 * 1024);
    assert!(!queue.is_overdue(later(31), patience));
    assert!(queue.is_overdue(later(30 + 257), patience));
    queue.acknowledge(2).unwrap();
    assert!(!queue.is_overdue(later(1000), patience));
}

/// What happens to a queue.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    /// An acknowledgement, as the distance from what was sent.
    Acknowledge(i64),
    /// The wire is lost, and the client comes back having received so many more than it has acknowledged, at most.
    Resume(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Send),
        2 => (-8i64..3).prop_map(Step::Acknowledge),
        1 => (0usize..6).prop_map(Step::Resume),
    ]
}

proptest! {
    /// The client's side: whatever is lost and said again, it gets each stanza once and in order, and nothing is kept that
    /// it has acknowledged.
    #[test]
    fn c27_every_stanza_reaches_the_client_once_and_in_order(
        start in prop_oneof![Just(0u32), Just(u32::MAX - 5), any::<u32>()],
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut queue: Queue<u64> = Queue::restored(start, []);
        // The model: numbers that never wrap, what the client has and has said.
        let (mut sent, mut acknowledged) = (0u64, 0u64);
        let mut received: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Send => {
                    sent += 1;
                    queue.push(sent, 7);
                }
                Step::Acknowledge(distance) => {
                    let number = sent as i64 + distance;
                    let said = start.wrapping_add(number as u32);
                    match queue.acknowledge(said) {
                        Ok(newly) => {
                            prop_assert!(number >= acknowledged as i64 && number <= sent as i64);
                            prop_assert_eq!(newly as u64, number as u64 - acknowledged);
                            acknowledged = number as u64;
                            received.extend(received.len() as u64 + 1..=acknowledged);
                        }
                        Err(Wrong::TooHigh(of)) => {
                            prop_assert!(number > sent as i64);
                            prop_assert_eq!(of, start.wrapping_add(sent as u32));
                        }
                        Err(Wrong::GoesBack) => prop_assert!(number < acknowledged as i64),
                    }
                }
                Step::Resume(more) => {
                    // It may have received more than it has said, never less, and says so now.
                    let has = (received.len() as u64).max(acknowledged + more as u64).min(sent);
                    received.extend(received.len() as u64 + 1..=has);
                    prop_assert!(queue.acknowledge(start.wrapping_add(has as u32)).is_ok());
                    acknowledged = has;
                    // All that is written again is new to it.
                    received.extend(queue.iter());
                }
            }
            prop_assert!(received.iter().copied().eq(1..=received.len() as u64), "once and in order");
            prop_assert!(queue.iter().copied().eq(acknowledged + 1..=sent));
            prop_assert_eq!(queue.bytes() as u64, 7 * (sent - acknowledged));
        }
    }
}

#[test]
fn f4_a_client_that_was_not_read_from_is_given_its_time_anew() {
    let mut queue = Queue::default();
    let (began, patience) = (Instant::now(), Duration::from_secs(30));
    queue.push((), 10);
    queue.ask_again_at(began);
    assert!(!queue.is_overdue(began + 2 * patience, patience), "it was not asked");
    assert!(queue.ask(began));
    let later = began + patience + Duration::from_secs(1);
    assert!(queue.is_overdue(later, patience));
    queue.ask_again_at(later);
    assert!(!queue.is_overdue(later + patience, patience));
    assert!(queue.is_overdue(later + patience + Duration::from_secs(1), patience));
}
