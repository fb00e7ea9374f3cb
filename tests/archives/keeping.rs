//! What is kept, for whom, and under which id (XEP-0313 §3.5 and §6, XEP-0334, XEP-0359, XEP-0424, XEP-0441).

use std::time::Duration;

use waxwing_testkit::TestServer;

use crate::common::{SERVER, options};
use crate::{ask, bodies, field, ids, stored};

#[tokio::test]
async fn s18_ids_are_made_by_the_server_and_told_to_nobody_else() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    romeo
        .send(
            "<message to='{juliet}' type='chat' id='m1'><body>hi</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{juliet}' id='1'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{romeo}' id='2'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.elsewhere.lit' id='3'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{juliet}' id='4'/><origin-id xmlns='urn:xmpp:sid:0' id='m1'/></message>",
        )
        .await;
    juliet
        .expect(
            "<message from='{romeo/orchard}' to='{juliet}' type='chat' id='m1'><body>hi</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.elsewhere.lit' id='3'/>\
             <origin-id xmlns='urn:xmpp:sid:0' id='m1'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{juliet}' id='{capture:id}'/></message>",
        )
        .await;
    let (hers, _) = ask(&mut juliet, "", "").await;
    assert_eq!(ids(&hers), [juliet.captured("id")]);
    assert!(stored(&hers[0]).child_in("urn:xmpp:sid:0", "origin-id").is_some());
    // His copy has an id of its own.
    let (his, _) = ask(&mut romeo, "", "").await;
    assert_eq!(bodies(&his), ["hi"]);
    assert_ne!(ids(&his), ids(&hers));
}

#[tokio::test]
async fn a_message_is_stored_before_it_is_seen() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    for number in 0..20 {
        romeo.send(format!("<message to='{{juliet}}' type='chat'><body>{number}</body></message>")).await;
        let message = juliet.receive().await;
        let id = message.child_in("urn:xmpp:sid:0", "stanza-id").and_then(|id| id.attribute("id")).expect("an id");
        let (results, _) = ask(&mut juliet, &field("ids", id), "").await;
        assert_eq!(bodies(&results), [number.to_string()]);
    }
}

#[tokio::test]
async fn only_what_means_something_later_is_kept() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    for (of, payload) in [
        ("chat", "<body>kept 1</body>"),
        ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
        ("chat", "<body>secret</body><no-store xmlns='urn:xmpp:hints'/>"),
        ("chat", "<body>secret</body><no-permanent-store xmlns='urn:xmpp:hints'/>"),
        ("headline", "<body>news</body>"),
        ("normal", "<body>kept 2</body>"),
        ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>"),
        ("chat", "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload>x</payload></encrypted>"),
    ] {
        romeo.send(format!("<message to='{{juliet}}' type='{of}'>{payload}</message>")).await;
        let message = juliet.receive().await;
        let is_kept = !payload.contains("secret") && !payload.contains("composing") && of != "headline";
        assert_eq!(message.child_in("urn:xmpp:sid:0", "stanza-id").is_some(), is_kept, "{message}");
    }
    for client in [&mut romeo, &mut juliet] {
        let (results, _) = ask(client, "", "").await;
        assert_eq!(bodies(&results), ["kept 1", "kept 2", "", ""]);
    }
}

#[tokio::test]
async fn a_message_to_oneself_is_kept_once() {
    let scene = SERVER.scene().await;
    let mut phone = scene.online("romeo/phone").await;
    let mut laptop = scene.session("romeo/laptop").await;
    laptop.send("<message to='{romeo}' type='chat' id='n1'><body>buy poison</body></message>").await;
    phone
        .expect(
            "<message from='{romeo/laptop}' to='{romeo}' type='chat' id='n1'><body>buy poison</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{romeo}' id='{capture:id}'/></message>",
        )
        .await;
    scene.stranger("juliet");
    laptop.send("<message to='{juliet}' type='chat' id='n2'><body>wait</body></message>").await;
    laptop.barrier().await;
    let with = field("with", phone.bare());
    let (results, _) = ask(&mut phone, &with, "").await;
    assert_eq!(ids(&results), [phone.captured("id")]);
    assert_eq!(bodies(&ask(&mut phone, "", "").await.0), ["buy poison", "wait"]);
}

#[tokio::test]
async fn a_body_has_one_hundred_thousand_characters_at_most() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    // One to four bytes, from right to left, and letters that are put together from two.
    let scripts = ["a", "ж", "愛", "\u{1F600}", "ש", "ع", "e\u{301}", "\u{1F469}\u{200D}\u{1F680}"];
    let mut sent = Vec::new();
    for script in scripts {
        let body: String = script.chars().cycle().take(100_000).collect();
        romeo.send(format!("<message to='{{juliet}}' type='chat'><body>{body}</body></message>")).await;
        let message = juliet.receive().await;
        assert!(message.text_of("body").as_deref() == Some(&body), "{script}");
        romeo.send(format!("<message to='{{juliet}}' type='chat' id='l1'><body>{body}x</body></message>")).await;
        let error = romeo.expect("<message from='{juliet}' to='{romeo/orchard}' id='l1' type='error'>{error:modify:policy-violation}</message>").await;
        let text = error.child("error").and_then(|error| error.text_of("text"));
        assert!(text.is_some_and(|text| text.contains("100000")), "{error}");
        // It comes back from the archive as it was.
        let (last, _) = ask(&mut juliet, "", "<max>1</max><before/>").await;
        assert!(bodies(&last) == [body.as_str()], "{script}");
        sent.push(body);
    }
    juliet.barrier().await;
    let (results, _) = ask(&mut juliet, "", "").await;
    assert!(bodies(&results) == sent, "each once, and nothing of what was refused: {}", results.len());
}

