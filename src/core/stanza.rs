//! Stanzas: a small head that is written anew for each hop, and a content that is shared by everyone (RFC 6120 §8).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use waxwing_xml::{Child, Element, Writer, escape_attribute};

use crate::address::{self, BareJid, Jid};
use crate::fault::Fault;
use crate::namespaces;
use crate::refusal::Refusal;

/// What a stanza is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`: to be kept and delivered.
    Message,
    /// `<presence/>`: who is there.
    Presence,
    /// `<iq/>`: a question and its answer.
    Iq,
}

impl Kind {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        }
    }
}

/// The `type` of a message (RFC 6121 §5.2.2); an unknown one counts as normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum MessageType {
    Normal,
    Chat,
    Groupchat,
    Headline,
    Error,
}

/// The `type` of a presence (RFC 6121 §4.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum PresenceType {
    Available,
    Unavailable,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Probe,
    Error,
}

impl PresenceType {
    /// Whether it is about a subscription: the four that carry a bare `from` (RFC 6121 §3).
    pub fn is_subscription(self) -> bool {
        use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
        matches!(self, Subscribe | Subscribed | Unsubscribe | Unsubscribed)
    }
}

/// The `type` of an IQ (RFC 6120 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum IqType {
    Get,
    Set,
    Result,
    Error,
}

/// Kind and type of a stanza in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the kinds'")]
pub enum StanzaType {
    Message(MessageType),
    Presence(PresenceType),
    Iq(IqType),
}

impl StanzaType {
    /// The kind alone.
    pub fn kind(self) -> Kind {
        match self {
            StanzaType::Message(_) => Kind::Message,
            StanzaType::Presence(_) => Kind::Presence,
            StanzaType::Iq(_) => Kind::Iq,
        }
    }

    /// The value of the `type` attribute; none for the default of the kind.
    pub fn name(self) -> Option<&'static str> {
        match self {
            StanzaType::Message(MessageType::Normal) | StanzaType::Presence(PresenceType::Available) => None,
            StanzaType::Message(MessageType::Chat) => Some("chat"),
            StanzaType::Message(MessageType::Groupchat) => Some("groupchat"),
            StanzaType::Message(MessageType::Headline) => Some("headline"),
            StanzaType::Message(MessageType::Error)
            | StanzaType::Presence(PresenceType::Error)
            | StanzaType::Iq(IqType::Error) => Some("error"),
            StanzaType::Presence(PresenceType::Unavailable) => Some("unavailable"),
            StanzaType::Presence(PresenceType::Subscribe) => Some("subscribe"),
            StanzaType::Presence(PresenceType::Subscribed) => Some("subscribed"),
            StanzaType::Presence(PresenceType::Unsubscribe) => Some("unsubscribe"),
            StanzaType::Presence(PresenceType::Unsubscribed) => Some("unsubscribed"),
            StanzaType::Presence(PresenceType::Probe) => Some("probe"),
            StanzaType::Iq(IqType::Get) => Some("get"),
            StanzaType::Iq(IqType::Set) => Some("set"),
            StanzaType::Iq(IqType::Result) => Some("result"),
        }
    }

    /// Reads the `type` attribute of a kind; `None` when the kind does not know the value.
    fn read(kind: Kind, value: Option<&str>) -> Option<StanzaType> {
        Some(match (kind, value) {
            (Kind::Message, Some("chat")) => StanzaType::Message(MessageType::Chat),
            (Kind::Message, Some("groupchat")) => StanzaType::Message(MessageType::Groupchat),
            (Kind::Message, Some("headline")) => StanzaType::Message(MessageType::Headline),
            (Kind::Message, Some("error")) => StanzaType::Message(MessageType::Error),
            (Kind::Message, _) => StanzaType::Message(MessageType::Normal),
            (Kind::Presence, None) => StanzaType::Presence(PresenceType::Available),
            (Kind::Presence, Some("unavailable")) => StanzaType::Presence(PresenceType::Unavailable),
            (Kind::Presence, Some("subscribe")) => StanzaType::Presence(PresenceType::Subscribe),
            (Kind::Presence, Some("subscribed")) => StanzaType::Presence(PresenceType::Subscribed),
            (Kind::Presence, Some("unsubscribe")) => StanzaType::Presence(PresenceType::Unsubscribe),
            (Kind::Presence, Some("unsubscribed")) => StanzaType::Presence(PresenceType::Unsubscribed),
            (Kind::Presence, Some("probe")) => StanzaType::Presence(PresenceType::Probe),
            (Kind::Presence, Some("error")) => StanzaType::Presence(PresenceType::Error),
            (Kind::Iq, Some("get")) => StanzaType::Iq(IqType::Get),
            (Kind::Iq, Some("set")) => StanzaType::Iq(IqType::Set),
            (Kind::Iq, Some("result")) => StanzaType::Iq(IqType::Result),
            (Kind::Iq, Some("error")) => StanzaType::Iq(IqType::Error),
            _ => return None,
        })
    }
}

