//! The commands by which clients register their devices (XEP-0050), named as app servers before this one name them.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use hyper::Uri;
use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::commands::{COMMANDS, bad_payload};
use waxwing_core::forms::{Filled, FormWriter};
use waxwing_core::random;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_core::xml::{Child, Element, Writer};

use crate::devices::{Device, Service, Target};
use crate::encryption::{AUTHENTICATION_BYTES, is_key};
use crate::form::{first_of, inside, text};
use crate::services::Services;
use crate::store::{Bounded, Store};

/// The longest address of a browser's service.
const LONGEST_ENDPOINT: usize = 2_048;
/// The longest token of a device.
const LONGEST_TOKEN: usize = 1_024;
/// The longest name of a device.
const LONGEST_NAME: usize = 256;

const LIST: &str = "list-push-registrations";
const UNREGISTER: &str = "unregister-push";

/// Browsers write without padding, and some clients with it; either alphabet.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Reads base64 as clients write it.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let url_safe = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let standard = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    url_safe.decode(text).or_else(|_| standard.decode(text)).ok()
}

/// The command that registers a device of a service.
fn registering(service: Service) -> &'static str {
    match service {
        Service::WebPush => "register-push-web",
        Service::Apns => "register-push-apns",
        Service::Fcm => "register-push-fcm",
    }
}

/// What the commands work on.
pub struct Commands<'a> {
    /// The gateway's address, which clients enable (XEP-0357 §5).
    pub gateway: &'a DomainPart,
    /// What is configured.
    pub services: &'a Services,
    /// Where devices are kept.
    pub store: &'a Store,
    /// How many of one account.
    pub most: usize,
}

/// What is asked of a command.
struct Call<'a> {
    node: String,
    session: String,
    form: Option<Filled>,
    owner: &'a BareJid,
}

