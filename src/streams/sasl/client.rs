//! A client's side of SCRAM, written apart from the server's, to test against.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waxwing_core::credentials::Hash;

/// What a client knows and chooses.
pub(super) struct Client {
    pub(super) hash: Hash,
    /// The gs2 header: `n,,`, `y,,`, `p=tls-exporter,,`, with `a=…` where wanted.
    pub(super) header: String,
    /// The escaped user name.
    pub(super) username: String,
    pub(super) password: String,
    pub(super) nonce: String,
    /// The data of the channel binding.
    pub(super) binding: Vec<u8>,
}

/// A final message, and the signature to expect for it.
pub(super) struct Final {
    pub(super) message: String,
    pub(super) signature: String,
}

impl Client {
    pub(super) fn new(hash: Hash, username: &str, password: &str) -> Client {
        Client {
            hash,
            header: "n,,".to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            nonce: "fyko+d2lbbFgONRv9qkxdawL".to_owned(),
            binding: Vec::new(),
        }
    }

    pub(super) fn bound(mut self, name: &str, data: &[u8]) -> Client {
        self.header = format!("p={name},,");
        self.binding = data.to_vec();
        self
    }

    pub(super) fn header(mut self, header: &str) -> Client {
        self.header = header.to_owned();
        self
    }

    pub(super) fn first(&self) -> String {
        format!("{}{}", self.header, self.bare())
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.username, self.nonce)
    }

    /// Answers the server's first message.
    pub(super) fn last(&self, server_first: &str) -> Final {
        self.last_with(server_first, "")
    }

    /// With further attributes before the proof, as `,x=y`.
    pub(super) fn last_with(&self, server_first: &str, extensions: &str) -> Final {
        let attribute = |name: &str| {
            let found = server_first.split(',').find_map(|attribute| attribute.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {server_first}")).to_owned()
        };
        let salt = STANDARD.decode(attribute("s=")).unwrap();
        let iterations = NonZeroU32::new(attribute("i=").parse().unwrap()).unwrap();
        let (pbkdf, mac, hash) = match self.hash {
            Hash::Sha1 => {
                (pbkdf2::PBKDF2_HMAC_SHA1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY)
            }
            Hash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
            Hash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
        };
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(pbkdf, iterations, &salt, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(mac, key), data).as_ref().to_vec();
        let binding = STANDARD.encode([self.header.as_bytes(), &self.binding].concat());
        let without_proof = format!("c={binding},r={}{extensions}", attribute("r="));
        let message = format!("{},{server_first},{without_proof}", self.bare());
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, &client_key);
        let client_signature = sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(one, other)| one ^ other).collect();
        let server_key = sign(&salted, b"Server Key");
        Final {
            message: format!("{without_proof},p={}", STANDARD.encode(proof)),
            signature: format!("v={}", STANDARD.encode(sign(&server_key, message.as_bytes()))),
        }
    }
}
