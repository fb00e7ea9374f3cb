//! The rows of the conformance and security checklists which the scanner carries, and its promises to its callers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use waxwing_xml::{Element, Header, Limits, STREAMS, Scanner, Token, XmlError};

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='im.example.com' from='juliet@im.example.com' version='1.0' xml:lang='en'>";

/// A scanner inside an open stream of clients.
fn open(limits: Limits) -> Scanner {
    open_with(limits, HEADER)
}

fn open_with(limits: Limits, header: &str) -> Scanner {
    let mut scanner = Scanner::new(limits);
    let step = scanner.next(header.as_bytes()).expect("a good header");
    assert_eq!(step.consumed, header.len());
    assert!(matches!(step.token, Some(Token::Header(_))));
    scanner
}

fn header(bytes: &str) -> Header {
    match Scanner::new(Limits::BEFORE_AUTHENTICATION).next(bytes.as_bytes()).expect("a header").token {
        Some(Token::Header(header)) => header,
        other => panic!("not a header: {other:?}"),
    }
}

/// Why a stream that begins with these bytes is refused; `None` if it is not.
fn beginning_error(bytes: &[u8]) -> Option<XmlError> {
    Scanner::new(Limits::AFTER_AUTHENTICATION).next(bytes).err()
}

/// Why these bytes are refused inside a stream of clients. No element may come before the error.
fn error(bytes: impl AsRef<[u8]>) -> Option<XmlError> {
    error_within(Limits::AFTER_AUTHENTICATION, bytes)
}

fn error_within(limits: Limits, bytes: impl AsRef<[u8]>) -> Option<XmlError> {
    let mut scanner = open(Limits::AFTER_AUTHENTICATION);
    scanner.set_limits(limits);
    match scanner.next(bytes.as_ref()) {
        Err(error) => Some(error),
        Ok(step) => {
            assert!(step.token.is_none() || step.consumed == bytes.as_ref().len(), "a part was accepted");
            None
        }
    }
}

/// The one element in these bytes.
fn element(bytes: &str) -> Element {
    element_in(HEADER, bytes)
}

fn element_in(header: &str, bytes: &str) -> Element {
    let step = open_with(Limits::AFTER_AUTHENTICATION, header).next(bytes.as_bytes()).expect("a good element");
    assert_eq!(step.consumed, bytes.len());
    match step.token {
        Some(Token::Element(element)) => element,
        other => panic!("not an element: {other:?}"),
    }
}

fn canonical_in(header: &str, bytes: &str) -> String {
    String::from_utf8(element_in(header, bytes).as_bytes().to_vec()).expect("validated")
}

fn assert_not_well_formed(cases: &[&[u8]]) {
    for case in cases {
        let found = error(case);
        assert!(matches!(found, Some(XmlError::NotWellFormed(_))), "{:?} gives {found:?}", case.escape_ascii());
    }
}

#[test]
fn c04_c05_c06_the_header_is_reported_as_it_is() {
    let good = header(HEADER);
    assert_eq!((good.name(), good.namespace(), good.prefix()), ("stream", STREAMS, Some("stream")));
    assert_eq!(good.default_namespace(), "jabber:client");
    assert_eq!(good.attribute("to").as_deref(), Some("im.example.com"));
    assert_eq!(good.attribute("version").as_deref(), Some("1.0"));
    assert_eq!(good.attribute("id"), None);
    assert_eq!(good.lang().as_deref(), Some("en"));

    assert_eq!(header("<stream:stream xmlns:stream='http://wrong/'>").namespace(), "http://wrong/");
    let foreign = header("<s:stream xmlns='jabber:foo' xmlns:s='http://etherx.jabber.org/streams' to='a&amp;b'>");
    assert_eq!(foreign.default_namespace(), "jabber:foo");
    assert_eq!(foreign.prefix(), Some("s"));
    assert_eq!(foreign.attribute("to").as_deref(), Some("a&b"));
    let bare = header("<?xml version='1.0'?>\n<stream xmlns='http://etherx.jabber.org/streams'>");
    assert_eq!((bare.prefix(), bare.namespace(), bare.default_namespace()), (None, STREAMS, STREAMS));
}

