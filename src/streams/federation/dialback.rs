//! Dialback: keys that prove a domain by calling back, and the words in which they travel (XEP-0220, XEP-0185).

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac};
use parking_lot::Mutex;
use waxwing_core::address::{self, DomainPart, DomainRef};
use waxwing_core::xml::{Element, Writer};

use super::link::Pair;

/// The namespace of `<db:result/>` and `<db:verify/>`.
pub(crate) const NAMESPACE: &str = "jabber:server:dialback";

/// Makes and checks the keys of this installation.
pub(crate) struct Keys(hmac::Key);

impl Keys {
    pub(crate) fn new(secret: &[u8]) -> Keys {
        // XEP-0185 §3: the hash is used as the text of its hexadecimal form.
        let hashed = hexadecimal(digest::digest(&digest::SHA256, secret).as_ref());
        Keys(hmac::Key::new(hmac::HMAC_SHA256, hashed.as_bytes()))
    }

    /// The key for a stream: good for one pair of domains and one stream. The space between the parts keeps `ab`, `c` and
    /// `a`, `bc` apart (security row S13).
    pub(crate) fn key(&self, receiving: &DomainRef, originating: &DomainRef, stream_id: &str) -> String {
        let text = format!("{receiving} {originating} {stream_id}");
        hexadecimal(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }

    /// Whether a key is ours for this stream; takes the same time for every wrong one.
    pub(crate) fn is_valid(&self, key: &str, receiving: &DomainRef, originating: &DomainRef, stream_id: &str) -> bool {
        let right = self.key(receiving, originating, stream_id);
        constant_time::verify_slices_are_equal(key.trim().as_bytes(), right.as_bytes()).is_ok()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which servers hold a key of ours that they have not answered yet. They may come and ask about it, whatever certificate
/// they show: the answer says nothing about them.
#[derive(Default)]
pub(crate) struct Expected(Arc<Mutex<Vec<Pair>>>);

/// Its server is expected as long as this lives.
pub(crate) struct Expecting(Arc<Mutex<Vec<Pair>>>, Pair);

impl Expected {
    /// A server has been given a key. There are no more of them than links being set up.
    pub(crate) fn add(&self, pair: &Pair) -> Expecting {
        self.0.lock().push(pair.clone());
        Expecting(self.0.clone(), pair.clone())
    }

    /// Whether somebody from there, or from nobody knows where, may ask one of our domains.
    pub(crate) fn contains(&self, ours: &DomainRef, theirs: Option<&DomainRef>) -> bool {
        let is_it = |pair: &Pair| *pair.ours == *ours && theirs.is_none_or(|theirs| *pair.theirs == *theirs);
        self.0.lock().iter().any(is_it)
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        let mut expected = self.0.lock();
        if let Some(at) = expected.iter().position(|pair| *pair == self.1) {
            expected.swap_remove(at);
        }
    }
}

/// A `<db:result/>` or `<db:verify/>` as it was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) is_verify: bool,
    pub(crate) from: DomainPart,
    pub(crate) to: DomainPart,
    /// The id of the stream in question; of `<db:verify/>` only.
    pub(crate) id: Option<String>,
    pub(crate) says: Says,
}

/// What it is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// A key to be checked.
    Key(String),
    /// The key was right.
    Valid,
    /// It was wrong, or could not be checked.
    Invalid,
}

/// Reads an element of the dialback namespace. `None` when it is neither of the two, or its addresses are no domains.
pub(crate) fn read(element: &Element) -> Option<Word> {
    let is_verify = match element.name() {
        "verify" => true,
        "result" => false,
        _ => return None,
    };
    let domain = |name| Some(address::read_domain(&element.attribute(name)?).ok()?.into_owned());
    let says = match element.attribute("type").as_deref() {
        None => Says::Key(element.text().into_owned()),
        Some("valid") => Says::Valid,
        Some(_) => Says::Invalid,
    };
    let id = element.attribute("id").map(|id| id.into_owned());
    Some(Word { is_verify, from: domain("from")?, to: domain("to")?, id, says })
}

fn word(name: &str, from: &DomainRef, to: &DomainRef) -> Writer {
    let mut writer = Writer::new();
    writer.open(name).attribute("from", from.as_str()).attribute("to", to.as_str());
    writer
}

/// `<db:result/>` with a key: let us speak for `from`.
pub(crate) fn ask(from: &DomainRef, to: &DomainRef, key: &str) -> Vec<u8> {
    word("db:result", from, to).text(key).finish().to_vec()
}

/// The answer to it.
pub(crate) fn answer(from: &DomainRef, to: &DomainRef, valid: bool) -> Vec<u8> {
    word("db:result", from, to).attribute("type", if valid { "valid" } else { "invalid" }).finish().to_vec()
}

/// The answer when it could not be found out (XEP-0220 §2.5); the stream goes on.
pub(crate) fn cannot_answer(from: &DomainRef, to: &DomainRef, condition: &str) -> Vec<u8> {
    let mut writer = word("db:result", from, to);
    writer.attribute("type", "error").open("error").attribute("type", "cancel");
    writer.open(condition).attribute("xmlns", waxwing_core::namespaces::STANZA_ERRORS);
    writer.finish().to_vec()
}

/// `<db:verify/>` with a key: is it yours?
pub(crate) fn check(from: &DomainRef, to: &DomainRef, id: &str, key: &str) -> Vec<u8> {
    word("db:verify", from, to).attribute("id", id).text(key).finish().to_vec()
}

/// The answer to it.
pub(crate) fn checked(from: &DomainRef, to: &DomainRef, id: &str, valid: bool) -> Vec<u8> {
    let kind = if valid { "valid" } else { "invalid" };
    word("db:verify", from, to).attribute("id", id).attribute("type", kind).finish().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> DomainPart {
        DomainPart::new(name).unwrap().into_owned()
    }

    #[test]
    fn the_example_of_xep_0185() {
        let keys = Keys::new(b"s3cr3tf0rd14lb4ck");
        let key = keys.key(&domain("xmpp.example.com"), &domain("example.org"), "D60000229F");
        assert_eq!(key, "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643");
    }

    #[test]
    fn s13_a_key_is_good_for_one_pair_and_one_stream() {
        let keys = Keys::new(b"secret");
        let key = keys.key(&domain("ab"), &domain("c"), "1");
        assert!(keys.is_valid(&key, &domain("ab"), &domain("c"), "1"));
        assert!(keys.is_valid(&format!(" {key}\n"), &domain("ab"), &domain("c"), "1"));
        for (receiving, originating, id) in [("a", "bc", "1"), ("ab", "c", "2"), ("c", "ab", "1")] {
            assert!(!keys.is_valid(&key, &domain(receiving), &domain(originating), id));
        }
        assert!(!keys.is_valid("", &domain("ab"), &domain("c"), "1"));
        assert!(!Keys::new(b"other").is_valid(&key, &domain("ab"), &domain("c"), "1"));
    }

    #[test]
    fn who_holds_a_key_is_expected_until_it_has_answered() {
        let (romeo, juliet, paris) = (domain("montague.lit"), domain("capulet.lit"), domain("verona.lit"));
        let pair = Pair { ours: juliet.clone(), theirs: romeo.clone() };
        let expected = Expected::default();
        let (first, second) = (expected.add(&pair), expected.add(&pair));
        assert!(expected.contains(&juliet, Some(&romeo)) && expected.contains(&juliet, None));
        assert!(!expected.contains(&juliet, Some(&paris)) && !expected.contains(&paris, Some(&romeo)));
        drop(first);
        assert!(expected.contains(&juliet, Some(&romeo)));
        drop(second);
        assert!(!expected.contains(&juliet, None));
    }

    #[test]
    fn words_are_read_as_they_were_written() {
        let (romeo, juliet) = (domain("montague.lit"), domain("capulet.lit"));
        let read = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap().replace("db:", "").replacen(
                ' ',
                " xmlns='jabber:server:dialback' ",
                1,
            );
            super::read(&waxwing_core::stanza::element(text).unwrap()).unwrap()
        };
        let asked = read(ask(&romeo, &juliet, "key"));
        assert_eq!(
            (asked.is_verify, &asked.from, &asked.to, asked.says),
            (false, &romeo, &juliet, Says::Key("key".to_owned()))
        );
        let checked = read(checked(&romeo, &juliet, "7", true));
        assert_eq!((checked.is_verify, checked.id.as_deref(), checked.says), (true, Some("7"), Says::Valid));
        assert_eq!(read(answer(&romeo, &juliet, false)).says, Says::Invalid);
        assert_eq!(read(cannot_answer(&romeo, &juliet, "remote-server-timeout")).says, Says::Invalid);
        assert_eq!(read(check(&romeo, &juliet, "7", "k")).says, Says::Key("k".to_owned()));
    }
}
