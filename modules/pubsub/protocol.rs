//! Names of the protocol (XEP-0060 §10, §16), and its errors, each written once.

use waxwing_core::module::Entity;
use waxwing_core::refusal::{ErrorType, Refusal};

/// What anybody asks of a node.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// What its owner asks.
pub const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// What is told of it.
pub const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// Conditions of errors.
pub const ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// The form of a node's configuration.
pub const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// The form of what must be so when something is published.
pub const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// The form that describes a node.
pub const META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";
/// The form in which an owner allows a subscription.
pub const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
/// Data forms (XEP-0004).
pub const FORM: &str = "jabber:x:data";
/// Pages of a list (XEP-0059).
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// What an entity can do (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";

macro_rules! features {
    ($($feature:literal)*) => {
        /// What the nodes of an account can, for service discovery. The host states two of them, for clients that ask it
        /// (XEP-0223 §5).
        pub const FEATURES: &[(Entity, &str)] = &[
            (Entity::Host, PUBLISH_OPTIONS),
            (Entity::Host, concat!("http://jabber.org/protocol/pubsub#", "publish")),
            (Entity::Account, PUBSUB),
            $((Entity::Account, concat!("http://jabber.org/protocol/pubsub#", $feature)),)*
        ];
    };
}

features! {
    "access-authorize" "access-open" "access-presence" "access-roster" "access-whitelist" "auto-create" "auto-subscribe"
    "config-node" "config-node-max" "create-and-configure" "create-nodes" "delete-items" "delete-nodes"
    "filtered-notifications" "instant-nodes" "item-ids" "last-published" "manage-subscriptions" "member-affiliation"
    "meta-data" "modify-affiliations" "multi-items" "outcast-affiliation" "persistent-items" "presence-notifications"
    "presence-subscribe" "publish" "publish-options" "publisher-affiliation" "pubsub-on-a-jid" "purge-nodes"
    "retract-items" "retrieve-affiliations" "retrieve-default" "retrieve-items" "retrieve-subscriptions" "rsm" "subscribe"
    "subscription-notifications"
}

/// Something of the protocol that is not there (§11).
pub fn unsupported(feature: &'static str) -> Refusal {
    Refusal::feature_not_implemented().because("unsupported", ERRORS).in_detail("feature", feature)
}

/// The request breaks a rule that has a name of its own.
pub fn bad_request(condition: &'static str) -> Refusal {
    Refusal::bad_request().because(condition, ERRORS)
}

/// There is no such node.
pub fn no_such_node() -> Refusal {
    Refusal::item_not_found().saying("there is no such node")
}

/// Who asks would have to see the account's presence (§6.1.3.2). Also said to strangers of nodes that do not exist, and of
/// accounts that do not exist: they learn neither.
pub fn presence_subscription_required() -> Refusal {
    Refusal::not_authorized().because("presence-subscription-required", ERRORS)
}

/// Who asks is not in one of the groups (§6.1.3.3).
pub fn not_in_roster_group() -> Refusal {
    Refusal::not_authorized().because("not-in-roster-group", ERRORS)
}

/// Who asks is not on the list (§6.1.3.4).
pub fn closed_node() -> Refusal {
    Refusal::not_allowed().because("closed-node", ERRORS)
}

/// Who asks would have to be subscribed (§6.5.9.3).
pub fn not_subscribed() -> Refusal {
    Refusal::not_authorized().because("not-subscribed", ERRORS)
}

/// The node is not as the publisher wants it (§7.1.5).
pub fn precondition_not_met() -> Refusal {
    Refusal::conflict().because("precondition-not-met", ERRORS)
}

/// The item is larger than any may be (§7.1.3.5).
pub fn payload_too_big() -> Refusal {
    Refusal::not_acceptable().because("payload-too-big", ERRORS)
}

/// An account or a node holds as much as it may.
pub fn no_room(text: String) -> Refusal {
    Refusal::policy_violation().of_type(ErrorType::Cancel).saying(text)
}
