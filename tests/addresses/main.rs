//! Conformance, section H: addresses (RFC 6122, RFC 7622).
//!
//! Addresses are prepared by RFC 6122, as on most of the network; where that differs from RFC 7622 the test says so.
//! C109 goes over all of the basic plane and stands beside the preparation, in `modules/accounts/names.rs`.

#[path = "../common/mod.rs"]
mod common;

use common::{SERVER, options};
use waxwing_testkit::{RawClient, Scene, TestServer, TlsChoice, escape, stream_header};

/// The answer to a stanza says that its address is none.
async fn is_malformed(client: &mut RawClient, to: &str) {
    let to = escape(to);
    for stanza in [
        format!("<message to='{to}' id='m'><body>x</body></message>"),
        format!("<iq to='{to}' type='get' id='m'><ping xmlns='urn:xmpp:ping'/></iq>"),
        format!("<presence to='{to}' id='m'/>"),
    ] {
        client.send_bytes(&stanza).await;
        let answer = client.receive().await;
        let error = answer.child("error").unwrap_or_else(|| panic!("{to} is taken: {answer}"));
        assert!(error.child("jid-malformed").is_some(), "{to}: {answer}");
        assert_eq!((answer.attribute("id"), error.attribute("type")), (Some("m"), Some("modify")), "{to}");
    }
}

/// A message to this address arrives, addressed to the form of it that is the same for everyone.
async fn reaches(sender: &mut RawClient, receiver: &mut RawClient, to: &str, form: &str) {
    let body = escape(to);
    sender.send_bytes(format!("<message to='{body}' type='chat' id='m'><body>{body}</body></message>")).await;
    let answers = sender.drain().await;
    assert!(answers.is_empty(), "{to:?}: {answers:?}");
    let message = receiver.receive().await;
    assert_eq!(message.text_of("body").as_deref(), Some(to));
    assert_eq!(message.attribute("to"), Some(form), "{to:?}");
}

