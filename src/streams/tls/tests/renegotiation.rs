//! A client that wants to shake hands again on a TLS 1.2 connection (security row S5).

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

use super::refusals::{extensions, hello};
use super::*;

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// One direction of AES-128-GCM in TLS 1.2 (RFC 5288 §3).
struct Direction {
    key: LessSafeKey,
    salt: [u8; 4],
    sequence: u64,
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Direction {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("another suite") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        Direction { key, salt: *iv.as_ref().first_chunk().unwrap(), sequence }
    }

    fn parameters(&mut self, kind: u8, length: usize, explicit: &[u8]) -> (Nonce, [u8; 13]) {
        let nonce = [&self.salt[..], explicit].concat();
        let mut additional = [0; 13];
        additional[..8].copy_from_slice(&self.sequence.to_be_bytes());
        additional[8..11].copy_from_slice(&[kind, 3, 3]);
        additional[11..].copy_from_slice(&(length as u16).to_be_bytes());
        self.sequence += 1;
        (Nonce::try_assume_unique_for_key(&nonce).unwrap(), additional)
    }

    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let explicit = self.sequence.to_be_bytes();
        let (nonce, additional) = self.parameters(kind, content.len(), &explicit);
        let mut sealed = content.to_vec();
        self.key.seal_in_place_append_tag(nonce, Aad::from(additional), &mut sealed).unwrap();
        let mut record = vec![kind, 3, 3];
        record.extend(((sealed.len() + 8) as u16).to_be_bytes());
        record.extend(explicit);
        record.extend(sealed);
        record
    }
}

#[tokio::test]
async fn s05_a_wish_to_shake_hands_again_ends_the_connection_at_once() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let mut one = (*provider()).clone();
    one.cipher_suites = vec![TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let mut client = ClientConfig::builder_with_provider(Arc::new(one))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(house.roots())
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    let (near, far) = RawClient::secured(&configuration, client).await;
    let RawClient { mut socket, tls, .. } = near;
    let secrets = tls.dangerous_extract_secrets().unwrap();
    let mut up = Direction::new(secrets.tx);
    socket.write_all(&up.seal(DATA, b"hi")).await.unwrap();
    let mut bytes = BytesMut::new();
    assert_eq!(within(far.read(&mut bytes)).await.unwrap(), 2, "the records of this test are good ones");

    let again = hello(0x0303, &[0xc02b], &[0], &extensions(true));
    socket.write_all(&up.seal(HANDSHAKE, &again[5..])).await.unwrap();
    assert!(within(far.read(&mut bytes)).await.is_err(), "RFC 6120 §5.3.5");
    // The way is closed for everything else, too: no alert that would let it go on, no data.
    far.write(b"anything");
    drop(far);
    let mut rest = Vec::new();
    within(socket.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty() && bytes.as_ref() == b"hi", "{rest:?}");
}
