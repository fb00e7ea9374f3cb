//! S23: many ways to write a name, one account; and nothing that looks like a name and is none.

use waxwing_testkit::scram::{Scram, base64};
use waxwing_testkit::{Element, RawClient, Scene, SharedServer, TestOptions};

use crate::common::options;

/// Strangers may make accounts here, and PLAIN shows what becomes of a name as it stands.
static SERVER: SharedServer = SharedServer::new(open);

fn open() -> TestOptions {
    options().toml(
        "[auth]\nmechanisms = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256', 'PLAIN']\n\
         [modules.register]\nopen = true\nregistrations = 'unlimited'",
    )
}

async fn at_the_door(scene: &Scene) -> RawClient {
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    client
}

fn wide(name: &str) -> String {
    let shift = |letter: char| match letter {
        '!'..='~' => char::from_u32(u32::from(letter) + 0xFEE0).unwrap_or(letter),
        letter => letter,
    };
    name.chars().map(shift).collect()
}

/// The name in the ways that RFC 6122 takes for the same. It maps U+200B, U+00AD and U+FEFF to nothing (RFC 3454 B.1);
/// the list would have them refused, and new accounts with them are (see below).
fn same(name: &str) -> Vec<String> {
    let mut letters = name.chars();
    let first = letters.next().unwrap_or_default();
    let rest: String = letters.collect();
    vec![
        name.to_owned(),
        name.to_uppercase(),
        wide(name),
        wide(&name.to_uppercase()),
        format!("{name}\u{200B}"),
        format!("{first}\u{AD}{rest}"),
        format!("\u{FEFF}{name}"),
    ]
}

#[tokio::test]
async fn s23_who_logs_in_under_any_spelling_is_the_same_account() {
    let scene = SERVER.scene().await;
    let name = scene.account("admin").await;
    let password = scene.password("admin");
    for spelling in same(&name) {
        let mut client = at_the_door(&scene).await;
        let scram = client.scram(&spelling, &password);
        client.try_scram(&scram).await.unwrap_or_else(|failure| panic!("{spelling:?}: {failure}"));
        client.open_stream(scene.host()).await;
        assert_eq!(client.bind("x").await, scene.jid("admin/x"), "{spelling:?}");
        let mut client = at_the_door(&scene).await;
        let success = client.auth("PLAIN", &base64(format!("\0{spelling}\0{password}"))).await;
        assert_eq!(success.name, "success", "{spelling:?}: {success}");
        client.open_stream(scene.host()).await;
        assert_eq!(client.bind("y").await, scene.jid("admin/y"), "{spelling:?}");
    }
}

#[tokio::test]
async fn s23_what_only_looks_alike_is_somebody_else() {
    let scene = SERVER.scene().await;
    let name = scene.account("admin").await;
    let password = scene.password("admin");
    let others = [
        name.replacen('a', "\u{430}", 1),
        name.replacen('i', "\u{456}", 1),
        name.replacen('i', "\u{131}", 1),
        format!(" {name}"),
        format!("{name}\u{301}"),
        format!("{name}/x"),
        format!("{name}@{}", scene.host()),
        "\u{202E}nimda".to_owned(),
    ];
    for other in others {
        let mut client = at_the_door(&scene).await;
        let scram = client.scram(&other, &password);
        let failure = client.try_scram(&scram).await.expect_err("it is another name");
        assert!(failure.child("not-authorized").is_some(), "{other:?}: {failure}");
        let failure = client.auth("PLAIN", &base64(format!("\0{other}\0{password}"))).await;
        assert!(failure.child("not-authorized").is_some(), "{other:?}: {failure}");
    }
    // What no name can hold.
    let mut client = at_the_door(&scene).await;
    for message in [format!("\0{name}\0\0{password}"), format!("\0{name}\0{password}\0")] {
        let failure = client.auth("PLAIN", &base64(message)).await;
        assert!(failure.child("malformed-request").is_some(), "{failure}");
    }
    for bad in [format!("n,,n={name}\0,r=abcdefgh"), format!("n,,n=\0{name},r=abcdefgh")] {
        let failure = client.auth("SCRAM-SHA-256", &base64(bad)).await;
        assert!(failure.child("malformed-request").is_some(), "{failure}");
    }
}

