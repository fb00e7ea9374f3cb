//! The oracle: compares what clients have written down with what the server's database holds. Pure, so that it can be
//! shown to see every kind of broken promise.

use std::collections::{HashMap, HashSet};

use crate::diary::Entry;
use crate::message::Id;

/// A message in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose archive.
    pub owner: usize,
    /// Its place there.
    pub place: i64,
    /// Which message.
    pub message: Id,
}

/// How many there were of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were sent.
    pub sent: usize,
    /// Those the server has acknowledged and not refused.
    pub acked: usize,
    /// Those that came back as errors.
    pub refused: usize,
    /// Those that were shown to their recipients.
    pub shown: usize,
    /// Shown out of the archive, after a session could not be resumed.
    pub caught_up: usize,
    /// Rows in archives.
    pub rows: usize,
}

/// What the oracle says.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many there were of each.
    pub counts: Counts,
    /// Every promise that was broken.
    pub broken: Vec<String>,
    /// What is still missing and may come: not every message has an outcome, or was shown.
    pub open: Vec<String>,
}

/// Where in an archive each message stands.
type Places = HashMap<(usize, Id), Vec<i64>>;

/// Compares diaries (one for each client, by number) with the archives.
pub fn judge(diaries: &[Vec<Entry>], rows: &[Row]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut places: Places = HashMap::new();
    for row in rows {
        places.entry((row.owner, row.message.clone())).or_default().push(row.place);
    }
    verdict.counts.rows = rows.len();
    for ((owner, id), found) in &places {
        if found.len() > 1 {
            verdict.broken.push(format!("stored twice: {id} in the archive of person{owner}: {found:?}"));
        }
    }
    let mut shown = HashSet::new();
    for (person, diary) in diaries.iter().enumerate() {
        look_at_sender(person, diary, &places, &mut verdict);
        look_at_reader(person, diary, &places, &mut shown, &mut verdict);
    }
    look_at_archives(rows, &places, &shown, &mut verdict);
    verdict.broken.sort();
    verdict
}

fn look_at_sender(person: usize, diary: &[Entry], places: &Places, verdict: &mut Verdict) {
    let (mut sent, mut acked, mut refused, mut found) = (Vec::new(), HashSet::new(), HashMap::new(), HashSet::new());
    for entry in diary {
        match entry {
            Entry::Sent(id) => sent.push(id),
            Entry::Acked(id) => drop(acked.insert(id)),
            Entry::Refused(id, condition) => drop(refused.insert(id, condition)),
            Entry::Found(id) => drop(found.insert(id)),
            Entry::Wrong(what) => verdict.broken.push(format!("person{person}: {what}")),
            _ => {}
        }
    }
    verdict.counts.sent += sent.len();
    verdict.counts.refused += refused.len();
    for text in sent {
        let Some(id) = Id::read(text) else { continue };
        let copies = [person, id.to].map(|owner| places.contains_key(&(owner, id.clone())));
        if let Some(condition) = refused.get(text) {
            if copies != [false, false] {
                verdict
                    .broken
                    .push(format!("refused and stored: {id} ({condition}), sender and recipient: {copies:?}"));
            }
            continue;
        }
        if acked.contains(text) {
            verdict.counts.acked += 1;
        }
        if acked.contains(text) || found.contains(text) {
            if copies != [true, true] {
                verdict.broken.push(format!("acknowledged and lost: {id}, sender and recipient: {copies:?}"));
            }
        } else {
            verdict.open.push(format!("without an outcome: {id}"));
        }
    }
}

fn look_at_reader(
    person: usize,
    diary: &[Entry],
    places: &Places,
    shown: &mut HashSet<(usize, Id)>,
    verdict: &mut Verdict,
) {
    let mut newest: HashMap<usize, i64> = HashMap::new();
    for entry in diary {
        match entry {
            Entry::Shown(text, place, how) => {
                let Some(id) = Id::read(text) else { continue };
                verdict.counts.shown += 1;
                verdict.counts.caught_up += usize::from(how == "archive");
                if !places.get(&(person, id.clone())).is_some_and(|found| found.contains(place)) {
                    verdict.broken.push(format!("shown and not stored: {id} at {place} ({how})"));
                }
                let before = newest.insert(id.from, *place);
                if before.is_some_and(|before| before >= *place) {
                    verdict.broken.push(format!("shown out of order: {id} at {place} ({how}) after {before:?}"));
                }
                if !shown.insert((person, id.clone())) {
                    verdict.broken.push(format!("shown twice: {id} at {place} ({how})"));
                }
            }
            Entry::Repeated(id, place, how) => {
                verdict.broken.push(format!("came twice: {id} at {place} ({how})"));
            }
            _ => {}
        }
    }
}

