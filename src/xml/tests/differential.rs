//! The scanner against rxml: the corpus, documents made up by proptest, and broken variants of both.

mod oracle;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

/// Every file of the corpus, in pieces of several sizes.
#[test]
fn the_corpus_is_read_as_rxml_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("a corpus file").path();
        let bytes = std::fs::read(&path).expect("a readable corpus file");
        for cuts in [&[1_usize][..], &[2, 3], &[7], &[64, 1]] {
            oracle::check(&bytes, cuts);
        }
        oracle::check_alone(&bytes);
        files += 1;
    }
    assert!(files >= 40, "only {files} files in the corpus");
}

/// One of `usual` most of the time, now and then one of `odd`.
fn mostly(usual: Vec<&'static str>, odd: Vec<&'static str>) -> impl Strategy<Value = &'static str> {
    prop_oneof![40 => select(usual), 1 => select(odd)]
}

// What documents are made of: everything of which parsers are known to have different opinions.

fn name() -> impl Strategy<Value = &'static str> {
    mostly(
        vec!["message", "body", "x", "a", "é", "ns-1.2", "_", "ümlaut", "B"],
        vec!["stream", "xmlns", "xml", "\u{1F600}", "a\u{301}"],
    )
}

fn prefix() -> impl Strategy<Value = &'static str> {
    mostly(vec!["", "", "", "", "", "p:", "q:", "h:"], vec!["stream:", "xml:", "z:"])
}

fn namespace() -> impl Strategy<Value = &'static str> {
    mostly(
        vec!["jabber:client", "jabber:server", "urn:x", "urn:y", "jabber&#58;client", "urn:&#x78;"],
        vec![
            "",
            "urn:a b",
            "http://www.w3.org/XML/1998/namespace",
            "http://www.w3.org/2000/xmlns/",
            "http://etherx.jabber.org/streams",
        ],
    )
}

fn text() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "hello",
        " ",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "&amp;",
        "&lt;",
        "&gt;",
        "&quot;",
        "&apos;",
        "&#65;",
        "&#x10FFFF;",
        "&#13;",
        "&#10;",
        "]",
        "]]",
        ">",
        "é",
        "漢字",
        "\u{1F600}",
        "'",
        "\"",
        "<![CDATA[]]>",
        "<![CDATA[a<b>&c;]]]]>",
        "<![CDATA[]]]>",
        "<![CDATA[\r]]>",
        "<![CDATA[>]]>",
        "/",
    ]);
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        "1",
        " ",
        "\n",
        "\r\n",
        "\t",
        "&amp;",
        "&#9;",
        "&#10;",
        "&apos;",
        "&quot;",
        ">",
        "/>",
        "é",
        "]]>",
        "=",
        ":",
        "\u{1F600}",
    ]);
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn attribute() -> impl Strategy<Value = String> {
    let quote = select(vec!["'", "\""]);
    let equals = select(vec!["=", " = ", "=\n"]);
    let attribute_prefix = mostly(vec!["", "", "", "p:", "q:", "h:", "xml:"], vec!["stream:", "z:"]);
    let plain = (attribute_prefix, name(), equals, value(), quote)
        .prop_map(|(prefix, name, equals, value, quote)| format!("{prefix}{name}{equals}{quote}{value}{quote}"));
    let declared = mostly(
        vec!["xmlns", "xmlns", "xmlns:p", "xmlns:q", "xmlns:h"],
        vec!["xmlns:stream", "xmlns:xml", "xmlns:xmlns"],
    );
    let declaration = (declared, namespace()).prop_map(|(name, namespace)| format!("{name}='{namespace}'"));
    let nothing = Just("xmlns=''".to_owned());
    prop_oneof![12 => plain, 7 => declaration, 1 => nothing]
}

fn start_tag() -> impl Strategy<Value = (String, String)> {
    let space = select(vec![" ", " ", "\n", "\t \r\n"]);
    (prefix(), name(), prop::collection::vec((space, attribute()), 0..4)).prop_map(|(prefix, name, attributes)| {
        let name = format!("{prefix}{name}");
        let attributes: String =
            attributes.into_iter().map(|(space, attribute)| format!("{space}{attribute}")).collect();
        (format!("<{name}{attributes}"), name)
    })
}