#[tokio::test]
async fn c104_a_domain_in_any_case_with_or_without_its_dot_is_one_host() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let host = scene.host().to_owned();
    let wide: String = host.chars().map(|letter| if letter == 'c' { '\u{FF43}' } else { letter }).collect();
    for form in
        [host.to_uppercase(), format!("{host}."), format!("{}.", host.to_uppercase()), "Capulet.Lit".to_owned(), wide]
    {
        let to = format!("{}@{form}", scene.local("juliet"));
        reaches(&mut romeo, &mut juliet, &to, &scene.jid("juliet")).await;
        let full = scene.jid("juliet/balcony");
        reaches(&mut romeo, &mut juliet, &format!("{to}/balcony"), &full).await;
        romeo.send_bytes(format!("<iq to='{form}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        romeo.expect("<iq type='result' id='p' from='{host}' to='{romeo/orchard}'/>").await;
        // A stream finds it as well; ours has the one form of its name.
        let mut client = scene.connect().await;
        client.begin_stream(stream_header(&format!("to='{form}' version='1.0'"))).await;
        let header = client.expect_header().await;
        assert_eq!(header.attribute("from"), Some(host.as_str()), "{form}");
        client.expect_features().await;
    }
    for bad in ["capulet..lit", ".capulet.lit", "capulet.lit..", "capulet lit", "-capulet.lit", "cap\u{2488}ulet.lit"] {
        is_malformed(&mut romeo, &format!("juliet@{bad}")).await;
    }
}

/// Logs in on a host whose name needs care: in the clear first, because a name in TLS is in ASCII.
async fn session_at(scene: &Scene, name: &str, to: &str, in_tls: &str) -> RawClient {
    let account = scene.account(name).await;
    let mut client = scene.connect().await;
    client.open_stream(to).await;
    client.try_starttls(TlsChoice::new().name(in_tls)).await.expect("a certificate for the host");
    client.open_stream(to).await;
    let scram = client.scram(&account, &scene.password(name.split('@').next().unwrap_or(name)));
    client.try_scram(&scram).await.expect("the right password");
    client.open_stream(to).await;
    client.bind("x").await;
    client
}

const U_LABEL: &str = "b\u{FC}cher.example";
const A_LABEL: &str = "xn--bcher-kva.example";

#[tokio::test]
async fn c104_an_international_domain_is_one_host_in_both_spellings() {
    let server = TestServer::start(options().hosts(&[U_LABEL, "capulet.lit"])).await;
    let scene = server.scene();
    let spellings = [U_LABEL, "B\u{DC}CHER.example", "bu\u{308}cher.example", A_LABEL, "XN--BCHER-KVA.EXAMPLE"];
    for spelling in spellings {
        let mut client = session_at(&scene, "romeo", spelling, A_LABEL).await;
        assert_eq!(client.jid(), format!("{}@{U_LABEL}/x", scene.local("romeo")), "{spelling}");
        client.send("<presence/>").await;
        client.drain().await;
        // From the other host and from oneself.
        let mut nurse = scene.session("nurse@host2/chamber").await;
        for to in spellings {
            let bare = scene.jid("romeo");
            reaches(&mut nurse, &mut client, &format!("{}@{to}", scene.local("romeo")), &bare).await;
        }
        client.send("</stream:stream>").await;
        client.expect_end().await;
    }
    // Direct TLS, where the name in TLS and the name in the stream are compared (XEP-0368).
    let choice = TlsChoice::new().name(A_LABEL);
    for spelling in [U_LABEL, A_LABEL] {
        let mut client = scene.try_connect_tls(choice.clone()).await.expect("a handshake");
        client.open_stream(spelling).await;
    }
    // In a roster it is one contact.
    let mut nurse = scene.session("nurse@host2/chamber").await;
    for spelling in spellings {
        nurse
            .send(format!(
                "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='a@{spelling}'/></query></iq>"
            ))
            .await;
    }
    nurse.drain().await;
    nurse.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    let roster = nurse.receive().await;
    assert_eq!(roster.child("query").map(|query| query.elements().count()), Some(1), "{roster}");
}

#[tokio::test]
async fn c104_two_domains_that_idna_tells_apart_are_two() {
    // Nameprep (RFC 3491) maps the sharp s to two; IDNA 2008 has a domain of its own for it. The A-label stays what it is,
    // or whoever owns one of the two could speak for the other.
    let server = TestServer::start(options().hosts(&["strasse.example", "capulet.lit"])).await;
    let scene = server.scene();
    let mut client = scene.connect().await;
    client.begin_stream(stream_header("to='xn--strae-oqa.example' version='1.0'")).await;
    client.expect_stream_error("host-unknown").await;
    let mut romeo = session_at(&scene, "romeo", "strasse.example", "strasse.example").await;
    let mut nurse = scene.session("nurse@host2/chamber").await;
    nurse.send("<iq to='xn--strae-oqa.example' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    nurse.expect("<iq type='error' id='p' {…}>{error:cancel:remote-server-not-found}{…}</iq>").await;
    romeo.barrier().await;
}

#[tokio::test]
async fn c104_addresses_of_machines_are_domains() {
    let server = TestServer::start(options().hosts(&["127.0.0.1", "[::1]"])).await;
    let scene = server.scene();
    let mut romeo = session_at(&scene, "romeo", "127.0.0.1", "127.0.0.1").await;
    let mut nurse = session_at(&scene, "nurse@host2", "[::1]", "::1").await;
    assert_eq!(romeo.jid(), format!("{}@127.0.0.1/x", scene.local("romeo")));
    assert_eq!(nurse.jid(), format!("{}@[::1]/x", scene.local("nurse")));
    let to_nurse = nurse.jid().to_owned();
    reaches(&mut romeo, &mut nurse, &to_nurse, &to_nurse).await;
    let to_romeo = romeo.jid().to_owned();
    reaches(&mut nurse, &mut romeo, &to_romeo, &to_romeo).await;
    for bad in ["[::1", "::1]", "[::g]", "[127.0.0.1"] {
        is_malformed(&mut romeo, &format!("a@{bad}")).await;
    }
}

#[tokio::test]
async fn c105_some_signs_stand_in_no_name() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    for sign in ['"', '&', '\'', ':', '<', '>', '@', ' ', '\u{A0}', '\u{3000}', '\u{7F}', '\t'] {
        for name in [format!("jul{sign}iet"), format!("{sign}juliet"), format!("juliet{sign}")] {
            // A tab in an attribute reaches a parser as a space.
            is_malformed(&mut romeo, &format!("{name}@{}", scene.host())).await;
        }
    }
    // A slash ends the domain: what is behind it is a resource, and the domain is somebody else's.
    romeo.send("<iq to='jul/iet@{host}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    romeo.expect("<iq type='error' id='p' {…}>{error:cancel:remote-server-not-found}{…}</iq>").await;
    // The signs themselves, in no spelling of XML.
    for reference in ["&#x20;", "&#38;", "&#x27;", "&quot;", "&lt;"] {
        romeo.send(format!("<message to='jul{reference}iet@{{host}}' id='m'/>")).await;
        romeo.expect("<message type='error' id='m' {…}>{error:modify:jid-malformed}{…}</message>").await;
    }
}

#[tokio::test]
async fn c105_escaped_signs_are_letters_to_the_server() {
    // XEP-0106 is between clients: the server neither escapes nor looks behind an escape.
    let scene = SERVER.scene().await;
    let name = format!("{}\\20\\26\\2f\\40", scene.local("artagnan"));
    scene.account_named("artagnan", &name).await;
    let mut artagnan = scene.online("artagnan/louvre").await;
    let mut romeo = scene.session("romeo/orchard").await;
    assert_eq!(artagnan.jid(), format!("{name}@{}/louvre", scene.host()));
    let to = scene.jid("artagnan");
    reaches(&mut romeo, &mut artagnan, &to, &to).await;
    // In other spellings of the escape it is another name.
    romeo.send_bytes(format!("<message to='{}' type='chat'/>", to.replace("\\20", "\\5c20"))).await;
    romeo.drain().await;
    artagnan.barrier().await;
}

#[tokio::test]
async fn c106_names_are_the_same_in_upper_and_lower_case_and_in_full_width() {
    let scene = SERVER.scene().await;
    scene.account_named("kelvin", &format!("{}.kelvin", scene.local("k"))).await;
    let mut kelvin = scene.online("kelvin/lab").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let form = scene.jid("kelvin");
    let (name, host) = form.split_once('@').expect("a bare JID");
    let wide: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphabetic() {
                char::from_u32(u32::from(letter) + 0xFEE0).unwrap_or(letter)
            } else {
                letter
            }
        })
        .collect();
    for spelling in [
        name.to_uppercase(),
        wide.clone(),
        // The Kelvin sign is the letter k (Unicode: canonically the same).
        name.replace(".k", ".\u{212A}"),
        // RFC 7622 would refuse these; RFC 6122 maps compatibility forms and leaves the soft hyphen away.
        name.replace(".k", ".\u{24DA}"),
        name.replace("kelvin", "kel\u{AD}vin"),
    ] {
        reaches(&mut romeo, &mut kelvin, &format!("{spelling}@{host}"), &form).await;
    }
    // Who logs in is the same, too.
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    let scram = client.scram(&wide, &scene.password("kelvin"));
    client.try_scram(&scram).await.expect("the right password");
    client.open_stream(scene.host()).await;
    assert_eq!(client.bind("x").await, format!("{form}/x"));
}

