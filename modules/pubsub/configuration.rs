//! How a node is configured (XEP-0060 §16.4.4): the fields that do something here, their defaults (XEP-0163 §5), and the
//! forms that ask for them and tell them.

use serde::{Deserialize, Serialize};
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Writer;

use crate::form::{FormWriter, Purpose, boolean, not_acceptable};
use crate::protocol::ERRORS;

/// How many groups and addresses a field lists at most, and how long a text in one may be, in bytes.
const MOST_VALUES: usize = 100;
const MOST_TEXT: usize = 2_000;

/// Writes an enum whose variants are values of a field.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $value)] $variant,)* }

        impl $name {
            /// All values of the field.
            pub const VALUES: &[&str] = &[$($value,)*];

            /// Its value in the form.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $value,)* }
            }

            /// Reads a value of the form.
            pub fn read(value: &str) -> Option<$name> {
                match value { $($value => Some($name::$variant),)* _ => None }
            }
        }
    };
}

choice! {
    /// Who may read a node (§4.5).
    Access {
        /// Who has been allowed to subscribe.
        Authorize "authorize",
        /// Everybody.
        Open "open",
        /// Who may see the account's presence.
        Presence "presence",
        /// Who is in one of these groups of the account's roster.
        Roster "roster",
        /// Who is on a list.
        Whitelist "whitelist",
    }
}

choice! {
    /// Who may publish beside the owner.
    PublishModel {
        /// Who has been made a publisher.
        Publishers "publishers",
        /// Who has subscribed, too.
        Subscribers "subscribers",
        /// Who may read.
        Open "open",
    }
}

choice! {
    /// When somebody is sent the last item unasked.
    SendLast {
        /// Never.
        Never "never",
        /// When he subscribes.
        OnSubscription "on_sub",
        /// And when he comes online.
        OnPresence "on_sub_and_presence",
    }
}

choice! {
    /// The type of the messages that tell of a change.
    NotificationType {
        /// A message like any other; not kept for later all the same.
        Normal "normal",
        /// One that is of no use later.
        Headline "headline",
    }
}

choice! {
    /// Whose address an item bears.
    ItemReply {
        /// Nobody's.
        None "none",
        /// Its publisher's.
        Publisher "publisher",
    }
}

/// What the owner of a node has chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// A name for people.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// What kind of payload it holds.
    pub payload_type: String,
    /// The language of what it holds.
    pub language: String,
    /// Who may read it.
    pub access: Access,
    /// The groups for [`Access::Roster`].
    pub groups: Vec<String>,
    /// Who may publish.
    pub publish_model: PublishModel,
    /// Whether others may subscribe.
    pub subscribe: bool,
    /// Whether anybody is told of changes.
    pub deliver_notifications: bool,
    /// Whether he is told the payload, too.
    pub deliver_payloads: bool,
    /// Whether he is told that the configuration has changed.
    pub notify_config: bool,
    /// Whether he is told that the node is gone.
    pub notify_delete: bool,
    /// Whether he is told that items are gone.
    pub notify_retract: bool,
    /// When somebody is sent the last item.
    pub send_last: SendLast,
    /// The type of the messages.
    pub notification_type: NotificationType,
    /// Whose address an item bears.
    pub item_reply: ItemReply,
    /// Whether items are kept.
    pub persist_items: bool,
    /// How many items are kept; none for as many as the host allows.
    pub max_items: Option<u32>,
    /// After how many seconds items go.
    pub item_expire: Option<u32>,
    /// How many bytes a payload may have; none for as many as the host allows.
    pub max_payload: Option<u32>,
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            title: String::new(),
            description: String::new(),
            payload_type: String::new(),
            language: String::new(),
            access: Access::Presence,
            groups: Vec::new(),
            publish_model: PublishModel::Publishers,
            subscribe: true,
            deliver_notifications: true,
            deliver_payloads: true,
            notify_config: false,
            notify_delete: true,
            notify_retract: true,
            send_last: SendLast::OnPresence,
            notification_type: NotificationType::Headline,
            item_reply: ItemReply::None,
            persist_items: true,
            max_items: Some(1),
            item_expire: None,
            max_payload: None,
        }
    }
}

/// Whether a field is one of a node's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is, and was set.
    Set,
    /// Nobody here knows it.
    Unknown,
}

impl Configuration {
    /// Sets the fields of a form. Those that nobody knows are passed over, as XEP-0004 §3.2 wants.
    ///
    /// # Errors
    /// `not-acceptable` for a value that a field cannot have; then some fields may be set.
    pub fn set_all(&mut self, fields: &[(String, Vec<String>)], most_items: usize) -> Result<(), Refusal> {
        for (name, values) in fields {
            self.set(name, values, most_items)?;
        }
        Ok(())
    }

    /// Whether a node configured so is as the publisher wants it: setting what he wants changes nothing (§7.1.5).
    ///
    /// # Errors
    /// `not-acceptable` for a field that nobody knows, or a value that it cannot have.
    pub fn meets(&self, options: &[(String, Vec<String>)], most_items: usize) -> Result<bool, Refusal> {
        let mut wanted = self.clone();
        wanted.require(options, most_items)?;
        Ok(wanted == *self)
    }