fn element() -> impl Strategy<Value = String> {
    let leaf = start_tag().prop_map(|(tag, _)| format!("{tag}/>"));
    leaf.prop_recursive(4, 24, 4, |inner| {
        let content = prop_oneof![text(), inner];
        (start_tag(), prop::collection::vec(content, 0..4), select(vec!["", " ", "\n"]))
            .prop_map(|((tag, name), content, space)| format!("{tag}>{}</{name}{space}>", content.concat()))
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let declaration =
        select(vec!["", "", "<?xml version='1.0'?>", "<?xml version=\"1.0\" encoding='utf-8' standalone='yes'?>\n"]);
    let header = select(vec![
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='x.example' \
         version='1.0' xmlns:h='urn:h' xmlns:p='urn:x' xmlns:q='urn:x'>",
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:q='jabber:server' \
         xmlns:h='urn:h' xmlns:p='urn:x'>",
        "<s:stream xmlns:s=\"http://etherx.jabber.org/streams\" xmlns=\"jabber:server\" xmlns:h='jabber:server' \
         xmlns:p='urn:p' xmlns:q='urn:q' xml:lang='en'>",
        "<stream xmlns='http://etherx.jabber.org/streams' xmlns:p='urn:p' xmlns:q='urn:q' xmlns:h='urn:h'>",
        "<stream>",
    ]);
    let between = select(vec!["", "", " ", "\n", "\r\n"]);
    let end = select(vec!["", "</stream:stream>", "</s:stream>", "</stream>", "</stream:stream>x"]);
    (declaration, header, prop::collection::vec((element(), between), 0..4), end).prop_map(
        |(declaration, header, elements, end)| {
            let elements: String = elements.into_iter().map(|(element, space)| element + space).collect();
            format!("{declaration}{header}{elements}{end}").into_bytes()
        },
    )
}

/// An edit that turns a document into something nearly right.
fn edit() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    let bytes = select(vec![
        &b"<"[..],
        b">",
        b"&",
        b"'",
        b"\"",
        b"]]>",
        b"/",
        b"=",
        b" ",
        b":",
        b"<!--",
        b"<!DOCTYPE",
        b"<?",
        b"\0",
        b"\x01",
        b"\x7f",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\x80",
        b"\xef\xbf\xbe",
        b"\xef\xb7\xb0",
        b"&#0;",
        b"&x;",
        b"xmlns=''",
        b"\r",
        b"<![CDATA[",
        b"</",
        b"",
        b"",
    ]);
    (any::<prop::sample::Index>(), 0..3_usize, bytes.prop_map(<[u8]>::to_vec))
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..40_usize, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn made_up_streams_are_read_as_rxml_reads_them(stream in stream(), cuts in cuts()) {
        oracle::check(&stream, &cuts);
    }

    #[test]
    fn broken_streams_are_not_accepted_where_rxml_rejects(
        mut stream in stream(),
        edits in prop::collection::vec(edit(), 1..4),
        cuts in cuts(),
    ) {
        for (at, removed, inserted) in edits {
            let at = at.index(stream.len() + 1);
            let end = stream.len().min(at + removed);
            stream.splice(at..end, inserted);
        }
        oracle::check(&stream, &cuts);
    }

    #[test]
    fn made_up_elements_stand_alone(element in element()) {
        oracle::check_alone(element.as_bytes());
        let around = format!("<m xmlns:p='urn:x' xmlns:q='urn:y' xmlns:h='urn:x'>{element}</m>");
        oracle::check_alone(around.as_bytes());
    }

    #[test]
    fn whatever_is_written_can_be_read(value in "\\PC*|[\\x00-\\x7f]*", text in "\\PC*|[\\x00-\\x7f]*") {
        let mut writer = waxwing_xml::Writer::new();
        let bytes = writer.open("a").attribute("b", &value).open("c").text(&text).finish();
        let element = waxwing_xml::Element::parse(bytes, "", &oracle::LIMITS).expect("what we wrote is well-formed");
        let readable = |text: &str| text.replace(|c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r'), "\u{FFFD}");
        prop_assert_eq!(element.attribute("b").unwrap(), readable(&value));
        prop_assert_eq!(element.child("", "c").unwrap().text(), readable(&text));
    }
}
