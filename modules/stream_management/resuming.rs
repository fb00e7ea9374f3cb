//! Handing a session to a new stream of its client (XEP-0198 §5).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use waxwing_core::address::BareJid;
use waxwing_core::contracts::{Resumed, Resumption};
use waxwing_core::refusal::Condition;
use waxwing_core::xml::Element;

use crate::elements::{self, SM};
use crate::shared::Shared;

/// What the host offers to streams that are not bound yet.
pub struct Resuming(pub Arc<Shared>);

#[async_trait]
impl Resumption for Resuming {
    fn is_request(&self, element: &Element) -> bool {
        element.namespace() == SM && elements::ELEMENTS.iter().any(|known| known.name == element.name())
    }

    fn too_early(&self) -> Bytes {
        elements::failed(Condition::UnexpectedRequest, None)
    }

    async fn resume(&self, account: &BareJid, request: &Element) -> Result<Resumed, Bytes> {
        if request.name() != "resume" {
            return Err(self.too_early());
        }
        let (Some(id), Some(number)) = (request.attribute("previd"), elements::number(request)) else {
            return Err(elements::failed(Condition::BadRequest, None));
        };
        let found = self.0.find(&id);
        // Somebody else's session is no session (security row S27).
        let Some((session, managed)) = found.filter(|(session, _)| session.account() == account) else {
            return Err(self.not_found(account, &id).await);
        };
        if !managed.is_resumable() {
            return Err(self.not_found(account, &id).await);
        }
        if managed.acknowledge(&session, number).is_err() {
            // More than was sent, or less than what it once had: the two do not agree on what the session was. The
            // client starts anew, and what it has not received is kept for it.
            tracing::info!(session = %session.jid(), "stream_management.numbers_disagree");
            return Err(elements::failed(Condition::ItemNotFound, Some(managed.handled(&session))));
        }
        let wire_number = session.take_over().await;
        managed.answers.lock().forget_requests();
        let handled = managed.handled(&session);
        let after_restart = managed.is_restored();
        self.0.make_sure(&session, &managed, handled).await;
        Ok(Resumed {
            wire_number,
            after_restart,
            greeting: elements::resumed(&id, handled),
            otherwise: elements::failed(Condition::ItemNotFound, Some(handled)),
            session,
        })
    }
}

impl Resuming {
    /// There is no such session, but its number may be known.
    async fn not_found(&self, account: &BareJid, id: &str) -> Bytes {
        let handled = self.0.store.handled(id, account).await.unwrap_or_else(|error| {
            tracing::warn!(%account, %error, "stream_management.number_unknown");
            None
        });
        elements::failed(Condition::ItemNotFound, handled)
    }
}
