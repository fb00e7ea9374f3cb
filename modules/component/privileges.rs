//! What a component may do in the name of the host's accounts, and the words for it (XEP-0356).

use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::fault::Fault;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, Kind, Stanza, StanzaType, element};
use waxwing_core::xml::{Child, Element, Writer};

use crate::settings::{Access, ComponentSettings, Messages, Presences};

/// The namespace of privileges.
pub const PRIVILEGE: &str = "urn:xmpp:privilege:2";
/// The namespace of forwarded stanzas (XEP-0297).
pub const FORWARD: &str = "urn:xmpp:forward:0";

/// Finds a grant that contradicts another.
///
/// # Errors
/// What is wrong, in a line for the operator.
pub fn check(settings: &ComponentSettings) -> Result<(), String> {
    if settings.presence == Presences::Roster && !settings.roster.may_get() {
        return Err(format!(
            "the component {} may not have presence = \"roster\" without roster = \"get\" or \"both\" (XEP-0356 §7.4)",
            settings.domain
        ));
    }
    Ok(())
}

/// What the component is told after its handshake; nothing when it has no privilege.
///
/// # Errors
/// A fault when it cannot be written.
pub fn advertised(settings: &ComponentSettings) -> Result<Option<Element>, Fault> {
    let has_any = settings.roster != Access::None
        || settings.message != Messages::None
        || settings.presence != Presences::None
        || !settings.iq.is_empty();
    if !has_any {
        return Ok(None);
    }
    let mut writer = Writer::new();
    writer.open("privilege").attribute("xmlns", PRIVILEGE);
    if settings.roster != Access::None {
        // Whoever wants to know of changes asks again: pushes are not sent.
        writer.open("perm").attribute("access", "roster").attribute("type", settings.roster.name());
        writer.attribute("push", "false").close();
    }
    if settings.message == Messages::Outgoing {
        writer.open("perm").attribute("access", "message").attribute("type", "outgoing").close();
    }
    if !settings.iq.is_empty() {
        writer.open("perm").attribute("access", "iq");
        for (namespace, access) in &settings.iq {
            writer.open("namespace").attribute("ns", namespace).attribute("type", access.name()).close();
        }
        writer.close();
    }
    match settings.presence {
        Presences::None => {}
        Presences::ManagedEntity => {
            writer.open("perm").attribute("access", "presence").attribute("type", "managed_entity").close();
        }
        Presences::Roster => {
            writer.open("perm").attribute("access", "presence").attribute("type", "roster").close();
        }
    }
    element(writer.finish()).map(Some)
}

/// The message that a component sends in somebody's name; `None` when the stanza is nothing of the kind.
///
/// # Errors
/// `forbidden` when it may not (§5.1), `bad-request` when there is no message.
pub fn message(stanza: &Stanza, settings: &ComponentSettings, host: &DomainPart) -> Option<Result<Stanza, Refusal>> {
    let to = stanza.to.as_ref()?;
    if stanza.kind() != Kind::Message || stanza.is_error() || to.node().is_some() || to.domain() != &**host {
        return None;
    }
    let privilege = stanza.payload(PRIVILEGE, "privilege")?;
    Some(read_message(privilege, settings, host))
}

fn read_message(privilege: Child<'_>, settings: &ComponentSettings, host: &DomainPart) -> Result<Stanza, Refusal> {
    if settings.message != Messages::Outgoing {
        return Err(Refusal::forbidden().saying("the component may not send messages in another's name"));
    }
    let forwarded = privilege.child(FORWARD, "forwarded");
    let inner = forwarded.and_then(|forwarded| forwarded.children().next());
    let message = inner.and_then(|inner| Stanza::read(inner.to_element())).and_then(Result::ok);
    let Some(message) = message.filter(|message| message.kind() == Kind::Message) else {
        return Err(Refusal::bad_request().saying("one <message/> is forwarded"));
    };
    // A bare address of this host, or the host itself; no resource.
    let is_ours = message.from.as_ref().is_some_and(|from| from.domain() == &**host && from.resource().is_none());
    if !is_ours {
        return Err(Refusal::forbidden().saying("`from` of the message is no bare address of this host"));
    }
    if message.to.is_none() {
        return Err(Refusal::bad_request().saying("the message has no `to`"));
    }
    Ok(message)
}

