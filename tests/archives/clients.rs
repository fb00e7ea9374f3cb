//! What clients in use ask their archives, as they write it (XEP-0313 §3 to §7, XEP-0059, XEP-0441).

use waxwing_testkit::{Element, RawClient, Scene};

use crate::common::SERVER;
use crate::{ask, bodies, field, ids, query};

const FORM: &str = "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>";
const RSM: &str = "http://jabber.org/protocol/rsm";

/// Romeo and Juliet, after some lines of his that she has heard.
async fn after(scene: &Scene, lines: usize) -> (RawClient, RawClient) {
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    for line in 0..lines {
        romeo.send(format!("<message to='{{juliet}}' type='chat' id='m{line}'><body>{line}</body></message>")).await;
        juliet.receive().await;
    }
    (romeo, juliet)
}

/// Sends a query as it is written here; the results and the answer.
async fn asks(client: &mut RawClient, of: &str, content: &str) -> (Vec<Element>, Element) {
    client.send(format!("<iq type='set' id='c' {of}>{content}</iq>")).await;
    let mut results = Vec::new();
    loop {
        let stanza = client.receive().await;
        if stanza.name == "iq" {
            return (results, stanza);
        }
        assert_eq!(
            (stanza.attribute("from"), stanza.attribute("to")),
            (Some(client.bare()), Some(client.jid())),
            "{stanza}"
        );
        results.push(stanza.child_in("urn:xmpp:mam:2", "result").expect("a result").clone());
    }
}

fn fin(answer: &Element) -> (bool, Option<String>, Option<String>) {
    let fin = answer.child("fin").unwrap_or_else(|| panic!("no end of results: {answer}"));
    let told = |name: &str| fin.child_in(RSM, "set").expect("a set").text_of(name);
    (fin.attribute("complete") == Some("true"), told("first"), told("last"))
}

#[tokio::test]
async fn mobile_clients_catch_up_behind_what_they_know_and_page_back_from_the_newest() {
    let scene = SERVER.scene().await;
    let (_romeo, mut juliet) = after(&scene, 8).await;
    let known = ids(&ask(&mut juliet, "", "").await.0);
    let start = "<field var='start'><value>2020-01-01T00:00:00Z</value></field>";
    // Conversations: forward from a time or behind an id, page after page; and back from the newest.
    let mut set = "<max>3</max>".to_owned();
    let mut seen = Vec::new();
    for page in 0..3 {
        let asked = format!(
            "<query xmlns='urn:xmpp:mam:2' queryid='k{page}'><x xmlns='jabber:x:data' type='submit'>{FORM}{start}</x>\
             <set xmlns='{RSM}'>{set}</set></query>"
        );
        let (results, answer) = asks(&mut juliet, "", &asked).await;
        let (complete, first, last) = fin(&answer);
        assert_eq!(complete, page == 2, "{answer}");
        assert_eq!((first.as_ref(), last.as_ref()), (ids(&results).first(), ids(&results).last()));
        assert!(results.iter().all(|result| result.attribute("queryid") == Some(&format!("k{page}"))));
        set = format!("<max>3</max><after>{}</after>", last.unwrap());
        seen.extend(ids(&results));
    }
    assert_eq!(seen, known);
    // Dino: the newest page with somebody, then before the oldest of it; complete at that end, too.
    let with = format!("<field var='with' type='jid-single'><value>{}</value></field>", scene.jid("romeo"));
    let mut before = "<before/>".to_owned();
    let mut seen = Vec::new();
    for page in 0..3 {
        let asked = format!(
            "<query xmlns='urn:xmpp:mam:2' queryid='d'><x xmlns='jabber:x:data' type='submit'>{FORM}{with}</x>\
             <set xmlns='{RSM}'><max>3</max>{before}</set></query>"
        );
        let (results, answer) = asks(&mut juliet, "to='{juliet}'", &asked).await;
        let (complete, first, _) = fin(&answer);
        assert_eq!(complete, page == 2, "{answer}");
        before = format!("<before>{}</before>", first.unwrap());
        seen = [ids(&results), seen].concat();
    }
    assert_eq!(seen, known);
    // Nothing is behind the newest, which is how every login begins.
    let (results, answer) = asks(
        &mut juliet,
        "",
        &format!(
            "<query xmlns='urn:xmpp:mam:2' queryid='g'><set xmlns='{RSM}'><max>70</max><after>{}</after></set></query>",
            known[7]
        ),
    )
    .await;
    assert_eq!((results.len(), fin(&answer)), (0, (true, None, None)), "{answer}");
}