#[test]
fn c12_comments_instructions_doctypes_and_entities_are_restricted() {
    for case in ["<!-- -->", "<?pi?>", "<!DOCTYPE a>", "<!ENTITY a 'b'>", "<?xml version='1.0'?>"] {
        for case in [case.to_owned(), format!("<message>{case}"), format!("<message><body>x{case}")] {
            assert!(matches!(error(&case), Some(XmlError::Restricted(_))), "{case}");
        }
        let first = beginning_error(case.as_bytes());
        assert_eq!(matches!(first, Some(XmlError::Restricted(_))), !case.starts_with("<?xml"), "{case}: {first:?}");
    }
    for case in ["<message>&foo;", "<message a='&foo;'", "<message>&nbsp;"] {
        assert!(matches!(error(case), Some(XmlError::Restricted(_))), "{case}");
    }
}

#[test]
fn c12_what_is_restricted_is_seen_at_its_first_bytes() {
    for case in ["<?", "<!D", "<!-", "<message><?", "<message><!-"] {
        assert!(matches!(error(case), Some(XmlError::Restricted(_))), "{case}");
    }
}

#[test]
fn c13_cdata_references_and_keepalives_are_accepted() {
    let message = element("<message><body><![CDATA[<b> & ]] >]]>&amp;&#x41;&#66;</body></message>");
    assert_eq!(message.child("jabber:client", "body").expect("a body").text(), "<b> & ]] >&AB");
    assert_eq!(
        message.as_bytes(),
        "<message><body>&lt;b&gt; &amp; ]] &gt;&amp;&#x41;&#66;</body></message>",
        "sections are written as text"
    );
    let mut scanner = open(Limits::AFTER_AUTHENTICATION);
    for space in [" ", "\n", "\t", "\r\n", "    "] {
        let step = scanner.next(space.as_bytes()).expect("white space");
        assert_eq!((step.consumed, step.token.is_none()), (space.len(), true));
    }
}

#[test]
fn c13_a_section_does_not_join_the_text_around_it() {
    let body = |inside: &str| {
        let message = element(&format!("<message><body>{inside}</body></message>"));
        let text = message.child("jabber:client", "body").expect("a body").text().into_owned();
        let again = Element::parse(message.as_bytes().clone(), "jabber:client", &Limits::AFTER_AUTHENTICATION);
        assert_eq!(again.expect("canonical"), message);
        text
    };
    assert_eq!(body("]]<![CDATA[>]]>"), "]]>");
    assert_eq!(body("<![CDATA[]]]]>>"), "]]>");
    assert_eq!(body("a\r<![CDATA[\nb\r]]>\nc"), "a\n\nb\n\nc");
}

#[test]
fn c14_what_is_not_well_formed_is_refused() {
    assert_not_well_formed(&[
        &b"<message><a></b></message>"[..],
        b"<message></messages>",
        b"</message>",
        b"<message a='1' a='2'/>",
        b"<message xmlns='jabber:client' xmlns='jabber:client'/>",
        b"<message xmlns:p='urn:x' xmlns:q='urn:x' p:a='1' q:a='2'/>",
        b"<p:message/>",
        b"<message p:a='1'/>",
        b"<message>\x01",
        b"<message a='\x1F",
        b"<message>&#0;",
        b"<message>&#x1;",
        b"<message>&#xD800;",
        b"<message>&#xFFFF;",
        b"<message>&#x110000;",
        b"<message>]]>",
        b"<message a='<",
    ]);
    assert_eq!(error("<message>&"), None, "an ampersand may still become a reference");
    assert_not_well_formed(&[
        &b"<message>& "[..],
        b"<message>&;",
        b"<message>&#;",
        b"<message>&#X41;",
        b"< message/>",
        b"<1/>",
        b"<-/>",
        b"<:a/>",
        b"<a:/>",
        b"<a:1 xmlns:a='urn:a'/>",
        b"<a:b:c/>",
        b"<message a/>",
        b"<message a=1/>",
        b"<message a='1'b='2'/>",
        b"<message a='1\"/></message>'b",
        b"<message / >",
        b"<message></message a='1'>",
        b"<message></ message>",
        b"<message><![cdata[",
        b"<message xmlns:p=''/>",
        b"text",
        b"<![CDATA[text]]>",
        b"&#32;",
        b"\0",
        b"<a xml:b='1' xml:b='2'/>",
        b"<xml:a/>",
        // Names of the fifth edition which parsers of the fourth reject, with the recipient's stream as the price.
        "<a\u{1F600}/>".as_bytes(),
        "<\u{B7}a/>".as_bytes(),
        "<message ſ='1'/>".as_bytes(),
        "<a\u{300}/>".as_bytes(),
        b"<xmlns:a/>",
    ]);
}

