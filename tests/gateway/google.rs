//! Google's service: an access token for a signature, and what it says about devices.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{from_base64, read_token};
use crate::common::options;
use crate::service::{Answer, Seen, Service};
use crate::{Town, publish_and_fail, publish_and_succeed, register};

async fn town(service: &Service) -> (Town, Vec<u8>) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der = pair.as_der().expect("a document");
    let lines: Vec<String> = STANDARD
        .encode(der.as_ref())
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let account = serde_json::json!({
        "type": "service_account",
        "project_id": "chat-of-verona",
        "private_key_id": "key7",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")),
        "client_email": "push@chat-of-verona.example",
        "token_uri": service.url("/token"),
    });
    let settings = format!(
        "[modules.push_gateway.fcm]\nservice_account = \"{{folder}}/account.json\"\nendpoint = \"{}\"\n",
        service.url("")
    );
    let fill =
        |folder: &std::path::Path| std::fs::write(folder.join("account.json"), account.to_string()).expect("a file");
    let town = Town::with(&service.authority, &settings, fill, options()).await;
    (town, pair.public_key().as_ref().to_vec())
}

fn granted(token: &str) -> Answer {
    Answer::status(200).body(format!("{{\"access_token\":\"{token}\",\"expires_in\":3599,\"token_type\":\"Bearer\"}}"))
}

/// The request for a token is signed by the service account.
fn check_assertion(seen: &Seen, service: &Service, key: &[u8]) {
    assert_eq!(seen.path, "/token");
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    let body = std::str::from_utf8(&seen.body).unwrap();
    let assertion = body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    let (signed, signature) = assertion.unwrap().rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &from_base64(signature))
        .expect("it is signed");
    let (head, claims) = read_token(signed);
    assert_eq!((head["alg"].as_str(), head["kid"].as_str()), (Some("RS256"), Some("key7")));
    assert_eq!(claims["iss"].as_str(), Some("push@chat-of-verona.example"));
    assert_eq!(claims["aud"].as_str(), Some(service.url("/token").as_str()));
    assert_eq!(claims["scope"].as_str(), Some("https://www.googleapis.com/auth/firebase.messaging"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
}

#[tokio::test]
async fn a_device_is_woken_with_a_token_that_is_fetched_once() {
    let service = Service::start(&["h2", "http/1.1"]).await;
    let (town, key) = town(&service).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    let fields = [("token", "fcm:Token_1"), ("android-id", "0ab43fb78f92ba10")];
    register(&mut juliet, "register-push-fcm", &fields).await;
    service.will(granted("ya29.first"));
    publish_and_succeed(&mut juliet, "p1").await;
    check_assertion(&service.next().await, &service, &key);
    let seen = service.next().await;
    assert_eq!(seen.path, "/v1/projects/chat-of-verona/messages:send");
    assert_eq!(seen.header("authorization"), "Bearer ya29.first");
    let message = &seen.json()["message"];
    assert_eq!(
        (message["token"].as_str(), message["android"]["priority"].as_str()),
        (Some("fcm:Token_1"), Some("HIGH"))
    );
    assert_eq!(message["data"]["node"].as_str(), Some(juliet.captured("node").as_str()));
    assert_eq!(message["data"]["account"].as_str().map(str::len), Some(40));
    assert_eq!(message["data"].as_object().unwrap().len(), 2, "who has written what is not Google's business");
    publish_and_succeed(&mut juliet, "p2").await;
    assert_eq!(service.next().await.header("authorization"), "Bearer ya29.first");
    service.nothing().await;
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew_once() {
    let service = Service::start(&["h2"]).await;
    let (town, _) = town(&service).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    register(&mut juliet, "register-push-fcm", &[("token", "t")]).await;
    service.will(granted("one")).will(Answer::status(401)).will(granted("two"));
    publish_and_succeed(&mut juliet, "p1").await;
    for _ in 0..3 {
        service.next().await;
    }
    assert_eq!(service.next().await.header("authorization"), "Bearer two");
    service.will(Answer::status(401)).will(granted("three")).will(Answer::status(401));
    publish_and_fail(&mut juliet, "p2", "wait:service-unavailable").await;
}

#[tokio::test]
async fn a_device_that_is_gone_is_forgotten_and_a_wrong_account_costs_nobody_his_registration() {
    let service = Service::start(&["h2"]).await;
    let (town, _) = town(&service).await;
    let mut juliet = town.scene.online("juliet/balcony").await;
    register(&mut juliet, "register-push-fcm", &[("token", "t")]).await;
    service.will(Answer::status(400).body("{\"error\":\"invalid_grant\"}"));
    publish_and_fail(&mut juliet, "p1", "wait:service-unavailable").await;
    service.next().await;
    service.will(granted("one")).will(Answer::status(404).body("<html>no such project</html>"));
    publish_and_fail(&mut juliet, "p2", "wait:service-unavailable").await;
    service.will(Answer::status(404).body(
        "{\"error\":{\"code\":404,\"status\":\"NOT_FOUND\",\"details\":[{\"@type\":\
         \"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\"errorCode\":\"UNREGISTERED\"}]}}",
    ));
    publish_and_fail(&mut juliet, "p3", "cancel:item-not-found").await;
    for _ in 0..3 {
        service.next().await;
    }
    publish_and_fail(&mut juliet, "p4", "cancel:item-not-found").await;
    service.nothing().await;
}
