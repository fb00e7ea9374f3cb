//! PLAIN (RFC 4616).

use super::*;

fn step(message: &[u8]) -> Step {
    start("PLAIN", &offered()).step(Some(message))
}

#[test]
fn a_password_is_given_on_and_the_verdict_decides() {
    for (verdict, outcome) in [
        (Verdict::Right, Step::Success { username: NodePart::new("juliet").unwrap().into_owned(), data: None }),
        (Verdict::Wrong, Step::Failure(SaslFailure::NotAuthorized)),
        (Verdict::Disabled, Step::Failure(SaslFailure::AccountDisabled)),
    ] {
        let mut exchange = start("PLAIN", &offered());
        let asked = exchange.step(Some(b"\0Juliet\0pen cil"));
        let username = NodePart::new("juliet").unwrap().into_owned();
        assert_eq!(asked, Step::CheckPassword { username, password: "pen cil".to_owned() });
        assert_eq!(exchange.password_checked(verdict), outcome);
        assert_eq!(exchange.password_checked(Verdict::Right), Step::Failure(SaslFailure::NotAuthorized));
    }
}

#[test]
fn without_an_initial_response_an_empty_challenge_asks_for_it() {
    let mut exchange = start("PLAIN", &offered());
    assert_eq!(exchange.step(None), Step::Challenge(Vec::new()));
    assert!(matches!(exchange.step(Some(b"\0juliet\0pencil")), Step::CheckPassword { .. }));
}

#[test]
fn c36_malformed_messages_are_refused() {
    let long = [b"\0juliet\0".as_slice(), &[b'x'; 256]].concat();
    let malformed: [&[u8]; 9] = [
        b"",
        b"juliet",
        b"juliet\0pencil",
        b"\0\0pencil",
        b"\0juliet\0",
        b"\0juliet\0pencil\0",
        b"\0a\0b\0c",
        b"\0juliet\0\xff",
        &long,
    ];
    for message in malformed {
        assert_eq!(step(message), Step::Failure(SaslFailure::MalformedRequest), "{message:?}");
    }
}

#[test]
fn s11_plain_cannot_authenticate_as_one_and_act_as_another() {
    for authzid in ["bob@capulet.lit", "bob", "Alice@capulet.lit", "alice@capulet.lit/x", "ａlice@capulet.lit"] {
        let message = format!("{authzid}\0alice\0secret");
        assert_eq!(step(message.as_bytes()), Step::Failure(SaslFailure::InvalidAuthzid), "{authzid}");
    }
    assert!(matches!(step(b"alice@capulet.lit\0alice\0secret"), Step::CheckPassword { .. }));
}

#[test]
fn impossible_names_are_not_authorized() {
    assert_eq!(step(b"\0al/ice\0secret"), Step::Failure(SaslFailure::NotAuthorized));
}

#[test]
fn a_response_before_the_verdict_ends_it() {
    let mut exchange = start("PLAIN", &offered());
    exchange.step(Some(b"\0juliet\0pencil"));
    assert_eq!(exchange.step(Some(b"\0romeo\0pencil")), Step::Failure(SaslFailure::MalformedRequest));
    assert_eq!(exchange.password_checked(Verdict::Right), Step::Failure(SaslFailure::NotAuthorized));
}