#[tokio::test]
async fn a_query_may_say_next_to_nothing_or_too_much() {
    let scene = SERVER.scene().await;
    let (_romeo, mut juliet) = after(&scene, 3).await;
    let known = ids(&ask(&mut juliet, "", "").await.0);
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{FORM}</x>");
    for content in [
        String::new(),
        form.clone(),
        format!("<set xmlns='{RSM}'/>"),
        format!("{form}<set xmlns='{RSM}'><max>250</max></set>"),
        format!("<set xmlns='{RSM}'><max>4294967295</max></set>{form}"),
        format!("<set xmlns='{RSM}'><max>100</max><before/></set>"),
        // profanity 0.13 asks for the next page so, outside of the set.
        format!("{form}<after>{}</after>", known[2]),
    ] {
        let asked = format!("<query xmlns='urn:xmpp:mam:2'>{content}</query>");
        let (results, answer) = asks(&mut juliet, "", &asked).await;
        assert_eq!(ids(&results), known, "{content}");
        assert!(results.iter().all(|result| result.attribute("queryid").is_none()), "nobody has given one");
        assert_eq!(fin(&answer), (true, known.first().cloned(), known.last().cloned()), "{content}");
        assert_eq!(
            answer.child("fin").and_then(|fin| fin.child("set")).and_then(|set| set.text_of("count")).as_deref(),
            Some("3")
        );
    }
    for (content, condition) in [
        (format!("<set xmlns='{RSM}'><max>-1</max></set>"), "bad-request"),
        (format!("<set xmlns='{RSM}'><max>many</max></set>"), "bad-request"),
        ("<x xmlns='jabber:x:data' type='submit'/>".to_owned(), "bad-request"),
        (format!("<x xmlns='jabber:x:data' type='cancel'>{FORM}</x>"), "bad-request"),
        (form.replace("urn:xmpp:mam:2", "urn:xmpp:mam:1"), "bad-request"),
        (format!("<set xmlns='{RSM}'><after>98765</after></set>"), "item-not-found"),
        (format!("<set xmlns='{RSM}'><after>28482-98726-73623</after></set>"), "item-not-found"),
    ] {
        juliet.send(format!("<iq type='set' id='w'><query xmlns='urn:xmpp:mam:2'>{content}</query></iq>")).await;
        let error = juliet.expect("<iq type='error' id='w' {…}>{…}</iq>").await;
        assert!(error.child("error").is_some_and(|error| error.child(condition).is_some()), "{condition}: {error}");
    }
    juliet.send("<iq type='set' id='n'><query xmlns='urn:xmpp:mam:2' node='fdp/submitted'/></iq>").await;
    juliet.expect("<iq type='error' id='n' {…}>{error:cancel:item-not-found}</iq>").await;
}

