//! Who may register what, who may publish, and what a gateway says about itself.

use waxwing_testkit::TestServer;

use crate::browser::Browser;
use crate::common::{SERVER, options};
use crate::service::Service;
use crate::{Town, WEB, publish, publish_and_fail, publish_and_succeed, publish_with, refused, register, submit};

fn fields<'a>(endpoint: &'a str, key: &'a str, authentication: &'a str, name: &'a str) -> [(&'a str, &'a str); 4] {
    [("endpoint", endpoint), ("p256dh", key), ("auth", authentication), ("device-id", name)]
}

#[tokio::test]
async fn without_a_key_there_is_no_gateway() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet
        .send("<iq type='get' id='1' to='push.{host}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    juliet.expect(refused("1", "cancel:item-not-found")).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_used_stops_the_start_in_one_clear_line() {
    let missing = "[modules.push_gateway.web_push]\nkey = \"does-not-exist/vapid.pem\"";
    let error = TestServer::try_start(options().toml(missing)).await.err().expect("it does not start");
    let told = format!("{error:#}");
    assert!(told.contains("does-not-exist/vapid.pem") && told.contains("make_key"), "{told}");
}

#[tokio::test]
async fn a_gateway_tells_what_it_is() {
    let town = Town::new(&Service::start(&["h2"]).await.authority, WEB).await;
    let mut juliet = town.scene.session("juliet/balcony").await;
    juliet
        .send("<iq type='get' id='1' to='push.{host}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    juliet
        .expect(
            "<iq type='result' id='1' from='push.{host}' to='{juliet/balcony}'>\
             <query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='pubsub' type='push' name='Push notifications'/><feature var='urn:xmpp:push:0'/>\
             <feature var='http://jabber.org/protocol/commands'/>{…}</query></iq>",
        )
        .await;
    juliet
        .send(
            "<iq type='get' id='2' to='push.{host}'><query xmlns='http://jabber.org/protocol/disco#items' \
             node='http://jabber.org/protocol/commands'/></iq>",
        )
        .await;
    let item = |node: &str| format!("<item jid='push.{{host}}' node='{node}' name='{{any}}'/>");
    juliet
        .expect(format!(
            "<iq type='result' id='2' from='push.{{host}}' to='{{juliet/balcony}}'>\
             <query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'>{}{}{}\
             </query></iq>",
            item("register-push-web"),
            item("list-push-registrations"),
            item("unregister-push")
        ))
        .await;
    juliet.send(submit("register-push-apns", &[("token", "x")])).await;
    juliet.expect(refused("register", "cancel:item-not-found")).await;
    juliet.send("<message to='push.{host}' id='3'><body>hello?</body></message>").await;
    juliet
        .expect("<message type='error' id='3' from='push.{host}' to='{juliet/balcony}'>{error:cancel:service-unavailable}{…}</message>")
        .await;
}

#[tokio::test]
async fn only_who_knows_node_and_secret_wakes_a_device() {
    let service = Service::start(&["h2"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let mut nurse = town.scene.online("nurse/room").await;
    let browser = Browser::new();
    let (key, authentication) = (browser.key(), browser.authentication());
    register(&mut juliet, "register-push-web", &fields(&service.url("/x"), &key, &authentication, "b")).await;
    for secret in ["", "x", "{node}"] {
        nurse.send(publish_with("p", secret)).await;
        nurse.expect(refused("p", "auth:forbidden")).await;
    }
    nurse.send(publish("p").replace("{node}", "x{node}")).await;
    nurse.expect(refused("p", "cancel:item-not-found")).await;
    service.nothing().await;
    // Any server may publish for its users, and the secret is all that counts.
    publish_and_succeed(&mut nurse, "p").await;
    service.next().await;
    // What is not hers she cannot remove.
    nurse.send(submit("unregister-push", &[("node", "{node}")])).await;
    nurse.expect(refused("register", "cancel:item-not-found")).await;
    juliet.send(submit("unregister-push", &[("node", "{node}")])).await;
    juliet.expect("<iq type='result' id='register' from='push.{host}' to='{juliet/balcony}'>{…}</iq>").await;
    publish_and_fail(&mut nurse, "p", "cancel:item-not-found").await;
}

#[tokio::test]
async fn registrations_are_bounded_and_a_device_has_one() {
    let service = Service::start(&["h2"]).await;
    let town = Town::new(&service.authority, &format!("registrations_per_account = 2\n{WEB}")).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let browser = Browser::new();
    let (key, authentication) = (browser.key(), browser.authentication());
    let of = |name| fields("https://push.example.org/x", &key, &authentication, name);
    register(&mut juliet, "register-push-web", &of("one")).await;
    let (node, secret) = (juliet.captured("node"), juliet.captured("secret"));
    register(&mut juliet, "register-push-web", &of("one")).await;
    assert_eq!((juliet.captured("node"), juliet.captured("secret")), (node.clone(), secret));
    register(&mut juliet, "register-push-web", &of("two")).await;
    assert_ne!(juliet.captured("node"), node);
    juliet.send(submit("register-push-web", &of("three"))).await;
    juliet.expect(refused("register", "wait:resource-constraint")).await;
    juliet.send(submit("list-push-registrations", &[])).await;
    let list = juliet.receive().await;
    let form = list.child("command").and_then(|command| command.child("x")).expect("a form");
    assert_eq!(form.elements().filter(|child| child.name == "item").count(), 2, "{list:?}");
}

#[tokio::test]
async fn accounts_of_other_hosts_are_served_only_where_the_operator_says_so() {
    let service = Service::start(&["h2"]).await;
    for (clients, is_served) in [("local", false), ("anyone", true)] {
        let two = options().hosts(&["capulet.lit", "montague.lit"]);
        let town = Town::with(&service.authority, &format!("clients = \"{clients}\"\n{WEB}"), |_| {}, two).await;
        let mut romeo = town.scene.session("romeo@host2/orchard").await;
        let browser = Browser::new();
        let (key, authentication) = (browser.key(), browser.authentication());
        let fields = fields("https://push.example.org/x", &key, &authentication, "b");
        if is_served {
            register(&mut romeo, "register-push-web", &fields).await;
        } else {
            romeo.send(submit("register-push-web", &fields)).await;
            romeo.expect(refused("register", "auth:forbidden")).await;
        }
    }
}

#[tokio::test]
async fn a_device_is_not_woken_all_the_time_and_removed_with_its_account() {
    let service = Service::start(&["h2"]).await;
    let town = Town::new(&service.authority, &format!("wakes = \"2/min\"\n{WEB}")).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let mut nurse = town.scene.online("nurse/room").await;
    let browser = Browser::new();
    let (key, authentication) = (browser.key(), browser.authentication());
    register(&mut juliet, "register-push-web", &fields(&service.url("/x"), &key, &authentication, "b")).await;
    publish_and_succeed(&mut juliet, "p").await;
    publish_and_succeed(&mut juliet, "p").await;
    publish_and_fail(&mut juliet, "p", "wait:policy-violation").await;
    let host = town.server.host().to_owned();
    let name = town.scene.local("juliet");
    town.server
        .with_house(move |house| async move {
            let host = house.hosts().iter().find(|candidate| candidate.domain().as_str() == host).cloned().unwrap();
            let name = waxwing_core::address::NodePart::new(&name).unwrap().into_owned();
            host.contracts().accounts().unwrap().remove(&name).await.unwrap();
        })
        .await;
    publish_and_fail(&mut nurse, "p", "cancel:item-not-found").await;
}
