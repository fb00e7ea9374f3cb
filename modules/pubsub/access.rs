//! Who may do what with a node (XEP-0060 §4.1, §4.5, §6.5.1): decisions, from what is known of node and asker.

use waxwing_core::address::BareJid;
use waxwing_core::nodes::Audience;
use waxwing_core::refusal::Refusal;

use crate::configuration::{Access, Configuration, PublishModel};
use crate::protocol::{closed_node, not_in_roster_group, not_subscribed, presence_subscription_required};

/// How somebody stands to a node by its owner's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affiliation {
    /// It is his account.
    Owner,
    /// He may publish and read.
    Publisher,
    /// He may read.
    Member,
    /// Nothing is known of him.
    None,
    /// He may nothing.
    Outcast,
}

impl Affiliation {
    /// Its name in the protocol and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Affiliation::Owner => "owner",
            Affiliation::Publisher => "publisher",
            Affiliation::Member => "member",
            Affiliation::None => "none",
            Affiliation::Outcast => "outcast",
        }
    }

    /// Reads a name.
    pub fn read(name: &str) -> Option<Affiliation> {
        use Affiliation::{Member, None, Outcast, Owner, Publisher};
        [Owner, Publisher, Member, None, Outcast].into_iter().find(|affiliation| affiliation.name() == name)
    }
}

/// How far somebody has come with a subscription of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// He has it.
    Yes,
    /// The owner has not allowed it yet.
    Pending,
}

impl Subscribed {
    /// Its name in the protocol and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Subscribed::Yes => "subscribed",
            Subscribed::Pending => "pending",
        }
    }

    /// Reads a name.
    pub fn read(name: &str) -> Option<Subscribed> {
        [Subscribed::Yes, Subscribed::Pending].into_iter().find(|state| state.name() == name)
    }
}

/// How somebody stands to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// He is its owner.
    Owner,
    /// He is a contact who may see its presence, in these groups of its roster.
    Watcher(Vec<String>),
    /// Anybody else.
    Stranger,
}

/// All that decides what somebody may do with a node.
#[derive(Clone, Debug)]
pub struct Asker<'a> {
    /// How he stands to the account.
    pub relation: &'a Relation,
    /// How he stands to the node by its owner's will.
    pub affiliation: Affiliation,
    /// His subscription.
    pub subscribed: Option<Subscribed>,
}

impl Asker<'_> {
    /// Whether he may read the items and hear of new ones.
    ///
    /// # Errors
    /// What he is told when he may not.
    pub fn may_read(&self, configuration: &Configuration) -> Result<(), Refusal> {
        match (self.relation, self.affiliation) {
            (Relation::Owner, _) | (_, Affiliation::Owner) => return Ok(()),
            (_, Affiliation::Outcast) => return Err(Refusal::forbidden()),
            (_, Affiliation::Publisher | Affiliation::Member) => return Ok(()),
            (_, Affiliation::None) => {}
        }
        match (configuration.access, self.relation) {
            (Access::Open, _) | (Access::Presence, Relation::Watcher(_)) => Ok(()),
            (Access::Roster, Relation::Watcher(groups)) => {
                let is_in = groups.iter().any(|group| configuration.groups.contains(group));
                if is_in { Ok(()) } else { Err(not_in_roster_group()) }
            }
            (Access::Authorize, _) if self.subscribed == Some(Subscribed::Yes) => Ok(()),
            (Access::Authorize, _) => Err(not_subscribed()),
            (Access::Whitelist, Relation::Watcher(_)) => Err(closed_node()),
            // A stranger is told the same of every node, and of those that do not exist.
            (Access::Presence | Access::Roster | Access::Whitelist, _) => Err(presence_subscription_required()),
        }
    }

    /// Whether he may subscribe, and whether the owner has to allow it first.
    ///
    /// # Errors
    /// What he is told when he may not.
    pub fn may_subscribe(&self, configuration: &Configuration) -> Result<Subscribed, Refusal> {
        if self.subscribed == Some(Subscribed::Yes) {
            return self.may_read(configuration).map(|()| Subscribed::Yes);
        }
        match (configuration.access, self.relation, self.affiliation) {
            (Access::Authorize, Relation::Stranger | Relation::Watcher(_), Affiliation::None) => {
                Ok(Subscribed::Pending)
            }
            _ => self.may_read(configuration).map(|()| Subscribed::Yes),
        }
    }

    /// Whether he may publish, and take away what was published.
    ///
    /// # Errors
    /// What he is told when he may not.
    pub fn may_publish(&self, configuration: &Configuration) -> Result<(), Refusal> {
        let may = match (self.relation, self.affiliation) {
            (Relation::Owner, _) | (_, Affiliation::Owner | Affiliation::Publisher) => true,
            (_, Affiliation::Outcast) => false,
            _ => match configuration.publish_model {
                PublishModel::Publishers => false,
                PublishModel::Subscribers => self.subscribed == Some(Subscribed::Yes),
                PublishModel::Open => self.may_read(configuration).is_ok(),
            },
        };
        if may { Ok(()) } else { Err(Refusal::forbidden()) }
    }
}

/// Whether a node lets more people read than `audience` is.
pub fn is_wider_than(configuration: &Configuration, audience: Audience) -> bool {
    match audience {
        Audience::Everyone => false,
        Audience::Contacts => configuration.access == Access::Open,
        Audience::Owner => configuration.access != Access::Whitelist,
    }
}

