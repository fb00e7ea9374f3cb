//! The messages of SCRAM, read and written (the grammar of RFC 5802 §7).

use super::SaslFailure;

/// The longest nonce we take from a client, in bytes.
const MAX_NONCE: usize = 1024;

/// What the client says about channel binding (RFC 5802 §7, `gs2-cbind-flag`).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BindingFlag<'a> {
    /// `n`: it cannot bind.
    Cannot,
    /// `y`: it could, but saw no -PLUS mechanism.
    ThinksWeCannot,
    /// `p=…`: it binds, with this type.
    Binds(&'a str),
}

/// `client-first-message`, taken apart.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    /// What it says about channel binding.
    pub(super) flag: BindingFlag<'a>,
    /// The identity it wants to act as.
    pub(super) authzid: Option<String>,
    /// `gs2-header`: everything before `bare`, for `c=` of the final message.
    pub(super) header: &'a str,
    /// `client-first-message-bare`.
    pub(super) bare: &'a str,
    /// The user name, unescaped, not prepared.
    pub(super) username: String,
    /// Its nonce.
    pub(super) nonce: &'a str,
}

/// `client-final-message`, taken apart.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    /// `client-final-message-without-proof`.
    pub(super) without_proof: &'a str,
    /// The value of `c=`, base64.
    pub(super) binding: &'a str,
    /// The value of `r=`.
    pub(super) nonce: &'a str,
    /// The value of `p=`, base64.
    pub(super) proof: &'a str,
}

/// Reads the first message. Everything that is not of the grammar is malformed, a mandatory extension (`m=`) too,
/// for we know none.
pub(super) fn read_first(message: &[u8]) -> Result<ClientFirst<'_>, SaslFailure> {
    parse_first(message).ok_or(SaslFailure::MalformedRequest)
}

/// Reads the final message.
pub(super) fn read_final(message: &[u8]) -> Result<ClientFinal<'_>, SaslFailure> {
    parse_final(message).ok_or(SaslFailure::MalformedRequest)
}

fn parse_first(message: &[u8]) -> Option<ClientFirst<'_>> {
    let message = text(message)?;
    let (flag, rest) = message.split_once(',')?;
    let (authzid, bare) = rest.split_once(',')?;
    let header = &message[..message.len() - bare.len()];
    let flag = match flag {
        "n" => BindingFlag::Cannot,
        "y" => BindingFlag::ThinksWeCannot,
        flag => BindingFlag::Binds(flag.strip_prefix("p=").filter(|name| is_binding_name(name))?),
    };
    let authzid = match authzid {
        "" => None,
        authzid => Some(unescape(authzid.strip_prefix("a=")?)?),
    };
    let mut attributes = bare.split(',');
    let username = unescape(attributes.next()?.strip_prefix("n=")?)?;
    let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
    attributes.all(is_attribute).then_some(ClientFirst { flag, authzid, header, bare, username, nonce })
}

fn parse_final(message: &[u8]) -> Option<ClientFinal<'_>> {
    let message = text(message)?;
    let (without_proof, proof) = message.rsplit_once(',')?;
    let proof = proof.strip_prefix("p=")?;
    let mut attributes = without_proof.split(',');
    let binding = attributes.next()?.strip_prefix("c=")?;
    let nonce = attributes.next()?.strip_prefix("r=")?;
    attributes.all(is_attribute).then_some(ClientFinal { without_proof, binding, nonce, proof })
}

/// The message as text; NUL stands nowhere in the grammar.
fn text(message: &[u8]) -> Option<&str> {
    std::str::from_utf8(message).ok().filter(|message| !message.contains('\0'))
}

/// Undoes `=2C` and `=3D` of `saslname`. Any other `=`, and an empty name, are errors.
fn unescape(name: &str) -> Option<String> {
    let mut pieces = name.split('=');
    let mut unescaped = pieces.next()?.to_owned();
    for piece in pieces {
        let (character, rest) = match piece.get(..2)? {
            "2C" => (',', &piece[2..]),
            "3D" => ('=', &piece[2..]),
            _ => return None,
        };
        unescaped.push(character);
        unescaped.push_str(rest);
    }
    (!unescaped.is_empty()).then_some(unescaped)
}

fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

fn is_nonce(nonce: &str) -> bool {
    (1..=MAX_NONCE).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// An extension we do not know and pass over: a letter, `=`, a value.
fn is_attribute(attribute: &str) -> bool {
    matches!(attribute.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic() && *letter != b'm')
}