#[tokio::test]
async fn s23_text_that_is_not_utf8_never_reaches_the_preparation() {
    let scene = SERVER.scene().await;
    let name = scene.account("admin").await;
    let mut client = at_the_door(&scene).await;
    for bad in [&b"\xC3"[..], b"\xFF", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xC0\x80"] {
        let plain = [b"\0", name.as_bytes(), bad, b"\0password"].concat();
        let failure = client.auth("PLAIN", &base64(plain)).await;
        assert!(failure.child("malformed-request").is_some(), "{bad:?}: {failure}");
        let first = [b"n,,n=", name.as_bytes(), bad, b",r=abcdefgh"].concat();
        let failure = client.auth("SCRAM-SHA-256", &base64(first)).await;
        assert!(failure.child("malformed-request").is_some(), "{bad:?}: {failure}");
        client = at_the_door(&scene).await;
    }
}

/// Asks for an account; gives the answer.
async fn register(scene: &Scene, name: &str) -> Element {
    let mut client = at_the_door(scene).await;
    client
        .send_bytes(format!(
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{}</username>\
             <password>correct horse battery</password></query></iq>",
            waxwing_testkit::escape(name)
        ))
        .await;
    client.receive().await
}

fn condition(answer: &Element) -> String {
    let error = answer.child("error").unwrap_or_else(|| panic!("an error, not {answer}"));
    error.elements().next().map(|condition| condition.name.clone()).unwrap_or_default()
}

#[tokio::test]
async fn s23_no_second_account_under_another_spelling() {
    let scene = SERVER.scene().await;
    let name = scene.account("admin").await;
    for spelling in [name.clone(), name.to_uppercase(), wide(&name)] {
        assert_eq!(condition(&register(&scene, &spelling).await), "conflict", "{spelling:?}");
    }
    // Half of the network reads these in another way, or not at all.
    for bad in [
        format!("{name}\u{200B}"),
        format!("{name}\u{AD}"),
        format!("\u{FEFF}{name}"),
        format!("{name}\u{202E}"),
        format!("{name} "),
        format!("{name}\u{A0}"),
        format!("{name}@{}", scene.host()),
        format!("{name}/x"),
        format!("\u{212A}{name}"),
        String::new(),
        "\u{200B}".to_owned(),
        "x".repeat(1_024),
    ] {
        let refused = condition(&register(&scene, &bad).await);
        assert!(["jid-malformed", "not-acceptable"].contains(&refused.as_str()), "{bad:?}: {refused}");
    }
}

#[tokio::test]
async fn s23_a_name_in_other_letters_is_another_account() {
    let scene = SERVER.scene().await;
    let name = scene.account("admin").await;
    let look_alike = name.replacen('a', "\u{430}", 1);
    let made = register(&scene, &look_alike).await;
    assert_eq!(made.attribute("type"), Some("result"), "{made}");
    // Neither has the password of the other.
    let mut client = at_the_door(&scene).await;
    let scram = client.scram(&look_alike, &scene.password("admin"));
    client.try_scram(&scram).await.expect_err("another account");
    let scram = client.scram(&name, "correct horse battery");
    client.try_scram(&scram).await.expect_err("another account");
    let scram = Scram::new("SCRAM-SHA-256", &look_alike, "correct horse battery");
    client.try_scram(&scram).await.expect("its own password");
}

#[tokio::test]
async fn s23_addresses_are_compared_prepared() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut admin = scene.online("admin/desk").await;
    let name = scene.local("admin");
    for spelling in same(&name) {
        for host in [scene.host().to_owned(), scene.host().to_uppercase(), format!("{}.", scene.host())] {
            romeo.send_bytes(format!("<message to='{spelling}@{host}' type='chat'><body>hi</body></message>")).await;
            let message = admin.receive().await;
            // RFC 6120 §8.1.1.1: the address as it is, in its one form.
            assert_eq!(message.attribute("to"), Some(scene.jid("admin").as_str()), "{spelling:?}");
        }
    }
    // The roster has one contact, whatever it was called.
    for spelling in same(&name) {
        romeo
            .send_bytes(format!(
                "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='{spelling}@{}'/></query></iq>",
                scene.host()
            ))
            .await;
        romeo.drain().await;
    }
    romeo.send("<iq type='get' id='all'><query xmlns='jabber:iq:roster'/></iq>").await;
    romeo
        .expect(
            "<iq type='result' id='all' {…}><query xmlns='jabber:iq:roster' {…}><item jid='{admin}' {…}/></query></iq>",
        )
        .await;
    // What only looks alike is nobody.
    romeo
        .send(format!(
            "<message to='{}@{{host}}' type='chat'><body>hi</body></message>",
            name.replacen('a', "\u{430}", 1)
        ))
        .await;
    romeo.drain().await;
    admin.barrier().await;
}
