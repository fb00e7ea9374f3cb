//! When devices are called, case by case, and that no order of things breaks the bounds.

use super::*;

const PAUSE: i64 = 5_000;

fn desk() -> Desk {
    Desk::new(Bounds { pause: PAUSE, retry_after: 60_000, retry_at_most: 200_000, under_way: 3, devices: 4 })
}

fn owner() -> BareJid {
    BareJid::new("juliet@capulet.lit").unwrap()
}

fn news(chat: &str, arrived_at: i64) -> News {
    let chat = BareJid::new(chat).unwrap();
    let body = Some(arrived_at.to_string());
    News { sender: Some(chat.clone().into()), chat, body, arrived_at, is_late: false }
}

fn tell(desk: &mut Desk, id: i64, chat: &str, now: i64) -> Option<u32> {
    desk.tell(&owner(), id, &news(chat, now), now).map(|call| call.summary.count)
}

fn counts(calls: &[Call]) -> Vec<(i64, u32)> {
    calls.iter().map(|call| (call.id, call.summary.count)).collect()
}

fn later() -> Outcome {
    Outcome::Later("recipient-unavailable".to_owned())
}

#[test]
fn the_first_message_calls_at_once_and_those_in_the_pause_together() {
    let mut desk = desk();
    let call = desk.tell(&owner(), 1, &news("romeo@montague.lit", 1_000), 1_000).unwrap();
    assert_eq!((call.id, call.summary.count, call.summary.body.as_deref()), (1, 1, Some("1000")));
    assert_eq!(desk.answered(1, &Outcome::Taken, 1_100), Fate::Stays);
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 2_000), None);
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 3_000), None);
    assert_eq!(desk.next(), Some(1_000 + PAUSE));
    assert!(desk.due(5_999, 10).is_empty());
    let calls = desk.due(6_000, 10);
    assert_eq!(counts(&calls), [(1, 3)]);
    assert_eq!(calls[0].summary.body.as_deref(), Some("3000"), "the newest");
    desk.answered(1, &Outcome::Taken, 6_100);
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 7_000), None, "the pause begins anew");
    assert_eq!(desk.next(), Some(11_000));
}

#[test]
fn another_conversation_and_another_device_do_not_wait() {
    let mut desk = desk();
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 1_000), Some(1));
    assert_eq!(tell(&mut desk, 2, "romeo@montague.lit", 1_000), Some(1));
    desk.answered(1, &Outcome::Taken, 1_100);
    assert_eq!(tell(&mut desk, 1, "nurse@capulet.lit", 1_200), Some(2), "two are unread");
}

#[test]
fn what_comes_while_a_call_is_under_way_is_called_for_after_it() {
    let mut desk = desk();
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 1_000), Some(1));
    assert_eq!(tell(&mut desk, 1, "nurse@capulet.lit", 1_100), None);
    assert_eq!(desk.next(), None);
    desk.answered(1, &Outcome::Taken, 9_000);
    assert_eq!(counts(&desk.due(9_000, 10)), [(1, 2)]);
}

#[test]
fn a_device_that_is_here_is_not_called() {
    let mut desk = desk();
    tell(&mut desk, 1, "romeo@montague.lit", 1_000);
    desk.answered(1, &Outcome::Taken, 1_100);
    tell(&mut desk, 1, "romeo@montague.lit", 2_000);
    desk.is_here(1);
    assert!(desk.due(60_000, 10).is_empty());
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 70_000), Some(1), "it is counted anew");
}

#[test]
fn what_a_session_leaves_behind_is_called_for_once() {
    let mut desk = desk();
    tell(&mut desk, 1, "romeo@montague.lit", 1_000);
    desk.answered(1, &Outcome::Taken, 1_100);
    let late = News { is_late: true, ..news("romeo@montague.lit", 990) };
    assert_eq!(desk.tell(&owner(), 1, &late, 60_000), None);
    assert_eq!(desk.next(), None);
    let unknown = News { is_late: true, ..news("nurse@capulet.lit", 990) };
    assert_eq!(desk.tell(&owner(), 1, &unknown, 60_000).unwrap().summary.count, 2);
    desk.answered(1, &Outcome::Taken, 60_100);
    desk.is_here(1);
    assert!(desk.tell(&owner(), 1, &late, 70_000).is_some(), "it was sent again, and lost again");
}

