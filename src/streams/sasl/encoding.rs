//! Base64 as SASL in XMPP writes it (RFC 6120 §6.4.2, §6.4.6 and RFC 4648 §4): strict, `=` for zero bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SaslFailure;

/// Writes data to send; zero bytes become `=` (RFC 6120 §6.4.2).
pub fn encode(data: &[u8]) -> String {
    if data.is_empty() { "=".to_owned() } else { STANDARD.encode(data) }
}

/// Reads the text of `<auth/>`: `None` when there is no initial response, zero bytes for `=`.
pub fn decode_initial(text: &str) -> Result<Option<Vec<u8>>, SaslFailure> {
    if text.is_empty() { Ok(None) } else { decode_response(text).map(Some) }
}

/// Reads the text of `<response/>`. Anything outside the alphabet (white space too), wrong padding and pad bits
/// that are not zero are refused with [`SaslFailure::IncorrectEncoding`] (RFC 6120 §13.9.1).
pub fn decode_response(text: &str) -> Result<Vec<u8>, SaslFailure> {
    match text {
        "" | "=" => Ok(Vec::new()),
        text => decode(text).ok_or(SaslFailure::IncorrectEncoding),
    }
}

/// Strict base64 inside a mechanism's own messages.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Plain base64 inside a mechanism's own messages: zero bytes are no text.
pub(super) fn encode_inside(data: &[u8]) -> String {
    STANDARD.encode(data)
}
