//! The vectors of RFC 5802 §5, RFC 7677 §3 and RFC 4013 §3 for the keys of a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn rounds(iterations: u32) -> NonZeroU32 {
    NonZeroU32::new(iterations).unwrap()
}

/// Checks the proof and the signature of a published exchange against derived keys.
fn check(hash: Hash, salt: &str, message: &str, proof: &str, signature: &str) {
    let keys = ScramKeys::derive("pencil", &STANDARD.decode(salt).unwrap(), rounds(4096), hash).unwrap();
    let client_signature = hash.hmac(&keys.stored_key, &[message.as_bytes()]);
    let proof = STANDARD.decode(proof).unwrap();
    let client_key: Vec<u8> = proof.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
    assert_eq!(hash.digest(&client_key), keys.stored_key);
    assert_eq!(STANDARD.encode(hash.hmac(&keys.server_key, &[message.as_bytes()])), signature);
}

#[test]
fn keys_agree_with_rfc_5802() {
    check(
        Hash::Sha1,
        "QSXCR+Q6sek8bf92",
        "n=user,r=fyko+d2lbbFgONRv9qkxdawL,\
         r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,\
         c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
        "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    );
}

#[test]
fn keys_agree_with_rfc_7677() {
    check(
        Hash::Sha256,
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "n=user,r=rOprNGfwEbeRWgbNEkqO,\
         r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
         c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    );
}

/// The RFCs have no example for SHA-512; these come from Python's hashlib.
#[test]
fn sha_512_keys_agree_with_another_implementation() {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let keys = ScramKeys::derive("pencil", &salt, rounds(4096), Hash::Sha512).unwrap();
    assert_eq!(
        STANDARD.encode(keys.stored_key),
        "6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBqzu8QaCXNc1FwpnX9NhH2hK/60dzj9DoO5DvVkOHbvg=="
    );
    assert_eq!(
        STANDARD.encode(keys.server_key),
        "jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/0b1yWEebBeSVkkCFewf91nLDfKF24mvD5nmE6rA=="
    );
}

#[test]
fn sha_512_keys_have_its_length_and_know_their_password() {
    let keys = ScramKeys::new("pencil", rounds(2), Hash::Sha512).unwrap();
    assert_eq!((keys.stored_key.len(), keys.server_key.len(), keys.salt.len()), (64, 64, SALT_LENGTH));
    assert!(keys.verifies("pencil"));
    assert!(!keys.verifies("Pencil"));
    assert!(!keys.verifies(""));
    assert_ne!(ScramKeys::new("pencil", rounds(2), Hash::Sha512).unwrap().salt, keys.salt, "salts are fresh");
}

#[test]
fn passwords_are_prepared_as_in_rfc_4013() {
    assert_eq!(prepare_password("I\u{ad}X").unwrap(), "IX");
    assert_eq!(prepare_password("user").unwrap(), "user");
    assert_eq!(prepare_password("USER").unwrap(), "USER");
    assert_eq!(prepare_password("\u{aa}").unwrap(), "a");
    assert_eq!(prepare_password("\u{2168}").unwrap(), "IX");
    assert_eq!(prepare_password("\u{7}"), Err(PasswordError::Prohibited));
    assert_eq!(prepare_password("\u{627}1"), Err(PasswordError::Prohibited));
    assert_eq!(prepare_password(""), Err(PasswordError::Empty));
    assert_eq!(prepare_password("\u{ad}"), Err(PasswordError::Empty));
    let keys = ScramKeys::new("\u{2168}", rounds(1), Hash::Sha1).unwrap();
    assert!(keys.verifies("IX"), "compatibility forms are one password");
}

#[test]
fn hash_names_are_read_as_they_are_written() {
    for hash in Hash::ALL {
        assert_eq!(Hash::from_name(hash.name()), Some(hash));
        assert_eq!(hash.digest(b"").len(), hash.length());
    }
    assert_eq!(Hash::from_name("sha-1"), None);
}

#[test]
fn keys_stay_out_of_logs() {
    let keys = ScramKeys::derive("pencil", &[222; 16], rounds(1), Hash::Sha1).unwrap();
    let shown = format!("{keys:?}");
    assert!(!shown.contains("222") && !shown.contains("stored_key"), "{shown}");
}
