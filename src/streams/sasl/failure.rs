//! The conditions a SASL attempt can fail with (RFC 6120 §6.5).

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.name())]
pub enum SaslFailure {
    /// The client gave up with `<abort/>`.
    Aborted,
    /// The account may not log in; said only after a correct proof.
    AccountDisabled,
    /// The credentials are too old.
    CredentialsExpired,
    /// The mechanism may only be used under TLS.
    EncryptionRequired,
    /// The data is not strict base64 (RFC 4648 §4).
    IncorrectEncoding,
    /// The client may not act as the identity it asked for.
    InvalidAuthzid,
    /// The mechanism is unknown or was not offered.
    InvalidMechanism,
    /// The data does not follow the syntax of the mechanism.
    MalformedRequest,
    /// The mechanism is weaker than this account allows.
    MechanismTooWeak,
    /// Wrong credentials, an unknown account, or a sign of somebody in the middle: all the same to the peer.
    NotAuthorized,
    /// The server cannot check it now.
    TemporaryAuthFailure,
}

impl SaslFailure {
    /// The name of the condition's element in `urn:ietf:params:xml:ns:xmpp-sasl`.
    pub fn name(self) -> &'static str {
        match self {
            SaslFailure::Aborted => "aborted",
            SaslFailure::AccountDisabled => "account-disabled",
            SaslFailure::CredentialsExpired => "credentials-expired",
            SaslFailure::EncryptionRequired => "encryption-required",
            SaslFailure::IncorrectEncoding => "incorrect-encoding",
            SaslFailure::InvalidAuthzid => "invalid-authzid",
            SaslFailure::InvalidMechanism => "invalid-mechanism",
            SaslFailure::MalformedRequest => "malformed-request",
            SaslFailure::MechanismTooWeak => "mechanism-too-weak",
            SaslFailure::NotAuthorized => "not-authorized",
            SaslFailure::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}
