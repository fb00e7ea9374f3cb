//! SASL (RFC 6120 §6, RFC 5802, XEP-0474): attempts, retries and failures.

use waxwing_core::storage::Value;
use waxwing_testkit::scram::{Scram, base64};
use waxwing_testkit::{Element, RawClient, Scene, TestServer};

use crate::common::{SERVER, options};

/// A client that may log in now, and the name of its account.
async fn at_the_door(scene: &Scene) -> (RawClient, String) {
    let name = scene.account("romeo").await;
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    (client, name)
}

#[tokio::test]
async fn c34_a_second_auth_takes_the_place_of_the_first() {
    let scene = SERVER.scene().await;
    let (mut client, name) = at_the_door(&scene).await;
    let first = client.scram(&name, &scene.password("romeo"));
    let challenge = client.auth(&first.mechanism, &base64(first.first())).await;
    assert_eq!(challenge.name, "challenge", "{challenge}");
    let second = Scram::new("SCRAM-SHA-512", &name, &scene.password("romeo"));
    client.try_scram(&second).await.expect("the second attempt succeeds");
    client.open_stream(scene.host()).await;
    client.bind("orchard").await;
}

#[tokio::test]
async fn c35_abort_is_answered_and_a_new_attempt_may_follow() {
    let scene = SERVER.scene().await;
    let (mut client, name) = at_the_door(&scene).await;
    let scram = client.scram(&name, &scene.password("romeo"));
    let challenge = client.auth(&scram.mechanism, &base64(scram.first())).await;
    assert_eq!(challenge.name, "challenge", "{challenge}");
    client.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
    client.expect_sasl_failure("aborted").await;
    client.try_scram(&scram).await.expect("a new attempt succeeds");
}

#[tokio::test]
async fn c36_bad_data_fails_for_the_right_reason() {
    let scene = SERVER.scene().await;
    let first = "n,,n=romeo,r=fyko+d2lbbFgONRv9qkxdawL";
    let padded = base64(first);
    assert!(padded.ends_with('='), "the example needs padding: {padded}");
    // The same bytes, but the bits that mean nothing are not zero.
    let last = padded.trim_end_matches('=').chars().next_back().expect("a letter");
    let next = char::from_u32(u32::from(last) + 1).expect("another letter");
    let bits = padded.replace(&format!("{last}="), &format!("{next}="));
    assert_ne!(bits, padded);
    let unpadded = padded.trim_end_matches('=').to_owned();
    for (mechanism, response, condition) in [
        ("SCRAM-SHA-256", "%%%", "incorrect-encoding"),
        ("SCRAM-SHA-256", "biws\u{a0}", "incorrect-encoding"),
        ("SCRAM-SHA-256", "====", "incorrect-encoding"),
        ("SCRAM-SHA-256", bits.as_str(), "incorrect-encoding"),
        ("SCRAM-SHA-256", unpadded.as_str(), "incorrect-encoding"),
        ("FOO", padded.as_str(), "invalid-mechanism"),
        ("", padded.as_str(), "invalid-mechanism"),
        ("scram-sha-256", padded.as_str(), "invalid-mechanism"),
        ("PLAIN", "AHJvbWVvAHNlY3JldA==", "invalid-mechanism"),
        ("SCRAM-SHA-256", "=", "malformed-request"),
        ("SCRAM-SHA-256", "bm9uc2Vuc2U=", "malformed-request"),
    ] {
        let (mut client, _) = at_the_door(&scene).await;
        let failure = client.auth(mechanism, response).await;
        let found = failure.elements().next().map(|condition| condition.name.as_str());
        assert_eq!((failure.name.as_str(), found), ("failure", Some(condition)), "{mechanism} {response}");
    }
}

#[tokio::test]
async fn c36_a_response_may_not_be_nonsense_either() {
    let scene = SERVER.scene().await;
    let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
    for (response, condition) in [("%%%", "incorrect-encoding"), ("bm9uc2Vuc2U=", "malformed-request")] {
        let (mut client, name) = at_the_door(&scene).await;
        let scram = client.scram(&name, &scene.password("romeo"));
        client.auth(&scram.mechanism, &base64(scram.first())).await;
        client.send_bytes(format!("<response xmlns='{sasl}'>{response}</response>")).await;
        client.expect_sasl_failure(condition).await;
        // A response to nothing.
        client.send_bytes(format!("<response xmlns='{sasl}'>biws</response>")).await;
        client.expect_sasl_failure("malformed-request").await;
    }
}

