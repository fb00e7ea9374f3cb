//! S7: what the server takes for one stanza must be the same one stanza to every other parser. Three that share nothing
//! judge: the server's scanner, rxml (in the test kit), and quick-xml.

use std::collections::BTreeMap;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use waxwing_testkit::{Element, Node, RawClient, Scene};

use crate::common::SERVER;
use crate::dice::Dice;

/// Reads the content of a stream with quick-xml: its first-level elements.
fn read_with_quick_xml(content: &str) -> Result<Vec<Element>, String> {
    let whole = format!(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>{content}</stream:stream>"
    );
    let mut reader = NsReader::from_str(&whole);
    let mut open: Vec<Element> = Vec::new();
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(tag) => open.push(element(&reader, &tag)?),
            Event::Empty(tag) => {
                let element = element(&reader, &tag)?;
                open.last_mut().ok_or("two roots")?.children.push(Node::Element(element));
            }
            Event::End(_) => {
                let element = open.pop().ok_or("an end without a beginning")?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(Node::Element(element)),
                    None => return Ok(element.elements().cloned().collect()),
                }
            }
            Event::Text(text) => push_text(&mut open, &text.xml10_content())?,
            Event::CData(text) => push_text(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let sign = match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(sign) => sign.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&reference).ok_or("an entity")?.to_owned(),
                };
                push_text(&mut open, &sign)?;
            }
            other => return Err(format!("a stream does not hold {other:?}")),
        }
    }
}

fn push_text(open: &mut [Element], more: &str) -> Result<(), String> {
    let parent = open.last_mut().ok_or("text outside the stream")?;
    match parent.children.last_mut() {
        Some(Node::Text(text)) => text.push_str(more),
        _ if more.is_empty() => {}
        _ => parent.children.push(Node::Text(more.to_owned())),
    }
    Ok(())
}

fn element(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>) -> Result<Element, String> {
    let namespace = |found: ResolveResult<'_>| match found {
        ResolveResult::Bound(namespace) => Ok(namespace.0.to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(prefix) => Err(format!("nothing is bound to {prefix}")),
    };
    let (found, name) = reader.resolver().resolve_element(tag.name());
    let (found, name) = (namespace(found)?, name.as_ref().to_owned());
    let mut attributes = BTreeMap::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (found, name) = reader.resolver().resolve_attribute(attribute.key);
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        let key = (namespace(found)?, name.as_ref().to_owned());
        if attributes.insert(key, value.into_owned()).is_some() {
            return Err("an attribute twice".to_owned());
        }
    }
    Ok(Element { namespace: found, name, attributes, children: Vec::new() })
}

/// Reads the content of a stream with rxml; an error when it does not hold whole elements.
fn read_with_rxml(content: &[u8]) -> Result<Vec<Element>, String> {
    let content = std::str::from_utf8(content).map_err(|error| error.to_string())?;
    Ok(Element::parse(&format!("<all>{content}</all>"))?.elements().cloned().collect())
}

/// One who sends what may be anything, and one who must not be fooled by it.
struct Pair<'a> {
    scene: &'a Scene,
    romeo: RawClient,
    juliet: RawClient,
}

impl Pair<'_> {
    async fn new(scene: &Scene) -> Pair<'_> {
        let juliet = scene.online("juliet/balcony").await;
        Pair { romeo: scene.session("romeo/orchard").await, juliet, scene }
    }

    /// Sends a payload inside a message; tells what Juliet has got of it, after the two other parsers have agreed on what
    /// came over her wire, and whether Romeo's stream has ended. Then he comes back.
    async fn send(&mut self, payload: &[u8]) -> (Vec<Element>, bool) {
        let whole = [self.begin().as_bytes(), payload, b"</message>"].concat();
        let before = self.juliet.heard().len();
        self.romeo.send_bytes(&whole).await;
        self.romeo.send_bytes("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        if read_with_rxml(&whole).is_err() {
            // It may have no end, and swallow the ping. This is wrong wherever it stands.
            self.romeo.send_bytes(b"\0").await;
        }
        // Whatever comes back, errors of stanzas too, ends with the answer or with the end of the stream.
        let refused = loop {
            let Some(answer) = self.romeo.receive_or_close().await else { break true };
            match (answer.name.as_str(), answer.attribute("id")) {
                ("iq", Some("alive")) => break false,
                ("error", _) => assert_eq!(answer.namespace, "http://etherx.jabber.org/streams", "{answer}"),
                _ => {}
            }
        };
        if refused {
            self.romeo = self.scene.session("romeo/orchard").await;
        }
        let received = self.juliet.drain().await;
        let heard = self.juliet.heard();
        // The last of them is the answer to the ping of `drain`.
        let wire = read_with_quick_xml(&heard[before..]).unwrap_or_else(|problem| panic!("{problem}: {heard}"));
        assert_eq!(wire[..wire.len() - 1], received, "two parsers read different things: {}", &heard[before..]);
        (received.into_iter().map(without_ids_of_the_server).collect(), refused)
    }

    fn begin(&self) -> String {
        format!("<message to='{}' type='chat'>", self.scene.jid("juliet/balcony"))
    }
}

