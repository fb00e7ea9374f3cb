//! A client's side of SCRAM (RFC 5802, RFC 7677, XEP-0474), apart from the server's, and open to be done wrong on purpose.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes as base64 with padding.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The text behind base64.
///
/// # Panics
/// When it is not base64 or not text.
pub fn from_base64(text: &str) -> String {
    let bytes = STANDARD.decode(text).unwrap_or_else(|error| panic!("{text:?} is not base64: {error}"));
    String::from_utf8(bytes).unwrap_or_else(|error| panic!("{text:?} is not text: {error}"))
}

/// One attempt to log in with SCRAM. The fields may be changed to do it wrong.
#[derive(Clone, Debug)]
pub struct Scram {
    /// The mechanism's name, as it is sent.
    pub mechanism: String,
    /// The GS2 header: `n,,`, `y,,` or `p=tls-exporter,,`, with `a=…` between the commas where wanted.
    pub gs2: String,
    /// The data of the channel binding.
    pub binding: Vec<u8>,
    /// The name, escaped as RFC 5802 wants.
    pub name: String,
    /// The password, prepared.
    pub password: String,
    /// The client's nonce.
    pub nonce: String,
}

/// What the client answers to the server's first message.
#[derive(Clone, Debug)]
pub struct Final {
    /// The client's final message.
    pub message: String,
    /// What the server must say in its final message, `v=…`.
    pub server: String,
}

impl Scram {
    /// An attempt without channel binding.
    pub fn new(mechanism: &str, name: &str, password: &str) -> Scram {
        Scram {
            mechanism: mechanism.to_owned(),
            gs2: "n,,".to_owned(),
            binding: Vec::new(),
            name: name.replace('=', "=3D").replace(',', "=2C"),
            password: password.to_owned(),
            nonce: waxwing_core::random::token(),
        }
    }

    /// Bound to the connection.
    pub fn bound(mut self, kind: &str, data: &[u8]) -> Scram {
        self.gs2 = format!("p={kind},,");
        self.binding = data.to_vec();
        self
    }

    /// With another GS2 header.
    pub fn gs2(mut self, header: &str) -> Scram {
        header.clone_into(&mut self.gs2);
        self
    }

    /// The client's first message.
    pub fn first(&self) -> String {
        format!("{}{}", self.gs2, self.bare())
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.name, self.nonce)
    }

    /// The client's final message.
    ///
    /// # Panics
    /// When the server's first message breaks a rule that a client relies on.
    pub fn last(&self, server_first: &str) -> Final {
        let nonce = attribute(server_first, "r");
        assert!(nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len(), "the server's nonce: {server_first}");
        let salt = STANDARD.decode(attribute(server_first, "s")).expect("the salt is base64");
        let rounds: NonZeroU32 = attribute(server_first, "i").parse().expect("the rounds are a number");
        assert!(rounds.get() >= 4096, "fewer rounds than RFC 7677 allows: {server_first}");
        let bound = base64([self.gs2.as_bytes(), &self.binding].concat());
        let without_proof = format!("c={bound},r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.bare());

        let (hash, mac, derive) = self.algorithms();
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(derive, rounds, &salt, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(mac, key), data).as_ref().to_vec();
        let client_key = sign(&salted, b"Client Key");
        let signature = sign(digest::digest(hash, &client_key).as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
        let server = sign(&sign(&salted, b"Server Key"), signed.as_bytes());
        let (proof, server) = (base64(proof), base64(server));
        for secret in [&proof, &server] {
            crate::logs::keep_secret(secret);
        }
        Final { message: format!("{without_proof},p={proof}"), server: format!("v={server}") }
    }

    fn algorithms(&self) -> (&'static digest::Algorithm, hmac::Algorithm, pbkdf2::Algorithm) {
        match self.mechanism.trim_end_matches("-PLUS") {
            "SCRAM-SHA-1" => {
                (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pbkdf2::PBKDF2_HMAC_SHA1)
            }
            "SCRAM-SHA-256" => (&digest::SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
            "SCRAM-SHA-512" => (&digest::SHA512, hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
            other => panic!("{other} is not SCRAM"),
        }
    }

    /// What the attribute `h` of the server's first message must be (XEP-0474 §6.1), from what the stream has offered.
    pub fn downgrade_hash(&self, mechanisms: &[String], bindings: &[String]) -> String {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list.join("\u{1e}")
        };
        let mut text = sorted(mechanisms);
        if !bindings.is_empty() {
            text.push('\u{1f}');
            text.push_str(&sorted(bindings));
        }
        base64(digest::digest(self.algorithms().0, text.as_bytes()))
    }
}

/// The value of an attribute of a SCRAM message.
///
/// # Panics
/// When it is not there.
pub fn attribute<'a>(message: &'a str, name: &str) -> &'a str {
    let found = message.split(',').find_map(|attribute| attribute.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no attribute {name} in {message:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_5802_and_rfc_7677() {
        let mut scram = Scram::new("SCRAM-SHA-1", "user", "pencil");
        scram.nonce = "fyko+d2lbbFgONRv9qkxdawL".to_owned();
        let server = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        let last = scram.last(server);
        let expected = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
        assert_eq!((last.message.as_str(), last.server.as_str()), (expected, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="));

        let mut scram = Scram::new("SCRAM-SHA-256", "user", "pencil");
        scram.nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = scram.last(server);
        assert!(last.message.ends_with("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
        assert_eq!(last.server, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
