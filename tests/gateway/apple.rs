//! Apple's service: HTTP/2, tokens, and what it says about devices.

use hyper::Version;

use crate::browser::check_token;
use crate::common::options;
use crate::service::{Answer, Service};
use crate::{Town, publish_and_fail, publish_and_succeed, refused, register, submit};

const DEVICE: &str = "243CA5F2A4EE00B66E3208CD05C962A30EFA80B2D9F8DD508CE8182E04EAB695";

async fn town(service: &Service, more: &str) -> (Town, Vec<u8>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let settings = format!(
        "[modules.push_gateway.apns]\nkey = \"{{folder}}/AuthKey.p8\"\nkey_id = \"ABC123DEFG\"\nteam_id = \"TEAM123456\"\n\
         topics = [\"org.example.chat\", \"org.example.other\"]\nendpoint = \"{}\"\nsandbox = \"{}/sandbox\"\n{more}",
        service.url(""),
        service.url("")
    );
    let pem = key.serialize_pem();
    let fill = |folder: &std::path::Path| std::fs::write(folder.join("AuthKey.p8"), pem).expect("a file");
    (Town::with(&service.authority, &settings, fill, options()).await, key.public_key_raw().to_vec())
}

#[tokio::test]
async fn a_device_is_woken_over_http2_and_told_nothing() {
    let service = Service::start(&["h2"]).await;
    let (town, key) = town(&service, "").await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    register(&mut juliet, "register-push-apns", &[("token", DEVICE), ("device-id", "phone")]).await;
    publish_and_succeed(&mut juliet, "p1").await;
    let seen = service.next().await;
    assert_eq!(seen.version, Version::HTTP_2);
    assert_eq!(seen.path, format!("/3/device/{}", DEVICE.to_ascii_lowercase()));
    let header = |name| seen.header(name);
    assert_eq!(
        (header("apns-topic"), header("apns-push-type"), header("apns-priority")),
        ("org.example.chat", "alert", "10")
    );
    let (head, claims) = check_token(header("authorization").strip_prefix("bearer ").unwrap(), &key);
    assert_eq!((head["alg"].as_str(), head["kid"].as_str()), (Some("ES256"), Some("ABC123DEFG")));
    assert_eq!(claims["iss"].as_str(), Some("TEAM123456"));
    let told = seen.json();
    assert_eq!((&told["aps"]["mutable-content"], told["node"].as_str()), (&1.into(), Some(&*juliet.captured("node"))));
    let text = told.to_string();
    assert!(!text.contains("romeo") && !text.contains("love") && !text.contains("badge"), "{text}");
    // The second goes over the same connection with the same token.
    publish_and_succeed(&mut juliet, "p2").await;
    assert_eq!(service.next().await.header("authorization"), seen.header("authorization"));
}

#[tokio::test]
async fn the_operator_may_let_apple_know_more_and_apps_under_development_have_their_own_place() {
    let service = Service::start(&["h2"]).await;
    let (town, _) = town(&service, "details = \"all\"\n").await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let fields = [("token", DEVICE), ("topic", "org.example.other"), ("environment", "sandbox")];
    register(&mut juliet, "register-push-apns", &fields).await;
    publish_and_succeed(&mut juliet, "p1").await;
    let seen = service.next().await;
    assert!(seen.path.starts_with("/sandbox/3/device/"), "{}", seen.path);
    assert_eq!(seen.header("apns-topic"), "org.example.other");
    assert_eq!(seen.json()["aps"]["alert"]["body"].as_str(), Some("Call me but love"));
    assert_eq!(seen.json()["aps"]["badge"].as_i64(), Some(1));
}

#[tokio::test]
async fn a_device_that_is_gone_is_forgotten_and_one_that_was_never_there_is_not_taken() {
    let service = Service::start(&["h2"]).await;
    let (town, _) = town(&service, "").await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    for (status, reason) in [(410, "Unregistered"), (400, "BadDeviceToken")] {
        register(&mut juliet, "register-push-apns", &[("token", DEVICE)]).await;
        service.will(Answer::status(status).body(format!("{{\"reason\":\"{reason}\"}}")));
        publish_and_fail(&mut juliet, "p1", "cancel:item-not-found").await;
        service.next().await;
        publish_and_fail(&mut juliet, "p2", "cancel:item-not-found").await;
        service.nothing().await;
    }
    for fields in
        [[("token", "../../x"), ("topic", "org.example.chat")], [("token", DEVICE), ("topic", "org.example.stolen")]]
    {
        juliet.send(submit("register-push-apns", &fields)).await;
        juliet.expect(refused("register", "modify:bad-request")).await;
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_signed_anew_once() {
    let service = Service::start(&["h2"]).await;
    let (town, key) = town(&service, "").await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    register(&mut juliet, "register-push-apns", &[("token", DEVICE)]).await;
    let expired = Answer::status(403).body("{\"reason\":\"ExpiredProviderToken\"}");
    service.will(expired.clone());
    publish_and_succeed(&mut juliet, "p1").await;
    service.next().await;
    check_token(service.next().await.header("authorization").strip_prefix("bearer ").unwrap(), &key);
    service.will(expired.clone()).will(expired);
    publish_and_fail(&mut juliet, "p2", "wait:service-unavailable").await;
    service.next().await;
    service.next().await;
    service.nothing().await;
}
