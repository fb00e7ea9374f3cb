//! Somebody in the middle who takes something away (security row S24, RFC 5802 §6, XEP-0440, XEP-0474).

use super::*;

#[test]
fn s24_a_client_that_saw_no_plus_is_refused_when_there_was_one() {
    let client = Client::new(Hash::Sha1, "juliet", "pencil").header("y,,");
    let outcome = run(&offered(), "SCRAM-SHA-1", &client, Some(account("pencil", Hash::Sha1)));
    assert_eq!(outcome.0, Step::Failure(SaslFailure::NotAuthorized));
    let unbound = offered_with(&Mechanism::ALL, ChannelBindings::default());
    assert_success(run(&unbound, "SCRAM-SHA-1", &client, Some(account("pencil", Hash::Sha1))), "juliet");
}

#[test]
fn s24_wrong_binding_data_fails() {
    for (name, data) in
        [("tls-exporter", &[8; 32][..]), ("tls-server-end-point", b"another hash"), ("tls-exporter", b"")]
    {
        let client = Client::new(Hash::Sha256, "juliet", "pencil").bound(name, data);
        let outcome = run(&offered(), "SCRAM-SHA-256-PLUS", &client, Some(account("pencil", Hash::Sha256)));
        assert_eq!(outcome.0, Step::Failure(SaslFailure::NotAuthorized), "{name}");
    }
}

#[test]
fn s24_bindings_that_were_not_offered_fail() {
    for name in ["tls-unique", "tls-unique-for-telnet", "TLS-EXPORTER"] {
        let client = Client::new(Hash::Sha256, "juliet", "pencil").bound(name, &EXPORTER);
        let outcome = run(&offered(), "SCRAM-SHA-256-PLUS", &client, Some(account("pencil", Hash::Sha256)));
        assert_eq!(outcome.0, Step::Failure(SaslFailure::NotAuthorized), "{name}");
    }
}

#[test]
fn s24_mechanism_and_flag_must_agree() {
    let cases = [("SCRAM-SHA-1-PLUS", "n,,"), ("SCRAM-SHA-1-PLUS", "y,,"), ("SCRAM-SHA-1", "p=tls-exporter,,")];
    for (mechanism, header) in cases {
        let client = Client::new(Hash::Sha1, "juliet", "pencil").header(header);
        let outcome = run(&offered(), mechanism, &client, Some(account("pencil", Hash::Sha1)));
        assert_eq!(outcome.0, Step::Failure(SaslFailure::MalformedRequest), "{mechanism} {header}");
    }
}

/// The header is under the proof: what the first message said cannot be changed on the way.
#[test]
fn s24_the_flag_is_under_the_proof() {
    let client = Client::new(Hash::Sha1, "juliet", "pencil").header("y,,");
    let mut exchange = start("SCRAM-SHA-1", &offered());
    let sent = client.first().replacen("y,,", "n,,", 1);
    assert!(matches!(exchange.step(Some(sent.as_bytes())), Step::NeedCredentials { .. }));
    let server_first = challenge(exchange.credentials(Some(account("pencil", Hash::Sha1))));
    let last = client.last(&server_first);
    assert_eq!(exchange.step(Some(last.message.as_bytes())), Step::Failure(SaslFailure::NotAuthorized));
}

fn advertised_hash(offered: &Offered, mechanism: &str) -> String {
    let mut exchange = start(mechanism, offered);
    exchange.step(Some(b"n,,n=juliet,r=x"));
    challenge(exchange.credentials(None)).split_once(",h=").unwrap().1.to_owned()
}

/// The example of XEP-0474 §6.3.
#[test]
fn s24_the_advertised_mechanisms_are_hashed_as_xep_0474_says() {
    let enabled = [Mechanism::ALL[5], Mechanism::ALL[2]];
    let offered = offered_with(&enabled, bindings());
    assert_eq!(offered.advertised(), "SCRAM-SHA-1\u{1e}SCRAM-SHA-1-PLUS\u{1f}tls-exporter\u{1e}tls-server-end-point");
    assert_eq!(advertised_hash(&offered, "SCRAM-SHA-1"), "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
    let unbound = offered_with(&enabled, ChannelBindings::default());
    assert_eq!(unbound.advertised(), "SCRAM-SHA-1");
}

#[test]
fn s24_the_hash_uses_the_mechanisms_own_function() {
    let offered = offered();
    for hash in Hash::ALL {
        let expected = encoding::encode(&hash.digest(offered.advertised().as_bytes()));
        assert_eq!(advertised_hash(&offered, scram(hash, false)), expected);
    }
}

/// Somebody rewrites `h=` so that it fits the list he shows: the proof covers what the client saw.
#[test]
fn s24_a_rewritten_hash_breaks_the_proof() {
    let client = Client::new(Hash::Sha1, "juliet", "pencil");
    let mut exchange = start("SCRAM-SHA-1", &offered());
    exchange.step(Some(client.first().as_bytes()));
    let server_first = challenge(exchange.credentials(Some(account("pencil", Hash::Sha1))));
    let (front, _) = server_first.split_once(",h=").unwrap();
    let last = client.last(&format!("{front},h=G6k/rBLDqgOhRRaCuuatSDFkJ08="));
    assert_eq!(exchange.step(Some(last.message.as_bytes())), Step::Failure(SaslFailure::NotAuthorized));
}
