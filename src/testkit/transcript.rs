//! What was said on the wires of one test, in order; shown when the test fails.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How many entries are kept, and how many letters of each.
const ENTRIES: usize = 400;
const LETTERS: usize = 4_000;

/// Everyone's words in a test. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Transcript(Arc<Mutex<Entries>>);

#[derive(Debug)]
struct Entries {
    began: Instant,
    forgotten: usize,
    kept: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    milliseconds: u128,
    who: String,
    arrow: &'static str,
    what: String,
}

impl Default for Transcript {
    fn default() -> Transcript {
        let entries = Entries { began: Instant::now(), forgotten: 0, kept: VecDeque::new() };
        Transcript(Arc::new(Mutex::new(entries)))
    }
}

impl Transcript {
    /// Writes down what happened to a client. Bytes of several reads in a row become one entry.
    pub(crate) fn add(&self, who: &str, arrow: &'static str, what: &[u8]) {
        let text = String::from_utf8_lossy(what);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = entries.kept.back_mut()
            && (last.who.as_str(), last.arrow) == (who, arrow)
            && arrow != "--"
            && last.what.len() < LETTERS
        {
            last.what.push_str(&text);
            return;
        }
        let milliseconds = entries.began.elapsed().as_millis();
        entries.kept.push_back(Entry { milliseconds, who: who.to_owned(), arrow, what: text.into_owned() });
        if entries.kept.len() > ENTRIES {
            entries.kept.pop_front();
            entries.forgotten += 1;
        }
    }

    /// All of it, for the message of a test that fails.
    pub fn shown(&self) -> String {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = String::from("---- what was said ----\n");
        if entries.forgotten > 0 {
            let _ = writeln!(shown, "({} earlier entries left out)", entries.forgotten);
        }
        for Entry { milliseconds, who, arrow, what } in &entries.kept {
            let end = what.char_indices().nth(LETTERS).map_or(what.len(), |(end, _)| end);
            let _ = write!(shown, "{milliseconds:>6} ms  {who} {arrow} {}", &what[..end]);
            let _ = if end < what.len() { writeln!(shown, " … ({} bytes)", what.len()) } else { writeln!(shown) };
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_readable_and_bounded() {
        let transcript = Transcript::default();
        transcript.add("romeo", "->", b"<iq");
        transcript.add("romeo", "->", b"/>");
        transcript.add("juliet", "<-", b"\xff");
        assert!(transcript.shown().contains("romeo -> <iq/>\n"));
        assert!(transcript.shown().contains("juliet <- \u{fffd}\n"));
        for _ in 0..1_000 {
            transcript.add("a", "--", "ä".repeat(10_000).as_bytes());
        }
        assert!(transcript.shown().len() < 2 * (LETTERS + 100) * ENTRIES);
    }
}
