//! Whole exchanges, against the client in `client.rs`; the examples of the RFCs; what must fail, and how.

use std::num::NonZeroU32;
use std::sync::Arc;

use waxwing_core::address::DomainPart;
use waxwing_core::credentials::{Hash, ScramKeys};

use super::client::Client;
use super::*;

mod downgrade;
mod identities;
mod plain;
mod scram;
mod timing;

const EXPORTER: [u8; 32] = [7; 32];
const END_POINT: &[u8] = b"hash of the certificate";

fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some(EXPORTER), server_end_point: Some(END_POINT.to_vec()) }
}

fn offered_with(enabled: &[Mechanism], bindings: ChannelBindings) -> Offered {
    let domain = DomainPart::new("capulet.lit").unwrap().into_owned();
    Offered::new(domain, enabled, bindings, Arc::new(Decoy::new(b"a secret of the server", 4096)))
}

/// Everything, on a bound connection.
fn offered() -> Offered {
    offered_with(&Mechanism::ALL, bindings())
}

fn account(password: &str, hash: Hash) -> Account {
    let keys = ScramKeys::derive(password, b"0123456789abcdef", NonZeroU32::new(64).unwrap(), hash).unwrap();
    Account { keys, disabled: false }
}

fn scram(hash: Hash, plus: bool) -> &'static str {
    Mechanism::Scram { hash, plus }.name()
}

fn start(mechanism: &str, offered: &Offered) -> Exchange {
    match Exchange::start(mechanism, offered) {
        Ok(exchange) => exchange,
        Err(failure) => panic!("{mechanism} is not taken: {failure}"),
    }
}

fn challenge(step: Step) -> String {
    match step {
        Step::Challenge(bytes) => String::from_utf8(bytes).unwrap(),
        step => panic!("not a challenge: {step:?}"),
    }
}

/// Runs an exchange for an account to its last step, and gives the signature the client expects.
fn run(offered: &Offered, mechanism: &str, client: &Client, account: Option<Account>) -> (Step, String) {
    let mut exchange = start(mechanism, offered);
    let step = exchange.step(Some(client.first().as_bytes()));
    let step = match step {
        Step::NeedCredentials { hash, .. } => {
            assert_eq!(hash, client.hash);
            exchange.credentials(account)
        }
        step => step,
    };
    let Step::Challenge(_) = &step else { return (step, String::new()) };
    let last = client.last(&challenge(step));
    (exchange.step(Some(last.message.as_bytes())), last.signature)
}

#[track_caller]
fn assert_success(outcome: (Step, String), username: &str) {
    match outcome {
        (Step::Success { username: authenticated, data }, signature) => {
            assert_eq!(authenticated.as_str(), username);
            assert_eq!(data, Some(signature.into_bytes()), "the server proves itself");
        }
        (step, _) => panic!("not a success: {step:?}"),
    }
}

#[test]
fn mechanisms_come_in_our_order_and_plus_only_where_it_can_be() {
    let names = |offered: &Offered| offered.mechanisms().iter().map(|one| one.name()).collect::<Vec<_>>();
    let shuffled = [Mechanism::Plain, Mechanism::ALL[5], Mechanism::ALL[2], Mechanism::ALL[5], Mechanism::ALL[0]];
    assert_eq!(
        names(&offered_with(&shuffled, bindings())),
        ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]
    );
    assert_eq!(names(&offered_with(&shuffled, ChannelBindings::default())), ["SCRAM-SHA-1", "PLAIN"]);
    assert_eq!(offered().channel_bindings(), ["tls-exporter", "tls-server-end-point"]);
    let without_plus = offered_with(&[Mechanism::Plain], bindings());
    assert!(without_plus.channel_bindings().is_empty(), "bindings nobody can use are not advertised (XEP-0440)");
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
    }
}

#[test]
fn c36_only_offered_mechanisms_are_taken() {
    let offered = offered_with(&[Mechanism::ALL[5]], ChannelBindings::default());
    for name in ["SCRAM-SHA-1-PLUS", "PLAIN", "scram-sha-1", "X-UNKNOWN", ""] {
        assert_eq!(Exchange::start(name, &offered).err(), Some(SaslFailure::InvalidMechanism), "{name}");
    }
}

#[test]
fn c36_base64_is_read_strictly() {
    use encoding::{decode_initial, decode_response};
    assert_eq!(decode_initial(""), Ok(None));
    assert_eq!(decode_initial("="), Ok(Some(Vec::new())));
    assert_eq!(decode_initial("AGE="), Ok(Some(b"\0a".to_vec())));
    assert_eq!(decode_response(""), Ok(Vec::new()));
    // Outside the alphabet, no padding, too much of it, pad bits that are not zero, white space.
    for text in ["AG*=", "AGE", "AGE==", "A===", "==", "AGF=", "AB==", "AG E=", "AGE=\n", " AGE=", "AG_-"] {
        assert_eq!(decode_response(text), Err(SaslFailure::IncorrectEncoding), "{text:?}");
    }
}

#[test]
fn c41_zero_bytes_are_written_as_an_equals_sign() {
    assert_eq!(encoding::encode(b""), "=");
    assert_eq!(encoding::encode(b"\0a"), "AGE=");
}

#[test]
fn an_exchange_that_is_over_stays_over() {
    let client = Client::new(Hash::Sha1, "juliet", "pencil");
    let mut exchange = start("SCRAM-SHA-1", &offered());
    exchange.step(Some(client.first().as_bytes()));
    let server_first = challenge(exchange.credentials(Some(account("pencil", Hash::Sha1))));
    let last = client.last(&server_first);
    assert!(matches!(exchange.step(Some(last.message.as_bytes())), Step::Success { .. }));
    assert_eq!(exchange.step(Some(last.message.as_bytes())), Step::Failure(SaslFailure::MalformedRequest));
    assert_eq!(exchange.credentials(Some(account("pencil", Hash::Sha1))), Step::Failure(SaslFailure::NotAuthorized));
    assert_eq!(exchange.password_checked(Verdict::Right), Step::Failure(SaslFailure::NotAuthorized));
}
