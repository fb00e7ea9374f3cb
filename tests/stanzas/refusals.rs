//! Stanza errors (RFC 6120 §8.2.3, §8.3): when, which, and when none.

use waxwing_testkit::RawClient;

use crate::common::SERVER;

async fn is_refused(client: &mut RawClient, iq: &str) {
    client.send(iq).await;
    client.expect("<iq type='error' {…}>{error:modify:bad-request}{…}</iq>").await;
}

#[tokio::test]
async fn c54_iq_without_id_is_refused() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    for to in ["", "to='{host}'", "to='{juliet}'", "to='{juliet/balcony}'"] {
        is_refused(&mut romeo, &format!("<iq type='get' {to}><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        is_refused(&mut romeo, &format!("<iq type='set' {to}><ping xmlns='urn:xmpp:ping'/></iq>")).await;
    }
    romeo.barrier().await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c54_iq_without_a_known_type_is_refused() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    for of_type in ["", "type=''", "type='foo'", "type='GET'", "type='subscribe'"] {
        for to in ["", "to='{host}'", "to='{juliet/balcony}'"] {
            romeo.send(format!("<iq id='q1' {of_type} {to}><ping xmlns='urn:xmpp:ping'/></iq>")).await;
            romeo.expect("<iq type='error' id='q1' {…}>{error:modify:bad-request}{…}</iq>").await;
        }
    }
    romeo.barrier().await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c54_a_question_has_exactly_one_child() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    for of_type in ["get", "set"] {
        for children in [String::new(), "text".to_owned(), format!("{ping}{ping}"), format!("{ping}<x xmlns='urn:x'/>")]
        {
            for to in ["", "to='{host}'", "to='{juliet}'", "to='{juliet/balcony}'"] {
                romeo.send(format!("<iq type='{of_type}' id='q2' {to}>{children}</iq>")).await;
                romeo.expect("<iq type='error' id='q2' {…}>{error:modify:bad-request}{…}</iq>").await;
            }
        }
    }
    romeo.barrier().await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c55_answers_nobody_waits_for_are_dropped() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.stranger("nobody");
    for to in
        ["", "to='{host}'", "to='{romeo}'", "to='{juliet}'", "to='{juliet/gone}'", "to='{nobody}'", "to='{nobody/x}'"]
    {
        romeo.send(format!("<iq type='result' id='r' {to}/>")).await;
        romeo.send(format!("<iq type='result' id='r' {to}><x xmlns='urn:x'/></iq>")).await;
        let error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        romeo.send(format!("<iq type='error' id='r' {to}>{error}</iq>")).await;
        romeo.send(format!("<iq type='error' id='r' {to}/>")).await;
    }
    romeo.barrier().await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c56_an_error_is_never_answered_with_an_error() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.stranger("nobody");
    let error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    for to in ["{nobody}", "{nobody/x}", "{juliet}", "{juliet/gone}", "{host}", "sub.{host}", "{host}/x"] {
        for kind in ["message", "presence", "iq"] {
            for content in [error, "", "<error/>", "<body>x</body>"] {
                romeo.send(format!("<{kind} type='error' id='e' to='{to}'>{content}</{kind}>")).await;
            }
        }
    }
    romeo.barrier().await;
    // Of all these only presence is for everyone who is there (RFC 6121 §8.5.2.1.2).
    let came = juliet.drain().await;
    assert!(came.iter().all(|stanza| stanza.name == "presence"), "{came:?}");
    // An error for someone who is there arrives, and is the end of it.
    romeo.send(format!("<message type='error' id='e' to='{{juliet/balcony}}'>{error}</message>")).await;
    juliet
        .expect(format!(
            "<message type='error' id='e' to='{{juliet/balcony}}' from='{{romeo/orchard}}'>{error}</message>"
        ))
        .await;
    romeo.barrier().await;
}

#[tokio::test]
async fn c57_errors_go_back_where_the_stanza_came_from() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    scene.account("juliet").await;
    for (stanza, to, error) in [
        ("<iq type='get' id='a1' to='{host}'><x xmlns='urn:x'/></iq>", "{host}", "cancel:service-unavailable"),
        ("<iq type='set' id='a1' to='{juliet}'><x xmlns='urn:x'/></iq>", "{juliet}", "cancel:service-unavailable"),
        ("<iq type='get' id='a1' to='{juliet/x}'><x xmlns='urn:x'/></iq>", "{juliet/x}", "cancel:service-unavailable"),
        ("<iq type='get' id='a1' to='{host}'><error/></iq>", "{host}", "cancel:service-unavailable"),
        (
            "<iq type='get' id='a1' to='{host}'><error type='auth'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            "{host}",
            "cancel:service-unavailable",
        ),
        (
            "<message type='groupchat' id='a1' to='{juliet}'><body>x</body></message>",
            "{juliet}",
            "cancel:service-unavailable",
        ),
        (
            "<message type='groupchat' id='a1' to='{juliet}'><error/></message>",
            "{juliet}",
            "cancel:service-unavailable",
        ),
        ("<iq type='get' id='a1' to='{host}'/>", "{host}", "modify:bad-request"),
        ("<presence type='foo' id='a1' to='{juliet}'/>", "{juliet}", "modify:bad-request"),
    ] {
        romeo.send(stanza).await;
        let kind = stanza.split([' ', '<']).nth(1).expect("a stanza has a name");
        romeo
            .expect(format!(
                "<{kind} type='error' id='a1' from='{to}' to='{{romeo/orchard}}'>{{error:{error}}}{{…}}</{kind}>"
            ))
            .await;
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn c58_addresses_that_are_none_are_refused() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let long = "x".repeat(1024);
    for to in ["a@@b", "@b", "a@", "", "a@b/", "/x", "a b@c", &format!("{long}@b"), &format!("a@b/{long}")] {
        for (kind, of_type, content) in [
            ("message", "", "<body>x</body>"),
            ("presence", "", ""),
            ("presence", "type='subscribe'", ""),
            ("iq", "type='get'", "<ping xmlns='urn:xmpp:ping'/>"),
        ] {
            romeo.send(format!("<{kind} {of_type} id='j' to='{to}'>{content}</{kind}>")).await;
            romeo
                .expect(format!("<{kind} type='error' id='j' {{…}}>{{error:modify:jid-malformed}}{{…}}</{kind}>"))
                .await;
        }
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn c67_presence_that_breaks_a_rule_is_refused_and_not_shown() {
    let scene = SERVER.scene().await;
    let mut other = scene.online("romeo/garden").await;
    let mut romeo = scene.online("romeo/orchard").await;
    other.drain().await;
    for presence in [
        "<presence id='p' type='foo'/>",
        "<presence id='p' type=''/>",
        "<presence id='p' type='available'/>",
        "<presence id='p'><priority>200</priority></presence>",
        "<presence id='p'><priority>-129</priority></presence>",
        "<presence id='p'><priority>x</priority></presence>",
        "<presence id='p'><priority>1.5</priority></presence>",
        "<presence id='p'><priority/></presence>",
    ] {
        romeo.send(presence).await;
        romeo.expect("<presence type='error' id='p' {…}>{error:modify:bad-request}{…}</presence>").await;
    }
    romeo.barrier().await;
    other.barrier().await;
    // The ends of the range are fine.
    for priority in ["-128", "127", "0"] {
        romeo.send(format!("<presence><priority>{priority}</priority></presence>")).await;
        other
            .expect(format!(
                "<presence from='{{romeo/orchard}}' to='{{any}}'><priority>{priority}</priority></presence>"
            ))
            .await;
    }
}
