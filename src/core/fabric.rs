//! The fabric: the one seam between nodes. `Alone` answers for a server that is its own cluster (DESIGN §9).

use async_trait::async_trait;

use crate::address::BareJid;
use crate::parcel::Parcel;
use crate::refusal::Refusal;

/// Where the live state of an account or a room is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// On this node.
    Here,
    /// On the node of this name.
    There(String),
}

/// How nodes reach each other.
#[async_trait]
pub trait Fabric: Send + Sync {
    /// The number of this node, part of every id it makes (0 to 1023).
    fn node(&self) -> u16;

    /// Where the live state of an account or a room is.
    fn home(&self, address: &BareJid) -> Home;

    /// Hands a parcel to another node, which leads it on from the router.
    async fn forward(&self, node: &str, parcel: Parcel) -> Result<(), Refusal>;
}

/// One node that is alone.
pub struct Alone;

#[async_trait]
impl Fabric for Alone {
    fn node(&self) -> u16 {
        0
    }

    fn home(&self, _: &BareJid) -> Home {
        Home::Here
    }

    async fn forward(&self, _: &str, _: Parcel) -> Result<(), Refusal> {
        Err(Refusal::remote_server_not_found())
    }
}