/// What an archive adds is no part of what was sent.
fn without_ids_of_the_server(mut message: Element) -> Element {
    message.children.retain(|node| !matches!(node, Node::Element(child) if child.namespace == "urn:xmpp:sid:0"));
    message
}

/// What the receiver must get: what was sent, from whom it was sent.
fn as_received(sent: &Element, from: &str) -> Element {
    let mut received = sent.clone();
    received.attributes.insert((String::new(), "from".to_owned()), from.to_owned());
    received
}

const NAMESPACES: [&str; 7] =
    ["jabber:client", "jabber:server", "urn:x", "urn:xmpp:forward:0", "http://example.org/a?b=c", "", "urn:ü"];
const NAMES: [&str; 8] = ["a", "message", "body", "iq", "b-c", "_", "é", "forwarded"];
const PREFIXES: [&str; 4] = ["p", "q", "x1", "ns"];

/// A random element as a client might write it, with prefixes bound anywhere above their use.
fn random_element(dice: &mut Dice, prefixes: &[&'static str], depth: usize) -> String {
    let mut prefixes = prefixes.to_vec();
    let mut attributes = String::new();
    for prefix in PREFIXES {
        if dice.one_in(4) {
            // A prefix cannot be unbound (Namespaces in XML 1.0).
            let namespace = dice.of(&NAMESPACES[..5]);
            attributes.push_str(&format!(" xmlns:{prefix}={}", random_value(dice, namespace)));
            prefixes.push(prefix);
        }
    }
    if dice.one_in(3) {
        let namespace = dice.of(&NAMESPACES);
        attributes.push_str(&format!(" xmlns={}", random_value(dice, namespace)));
    }
    for number in 0..dice.below(4) {
        let value = random_text(dice);
        // One prefix at most: two may stand for one namespace, and then it would be the same attribute twice.
        let prefix = if number == 0 && !prefixes.is_empty() && dice.one_in(2) {
            format!("{}:", dice.of(&prefixes))
        } else {
            String::new()
        };
        attributes.push_str(&format!(
            "{}{prefix}a{number} = {}",
            dice.of(&[" ", "\n", "\t ", "\r\n"]),
            quoted(dice, &value)
        ));
    }
    let name = match dice.below(3) {
        0 if !prefixes.is_empty() => format!("{}:{}", dice.of(&prefixes), dice.of(&NAMES)),
        _ => dice.of(&NAMES).to_owned(),
    };
    let mut content = String::new();
    if depth > 0 {
        for _ in 0..dice.below(4) {
            content.push_str(&random_content(dice));
            content.push_str(&random_element(dice, &prefixes, depth - 1));
        }
    }
    content.push_str(&random_content(dice));
    match content.is_empty() && dice.one_in(2) {
        true => format!("<{name}{attributes}/>"),
        false => format!("<{name}{attributes}>{content}</{name} >"),
    }
}

/// Text in one of the ways it can be written: plain, escaped, as numbers, as CDATA. (There rxml leaves a carriage return as
/// it is, against XML 1.0 §2.11.)
fn random_content(dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => String::new(),
        1 => format!("<![CDATA[{}<a>&amp;]] >]]>", random_text(dice).replace(['\r', ']'], "")),
        2 => random_text(dice).chars().map(|sign| format!("&#{};", u32::from(sign))).collect(),
        3 => random_text(dice).chars().map(|sign| format!("&#x{:X};", u32::from(sign))).collect(),
        // Behind another text it could end in what text may not hold.
        _ => waxwing_testkit::escape(&random_text(dice)).replace(']', "&#93;"),
    }
}

fn random_text(dice: &mut Dice) -> String {
    const SIGNS: [char; 18] = [
        'a',
        ' ',
        '\'',
        '"',
        '<',
        '>',
        '&',
        ']',
        '\t',
        '\n',
        '\r',
        'ß',
        '\u{85}',
        '\u{2028}',
        '\u{FFFD}',
        '\u{FEFF}',
        '\u{1F99C}',
        '\u{10FFFD}',
    ];
    (0..dice.below(6)).map(|_| dice.of(&SIGNS)).collect()
}