/// A stanza on its way. Cloning copies the head and shares the content.
#[derive(Clone, Debug)]
pub struct Stanza {
    /// Kind and type.
    pub what: StanzaType,
    /// Whom it is for.
    pub to: Option<Jid>,
    /// Who says so: written by the server, never by a client.
    pub from: Option<Jid>,
    /// The sender's id for it.
    pub id: Option<Box<str>>,
    /// `xml:lang` of its human-readable parts.
    pub lang: Option<Box<str>>,
    /// Attributes without a namespace that no specification knows, as they will be written again.
    extra: Option<Box<str>>,
    content: Content,
}

/// The payloads: what was received as it stands, and what the server has added after it.
#[derive(Clone, Debug, Default)]
struct Content {
    received: Option<Arc<Element>>,
    added: SmallVec<[Arc<Element>; 1]>,
}

/// A stanza that breaks the rules: what is known of it, and what its sender is told.
#[derive(Debug)]
pub struct Malformed {
    /// Kind, type and id as far as they are known; `to` is missing when it was malformed.
    pub stanza: Stanza,
    /// The answer.
    pub refusal: Refusal,
}

/// Bounds for XML made by the server itself or read back from its database.
const OWN_LIMITS: waxwing_xml::Limits = waxwing_xml::Limits {
    bytes: 16 * 1024 * 1024,
    depth: 256,
    elements: 1_000_000,
    attributes: 1_000,
    name_bytes: 4_096,
    namespaces: 4_096,
};

/// Reads one stand-alone element that the server itself made or stored.
///
/// # Errors
/// A fault when the bytes are not one well-formed element.
pub fn element(bytes: impl Into<Bytes>) -> Result<Element, Fault> {
    Element::parse(bytes.into(), namespaces::CLIENT, &OWN_LIMITS)
        .map_err(|error| Fault::new(format_args!("own or stored XML does not parse: {error}")))
}

/// Encodes one of xmpp-parsers' types as an element.
///
/// # Errors
/// A fault when the type cannot be written.
pub fn encode<T: xso::AsXml>(payload: &T) -> Result<Element, Fault> {
    element(xso::to_vec(payload).map_err(Fault::new)?)
}

/// Reads a payload into one of xmpp-parsers' types.
///
/// # Errors
/// `bad-request` with what the parser said.
pub fn decode<T: xso::FromXml>(payload: Child<'_>) -> Result<T, Refusal> {
    let read = if payload.declares_namespace() {
        xso::from_bytes(payload.bytes())
    } else {
        // The namespace is inherited from the stream: write it where the parser can see it.
        let bytes = payload.bytes();
        let name_end = 1 + bytes[1..].iter().position(|byte| b" \t\r\n/>".contains(byte)).unwrap_or(0);
        let mut complete = Vec::with_capacity(bytes.len() + 32);
        complete.extend_from_slice(&bytes[..name_end]);
        complete.extend_from_slice(b" xmlns='");
        escape_attribute(&mut complete, payload.namespace());
        complete.push(b'\'');
        complete.extend_from_slice(&bytes[name_end..]);
        xso::from_bytes(&complete)
    };
    read.map_err(|error| Refusal::bad_request().saying(format!("<{}/> cannot be read: {error}", payload.name())))
}

impl Stanza {
    /// An empty stanza.
    pub fn new(what: StanzaType) -> Stanza {
        Stanza { what, to: None, from: None, id: None, lang: None, extra: None, content: Content::default() }
    }

    /// An empty message.
    pub fn message(of: MessageType) -> Stanza {
        Stanza::new(StanzaType::Message(of))
    }

    /// An empty presence.
    pub fn presence(of: PresenceType) -> Stanza {
        Stanza::new(StanzaType::Presence(of))
    }

    /// An IQ with a fresh id.
    pub fn iq(of: IqType) -> Stanza {
        Stanza { id: Some(crate::random::token().into()), ..Stanza::new(StanzaType::Iq(of)) }
    }