#[tokio::test]
async fn c37_a_wrong_password_and_an_unknown_user_look_the_same() {
    let scene = SERVER.scene().await;
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut failures = Vec::new();
        for name in [scene.account("romeo").await, scene.local("nobody")] {
            let (mut client, _) = at_the_door(&scene).await;
            let scram = Scram::new(mechanism, &name, "not the password");
            failures.push(client.try_scram(&scram).await.expect_err("it is not the password"));
        }
        assert_eq!(failures[0], failures[1]);
        let conditions: Vec<&str> = failures[0].elements().map(|child| child.name.as_str()).collect();
        assert_eq!(conditions, ["not-authorized"]);
    }
}

#[tokio::test]
async fn c37_a_disabled_account_is_told_so_only_after_a_correct_proof() {
    let scene = SERVER.scene().await;
    let name = scene.account("romeo").await;
    let (host, account) = (scene.host().to_owned(), name.clone());
    let disabled = scene.server().with_house(async move |house: std::sync::Arc<waxwing_core::house::House>| {
        let disable = "UPDATE accounts SET disabled = 1 WHERE host = $1 AND name = $2";
        house.database().execute(disable, &[Value::from(host.as_str()), Value::from(account.as_str())]).await
    });
    assert_eq!(disabled.await.expect("the database answers"), 1);
    let condition = |failure: &Element| failure.elements().next().map(|child| child.name.clone()).unwrap_or_default();
    let (mut client, _) = at_the_door(&scene).await;
    let wrong = client.try_scram(&client.scram(&name, "not the password")).await.expect_err("it is not the password");
    assert_eq!(condition(&wrong), "not-authorized");
    let right = client.try_scram(&client.scram(&name, &scene.password("romeo"))).await.expect_err("it is closed");
    assert_eq!(condition(&right), "account-disabled");
}

