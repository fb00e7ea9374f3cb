//! S5: a client asks for a new handshake inside TLS 1.2 (RFC 6120 §5.3.5, RFC 5746).
//!
//! No good library lets a client ask, so the test takes the keys out of an established connection and writes records
//! itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::cipher::{AeadKey, InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundPlainMessage};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore,
    SupportedCipherSuite, Tls12CipherSuite,
};
use waxwing_testkit::{TestServer, stream_header};

use crate::common::SERVER;

const SUITE: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;

/// A connection under TLS 1.2 whose records are written by hand.
struct Records {
    socket: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    written: u64,
    read: u64,
}

fn suite(provider: &CryptoProvider) -> &'static Tls12CipherSuite {
    let found = provider.cipher_suites.iter().find_map(|suite| match suite {
        SupportedCipherSuite::Tls12(suite) if suite.common.suite == SUITE => Some(*suite),
        _ => None,
    });
    found.expect("rustls has the suite")
}

impl Records {
    fn open(server: &TestServer) -> Records {
        let mut provider = aws_lc_rs::default_provider();
        let suite = suite(&provider);
        provider.cipher_suites = vec![SupportedCipherSuite::Tls12(suite)];
        let mut roots = RootCertStore::empty();
        for entry in std::fs::read_dir(server.certificates()).expect("the folder of certificates") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "crt") {
                roots.add(CertificateDer::from_pem_file(&path).expect("a certificate")).expect("a root");
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("TLS 1.2")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        config.alpn_protocols = vec![b"xmpp-client".to_vec()];
        let name = ServerName::try_from(server.host().to_owned()).expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut socket = TcpStream::connect(server.addresses().c2s_tls[0]).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).expect("a handshake");
        }
        let secrets = connection.dangerous_extract_secrets().expect("the keys");
        let (encrypter, decrypter) = match (secrets.tx.1, secrets.rx.1) {
            (
                ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
                ConnectionTrafficSecrets::Chacha20Poly1305 { key: their_key, iv: their_iv },
            ) => (
                suite.aead_alg.encrypter(copy(&key), iv.as_ref(), &[]),
                suite.aead_alg.decrypter(copy(&their_key), their_iv.as_ref()),
            ),
            _ => panic!("another suite than the one that was offered"),
        };
        Records { socket, encrypter, decrypter, written: secrets.tx.0, read: secrets.rx.0 }
    }

    fn write(&mut self, content: ContentType, payload: &[u8]) {
        let message = OutboundPlainMessage { typ: content, version: ProtocolVersion::TLSv1_2, payload: payload.into() };
        let record = self.encrypter.encrypt(message, self.written).expect("a record").encode();
        self.written += 1;
        // A server that has closed already is what the test wants to see.
        let _ = self.socket.write_all(&record);
    }

    /// The next record, decrypted; `None` when there is none any more.
    fn read(&mut self) -> Option<(ContentType, Vec<u8>)> {
        let mut header = [0; 5];
        match self.socket.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection stays open"),
            Err(_) => return None,
        }
        let mut payload = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        self.socket.read_exact(&mut payload).expect("a whole record");
        let opaque = InboundOpaqueMessage::new(ContentType::from(header[0]), ProtocolVersion::TLSv1_2, &mut payload);
        let plain = self.decrypter.decrypt(opaque, self.read).expect("a record of the server");
        self.read += 1;
        Some((plain.typ, plain.payload.to_vec()))
    }
}

fn copy(key: &AeadKey) -> AeadKey {
    AeadKey::from(<[u8; 32]>::try_from(key.as_ref()).expect("a key of 256 bits"))
}

/// A ClientHello as a client sends it that wants to begin anew.
fn hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2]);
    body.extend(u16::from(SUITE).to_be_bytes());
    body.extend([1, 0]);
    let length = (body.len() as u32).to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// Runs `talk` on a connection of its own, beside the other tests.
async fn on_a_connection(talk: impl FnOnce(&mut Records, &str) + Send + 'static) {
    let server = SERVER.get().await;
    let work = move || {
        let header = stream_header(&format!("to='{}' version='1.0'", server.host()));
        talk(&mut Records::open(&server), &header);
    };
    tokio::task::spawn_blocking(work).await.expect("the talk goes as the test wants");
}

#[tokio::test]
async fn s05_records_written_by_hand_are_understood() {
    on_a_connection(|records, header| {
        records.write(ContentType::ApplicationData, header.as_bytes());
        let (content, payload) = records.read().expect("an answer");
        assert_eq!(content, ContentType::ApplicationData);
        assert!(String::from_utf8_lossy(&payload).contains("<stream:features>"));
    })
    .await;
}

#[tokio::test]
async fn s05_a_wish_to_shake_hands_again_ends_the_connection() {
    for with_stream in [false, true] {
        on_a_connection(move |records, header| {
            if with_stream {
                records.write(ContentType::ApplicationData, header.as_bytes());
                records.read().expect("an answer");
            }
            records.write(ContentType::Handshake, &hello());
            records.write(ContentType::ApplicationData, header.as_bytes());
            // RFC 6120 §5.3.5: closed at once, without a stream error; an alert is TLS and no stream error.
            while let Some((content, payload)) = records.read() {
                let text = String::from_utf8_lossy(&payload).into_owned();
                assert_eq!(content, ContentType::Alert, "{text}");
            }
        })
        .await;
    }
}