#[tokio::test]
async fn c107_resources_are_taken_as_they_are() {
    let scene = SERVER.scene().await;
    let mut upper = scene.online("juliet/Foo").await;
    let mut lower = scene.online("juliet/foo").await;
    upper.drain().await;
    lower.drain().await;
    let mut romeo = scene.session("romeo/orchard").await;
    for (client, resource) in [(&mut upper, "Foo"), (&mut lower, "foo")] {
        let to = scene.jid(&format!("juliet/{resource}"));
        reaches(&mut romeo, client, &to, &to).await;
    }
    upper.barrier().await;
    lower.barrier().await;
    // Spaces of all kinds are spaces: RFC 7622 says so, and RFC 6122 comes to the same by NFKC where it knows a space.
    let mut spaced = scene.online("nurse/a\u{A0}b\u{3000}c").await;
    assert_eq!(spaced.jid(), scene.jid("nurse/a b c"));
    for to in ["nurse/a b c", "nurse/a\u{A0}b c", "nurse/a\u{2003}b c"] {
        reaches(&mut romeo, &mut spaced, &scene.jid(to), &scene.jid("nurse/a b c")).await;
    }
    // Signs and scripts, as far as they have stood in Unicode since 3.2.
    for resource in ["\u{263A}", "a\u{200D}b", "phone (\u{2713})", "a/b@c", "'\"<>&", "\u{4F60}\u{597D}", "\u{5D0}"] {
        let mut client = scene.logged_in("mercutio").await;
        let jid = client.bind(resource).await;
        client.send("<presence/>").await;
        client.drain().await;
        // Resourceprep maps the joiner to nothing (RFC 3454 B.1), which RFC 7622 would keep here.
        let form = format!("{}/{}", scene.jid("mercutio"), resource.replace('\u{200D}', ""));
        assert_eq!(jid, form);
        reaches(&mut romeo, &mut client, &format!("{}/{resource}", scene.jid("mercutio")), &form).await;
        client.send("</stream:stream>").await;
        client.expect_end().await;
    }
}