#[tokio::test]
async fn an_account_chooses_what_is_kept() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    juliet.send("<iq type='get' id='p1'><prefs xmlns='urn:xmpp:mam:2'/></iq>").await;
    juliet
        .expect("<iq type='result' id='p1' {…}><prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs></iq>")
        .await;
    let prefs = "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never><jid>{romeo}</jid></never></prefs>";
    juliet.send(format!("<iq type='set' id='p2'>{prefs}</iq>")).await;
    juliet.expect(format!("<iq type='result' id='p2' {{…}}>{prefs}</iq>")).await;
    romeo.send("<message to='{juliet}' type='chat'><body>not here</body></message>").await;
    let message = juliet.receive().await;
    assert!(message.child_in("urn:xmpp:sid:0", "stanza-id").is_none(), "{message}");
    assert_eq!(bodies(&ask(&mut juliet, "", "").await.0), [""; 0]);
    assert_eq!(bodies(&ask(&mut romeo, "", "").await.0), ["not here"]);
    juliet.send("<iq type='set' id='p3'><prefs xmlns='urn:xmpp:mam:2' default='roster'/></iq>").await;
    juliet.receive().await;
    romeo.send("<message to='{juliet}' type='chat'><body>a stranger</body></message>").await;
    juliet.receive().await;
    scene.befriend(&mut juliet, &mut romeo).await;
    romeo.send("<message to='{juliet}' type='chat'><body>a friend</body></message>").await;
    juliet.receive().await;
    assert_eq!(bodies(&ask(&mut juliet, "", "").await.0), ["a friend"]);
    juliet.send("<iq type='set' id='p4'><prefs xmlns='urn:xmpp:mam:2' default='sometimes'/></iq>").await;
    juliet.expect("<iq type='error' id='p4' {…}>{error:modify:bad-request}</iq>").await;
}

#[tokio::test]
async fn a_retraction_leaves_a_tombstone_in_both_archives() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut paris = scene.session("paris/church").await;
    romeo.send("<message to='{juliet}' type='chat' id='m1'><body>wherefore</body></message>").await;
    juliet.receive().await;
    let retract =
        "<message to='{juliet}' type='chat' id='r1'><retract xmlns='urn:xmpp:message-retract:1' id='m1'/></message>";
    paris.send(retract).await;
    juliet.receive().await;
    assert_eq!(bodies(&ask(&mut juliet, "", "").await.0), ["wherefore", ""]);
    romeo.send(retract).await;
    juliet.receive().await;
    for client in [&mut romeo, &mut juliet] {
        let (results, _) = ask(client, "", "").await;
        let tombstone = stored(&results[0]);
        assert_eq!(tombstone.attribute("id"), Some("m1"));
        let retracted = tombstone.child_in("urn:xmpp:message-retract:1", "retracted").expect("a tombstone");
        assert_eq!(retracted.attribute("id"), Some("r1"));
        assert!(retracted.attribute("stamp").is_some() && tombstone.text_of("body").is_none(), "{tombstone}");
        assert!(stored(&results[results.len() - 1]).child_in("urn:xmpp:message-retract:1", "retract").is_some());
    }
}

#[tokio::test]
async fn whoever_gets_the_name_next_begins_with_an_empty_archive() {
    let server = TestServer::start(options().toml("[modules.register]\nenabled = true\n")).await;
    let scene = server.scene();
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<message to='{juliet}' type='chat'><body>mine</body></message>").await;
    assert_eq!(bodies(&ask(&mut juliet, "", "").await.0), ["mine"]);
    let (host, local) = (scene.host().to_owned(), scene.local("juliet"));
    let name = waxwing_core::address::NodePart::new(&local).unwrap().into_owned();
    server
        .with_house(move |house| async move {
            let host = house.hosts()[0].clone();
            host.contracts().accounts().unwrap().remove(&name).await.unwrap();
        })
        .await;
    juliet.expect_stream_error("not-authorized").await;
    server.add_account(&host, &local, &scene.password("juliet")).await;
    let mut another = scene.session("juliet/tomb").await;
    assert_eq!(bodies(&ask(&mut another, "", "").await.0), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_not_delivered() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    server.with_house(|house| async move { house.database().close().await }).await;
    romeo.set_patience(Duration::from_secs(30));
    romeo.send("<message to='{juliet/balcony}' type='chat' id='m1'><body>lost?</body></message>").await;
    romeo
        .expect("<message from='{juliet/balcony}' to='{romeo/orchard}' id='m1' type='error'>{error:wait:resource-constraint}</message>")
        .await;
    juliet.barrier().await;
}