impl Commands<'_> {
    /// The commands there are: name and title.
    pub fn list(&self) -> Vec<(&'static str, &'static str)> {
        let registering = Service::ALL.into_iter().filter(|service| self.services.has(*service)).map(|service| {
            let title = match service {
                Service::WebPush => "Register a browser for notifications",
                Service::Apns => "Register an Apple device for notifications",
                Service::Fcm => "Register a Google device for notifications",
            };
            (registering(service), title)
        });
        let mut commands: Vec<_> = registering.collect();
        commands.push((LIST, "List registered devices"));
        commands.push((UNREGISTER, "Remove a registered device"));
        commands
    }

    /// Answers a `<command/>` of an account.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn answer(&self, command: Child<'_>, owner: &BareJid) -> Result<Element, Refusal> {
        let node = command.attribute("node").unwrap_or_default().into_owned();
        if !self.list().iter().any(|(known, _)| *known == node) {
            return Err(Refusal::item_not_found().saying("there is no such command"));
        }
        let session = command.attribute("sessionid").filter(|session| session.len() <= 64);
        let session = session.map_or_else(random::token, |session| session.into_owned());
        let call = Call { node, session, form: inside(command), owner };
        match command.attribute("action").as_deref() {
            Some("cancel") => reply(&call, "canceled", None),
            None | Some("execute" | "next" | "complete") => self.run(call).await,
            Some(_) => Err(Refusal::bad_request().because("bad-action", COMMANDS)),
        }
    }

    async fn run(&self, call: Call<'_>) -> Result<Element, Refusal> {
        let service = Service::ALL.into_iter().find(|service| registering(*service) == call.node);
        match (call.node.as_str(), service) {
            (LIST, _) => self.devices(call).await,
            (UNREGISTER, _) => self.unregister(call).await,
            (_, Some(service)) => self.register(call, service).await,
            _ => Err(Refusal::item_not_found()),
        }
    }

    async fn register(&self, call: Call<'_>, service: Service) -> Result<Element, Refusal> {
        let Some(form) = &call.form else { return self.ask(&call, service) };
        let target = match service {
            Service::WebPush => self.browser(form)?,
            Service::Apns => self.apple(form)?,
            Service::Fcm => google(form, call.owner)?,
        };
        let name = match first_of(form, &["device-id", "android-id"]) {
            Some(name) if name.len() <= LONGEST_NAME => name.to_owned(),
            Some(_) => return Err(not_acceptable("the device-id is too long")),
            None => fingerprint(&target),
        };
        let device = Device { node: random::token(), secret: random::token(), owner: call.owner.clone(), name, target };
        match self.store.register(&device, now_milliseconds(), self.most).await? {
            Bounded::Done((node, secret)) => {
                let mut form = FormWriter::result("");
                for (name, value) in [("jid", self.gateway.as_str()), ("node", &node), ("secret", &secret)] {
                    form.field("text-single", name, name, [value], &[]);
                }
                reply(&call, "completed", Some(&form.finish()?))
            }
            Bounded::TooMany => Err(Refusal::resource_constraint()
                .saying(format!("an account registers {} devices at most, remove one before", self.most))),
        }
    }

    /// The form to be filled in. That for browsers holds the key which they need before.
    fn ask(&self, call: &Call<'_>, service: Service) -> Result<Element, Refusal> {
        let device = ("device-id", "A name for the device: registered again, it takes the place of itself");
        let fields = match service {
            Service::WebPush => vec![
                ("endpoint", "The address of the subscription"),
                ("p256dh", "The public key of the subscription"),
                ("auth", "The authentication secret of the subscription"),
                device,
            ],
            Service::Apns => vec![
                ("token", "The device token, in hexadecimal digits"),
                ("topic", "The bundle identifier of the app"),
                ("environment", "production or sandbox"),
                device,
            ],
            Service::Fcm => vec![("token", "The registration token"), device],
        };
        let mut form = FormWriter::to_fill_in("Register a device", "");
        if let (Service::WebPush, Some(web_push)) = (service, &self.services.web_push) {
            form.field("hidden", "vapid", "The key of the server", [web_push.public.as_str()], &[]);
        }
        for (name, label) in fields {
            form.field("text-single", name, label, [], &[]);
        }
        reply(call, "executing", Some(&form.finish()?))
    }

    fn browser(&self, form: &Filled) -> Result<Target, Refusal> {
        let (Some(endpoint), Some(key), Some(authentication)) =
            (text(form, "endpoint"), text(form, "p256dh"), text(form, "auth"))
        else {
            return Err(not_acceptable("endpoint, p256dh and auth are needed"));
        };
        if endpoint.len() > LONGEST_ENDPOINT {
            return Err(not_acceptable("the endpoint is too long"));
        }
        let uri: Uri = endpoint.parse().map_err(|_| not_acceptable("the endpoint is no address"))?;
        self.services
            .http
            .check(&uri)
            .map_err(|reason| not_acceptable(format!("the endpoint cannot be used: {reason}")))?;
        let key = from_base64(key).filter(|key| is_key(key));
        let key = key.ok_or_else(|| not_acceptable("p256dh is no point of P-256"))?;
        let authentication = from_base64(authentication).filter(|secret| secret.len() == AUTHENTICATION_BYTES);
        let authentication = authentication.ok_or_else(|| not_acceptable("auth is not 16 bytes"))?;
        Ok(Target::Web { endpoint: uri.to_string(), key, authentication })
    }

    fn apple(&self, form: &Filled) -> Result<Target, Refusal> {
        let topics = self.services.apns.as_ref().map(|apns| apns.topics.as_slice()).unwrap_or_default();
        let token = text(form, "token").and_then(device_token);
        let token = token.ok_or_else(|| not_acceptable("the token is no device token in hexadecimal digits"))?;
        let topic = match first_of(form, &["topic", "bundle-id"]) {
            Some(topic) => topics.iter().find(|known| *known == topic),
            None => topics.first(),
        };
        let topic = topic.ok_or_else(|| not_acceptable("this app is not served here"))?.clone();
        let sandbox = match first_of(form, &["environment", "sandbox"]) {
            None | Some("production" | "false" | "0") => false,
            Some("sandbox" | "development" | "true" | "1") => true,
            Some(_) => return Err(not_acceptable("the environment is production or sandbox")),
        };
        Ok(Target::Apns { token, topic, sandbox })
    }

    async fn devices(&self, call: Call<'_>) -> Result<Element, Refusal> {
        let devices = self.store.devices(call.owner).await?;
        let row = |device: Device| vec![device.node, device.target.service().name().to_owned(), device.name];
        let rows: Vec<Vec<String>> = devices.into_iter().map(row).collect();
        let mut form = FormWriter::result("Registered devices");
        form.table(&[("node", "Node"), ("service", "Service"), ("device-id", "Device")], &rows);
        reply(&call, "completed", Some(&form.finish()?))
    }

    async fn unregister(&self, call: Call<'_>) -> Result<Element, Refusal> {
        let Some(form) = &call.form else {
            let mut form = FormWriter::to_fill_in("Remove a device", "");
            form.field("text-single", "node", "The node of the device", [], &[]);
            return reply(&call, "executing", Some(&form.finish()?));
        };
        let node = text(form, "node").ok_or_else(|| not_acceptable("the node is needed"))?;
        if !self.store.unregister(node, call.owner).await? {
            return Err(Refusal::item_not_found().saying("there is no such registration"));
        }
        reply(&call, "completed", None)
    }
}