#[test]
fn c15_what_is_not_utf8_is_refused() {
    let cases: [&[u8]; 10] = [
        b"\xC0\xAF",
        b"\xC1\xBF",
        b"\xE0\x80\xAF",
        b"\xED\xA0\x80",
        b"\xF0\x80\x80\xAF",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\x80",
        b"\xE2\x82<",
        b"\xFF",
    ];
    for case in cases {
        let places: [(&[u8], &[u8]); 6] = [
            (b"<message>", b"</message>"),
            (b"<message><body>\xC3\xA9", b"</body></message>"),
            (b"<message a='", b"'/>"),
            (b"<a", b"/>"),
            (b"<a b", b"='c'/>"),
            (b"<message><![CDATA[", b"]]></message>"),
        ];
        for (before, after) in places {
            assert_not_well_formed(&[&[before, case, after].concat()]);
        }
    }
    assert_eq!(beginning_error(b"<?xml version='1.0' encoding='UTF-16'?>"), Some(XmlError::UnsupportedEncoding));
    assert_eq!(beginning_error(b"\xFE\xFF\x00<"), Some(XmlError::UnsupportedEncoding));
    assert_eq!(beginning_error(b"\x00<\x00?"), Some(XmlError::UnsupportedEncoding));
    assert_eq!(beginning_error(format!("<?xml version='1.0' encoding='uTf-8'?>{HEADER}").as_bytes()), None);
}

#[test]
fn c16_a_byte_order_mark_is_refused() {
    let marked = format!("\u{FEFF}<?xml version='1.0'?>{HEADER}");
    assert!(matches!(beginning_error(marked.as_bytes()), Some(XmlError::NotWellFormed(_))));
    assert_not_well_formed(&["\u{FEFF}<message/>".as_bytes()]);
}

#[test]
fn c17_declarations_other_than_the_usual_are_refused() {
    let not_alone = b"<?xml version='1.0' encoding='UTF-8' standalone='no'?>";
    assert!(matches!(beginning_error(not_alone), Some(XmlError::Restricted(_))));
    for case in
        ["<?xml version='1.1'?>", " <?xml version='1.0'?>", "\n<?xml version='1.0'?>", "<?xml encoding='UTF-8'?>"]
    {
        assert!(matches!(beginning_error(case.as_bytes()), Some(XmlError::NotWellFormed(_))), "{case}");
    }
    let twice = format!("<?xml version='1.0'?><?xml version='1.0'?>{HEADER}");
    assert!(matches!(beginning_error(twice.as_bytes()), Some(XmlError::NotWellFormed(_))));
}

#[test]
fn c18_elements_of_any_namespace_are_reported() {
    assert_eq!(element("<foo xmlns='urn:x'/>").namespace(), "urn:x");
    let pubsub = element("<pubsub xmlns='jabber:client' to='a@b'/>");
    assert_eq!((pubsub.namespace(), pubsub.name()), ("jabber:client", "pubsub"));
}

