//! Devices that want to be woken: what is kept of each, and what a service must know to reach it.

use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;

/// The services through which devices are reached. The names are kept in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Web Push (RFC 8030).
    WebPush,
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 3] = [Service::WebPush, Service::Apns, Service::Fcm];

    /// Its name, in the database and in the names of commands.
    pub fn name(self) -> &'static str {
        match self {
            Service::WebPush => "web",
            Service::Apns => "apns",
            Service::Fcm => "fcm",
        }
    }
}

/// What a service must know to reach a device. Kept as JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "service")]
pub enum Target {
    /// A subscription to Web Push: where, and for whom it is encrypted (RFC 8291 §2).
    Web {
        /// The address that the browser's service has given.
        endpoint: String,
        /// The public key of the browser, an uncompressed point of P-256.
        #[serde(with = "bytes")]
        key: Vec<u8>,
        /// What both sides mix into the keys, 16 bytes.
        #[serde(with = "bytes")]
        authentication: Vec<u8>,
    },
    /// A device of Apple's.
    Apns {
        /// The device, in hexadecimal digits.
        token: String,
        /// The app on it.
        topic: String,
        /// Whether the app is under development.
        sandbox: bool,
    },
    /// A device with Google's services.
    Fcm {
        /// The app on the device.
        token: String,
        /// By what the app knows which of its accounts it is about.
        account: Option<String>,
    },
}

impl Target {
    /// The service that reaches it.
    pub fn service(&self) -> Service {
        match self {
            Target::Web { .. } => Service::WebPush,
            Target::Apns { .. } => Service::Apns,
            Target::Fcm { .. } => Service::Fcm,
        }
    }
}

/// Tokens are as good as secrets: nothing of them gets into a log.
impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Target({})", self.service().name())
    }
}

/// A registered device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// By which name it is published to.
    pub node: String,
    /// What a publisher must know.
    pub secret: String,
    /// Whose it is.
    pub owner: BareJid,
    /// What its client calls it: another registration of the same name takes the place of this one.
    pub name: String,
    /// How it is reached.
    pub target: Target,
}

/// Bytes as text in JSON.
mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