    /// Sets the fields of a form that must all be known.
    ///
    /// # Errors
    /// `not-acceptable` for a field that nobody knows, or a value that it cannot have.
    pub fn require(&mut self, options: &[(String, Vec<String>)], most_items: usize) -> Result<(), Refusal> {
        for (name, values) in options {
            if self.set(name, values, most_items)? == Known::Unknown {
                return Err(Refusal::not_acceptable().saying(format!("there is no field {name}")));
            }
        }
        Ok(())
    }

    /// Sets a field.
    fn set(&mut self, name: &str, values: &[String], most_items: usize) -> Result<Known, Refusal> {
        let Some(field) = name.strip_prefix("pubsub#") else { return Ok(Known::Unknown) };
        let value = values.first().map_or("", String::as_str);
        if values.len() > MOST_VALUES || values.iter().any(|value| value.len() > MOST_TEXT) {
            return Err(not_acceptable(name));
        }
        let refused = || not_acceptable(name);
        match field {
            "title" => self.title = value.to_owned(),
            "description" => self.description = value.to_owned(),
            "type" => self.payload_type = value.to_owned(),
            "language" => self.language = value.to_owned(),
            "access_model" => {
                let unsupported = || Refusal::not_acceptable().because("unsupported-access-model", ERRORS);
                self.access = Access::read(value).ok_or_else(unsupported)?;
            }
            "roster_groups_allowed" => self.groups = values.to_vec(),
            "publish_model" => self.publish_model = PublishModel::read(value).ok_or_else(refused)?,
            "subscribe" => self.subscribe = boolean(name, value)?,
            "deliver_notifications" => self.deliver_notifications = boolean(name, value)?,
            "deliver_payloads" => self.deliver_payloads = boolean(name, value)?,
            "notify_config" => self.notify_config = boolean(name, value)?,
            "notify_delete" => self.notify_delete = boolean(name, value)?,
            "notify_retract" => self.notify_retract = boolean(name, value)?,
            "send_last_published_item" => self.send_last = SendLast::read(value).ok_or_else(refused)?,
            "notification_type" => self.notification_type = NotificationType::read(value).ok_or_else(refused)?,
            "itemreply" => self.item_reply = ItemReply::read(value).ok_or_else(refused)?,
            "persist_items" => self.persist_items = boolean(name, value)?,
            "max_items" => {
                // More than the host allows is as much as it allows.
                let number = number(name, value)?.filter(|number| (*number as usize) < most_items);
                self.max_items = number.map(|number| number.max(1));
            }
            "item_expire" => self.item_expire = number(name, value)?.filter(|seconds| *seconds > 0),
            "max_payload_size" => self.max_payload = number(name, value)?.filter(|bytes| *bytes > 0),
            // What is always so here.
            "node_type" if value == "leaf" => {}
            "presence_based_delivery" | "purge_offline" | "notify_sub" | "tempsub" if !boolean(name, value)? => {}
            _ => return Ok(Known::Unknown),
        }
        Ok(Known::Set)
    }

    /// How many items are kept.
    pub fn most_items(&self, of_host: usize) -> usize {
        self.max_items.map_or(of_host, |most| (most as usize).min(of_host)).max(1)
    }

    /// Writes the form with all fields: `form_type` is what it is for.
    pub fn write(&self, writer: &mut Writer, purpose: Purpose, form_type: &str) {
        let mut form = FormWriter::open(writer, purpose, form_type);
        self.write_fields(&mut form);
        form.close();
    }

    /// Writes all fields into a form.
    pub fn write_fields(&self, form: &mut FormWriter<'_>) {
        for (name, label, value) in [
            ("pubsub#title", "A name for people", &self.title),
            ("pubsub#description", "What it is about", &self.description),
            ("pubsub#type", "The type of what it holds", &self.payload_type),
            ("pubsub#language", "The language of what it holds", &self.language),
        ] {
            form.field("text-single", name, label, &[value], &[]);
        }
        let access = "Who may read and subscribe";
        form.field("list-single", "pubsub#access_model", access, &[self.access.name()], Access::VALUES);
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        form.field("text-multi", "pubsub#roster_groups_allowed", "Groups of contacts that may read", &groups, &[]);
        let publish = self.publish_model.name();
        form.field("list-single", "pubsub#publish_model", "Who may publish", &[publish], PublishModel::VALUES);
        for (name, label, value) in [
            ("pubsub#persist_items", "Keep what is published", self.persist_items),
            ("pubsub#subscribe", "Let others subscribe", self.subscribe),
            ("pubsub#deliver_notifications", "Tell subscribers what is published", self.deliver_notifications),
            ("pubsub#deliver_payloads", "Tell them all of it", self.deliver_payloads),
            ("pubsub#notify_config", "Tell them when this configuration changes", self.notify_config),
            ("pubsub#notify_delete", "Tell them when the node is deleted", self.notify_delete),
            ("pubsub#notify_retract", "Tell them when items are deleted", self.notify_retract),
        ] {
            form.field("boolean", name, label, &[if value { "1" } else { "0" }], &[]);
        }
        let number = |number: Option<u32>| number.map_or("max".to_owned(), |number| number.to_string());
        for (name, label, value) in [
            ("pubsub#max_items", "How many items to keep, or max", self.max_items),
            ("pubsub#item_expire", "After how many seconds items are deleted, or max", self.item_expire),
            ("pubsub#max_payload_size", "How many bytes an item may have, or max", self.max_payload),
        ] {
            form.field("text-single", name, label, &[&number(value)], &[]);
        }
        for (name, label, value, values) in [
            (
                "pubsub#send_last_published_item",
                "When to send the last item unasked",
                self.send_last.name(),
                SendLast::VALUES,
            ),
            (
                "pubsub#notification_type",
                "The type of messages about changes",
                self.notification_type.name(),
                NotificationType::VALUES,
            ),
            ("pubsub#itemreply", "Whose address an item bears", self.item_reply.name(), ItemReply::VALUES),
        ] {
            form.field("list-single", name, label, &[value], values);
        }
    }
}