    /// Its head without its payloads.
    pub fn head(&self) -> Stanza {
        Stanza {
            to: self.to.clone(),
            from: self.from.clone(),
            id: self.id.clone(),
            lang: self.lang.clone(),
            ..Stanza::new(self.what)
        }
    }

    /// Addressed to.
    pub fn to(mut self, to: impl Into<Jid>) -> Stanza {
        self.to = Some(to.into());
        self
    }

    /// Said by.
    pub fn from(mut self, from: impl Into<Jid>) -> Stanza {
        self.from = Some(from.into());
        self
    }

    /// With this id.
    pub fn id(mut self, id: impl Into<Box<str>>) -> Stanza {
        self.id = Some(id.into());
        self
    }

    /// With one more payload at the end.
    pub fn with(mut self, payload: Element) -> Stanza {
        self.add(payload);
        self
    }

    /// Adds a payload at the end; what was received stays shared.
    pub fn add(&mut self, payload: Element) {
        self.content.added.push(Arc::new(payload));
    }

    /// Reads a first-level element of a stream, or a stored stanza.
    ///
    /// # Errors
    /// `None` when its name or namespace is not a stanza's. [`Malformed`] with the refusal for its sender: RFC 6120
    /// §8.2.3 for IQs, §8.3.3.8 for addresses, RFC 6121 §4.7 for presence.
    pub fn read(element: Element) -> Option<Result<Stanza, Box<Malformed>>> {
        let kind = match element.name() {
            "message" => Kind::Message,
            "presence" => Kind::Presence,
            "iq" => Kind::Iq,
            _ => return None,
        };
        if !namespaces::is_of_stanzas(element.namespace()) {
            return None;
        }
        let mut stanza = Stanza::new(match kind {
            Kind::Message => StanzaType::Message(MessageType::Normal),
            Kind::Presence => StanzaType::Presence(PresenceType::Available),
            Kind::Iq => StanzaType::Iq(IqType::Get),
        });
        let (mut to, mut from, mut of_type) = (None, None, None);
        for (name, value) in element.attributes() {
            match name {
                "to" => to = Some(value),
                "from" => from = Some(value),
                "type" => of_type = Some(value),
                "id" => stanza.id = Some(value.into()),
                "xml:lang" => stanza.lang = Some(value.into()),
                name if name.contains(':') => {}
                name => stanza.keep_attribute(name, &value),
            }
        }
        let mut refusal = None;
        match StanzaType::read(kind, of_type.as_deref()) {
            Some(what) => stanza.what = what,
            None => refusal = Some(Refusal::bad_request().saying(format!("no such type of <{}/>", kind.name()))),
        }
        for (address, place) in [(to, &mut stanza.to), (from, &mut stanza.from)] {
            match address.as_deref().map(address::read) {
                None => {}
                Some(Ok(jid)) => *place = Some(jid),
                Some(Err(error)) => {
                    refusal = Some(Refusal::jid_malformed().saying(format!("not an address: {error}")));
                }
            }
        }
        if refusal.is_none() {
            refusal = stanza.breaks_a_rule(&element);
        }
        stanza.content.received = Some(Arc::new(element));
        Some(match refusal {
            None => Ok(stanza),
            Some(refusal) => Err(Box::new(Malformed { stanza, refusal })),
        })
    }

    fn keep_attribute(&mut self, name: &str, value: &str) {
        let mut written = self.extra.take().map(|extra| extra.into_string().into_bytes()).unwrap_or_default();
        written.push(b' ');
        written.extend_from_slice(name.as_bytes());
        written.extend_from_slice(b"='");
        escape_attribute(&mut written, value);
        written.push(b'\'');
        self.extra = String::from_utf8(written).ok().map(Into::into);
    }

    /// The rules of a kind beyond its attributes.
    fn breaks_a_rule(&self, element: &Element) -> Option<Refusal> {
        match self.what {
            StanzaType::Iq(_) if self.id.as_deref().is_none_or(str::is_empty) => {
                Some(Refusal::bad_request().saying("an iq needs an id"))
            }
            StanzaType::Iq(IqType::Get | IqType::Set) if element.children().count() != 1 => {
                Some(Refusal::bad_request().saying("an iq of type get or set has exactly one child element"))
            }
            StanzaType::Presence(PresenceType::Available) if read_priority(element).is_none() => {
                Some(Refusal::bad_request().saying("a priority is a whole number from -128 to 127"))
            }
            _ => None,
        }
    }