#[tokio::test]
async fn c38_a_few_retries_and_no_more() {
    let scene = SERVER.scene().await;
    let (mut client, name) = at_the_door(&scene).await;
    let mut failures = 0;
    // RFC 6120 §6.4.5: at least 2 and at most 5 retries.
    loop {
        let scram = client.scram(&name, "not the password");
        let answer = client.auth(&scram.mechanism, &base64(scram.first())).await;
        let answer = if answer.name == "challenge" {
            let server_first = waxwing_testkit::scram::from_base64(&answer.text());
            let last = base64(scram.last(&server_first).message);
            client.send_bytes(format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>")).await;
            client.receive().await
        } else {
            answer
        };
        if answer.name == "error" {
            assert!(answer.child("policy-violation").is_some(), "{answer}");
            break;
        }
        assert!(answer.name == "failure" && answer.child("not-authorized").is_some(), "{answer}");
        failures += 1;
        assert!(failures <= 6, "no end to the retries");
    }
    assert!((3..=6).contains(&failures), "{failures} failures");
    client.expect_end().await;
}

#[tokio::test]
async fn c38_a_retry_after_a_failure_succeeds() {
    let scene = SERVER.scene().await;
    let (mut client, name) = at_the_door(&scene).await;
    for _ in 0..2 {
        let wrong = client.scram(&name, "not the password");
        client.try_scram(&wrong).await.expect_err("it is not the password");
    }
    let right = client.scram(&name, &scene.password("romeo"));
    client.try_scram(&right).await.expect("the right password");
    client.open_stream(scene.host()).await;
    client.bind("orchard").await;
}

#[tokio::test]
async fn c39_only_oneself_can_be_acted_for() {
    let scene = SERVER.scene().await;
    let juliet = scene.account("juliet").await;
    let (mut client, name) = at_the_door(&scene).await;
    let host = scene.host();
    for authzid in [format!("{name}@{host}/orchard"), format!("{juliet}@{host}"), "nobody@montague.lit".to_owned()] {
        let (mut client, _) = at_the_door(&scene).await;
        let scram = Scram::new("SCRAM-SHA-256", &name, &scene.password("romeo")).gs2(&format!("n,a={authzid},"));
        let failure = client.try_scram(&scram).await.expect_err("not allowed");
        assert!(failure.child("invalid-authzid").is_some(), "{authzid}: {failure}");
    }
    let scram = Scram::new("SCRAM-SHA-256", &name, &scene.password("romeo")).gs2(&format!("n,a={name}@{host},"));
    client.try_scram(&scram).await.expect("his own address is fine");
}

#[tokio::test]
async fn c40_a_header_of_somebody_else_ends_the_stream() {
    let scene = SERVER.scene().await;
    scene.account("juliet").await;
    // The header after the login.
    let (mut client, name) = at_the_door(&scene).await;
    let scram = client.scram(&name, &scene.password("romeo"));
    client.try_scram(&scram).await.expect("the right password");
    client.begin_stream(waxwing_testkit::stream_header("to='{host}' from='{juliet}' version='1.0'")).await;
    client.expect_stream_error("invalid-from").await;
    // The header before it, under TLS: the login does not fit it.
    let mut client = scene.connect_tls().await;
    client.set_stream_attributes(&format!("from='{}'", scene.jid("juliet")));
    client.open_stream(scene.host()).await;
    let scram = client.scram(&name, &scene.password("romeo"));
    match client.try_scram(&scram).await {
        Ok(_) => drop(client.expect_stream_error("invalid-from").await),
        Err(error) => {
            assert!(error.child("invalid-from").is_some(), "{error}");
            client.expect_end().await;
        }
    }
}

#[tokio::test]
async fn c40_a_header_of_oneself_is_fine() {
    let scene = SERVER.scene().await;
    let name = scene.account("romeo").await;
    let mut client = scene.connect_tls().await;
    client.set_stream_attributes(&format!("from='{}'", scene.jid("romeo")));
    client.login(&name, &scene.password("romeo")).await;
    client.bind("orchard").await;
}

#[tokio::test]
async fn c41_success_carries_the_servers_proof_or_nothing() {
    let server = TestServer::start(options().toml("[auth]\nmechanisms = ['SCRAM-SHA-1', 'PLAIN']")).await;
    let scene = server.scene();
    let (mut client, name) = at_the_door(&scene).await;
    assert_eq!(client.mechanisms(), ["SCRAM-SHA-1", "PLAIN"]);
    let scram = Scram::new("SCRAM-SHA-1", &name, &scene.password("romeo"));
    let success = client.try_scram(&scram).await.expect("the right password");
    assert!(!success.text().is_empty(), "v= is inside: {success}");
    let (mut client, _) = at_the_door(&scene).await;
    let response = base64(format!("\0{name}\0{}", scene.password("romeo")));
    let success = client.auth("PLAIN", &response).await;
    // PLAIN has no data at its end: none, which is something else than data of no length.
    assert_eq!((success.name.as_str(), success.text().as_str()), ("success", ""));
    client.open_stream(scene.host()).await;
    client.bind("orchard").await;
}

#[tokio::test]
async fn c42_binding_is_offered_after_the_login_and_only_then() {
    let scene = SERVER.scene().await;
    let (mut client, name) = at_the_door(&scene).await;
    let bind = "urn:ietf:params:xml:ns:xmpp-bind";
    assert!(client.features().child_in(bind, "bind").is_none(), "{}", client.features());
    let scram = client.scram(&name, &scene.password("romeo"));
    client.try_scram(&scram).await.expect("the right password");
    let features = client.open_stream(scene.host()).await;
    assert!(features.child_in(bind, "bind").is_some(), "{features}");
    for gone in ["mechanisms", "starttls"] {
        assert!(features.child(gone).is_none(), "{features}");
    }
    // A second login on the same stream is nothing.
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>biws</auth>").await;
    client.expect_stream_error("not-authorized|unsupported-stanza-type|policy-violation").await;
}