/// A value in one kind of quotation marks or the other; what a namespace says must not be changed by the escapes.
fn quoted(dice: &mut Dice, value: &str) -> String {
    // rxml cannot read a carriage return in an attribute; a number can say it as well.
    let escaped = waxwing_testkit::escape(value).replace('\r', "&#13;");
    match dice.below(3) {
        0 => format!("'{escaped}'"),
        1 => format!("\"{escaped}\""),
        _ => format!("\"{}\"", value.chars().map(|sign| format!("&#{};", u32::from(sign))).collect::<String>()),
    }
}

fn random_value(dice: &mut Dice, namespace: &str) -> String {
    quoted(dice, namespace)
}

#[tokio::test]
async fn s07_whatever_is_well_formed_arrives_as_it_was_sent() {
    let scene = SERVER.scene().await;
    let mut pair = Pair::new(&scene).await;
    let mut dice = Dice::new(20_260_101);
    let mut arrived = 0;
    for _ in 0..400 {
        let payload = random_element(&mut dice, &[], 3);
        let whole = format!("<message to='{}' type='chat'>{payload}</message>", scene.jid("juliet/balcony"));
        let sent =
            Element::parse(&whole).unwrap_or_else(|problem| panic!("the test sends bad XML: {problem}: {whole}"));
        let (received, refused) = pair.send(payload.as_bytes()).await;
        if refused {
            // Stricter than XML: names of namespaces that are no URI, for instance.
            assert!(received.is_empty(), "{payload}");
            continue;
        }
        assert_eq!(received, [as_received(&sent, &scene.jid("romeo/orchard"))], "{payload}");
        arrived += 1;
    }
    assert!(arrived > 200, "only {arrived} of 400 arrived");
}

/// Pieces that have broken parsers.
const SHARDS: [&[u8]; 40] = [
    b"<",
    b">",
    b"&",
    b"'",
    b"\"",
    b"]]>",
    b"<![CDATA[",
    b"<![CDATA[]]]]><![CDATA[>]]>",
    b"&#0;",
    b"&#x0;",
    b"&#xFFFE;",
    b"&#xD800;",
    b"&#1114112;",
    b"&#x000000000041;",
    b"&lt",
    b"&unknown;",
    b"\0",
    b"\x0B",
    b"\x7F",
    b"\xC0\xBC",
    b"\xE2\x82",
    b"\xED\xA0\x80",
    b"\xF4\x90\x80\x80",
    b"\xFF",
    b"\xEF\xBF\xBE",
    b"<a/>",
    b"<a>",
    b"</a>",
    b"</message>",
    b"</message><message to='{juliet}' from='nurse@capulet.lit'>",
    b"</stream:stream>",
    b"</stream:stream><stream:stream>",
    b"<stream:stream>",
    b"<?xml version='1.0'?>",
    b"<!-- -->",
    b" xmlns=''",
    b" xmlns:stream='urn:x'",
    b" xmlns:a='jabber:client'",
    b"<a xmlns:xmlns='urn:x'/>",
    b"<a xmlns='urn:a&#10;b'/>",
];

/// Payloads that are changed here and there.
const GOOD: [&str; 6] = [
    "<body>Wherefore art thou?</body>",
    "<body a='1' b=\"2\">&lt;x&gt;<![CDATA[<y>]]></body><active xmlns='http://jabber.org/protocol/chatstates'/>",
    "<p:a xmlns:p='urn:p' p:b='1' b='2'><p:c/><c xmlns='urn:c'>text</c></p:a>",
    "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='a@b'><body>in</body></message></forwarded>",
    "<a><b><c><d/></c></b></a>",
    "<body>\u{1F99C} &#x1F99C; \u{FFFD}</body>",
];

fn mutated(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.of(&GOOD).as_bytes().to_vec();
    for _ in 0..1 + dice.below(2) {
        let place = dice.below(bytes.len() + 1);
        match dice.below(6) {
            0 => {
                bytes.splice(place..place, dice.of(&SHARDS).iter().copied());
            }
            1 if place < bytes.len() => bytes[place] = dice.number() as u8,
            2 if place < bytes.len() => drop(bytes.remove(place)),
            3 => {
                let end = (place + dice.below(20)).min(bytes.len());
                let piece = bytes[place..end].to_vec();
                bytes.splice(place..place, piece);
            }
            4 if place < bytes.len() => bytes[place] ^= 1 << dice.below(8),
            // A letter for a letter, so that some of it stays XML.
            5 if place < bytes.len() && bytes[place].is_ascii_alphanumeric() => bytes[place] = b'z',
            _ => {}
        }
    }
    bytes
}