    /// The kind alone.
    pub fn kind(&self) -> Kind {
        self.what.kind()
    }

    /// Whether it is an error, which nobody may answer with an error (RFC 6120 §8.3.1).
    pub fn is_error(&self) -> bool {
        matches!(
            self.what,
            StanzaType::Message(MessageType::Error)
                | StanzaType::Presence(PresenceType::Error)
                | StanzaType::Iq(IqType::Error)
        )
    }

    /// Its payloads in order.
    pub fn payloads(&self) -> impl Iterator<Item = Child<'_>> {
        let received = self.content.received.iter().flat_map(|element| element.children());
        received.chain(self.content.added.iter().map(|element| element.as_child()))
    }

    /// The first payload of this namespace and name.
    pub fn payload(&self, namespace: &str, name: &str) -> Option<Child<'_>> {
        self.payloads().find(|payload| payload.name() == name && payload.namespace() == namespace)
    }

    /// The first payload of this name in the stanza's own namespace: `body`, `subject`, `show`, `priority`, `error`.
    pub fn own_payload(&self, name: &str) -> Option<Child<'_>> {
        self.payloads().find(|payload| payload.name() == name && namespaces::is_of_stanzas(payload.namespace()))
    }

    /// The text of the first payload of this name in the stanza's own namespace.
    pub fn text_of(&self, name: &str) -> Option<Cow<'_, str>> {
        self.own_payload(name).map(|payload| payload.text())
    }

    /// The priority of an available presence; 0 when none is given (RFC 6121 §4.7.2.3).
    pub fn priority(&self) -> i8 {
        self.text_of("priority").and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes every payload for which `unwanted` says yes. Costs nothing when there is none.
    ///
    /// # Errors
    /// A fault when what is left cannot be read again.
    pub fn remove_payloads(&mut self, unwanted: impl Fn(Child<'_>) -> bool) -> Result<(), Fault> {
        self.content.added.retain(|element| !unwanted(element.as_child()));
        let Some(received) = &self.content.received else { return Ok(()) };
        if !received.children().any(&unwanted) {
            return Ok(());
        }
        let content = received.content();
        let mut kept = Vec::with_capacity(content.len() + 64);
        let name = self.kind().name();
        kept.push(b'<');
        kept.extend_from_slice(name.as_bytes());
        kept.extend_from_slice(b" xmlns='");
        kept.extend_from_slice(received.namespace().as_bytes());
        kept.extend_from_slice(b"'>");
        let mut position = 0;
        for child in received.children().filter(|child| unwanted(*child)) {
            let range = child.range();
            kept.extend_from_slice(&content[position..range.start]);
            position = range.end;
        }
        kept.extend_from_slice(&content[position..]);
        kept.extend_from_slice(b"</");
        kept.extend_from_slice(name.as_bytes());
        kept.push(b'>');
        self.content.received = Some(Arc::new(element(kept)?));
        Ok(())
    }

    /// The result of an IQ, addressed back to who asked.
    pub fn result_of(request: &Stanza) -> Stanza {
        Stanza {
            to: request.from.clone(),
            from: request.to.clone(),
            id: request.id.clone(),
            ..Stanza::new(StanzaType::Iq(IqType::Result))
        }
    }

    /// The error reply to a stanza; `None` where none may be sent (RFC 6120 §8.3.1, §8.2.3).
    ///
    /// # Errors
    /// A fault when the error cannot be written.
    pub fn error_for(refused: &Stanza, refusal: &Refusal) -> Result<Option<Stanza>, Fault> {
        let what = match refused.what {
            StanzaType::Message(MessageType::Error)
            | StanzaType::Presence(PresenceType::Error)
            | StanzaType::Iq(IqType::Error | IqType::Result) => return Ok(None),
            StanzaType::Message(_) => StanzaType::Message(MessageType::Error),
            StanzaType::Presence(_) => StanzaType::Presence(PresenceType::Error),
            StanzaType::Iq(_) => StanzaType::Iq(IqType::Error),
        };
        let mut writer = Writer::new();
        refusal.write(&mut writer);
        let mut reply = Stanza { from: refused.to.clone(), to: refused.from.clone(), ..Stanza::new(what) };
        reply.id = refused.id.clone();
        reply.add(element(writer.finish())?);
        Ok(Some(reply))
    }

    /// Writes the stanza. `namespace` is written as its `xmlns` where the transport needs each element complete
    /// (WebSocket, BOSH, the archive); on a TCP stream the stream's header has declared it.
    pub fn write(&self, out: &mut Vec<u8>, namespace: Option<&str>) {
        let name = self.kind().name();
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        for (attribute, value) in [
            ("xmlns", namespace),
            ("from", self.from.as_ref().map(Jid::as_str)),
            ("to", self.to.as_ref().map(Jid::as_str)),
            ("id", self.id.as_deref()),
            ("type", self.what.name()),
            ("xml:lang", self.lang.as_deref()),
        ] {
            if let Some(value) = value {
                out.push(b' ');
                out.extend_from_slice(attribute.as_bytes());
                out.extend_from_slice(b"='");
                escape_attribute(out, value);
                out.push(b'\'');
            }
        }
        if let Some(extra) = &self.extra {
            out.extend_from_slice(extra.as_bytes());
        }
        let content = self.content.received.as_ref().map(|element| element.content()).unwrap_or_default();
        if content.is_empty() && self.content.added.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        out.extend_from_slice(&content);
        for element in &self.content.added {
            out.extend_from_slice(element.as_bytes());
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
    }

    /// The stanza on its own, complete with its namespace: what a database keeps.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        self.write(&mut out, Some(namespaces::CLIENT));
        out
    }

    /// About how many bytes it takes on the wire and in a queue.
    pub fn size(&self) -> usize {
        let received = self.content.received.as_ref().map_or(0, |element| element.as_bytes().len());
        let added: usize = self.content.added.iter().map(|element| element.as_bytes().len()).sum();
        200 + received + added
    }

    /// The bare address of the sender.
    pub fn from_bare(&self) -> Option<BareJid> {
        self.from.as_ref().map(Jid::to_bare)
    }
}

/// The priority in a presence element: `Some(0)` when there is none, `None` when it is not a priority.
fn read_priority(element: &Element) -> Option<i8> {
    match element.child(element.namespace(), "priority") {
        None => Some(0),
        Some(priority) => priority.text().trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Stanza, Box<Malformed>> {
        Stanza::read(element(xml.to_owned()).unwrap()).expect("a stanza")
    }

    fn written(stanza: &Stanza) -> String {
        let mut out = Vec::new();
        stanza.write(&mut out, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_stanza_is_written_as_it_was_read() {
        let xml = "<message from='a@b/c' to='d@e' id='1' type='chat' xml:lang='de' odd='&lt;'><body>hi &amp; ho</body></message>";
        let stanza = read(xml).unwrap();
        assert_eq!(written(&stanza), xml);
        assert_eq!(stanza.text_of("body").as_deref(), Some("hi & ho"));
    }

    #[test]
    fn payloads_are_added_and_removed() {
        let mut stanza =
            read("<message><body>x</body><a xmlns='urn:a'/><b xmlns='urn:b'/><a xmlns='urn:a'/></message>").unwrap();
        stanza.add(element("<a xmlns='urn:a' n='2'/>").unwrap());
        stanza.remove_payloads(|child| child.namespace() == "urn:a").unwrap();
        assert_eq!(written(&stanza), "<message><body>x</body><b xmlns='urn:b'/></message>");
    }

    #[test]
    fn c54_iqs_follow_their_rules() {
        for xml in [
            "<iq type='get'><q xmlns='urn:q'/></iq>",
            "<iq id='1'><q xmlns='urn:q'/></iq>",
            "<iq id='1' type='foo'><q xmlns='urn:q'/></iq>",
            "<iq id='1' type='get'/>",
            "<iq id='1' type='set'><q xmlns='urn:q'/><r xmlns='urn:q'/></iq>",
        ] {
            assert_eq!(read(xml).unwrap_err().refusal.condition.name(), "bad-request", "{xml}");
        }
        assert!(read("<iq id='1' type='result'/>").is_ok());
    }

    #[test]
    fn c66_an_unknown_message_type_is_normal() {
        assert_eq!(read("<message type='foo'/>").unwrap().what, StanzaType::Message(MessageType::Normal));
    }

    #[test]
    fn c56_errors_are_not_answered_with_errors() {
        for xml in [
            "<message type='error'/>",
            "<presence type='error'/>",
            "<iq id='1' type='error'/>",
            "<iq id='1' type='result'/>",
        ] {
            assert!(Stanza::error_for(&read(xml).unwrap(), &Refusal::bad_request()).unwrap().is_none());
        }
    }
}
