//! What is kept of a password: SCRAM keys, never the password itself (RFC 5802 §3, RFC 7677, SASLprep of RFC 4013).

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};

/// Bytes of a fresh salt. Salts made for unknown users have the same length, so that they cannot be told apart.
pub const SALT_LENGTH: usize = 16;

/// The hash functions SCRAM is offered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SHA-1: the mandatory one of RFC 6120, still sound inside HMAC and PBKDF2.
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// All of them, the strongest first.
    pub const ALL: [Hash; 3] = [Hash::Sha512, Hash::Sha256, Hash::Sha1];

    /// The name as it stands in the mechanism, for instance `SHA-256`.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "SHA-1",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512 => "SHA-512",
        }
    }

    /// The hash of that name, exactly as [`Hash::name`] writes it.
    pub fn from_name(name: &str) -> Option<Hash> {
        Hash::ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// Bytes of its output, and so of every key made with it.
    pub fn length(self) -> usize {
        self.algorithm().output_len()
    }

    /// `H(data)` of RFC 5802 §2.2.
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), data).as_ref().to_vec()
    }

    /// `HMAC(key, parts…)` of RFC 5802 §2.2, over the concatenation of the parts.
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// Why a password cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nothing is left of it after preparation.
    #[error("the password is empty")]
    Empty,
    /// It holds a character SASLprep forbids, for instance a control character.
    #[error("the password holds a character that is not allowed (SASLprep, RFC 4013)")]
    Prohibited,
}

/// Prepares a password as both sides of SCRAM do (RFC 5802 §5.1, RFC 4013): compatibility forms become one.
pub fn prepare_password(password: &str) -> Result<Cow<'_, str>, PasswordError> {
    let prepared = stringprep::saslprep(password).map_err(|_| PasswordError::Prohibited)?;
    if prepared.is_empty() { Err(PasswordError::Empty) } else { Ok(prepared) }
}

/// What the server keeps of one password for one hash. Enough to check a proof and to prove itself,
/// not enough to log in anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The hash they were made with.
    pub hash: Hash,
    /// The salt.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2, at least 1.
    pub iterations: u32,
    /// `StoredKey`: [`Hash::length`] bytes.
    pub stored_key: Vec<u8>,
    /// `ServerKey`: [`Hash::length`] bytes.
    pub server_key: Vec<u8>,
}

impl ScramKeys {
    /// Derives the keys of a password: `iterations` rounds of PBKDF2, milliseconds of CPU time, so not on a task
    /// that others wait for.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32, hash: Hash) -> Result<ScramKeys, PasswordError> {
        let prepared = prepare_password(password)?;
        let mut salted = vec![0; hash.length()];
        pbkdf2::derive(hash.pbkdf2(), iterations, salt, prepared.as_bytes(), &mut salted);
        let client_key = hash.hmac(&salted, &[b"Client Key"]);
        Ok(ScramKeys {
            hash,
            salt: salt.to_vec(),
            iterations: iterations.get(),
            stored_key: hash.digest(&client_key),
            server_key: hash.hmac(&salted, &[b"Server Key"]),
        })
    }

    /// Derives the keys of a new password under a fresh random salt. As costly as [`ScramKeys::derive`].
    pub fn new(password: &str, iterations: NonZeroU32, hash: Hash) -> Result<ScramKeys, PasswordError> {
        ScramKeys::derive(password, &crate::random::bytes::<SALT_LENGTH>(), iterations, hash)
    }

    /// Whether this is the password they were made from. As costly as [`ScramKeys::derive`]; compares in constant time.
    pub fn verifies(&self, password: &str) -> bool {
        let Some(iterations) = NonZeroU32::new(self.iterations) else {
            return false;
        };
        ScramKeys::derive(password, &self.salt, iterations, self.hash)
            .is_ok_and(|derived| same(&derived.stored_key, &self.stored_key))
    }
}

impl fmt::Debug for ScramKeys {
    /// Without the keys: they must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Whether two secrets are equal, in a time that depends on their lengths only.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
