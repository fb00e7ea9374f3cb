//! What the nodes of accounts offer to the rest of the house: small public or private facts by name (XEP-0060, XEP-0163).

use async_trait::async_trait;
use waxwing_storage::StorageError;
use waxwing_xml::Element;

use crate::address::BareJid;
use crate::refusal::Refusal;

/// An item of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its id, unique in its node: chosen by the publisher, or by the server where he chose none.
    pub id: Box<str>,
    /// What was published; none where the publisher has sent none.
    pub payload: Option<Element>,
    /// When it was published the last time, in milliseconds since 1970.
    pub published_at: i64,
}

/// Who may see what a module publishes for an account. A node that is made by it is configured so; one that is there
/// already keeps its configuration, and nothing is published when that lets more people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The account's own clients alone; all items are kept, and none is sent to a client that comes online (XEP-0223).
    Owner,
    /// Whoever may see the account's presence; one item is kept, and sent to whoever comes online (XEP-0163 §5).
    Contacts,
    /// Everybody who asks, and contacts are told; one item is kept.
    Everyone,
}

/// The nodes of the accounts of one host. Nobody who reads or writes here is asked whether he may: the module that does
/// it acts for the account itself, and decides before.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// One item of a node; `None` also when there is no such node.
    ///
    /// # Errors
    /// What storage failed with.
    async fn item(&self, account: &BareJid, node: &str, id: &str) -> Result<Option<Item>, StorageError>;

    /// The newest `most` items of a node, the newest first; empty also when there is no such node.
    ///
    /// # Errors
    /// What storage failed with.
    async fn items(&self, account: &BareJid, node: &str, most: usize) -> Result<Vec<Item>, StorageError>;

    /// The ids of all items of a node, the newest first. As many as a node may hold by the settings of the host.
    ///
    /// # Errors
    /// What storage failed with.
    async fn item_ids(&self, account: &BareJid, node: &str) -> Result<Vec<Box<str>>, StorageError>;

    /// Whether everybody may see a node; no also when there is no such node.
    ///
    /// # Errors
    /// What storage failed with.
    async fn is_open(&self, account: &BareJid, node: &str) -> Result<bool, StorageError>;

    /// Publishes items for an account that exists, in one transaction; those with an id that the node has already take
    /// the place of the older ones. Subscribers are told after the commit.
    ///
    /// # Errors
    /// `conflict` when an existing node lets more people see it than `audience`; what a client would be told when the
    /// items, or the node that would have to be made, are too many or too big.
    async fn publish(
        &self,
        account: &BareJid,
        node: &str,
        items: Vec<(Box<str>, Element)>,
        audience: Audience,
    ) -> Result<(), Refusal>;

    /// Takes items out of a node, in one transaction; ids that it does not have are passed over. Subscribers are told
    /// after the commit.
    ///
    /// # Errors
    /// What storage failed with.
    async fn retract(&self, account: &BareJid, node: &str, ids: &[Box<str>]) -> Result<(), Refusal>;
}