#[tokio::test]
async fn s07_what_is_damaged_is_refused_or_read_by_everyone_alike() {
    let scene = SERVER.scene().await;
    let mut pair = Pair::new(&scene).await;
    let mut dice = Dice::new(20_260_102);
    let (mut refusals, mut arrivals) = (0, 0);
    for _ in 0..300 {
        let payload = mutated(&mut dice);
        let shown = String::from_utf8_lossy(&payload).into_owned();
        let sent = read_with_rxml(&[pair.begin().as_bytes(), &payload, b"</message>"].concat());
        let (received, refused) = pair.send(&payload).await;
        refusals += usize::from(refused);
        arrivals += received.len();
        let true_sender = |message: &Element| message.attribute("from") == Some(&scene.jid("romeo/orchard"));
        assert!(received.iter().all(true_sender), "{shown}");
        match sent {
            Ok(sent) if !refused => {
                let to_juliet = |message: &&Element| message.attribute("to") == Some(&scene.jid("juliet/balcony"));
                let expected: Vec<Element> = sent
                    .iter()
                    .filter(to_juliet)
                    .map(|message| as_received(message, &scene.jid("romeo/orchard")))
                    .collect();
                assert_eq!(received, expected, "{shown}");
            }
            // Stricter than rxml, or the end of what was read before.
            Ok(sent) => assert!(received.len() <= sent.len(), "{shown}"),
            Err(problem) => assert!(refused, "rxml says {problem}, and the server has taken it: {shown}"),
        }
    }
    assert!(refusals > 40 && arrivals > 40, "{refusals} refusals and {arrivals} arrivals: the dice are too much alike");
}

#[tokio::test]
async fn s07_smuggling_is_refused() {
    let scene = SERVER.scene().await;
    let mut pair = Pair::new(&scene).await;
    let smuggled: [&[u8]; 25] = [
        // Text that is not UTF-8, in every place.
        b"<body>\xC0\xBC/body></body>",
        b"<body>\xE0\x80\xBC</body>",
        b"<body>\xE2\x82</body>",
        b"<body a='\xC0\xA7'/>",
        b"<b\xC0\xAF/>",
        b"<a xmlns='urn:\xFF'/>",
        b"<body>\0</body>",
        b"<body a='\0'/>",
        b"<a\0/>",
        // Names of namespaces that hold what another parser may put between a namespace and a name.
        b"<a xmlns='urn:a&#10;b'/>",
        b"<a xmlns='urn:a\nb'/>",
        b"<a xmlns='urn:a b'/>",
        b"<a xmlns='urn:a}b'/>",
        b"<a xmlns='urn:a|b'/>",
        b"<p:a xmlns:p='urn:a&#9;b'/>",
        // Prefixes that are not for clients to bind.
        b"<a xmlns:xmlns='urn:x'/>",
        b"<a xmlns:xml='urn:x'/>",
        b"<a xmlns:stream='urn:x'/>",
        b"<a xmlns:b='http://www.w3.org/XML/1998/namespace'/>",
        // The stream inside the stanza.
        b"</stream:stream><stream:stream>",
        b"<stream:stream/>",
        b"<stream:error/>",
        b"</message></stream:stream><stream:stream to='capulet.lit'><message>",
        // What never becomes whole.
        b"<a><![CDATA[</a>",
        b"<a b='</a>",
    ];
    for payload in smuggled {
        let shown = String::from_utf8_lossy(payload).into_owned();
        let (received, refused) = pair.send(payload).await;
        // What stood complete before a closing tag of the stream was a stanza like any other.
        let harmless = payload.starts_with(b"</message>") && received.len() == 1;
        assert!(refused && (received.is_empty() || harmless), "{shown}: {received:?}");
    }
}

#[tokio::test]
async fn s07_what_leaves_is_in_one_form() {
    let scene = SERVER.scene().await;
    let mut pair = Pair::new(&scene).await;
    let before = pair.juliet.heard().len();
    let payload = "<x:a xmlns:x='urn:&#120;' ><![CDATA[<b>]]>&#x41;<x:c   /></x:a\t>";
    let (received, refused) = pair.send(payload.as_bytes()).await;
    assert!(!refused && received.len() == 1, "{received:?}");
    let wire = pair.juliet.heard()[before..].to_owned();
    // No CDATA, no prefix that the receiver would have to look up, no name of a namespace in disguise.
    for form in ["CDATA", "x:a", "x:c", "&#120;", "<b"] {
        assert!(!wire.contains(form), "{form} went through: {wire}");
    }
}
