//! What one client has done and seen, written down at once and synchronised to the disc: the oracle believes nothing else.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// Something that happened to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It has sent a message.
    Sent(String),
    /// It has sent a message once more.
    Again(String),
    /// The server has counted the message as handled.
    Acked(String),
    /// The message came back with this error.
    Refused(String, String),
    /// A message in doubt after a crash was found in the client's own archive.
    Found(String),
    /// A message was shown to the user, with the id of the archive, and how it came.
    Shown(String, i64, String),
    /// A message came that was shown already, and this client has not asked for it again.
    Repeated(String, i64, String),
    /// A session has begun, was resumed, or could not be resumed.
    Began(String),
    /// A connection was lost.
    Lost(String),
    /// The server has broken a rule.
    Wrong(String),
}

impl Entry {
    fn written(&self) -> String {
        match self {
            Entry::Sent(id) => format!("sent {id}\n"),
            Entry::Again(id) => format!("again {id}\n"),
            Entry::Acked(id) => format!("acked {id}\n"),
            Entry::Refused(id, condition) => format!("refused {id} {condition}\n"),
            Entry::Found(id) => format!("found {id}\n"),
            Entry::Shown(id, place, how) => format!("shown {id} {place} {how}\n"),
            Entry::Repeated(id, place, how) => format!("repeated {id} {place} {how}\n"),
            Entry::Began(how) => format!("began {how}\n"),
            Entry::Lost(why) => format!("lost {why}\n"),
            Entry::Wrong(what) => format!("wrong {what}\n"),
        }
    }

    fn read(line: &str) -> Option<Entry> {
        let (word, rest) = line.split_once(' ')?;
        let one = || rest.to_owned();
        let three = || {
            let mut words = rest.splitn(3, ' ');
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.to_owned()))
        };
        Some(match word {
            "sent" => Entry::Sent(one()),
            "again" => Entry::Again(one()),
            "acked" => Entry::Acked(one()),
            "refused" => {
                let (id, condition) = rest.split_once(' ')?;
                Entry::Refused(id.to_owned(), condition.to_owned())
            }
            "found" => Entry::Found(one()),
            "shown" => three().map(|(id, place, how)| Entry::Shown(id, place, how))?,
            "repeated" => three().map(|(id, place, how)| Entry::Repeated(id, place, how))?,
            "began" => Entry::Began(one()),
            "lost" => Entry::Lost(one()),
            "wrong" => Entry::Wrong(one()),
            _ => return None,
        })
    }
}

/// One client's diary.
pub struct Diary {
    file: File,
    synchroniser: mpsc::Sender<File>,
}

impl Diary {
    /// A new diary in this file.
    pub fn begin(file: &Path, synchroniser: &Synchroniser) -> io::Result<Diary> {
        Ok(Diary { file: File::create(file)?, synchroniser: synchroniser.0.clone() })
    }

    /// Writes something down. The system has it when this returns, and the disc soon after.
    pub fn write(&mut self, entry: &Entry) {
        let written = self.file.write_all(entry.written().as_bytes());
        written.expect("a diary can be written, or its oracle is worth nothing");
        if let Ok(file) = self.file.try_clone() {
            let _ = self.synchroniser.send(file);
        }
    }
}

/// A thread that synchronises diaries to the disc, without ever making a client wait.
#[derive(Clone)]
pub struct Synchroniser(mpsc::Sender<File>);

impl Synchroniser {
    /// Starts the thread; it ends with the last diary.
    pub fn start() -> Synchroniser {
        let (sender, files) = mpsc::channel::<File>();
        std::thread::spawn(move || {
            use std::os::unix::fs::MetadataExt as _;
            while let Ok(first) = files.recv() {
                #[allow(clippy::disallowed_methods, reason = "a thread of its own, where no task runs")]
                std::thread::sleep(Duration::from_millis(200));
                let mut done = std::collections::HashSet::new();
                for file in std::iter::once(first).chain(files.try_iter()) {
                    if file.metadata().is_ok_and(|data| done.insert(data.ino())) {
                        let _ = file.sync_data();
                    }
                }
            }
        });
        Synchroniser(sender)
    }
}

/// Reads a diary.
pub fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(file)?;
    text.lines().map(|line| Entry::read(line).ok_or_else(|| anyhow::anyhow!("not a line of a diary: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diary_is_read_as_it_was_written() {
        let entries = [
            Entry::Sent("m-0-1-1".to_owned()),
            Entry::Again("m-0-1-1".to_owned()),
            Entry::Acked("m-0-1-1".to_owned()),
            Entry::Refused("m-0-1-2".to_owned(), "resource-constraint".to_owned()),
            Entry::Found("m-0-1-3".to_owned()),
            Entry::Shown("m-1-0-4".to_owned(), 17, "live".to_owned()),
            Entry::Repeated("m-1-0-4".to_owned(), 17, "late".to_owned()),
            Entry::Began("failed h=3".to_owned()),
            Entry::Lost("broken:end-of-file".to_owned()),
            Entry::Wrong("no h".to_owned()),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut diary = Diary::begin(file.path(), &Synchroniser::start()).unwrap();
        for entry in &entries {
            diary.write(entry);
        }
        assert_eq!(read(file.path()).unwrap(), entries);
    }
}