/// How a node is configured that a module has made for `audience`.
pub fn configuration_for(audience: Audience) -> Configuration {
    match audience {
        Audience::Contacts => Configuration::default(),
        Audience::Everyone => Configuration { access: Access::Open, ..Configuration::default() },
        Audience::Owner => Configuration {
            access: Access::Whitelist,
            max_items: None,
            send_last: crate::configuration::SendLast::Never,
            ..Configuration::default()
        },
    }
}

/// Whether `jid` may be asked for by `asker`: one's own address, with or without a resource.
pub fn is_own(jid: &waxwing_core::address::Jid, asker: &BareJid) -> bool {
    jid.to_bare() == *asker
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Access; 5] = [Access::Open, Access::Presence, Access::Roster, Access::Authorize, Access::Whitelist];

    fn told(access: Access, relation: &Relation, affiliation: Affiliation, subscribed: Option<Subscribed>) -> String {
        let configuration = Configuration { access, groups: vec!["Friends".to_owned()], ..Configuration::default() };
        let asker = Asker { relation, affiliation, subscribed };
        match asker.may_read(&configuration) {
            Ok(()) => "yes".to_owned(),
            Err(refusal) => refusal.application.map_or(refusal.condition.name(), |(name, _)| name).to_owned(),
        }
    }

    fn row(relation: &Relation, affiliation: Affiliation, subscribed: Option<Subscribed>) -> [String; 5] {
        ALL.map(|access| told(access, relation, affiliation, subscribed))
    }

    #[test]
    fn s21_the_matrix_of_access() {
        let friend = Relation::Watcher(vec!["Others".to_owned(), "Friends".to_owned()]);
        let other = Relation::Watcher(vec!["Others".to_owned()]);
        let wall = "presence-subscription-required";
        assert_eq!(row(&Relation::Owner, Affiliation::Owner, None), ["yes"; 5]);
        assert_eq!(row(&friend, Affiliation::None, None), ["yes", "yes", "yes", "not-subscribed", "closed-node"]);
        assert_eq!(
            row(&other, Affiliation::None, None),
            ["yes", "yes", "not-in-roster-group", "not-subscribed", "closed-node"]
        );
        assert_eq!(row(&Relation::Stranger, Affiliation::None, None), ["yes", wall, wall, "not-subscribed", wall]);
        assert_eq!(
            row(&Relation::Stranger, Affiliation::None, Some(Subscribed::Yes)),
            ["yes", wall, wall, "yes", wall],
            "who was seen once and is not any more reads nothing, subscribed or not"
        );
        assert_eq!(
            row(&Relation::Stranger, Affiliation::None, Some(Subscribed::Pending)),
            ["yes", wall, wall, "not-subscribed", wall]
        );
        assert_eq!(row(&Relation::Stranger, Affiliation::Member, None), ["yes"; 5]);
        assert_eq!(row(&friend, Affiliation::Outcast, Some(Subscribed::Yes)), ["forbidden"; 5]);
    }

    #[test]
    fn s21_who_may_publish() {
        let friend = Relation::Watcher(vec![]);
        let may = |publish_model, relation, affiliation, subscribed| {
            let configuration = Configuration { publish_model, ..Configuration::default() };
            Asker { relation, affiliation, subscribed }.may_publish(&configuration).is_ok()
        };
        use Affiliation::{None as Nobody, Outcast, Publisher};
        for model in [PublishModel::Publishers, PublishModel::Subscribers, PublishModel::Open] {
            assert!(may(model, &Relation::Owner, Affiliation::Owner, None));
            assert!(may(model, &Relation::Stranger, Publisher, None));
            assert!(!may(model, &friend, Outcast, Some(Subscribed::Yes)));
            assert!(!may(model, &Relation::Stranger, Nobody, None));
        }
        assert!(!may(PublishModel::Publishers, &friend, Nobody, Some(Subscribed::Yes)));
        assert!(may(PublishModel::Subscribers, &friend, Nobody, Some(Subscribed::Yes)));
        assert!(!may(PublishModel::Subscribers, &friend, Nobody, Some(Subscribed::Pending)));
        assert!(may(PublishModel::Open, &friend, Nobody, None));
    }

    #[test]
    fn a_subscription_is_had_or_has_to_be_allowed() {
        let configuration = Configuration { access: Access::Authorize, ..Configuration::default() };
        let asks = |affiliation, subscribed| {
            Asker { relation: &Relation::Stranger, affiliation, subscribed }.may_subscribe(&configuration)
        };
        assert_eq!(asks(Affiliation::None, None), Ok(Subscribed::Pending));
        assert_eq!(asks(Affiliation::None, Some(Subscribed::Yes)), Ok(Subscribed::Yes));
        assert_eq!(asks(Affiliation::Member, None), Ok(Subscribed::Yes));
        assert!(asks(Affiliation::Outcast, None).is_err());
    }

    #[test]
    fn a_module_publishes_nothing_where_more_people_look() {
        for audience in [Audience::Owner, Audience::Contacts, Audience::Everyone] {
            assert!(!is_wider_than(&configuration_for(audience), audience));
        }
        assert!(is_wider_than(&Configuration::default(), Audience::Owner));
        assert!(is_wider_than(&configuration_for(Audience::Everyone), Audience::Contacts));
    }
}
