//! A browser with a subscription: reads what is encrypted for it, by another implementation than the server's.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use serde_json::Value;
use web_push_native::{Auth, decrypt};

use crate::service::Seen;

pub struct Browser {
    secret: SecretKey,
    authentication: [u8; 16],
}

impl Browser {
    pub fn new() -> Browser {
        let mut bytes = [0; 32];
        let pair = rcgen::KeyPair::generate().expect("a key");
        bytes.copy_from_slice(&pair.public_key_raw()[1..33]);
        // Any number will do for a test, the half of a point as well.
        let authentication = bytes[..16].try_into().expect("sixteen");
        Browser { secret: SecretKey::from_slice(&bytes).expect("a key"), authentication }
    }

    pub fn key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret.public_key().to_encoded_point(false).as_bytes())
    }

    pub fn authentication(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.authentication)
    }

    /// What it was sent.
    pub fn read(&self, seen: &Seen) -> Value {
        assert_eq!(seen.header("content-encoding"), "aes128gcm");
        let text = decrypt(seen.body.to_vec(), &self.secret, &Auth::from(self.authentication));
        serde_json::from_slice(&text.expect("it is for this browser")).expect("JSON")
    }
}

/// What a token claims, after its signature was found to be of this key.
pub fn check_token(token: &str, key: &[u8]) -> (Value, Value) {
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let signature = from_base64(signature);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(signed.as_bytes(), &signature).expect("it is signed");
    read_token(signed)
}

/// Head and claims of a token.
pub fn read_token(signed: &str) -> (Value, Value) {
    let (head, claims) = signed.split_once('.').expect("two parts");
    let read = |part: &str| serde_json::from_slice(&from_base64(part)).expect("JSON");
    (read(head), read(claims))
}

pub fn from_base64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64")
}