fn google(form: &Filled, owner: &BareJid) -> Result<Target, Refusal> {
    let token =
        text(form, "token").filter(|token| token.len() <= LONGEST_TOKEN && !token.contains(char::is_whitespace));
    let token = token.ok_or_else(|| not_acceptable("the token is needed"))?.to_owned();
    let account = text(form, "android-id").map(|android| account_digest(owner, android));
    Ok(Target::Fcm { token, account })
}

/// How Conversations finds the account that a notification is about: SHA-1 over account and device, in hexadecimal digits.
fn account_digest(owner: &BareJid, android: &str) -> String {
    hexadecimal(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{owner}\0{android}").as_bytes()).as_ref())
}

/// A device token: hexadecimal digits, or base64 of its bytes.
fn device_token(text: &str) -> Option<String> {
    let is_usual = |bytes: usize| (16..=100).contains(&bytes);
    if text.len().is_multiple_of(2) && is_usual(text.len() / 2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(text.to_ascii_lowercase());
    }
    from_base64(text).filter(|bytes| is_usual(bytes.len())).map(|bytes| hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name for a device that has none: the same for the same target.
fn fingerprint(target: &Target) -> String {
    let what = match target {
        Target::Web { endpoint, .. } => endpoint,
        Target::Apns { token, .. } | Target::Fcm { token, .. } => token,
    };
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, what.as_bytes()))
}

/// What was filled in cannot be accepted.
fn not_acceptable(told: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    bad_payload().saying(told)
}

fn reply(call: &Call<'_>, status: &str, form: Option<&Element>) -> Result<Element, Refusal> {
    let mut writer = Writer::with_capacity(512);
    writer.open("command").attribute("xmlns", COMMANDS).attribute("node", &call.node);
    writer.attribute("sessionid", &call.session).attribute("status", status);
    if status == "executing" {
        writer.open("actions").attribute("execute", "complete").open("complete").close().close();
    }
    if let Some(form) = form {
        writer.raw(form.as_bytes());
    }
    writer.close();
    Ok(element(writer.finish())?)
}

/// The text of bytes as UnifiedPush carries them.
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Whether it is what Conversations names applications and instances by: a SHA-256 digest in base64.
pub fn is_digest(text: &str) -> bool {
    text.len() <= 44 && from_base64(text).is_some_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_apple_come_in_two_spellings() {
        let hex = "243CA5F2A4EE00B66E3208CD05C962A30EFA80B2D9F8DD508CE8182E04EAB695";
        assert_eq!(device_token(hex), Some(hex.to_ascii_lowercase()));
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(device_token(&STANDARD.encode(&bytes)), Some(hexadecimal(&bytes)));
        for bad in ["", "abc", "../../3/device/x", "zz", &"ab".repeat(101)] {
            assert_eq!(device_token(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_account_is_named_as_conversations_does() {
        let owner = BareJid::new("juliet@capulet.lit").unwrap();
        // printf 'juliet@capulet.lit\0android' | sha1sum
        assert_eq!(account_digest(&owner, "android"), "d459d8ce1289f16088239290382462917e8cf789");
    }

    #[test]
    fn digests_are_told_from_other_texts() {
        assert!(is_digest("EtD/1XPLmoIph7W73CZ/uyv6FAnhEAXY1GySHX17vAw="));
        assert!(!is_digest("") && !is_digest("com.example.app") && !is_digest(&"A".repeat(44)));
        assert_eq!(to_base64(b"hi"), "aGk=");
    }
}
