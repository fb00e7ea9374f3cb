//! Who registers, and when a device that is offline is called.

use waxwing_testkit::TestServer;

use crate::app::{App, SERVER, away, goes, quick, registers, writes};

#[tokio::test]
async fn an_offline_message_calls_once_and_says_who_and_how_many() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    away(&scene, "juliet/phone", "n1").await;
    writes(&mut romeo, "juliet", "soft").await;
    let called = app.takes_call().await;
    assert_eq!((called.node.as_str(), called.count()), ("n1", 1));
    assert_eq!(called.said("last-message-sender"), Some(scene.jid("romeo/orchard")));
    assert_eq!(called.said("last-message-body").as_deref(), Some("New message"), "what was said is nobody's business");
    assert_eq!(called.option("secret").as_deref(), Some("secret of n1"));
    app.is_left_alone().await;
    // What comes in the pause is called for together, at its end.
    for word in ["what", "light", "through"] {
        writes(&mut romeo, "juliet", word).await;
    }
    let first = app.takes_call().await;
    assert_eq!(first.count(), 2);
    assert_eq!(app.takes_call().await.count(), 4);
    app.is_left_alone().await;
    // She comes back, has everything, and goes again: it is counted anew.
    let juliet = scene.online("juliet/phone").await;
    goes(juliet).await;
    writes(&mut romeo, "juliet", "yonder").await;
    assert_eq!(app.takes_call().await.count(), 1);
}

#[tokio::test]
async fn what_no_person_says_calls_nobody() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    away(&scene, "juliet/phone", "n1").await;
    for content in [
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "<body>x</body><no-store xmlns='urn:xmpp:hints'/>",
    ] {
        romeo.send(format!("<message type='chat' to='{{juliet}}'>{content}</message>")).await;
    }
    romeo.send("<message type='headline' to='{juliet}'><body>news</body></message>").await;
    romeo.drain().await;
    // What she writes herself, to others or to herself, on another device.
    let mut desk = scene.online("juliet/desk").await;
    writes(&mut desk, "romeo", "hi").await;
    writes(&mut desk, "juliet", "a note").await;
    app.is_left_alone().await;
    romeo.send("<message to='{juliet}'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>").await;
    assert_eq!(app.takes_call().await.node, "n1", "but a call rings");
}

#[tokio::test]
async fn a_device_is_called_no_more_when_its_client_says_so() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/phone").await;
    for node in ["n1", "n2", "n3"] {
        registers(&mut juliet, node).await;
    }
    juliet.send("<iq type='set' id='off'><disable xmlns='urn:xmpp:push:0' jid='{app/push}' node='n2'/></iq>").await;
    juliet.expect("<iq type='result' id='off' {…}/>").await;
    goes(juliet).await;
    writes(&mut romeo, "juliet", "one").await;
    let mut nodes = [app.takes_call().await.node, app.takes_call().await.node];
    nodes.sort();
    assert_eq!(nodes, ["n1", "n3"]);
    let mut juliet = scene.session("juliet/phone").await;
    juliet.send("<iq type='set' id='off'><disable xmlns='urn:xmpp:push:0' jid='{app/push}'/></iq>").await;
    juliet.expect("<iq type='result' id='off' {…}/>").await;
    goes(juliet).await;
    writes(&mut romeo, "juliet", "two").await;
    app.is_left_alone().await;
}

#[tokio::test]
async fn registering_is_discovered_and_is_for_oneself_and_with_an_app_server() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/phone").await;
    let mut mallory = scene.online("mallory/x").await;
    juliet
        .send("<iq type='get' id='d' to='{juliet}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    let told = juliet.expect("<iq type='result' id='d' {…}>{…}</iq>").await;
    let features: Vec<_> = told.child("query").unwrap().elements().filter_map(|child| child.attribute("var")).collect();
    assert!(features.contains(&"urn:xmpp:push:0") && features.contains(&"http://jabber.org/protocol/commands"));
    for (who, enable, condition) in [
        ("mallory", "to='{juliet}'><enable xmlns='urn:xmpp:push:0' jid='push.lit' node='n'/>", "service-unavailable"),
        (
            "mallory",
            "to='nobody@{host}'><enable xmlns='urn:xmpp:push:0' jid='push.lit' node='n'/>",
            "service-unavailable",
        ),
        ("juliet", "><enable xmlns='urn:xmpp:push:0' node='n'/>", "bad-request"),
        ("juliet", "><enable xmlns='urn:xmpp:push:0' jid='a@@b' node='n'/>", "jid-malformed"),
        // The server would publish in somebody's nodes in its own name.
        ("juliet", "><enable xmlns='urn:xmpp:push:0' jid='{mallory}' node='urn:xmpp:bookmarks:1'/>", "not-acceptable"),
    ] {
        let client = if who == "juliet" { &mut juliet } else { &mut mallory };
        client.send(format!("<iq type='set' id='e' {enable}</iq>")).await;
        let error = client.expect("<iq type='error' id='e' {…}>{…}</iq>").await;
        assert!(error.child("error").unwrap().child(condition).is_some(), "{condition}: {error}");
    }
}

#[tokio::test]
async fn the_newest_registrations_of_an_account_stay_and_survive_a_restart() {
    let server = TestServer::start(quick()).await;
    let scene = server.scene();
    App::start(&scene).await;
    let mut juliet = scene.online("juliet/phone").await;
    for number in 0..25 {
        registers(&mut juliet, &format!("n{number}")).await;
    }
    goes(juliet).await;
    server.stop().await;
    server.start_again().await.unwrap();
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    writes(&mut romeo, "juliet", "one").await;
    let mut nodes = Vec::new();
    for _ in 0..20 {
        let called = app.takes_call().await;
        assert_eq!(called.option("secret"), Some(format!("secret of {}", called.node)));
        nodes.push(called.node[1..].parse::<u32>().unwrap());
    }
    nodes.sort_unstable();
    assert_eq!(nodes, (5..25).collect::<Vec<_>>());
    app.is_left_alone().await;
}

/// Writes down for which messages of a conversation she wants to be called (XEP-0492), in her bookmarks (XEP-0402).
async fn chooses(juliet: &mut waxwing_testkit::RawClient, chat: &str, choice: &str) {
    juliet
        .send(format!(
            "<iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <publish node='urn:xmpp:bookmarks:1'><item id='{chat}'><conference xmlns='urn:xmpp:bookmarks:1'><extensions>\
             <notify xmlns='urn:xmpp:notification-settings:1'><always/>\
             <{choice} identity-category='client' identity-type='phone'/></notify></extensions></conference></item>\
             </publish><publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
             <field var='pubsub#persist_items'><value>true</value></field>\
             <field var='pubsub#max_items'><value>max</value></field>\
             <field var='pubsub#access_model'><value>whitelist</value></field></x></publish-options></pubsub></iq>"
        ))
        .await;
    juliet.expect("<iq type='result' id='b' {…}>{…}</iq>").await;
}

#[tokio::test]
async fn a_conversation_that_is_muted_calls_nobody() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut paris = scene.online("paris/hall").await;
    let mut juliet = scene.session("juliet/phone").await;
    registers(&mut juliet, "n1").await;
    chooses(&mut juliet, "{paris}", "never").await;
    chooses(&mut juliet, "{romeo}", "always").await;
    goes(juliet).await;
    writes(&mut paris, "juliet", "hello?").await;
    app.is_left_alone().await;
    writes(&mut romeo, "juliet", "hello?").await;
    let called = app.takes_call().await;
    assert_eq!((called.count(), called.said("last-message-sender")), (1, Some(scene.jid("romeo/orchard"))));
}
