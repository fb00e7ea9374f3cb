//! What the service answers over XMPP: what it is, how much it takes, and slots (XEP-0363 §3 to §6).

use waxwing_core::clock::now_milliseconds;
use waxwing_core::config::Config;
use waxwing_core::http::host_name;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::random;
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::stanza::{IqType, Stanza, StanzaType, element};
use waxwing_core::xml::{Child, Element, Writer};

use crate::Uploads;
use crate::serving::PATH;
use crate::slot::{PURPOSE, Purpose, UPLOAD, Wish, in_url};
use crate::store::{FOREVER, NewSlot, Quota};

const INFORMATION: &str = "http://jabber.org/protocol/disco#info";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const PING: &str = "urn:xmpp:ping";
const FORM: &str = "jabber:x:data";

impl Uploads {
    /// Answers what is sent to the service.
    ///
    /// # Errors
    /// What whoever has sent it is told.
    pub(crate) async fn answer(&self, parcel: &Parcel) -> Result<Option<Stanza>, Refusal> {
        let stanza = &parcel.stanza;
        let StanzaType::Iq(of @ (IqType::Get | IqType::Set)) = stanza.what else {
            return match stanza.what {
                StanzaType::Message(_) if !stanza.is_error() => Err(Refusal::service_unavailable()),
                _ => Ok(None),
            };
        };
        let Some(asked) = stanza.payloads().next() else { return Err(Refusal::bad_request()) };
        let to_itself = stanza.to.as_ref().is_some_and(|to| to.node().is_none() && to.resource().is_none());
        if !to_itself {
            return Err(Refusal::item_not_found());
        }
        let payload = match (asked.namespace(), asked.name(), of) {
            (INFORMATION, "query", IqType::Get) => Some(self.describe(asked)?),
            (ITEMS, "query", IqType::Get) => Some(element(format!("<query xmlns='{ITEMS}'/>"))?),
            (PING, "ping", IqType::Get) => None,
            (UPLOAD, "request", IqType::Get) => Some(self.give_slot(parcel, asked).await?),
            (UPLOAD, ..) => return Err(Refusal::bad_request().saying("a slot is asked for with <request/>, by get")),
            _ => return Err(Refusal::service_unavailable()),
        };
        let result = Stanza::result_of(stanza);
        Ok(Some(match payload {
            Some(payload) => result.with(payload),
            None => result,
        }))
    }

    fn describe(&self, query: Child<'_>) -> Result<Element, Refusal> {
        if query.attribute("node").is_some_and(|node| !node.is_empty()) {
            return Err(Refusal::item_not_found());
        }
        let mut writer = Writer::new();
        writer.open("query").attribute("xmlns", INFORMATION);
        writer.open("identity").attribute("category", "store").attribute("type", "file");
        writer.attribute("name", &self.settings.name).close();
        for feature in [INFORMATION, ITEMS, PING, UPLOAD] {
            writer.open("feature").attribute("var", feature).close();
        }
        let purposes = ["message", "profile", "ephemeral"].into_iter();
        for purpose in purposes.chain(self.settings.permanent.then_some("permanent")) {
            writer.open("feature").attribute("var", &format!("{PURPOSE}#{purpose}")).close();
        }
        if !self.settings.file.is_unlimited() {
            writer.open("x").attribute("xmlns", FORM).attribute("type", "result");
            writer.open("field").attribute("var", "FORM_TYPE").attribute("type", "hidden");
            writer.open("value").text(UPLOAD).close().close();
            writer.open("field").attribute("var", "max-file-size");
            writer.open("value").text(&self.settings.file.get().to_string()).close().close();
            writer.close();
        }
        Ok(element(writer.finish())?)
    }

    async fn give_slot(&self, parcel: &Parcel, asked: Child<'_>) -> Result<Element, Refusal> {
        let account = match &parcel.origin {
            Origin::Session(session) if session.host().domain() == self.context.domain() => session.account().clone(),
            _ => return Err(Refusal::forbidden().saying("files are uploaded by accounts of this server")),
        };
        let wish = Wish::read(asked)?;
        let (settings, now) = (&self.settings, now_milliseconds());
        let largest = settings.file.get() as u64;
        if wish.size > largest {
            let text = format!("the file is too large, {largest} bytes are allowed");
            return Err(Refusal::not_acceptable().saying(text).because("file-too-large", UPLOAD));
        }
        let kept = settings.keeps(wish.purpose).map_or(FOREVER, |time| now.saturating_add(time));
        let keep_until = match wish.purpose {
            Purpose::Ephemeral { before } if before <= now => {
                return Err(Refusal::bad_request().saying("expire-before is over"));
            }
            Purpose::Ephemeral { before } => kept.min(before),
            Purpose::Permanent if !settings.permanent => {
                return Err(Refusal::feature_not_implemented().saying("files are not kept for ever here"));
            }
            _ => kept,
        };
        let token = format!("{}{}", random::token(), random::token());
        let time = i64::try_from(settings.slot_time.get().as_millis()).unwrap_or(i64::MAX);
        let slot = NewSlot {
            token: &token,
            account: &account,
            name: &wish.name,
            media_type: wish.media_type.as_deref().unwrap_or(crate::ANY_BYTES),
            size: wish.size,
            asked_at: now,
            slot_until: now.saturating_add(time),
            keep_until,
        };
        let quota = Quota { day: settings.account_day.get() as u64, total: settings.account_total.get() as u64 };
        if !self.store.take(&slot, quota).await? {
            let text = "the quota is used up; files that are no longer kept make room";
            return Err(Refusal::resource_constraint().of_type(ErrorType::Wait).saying(text));
        }
        let url = format!("{}{PATH}/{token}/{}", self.base, in_url(&wish.name));
        let mut writer = Writer::new();
        writer.open("slot").attribute("xmlns", UPLOAD);
        writer.open("put").attribute("url", &url).close();
        writer.open("get").attribute("url", &url).close();
        writer.close();
        Ok(element(writer.finish())?)
    }
}

/// Where the web of a host is reached when the operator has not said it: by TLS under its name, on this machine without.
pub fn base_of(config: &Config, host: &str) -> Option<String> {
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let listen = &config.listen;
    let encrypted = listen.https.first().or(listen.all_tls.first()).map(|address| ("https", address.port(), 443));
    let plain = listen.http.first().map(|address| ("http", address.port(), 80));
    let (scheme, port, usual) = if is_here { plain.or(encrypted) } else { encrypted }?;
    let name = host_name(host);
    Some(if port == usual { format!("{scheme}://{name}") } else { format!("{scheme}://{name}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_web_is_where_the_listeners_are() {
        let config = |listen: &str| Config::from_text(&format!("[listen]\n{listen}\n"), &[]).unwrap();
        let both = config("http = ['127.0.0.1:5280']\nhttps = ['[::]:5443']");
        assert_eq!(base_of(&both, "capulet.lit").as_deref(), Some("https://capulet.lit:5443"));
        assert_eq!(base_of(&both, "localhost").as_deref(), Some("http://localhost:5280"));
        let usual = config("http = []\nhttps = ['[::]:443']");
        assert_eq!(base_of(&usual, "capulet.lit").as_deref(), Some("https://capulet.lit"));
        assert_eq!(base_of(&usual, "localhost").as_deref(), Some("https://localhost"));
        let plain = config("http = ['127.0.0.1:5280']\nhttps = []");
        assert_eq!(base_of(&plain, "capulet.lit"), None, "nobody is told to upload in the clear");
    }
}
