//! What the operator may set about waking devices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{ByteSize, Count, Period, Rate};

/// Whose devices may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    /// Those of everyone who has an account on this host.
    Local,
    /// Everyone's, of other servers too.
    Anyone,
}

/// How much of a notification is passed on to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Details {
    /// Only that there is something.
    None,
    /// How many messages and requests wait.
    Counts,
    /// Everything that the user's server has sent: perhaps who has written, and what.
    All,
}

/// `[modules.push_gateway]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the gateway is: the first label of a domain below the host's own, or a whole domain (with a dot in it).
    pub service: String,
    /// The name of the service as clients show it.
    pub name: String,
    /// Whose devices may register: "local" (everyone with an account on this host) or "anyone".
    pub clients: Clients,
    /// How many devices one account may register, and how many addresses for applications it may have.
    pub registrations_per_account: Count,
    /// After how long a registration is forgotten that nobody has renewed. Clients renew them whenever they start.
    pub registrations_kept: Period,
    /// How often one device may be woken. Beyond it notifications are refused with policy-violation.
    pub wakes: Rate,
    /// How many notifications may be on their way at a time, those that will be tried again included. One more is
    /// refused with resource-constraint.
    pub waiting: Count,
    /// How many requests to other services are made at a time.
    pub requests: Count,
    /// How long a service may take to answer a request.
    pub timeout: Period,
    /// How often a notification is tried before it is given up.
    pub attempts: Count,
    /// The longest time until the next attempt, whatever the service asks for; a service that asks for more loses the
    /// notification.
    pub longest_pause: Period,
    /// Whether services may be at private, loopback and link-local addresses. Web Push addresses come from clients, so
    /// whoever may register could make the server talk to its own neighbours: for tests, and for services of your own.
    pub private_addresses: bool,
    /// A file with further certificate authorities (PEM) that services may be certified by; empty for none.
    pub authorities: String,
    /// Web Push (RFC 8030), for browsers and for UnifiedPush applications.
    pub web_push: WebPush,
    /// Apple's service.
    pub apns: Apns,
    /// Google's service.
    pub fcm: Fcm,
    /// UnifiedPush: applications on a user's device are woken through the connection of the XMPP client.
    pub unified_push: UnifiedPush,
}

/// `[modules.push_gateway.web_push]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebPush {
    /// The file with the key that signs requests (VAPID, RFC 8292): a P-256 key as PKCS #8 in PEM. Empty: no Web Push.
    /// Keep it: clients are registered with its public half.
    pub key: String,
    /// Makes the key file when there is none.
    pub make_key: bool,
    /// Where services reach you when something is wrong: "mailto:…" or "https://…". Empty stands for the host's web page.
    pub contact: String,
    /// What is passed on: "none", "counts" or "all". It is encrypted for the device, and the service cannot read it.
    pub details: Details,
    /// How long a service keeps what it cannot deliver.
    pub kept: Period,
}

/// `[modules.push_gateway.apns]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Apns {
    /// The file with the key of the developer account (`AuthKey_….p8`). Empty: no notifications to Apple's devices.
    pub key: String,
    /// The name of the key, ten characters.
    pub key_id: String,
    /// The name of the team, ten characters.
    pub team_id: String,
    /// The bundle identifiers of the apps that may register; one that names none has the first.
    pub topics: Vec<String>,
    /// What is passed on: "none", "counts" or "all". Apple can read it.
    pub details: Details,
    /// Where the service is.
    pub endpoint: String,
    /// Where the service for apps under development is.
    pub sandbox: String,
    /// How long the service keeps what it cannot deliver.
    pub kept: Period,
}

/// `[modules.push_gateway.fcm]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fcm {
    /// The file with the service account, JSON as Google gives it. Empty: no notifications to Google's devices.
    pub service_account: String,
    /// What is passed on: "none", "counts" or "all". Google can read it.
    pub details: Details,
    /// Where the service is.
    pub endpoint: String,
    /// How long the service keeps what it cannot deliver.
    pub kept: Period,
}

/// `[modules.push_gateway.unified_push]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UnifiedPush {
    /// Whether applications on a user's device may be woken through the XMPP client.
    pub enabled: bool,
    /// The address that applications' servers send to, up to the token: "https://push.example.org/push/". Empty stands
    /// for the address of this server's own web listener.
    pub url: String,
    /// How long an address for an application is good. Clients renew it in time.
    pub expires: Period,
    /// Size of the largest notification.
    pub size: ByteSize,
    /// How much may be sent to one address.
    pub rate: Rate,
    /// How long a client may take to confirm; then whoever has sent is told that it was accepted.
    pub timeout: Period,
    /// How many notifications are kept for an address whose client is away.
    pub kept: Count,
    /// The longest time they are kept, whatever their sender asks for.
    pub kept_for: Period,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            service: "push".to_owned(),
            name: "Push notifications".to_owned(),
            clients: Clients::Local,
            registrations_per_account: Count::of(20),
            registrations_kept: Period::seconds(90 * 86_400),
            wakes: Rate::per_minute(30),
            waiting: Count::of(10_000),
            requests: Count::of(64),
            timeout: Period::seconds(15),
            attempts: Count::of(5),
            longest_pause: Period::seconds(1_800),
            private_addresses: false,
            authorities: String::new(),
            web_push: WebPush::default(),
            apns: Apns::default(),
            fcm: Fcm::default(),
            unified_push: UnifiedPush::default(),
        }
    }
}

impl Default for WebPush {
    fn default() -> WebPush {
        WebPush {
            key: String::new(),
            make_key: false,
            contact: String::new(),
            details: Details::All,
            kept: Period::seconds(2 * 86_400),
        }
    }
}

impl Default for Apns {
    fn default() -> Apns {
        Apns {
            key: String::new(),
            key_id: String::new(),
            team_id: String::new(),
            topics: Vec::new(),
            details: Details::None,
            endpoint: "https://api.push.apple.com".to_owned(),
            sandbox: "https://api.sandbox.push.apple.com".to_owned(),
            kept: Period::seconds(2 * 86_400),
        }
    }
}

impl Default for Fcm {
    fn default() -> Fcm {
        Fcm {
            service_account: String::new(),
            details: Details::None,
            endpoint: "https://fcm.googleapis.com".to_owned(),
            kept: Period::seconds(2 * 86_400),
        }
    }
}

impl Default for UnifiedPush {
    fn default() -> UnifiedPush {
        UnifiedPush {
            enabled: false,
            url: String::new(),
            expires: Period::seconds(14 * 86_400),
            size: ByteSize::bytes(4096),
            rate: Rate::per_minute(60),
            timeout: Period::seconds(10),
            kept: Count::of(20),
            kept_for: Period::seconds(2 * 86_400),
        }
    }
}