#[test]
fn f28_failures_are_tried_again_later_and_later() {
    let mut desk = desk();
    assert_eq!(tell(&mut desk, 1, "romeo@montague.lit", 0), Some(1));
    let mut now = 0;
    for wait in [60_000, 120_000, 200_000, 200_000] {
        assert_eq!(desk.answered(1, &later(), now), Fate::Stays);
        assert_eq!(tell(&mut desk, 1, "nurse@capulet.lit", now + 1), None, "not before its time");
        assert_eq!(desk.next(), Some(now + wait));
        now += wait;
        assert_eq!(desk.due(now, 10).len(), 1);
    }
    desk.answered(1, &Outcome::Taken, now);
    assert_eq!(tell(&mut desk, 1, "paris@verona.lit", now + PAUSE), Some(6), "as before");
    desk.answered(1, &later(), now + PAUSE);
    assert_eq!(desk.next(), Some(now + PAUSE + 60_000), "from the beginning");
}

#[test]
fn dead_ones_end_and_absent_ones_after_three_times() {
    let mut desk = desk();
    tell(&mut desk, 1, "romeo@montague.lit", 0);
    assert_eq!(desk.answered(1, &Outcome::Dead("item-not-found".to_owned()), 10), Fate::Ends);
    assert_eq!((desk.len(), desk.under_way()), (0, 0));
    let absent = Outcome::Absent("service-unavailable".to_owned());
    tell(&mut desk, 2, "romeo@montague.lit", 0);
    let mut fates = Vec::new();
    for outcome in [&absent, &absent, &later(), &absent, &absent, &absent] {
        fates.push(desk.answered(2, outcome, 0));
        desk.due(i64::MAX / 2, 10);
    }
    assert_eq!(fates, [Fate::Stays, Fate::Stays, Fate::Stays, Fate::Stays, Fate::Stays, Fate::Ends]);
    assert_eq!(desk.answered(2, &absent, 0), Fate::Stays, "nobody was asked");
    assert!(desk.agenda.is_empty());
}

#[test]
fn f28_calls_under_way_are_bounded() {
    let mut desk = desk();
    for id in 1..=3 {
        assert_eq!(tell(&mut desk, id, "romeo@montague.lit", 1_000), Some(1));
    }
    assert_eq!(tell(&mut desk, 4, "romeo@montague.lit", 1_000), None);
    assert!(desk.due(2_000, 10).is_empty(), "there is still no room");
    desk.answered(1, &Outcome::Taken, 2_500);
    assert_eq!(counts(&desk.due(3_000, 10)), [(4, 1)]);
    assert_eq!(desk.under_way(), 3);
}

#[test]
fn devices_at_rest_make_room_and_others_do_not() {
    let mut desk = desk();
    for id in 1..=3 {
        tell(&mut desk, id, "romeo@montague.lit", 1_000);
    }
    tell(&mut desk, 4, "romeo@montague.lit", 1_000);
    assert_eq!((tell(&mut desk, 5, "romeo@montague.lit", 1_000), desk.dropped), (None, 1));
    desk.answered(1, &Outcome::Taken, 1_100);
    assert_eq!((tell(&mut desk, 5, "romeo@montague.lit", 1_200), desk.dropped), (None, 2), "its pause is not over");
    assert_eq!(tell(&mut desk, 5, "romeo@montague.lit", 1_000 + PAUSE), Some(1));
    assert_eq!(desk.len(), 4);
}

#[test]
fn no_order_of_things_breaks_the_bounds_or_forgets_a_message() {
    let mut seed: u64 = 7;
    let mut dice = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let mut desk = Desk::new(Bounds { pause: 50, retry_after: 100, retry_at_most: 400, under_way: 2, devices: 6 });
    let mut under_way: Vec<i64> = Vec::new();
    let mut now = 1;
    for _ in 0..50_000 {
        now += i64::try_from(dice(20)).unwrap();
        let id = i64::try_from(dice(5)).unwrap();
        match dice(6) {
            0 | 1 => {
                let chat = format!("friend{}@verona.lit", dice(20));
                under_way.extend(desk.tell(&owner(), id, &news(&chat, now), now).map(|call| call.id));
            }
            2 => under_way.extend(desk.due(now, 3).iter().map(|call| call.id)),
            3 => {
                if let Some(id) = under_way.pop() {
                    let outcome = match dice(4) {
                        0 => later(),
                        1 => Outcome::Dead(String::new()),
                        _ => Outcome::Taken,
                    };
                    desk.answered(id, &outcome, now);
                }
            }
            4 => desk.is_here(id),
            _ => {
                if dice(10) == 0 {
                    desk.forget(id);
                    under_way.retain(|other| *other != id);
                }
            }
        }
        assert_eq!(desk.under_way(), under_way.len());
        assert!(under_way.len() <= 2 && desk.len() <= 6 && desk.agenda.len() <= desk.len());
        for device in desk.devices.values() {
            assert!(device.chats.len() <= CHATS);
            let waits = device.again && !device.under_way;
            assert!(!waits || device.planned.is_some(), "something has come, and nobody would call: {device:?}");
        }
    }
}