#[test]
fn c19_a_stanza_with_a_prefix_is_refused() {
    let cases = ["<f:message xmlns:f='jabber:client'/>", "<f:iq xmlns:f='jabber&#58;client' type='get'/>"];
    for case in cases {
        assert!(matches!(error(case), Some(XmlError::BadNamespacePrefix(_))), "{case}");
    }
    let with_prefix = HEADER.replace("to=", "xmlns:c='jabber:client' to=");
    let refused = open_with(Limits::AFTER_AUTHENTICATION, &with_prefix).next(b"<c:message/>");
    assert!(matches!(refused, Err(XmlError::BadNamespacePrefix(_))));
    // Further inside it is only unusual, and leaves without the prefix.
    assert_eq!(
        canonical_in(HEADER, "<message><f:body xmlns:f='jabber:client'>x</f:body></message>"),
        "<message><body xmlns:f='jabber:client'>x</body></message>"
    );
}

#[test]
fn c20_prefixes_of_the_header_do_not_leave_the_stream() {
    let header = HEADER.replace("to=", "xmlns:p='urn:p' to=");
    assert_eq!(
        canonical_in(&header, "<message p:a='1'><p:x><y/><p:z p:b='2'/></p:x></message>"),
        "<message p:a='1' xmlns:p='urn:p'><x xmlns='urn:p'><y xmlns='jabber:client'/><z p:b='2' xmlns:p='urn:p'/></x>\
         </message>"
    );
    assert_eq!(
        canonical_in(&header, "<stream:features><sub xmlns='urn:s'/><bare/></stream:features>"),
        "<features xmlns='http://etherx.jabber.org/streams'><sub xmlns='urn:s'/><bare xmlns='jabber:client'/>\
         </features>"
    );
    assert_eq!(
        canonical_in(&header, "<message xmlns:q='urn:q'><q:x/><y xmlns='urn:y' q:a='1'/></message>"),
        "<message xmlns:q='urn:q'><x xmlns='urn:q'/><y xmlns='urn:y' q:a='1' xmlns:q='urn:q'/></message>"
    );
}

#[test]
fn c20_a_declaration_is_written_once_and_without_references() {
    let header = HEADER.replace("to=", "xmlns:p='urn:p' to=");
    assert_eq!(
        canonical_in(&header, "<message p:a='1' p:b='2'><x xmlns='urn&#58;x' xmlns:q='urn:&#x71;' q:a='1'/></message>"),
        "<message p:a='1' p:b='2' xmlns:p='urn:p'><x xmlns='urn:x' xmlns:q='urn:q' q:a='1'/></message>"
    );
    assert_eq!(
        canonical_in(HEADER, "<message><x xmlns='urn:x' xmlns:q='urn:&#x71;'/></message>"),
        "<message><x xmlns='urn:x' xmlns:q='urn:q'/></message>"
    );
}

#[test]
fn c20_a_child_stands_on_its_own_whatever_its_parents_declared() {
    let message =
        element("<message xmlns:p='urn:p'><p:a><p:b c='1'>t</p:b></p:a><d xmlns='urn:d'><e><f/></e></d></message>");
    let children: Vec<_> = message.children().map(|child| child.to_element()).collect();
    assert_eq!(children[0].as_bytes(), "<a xmlns='urn:p'><b c='1'>t</b></a>");
    let e = children[1].child("urn:d", "e").expect("the namespace is inherited").to_element();
    assert_eq!((e.as_bytes(), e.namespace()), (&Bytes::from("<e><f/></e>"), "urn:d"));
    assert!(e.child("urn:d", "f").is_some());
}