#[tokio::test]
async fn c107_what_unicode_3_2_did_not_know_is_taken_too() {
    // RFC 6122 knows the Unicode of 2002. Younger letters and signs, most emoji among them, stay as they are.
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    for (resource, form) in [
        ("\u{1F99C}", "\u{1F99C}"),
        ("phone \u{1F4F1}", "phone \u{1F4F1}"),
        ("\u{1F9D9}\u{1F3FD}\u{200D}\u{2640}\u{FE0F}", "\u{1F9D9}\u{1F3FD}\u{2640}"),
        ("\u{1F600}e\u{301}", "\u{1F600}\u{E9}"),
    ] {
        let mut client = scene.logged_in("juliet").await;
        let jid = client.bind(resource).await;
        assert_eq!(jid, format!("{}/{form}", scene.jid("juliet")));
        client.send("<presence/>").await;
        client.drain().await;
        for to in [resource, form] {
            reaches(&mut romeo, &mut client, &format!("{}/{to}", scene.jid("juliet")), &jid).await;
        }
        client.send("</stream:stream>").await;
        client.expect_end().await;
    }
    // What cannot be seen is refused, whenever it came to be; and an account has a name of letters.
    for bad in ["juliet/a\u{2066}b", "juliet/\u{E0067}", "juliet/\u{202E}x"] {
        is_malformed(&mut romeo, &scene.jid(bad)).await;
    }
    is_malformed(&mut romeo, &format!("\u{1F99C}@{}", scene.host())).await;
    let mut client = scene.logged_in("mercutio").await;
    client
        .send(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>a\u{2066}b</resource></bind></iq>",
        )
        .await;
    client.expect("<iq type='error' id='b' {…}>{error:modify:bad-request}{…}</iq>").await;
}

#[tokio::test]
async fn c108_no_part_is_empty_or_longer_than_1023_bytes() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let host = scene.host();
    for bad in [
        String::new(),
        "@".to_owned(),
        "/".to_owned(),
        format!("@{host}"),
        "juliet@".to_owned(),
        format!("juliet@{host}/"),
        format!("{host}/"),
        "juliet@/balcony".to_owned(),
        format!("@{host}/balcony"),
        format!("{}@{host}", "x".repeat(1_024)),
        format!("{}@{host}", "\u{E9}".repeat(512)),
        format!("juliet@{host}/{}", "x".repeat(1_024)),
        format!("juliet@{host}/{}", "\u{E9}".repeat(512)),
        format!("juliet@{}.lit", "x".repeat(1_020)),
        // 1,023 bytes after preparation, more before it: counted as it is used; and the other way round.
        format!("juliet@{host}/{}", "\u{FB03}".repeat(400)),
    ] {
        is_malformed(&mut romeo, &bad).await;
    }
    // As long as may be.
    let name = "x".repeat(1_023 - 8) + &format!("{:08}", std::process::id());
    scene.account_named("longest", &name).await;
    let resource = "y".repeat(1_023);
    let mut longest = scene.online(&format!("longest/{resource}")).await;
    let to = format!("{name}@{host}/{resource}");
    reaches(&mut romeo, &mut longest, &to, &to).await;
    // RFC 7622 counts 1,023 bytes for a domain as well; a domain that DNS cannot hold (RFC 6122 §2.2: labels of at most
    // 63 letters) is nobody's address.
    is_malformed(&mut romeo, &format!("juliet@{}.lit", "x".repeat(64))).await;
    let label = "x".repeat(63);
    romeo
        .send(format!("<iq to='{label}.{label}.{label}.lit' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"))
        .await;
    romeo.expect("<iq type='error' id='p' {…}>{error:cancel:remote-server-not-found}{…}</iq>").await;
}