fn look_at_archives(rows: &[Row], places: &Places, shown: &HashSet<(usize, Id)>, verdict: &mut Verdict) {
    // In each archive, what one person has sent to another stands in the order in which it was sent.
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (row.owner, row.place));
    let mut newest: HashMap<(usize, usize, usize), u32> = HashMap::new();
    for row in rows {
        let Id { from, to, count } = row.message;
        if let Some(before) = newest.insert((row.owner, from, to), count)
            && before > count
        {
            let text = format!("stored out of order: {} at {} after number {before}", row.message, row.place);
            verdict.broken.push(text);
        }
        let other = if row.owner == from { to } else { from };
        if !places.contains_key(&(other, row.message.clone())) {
            verdict.broken.push(format!("half stored: {} only with person{}", row.message, row.owner));
        }
        if row.owner == to && !shown.contains(&(to, row.message.clone())) {
            verdict.open.push(format!("stored and not shown: {} at {}", row.message, row.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(owner: usize, place: i64, message: &str) -> Row {
        Row { owner, place, message: Id::read(message).unwrap() }
    }

    fn diary(lines: &[&str]) -> Vec<Entry> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(file.path(), text).unwrap();
        crate::diary::read(file.path()).unwrap()
    }

    /// Two messages from 0 to 1, as it should be.
    fn good() -> ([Vec<Entry>; 2], Vec<Row>) {
        let sender = diary(&["sent m-0-1-1", "sent m-0-1-2", "acked m-0-1-1", "acked m-0-1-2"]);
        let reader = diary(&["shown m-0-1-1 11 live", "shown m-0-1-2 13 archive"]);
        let rows = vec![row(0, 10, "m-0-1-1"), row(1, 11, "m-0-1-1"), row(0, 12, "m-0-1-2"), row(1, 13, "m-0-1-2")];
        ([sender, reader], rows)
    }

    #[test]
    fn nothing_is_said_of_a_good_play() {
        let (diaries, rows) = good();
        let verdict = judge(&diaries, &rows);
        assert!(verdict.broken.is_empty() && verdict.open.is_empty(), "{verdict:?}");
        let counts = Counts { sent: 2, acked: 2, refused: 0, shown: 2, caught_up: 1, rows: 4 };
        assert_eq!(verdict.counts, counts);
    }

    /// What is said when the good play is changed.
    fn said(change: impl FnOnce(&mut [Vec<Entry>; 2], &mut Vec<Row>)) -> String {
        let (mut diaries, mut rows) = good();
        change(&mut diaries, &mut rows);
        let verdict = judge(&diaries, &rows);
        [verdict.broken, verdict.open].concat().join("\n")
    }

    #[test]
    fn every_broken_promise_is_seen() {
        let lost = said(|_, rows| rows.retain(|row| row.message.count == 1));
        assert!(lost.contains("acknowledged and lost: m-0-1-2") && lost.contains("shown and not stored: m-0-1-2"));
        let half = said(|_, rows| rows.truncate(3));
        assert!(half.contains("acknowledged and lost: m-0-1-2") && half.contains("half stored: m-0-1-2"), "{half}");
        let twice = said(|_, rows| rows.push(row(1, 14, "m-0-1-2")));
        assert!(twice.contains("stored twice: m-0-1-2"), "{twice}");
        let shown_twice = said(|diaries, _| diaries[1].push(Entry::Shown("m-0-1-2".to_owned(), 13, "late".to_owned())));
        assert!(shown_twice.contains("shown twice: m-0-1-2"), "{shown_twice}");
        let repeated = said(|diaries, _| diaries[1].push(Entry::Repeated("m-0-1-2".to_owned(), 13, "late".to_owned())));
        assert!(repeated.contains("came twice: m-0-1-2"), "{repeated}");
        let disorder = said(|diaries, _| diaries[1].reverse());
        assert!(disorder.contains("shown out of order: m-0-1-1"), "{disorder}");
        let stored_disorder = said(|_, rows| {
            rows[1].place = 14;
        });
        assert!(stored_disorder.contains("stored out of order: m-0-1-1"), "{stored_disorder}");
        let refused = said(|diaries, _| diaries[0].push(Entry::Refused("m-0-1-2".to_owned(), "wait:x".to_owned())));
        assert!(refused.contains("refused and stored: m-0-1-2"), "{refused}");
        let wrong = said(|diaries, _| diaries[0].push(Entry::Wrong("h=3".to_owned())));
        assert!(wrong.contains("person0: h=3"), "{wrong}");
    }

    #[test]
    fn what_may_still_come_is_not_a_broken_promise() {
        let (mut diaries, rows) = good();
        drop(diaries[1].pop());
        drop(diaries[0].pop());
        let verdict = judge(&diaries, &rows);
        assert!(verdict.broken.is_empty(), "{verdict:?}");
        assert_eq!(verdict.open.len(), 2, "{verdict:?}");
        let found = said(|diaries, _| *diaries[0].last_mut().unwrap() = Entry::Found("m-0-1-2".to_owned()));
        assert_eq!(found, "");
    }
}
