//! What it costs to take one message from a stream: our scanner beside rxml and quick-xml, in one run.
//!
//! `cargo bench -p waxwing-xml --bench framing`. Rounds are short and many and the best one counts, which on a busy
//! machine is one that nothing interrupted. Ours ends with an owned, validated element and its envelope read; rxml
//! with namespaced events; quick-xml with resolved events and attributes, without the checks of characters, names and
//! limits.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use quick_xml::events::Event as QuickEvent;
use quick_xml::reader::NsReader;
use rxml::Parse;
use waxwing_xml::{Limits, Scanner, Token};

const HEADER: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// A message as clients send it: a body, a chat state, a receipt request, a chat marker, an origin id.
const CHAT: &str = "<message to='juliet@capulet.example/balcony' from='romeo@montague.example/orchard' type='chat' \
    id='b5e1a9f2-7c34-4d18' xml:lang='en'><body>Art thou not Romeo, and a Montague? Neither, fair saint, if either \
    thee, my lady, dislike at all, I would say so.</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
    <request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='b5e1a9f2-7c34-4d18a'/></message>";

const STANZAS: usize = 500;
const ROUNDS: usize = 300;

fn main() {
    let stream = format!("{HEADER}{}", CHAT.repeat(STANZAS));
    let mut report = format!("one message of {} bytes, {STANZAS} in a stream, best of {ROUNDS}:\n", CHAT.len());
    let mut row = |name: &str, read: &dyn Fn(&[u8]) -> usize| {
        let round = |_| {
            let start = Instant::now();
            assert_eq!(read(stream.as_bytes()), STANZAS);
            start.elapsed()
        };
        let best = (0..ROUNDS).map(round).min().unwrap_or_default();
        let nanoseconds = best.as_nanos() / STANZAS as u128;
        let _ = writeln!(report, "{name:<28} {nanoseconds:>6} ns");
    };
    row("waxwing-xml", &ours);
    row("waxwing-xml, pieces of 200 B", &ours_in_pieces);
    row("quick-xml NsReader", &quick_xml);
    row("rxml Parser", &rxml);
    #[allow(clippy::print_stdout)] // the report is what this program is for
    {
        print!("{report}");
    }
}

fn ours(stream: &[u8]) -> usize {
    let mut scanner = Scanner::new(Limits::AFTER_AUTHENTICATION);
    let (mut done, mut stanzas) = (0, 0);
    loop {
        let step = scanner.next(&stream[done..]).expect("a good stream");
        done += step.consumed;
        match step.token {
            Some(Token::Element(element)) => stanzas += read_envelope(&element),
            Some(_) => {}
            None => return stanzas,
        }
    }
}

/// As from a socket whose reads end anywhere.
fn ours_in_pieces(stream: &[u8]) -> usize {
    let mut scanner = Scanner::new(Limits::AFTER_AUTHENTICATION);
    let (mut done, mut stanzas) = (0, 0);
    for received in (200..stream.len()).step_by(200).chain([stream.len()]) {
        loop {
            let step = scanner.next(&stream[done..received]).expect("a good stream");
            done += step.consumed;
            match step.token {
                Some(Token::Element(element)) => stanzas += read_envelope(&element),
                Some(_) => {}
                None => break,
            }
        }
    }
    stanzas
}

fn read_envelope(element: &waxwing_xml::Element) -> usize {
    for name in ["to", "from", "type", "id"] {
        black_box(element.attribute(name));
    }
    black_box(element.lang());
    for child in element.children() {
        black_box((child.namespace(), child.name()));
    }
    usize::from(element.name() == "message")
}

fn quick_xml(stream: &[u8]) -> usize {
    let mut reader = NsReader::from_reader(stream);
    let (mut depth, mut stanzas) = (0, 0);
    loop {
        let (namespace, event) = reader.read_resolved_event().expect("a good stream");
        black_box(namespace);
        match event {
            QuickEvent::Start(tag) => {
                depth += 1;
                tag.attributes().for_each(|attribute| drop(black_box(attribute)));
            }
            QuickEvent::Empty(tag) => tag.attributes().for_each(|attribute| drop(black_box(attribute))),
            QuickEvent::End(_) => {
                depth -= 1;
                stanzas += usize::from(depth == 1);
                if stanzas == STANZAS {
                    return stanzas;
                }
            }
            QuickEvent::Eof => return stanzas,
            other => drop(black_box(other)),
        }
    }
}

fn rxml(mut stream: &[u8]) -> usize {
    let mut parser = rxml::Parser::new();
    let (mut depth, mut stanzas) = (0, 0);
    while let Ok(Some(event)) = parser.parse(&mut stream, false) {
        match &event {
            rxml::Event::StartElement(..) => depth += 1,
            rxml::Event::EndElement(..) => {
                depth -= 1;
                stanzas += usize::from(depth == 1);
            }
            _ => {}
        }
        black_box(event);
    }
    stanzas
}
