//! The SASL mechanisms we have, in the order we prefer them.

use waxwing_core::credentials::Hash;

/// A mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM (RFC 5802, RFC 7677).
    Scram {
        /// The hash it runs on.
        hash: Hash,
        /// Whether it binds to the TLS channel: the -PLUS form.
        plus: bool,
    },
    /// PLAIN (RFC 4616): the password in clear inside TLS.
    Plain,
}

impl Mechanism {
    /// All of them, the preferred first: bound before unbound, then the stronger hash.
    pub const ALL: [Mechanism; 7] = [
        scram(Hash::Sha512, true),
        scram(Hash::Sha256, true),
        scram(Hash::Sha1, true),
        scram(Hash::Sha512, false),
        scram(Hash::Sha256, false),
        scram(Hash::Sha1, false),
        Mechanism::Plain,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Scram { hash: Hash::Sha1, plus: false } => "SCRAM-SHA-1",
            Mechanism::Scram { hash: Hash::Sha1, plus: true } => "SCRAM-SHA-1-PLUS",
            Mechanism::Scram { hash: Hash::Sha256, plus: false } => "SCRAM-SHA-256",
            Mechanism::Scram { hash: Hash::Sha256, plus: true } => "SCRAM-SHA-256-PLUS",
            Mechanism::Scram { hash: Hash::Sha512, plus: false } => "SCRAM-SHA-512",
            Mechanism::Scram { hash: Hash::Sha512, plus: true } => "SCRAM-SHA-512-PLUS",
            Mechanism::Plain => "PLAIN",
        }
    }

    /// The mechanism of that registered name; names are upper case (RFC 4422 §3.1).
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Whether it binds to the TLS channel.
    pub fn is_plus(self) -> bool {
        matches!(self, Mechanism::Scram { plus: true, .. })
    }
}

const fn scram(hash: Hash, plus: bool) -> Mechanism {
    Mechanism::Scram { hash, plus }
}