/// The IQ that a component sends in an account's name; `None` when the stanza is nothing of the kind.
///
/// # Errors
/// `forbidden` for all that §6.3 lists.
pub fn iq(stanza: &Stanza, settings: &ComponentSettings, host: &DomainPart) -> Option<Result<Stanza, Refusal>> {
    let StanzaType::Iq(of @ (IqType::Get | IqType::Set)) = stanza.what else { return None };
    let privileged = stanza.payload(PRIVILEGE, "privileged_iq")?;
    let managed = stanza.to.as_ref().filter(|to| to.domain() == &**host && to.resource().is_none());
    Some(match managed.filter(|to| to.node().is_some()) {
        Some(account) => read_iq(privileged, of, settings, &account.to_bare()),
        None => Err(Refusal::forbidden().saying("`to` is not the bare address of an account of this host")),
    })
}

fn read_iq(
    privileged: Child<'_>,
    of: IqType,
    settings: &ComponentSettings,
    account: &BareJid,
) -> Result<Stanza, Refusal> {
    let inner = privileged.children().next();
    let inner = inner.filter(|inner| inner.name() == "iq" && inner.namespace() == "jabber:client");
    let read = inner.and_then(|inner| Stanza::read(inner.to_element())).and_then(Result::ok);
    let Some(mut iq) = read else {
        return Err(Refusal::forbidden().saying("one complete <iq/> of jabber:client stands inside"));
    };
    if iq.what != StanzaType::Iq(of) {
        return Err(Refusal::forbidden().saying("both IQs have the same type"));
    }
    if iq.from.as_ref().is_some_and(|from| from.resource().is_some() || from.to_bare() != *account) {
        return Err(Refusal::forbidden().saying("`from` is the account or missing"));
    }
    let namespace = iq.payloads().next().map(|payload| payload.namespace().to_owned()).unwrap_or_default();
    let access = settings.iq.get(&namespace).copied().unwrap_or_default();
    if !(if of == IqType::Get { access.may_get() } else { access.may_set() }) {
        return Err(Refusal::forbidden().saying(format!("the component may not send such an IQ for {namespace:?}")));
    }
    iq.from = Some(account.clone().into());
    if iq.to.is_none() {
        iq.to = Some(account.clone().into());
    }
    Ok(iq)
}

