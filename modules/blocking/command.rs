//! The commands of `urn:xmpp:blocking` (XEP-0191 §3), read and written.

use waxwing_core::address::{self, BareJid, Jid};
use waxwing_core::fault::Fault;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_xml::{Child, Element, Writer};

/// The namespace.
pub const NAMESPACE: &str = "urn:xmpp:blocking";
/// The namespace of its error condition (§3.3).
pub const ERRORS: &str = "urn:xmpp:blocking:errors";

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// To see the list (§3.2).
    Show,
    /// To block these (§3.3); there is at least one, and none twice.
    Block(Vec<Jid>),
    /// To unblock these (§3.4).
    Unblock(Vec<Jid>),
    /// To unblock everyone (§3.5).
    UnblockAll,
}

/// Reads the payload of an IQ. `most`: how many addresses it may name.
///
/// # Errors
/// `bad-request` when nothing like that is known, `jid-malformed`, `not-allowed` for the own account, `policy-violation`
/// for too many addresses.
pub fn read(payload: Child<'_>, is_set: bool, owner: &BareJid, most: usize) -> Result<Command, Refusal> {
    match (payload.name(), is_set) {
        ("blocklist", false) => Ok(Command::Show),
        ("block", true) => {
            let addresses = addresses(payload, most)?;
            if addresses.iter().any(|address| address.to_bare() == *owner) {
                return Err(Refusal::not_allowed().saying("nobody blocks themselves"));
            }
            Ok(Command::Block(addresses))
        }
        ("unblock", true) if payload.children().next().is_none() => Ok(Command::UnblockAll),
        ("unblock", true) => Ok(Command::Unblock(addresses(payload, most)?)),
        (name, _) => {
            Err(Refusal::bad_request().saying(format!("<{name}/> is not known here, or not in this type of iq")))
        }
    }
}

fn addresses(payload: Child<'_>, most: usize) -> Result<Vec<Jid>, Refusal> {
    let mut addresses = Vec::new();
    let items = payload.children().filter(|child| child.name() == "item" && child.namespace() == NAMESPACE);
    for item in items {
        if addresses.len() >= most {
            return Err(too_many(most));
        }
        let address = item.attribute("jid").ok_or_else(|| Refusal::bad_request().saying("an item names no jid"))?;
        let address = address::read(&address)
            .map_err(|error| Refusal::jid_malformed().saying(format!("not an address: {error}")))?;
        addresses.push(address);
    }
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Refusal::bad_request().saying("at least one item is needed"));
    }
    Ok(addresses)
}

/// The refusal of a list that would become too long.
pub fn too_many(most: usize) -> Refusal {
    Refusal::policy_violation().saying(format!("a block list has {most} addresses at most"))
}

/// Writes a list, or a change of one: an element of this name with an item for each address.
///
/// # Errors
/// A fault when it cannot be written.
pub fn write<'a>(name: &str, addresses: impl Iterator<Item = &'a str>) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open(name).attribute("xmlns", NAMESPACE);
    for address in addresses {
        writer.open("item").attribute("jid", address).close();
    }
    element(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(xml: &str, is_set: bool) -> Result<Command, &'static str> {
        let payload =
            element(xml.replace(" x>", " xmlns='urn:xmpp:blocking'>").replace(" x/>", " xmlns='urn:xmpp:blocking'/>"));
        let owner = BareJid::new("juliet@capulet.lit").unwrap();
        read(payload.unwrap().as_child(), is_set, &owner, 3).map_err(|refusal| refusal.condition.name())
    }

    fn jids(jids: &[&str]) -> Vec<Jid> {
        jids.iter().map(|jid| Jid::new(jid).unwrap()).collect()
    }

    #[test]
    fn commands_are_read() {
        assert_eq!(command("<blocklist x/>", false), Ok(Command::Show));
        let two = "<block x><item jid='romeo@montague.net'/><item jid='Iago@shakespeare.lit'><report xmlns='urn:xmpp:reporting:1'/></item></block>";
        assert_eq!(command(two, true), Ok(Command::Block(jids(&["iago@shakespeare.lit", "romeo@montague.net"]))));
        assert_eq!(command("<unblock x><item jid='a@b/c'/></unblock>", true), Ok(Command::Unblock(jids(&["a@b/c"]))));
        assert_eq!(command("<unblock x/>", true), Ok(Command::UnblockAll));
        let twice = "<block x><item jid='a@b'/><item jid='A@b'/></block>";
        assert_eq!(command(twice, true), Ok(Command::Block(jids(&["a@b"]))));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for (xml, is_set, condition) in [
            ("<block x/>", true, "bad-request"),
            ("<block x><item/></block>", true, "bad-request"),
            ("<block x><item jid=''/></block>", true, "jid-malformed"),
            ("<block x><item jid='a@b@c'/></block>", true, "jid-malformed"),
            ("<block x><item xmlns='urn:x' jid='a@b'/></block>", true, "bad-request"),
            ("<unblock x><item xmlns='urn:x' jid='a@b'/></unblock>", true, "bad-request"),
            ("<block x><item jid='a@b'/></block>", false, "bad-request"),
            ("<unblock x/>", false, "bad-request"),
            ("<blocklist x/>", true, "bad-request"),
            ("<list x/>", false, "bad-request"),
            ("<block x><item jid='juliet@capulet.lit/balcony'/></block>", true, "not-allowed"),
            ("<block x><item jid='a'/><item jid='b'/><item jid='c'/><item jid='d'/></block>", true, "policy-violation"),
        ] {
            assert_eq!(command(xml, is_set), Err(condition), "{xml}");
        }
        assert!(command("<unblock x><item jid='juliet@capulet.lit'/></unblock>", true).is_ok());
    }

    #[test]
    fn lists_are_written() {
        let written = write("blocklist", ["a@b", "c'd@e"].into_iter()).unwrap();
        let expected = "<blocklist xmlns='urn:xmpp:blocking'><item jid='a@b'/><item jid='c&apos;d@e'/></blocklist>";
        assert_eq!(written.as_bytes(), expected);
        assert_eq!(write("unblock", std::iter::empty()).unwrap().as_bytes(), "<unblock xmlns='urn:xmpp:blocking'/>");
    }
}
