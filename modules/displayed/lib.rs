//! Where each conversation was read up to, on all devices of an account (XEP-0490): a client says it in the message that tells
//! the other side, and the server publishes it to the account's own devices.

use std::sync::Arc;

use async_trait::async_trait;
use waxwing_core::contracts::{Contract, Nodes};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, StartError, Xep};
use waxwing_core::namespaces;
use waxwing_core::nodes::Audience;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::{Condition, Refusal};
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::xml::Child;

/// The node, and what stands in its items.
const DISPLAYED: &str = "urn:xmpp:mds:displayed:0";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(async move { start(&context) }) };

/// What the module is. It stands before everyone who stores or copies a message: nobody but the account may see what it
/// takes out (§5.2, §7).
pub static MANIFEST: Manifest = Manifest {
    name: "displayed",
    summary: "tells the other devices of an account where a conversation was read",
    xeps: &[Xep::complete(490, "1.0.1")],
    features: &[(Entity::Account, "urn:xmpp:mds:server-assist:0")],
    stages: &[Standing::messages(Stage::SettleSent)],
    needs: &[Contract::Nodes],
    ..Manifest::EMPTY
};

fn start(context: &Context) -> Result<Arc<dyn Module>, StartError> {
    let nodes = context.contracts().nodes().cloned();
    let nodes = nodes.ok_or_else(|| StartError::Other("no module keeps nodes of accounts".to_owned()))?;
    Ok(Arc::new(Displayed { nodes }))
}

struct Displayed {
    nodes: Arc<dyn Nodes>,
}

#[async_trait]
impl Module for Displayed {
    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let Some(session) = parcel.origin.session().cloned() else { return Ok(Pass::Onward) };
        let Some(payload) = parcel.stanza.payload(DISPLAYED, "displayed") else { return Ok(Pass::Onward) };
        let position = is_position(payload).then(|| payload.to_element());
        // All of them, not the first.
        parcel.stanza.remove_payloads(|payload| payload.namespace() == DISPLAYED && payload.name() == "displayed")?;
        let (Some(position), Some(chat)) = (position, &parcel.stanza.to) else { return Ok(Pass::Onward) };
        let items = vec![(chat.as_str().into(), position)];
        match self.nodes.publish(session.account(), DISPLAYED, items, Audience::Owner).await {
            Ok(()) => {}
            // Nothing was lost for good: the client says both again.
            Err(refusal) if must_wait(&refusal) => return Err(refusal),
            // The account's own node is set up in another way, or is full. The message has its own worth.
            Err(refusal) => tracing::debug!(account = %session.account(), %refusal, "displayed.not_published"),
        }
        Ok(Pass::Onward)
    }
}

/// Whether it names one message (§4.1).
fn is_position(displayed: Child<'_>) -> bool {
    let mut children = displayed.children();
    let is_id = |child: Child<'_>| child.namespace() == namespaces::STANZA_IDS && child.name() == "stanza-id";
    children.next().is_some_and(is_id) && children.next().is_none()
}

/// Whether something has failed that works again later.
fn must_wait(refusal: &Refusal) -> bool {
    matches!(refusal.condition, Condition::ResourceConstraint | Condition::InternalServerError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    #[test]
    fn a_position_names_one_message() {
        let is = |content: &str| {
            let displayed = element(format!("<displayed xmlns='{DISPLAYED}'>{content}</displayed>")).unwrap();
            is_position(displayed.as_child())
        };
        let id = "<stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='1'/>";
        assert!(is(id));
        assert!(!is("") && !is(&id.repeat(2)) && !is("<stanza-id/>") && !is(&format!("{id}<x xmlns='urn:x'/>")));
    }
}
