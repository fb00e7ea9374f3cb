//! SCRAM: the examples of the RFCs, every hash, bound and unbound, and malformed messages.

use super::*;
use crate::sasl::scram::Scram;

/// Replays a published exchange up to the server's first message. Ours carries `h=` after what the example shows, so
/// the proof of the example no longer fits; the rest is checked with our own client.
#[track_caller]
fn replay(hash: Hash, client_nonce: &str, server_nonce: &str, salt: &[u8], expected_first: &str) {
    let offered = offered();
    let mut client = Client::new(hash, "user", "pencil");
    client.nonce = client_nonce.to_owned();
    let mut scram = Scram::new(hash, false, &offered).with_nonce(server_nonce);
    assert!(matches!(scram.step(Some(client.first().as_bytes())), Step::NeedCredentials { .. }));
    let keys = ScramKeys::derive("pencil", salt, NonZeroU32::new(4096).unwrap(), hash).unwrap();
    let server_first = challenge(scram.credentials(Some(Account { keys, disabled: false })));
    let (front, advertised) = server_first.rsplit_once(",h=").unwrap();
    assert_eq!(front, expected_first);
    assert!(!advertised.is_empty());
    let last = client.last(&server_first);
    assert_success((scram.step(Some(last.message.as_bytes())), last.signature), "user");
}

#[test]
fn the_example_of_rfc_5802_runs() {
    replay(
        Hash::Sha1,
        "fyko+d2lbbFgONRv9qkxdawL",
        "3rfcNHYJY1ZVvWVs7j",
        &encoding::decode("QSXCR+Q6sek8bf92").unwrap(),
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    );
}

#[test]
fn the_example_of_rfc_7677_runs() {
    replay(
        Hash::Sha256,
        "rOprNGfwEbeRWgbNEkqO",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        &encoding::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    );
}

