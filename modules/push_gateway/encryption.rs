//! Encrypting for one browser (RFC 8291 over RFC 8188): only the device can read what the push service carries.
//!
//! The primitives are aws-lc-rs'; what stands here is in which order they are used.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use waxwing_core::random;

/// A point of P-256 as Web Push writes it: uncompressed.
pub const POINT_BYTES: usize = 65;
/// What both sides mix into the keys (RFC 8291 §3.2).
pub const AUTHENTICATION_BYTES: usize = 16;
/// Services must take so much (RFC 8030 §7.2), and need not take more.
const MOST_BYTES: usize = 4096;
/// Salt, record size, length of the key, key (RFC 8188 §2.1).
const HEADER_BYTES: usize = 16 + 4 + 1 + POINT_BYTES;
const TAG_BYTES: usize = 16;
/// So long a text can be.
pub const MOST_TEXT_BYTES: usize = MOST_BYTES - HEADER_BYTES - TAG_BYTES - 1;
/// Texts are filled up to a multiple of this, so that their length tells little.
const STEP: usize = 256;

/// Why something could not be encrypted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// There is more than one notification can hold.
    #[error("{0} bytes are more than a notification can hold")]
    TooLong(usize),
    /// The browser's public key is no point of the curve.
    #[error("the public key is none")]
    Key,
}

impl From<Unspecified> for EncryptionError {
    fn from(_: Unspecified) -> EncryptionError {
        EncryptionError::Key
    }
}

/// What is drawn anew for each notification.
struct Fresh {
    private: PrivateKey,
    salt: [u8; 16],
}

/// Encrypts a text for the holder of this key (`p256dh`) and authentication secret (`auth`).
///
/// # Errors
/// When the key is none, or the text is too long.
pub fn encrypt(text: &[u8], key: &[u8], authentication: &[u8]) -> Result<Vec<u8>, EncryptionError> {
    if text.len() > MOST_TEXT_BYTES {
        return Err(EncryptionError::TooLong(text.len()));
    }
    let fresh = Fresh { private: PrivateKey::generate(&ECDH_P256)?, salt: random::bytes() };
    let padded = (text.len() + 1).next_multiple_of(STEP).min(MOST_TEXT_BYTES + 1);
    encrypt_with(&fresh, text, padded, key, authentication)
}

/// Whether this is a public key that can be encrypted for.
pub fn is_key(key: &[u8]) -> bool {
    key.len() == POINT_BYTES && encrypt(b"", key, &[0; AUTHENTICATION_BYTES]).is_ok()
}

fn encrypt_with(
    fresh: &Fresh,
    text: &[u8],
    padded: usize,
    key: &[u8],
    authentication: &[u8],
) -> Result<Vec<u8>, EncryptionError> {
    let ours = fresh.private.compute_public_key()?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, key);
    // RFC 8291 §3.3 and §3.4.
    let input = agree(&fresh.private, peer, EncryptionError::Key, |shared| {
        let info = [b"WebPush: info\0".as_slice(), key, ours.as_ref()];
        Ok(derive::<32>(authentication, shared, &info)?)
    })?;
    // RFC 8188 §2.2 and §2.3; there is one record, number 0.
    let content_key = derive::<16>(&fresh.salt, &input, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce = derive::<12>(&fresh.salt, &input, &[b"Content-Encoding: nonce\0"])?;
    let mut record = Vec::with_capacity(padded + TAG_BYTES);
    record.extend_from_slice(text);
    // The last record ends with 2, then zeros (RFC 8188 §2).
    record.push(2);
    record.resize(padded.max(record.len()), 0);
    let sealing = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &content_key)?);
    sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)?;
    let mut message = Vec::with_capacity(HEADER_BYTES + record.len());
    message.extend_from_slice(&fresh.salt);
    message.extend_from_slice(&(MOST_BYTES as u32).to_be_bytes());
    message.push(POINT_BYTES as u8);
    message.extend_from_slice(ours.as_ref());
    message.extend_from_slice(&record);
    Ok(message)
}

/// How many bytes are derived.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF (RFC 5869): extracts and expands.
fn derive<const N: usize>(salt: &[u8], input: &[u8], info: &[&[u8]]) -> Result<[u8; N], Unspecified> {
    let mut derived = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(input).expand(info, Length(N))?.fill(&mut derived)?;
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use p256::elliptic_curve::sec1::ToEncodedPoint as _;
    use web_push_native::{Auth, decrypt};

    use super::*;

    fn from_base64(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_example_of_rfc_8291_comes_out_the_same() {
        let private = from_base64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let fresh = Fresh {
            private: PrivateKey::from_private_key(&ECDH_P256, &private).unwrap(),
            salt: from_base64("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap(),
        };
        let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let text = b"When I grow up, I want to be a watermelon";
        let message = encrypt_with(&fresh, text, 0, &from_base64(key), &from_base64("BTBZMqHH6r4Tts7J_aSIgg")).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz\
                        AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(message), expected);
    }

    #[test]
    fn another_implementation_reads_it() {
        let browser = p256::SecretKey::from_slice(&random::bytes::<32>()).unwrap();
        let key = browser.public_key().to_encoded_point(false);
        let authentication = random::bytes::<16>();
        for length in [0, 1, 254, 255, 256, 1_000, MOST_TEXT_BYTES - 1, MOST_TEXT_BYTES] {
            let text = vec![b'x'; length];
            let message = encrypt(&text, key.as_bytes(), &authentication).unwrap();
            assert!(message.len() <= MOST_BYTES, "{length} became {}", message.len());
            let padded = message.len() - HEADER_BYTES - TAG_BYTES;
            assert!(padded.is_multiple_of(STEP) || padded == MOST_TEXT_BYTES + 1, "{length} was padded to {padded}");
            let read = decrypt(message, &browser, &Auth::from(authentication)).unwrap();
            assert_eq!(read, text, "{length}");
        }
    }

    #[test]
    fn two_messages_have_nothing_in_common_and_a_changed_one_is_not_read() {
        let browser = p256::SecretKey::from_slice(&random::bytes::<32>()).unwrap();
        let key = browser.public_key().to_encoded_point(false);
        let authentication = random::bytes::<16>();
        let one = encrypt(b"x", key.as_bytes(), &authentication).unwrap();
        let other = encrypt(b"x", key.as_bytes(), &authentication).unwrap();
        assert!(one[..16] != other[..16] && one[HEADER_BYTES..] != other[HEADER_BYTES..]);
        let mut changed = one.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(decrypt(changed, &browser, &Auth::from(authentication)).is_err());
        assert!(decrypt(one, &browser, &Auth::from([0; 16])).is_err());
    }

    #[test]
    fn what_cannot_be_encrypted_is_refused() {
        let too_long = vec![0; MOST_TEXT_BYTES + 1];
        let browser = p256::SecretKey::from_slice(&random::bytes::<32>()).unwrap();
        let key = browser.public_key().to_encoded_point(false);
        assert_eq!(encrypt(&too_long, key.as_bytes(), &[0; 16]), Err(EncryptionError::TooLong(too_long.len())));
        assert!(is_key(key.as_bytes()));
        let mut off_the_curve = key.as_bytes().to_vec();
        off_the_curve[64] ^= 1;
        for bad in [&off_the_curve[..], &[4; 65], &[0; 65], &[], &key.as_bytes()[..64]] {
            assert!(!is_key(bad));
            assert_eq!(encrypt(b"x", bad, &[0; 16]), Err(EncryptionError::Key));
        }
    }
}
