//! The data of the channel binding `tls-exporter` (RFC 9266), made from the secrets of the handshake.
//!
//! rustls 0.23 exports keying material only from its buffered connections, which keep 4 KiB more for each idle peer.
//! So the one secret that is needed is taken through rustls' key log interface, used at once and wiped.

use std::fmt;

use parking_lot::Mutex;
use rustls::crypto::tls13::OkmBlock;
use rustls::{KeyLog, SupportedCipherSuite};

const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const TLS13_SECRET: &str = "EXPORTER_SECRET";
const TLS12_SECRET: &str = "CLIENT_RANDOM";

/// Waits for the secret of one handshake. The configuration that holds it lives as long as the handshake.
#[derive(Default)]
pub(super) struct SecretCatcher {
    caught: Mutex<Option<Caught>>,
}

/// The exporter secret of TLS 1.3 or the master secret of TLS 1.2; wipes itself.
pub(super) struct Caught {
    secret: OkmBlock,
    client_random: [u8; 32],
}

impl SecretCatcher {
    /// What was caught, once.
    pub(super) fn take(&self) -> Option<Caught> {
        self.caught.lock().take()
    }
}

impl fmt::Debug for SecretCatcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretCatcher")
    }
}

impl KeyLog for SecretCatcher {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if self.will_log(label)
            && secret.len() <= OkmBlock::MAX_LEN
            && let Ok(client_random) = client_random.try_into()
        {
            *self.caught.lock() = Some(Caught { secret: OkmBlock::new(secret), client_random });
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == TLS13_SECRET || label == TLS12_SECRET
    }
}

/// The 32 bytes both sides can compute and nobody between them. `server_random` is needed for TLS 1.2 only; there
/// it is safe because the extended master secret is required (RFC 9266 §3).
pub(super) fn channel_binding(
    suite: SupportedCipherSuite,
    caught: &Caught,
    server_random: Option<[u8; 32]>,
) -> Option<[u8; 32]> {
    let mut binding = [0; 32];
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            let hash = suite.common.hash_provider;
            let nothing = hash.hash(&[]);
            let length = u16::try_from(hash.output_len()).ok()?;
            let derived = suite.hkdf_provider.expander_for_okm(&caught.secret).expand_block(&[&hkdf_label(
                length,
                LABEL,
                nothing.as_ref(),
            )]);
            suite
                .hkdf_provider
                .expander_for_okm(&derived)
                .expand_slice(&[&hkdf_label(32, b"exporter", nothing.as_ref())], &mut binding)
                .ok()?;
        }
        SupportedCipherSuite::Tls12(suite) => {
            // The context is given and empty: two bytes of length, both zero (RFC 5705 §4).
            let seed = [&caught.client_random[..], &server_random?[..], &[0, 0]].concat();
            suite.prf_provider.for_secret(&mut binding, caught.secret.as_ref(), LABEL, &seed);
        }
    }
    Some(binding)
}

/// `HkdfLabel` of RFC 8446 §7.1.
fn hkdf_label(length: u16, label: &[u8], context: &[u8]) -> Vec<u8> {
    const PREFIX: &[u8] = b"tls13 ";
    let mut info = length.to_be_bytes().to_vec();
    info.push((PREFIX.len() + label.len()) as u8);
    info.extend_from_slice(PREFIX);
    info.extend_from_slice(label);
    info.push(context.len() as u8);
    info.extend_from_slice(context);
    info
}

/// The random of a ServerHello at the front of a server's first flight.
pub(super) fn server_random(flight: &[u8]) -> Option<[u8; 32]> {
    const HANDSHAKE: u8 = 22;
    const SERVER_HELLO: u8 = 2;
    // Record header: type, version, length. Handshake header: type, length. Then the version and the random.
    match flight {
        [HANDSHAKE, _, _, _, _, SERVER_HELLO, _, _, _, _, _, rest @ ..] => rest.first_chunk().copied(),
        _ => None,
    }
}