/// The client of these tests must itself agree with the RFC, or it proves nothing.
#[test]
fn the_test_client_agrees_with_rfc_5802() {
    let client = Client::new(Hash::Sha1, "user", "pencil");
    let last = client.last("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096");
    assert_eq!(last.message, "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(last.signature, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
}

#[test]
fn every_hash_logs_in_bound_and_unbound() {
    let offered = offered();
    for hash in Hash::ALL {
        let account = || Some(account("pencil", hash));
        let client = Client::new(hash, "juliet", "pencil");
        assert_success(run(&offered, scram(hash, false), &client, account()), "juliet");
        for (name, data) in [("tls-exporter", &EXPORTER[..]), ("tls-server-end-point", END_POINT)] {
            let client = Client::new(hash, "juliet", "pencil").bound(name, data);
            assert_success(run(&offered, scram(hash, true), &client, account()), "juliet");
        }
    }
}

#[test]
fn without_an_initial_response_an_empty_challenge_asks_for_it() {
    let client = Client::new(Hash::Sha256, "juliet", "pencil");
    let mut exchange = start("SCRAM-SHA-256", &offered());
    assert_eq!(exchange.step(None), Step::Challenge(Vec::new()));
    assert!(matches!(exchange.step(Some(client.first().as_bytes())), Step::NeedCredentials { .. }));
    let mut exchange = start("SCRAM-SHA-256", &offered());
    exchange.step(None);
    assert_eq!(exchange.step(None), Step::Failure(SaslFailure::MalformedRequest));
}

#[test]
fn c36_malformed_first_messages_are_refused() {
    let long = format!("n,,n=juliet,r={}", "x".repeat(2000));
    let malformed = [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=juliet",
        "n,,r=x,n=juliet",
        "n,,n=,r=x",
        "n,,n=juliet,r=",
        "x,,n=juliet,r=x",
        "n,b=x,n=juliet,r=x",
        "n,a=,n=juliet,r=x",
        "n,,n=jul=iet,r=x",
        "n,,n=jul=2ciet,r=x",
        "n,,n=juliet=2,r=x",
        "n,,n=juliet,r=a b",
        "n,,n=juliet,r=é",
        "n,,n=jul\0iet,r=x",
        "n,,m=x,n=juliet,r=x",
        "n,,n=juliet,r=x,",
        "n,,n=juliet,r=x,y",
        "n,,n=juliet,r=x,m=y",
        "p=,,n=juliet,r=x",
        "p=tls_x,,n=juliet,r=x",
        &long,
    ];
    for message in malformed {
        let step = start("SCRAM-SHA-1", &offered()).step(Some(message.as_bytes()));
        assert_eq!(step, Step::Failure(SaslFailure::MalformedRequest), "{message:?}");
    }
    let step = start("SCRAM-SHA-1", &offered()).step(Some(b"n,,n=\xff,r=x"));
    assert_eq!(step, Step::Failure(SaslFailure::MalformedRequest));
    let extended = start("SCRAM-SHA-1", &offered()).step(Some(b"n,,n=juliet,r=x,y=z"));
    assert!(matches!(extended, Step::NeedCredentials { .. }), "unknown extensions are passed over");
}

/// Runs to the final message, lets `change` spoil it, and gives the outcome.
fn spoiled(change: impl FnOnce(String) -> String) -> Step {
    let client = Client::new(Hash::Sha256, "juliet", "pencil");
    let mut exchange = start("SCRAM-SHA-256", &offered());
    exchange.step(Some(client.first().as_bytes()));
    let server_first = challenge(exchange.credentials(Some(account("pencil", Hash::Sha256))));
    let last = client.last(&server_first);
    exchange.step(Some(change(last.message).as_bytes()))
}

#[test]
fn c36_malformed_final_messages_are_refused() {
    assert!(matches!(spoiled(|message| message), Step::Success { .. }), "unspoiled it goes through");
    let changes: [fn(String) -> String; 8] = [
        |_| String::new(),
        |message| message.replace(",p=", ",q="),
        |message| message.replace("c=", "d="),
        |message| message.replace(",r=", ",s="),
        |message| message.replace("c=biws", "c=bi*s"),
        |message| message.trim_end_matches('=').to_owned(),
        |message| message + ",x=y",
        |message| message.replace(",p=", ",m=1,p="),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_eq!(spoiled(change), Step::Failure(SaslFailure::MalformedRequest), "change {index}");
    }
}

#[test]
fn a_final_message_that_does_not_fit_is_not_authorized() {
    let changes: [fn(String) -> String; 5] = [
        // Another nonce, another header, an extension outside the proof, a proof that is too short, too long.
        |message| message.replacen(",r=f", ",r=g", 1),
        |message| message.replace("c=biws", "c=eSws"),
        |message| message.replace(",p=", ",x=y,p="),
        |message| message.split_once(",p=").unwrap().0.to_owned() + ",p=AAAA",
        |message| {
            let (front, proof) = message.split_once(",p=").unwrap();
            let longer = [encoding::decode(proof).unwrap(), vec![0]].concat();
            format!("{front},p={}", encoding::encode(&longer))
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_eq!(spoiled(change), Step::Failure(SaslFailure::NotAuthorized), "change {index}");
    }
}

#[test]
fn unknown_extensions_under_the_proof_are_passed_over() {
    let client = Client::new(Hash::Sha1, "juliet", "pencil");
    let mut exchange = start("SCRAM-SHA-1", &offered());
    exchange.step(Some(client.first().as_bytes()));
    let server_first = challenge(exchange.credentials(Some(account("pencil", Hash::Sha1))));
    let last = client.last_with(&server_first, ",x=19C6532F");
    assert_success((exchange.step(Some(last.message.as_bytes())), last.signature), "juliet");
}

#[test]
fn keys_of_another_hash_are_no_keys() {
    let client = Client::new(Hash::Sha256, "juliet", "pencil");
    let outcome = run(&offered(), "SCRAM-SHA-256", &client, Some(account("pencil", Hash::Sha1)));
    assert_eq!(outcome.0, Step::Failure(SaslFailure::NotAuthorized));
}

#[test]
fn passwords_are_compared_prepared() {
    // The account was made with ROMAN NUMERAL NINE; a client prepares it to IX (RFC 4013).
    let client = Client::new(Hash::Sha256, "juliet", "IX");
    assert_success(run(&offered(), "SCRAM-SHA-256", &client, Some(account("\u{2168}", Hash::Sha256))), "juliet");
}

#[test]
fn s26_server_nonces_are_fresh() {
    let first = |_| {
        let mut exchange = start("SCRAM-SHA-1", &offered());
        exchange.step(Some(b"n,,n=juliet,r=x"));
        challenge(exchange.credentials(None)).split(',').next().unwrap().to_owned()
    };
    let nonces: std::collections::HashSet<_> = (0..1000).map(first).collect();
    assert_eq!(nonces.len(), 1000);
    assert!(nonces.iter().all(|nonce| nonce.starts_with("r=x") && nonce.len() >= 3 + 22));
}
