//! XML as XMPP allows it (RFC 6120 §4.8, §11), before and after the login.

use waxwing_testkit::{RawClient, Scene, stream_header};

use crate::common::SERVER;

/// A client in each state a stream can be in: nobody knows it, encrypted, bound.
async fn clients(scene: &Scene) -> Vec<RawClient> {
    let mut plain = scene.connect().await;
    plain.open_stream(scene.host()).await;
    let mut encrypted = scene.connect_tls().await;
    encrypted.open_stream(scene.host()).await;
    vec![plain, encrypted, scene.session("romeo/orchard").await]
}

/// Sends something bad inside a message to Juliet, in every state; the stream ends and she hears nothing.
async fn refused(bad: impl AsRef<[u8]>, condition: &str) {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let to = scene.jid("juliet");
    for mut client in clients(&scene).await {
        let begin = format!("<message to='{to}' type='chat'><body>before</body>");
        let message = [begin.as_bytes(), bad.as_ref(), b"<body>behind</body></message>"].concat();
        client.send_bytes(message).await;
        client.expect_stream_error(condition).await;
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c12_comments_are_refused() {
    refused("<!-- a comment -->", "restricted-xml").await;
}

#[tokio::test]
async fn c12_processing_instructions_are_refused() {
    refused("<?php echo 1 ?>", "restricted-xml").await;
}

#[tokio::test]
async fn c12_document_types_are_refused() {
    refused("<!DOCTYPE a [<!ENTITY b 'c'>]>", "restricted-xml").await;
    let scene = SERVER.scene().await;
    let mut client = scene.connect().await;
    client.begin_stream("<?xml version='1.0'?><!DOCTYPE stream [<!ENTITY a 'b'>]>").await;
    client.expect_stream_error("restricted-xml").await;
}

#[tokio::test]
async fn c12_undefined_entities_are_refused() {
    refused("<x>&foo;</x>", "restricted-xml|not-well-formed").await;
    refused("<x a='&foo;'/>", "restricted-xml|not-well-formed").await;
}

#[tokio::test]
async fn c13_what_xml_allows_passes() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    romeo
        .send(
            "  \n\t <message to='{juliet}' type='chat'><body a='&#9;&lt;&#x26;'><![CDATA[<a> & ]] ]]>&amp;&#x41;&#66;\
             &lt;&gt;&apos;&quot;\u{1F99C}&#x1F99C;</body><empty xmlns='urn:x'></empty></message> ",
        )
        .await;
    romeo.barrier().await;
    let message = juliet
        .expect(
            "<message from='{romeo/orchard}' to='{juliet}' type='chat'><body a='&#9;&lt;&amp;'>&lt;a&gt; &amp; ]] &amp;AB\
             &lt;&gt;&apos;&quot;\u{1F99C}\u{1F99C}</body><empty xmlns='urn:x'/>{stanza-id}</message>",
        )
        .await;
    assert_eq!(message.text_of("body").as_deref(), Some("<a> & ]] &AB<>'\"\u{1F99C}\u{1F99C}"));
    let heard = juliet.heard();
    assert!(!heard.contains("CDATA"), "CDATA is written as text: {heard}");
}

#[tokio::test]
async fn c13_entities_and_whitespace_are_fine_before_the_login() {
    let scene = SERVER.scene().await;
    scene.account("romeo").await;
    let mut client = scene.connect_tls().await;
    client
        .begin_stream(
            "<?xml version='1.0' encoding='utf-8'?>\n  <stream:stream\n xmlns='jabber:client' \
         xmlns:stream='&#x68;ttp://etherx.jabber.org/streams' to=\"{host}\"\tversion = '1.0' > \r\n ",
        )
        .await;
    client.expect_header().await;
    client.expect_features().await;
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='&#x46;OO'><![CDATA[=]]></auth>").await;
    client.expect_sasl_failure("invalid-mechanism").await;
}

#[tokio::test]
async fn c14_what_is_not_well_formed_is_refused() {
    for bad in [
        "<a></b>",
        "<a><b></a></b>",
        "</c>",
        "<a b='1' b='2'/>",
        "<a xmlns:x='urn:z' xmlns:y='urn:z' x:b='1' y:b='2'/>",
        "<x:a/>",
        "<a x:b='1'/>",
        "\u{1}",
        "<a b='\u{1}'/>",
        "&#0;",
        "&#xB;",
        "&#xD800;",
        "\u{fffe}",
        "]]>",
        "<a b='<'/>",
        "<a b=1/>",
        "<a b/>",
        "<a b='1'c='2'/>",
        "< a/>",
        "<a / >",
        "&",
        "&amp",
        "<1/>",
        "<a:b:c xmlns:a='urn:a'/>",
        "<xmlns:a/>",
        "<a xmlns:b=''/>",
        "<a xmlns:xmlns='urn:x'/>",
        "<a xmlns:xml='urn:x'/>",
    ] {
        refused(bad, "not-well-formed").await;
    }
}

#[tokio::test]
async fn c15_other_encodings_are_refused() {
    let scene = SERVER.scene().await;
    for encoding in ["UTF-16", "ISO-8859-1", "US-ASCII"] {
        let mut client = scene.connect().await;
        let declaration = format!("<?xml version='1.0' encoding='{encoding}'?>");
        let header = stream_header(&format!("to='{}' version='1.0'", scene.host()));
        client.begin_stream(header.replace("<?xml version='1.0'?>", &declaration)).await;
        client.expect_stream_error("unsupported-encoding").await;
    }
    let mut client = scene.connect().await;
    client.send_bytes(b"\xff\xfe<\0?\0x\0m\0l\0").await;
    client.expect_stream_error("unsupported-encoding|not-well-formed").await;
}

#[tokio::test]
async fn c15_bytes_that_are_not_utf8_are_refused() {
    let bad: [&[u8]; 8] = [
        b"\xC0\xAF",
        b"\xED\xA0\x80",
        b"\xF5\x80\x80\x80",
        b"\x80",
        b"\xE2\x82",
        b"\xF0\x80\x80\x80",
        b"\xF4\x90\x80\x80",
        b"<a b='\xFF'/>",
    ];
    for bytes in bad {
        refused(bytes, "unsupported-encoding|not-well-formed|bad-format").await;
    }
}

#[tokio::test]
async fn c16_a_byte_order_mark_is_no_part_of_a_stream() {
    let scene = SERVER.scene().await;
    let header = stream_header(&format!("to='{}' version='1.0'", scene.host()));
    let mut client = scene.connect().await;
    client.begin_stream(format!("\u{feff}{header}")).await;
    client.expect_stream_error("not-well-formed").await;
    assert!(client.heard().starts_with('<'), "we never send one");
    // Inside a text it is a letter like any other.
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send("<message to='{juliet}'><body>\u{feff}</body></message>").await;
    juliet.expect("<message from='{romeo/orchard}' to='{juliet}'><body>\u{feff}</body>{stanza-id}</message>").await;
}

#[tokio::test]
async fn c17_xml_declarations_are_what_they_must_be() {
    let scene = SERVER.scene().await;
    let header = stream_header(&format!("to='{}' version='1.0'", scene.host()));
    let rest = header.strip_prefix("<?xml version='1.0'?>").expect("the kit writes a declaration");
    for declaration in ["", "<?xml version='1.0'?>\n", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"] {
        let mut client = scene.connect().await;
        client.begin_stream(format!("{declaration}{rest}")).await;
        client.expect_header().await;
        client.expect_features().await;
    }
    let mut client = scene.connect().await;
    client.begin_stream(format!("<?xml version='1.0' standalone='no'?>{rest}")).await;
    client.expect_header().await;
    let answer = client.receive().await;
    let refused = answer.child("restricted-xml").is_some();
    assert!(answer.name == "features" || refused, "ignored, or refused for the right reason: {answer}");
    for bad in [
        "<?xml version='1.1'?>",
        " <?xml version='1.0'?>",
        "<?xml?>",
        "<?xml encoding='UTF-8' version='1.0'?>",
        "<?xml version='1.0' standalone='maybe'?>",
    ] {
        let mut client = scene.connect().await;
        client.begin_stream(format!("{bad}{rest}")).await;
        client.expect_stream_error("not-well-formed").await;
    }
    // A second one is a processing instruction in a place and of a name that XML forbids: either word is right.
    let mut client = scene.connect().await;
    client.begin_stream(format!("<?xml version='1.0'?>{header}")).await;
    client.expect_stream_error("not-well-formed|restricted-xml").await;
}

#[tokio::test]
async fn c17_a_declaration_inside_a_stream_is_refused() {
    refused("<?xml version='1.0'?>", "not-well-formed|restricted-xml").await;
}

#[tokio::test]
async fn c18_unknown_first_level_elements_end_the_stream() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for element in [
        "<foo xmlns='urn:x'/>",
        "<foo xmlns='urn:x' to='{juliet/balcony}'><body>x</body></foo>",
        "<pubsub xmlns='jabber:client' to='{juliet/balcony}'/>",
        "<message xmlns='jabber:server' to='{juliet/balcony}'><body>x</body></message>",
        "<message xmlns='urn:x' to='{juliet/balcony}'><body>x</body></message>",
        "<Message to='{juliet/balcony}'/>",
    ] {
        let mut romeo = scene.session("romeo/orchard").await;
        romeo.send(element).await;
        romeo.expect_stream_error("unsupported-stanza-type").await;
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c19_a_stanza_with_a_prefix_is_refused() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for element in [
        "<f:message xmlns:f='jabber:client' to='{juliet/balcony}'><body>x</body></f:message>",
        "<f:presence xmlns:f='jabber:client' to='{juliet/balcony}'/>",
        "<f:iq xmlns:f='jabber:client' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></f:iq>",
    ] {
        let mut romeo = scene.session("romeo/orchard").await;
        romeo.send(element).await;
        romeo.expect_stream_error("bad-namespace-prefix").await;
    }
    juliet.barrier().await;
}

/// Uses prefixes of the stream's header in attributes, children and grandchildren.
const WITH_PREFIXES: &str = "<message to='{juliet}' type='chat'><x:y a='1' z:b='2'><x:deep><plain/></x:deep></x:y>\
                             <body>hi</body><own:y xmlns:own='urn:own'/></message>";
/// The same with every namespace where it is needed.
const COMPLETE: &str = "<message from='{romeo/orchard}' to='{juliet}' type='chat'>\
                        <y xmlns='urn:x' xmlns:q='urn:z' a='1' q:b='2'><deep><plain xmlns='jabber:client'/></deep></y>\
                        <body>hi</body><y xmlns='urn:own'/>{…}</message>";

#[tokio::test]
async fn c20_prefixes_of_the_stream_do_not_get_lost() {
    let scene = SERVER.scene().await;
    let header = "xmlns:x='urn:x' xmlns:z='urn:z'";
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session_with("romeo/orchard", header).await;
    romeo.send(WITH_PREFIXES).await;
    let message = juliet.expect(COMPLETE).await;
    assert_eq!(message.elements().count(), 4, "its three payloads and the id of the archive: {message}");
    // Stored and delivered later, it is complete as well.
    juliet.send("<presence type='unavailable'/>").await;
    juliet.drain().await;
    romeo.send(WITH_PREFIXES).await;
    romeo.barrier().await;
    juliet.send("<presence/>").await;
    let stored = juliet.expect_in_any_order(&[COMPLETE, "<presence {…}/>"]).await.swap_remove(0);
    assert!(stored.child_in("urn:xmpp:delay", "delay").is_some(), "{stored}");
}

#[tokio::test]
async fn c21_what_is_inside_keeps_its_namespaces() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let payload = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body></message>\
                   <message xmlns='jabber:server' to='a@b'><body>y</body></message><none xmlns=''/></forwarded>";
    romeo.send(format!("<message to='{{juliet}}'>{payload}<a xmlns='jabber:server'/></message>")).await;
    let template =
        format!("<message from='{{romeo/orchard}}' to='{{juliet}}'>{payload}<a xmlns='jabber:server'/></message>");
    juliet.expect(template).await;
}

