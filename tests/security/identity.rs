//! S11, S24: nobody acts as somebody else, and nobody in the middle makes a login weaker.

use waxwing_testkit::scram::{Scram, attribute, base64, from_base64};
use waxwing_testkit::{Element, RawClient, Scene, TestServer, TlsChoice};

use crate::common::{SERVER, options};

fn condition(failure: &Element) -> String {
    assert_eq!(failure.name, "failure", "{failure}");
    failure.elements().next().map(|condition| condition.name.clone()).unwrap_or_default()
}

/// A client that may log in now.
async fn at_the_door(scene: &Scene) -> RawClient {
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    client
}

/// Identities that Alice may not act as, some of which only look like her own.
fn identities(scene: &Scene, alice: &str, bob: &str) -> Vec<String> {
    let host = scene.host();
    let wide: String = alice
        .chars()
        .map(|letter| match letter {
            'a'..='z' => char::from_u32(u32::from(letter) - u32::from('a') + 0xFF41).unwrap_or(letter),
            letter => letter,
        })
        .collect();
    vec![
        format!("{bob}@{host}"),
        format!("{bob}@{host}/orchard"),
        format!("{alice}@{host}/orchard"),
        format!("{alice}@montague.lit"),
        format!("{alice}@sub.{host}"),
        format!("{}@{host}", alice.to_uppercase()),
        format!("{wide}@{host}"),
        format!("{alice}@{}", host.to_uppercase()),
        format!("{alice}@{host}."),
        format!("{alice}\u{200B}@{host}"),
        host.to_owned(),
        alice.to_owned(),
        bob.to_owned(),
        "@".to_owned(),
    ]
}

#[tokio::test]
async fn s11_plain_gives_no_other_identity() {
    let server = TestServer::start(options().toml("[auth]\nmechanisms = ['SCRAM-SHA-256', 'PLAIN']")).await;
    let scene = server.scene();
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    let password = scene.password("alice");
    for identity in identities(&scene, &alice, &bob) {
        let mut client = at_the_door(&scene).await;
        let failure = client.auth("PLAIN", &base64(format!("{identity}\0{alice}\0{password}"))).await;
        assert_eq!(condition(&failure), "invalid-authzid", "{identity}");
    }
    // More or fewer fields than three.
    for message in [
        format!("{bob}\0{alice}\0{password}\0{bob}"),
        format!("\0{alice}\0{password}\0"),
        format!("\0\0{alice}\0{password}"),
        format!("{alice}\0{password}"),
    ] {
        let mut client = at_the_door(&scene).await;
        let failure = client.auth("PLAIN", &base64(message)).await;
        assert_eq!(condition(&failure), "malformed-request");
    }
    // Herself, in so many words or in none.
    for identity in [String::new(), format!("{alice}@{}", scene.host())] {
        let mut client = at_the_door(&scene).await;
        let success = client.auth("PLAIN", &base64(format!("{identity}\0{alice}\0{password}"))).await;
        assert_eq!(success.name, "success", "{success}");
        client.open_stream(scene.host()).await;
        assert_eq!(client.bind("x").await, scene.jid("alice/x"));
    }
}

#[tokio::test]
async fn s11_scram_gives_no_other_identity() {
    let scene = SERVER.scene().await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    let password = scene.password("alice");
    for identity in identities(&scene, &alice, &bob) {
        let mut client = at_the_door(&scene).await;
        let scram = Scram::new("SCRAM-SHA-256", &alice, &password).gs2(&format!("n,a={identity},"));
        let failure = client.try_scram(&scram).await.expect_err("not allowed");
        assert_eq!(condition(&failure), "invalid-authzid", "{identity}");
        // Bound to the connection it is no other.
        let scram = client.scram(&alice, &password);
        let scram = scram.clone().gs2(&scram.gs2.replace(",,", &format!(",a={identity},")));
        let failure = client.try_scram(&scram).await.expect_err("not allowed");
        assert_eq!(condition(&failure), "invalid-authzid", "{identity}");
    }
    // A name that hides another one behind the comma.
    let mut client = at_the_door(&scene).await;
    let first = format!("n,,n={alice},n={bob},r=abcdefgh");
    let failure = client.auth("SCRAM-SHA-256", &base64(first)).await;
    assert_eq!(condition(&failure), "malformed-request");
}

#[tokio::test]
async fn s11_a_certificate_of_a_client_is_nobodys_word() {
    let scene = SERVER.scene().await;
    let alice = scene.account("alice").await;
    let mut client = at_the_door(&scene).await;
    for identity in [String::new(), format!("{alice}@{}", scene.host()), "admin".to_owned()] {
        let response = if identity.is_empty() { "=".to_owned() } else { base64(identity) };
        let failure = client.auth("EXTERNAL", &response).await;
        assert_eq!(condition(&failure), "invalid-mechanism");
    }
}

#[tokio::test]
async fn s11_a_session_belongs_to_who_has_logged_in() {
    let scene = SERVER.scene().await;
    let alice = scene.account("alice").await;
    scene.account("bob").await;
    // However the name is written, the session is of the prepared name; the bind request cannot change it.
    for written in [alice.clone(), alice.to_uppercase(), format!("{alice}\u{AD}")] {
        let mut client = at_the_door(&scene).await;
        let scram = client.scram(&written, &scene.password("alice"));
        client.try_scram(&scram).await.expect("the right password");
        client.open_stream(scene.host()).await;
        client
            .send(
                "<iq type='set' id='b' from='{bob}' to='{bob}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>x</resource><jid>{bob}/x</jid></bind></iq>",
            )
            .await;
        client
            .expect(
                "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{alice}/x</jid></bind></iq>",
            )
            .await;
    }
}