/// Reads a number; none for `max` and for nothing.
fn number(name: &str, value: &str) -> Result<Option<u32>, Refusal> {
    match value.trim() {
        "max" | "" => Ok(None),
        // A number that is too large for us is as good as no bound.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(digits.parse().ok()),
        _ => Err(not_acceptable(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
        options.iter().map(|(name, value)| (format!("pubsub#{name}"), vec![(*value).to_owned()])).collect()
    }

    const PRIVATE: &[(&str, &str)] = &[
        ("persist_items", "true"),
        ("max_items", "max"),
        ("send_last_published_item", "never"),
        ("access_model", "whitelist"),
    ];

    #[test]
    fn what_a_publisher_wants_is_met_by_a_node_that_was_made_so() {
        let mut made = Configuration::default();
        assert_eq!(made.meets(&options(PRIVATE), 100), Ok(false));
        made.require(&options(PRIVATE), 100).unwrap();
        assert_eq!(made.access, Access::Whitelist);
        assert_eq!(made.meets(&options(PRIVATE), 100), Ok(true));
        for other in [("access_model", "open"), ("max_items", "5"), ("persist_items", "0")] {
            assert_eq!(made.meets(&options(&[other]), 100), Ok(false), "{other:?}");
        }
        // As many as the host allows is the same as max, whatever number says so.
        for same in
            [("max_items", "100"), ("max_items", "99999999999999"), ("node_type", "leaf"), ("persist_items", "1")]
        {
            assert_eq!(made.meets(&options(&[same]), 100), Ok(true), "{same:?}");
        }
        assert_eq!(made.most_items(100), 100);
    }

    #[test]
    fn an_unknown_precondition_is_refused_and_an_unknown_setting_passed_over() {
        for unknown in [("nonsense", "1"), ("node_type", "collection"), ("purge_offline", "1")] {
            let wanted = options(&[unknown]);
            assert_eq!(Configuration::default().meets(&wanted, 100).unwrap_err().condition.name(), "not-acceptable");
            let mut configuration = Configuration::default();
            configuration.set_all(&wanted, 100).unwrap();
            assert_eq!(configuration, Configuration::default());
        }
        for bad in
            [("access_model", "everyone"), ("persist_items", "maybe"), ("max_items", "-1"), ("max_items", "many")]
        {
            let refusal = Configuration::default().set_all(&options(&[bad]), 100).unwrap_err();
            assert_eq!(refusal.condition.name(), "not-acceptable", "{bad:?}");
        }
        let refusal = Configuration::default().set_all(&options(&[("access_model", "x")]), 100).unwrap_err();
        assert_eq!(refusal.application, Some(("unsupported-access-model", ERRORS)));
    }

    #[test]
    fn what_was_written_down_by_an_older_server_is_read() {
        let old: Configuration = serde_json::from_str("{\"access\":\"open\",\"gone\":1}").unwrap();
        assert_eq!(old, Configuration { access: Access::Open, ..Configuration::default() });
        let text = serde_json::to_string(&old).unwrap();
        assert_eq!(serde_json::from_str::<Configuration>(&text).unwrap(), old);
    }

    #[test]
    fn the_form_tells_what_can_be_set_again() {
        let configuration = Configuration {
            title: "A & B".to_owned(),
            access: Access::Roster,
            groups: vec!["Friends".to_owned(), "Others".to_owned()],
            max_items: None,
            item_expire: Some(60),
            ..Configuration::default()
        };
        let mut writer = Writer::new();
        writer.open("configure");
        configuration.write(&mut writer, Purpose::Asks, "t");
        let xml = String::from_utf8(writer.finish().to_vec()).unwrap().replace("type='form'", "type='submit'");
        let parent = waxwing_core::stanza::element(xml).unwrap();
        let filled = crate::form::Filled::inside(parent.as_child(), "t").unwrap().unwrap();
        let mut again = Configuration::default();
        again.require(&filled.fields, 100).unwrap();
        assert_eq!(again, configuration);
    }
}
