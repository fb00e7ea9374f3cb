//! The presence of an account as others ask for it: probes (RFC 6121 §4.3), and subscriptions that begin and end.

use std::sync::Arc;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::Pass;
use waxwing_core::stanza::{PresenceType, Stanza};

use crate::{Presence, directed};

impl Presence {
    /// Somebody asks whether the account, or one device of it, is there (§4.3.2). Who may not know hears nothing, as
    /// with an account that is away or does not exist.
    pub(crate) async fn answer_probe(&self, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let (Some(from), Some(to)) = (&parcel.stanza.from, &parcel.stanza.to) else { return Ok(Pass::Taken) };
        let (asker, account) = (from.to_bare(), to.to_bare());
        let mut sessions = self.context.directory().available(&account);
        if let Some(resource) = to.resource() {
            sessions.retain(|session| session.jid().resource() == resource);
        }
        // Nobody's roster is read for an account that is away.
        if sessions.is_empty() {
            return Ok(Pass::Taken);
        }
        if asker != account {
            let contact = self.contacts.contact(&account, &asker).await?;
            if !contact.is_some_and(|contact| contact.subscription.contact_sees_account()) {
                return Ok(Pass::Taken);
            }
        }
        for session in &sessions {
            self.show(session, from.clone()).await;
        }
        Ok(Pass::Taken)
    }

    /// A contact may see the account from now on: it is shown what it would have seen (§3.1.5).
    pub(crate) async fn reveal(&self, account: &BareJid, contact: &BareJid) {
        let contact = Jid::from(contact.clone());
        if self.is_blocked(account, &contact).await {
            return;
        }
        for session in self.context.directory().available(account) {
            self.show(&session, contact.clone()).await;
        }
    }

    /// A contact may see the account no more: for it, the account is gone (§3.2.2, §3.3.3).
    pub(crate) async fn hide(&self, account: &BareJid, contact: &BareJid) {
        let contact = Jid::from(contact.clone());
        for session in self.context.directory().available(account) {
            directed::forget_account(&session, &contact);
            let gone = Stanza::presence(PresenceType::Unavailable).from(session.jid().clone());
            self.context.send(gone.to(contact.clone())).await;
        }
    }

    /// Shows a session to somebody who may see it.
    async fn show(&self, session: &Arc<Session>, to: Jid) {
        let Some(presence) = session.presence() else { return };
        self.context.send(Stanza::clone(&presence).to(to.clone())).await;
        // Gone in the meantime: whoever was told then may have heard it before this.
        if session.presence().is_none() || !self.is_here(session) {
            let gone = Stanza::presence(PresenceType::Unavailable).from(session.jid().clone());
            self.context.send(gone.to(to)).await;
        }
    }
}