#[test]
fn c21_content_takes_its_namespace_from_the_stream_it_is_written_to() {
    let message = element(
        "<message xmlns='jabber:client'><body xmlns='jabber:client'>x</body><error><a xmlns='urn:a'>\
         <text xmlns='jabber:client'/></a></error></message>",
    );
    assert_eq!(message.content(), "<body>x</body><error><a xmlns='urn:a'><text xmlns='jabber:client'/></a></error>");
    assert!(message.child("jabber:client", "body").is_some_and(|body| !body.declares_namespace()));
    let forwarded = element(
        "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body></message>\
         </forwarded></message>",
    );
    let inner = forwarded.child("urn:xmpp:forward:0", "forwarded").expect("forwarded");
    assert!(inner.child("jabber:client", "message").is_some_and(|message| message.declares_namespace()));
}

#[test]
fn c22_limits_hold_while_the_bytes_arrive() {
    let limits = Limits { bytes: 100, depth: 3, elements: 4, attributes: 2, name_bytes: 10, namespaces: 2 };
    let too_big = |bytes: String| {
        let found = error_within(limits, &bytes);
        assert!(matches!(found, Some(XmlError::TooBig(_))), "{bytes}: {found:?}");
    };
    let fits = |bytes: String| assert_eq!(error_within(limits, &bytes), None, "{bytes}");
    fits(format!("<a>{}</a>", "x".repeat(93)));
    too_big(format!("<a>{}</a>", "x".repeat(94)));
    too_big(format!("<a>{}", "x".repeat(98)));
    too_big(format!("<a b='{}", "x".repeat(98)));
    fits("<a><a><a/></a></a>".into());
    too_big("<a><a><a><a>".into());
    fits("<a><b/><b/><b/></a>".into());
    too_big("<a><b/><b/><b/><b".to_owned() + ">");
    fits("<a b='' c=''/>".into());
    too_big("<a b='' c='' d=''".into());
    fits("<a234567890 b234567890=''/>".into());
    too_big("<a2345678901".into());
    too_big("<a b2345678901".into());
    too_big("<a></a2345678901".into());
    fits("<a xmlns:b='urn:567890'/>".into());
    too_big("<a xmlns:b='urn:5678901'/>".into());
    fits("<a xmlns:b='urn:1'><b xmlns:c='urn:1'/><b xmlns:c='urn:1'/></a>".into());
    too_big("<a xmlns:b='urn:1' xmlns:c='urn:1'><b xmlns:c='urn:1'/></a>".into());

    let body = "x".repeat(10_000);
    let stanza = format!("<message><body>{body}</body></message>");
    assert_eq!(element(&stanza).as_bytes(), stanza.as_str());
    assert!(matches!(error_within(Limits::BEFORE_AUTHENTICATION, &stanza), Some(XmlError::TooBig(_))));
}

#[test]
fn c22_limits_hold_for_what_stands_alone() {
    let limits = Limits { bytes: 20, ..Limits::AFTER_AUTHENTICATION };
    let parse = |bytes: &'static str| Element::parse(Bytes::from(bytes), "jabber:client", &limits).err();
    assert_eq!(parse("<a>1234567890123</a>"), None);
    assert!(matches!(parse("<a>12345678901234</a>"), Some(XmlError::TooBig(_))));
}

#[test]
fn c22_limits_change_with_authentication() {
    let stanza = format!("<message><body>{}</body></message>", "x".repeat(10_000));
    let mut scanner = open(Limits::BEFORE_AUTHENTICATION);
    scanner.set_limits(Limits::AFTER_AUTHENTICATION);
    assert!(matches!(scanner.next(stanza.as_bytes()).expect("fits now").token, Some(Token::Element(_))));
}

#[test]
fn c22_the_canonical_form_is_limited_too() {
    let header = HEADER.replace("to=", &format!("xmlns:p='urn:{}' to=", "x".repeat(1000)));
    let stanza = format!("<message>{}</message>", "<p:a/><b/>".repeat(2000));
    let refused = open_with(Limits::AFTER_AUTHENTICATION, &header).next(stanza.as_bytes());
    assert!(matches!(refused, Err(XmlError::TooBig(_))));
}

