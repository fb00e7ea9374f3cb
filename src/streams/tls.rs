//! The transport under a stream: a TCP socket, plain or under TLS (RFC 6120 §5, RFC 9325), that holds no buffer
//! while it is idle.

mod any_certificate;
mod channel;
mod configuration;
mod exporter;
mod handshake;
mod hello;
mod scratch;
mod session;
mod transport;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ProtocolVersion};

pub use any_certificate::AnyCertificate;
pub use configuration::{TlsConfiguration, TlsOptions};
pub use transport::Transport;

/// The cryptography of the whole server: aws-lc-rs. Suites are AEAD with forward secrecy only; keys are agreed on
/// with X25519MLKEM768, X25519, P-256 or P-384.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The connection broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Io(#[from] std::io::Error),
    /// The peer went away in the middle.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The peer sent what is not TLS, or asked for what we refuse. An alert has been sent.
    #[error("the TLS handshake failed: {0}")]
    Protocol(#[from] rustls::Error),
    /// The first message does not end.
    #[error("the peer's TLS hello is longer than {0} bytes")]
    HelloTooLong(usize),
    /// There is no certificate to show.
    #[error("there is no certificate to show")]
    NoCertificate,
}

/// What was agreed on for one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The protocol version.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: CipherSuite,
    /// The application protocol (ALPN), where one was agreed on: `xmpp-client` or `xmpp-server` (XEP-0368).
    pub alpn: Option<Vec<u8>>,
    /// The name the client asked for (SNI).
    pub server_name: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The data of the channel binding `tls-exporter` (RFC 9266); on the server's side only.
    pub exporter: Option<[u8; 32]>,
    /// The data of the channel binding `tls-server-end-point` (RFC 5929); on the server's side only.
    pub server_end_point: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests;
