//! Last activity (XEP-0012): how long the server has been up, how long an account has been away and what it said last.

use std::sync::Arc;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Scope};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::notes::Note;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::Pass;
use waxwing_core::stanza::{IqType, PresenceType, StanzaType, element};
use waxwing_core::xml::{Element, Writer};

use crate::store::Ended;
use crate::{Basics, LAST};

/// Of a status, so many bytes are kept; a person does not write more.
const STATUS_BYTES: usize = 1024;

/// What a client said when it went.
#[derive(Default)]
struct LastWords(String);

impl Note for LastWords {
    const WRITTEN_AS: Option<&'static str> = Some("basics.last_words");

    fn write_down(&self) -> String {
        self.0.clone()
    }

    fn read_back(written: &str) -> Option<LastWords> {
        Some(LastWords(written.to_owned()))
    }
}

/// A client says something to everyone: when it says that it goes, its status is kept until its session ends.
pub fn note_status(parcel: &Parcel) -> Pass {
    let (Some(session), None) = (parcel.origin.session(), &parcel.stanza.to) else { return Pass::Onward };
    let status = match parcel.stanza.what {
        StanzaType::Presence(PresenceType::Unavailable) => parcel.stanza.text_of("status"),
        StanzaType::Presence(PresenceType::Available) => None,
        _ => return Pass::Onward,
    };
    match status.as_deref().map(|status| shortened(status.trim())) {
        Some(status) if !status.is_empty() => {
            session.with_note(|words: &mut LastWords| status.clone_into(&mut words.0));
        }
        _ => {
            session.take_note::<LastWords>();
        }
    }
    Pass::Onward
}

/// The beginning of a text, cut between two characters.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(STATUS_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Basics {
    /// A session is over: if it was the account's last one, the account is away from now on.
    pub(crate) async fn note_end(&self, session: &Arc<Session>) {
        let account = session.account();
        if !self.context.directory().sessions(account).is_empty() {
            return;
        }
        let status = session.take_note::<LastWords>().unwrap_or_default().0;
        let ended = Ended { account: account.clone(), at: now_milliseconds(), status };
        if let Err(error) = self.ends.write(ended).await {
            tracing::warn!(%account, %error, "last.not_noted");
        }
    }

    /// An account is gone, and nobody asks for it any more.
    pub(crate) async fn forget(&self, account: &BareJid) {
        if let Err(error) = self.store.delete(account).await {
            tracing::error!(%account, %error, "last.not_deleted");
        }
    }

    /// How long: of the host, since it was started; of an account, since its last session has ended (§3, §5).
    pub(crate) async fn answer_last(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        if request.scope == Scope::Host {
            return Ok(Answer::Payload(answer(self.context.house().uptime().as_secs(), "")?));
        }
        let Some(account) = request.account() else { return Err(Refusal::service_unavailable()) };
        // A device that has not said that it is there is not seen here either, but for the account itself.
        let is_there = request.is_from_owner() || !self.context.directory().available(&account).is_empty();
        if is_there {
            return Ok(Answer::Payload(answer(0, "")?));
        }
        // Never seen: there is nothing to tell.
        let Some(ended) = self.store.read(&account).await? else { return Err(Refusal::item_not_found()) };
        let away = u64::try_from(now_milliseconds().saturating_sub(ended.at) / 1000).unwrap_or(0);
        Ok(Answer::Payload(answer(away, &ended.status)?))
    }

    /// Somebody asks a device how long nobody has touched it: the question only comes to it from those who may see that
    /// the account is there (§4).
    pub(crate) async fn guard_devices(&self, parcel: &Parcel) -> Result<Pass, Refusal> {
        let stanza = &parcel.stanza;
        let (Some(to), Some(from)) = (&stanza.to, &stanza.from) else { return Ok(Pass::Onward) };
        let asks_device = stanza.what == StanzaType::Iq(IqType::Get)
            && to.resource().is_some()
            && stanza.payload(LAST, "query").is_some();
        if asks_device {
            self.admit_asker(&to.to_bare(), &Jid::to_bare(from), LAST).await?;
        }
        Ok(Pass::Onward)
    }
}

fn answer(seconds: u64, status: &str) -> Result<Element, Refusal> {
    let mut writer = Writer::new();
    writer.open("query").attribute("xmlns", LAST).attribute("seconds", &seconds.to_string()).text(status);
    Ok(element(writer.finish())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_status_is_cut_between_characters() {
        assert_eq!(shortened("Heading Home"), "Heading Home");
        let long = "ж".repeat(STATUS_BYTES);
        let short = shortened(&long);
        assert!(short.len() <= STATUS_BYTES && short.len() > STATUS_BYTES - 2 && long.starts_with(short));
    }

    #[test]
    fn the_answer_has_seconds_and_perhaps_words() {
        let bytes = |seconds, status| answer(seconds, status).unwrap().as_bytes().to_vec();
        assert_eq!(bytes(903, "<b>"), b"<query xmlns='jabber:iq:last' seconds='903'>&lt;b&gt;</query>");
        assert_eq!(bytes(0, ""), b"<query xmlns='jabber:iq:last' seconds='0'/>");
    }
}
