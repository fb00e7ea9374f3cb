//! A client reads or changes its roster (RFC 6121 §2.2 to §2.6).

use std::sync::Arc;

use waxwing_core::address::BareJid;
use waxwing_core::answers::{Answer, Request};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stanza::{IqType, Stanza};

use crate::item::{Item, Wish, write_removed};
use crate::rosters::Turn;
use crate::store::Since;
use crate::{Roster, has_room, payload};

/// A client that was away is told of so many changes one by one; after more it gets the whole roster (§2.6.3).
const MOST_PUSHES: usize = 50;

/// How often a roster is read again because it has changed in the meantime.
const ATTEMPTS: usize = 3;

impl Roster {
    /// Answers a roster get or set.
    pub(crate) async fn answer_query(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let query = request.payload();
        let is_query = query.name() == "query";
        let account = match (request.session, request.account()) {
            (Some(session), _) if request.is_from_owner() && is_query => {
                if !request.is_set() {
                    let known = query.attribute("ver").map(|version| version.into_owned());
                    self.get(session, request.stanza, known.as_deref()).await?;
                    return Ok(Answer::Sent);
                }
                session.account().clone()
            }
            (_, Some(account)) if is_query && self.is_privileged(&request) => {
                if !request.is_set() {
                    return self.show(&account).await;
                }
                account
            }
            _ if request.is_from_owner() => {
                return Err(Refusal::bad_request().saying("a roster is asked for with <query/>"));
            }
            _ => return Err(stranger(&request)),
        };
        let account = &account;
        match Wish::read(query, &self.settings)? {
            Wish::Put { contact, .. } | Wish::Remove(contact) if contact == *account => {
                Err(Refusal::not_allowed().saying("nobody is a contact of himself"))
            }
            Wish::Put { contact, name, groups } => self.put(account, contact, name, groups).await,
            Wish::Remove(contact) => self.remove(account, &contact).await,
        }
    }

    /// Whether a component asks that may do so in everyone's name (XEP-0356 §4.3).
    fn is_privileged(&self, request: &Request<'_>) -> bool {
        let privileges = self.context.contracts().privileges();
        privileges
            .zip(request.from())
            .is_some_and(|(privileges, who)| privileges.may_use_rosters(who, request.is_set()))
    }

    /// The whole roster, for somebody who is not told of changes.
    async fn show(&self, account: &BareJid) -> Result<Answer, Refusal> {
        let roster = self.rosters.store.read(account).await?;
        let payload = payload(Some(roster.version), |writer| {
            for item in &roster.items {
                item.write(writer);
            }
        })?;
        Ok(Answer::Payload(payload))
    }

    /// A client wants to see the roster, and all that happens to it from now on.
    async fn get(&self, session: &Arc<Session>, request: &Stanza, known: Option<&str>) -> Result<(), Refusal> {
        // Before it is read: what changes in between is pushed.
        session.set_interested();
        let account = session.account();
        let turn = self.rosters.turn(account);
        for attempt in 1.. {
            let is_last = attempt >= ATTEMPTS;
            if let Some(known) = known.and_then(|known| known.parse().ok())
                && let Since::Changes { version, items } =
                    self.rosters.store.read_since(account, known, MOST_PUSHES).await?
            {
                if self.answer_changes(&turn, session, request, if is_last { i64::MAX } else { version }, items) {
                    return Ok(());
                }
                continue;
            }
            let roster = self.rosters.store.read(account).await?;
            let payload = payload(known.map(|_| roster.version), |writer| {
                for item in &roster.items {
                    item.write(writer);
                }
            })?;
            let answer = Stanza::result_of(request).with(payload);
            has_room(session, answer.size()).await;
            if turn.answer(if is_last { i64::MAX } else { roster.version }, || deliver(session, answer)) {
                turn.remember(&roster.items);
                break;
            }
        }
        Ok(())
    }

    /// Tells a client that knows an older version what has changed: an empty result, then a push for each contact, each
    /// with the version it changed in (§2.6.3).
    fn answer_changes(
        &self,
        turn: &Turn<'_>,
        session: &Arc<Session>,
        request: &Stanza,
        version: i64,
        items: Vec<Result<Item, (BareJid, i64)>>,
    ) -> bool {
        let pushes = items.iter().filter_map(|item| {
            let version = item.as_ref().map_or_else(|(_, version)| *version, |item| item.version);
            let payload = payload(Some(version), |writer| match item {
                Ok(item) => item.write(writer),
                Err((contact, _)) => write_removed(contact, writer),
            });
            let push = Stanza::iq(IqType::Set).to(session.jid().clone());
            Some(push.with(payload.ok()?))
        });
        let stanzas: Vec<Stanza> = std::iter::once(Stanza::result_of(request)).chain(pushes).collect();
        turn.answer(version, || {
            for stanza in stanzas {
                deliver(session, stanza);
            }
        })
    }

    /// Adds a contact, or gives it another name and other groups (§2.3, §2.4).
    async fn put(
        &self,
        account: &BareJid,
        contact: BareJid,
        name: Option<String>,
        groups: Vec<String>,
    ) -> Result<Answer, Refusal> {
        let mut turn = self.rosters.turn(account);
        turn.will_change();
        let mut change = self.rosters.store.change(account).await?;
        let item = match change.read_one(&contact).await?.item {
            Some(item) => item,
            None => {
                self.admit_one_more(change.count().await?)?;
                Item::new(contact)
            }
        };
        let mut item = Item { name, groups, ..item };
        change.put(&mut item).await?;
        change.commit().await?;
        turn.changed();
        self.push(&turn, account, &item.contact, item.version, |writer| item.write(writer));
        Ok(Answer::Empty)
    }

    /// Removes a contact, and with it what stood between the two (§2.5).
    async fn remove(&self, account: &BareJid, contact: &BareJid) -> Result<Answer, Refusal> {
        let mut turn = self.rosters.turn(account);
        turn.will_change();
        let mut change = self.rosters.store.change(account).await?;
        let entry = change.read_one(contact).await?;
        if entry.item.is_none() {
            // Also when the contact has asked to see the account: that is no contact yet, and clients do not see it.
            return Err(Refusal::item_not_found());
        }
        let version = change.remove(contact, self.settings.removed_contacts.get()).await?;
        if entry.is_asked {
            change.drop_request(contact).await?;
        }
        change.commit().await?;
        turn.changed();
        self.push(&turn, account, contact, version, |writer| write_removed(contact, writer));
        drop(turn);
        self.say_farewell(entry.state(), account, contact).await;
        Ok(Answer::Empty)
    }

    /// Whether a roster with `count` contacts may have one more.
    ///
    /// # Errors
    /// `policy-violation` when not.
    pub(crate) fn admit_one_more(&self, count: usize) -> Result<(), Refusal> {
        if self.settings.contacts.allows(count.saturating_add(1)) {
            return Ok(());
        }
        Err(Refusal::policy_violation().saying(format!("the roster has {count} contacts, more are not allowed")))
    }
}

/// What somebody is told who asks for another's roster. A client of ours that wants to change it is told that it may not
/// (§2.1.5); in everything else there is no difference to an account that does not exist (security row S25).
fn stranger(request: &Request<'_>) -> Refusal {
    match (request.is_set(), request.session) {
        (true, Some(_)) => Refusal::forbidden(),
        _ => Refusal::service_unavailable(),
    }
}

fn deliver(session: &Session, stanza: Stanza) {
    // A session that has just ended needs no answer.
    let _ = session.deliver(Parcel::new(stanza, Origin::House));
}
