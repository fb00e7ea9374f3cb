//! The whole way: a message for somebody who is away, her server's notification (XEP-0357), and the browser that is woken.

use crate::browser::Browser;
use crate::service::{Answer, Service};
use crate::{Town, WEB, publish_and_fail, register};

#[tokio::test]
async fn a_message_for_somebody_who_is_away_wakes_her_browser() {
    let service = Service::start(&["h2", "http/1.1"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut romeo = town.scene.online("romeo/orchard").await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    town.scene.befriend(&mut romeo, &mut juliet).await;
    let browser = Browser::new();
    let endpoint = service.url("/send/juliet");
    let fields = [("endpoint", &*endpoint), ("p256dh", &*browser.key()), ("auth", &*browser.authentication())];
    register(&mut juliet, "register-push-web", &fields).await;
    juliet
        .send(
            "<iq type='set' id='enable'><enable xmlns='urn:xmpp:push:0' jid='push.{host}' node='{node}'>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
             <field var='secret'><value>{secret}</value></field></x></enable></iq>",
        )
        .await;
    juliet.expect("<iq type='result' id='enable' to='{juliet/balcony}' {…}/>").await;
    let node = juliet.captured("node");
    juliet.send("</stream:stream>").await;
    juliet.expect_end().await;
    romeo.send("<message to='{juliet}' type='chat' id='m1'><body>But soft</body></message>").await;
    let seen = service.next().await;
    assert_eq!(browser.read(&seen)["node"].as_str(), Some(node.as_str()));
    // A browser that is gone is forgotten on the whole way.
    service.will(Answer::status(410));
    let mut nurse = town.scene.online("nurse/room").await;
    nurse.send("<message to='{juliet}' type='chat' id='m2'><body>Anon</body></message>").await;
    service.next().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    publish_and_fail(&mut nurse, "p", "cancel:item-not-found").await;
    service.nothing().await;
}