/// A message to Juliet of exactly this many bytes.
fn message_of(length: usize, to: &str) -> String {
    let (begin, end) = (format!("<message to='{to}' type='chat'><padding xmlns='urn:x'>"), "</padding></message>");
    let text = "x".repeat(length - begin.len() - end.len());
    format!("{begin}{text}{end}")
}

#[tokio::test]
async fn c22_ten_thousand_bytes_always_pass() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send_bytes(message_of(10_000, &scene.jid("juliet"))).await;
    let message = juliet.receive().await;
    assert!(message.child_in("urn:x", "padding").is_some_and(|padding| padding.text().len() > 9_800), "all of it came");
    romeo.barrier().await;
}

#[tokio::test]
async fn c22_the_limit_is_advertised_and_kept() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let limits = romeo.features().child_in("urn:xmpp:stream-limits:0", "limits").expect("limits are advertised");
    let most: usize = limits.text_of("max-bytes").and_then(|text| text.parse().ok()).expect("max-bytes is a number");
    assert!(most >= 10_000, "RFC 6120 §13.12");
    romeo.send_bytes(message_of(most, &scene.jid("juliet"))).await;
    let message = juliet.receive().await;
    assert!(
        message.child_in("urn:x", "padding").is_some_and(|padding| padding.text().len() > most - 200),
        "all of it came"
    );
    romeo.barrier().await;
    romeo.send_bytes(message_of(most + 1, &scene.jid("juliet"))).await;
    let error = romeo.expect_stream_error("policy-violation").await;
    assert!(error.child_in("urn:xmpp:errors", "stanza-too-big").is_some(), "{error}");
    juliet.barrier().await;
}
