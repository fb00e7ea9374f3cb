//! Keys for accounts that do not exist: an unknown user must look like a wrong password (security row S25).

use aws_lc_rs::hmac;
use waxwing_core::credentials::{Hash, SALT_LENGTH, ScramKeys};

/// Makes the keys of accounts that do not exist. The same name gives the same salt as long as the secret stays,
/// so keep the secret across restarts and share it between nodes.
pub struct Decoy {
    secret: hmac::Key,
    iterations: u32,
}

impl Decoy {
    /// `secret` is at least 128 bits nobody else knows; `iterations` is what new accounts get
    /// (`[auth] scram_iterations`).
    pub fn new(secret: &[u8], iterations: u32) -> Decoy {
        Decoy { secret: hmac::Key::new(hmac::HMAC_SHA256, secret), iterations }
    }

    /// The keys for a name. No password fits them.
    pub(super) fn keys(&self, hash: Hash, username: &str) -> ScramKeys {
        let mut salt = self.derive("salt", hash, username, hash.length());
        salt.truncate(SALT_LENGTH);
        ScramKeys {
            hash,
            salt,
            iterations: self.iterations,
            stored_key: self.derive("stored key", hash, username, hash.length()),
            server_key: self.derive("server key", hash, username, hash.length()),
        }
    }

    fn derive(&self, purpose: &str, hash: Hash, username: &str, length: usize) -> Vec<u8> {
        let mut derived = Vec::with_capacity(length);
        for half in [b"1", b"2"] {
            let mut context = hmac::Context::with_key(&self.secret);
            for part in [half, purpose.as_bytes(), b"\0", hash.name().as_bytes(), b"\0", username.as_bytes()] {
                context.update(part);
            }
            derived.extend_from_slice(context.sign().as_ref());
        }
        derived.truncate(length);
        derived
    }
}