#[test]
fn c23_half_a_stanza_yields_nothing() {
    let stanza = "<message to='a@b'><body>Hi &amp; bye \u{1F600}</body><![CDATA[x]]></message>";
    for cut in 0..stanza.len() {
        let step = open(Limits::AFTER_AUTHENTICATION).next(&stanza.as_bytes()[..cut]).expect("nothing wrong yet");
        assert!(step.token.is_none() && step.consumed == 0, "after {cut} bytes");
    }
}

#[test]
fn s01_entities_are_refused_at_every_entrance() {
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><x>&b;</x>";
    assert!(matches!(beginning_error(bomb.as_bytes()), Some(XmlError::Restricted(_))));
    assert!(matches!(error(bomb), Some(XmlError::Restricted(_))));
    for bytes in [bomb, "<x>&b;</x>", "<x><!-- --></x>", "<x><?a?></x>"] {
        let parsed = Element::parse(Bytes::from(bytes), "jabber:client", &Limits::AFTER_AUTHENTICATION);
        assert!(matches!(parsed, Err(XmlError::Restricted(_))), "{bytes}");
    }
}

#[test]
fn s02_nothing_is_too_big_to_be_refused() {
    let before = Limits::BEFORE_AUTHENTICATION;
    let after = Limits::AFTER_AUTHENTICATION;
    let attributes: String = (0..1000).map(|number| format!(" a{number}=''")).collect();
    let cases = [
        (before, format!("<a>{}", "x".repeat(9 * 1024))),
        (before, "<a>".repeat(33)),
        (before, format!("<a>{}", "<b/>".repeat(32))),
        (before, format!("<a{attributes}/>")),
        (after, "<a>".repeat(10_000)),
        (after, format!("<a>{}", "<b/>".repeat(100_000))),
        (after, format!("<{}", "a".repeat(64 * 1024))),
    ];
    for (limits, bytes) in cases {
        let found = error_within(limits, &bytes);
        assert!(matches!(found, Some(XmlError::TooBig(_))), "{}...: {found:?}", &bytes[..40]);
    }
}

#[test]
fn s02_depth_costs_no_stack() {
    let limits = Limits { bytes: 1 << 30, depth: 1 << 20, elements: 1 << 20, ..Limits::AFTER_AUTHENTICATION };
    let depth = 200_000;
    let bytes = Bytes::from(format!("{}<![CDATA[x]]>{}", "<a>".repeat(depth), "</a>".repeat(depth)));
    let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        let element = Element::parse(bytes, "jabber:client", &limits).expect("within the limits");
        let mut child = element.children().next().expect("a child");
        for _ in 0..10 {
            assert_eq!(child.text(), "");
            child = child.children().next().expect("a grandchild");
        }
        child.to_element().content().len()
    });
    assert!(thread.expect("a thread").join().expect("no overflow") > 1_000_000);
}

#[test]
fn s02_many_attributes_are_compared_in_good_time() {
    let limits = Limits { bytes: 1 << 20, attributes: 1 << 16, ..Limits::AFTER_AUTHENTICATION };
    let prefixed: String = (0..40_000).map(|number| format!(" p:a{number}=''")).collect();
    let start = Instant::now();
    assert_eq!(error_within(limits, format!("<a xmlns:p='urn:p'{prefixed}/>")), None);
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    let repeated = format!("<a xmlns:p='urn:p' xmlns:q='urn:p'{prefixed} q:a0=''/>");
    assert_eq!(error_within(limits, repeated), Some(XmlError::NotWellFormed("an attribute twice")));
}

