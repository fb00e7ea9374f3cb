//! The message around a copy (XEP-0280 §7, §8; XEP-0297 §3.1).

use waxwing_core::address::BareJid;
use waxwing_core::archive::ArchiveId;
use waxwing_core::clock::date_time;
use waxwing_core::fault::Fault;
use waxwing_core::namespaces;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::xml::Writer;

use crate::rules::{CARBONS, Side};

const FORWARD: &str = "urn:xmpp:forward:0";

/// A copy for the devices of `account`, without the one it is for: all of them share its content. `kept` is the id under
/// which the account's own archive has the message, where the message does not carry it already; `now` is when it came,
/// in milliseconds since 1970.
///
/// # Errors
/// A fault when the copy cannot be written.
pub fn copy(
    original: &Stanza,
    side: Side,
    account: &BareJid,
    kept: Option<ArchiveId>,
    now: i64,
) -> Result<Stanza, Fault> {
    let mut original = original.clone();
    if let Some(id) = kept {
        let mut writer = Writer::new();
        writer.open("stanza-id").attribute("xmlns", namespaces::STANZA_IDS);
        writer.attribute("by", account.as_str()).attribute("id", &id.to_string());
        original.add(element(writer.finish())?);
    }
    let mut writer = Writer::with_capacity(original.size() + 300);
    writer.open(side.name()).attribute("xmlns", CARBONS).open("forwarded").attribute("xmlns", FORWARD);
    writer.open("delay").attribute("xmlns", namespaces::DELAY).attribute("stamp", &date_time(now)).close();
    writer.raw(&original.to_bytes());
    Ok(Stanza::new(original.what).from(account.clone()).with(element(writer.finish())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn written(stanza: &Stanza) -> String {
        let mut out = Vec::new();
        stanza.write(&mut out, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn c20_a_copy_is_complete_with_its_namespaces() {
        let original = read(
            "<message xmlns='jabber:server' from='romeo@montague.lit/home' to='juliet@capulet.lit' id='1' type='chat' \
             xml:lang='de'><body>a &lt; b</body><x xmlns='urn:x'/></message>",
        );
        let juliet = BareJid::new("juliet@capulet.lit").unwrap();
        let copy = copy(&original, Side::Received, &juliet, None, 0).unwrap();
        assert_eq!(
            written(&copy),
            "<message from='juliet@capulet.lit' type='chat'><received xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:00.000Z'/>\
             <message xmlns='jabber:client' from='romeo@montague.lit/home' to='juliet@capulet.lit' id='1' type='chat' \
             xml:lang='de'><body>a &lt; b</body><x xmlns='urn:x'/></message></forwarded></received></message>"
        );
    }

    #[test]
    fn a_copy_of_what_was_sent_carries_the_id_in_the_senders_own_archive() {
        let original = read("<message to='juliet@capulet.lit' type='chat'><body>x</body></message>");
        let romeo = BareJid::new("romeo@montague.lit").unwrap();
        let copy = written(&copy(&original, Side::Sent, &romeo, Some(ArchiveId(42)), 0).unwrap());
        let id = "<body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@montague.lit' id='42'/></message>";
        assert!(copy.contains("<sent xmlns='urn:xmpp:carbons:2'>") && copy.contains(id), "{copy}");
    }
}