#[tokio::test]
async fn an_archive_that_is_empty_says_so_in_every_way() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<iq type='get' id='m' to='{juliet}'><metadata xmlns='urn:xmpp:mam:2'/></iq>").await;
    juliet.expect("<iq type='result' id='m' {…}><metadata xmlns='urn:xmpp:mam:2'/></iq>").await;
    for set in ["", "<before/>", "<max>0</max>", "<max>50</max><before/>"] {
        let (results, fin) = ask(&mut juliet, &field("with", "romeo@montague.lit"), set).await;
        assert_eq!((results.len(), fin.attribute("complete")), (0, Some("true")), "{set}");
        let set = fin.child_in(RSM, "set").expect("a set");
        assert_eq!(
            (set.text_of("first"), set.text_of("last"), set.text_of("count").as_deref()),
            (None, None, Some("0"))
        );
    }
    juliet.send_bytes(query(&field("before-id", "1"), "", "")).await;
    juliet.expect("<iq type='error' id='mam' {…}>{error:cancel:item-not-found}</iq>").await;
}

#[tokio::test]
async fn support_is_told_where_clients_look_for_it() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.session("juliet/balcony").await;
    // §7 wants it at the account; some look at the host alone.
    for to in ["{juliet}", "{host}"] {
        juliet
            .send(format!(
                "<iq type='get' id='d' to='{to}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
            ))
            .await;
        let info = juliet.expect("<iq type='result' id='d' {…}>{…}</iq>").await;
        for feature in ["urn:xmpp:mam:2", "urn:xmpp:mam:2#extended"] {
            let mut told = info.child("query").expect("an answer").elements();
            assert!(told.any(|child| child.attribute("var") == Some(feature)), "{to} {feature}: {info}");
        }
    }
    // The host has no archive of its own.
    juliet.send("<iq type='set' id='h' to='{host}'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    juliet.expect("<iq type='error' id='h' {…}>{error:cancel:service-unavailable}</iq>").await;
}

#[tokio::test]
async fn a_message_for_several_devices_is_kept_once_and_one_that_was_refused_not_at_all() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut phone = scene.online("juliet/phone").await;
    let mut desk = scene.online("juliet/desk").await;
    phone.drain().await;
    for client in [&mut phone, &mut desk] {
        client.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        client.expect("<iq type='result' id='c' {…}/>").await;
    }
    romeo.send("<message to='{juliet}' type='chat'><body>to all</body></message>").await;
    romeo.send("<message to='{juliet/desk}' type='chat'><body>to one</body></message>").await;
    romeo.barrier().await;
    phone.drain().await;
    desk.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{romeo}'/></block></iq>").await;
    desk.drain().await;
    romeo.send("<message to='{juliet}' type='chat' id='x'><body>refused</body></message>").await;
    romeo.expect("<message type='error' id='x' {…}>{…}</message>").await;
    assert_eq!(bodies(&ask(&mut desk, "", "").await.0), ["to all", "to one"]);
}

#[tokio::test]
async fn preferences_hold_for_what_is_sent_and_for_one_device_alone() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.account("paris").await;
    let prefs = "<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>{juliet/balcony}</jid></always>\
                 <never><jid>{paris}</jid></never></prefs>";
    romeo.send(format!("<iq type='set' id='p'>{prefs}</iq>")).await;
    romeo.expect(format!("<iq type='result' id='p' {{…}}>{prefs}</iq>")).await;
    for (to, body) in [("{juliet/balcony}", "kept"), ("{juliet}", "not for all"), ("{paris}", "never")] {
        romeo.send(format!("<message to='{to}' type='chat'><body>{body}</body></message>")).await;
    }
    romeo.barrier().await;
    juliet.drain().await;
    juliet.send("<message to='{romeo/orchard}' type='chat'><body>an answer</body></message>").await;
    romeo.expect("<message {…}><body>an answer</body>{…}</message>").await;
    assert_eq!(bodies(&ask(&mut romeo, "", "").await.0), ["kept", "an answer"]);
    // Lists that are not sent are empty from then on (XEP-0441 §2.1.2).
    romeo.send("<iq type='set' id='q'><prefs xmlns='urn:xmpp:mam:2' default='roster'/></iq>").await;
    romeo
        .expect("<iq type='result' id='q' {…}><prefs xmlns='urn:xmpp:mam:2' default='roster'><always/><never/></prefs></iq>")
        .await;
}