#[test]
fn s07_smuggling_is_refused() {
    // This one is only cut off: nothing comes of it, whatever follows.
    assert_eq!(error(b"<message>\xE2\x82"), None);
    assert_not_well_formed(&[
        &b"<message>\xC0\xBC</message>"[..],
        b"<message>\xE2\x82</message>",
        b"<message>\0</message>",
        b"<x xmlns='urn:a\nb'/>",
        b"<x xmlns='urn:a b'/>",
        b"<x xmlns='urn:a&#10;b'/>",
        b"<x xmlns='urn:a}b'/>",
        b"<x xmlns='urn:a|b'/>",
        b"<x xmlns='urn:a&apos;b'/>",
        b"<x xmlns='urn:a&amp;b'/>",
        b"<x xmlns='urn:a\xC2\xA0b'/>",
        b"<x xmlns:p='urn:a\tb'/>",
        b"<x xmlns:xmlns='urn:x'/>",
        b"<x xmlns:xml='urn:x'/>",
        b"<x xmlns='http://www.w3.org/XML/1998/namespace'/>",
        b"<x xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        b"<x xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        b"<message></stream:stream><stream:stream></message>",
        b"<message><a></stream:stream>",
        b"<stream:stream xmlns='jabber:client'>",
        b"<stream xmlns='http://etherx.jabber.org/streams'>",
    ]);
    for case in ["<message xmlns:stream='urn:x'/>", "<message><a xmlns:stream='jabber:client'/></message>"] {
        assert!(matches!(error(case), Some(XmlError::Restricted(_))), "{case}");
    }
    for case in
        ["<message><stream:stream>", "<message><stream:error/>", "<a><b xmlns='http://etherx.jabber.org/streams'/>"]
    {
        assert!(matches!(error(case), Some(XmlError::InvalidNamespace(_))), "{case}");
    }
}

#[test]
fn s07_what_stands_alone_stands_alone() {
    for bytes in ["", " <a/>", "<a/> ", "<a/><b/>", "<a>", "<?xml version='1.0'?><a/>", "</a>", "text", "<a/>\0"] {
        let parsed = Element::parse(Bytes::from(bytes), "jabber:client", &Limits::AFTER_AUTHENTICATION);
        assert!(parsed.is_err(), "{bytes:?}");
    }
}

#[test]
fn s07_after_an_error_nothing_is_read() {
    let mut scanner = open(Limits::AFTER_AUTHENTICATION);
    let refused = scanner.next(b"<a></b>").expect_err("mismatched");
    for bytes in [&b""[..], b"<message/>", b"</stream:stream>", HEADER.as_bytes()] {
        assert_eq!(scanner.next(bytes).err(), Some(refused));
    }
    scanner.restart();
    assert!(matches!(scanner.next(HEADER.as_bytes()).expect("a new stream").token, Some(Token::Header(_))));
}

/// 256 KiB in one attribute, one name, one text and one section, byte by byte. A scanner that begins anew with every
/// byte would look at 34 thousand million of them.
#[test]
fn s08_single_bytes_cost_as_much_as_one_piece() {
    let long = "x".repeat(256 * 1024);
    let limits = Limits { name_bytes: 300 * 1024, ..Limits::AFTER_AUTHENTICATION };
    let cases = [
        format!("<a b='{long}'/>"),
        format!("<a>{long}</a>"),
        format!("<a><![CDATA[{long}]]></a>"),
        format!("<a {} b=''/>", " ".repeat(256 * 1024)),
        format!("<a>{}</a>", "é&amp;".repeat(32 * 1024)),
    ];
    for bytes in cases {
        let mut scanner = open(limits);
        let start = Instant::now();
        for end in 1..bytes.len() {
            let step = scanner.next(&bytes.as_bytes()[..end]).expect("nothing wrong");
            assert!(step.consumed == 0 && step.token.is_none());
        }
        assert!(matches!(scanner.next(bytes.as_bytes()).expect("complete").token, Some(Token::Element(_))));
        // 50 ms is the bound in a release build on an idle machine; this one is neither.
        assert!(start.elapsed() < Duration::from_secs(1), "{}...: {:?}", &bytes[..20], start.elapsed());
    }
}