#[tokio::test]
async fn s24_bound_logins_are_offered_and_a_client_that_saw_none_is_warned() {
    let scene = SERVER.scene().await;
    let alice = scene.account("alice").await;
    for choice in [TlsChoice::new().only_tls13(), TlsChoice::new().only_tls12()] {
        let mut client = scene.try_connect_tls(choice).await.expect("a handshake");
        client.open_stream(scene.host()).await;
        let mechanisms = client.mechanisms();
        for hash in ["SHA-1", "SHA-256", "SHA-512"] {
            let plus = format!("SCRAM-{hash}-PLUS");
            assert!(mechanisms.contains(&plus), "{plus} in {mechanisms:?}");
            // "I could bind, but you cannot": somebody has changed what was offered.
            let scram = Scram::new(&format!("SCRAM-{hash}"), &alice, &scene.password("alice")).gs2("y,,");
            let failure = client.try_scram(&scram).await.expect_err("the offer was changed on its way");
            assert_eq!(condition(&failure), "not-authorized");
        }
        assert!(client.channel_bindings().contains(&"tls-exporter".to_owned()));
        assert!(!client.channel_bindings().contains(&"tls-unique".to_owned()));
    }
}

#[tokio::test]
async fn s24_a_login_is_bound_to_its_own_connection() {
    let scene = SERVER.scene().await;
    let alice = scene.account("alice").await;
    let password = scene.password("alice");
    let plus = || Scram::new("SCRAM-SHA-256-PLUS", &alice, &password);
    // Somebody in the middle has a connection of his own on each side.
    let (other, mut client) = (at_the_door(&scene).await, at_the_door(&scene).await);
    let theirs = other.tls().expect("TLS").exporter.clone();
    let ours = client.tls().expect("TLS").exporter.clone();
    assert_ne!(theirs, ours);
    for (kind, data) in [("tls-exporter", theirs), ("tls-exporter", vec![]), ("tls-server-end-point", ours.clone())] {
        let failure = client.try_scram(&plus().bound(kind, &data)).await.expect_err("bound to something else");
        assert_eq!(condition(&failure), "not-authorized", "{kind}");
    }
    // Bindings that were not offered; what is wrong with them is seen before any proof.
    for kind in ["tls-unique", "tls-unknown", "TLS-EXPORTER"] {
        let failure = client.auth("SCRAM-SHA-256-PLUS", &base64(plus().bound(kind, &ours).first())).await;
        assert!(["malformed-request", "not-authorized"].contains(&condition(&failure).as_str()), "{kind}: {failure}");
        client = at_the_door(&scene).await;
    }
    // The mechanism and the flag say different things.
    for (mechanism, header) in
        [("SCRAM-SHA-256-PLUS", "n,,"), ("SCRAM-SHA-256-PLUS", "y,,"), ("SCRAM-SHA-256", "p=tls-exporter,,")]
    {
        let mut client = at_the_door(&scene).await;
        let first = Scram::new(mechanism, &alice, &password).gs2(header).first();
        let failure = client.auth(mechanism, &base64(first)).await;
        assert!(
            ["malformed-request", "not-authorized"].contains(&condition(&failure).as_str()),
            "{mechanism} {header}: {failure}"
        );
    }
    // Both kinds that are offered work.
    let mut client = at_the_door(&scene).await;
    let exporter = client.tls().expect("TLS").exporter.clone();
    client.try_scram(&plus().bound("tls-exporter", &exporter)).await.expect("the right binding");
    let mut client = at_the_door(&scene).await;
    let end_point = client.tls().expect("TLS").server_end_point();
    client.try_scram(&plus().bound("tls-server-end-point", &end_point)).await.expect("the right binding");
}

#[tokio::test]
async fn s24_the_flag_and_the_binding_are_under_the_proof() {
    let scene = SERVER.scene().await;
    let alice = scene.account("alice").await;
    let mut client = at_the_door(&scene).await;
    // The first message said "n", the proof is for "y": somebody between has changed one of them.
    let scram = Scram::new("SCRAM-SHA-256", &alice, &scene.password("alice"));
    let challenge = client.auth("SCRAM-SHA-256", &base64(scram.first())).await;
    let last = scram.clone().gs2("y,,").last(&from_base64(&challenge.text()));
    client
        .send(format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>", base64(last.message)))
        .await;
    client.expect_sasl_failure("not-authorized").await;
}

#[tokio::test]
async fn s24_what_was_offered_is_hashed_into_the_proof() {
    // XEP-0474: the server tells what it has offered, under the proof, so that a shortened list is found out.
    let scene = SERVER.scene().await;
    let alice = scene.account("alice").await;
    let mut client = at_the_door(&scene).await;
    let scram = client.scram(&alice, &scene.password("alice"));
    let challenge = client.auth(&scram.mechanism, &base64(scram.first())).await;
    let server_first = from_base64(&challenge.text());
    let expected = scram.downgrade_hash(&client.mechanisms(), &client.channel_bindings());
    assert_eq!(attribute(&server_first, "h"), expected);
    let shortened: Vec<String> =
        client.mechanisms().into_iter().filter(|mechanism| !mechanism.ends_with("-PLUS")).collect();
    assert_ne!(attribute(&server_first, "h"), scram.downgrade_hash(&shortened, &[]));
    // Somebody between has changed the hash to fit: the proof is for other words then.
    let changed = server_first.replace(&expected, &scram.downgrade_hash(&shortened, &[]));
    let last = base64(scram.last(&changed).message);
    client.send(format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>")).await;
    client.expect_sasl_failure("not-authorized").await;
}
