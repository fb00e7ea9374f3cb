//! The cursor against a reference model: nothing is forgotten, and nothing that has arrived is delivered again.

use std::collections::BTreeSet;

use super::*;

/// Writes what is to be written, as if the table did it at once.
fn write(cursor: &mut Cursor, row: &mut Option<i64>) {
    while let Some(write) = cursor.begin_to_write() {
        apply(write, row);
        cursor.end_writing(write, true);
    }
}

fn apply(write: Write, row: &mut Option<i64>) {
    *row = match write {
        Write::Lower(to) => Some(row.map_or(to, |says| says.min(to))),
        Write::Set(to) => Some(to),
        Write::Clear => None,
    };
}

#[test]
fn the_first_message_is_written_and_the_others_are_covered() {
    let (mut cursor, mut row) = (Cursor::new(None), None);
    assert_eq!(cursor.cover(10), Cover::MustWrite);
    write(&mut cursor, &mut row);
    assert_eq!(row, Some(9));
    assert_eq!(cursor.cover(10), Cover::Done);
    assert_eq!(cursor.cover(11), Cover::Done);
    assert_eq!(cursor.cover(8), Cover::MustWrite, "one that comes late");
    write(&mut cursor, &mut row);
    assert_eq!((cursor.cover(8), row), (Cover::Done, Some(7)));
    assert!(cursor.is_at_rest());
    let mut later = Cursor::new(cursor.at_most());
    assert_eq!(later.cover(12), Cover::Done, "remembered");
    assert!(later.is_unread() && later.begins().is_none());
    later.learn(row);
    assert_eq!(later.begins(), Some(7));
}

#[test]
fn the_row_follows_what_has_arrived_and_goes_with_the_last() {
    let (mut cursor, mut row) = (Cursor::new(None), Some(9));
    cursor.learn(row);
    cursor.hand_over(20, [12, 15, 20].into_iter());
    cursor.close();
    write(&mut cursor, &mut row);
    assert_eq!(row, Some(11));
    assert!(!cursor.is_at_rest());
    cursor.arrived(&[12]);
    write(&mut cursor, &mut row);
    assert_eq!(row, Some(14));
    cursor.arrived(&[15, 20]);
    write(&mut cursor, &mut row);
    assert_eq!(row, None);
    assert!(cursor.is_at_rest());
}

#[test]
fn what_was_received_live_is_not_delivered_when_somebody_leaves_again() {
    let (mut cursor, mut row) = (Cursor::new(None), Some(9));
    cursor.learn(row);
    cursor.hand_over(10, [10].into_iter());
    cursor.close();
    // 11 to 19 come while somebody is there; 20 comes when nobody is, and 10 is still under way.
    assert_eq!(cursor.cover(20), Cover::Done);
    assert_eq!(cursor.begins(), Some(19));
    cursor.arrived(&[10]);
    write(&mut cursor, &mut row);
    assert_eq!(row, Some(19));
    assert_eq!(cursor.cover(10), Cover::Done, "it was handed over long ago");
    assert_eq!(cursor.begins(), Some(19));
}

#[test]
fn what_was_not_handed_over_is_read_again() {
    let (mut cursor, mut row) = (Cursor::new(None), Some(0));
    cursor.learn(row);
    cursor.hand_over(30, [10, 20, 30].into_iter());
    cursor.take_back(&[20, 30]);
    assert_eq!(cursor.begins(), Some(19));
    cursor.arrived(&[10]);
    write(&mut cursor, &mut row);
    assert_eq!(row, Some(19));
    cursor.take_back(&[]);
    assert_eq!(cursor.begins(), Some(19));
}

#[test]
fn f03_an_unknown_outcome_is_written_again() {
    let mut cursor = Cursor::new(None);
    cursor.cover(10);
    let lower = cursor.begin_to_write().unwrap();
    assert_eq!(cursor.begin_to_write(), None, "one at a time");
    cursor.end_writing(lower, false);
    assert_eq!(cursor.cover(10), Cover::MustWrite);
    assert_eq!(cursor.begin_to_write(), Some(Write::Lower(9)));
    cursor.end_writing(Write::Lower(9), true);
    cursor.learn(Some(5));
    assert_eq!(cursor.begins(), Some(5));
    cursor.hand_over(10, [10].into_iter());
    cursor.close();
    cursor.arrived(&[10]);
    let clear = cursor.begin_to_write().unwrap();
    assert_eq!(clear, Write::Clear);
    cursor.end_writing(clear, false);
    assert!(!cursor.is_at_rest());
    assert_eq!(cursor.cover(30), Cover::MustWrite, "it may be gone or not");
    assert_eq!(cursor.begin_to_write(), Some(Write::Set(29)));
}

proptest::proptest! {
    /// Messages come while nobody or somebody is there, are handed over, arrive or are taken back, in any order. Behind the
    /// row stands whatever has not arrived; before it nothing is missing.
    #[test]
    fn nothing_is_forgotten_and_the_row_moves_on(steps in proptest::collection::vec(0u8..6, 1..80)) {
        let (mut cursor, mut row) = (Cursor::new(None), None);
        cursor.learn(None);
        let mut missing: BTreeSet<i64> = BTreeSet::new();
        let mut under_way: BTreeSet<i64> = BTreeSet::new();
        let (mut id, mut present) = (0, false);
        for step in steps {
            id += 1;
            match step {
                // Comes: live, or for later.
                0 | 1 if !present => {
                    cursor.cover(id);
                    missing.insert(id);
                }
                0 | 1 => {}
                // Somebody comes and is handed everything, or goes.
                2 if !present => {
                    if let Some(begins) = cursor.begins() {
                        let handed: Vec<i64> = missing.range(begins + 1..).copied().collect();
                        proptest::prop_assert!(missing.range(..=begins).all(|id| under_way.contains(id)));
                        under_way.extend(&handed);
                        cursor.hand_over(id, handed.into_iter());
                    }
                    proptest::prop_assert_eq!(&missing, &under_way);
                    cursor.close();
                    present = true;
                }
                2 => present = false,
                // The oldest under way, or all of it, arrives.
                3 => if let Some(first) = under_way.pop_first() {
                    missing.remove(&first);
                    cursor.arrived(&[first]);
                },
                4 => {
                    cursor.arrived(&under_way.iter().copied().collect::<Vec<_>>());
                    missing.retain(|id| !under_way.contains(id));
                    under_way.clear();
                }
                _ => write(&mut cursor, &mut row),
            }
        }
        write(&mut cursor, &mut row);
        match (missing.first(), row) {
            (None, row) => proptest::prop_assert!(row.is_none() || !present),
            (Some(first), Some(row)) => proptest::prop_assert!(row < *first),
            (Some(_), None) => proptest::prop_assert!(false, "the row is gone while something is missing"),
        }
    }
}