#[test]
fn the_usual_stanza_is_copied_once_and_shared_after() {
    let bytes = "<message to='juliet@capulet.example' type='chat' xml:lang='en'>\n<body>Hi &lt;3</body>and\
                 <active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    let message = element(bytes);
    assert_eq!(message.as_bytes(), bytes);
    assert_eq!(message.text(), "\nand");
    assert_eq!(message.lang().as_deref(), Some("en"));
    let attributes: Vec<_> = message.attributes().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(attributes, ["to=juliet@capulet.example", "type=chat", "xml:lang=en"]);
    let content = message.content();
    assert_eq!(content.as_ptr(), message.as_bytes()[content_start(bytes)..].as_ptr());
    for child in message.children() {
        assert_eq!(child.bytes(), &content[child.range()]);
        assert_eq!(child.to_element().as_bytes().as_ptr(), child.bytes().as_ptr());
    }
    assert_eq!(message.child("jabber:client", "body").expect("a body").text(), "Hi <3");
    assert!(message.child("jabber:client", "active").is_none());
}

fn content_start(bytes: &str) -> usize {
    bytes.find('>').expect("a start tag") + 1
}

#[test]
fn what_is_idle_is_small() {
    assert!(size_of::<Scanner>() <= 80, "{} bytes", size_of::<Scanner>());
    assert_eq!(size_of::<Element>(), size_of::<usize>());
}

#[test]
fn an_element_that_stands_alone_keeps_its_bytes() {
    let bytes = Bytes::from("<message xmlns='jabber:client' id='1'><body>x</body></message>");
    let message = Element::parse(bytes.clone(), "jabber:client", &Limits::AFTER_AUTHENTICATION).expect("good");
    assert_eq!(message.as_bytes().as_ptr(), bytes.as_ptr());
    assert!(message.declares_namespace());
    assert_eq!(message.attributes().count(), 1);
    assert_eq!(message.content(), "<body>x</body>");
    let empty = Element::parse(Bytes::from("<a/>"), "jabber:server", &Limits::AFTER_AUTHENTICATION).expect("good");
    assert_eq!((empty.namespace(), empty.content()), ("jabber:server", Bytes::new()));
}

#[test]
fn attributes_are_handed_on_as_they_stand() {
    let message = element("<message xmlns='jabber:client' xmlns:p='urn:p' p:a=\"'\" to = 'x&amp;y'/>");
    let raw: Vec<_> = message.raw_attributes().map(|(name, raw)| (name, std::str::from_utf8(raw).unwrap())).collect();
    assert_eq!(raw, [("xmlns:p", "xmlns:p='urn:p'"), ("p:a", "p:a=\"'\""), ("to", "to = 'x&amp;y'")]);
}

#[test]
fn a_stream_is_closed_once_and_restarted_at_will() {
    let mut scanner = open(Limits::AFTER_AUTHENTICATION);
    let bytes = "<a/>\n</stream:stream >";
    let step = scanner.next(bytes.as_bytes()).expect("an element");
    assert_eq!(step.consumed, 5, "the newline behind the element goes with it");
    let step = scanner.next(&bytes.as_bytes()[5..]).expect("the end");
    assert!(matches!(step.token, Some(Token::Close)));
    assert!(scanner.next(b" ").expect("white space").token.is_none());
    assert!(scanner.next(b"<a/>").is_err());
    scanner.restart();
    let mut whole = Scanner::new(Limits::AFTER_AUTHENTICATION);
    for scanner in [&mut scanner, &mut whole] {
        assert!(scanner.next(b"<").expect("too few bytes").token.is_none());
        let restarted = format!("<?xml version='1.0'?>\n{HEADER}");
        assert_eq!(scanner.next(restarted.as_bytes()).expect("a header").consumed, restarted.len());
    }
}

#[test]
fn the_end_of_the_root_must_be_its_own() {
    let mut scanner =
        open_with(Limits::AFTER_AUTHENTICATION, &HEADER.replace("stream:", "s:").replace(":stream=", ":s="));
    assert!(matches!(scanner.next(b"</s:stream>").expect("the end").token, Some(Token::Close)));
    assert!(matches!(error("</s:stream>"), Some(XmlError::NotWellFormed(_))));
    assert!(matches!(beginning_error(HEADER.replace('>', "/>").as_bytes()), Some(XmlError::NotWellFormed(_))));
}
