//! What the servers of this process have logged: shown when a test fails, and searched for secrets at the end of every
//! server (security row S38).

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How many bytes of the newest log are kept.
const KEPT: usize = 8 * 1024 * 1024;
/// How many of the newest lines a failing test shows.
const SHOWN: usize = 40;
/// How many secrets are remembered: enough for all of a test binary, and no more.
const SECRETS: usize = 5_000;

static LINES: Mutex<Kept> = Mutex::new(Kept { lines: VecDeque::new(), bytes: 0, unchecked: 0 });
static SECRET: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static WATCH: Once = Once::new();

struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// How many of the newest lines have not been searched for secrets.
    unchecked: usize,
}

/// Begins to keep what is logged in this process, at level `info` or what `WAXWING_TEST_LOG` says. Starting a server
/// does it.
pub fn watch() {
    WATCH.call_once(|| {
        let filter = EnvFilter::try_from_env("WAXWING_TEST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Writer);
        // Another subscriber stands when a test has set its own; then there is nothing to keep.
        let _ = tracing::subscriber::set_global_default(subscriber.finish());
    });
}

/// Every line that is kept, of all servers of this process, the oldest first.
pub fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
}

/// From now on this text must not stand in the log: a password, or what proves one.
pub fn keep_secret(text: &str) {
    let mut secrets = SECRET.lock().unwrap_or_else(PoisonError::into_inner);
    if secrets.len() < SECRETS && text.len() >= 8 {
        secrets.insert(text.to_owned());
    }
}

/// The lines that show a secret, among those that were logged since the last time this was asked.
pub(crate) fn leaks() -> Vec<String> {
    let secrets = SECRET.lock().unwrap_or_else(PoisonError::into_inner);
    let mut kept = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let checked = kept.lines.len().saturating_sub(std::mem::take(&mut kept.unchecked));
    // No level of ours shows a stanza either.
    let leaks = |line: &&String| line.contains("<body") || secrets.iter().any(|secret| line.contains(secret.as_str()));
    kept.lines.iter().skip(checked).filter(leaks).cloned().collect()
}

/// The newest lines, for the message of a test that fails.
pub(crate) fn tail() -> String {
    let kept = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let skipped = kept.lines.len().saturating_sub(SHOWN);
    let mut tail = String::from("---- what the servers of this process logged last ----\n");
    for line in kept.lines.iter().skip(skipped) {
        tail.push_str(line);
    }
    tail
}

struct Writer;

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        Writer
    }
}

impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(String::from_utf8_lossy(line).into_owned());
        kept.unchecked += 1;
        while kept.bytes > KEPT {
            let forgotten = kept.lines.pop_front().map_or(kept.bytes, |line| line.len());
            kept.bytes -= forgotten.min(kept.bytes);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
