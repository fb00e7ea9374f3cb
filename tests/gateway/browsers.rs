//! Web Push: RFC 8030, RFC 8291, RFC 8292.

use std::time::{Duration, Instant};

use waxwing_testkit::RawClient;

use crate::browser::{Browser, check_token, from_base64};
use crate::service::{Answer, Service};
use crate::{Town, WEB, publish, publish_and_fail, publish_and_succeed, refused, register, submit};

async fn subscribe(client: &mut RawClient, browser: &Browser, endpoint: &str) {
    let fields =
        [("endpoint", endpoint), ("p256dh", &*browser.key()), ("auth", &*browser.authentication()), ("device-id", "b")];
    register(client, "register-push-web", &fields).await;
}

#[tokio::test]
async fn a_browser_is_woken_and_nobody_else_can_read_why() {
    let service = Service::start(&["h2", "http/1.1"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    // The key that the browser needs to subscribe comes with the form.
    juliet
        .send(
            "<iq type='set' id='form' to='push.{host}'><command xmlns='http://jabber.org/protocol/commands' \
             node='register-push-web' action='execute'/></iq>",
        )
        .await;
    juliet
        .expect(
            "<iq type='result' id='form' from='push.{host}' to='{juliet/balcony}'>\
             <command xmlns='http://jabber.org/protocol/commands' node='register-push-web' sessionid='{any}' \
             status='executing'><actions execute='complete'><complete/></actions>\
             <x xmlns='jabber:x:data' type='form'><title>{any}</title><field var='vapid' type='hidden' label='{any}'>\
             <value>{capture:vapid}</value></field>{…}</x></command></iq>",
        )
        .await;
    let browser = Browser::new();
    subscribe(&mut juliet, &browser, &service.url("/send/juliet?x=y")).await;
    publish_and_succeed(&mut juliet, "p1").await;
    let seen = service.next().await;
    assert_eq!(seen.path, "/send/juliet");
    assert_eq!((seen.header("ttl"), seen.header("urgency"), seen.header("topic").len()), ("172800", "high", 32));
    let (token, key) = seen.header("authorization").strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    assert_eq!(key, juliet.captured("vapid"));
    let (head, claims) = check_token(token, &from_base64(key));
    assert_eq!((head["alg"].as_str(), claims["sub"].as_str()), (Some("ES256"), Some("mailto:abbot@verona.lit")));
    assert_eq!(claims["aud"].as_str(), Some(service.url("").as_str()));
    for word in ["love", "romeo", "node", "count"] {
        assert!(!seen.body.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    let read = browser.read(&seen);
    assert_eq!(read["node"].as_str(), Some(juliet.captured("node").as_str()));
    assert_eq!(
        (read["message-count"].as_i64(), read["last-message-body"].as_str()),
        (Some(1), Some("Call me but love"))
    );
    service.nothing().await;
    assert!(town.file("vapid.pem").exists());
}

#[tokio::test]
async fn a_subscription_that_is_over_is_forgotten_and_its_publisher_told() {
    let service = Service::start(&["http/1.1"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    for status in [404, 410] {
        subscribe(&mut juliet, &Browser::new(), &service.url("/x")).await;
        service.will(Answer::status(status));
        publish_and_fail(&mut juliet, "p1", "cancel:item-not-found").await;
        service.next().await;
        publish_and_fail(&mut juliet, "p2", "cancel:item-not-found").await;
        service.nothing().await;
    }
}

#[tokio::test]
async fn a_service_that_is_busy_is_asked_again_when_it_wants_to_be() {
    let service = Service::start(&["h2"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let browser = Browser::new();
    subscribe(&mut juliet, &browser, &service.url("/x")).await;
    for answer in [Answer::status(429).retry_after(1), Answer::status(503), Answer::status(500)] {
        service.will(answer);
        let begun = Instant::now();
        publish_and_succeed(&mut juliet, "p").await;
        service.next().await;
        assert_eq!(browser.read(&service.next().await)["message-count"].as_i64(), Some(1));
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    service.nothing().await;
}

#[tokio::test]
async fn what_is_older_is_not_sent_again_after_what_is_newer() {
    let service = Service::start(&["h2"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    subscribe(&mut juliet, &Browser::new(), &service.url("/x")).await;
    service.will(Answer::status(500));
    publish_and_succeed(&mut juliet, "p1").await;
    service.next().await;
    publish_and_succeed(&mut juliet, "p2").await;
    service.next().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    service.nothing().await;
}

#[tokio::test]
async fn a_service_that_wants_too_long_a_pause_or_nothing_at_all_costs_the_notification_and_no_more() {
    let service = Service::start(&["h2"]).await;
    let town = Town::new(&service.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    subscribe(&mut juliet, &Browser::new(), &service.url("/x")).await;
    service.will(Answer::status(429).retry_after(3_600));
    publish_and_fail(&mut juliet, "p1", "wait:resource-constraint").await;
    for status in [400, 401, 403, 413, 302] {
        service.will(Answer::status(status));
        publish_and_fail(&mut juliet, "p2", "wait:service-unavailable").await;
    }
    publish_and_succeed(&mut juliet, "p3").await;
}

#[tokio::test]
async fn nobody_makes_the_server_talk_to_its_neighbours() {
    let service = Service::start(&["h2", "http/1.1"]).await;
    let town = Town::new(&service.authority, &format!("private_addresses = false\n{WEB}")).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let browser = Browser::new();
    let port = service.address.port();
    for endpoint in [
        service.url("/x"),
        format!("https://[::1]:{port}/x"),
        "https://10.0.0.1/".to_owned(),
        "https://169.254.169.254/latest".to_owned(),
        "https://[::ffff:127.0.0.1]/".to_owned(),
        "http://push.example.org/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let fields = [("endpoint", &*endpoint), ("p256dh", &*browser.key()), ("auth", &*browser.authentication())];
        juliet.send(submit("register-push-web", &fields)).await;
        juliet.expect(refused("register", "modify:bad-request")).await;
    }
    // What a name leads to is known only when it is looked up.
    subscribe(&mut juliet, &browser, &format!("https://localhost:{port}/x")).await;
    juliet.send(publish("p1")).await;
    juliet.receive().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    service.nothing().await;
}

#[tokio::test]
async fn a_subscription_that_nobody_could_read_is_not_taken() {
    let town = Town::new(&Service::start(&["h2"]).await.authority, WEB).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let (browser, endpoint) = (Browser::new(), "https://push.example.org/x");
    let (key, authentication) = (browser.key(), browser.authentication());
    let off_the_curve = "BAAA".to_owned() + &"A".repeat(83);
    for (endpoint, key, authentication) in [
        (endpoint, "", authentication.as_str()),
        (endpoint, off_the_curve.as_str(), &authentication),
        (endpoint, &key[..80], &authentication),
        (endpoint, &key, "AAAA"),
        (endpoint, &key, "!"),
        ("", &key, &authentication),
        ("https://push.example.org:x/", &key, &authentication),
        (&*format!("{endpoint}/{}", "x".repeat(2_048)), &key, &authentication),
    ] {
        let fields = [("endpoint", endpoint), ("p256dh", key), ("auth", authentication)];
        juliet.send(submit("register-push-web", &fields)).await;
        juliet.expect(refused("register", "modify:bad-request")).await;
    }
}
