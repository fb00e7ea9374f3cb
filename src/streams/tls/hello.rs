//! The client's first message, read before it is answered: the name it asks for decides the certificate.

use rustls::server::Acceptor;

use super::TlsError;

/// The longest hello we read, in bytes. Those with post-quantum keys have some 2,000.
const MAX_HELLO: usize = 16 * 1024;

/// Gathers a ClientHello.
pub(super) struct HelloReader {
    acceptor: Acceptor,
    bytes: Vec<u8>,
}

/// A whole ClientHello.
pub(super) struct Hello {
    /// The name it asks for (SNI).
    pub(super) server_name: Option<String>,
    /// The application protocols it offers (ALPN).
    pub(super) protocols: Vec<Vec<u8>>,
    /// Everything that was read, for the handshake to begin with.
    pub(super) bytes: Vec<u8>,
}

/// It is no hello: why, and the alert to send.
pub(super) struct BadHello {
    pub(super) error: TlsError,
    pub(super) alert: Vec<u8>,
}

impl HelloReader {
    pub(super) fn new() -> HelloReader {
        HelloReader { acceptor: Acceptor::default(), bytes: Vec::new() }
    }

    /// Takes what came. `None`: there is more to come.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<Option<Hello>, BadHello> {
        self.bytes.extend_from_slice(bytes);
        while !bytes.is_empty() {
            let taken = self.acceptor.read_tls(&mut bytes).map_err(|_| too_long())?;
            let accepted = self.acceptor.accept().map_err(|(error, mut alert)| {
                let mut bytes = Vec::new();
                let written = alert.write_all(&mut bytes);
                debug_assert!(written.is_ok(), "writing to memory cannot fail");
                // rustls has none for a handshake message that is no hello.
                let alert = if bytes.is_empty() { UNEXPECTED_MESSAGE.to_vec() } else { bytes };
                BadHello { error: error.into(), alert }
            })?;
            if let Some(accepted) = accepted {
                let hello = accepted.client_hello();
                let server_name = hello.server_name().map(str::to_owned);
                let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
                return Ok(Some(Hello { server_name, protocols, bytes: std::mem::take(&mut self.bytes) }));
            }
            if taken == 0 {
                return Err(too_long());
            }
        }
        if self.bytes.len() > MAX_HELLO { Err(too_long()) } else { Ok(None) }
    }
}

/// Alerts as they go out before anything is encrypted. Record: alert, TLS 1.2, two bytes; then fatal and what it is.
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

fn too_long() -> BadHello {
    BadHello { error: TlsError::HelloTooLong(MAX_HELLO), alert: DECODE_ERROR.to_vec() }
}
