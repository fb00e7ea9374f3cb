//! A client that wants to shake hands again on a TLS 1.2 connection (security row S5).

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

use super::refusals::{extensions, hello};
use super::*;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

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

    /// Opens the one record there is.
    fn open(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let kind = record[0];
        let (explicit, sealed) = record[5..].split_at(8);
        let (nonce, additional) = self.parameters(kind, sealed.len() - 16, explicit);
        let mut opened = sealed.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(additional), &mut opened).unwrap().len();
        opened.truncate(length);
        (kind, opened)
    }
}

#[tokio::test]
async fn s5_renegotiation_is_rebuffed_and_insisting_ends_the_connection() {
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
    let (mut up, mut down) = (Direction::new(secrets.tx), Direction::new(secrets.rx));

    let again = hello(0x0303, &[0xc02b], &[0], &extensions(true));
    socket.write_all(&up.seal(HANDSHAKE, &again[5..])).await.unwrap();
    let mut bytes = BytesMut::new();
    let waited = tokio::time::timeout(Duration::from_millis(200), far.read(&mut bytes)).await;
    assert!(waited.is_err(), "no handshake, no data, no end");
    let mut record = vec![0; 1000];
    let length = within(socket.read(&mut record)).await.unwrap();
    const WARNING_NO_RENEGOTIATION: [u8; 2] = [1, 100];
    assert_eq!(down.open(&record[..length]), (ALERT, WARNING_NO_RENEGOTIATION.to_vec()));

    socket.write_all(&up.seal(HANDSHAKE, &again[5..])).await.unwrap();
    assert!(within(far.read(&mut bytes)).await.is_err(), "a second time is once too often");
    assert!(bytes.is_empty());
}