/// What came back to an IQ in somebody's name, wrapped for the component (§6.3).
///
/// # Errors
/// A fault when it cannot be written.
pub fn wrapped(answer: &Stanza) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("privilege").attribute("xmlns", PRIVILEGE);
    writer.open("forwarded").attribute("xmlns", FORWARD);
    writer.raw(&answer.to_bytes());
    writer.close().close();
    element(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(text: &str) -> ComponentSettings {
        let settings: ComponentSettings = toml::from_str(text).unwrap();
        settings
    }

    fn host() -> DomainPart {
        DomainPart::new("capulet.lit").unwrap().into_owned()
    }

    fn stanza(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn forwarded(inner: &str) -> Stanza {
        stanza(&format!(
            "<message xmlns='jabber:client' from='pubsub.capulet.lit' to='capulet.lit' id='n1'><privilege xmlns='{PRIVILEGE}'>\
             <forwarded xmlns='{FORWARD}'>{inner}</forwarded></privilege></message>"
        ))
    }

    fn said(result: Option<Result<Stanza, Refusal>>) -> &'static str {
        match result {
            None => "nothing",
            Some(Ok(_)) => "sent",
            Some(Err(refusal)) => refusal.condition.name(),
        }
    }

    #[test]
    fn messages_go_out_in_the_name_of_accounts_of_this_host_alone() {
        let inner =
            |from: &str| format!("<message xmlns='jabber:client' from='{from}' to='romeo@montague.lit/orchard'/>");
        let may = granted("message = 'outgoing'");
        for (from, expected) in [
            ("juliet@capulet.lit", "sent"),
            ("capulet.lit", "sent"),
            ("juliet@capulet.lit/balcony", "forbidden"),
            ("romeo@montague.lit", "forbidden"),
            ("juliet@pubsub.capulet.lit", "forbidden"),
        ] {
            assert_eq!(said(message(&forwarded(&inner(from)), &may, &host())), expected, "{from}");
        }
        let may_not = granted("roster = 'both'");
        assert_eq!(said(message(&forwarded(&inner("juliet@capulet.lit")), &may_not, &host())), "forbidden");
        assert_eq!(said(message(&forwarded(""), &may, &host())), "bad-request");
        assert_eq!(
            said(message(&stanza("<message xmlns='jabber:client' to='capulet.lit'/>"), &may, &host())),
            "nothing"
        );
    }

    #[test]
    fn iqs_go_out_as_they_were_granted() {
        let may = granted("iq = { 'http://jabber.org/protocol/pubsub' = 'set' }");
        let asked = |to: &str, of: &str, inner: &str| {
            let xml = format!(
                "<iq xmlns='jabber:client' from='pubsub.capulet.lit' to='{to}' type='{of}' id='p1'>\
                 <privileged_iq xmlns='{PRIVILEGE}'>{inner}</privileged_iq></iq>"
            );
            iq(&stanza(&xml), &may, &host())
        };
        let inner = |of: &str, from: &str, namespace: &str| {
            format!(
                "<iq xmlns='jabber:client' type='{of}' {from} to='romeo@montague.lit' id='s1'><pubsub xmlns='{namespace}'/></iq>"
            )
        };
        let pubsub = "http://jabber.org/protocol/pubsub";
        let sent = asked("juliet@capulet.lit", "set", &inner("set", "", pubsub)).unwrap().unwrap();
        assert_eq!(sent.from.unwrap().as_str(), "juliet@capulet.lit");
        for (to, of, inner) in [
            ("juliet@capulet.lit", "get", inner("get", "", pubsub)),
            ("juliet@capulet.lit", "set", inner("get", "", pubsub)),
            ("juliet@capulet.lit", "set", inner("set", "", "jabber:iq:private")),
            ("juliet@capulet.lit", "set", inner("set", "from='nurse@capulet.lit'", pubsub)),
            ("juliet@capulet.lit/balcony", "set", inner("set", "", pubsub)),
            ("capulet.lit", "set", inner("set", "", pubsub)),
            ("romeo@montague.lit", "set", inner("set", "", pubsub)),
            ("juliet@capulet.lit", "set", "<iq xmlns='jabber:server' type='set' id='1'><x xmlns='y'/></iq>".to_owned()),
        ] {
            assert_eq!(said(asked(to, of, &inner)), "forbidden", "{to} {of} {inner}");
        }
    }

    #[test]
    fn what_is_granted_is_advertised() {
        assert!(advertised(&granted("")).unwrap().is_none());
        let all = granted("roster = 'both'\nmessage = 'outgoing'\npresence = 'roster'\niq = { 'urn:x' = 'get' }");
        let told = String::from_utf8(advertised(&all).unwrap().unwrap().as_bytes().to_vec()).unwrap();
        for wanted in [
            "access='roster' type='both' push='false'",
            "access='message' type='outgoing'",
            "<namespace ns='urn:x' type='get'/>",
            "access='presence' type='roster'",
        ] {
            assert!(told.contains(wanted), "{told}");
        }
        assert!(check(&all).is_ok());
        assert!(check(&granted("presence = 'roster'\nroster = 'set'")).is_err());
    }
}
