//! S26: what must not be guessed. That there is one source of it is a rule of `tests/tidy.rs`; many samples of the source
//! itself are looked at beside it, in `src/core/random.rs`.

use std::collections::HashSet;

use base64_alphabet::bits;
use waxwing_testkit::scram::{Scram, attribute, base64, from_base64};
use waxwing_testkit::stream_header;

use crate::common::SERVER;

/// The alphabet in which the server writes random bits.
mod base64_alphabet {
    /// The bits behind URL-safe base64, six for each letter.
    pub fn bits(token: &str) -> Vec<bool> {
        let value = |letter: u8| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            other => panic!("{} is no letter of base64", char::from(other)),
        };
        token.bytes().map(value).flat_map(|value| (0..6).rev().map(move |bit| value >> bit & 1 == 1)).collect()
    }
}

/// Tokens of one kind: no two alike, at least 128 bits each, and every bit takes both values about as often.
fn are_random(kind: &str, tokens: &[String]) {
    let different: HashSet<&String> = tokens.iter().collect();
    assert_eq!(different.len(), tokens.len(), "{kind}: two are the same");
    let samples = tokens.len();
    let length = bits(&tokens[0]).len();
    assert!(length >= 128, "{kind}: {length} bits in {}", tokens[0]);
    let mut ones = vec![0usize; length];
    for token in tokens {
        let bits = bits(token);
        assert_eq!(bits.len(), length, "{kind}: {token}");
        for (count, bit) in ones.iter_mut().zip(bits) {
            *count += usize::from(bit);
        }
    }
    // Seven standard deviations of a fair coin: one run in a billion fails by chance.
    let allowed = 3.5 * (samples as f64).sqrt();
    for (bit, ones) in ones.into_iter().enumerate() {
        let away = (ones as f64 - samples as f64 / 2.0).abs();
        assert!(away <= allowed, "{kind}: bit {bit} is set in {ones} of {samples}");
    }
}

#[tokio::test]
async fn s26_ids_of_streams_are_random() {
    let scene = SERVER.scene().await;
    let mut ids = Vec::new();
    for _ in 0..400 {
        let mut client = scene.connect().await;
        client.begin_stream(stream_header("to='{host}' version='1.0'")).await;
        let header = client.expect_header().await;
        ids.push(header.attribute("id").unwrap_or_default().to_owned());
    }
    are_random("stream id", &ids);
}

#[tokio::test]
async fn s26_nonces_of_logins_are_random() {
    let scene = SERVER.scene().await;
    let name = scene.account("romeo").await;
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    let mut nonces = Vec::new();
    for _ in 0..400 {
        // A new attempt takes the place of the one before (RFC 6120 §6.4.2).
        let scram = Scram::new("SCRAM-SHA-256", &name, "whatever");
        let challenge = client.auth("SCRAM-SHA-256", &base64(scram.first())).await;
        let server_first = from_base64(&challenge.text());
        nonces.push(attribute(&server_first, "r")[scram.nonce.len()..].to_owned());
    }
    are_random("nonce", &nonces);
}

#[tokio::test]
async fn s26_resources_made_by_the_server_are_random() {
    let scene = SERVER.scene().await;
    let mut resources = Vec::new();
    for _ in 0..60 {
        let mut client = scene.logged_in("romeo").await;
        let jid = client.bind("").await;
        resources.push(jid.split_once('/').expect("a full JID").1.to_owned());
        client.send("</stream:stream>").await;
        client.expect_end().await;
    }
    are_random("resource", &resources);
}

#[tokio::test]
async fn s26_salts_are_random() {
    let scene = SERVER.scene().await;
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    let mut salts = HashSet::new();
    for number in 0..20 {
        let name = scene.account(&format!("n{number}")).await;
        for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let challenge = client.auth(mechanism, &base64(Scram::new(mechanism, &name, "whatever").first())).await;
            let salt = attribute(&from_base64(&challenge.text()), "s").to_owned();
            // 16 bytes, the size of the security list, are 24 letters with their padding.
            assert_eq!(salt.len(), 24, "{salt}");
            salts.insert(salt);
        }
    }
    // One salt for all the hashes of an account would do; no two accounts share one.
    assert!(salts.len() >= 20, "{} salts for 20 accounts", salts.len());
}
