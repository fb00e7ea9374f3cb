//! What a client says that it can do (XEP-0115), checked against its hash, and which nodes it wants to hear of (`+notify`,
//! XEP-0060 §9.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::Child;
use xmpp_parsers::caps::hash_caps;
use xmpp_parsers::hashes::Algo;

use crate::protocol::{DISCO_INFO, FORM};

const CAPABILITIES: &str = "http://jabber.org/protocol/caps";
const NOTIFY: &str = "+notify";

/// How many nodes a client may want to hear of, and how long their names may be, in bytes.
const MOST_NODES: usize = 300;
const MOST_NAME: usize = 600;

/// The names of the nodes that a client wants to hear of, in order. Clients of one kind share them.
pub type Interests = Arc<[Box<str>]>;

/// Whether these are interested in a node.
pub fn is_interested(interests: &Interests, node: &str) -> bool {
    interests.binary_search_by(|known| (**known).cmp(node)).is_ok()
}

/// The nodes of the second that are not among the first.
pub fn gained(before: &Interests, after: &Interests) -> Vec<Box<str>> {
    after.iter().filter(|node| !is_interested(before, node)).cloned().collect()
}

/// What a presence says about its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advertised {
    /// Names the program.
    pub node: Box<str>,
    /// The hash function; empty when none is named.
    pub hash: Box<str>,
    /// The hash, as it is written.
    pub version: Box<str>,
}

impl Advertised {
    /// Reads it from a presence.
    pub fn by(presence: &Stanza) -> Option<Advertised> {
        let stated = presence.payload(CAPABILITIES, "c")?;
        let of = |name| stated.attribute(name).map(|value| value.into_owned().into_boxed_str());
        let advertised = Advertised { node: of("node")?, hash: of("hash").unwrap_or_default(), version: of("ver")? };
        let fits = [&advertised.node, &advertised.hash, &advertised.version].iter().all(|part| part.len() <= MOST_NAME);
        fits.then_some(advertised)
    }

    /// What its client is asked for.
    pub fn question(&self) -> String {
        format!("{}#{}", self.node, self.version)
    }

    /// What the same hash means from whomever it comes; none where no hash that we know is named, so that nobody can
    /// say anything about others (security row S22).
    pub fn shared(&self) -> Option<Version> {
        let function = match &*self.hash {
            "sha-1" => Function::Sha1,
            "sha-256" => Function::Sha256,
            _ => return None,
        };
        let hash = STANDARD.decode(self.version.as_bytes()).ok()?;
        Some(Version { function, hash: hash.into() })
    }
}

/// A hash function that stands for what it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// SHA-1: what all clients use.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// The hash over what a kind of client can do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    function: Function,
    hash: Box<[u8]>,
}

impl Version {
    /// Whether it is the hash over this (§5.4). What two readings would have the same hash is not believed.
    pub fn is_of(&self, information: Child<'_>) -> bool {
        let Some(text) = hashed_text(information) else { return false };
        let algorithm = match self.function {
            Function::Sha1 => Algo::Sha_1,
            Function::Sha256 => Algo::Sha_256,
        };
        hash_caps(text.as_bytes(), algorithm).is_ok_and(|made| *made.hash == *self.hash)
    }
}

/// The nodes that a client wants to hear of, from what it tells about itself.
pub fn interests(information: Child<'_>) -> Interests {
    let features = information.children().filter(|child| child.namespace() == DISCO_INFO && child.name() == "feature");
    let nodes: BTreeSet<Box<str>> = features
        .filter_map(|feature| {
            let name = feature.attribute("var")?;
            let node = name.strip_suffix(NOTIFY)?;
            (!node.is_empty() && node.len() <= MOST_NAME).then(|| node.into())
        })
        .take(MOST_NODES)
        .collect();
    nodes.into_iter().collect()
}

/// The text that is hashed (§5.1); none when it is ill-formed, or could be read in more than one way.
fn hashed_text(information: Child<'_>) -> Option<String> {
    let mut identities = BTreeSet::new();
    let mut features = BTreeSet::new();
    let mut forms = BTreeSet::new();
    for child in information.children() {
        match (child.namespace(), child.name()) {
            (DISCO_INFO, "identity") => {
                let lang = child.lang().unwrap_or_default();
                let part = |name| child.attribute(name).unwrap_or_default();
                let parts = [part("category"), part("type"), lang, part("name")];
                if !identities.insert(unambiguous(&parts[..3], '/')? + "/" + &unambiguous(&parts[3..], '<')?) {
                    return None;
                }
            }
            (DISCO_INFO, "feature") if !features.insert(unambiguous(&[child.attribute("var")?], '<')?) => return None,
            (FORM, "x") => {
                if let Some((form_type, text)) = form(child)?
                    && !forms.insert((form_type, text))
                {
                    return None;
                }
            }
            _ => {}
        }
    }
    // Two forms of one type (§5.4, 3.5).
    let types: BTreeSet<&String> = forms.iter().map(|(form_type, _)| form_type).collect();
    if types.len() != forms.len() {
        return None;
    }
    let mut text = String::new();
    for part in identities.iter().chain(&features) {
        text.push_str(part);
        text.push('<');
    }
    for (_, form) in &forms {
        text.push_str(form);
    }
    Some(text)
}

/// A form by its type; `Some(None)` for one that is not hashed, `None` for one that spoils everything.
#[allow(clippy::option_option, reason = "a form can be passed over, or spoil the whole")]
fn form(form: Child<'_>) -> Option<Option<(String, String)>> {
    let values = |field: Child<'_>| -> Option<BTreeSet<String>> {
        let values = field.children().filter(|child| child.namespace() == FORM && child.name() == "value");
        values.map(|value| unambiguous(&[value.text()], '<')).collect()
    };
    let (mut form_type, mut fields) = (None, BTreeSet::new());
    for field in form.children().filter(|child| child.namespace() == FORM && child.name() == "field") {
        let name = unambiguous(&[field.attribute("var").unwrap_or_default()], '<')?;
        let values = values(field)?;
        if name == "FORM_TYPE" {
            if values.len() > 1 {
                return None;
            }
            if field.attribute("type").as_deref() == Some("hidden") {
                form_type = values.into_iter().next();
            }
        } else {
            let mut text = name + "<";
            for value in values {
                text.push_str(&value);
                text.push('<');
            }
            fields.insert(text);
        }
    }
    let Some(form_type) = form_type else { return Some(None) };
    let text = fields.into_iter().fold(format!("{form_type}<"), |text, field| text + &field);
    Some(Some((form_type, text)))
}

/// Parts joined by a slash, unless one holds what divides parts from each other: then another answer could have the same
/// hash.
fn unambiguous(parts: &[std::borrow::Cow<'_, str>], divider: char) -> Option<String> {
    let is_clear =
        |part: &std::borrow::Cow<'_, str>| !part.contains('<') && (divider == '<' || !part.contains(divider));
    parts.iter().all(is_clear).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;
    use waxwing_core::xml::Element;

    fn query(content: &str) -> Element {
        element(format!("<query xmlns='{DISCO_INFO}'>{content}</query>")).unwrap()
    }

    fn advertised(hash: &str, version: &str) -> Advertised {
        let presence = element(format!(
            "<presence><c xmlns='{CAPABILITIES}' hash='{hash}' node='urn:test' ver='{version}'/></presence>"
        ));
        Advertised::by(&Stanza::read(presence.unwrap()).unwrap().unwrap()).unwrap()
    }

    const SIMPLE: &str = "<identity category='client' name='Exodus 0.9.1' type='pc'/>\
        <feature var='http://jabber.org/protocol/muc'/><feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/disco#info'/>";
    const COMPLEX: &str = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
        <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
        <feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>\
        <x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>\
        <value>urn:xmpp:dataforms:softwareinfo</value></field><field var='ip_version' type='text-multi'>\
        <value>ipv6</value><value>ipv4</value></field><field var='software'><value>Psi</value></field>\
        <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>\
        <field var='software_version'><value>0.11</value></field></x>";

    #[test]
    fn the_examples_of_the_specification() {
        let simple = advertised("sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=").shared().unwrap();
        assert!(simple.is_of(query(SIMPLE).as_child()));
        let complex = advertised("sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=").shared().unwrap();
        assert!(complex.is_of(query(COMPLEX).as_child()));
        assert!(!complex.is_of(query(SIMPLE).as_child()) && !simple.is_of(query(COMPLEX).as_child()));
    }

    #[test]
    fn s22_a_hash_we_do_not_know_is_nobody_elses() {
        for hash in ["", "md5", "sha-512", "SHA-1"] {
            assert_eq!(advertised(hash, "QgayPKawpkPSDYmwT/WM94uAlu0=").shared(), None, "{hash}");
        }
        assert_eq!(advertised("sha-1", "not base64!").shared(), None);
    }

    /// XEP-0115 §8.2: other contents with the same hashed text.
    #[test]
    fn s22_what_could_be_read_in_two_ways_is_not_believed() {
        let text = |content: &str| hashed_text(query(content).as_child());
        assert_eq!(text("<identity category='client' type='pc'/><feature var='a'/>").unwrap(), "client/pc//<a<");
        for forged in [
            "<identity category='client' type='pc' name='&lt;a'/>",
            "<identity category='client/pc//&lt;a' type=''/>",
            "<identity category='client/pc' type='' />",
            "<identity category='client' type='pc'/><feature var='a&lt;b'/>",
            "<identity category='client' type='pc'/><feature var='a'/><feature var='a'/>",
            "<identity category='client' type='pc'/><identity category='client' type='pc'/>",
            "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field></x>",
            "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a&lt;b</value></field></x>",
        ] {
            assert_eq!(text(forged), None, "{forged}");
        }
        // A form without a type that is hidden is passed over.
        let passed = "<feature var='a'/><x xmlns='jabber:x:data'><field var='FORM_TYPE'><value>t</value></field></x>";
        assert_eq!(text(passed).unwrap(), "a<");
    }

    #[test]
    fn the_nodes_a_client_wants_to_hear_of() {
        let wanted = interests(
            query("<feature var='urn:b+notify'/><feature var='urn:a+notify'/><feature var='urn:c'/><feature var='+notify'/>")
                .as_child(),
        );
        assert_eq!(wanted.iter().map(|node| &**node).collect::<Vec<_>>(), ["urn:a", "urn:b"]);
        assert!(is_interested(&wanted, "urn:b") && !is_interested(&wanted, "urn:c"));
        let before: Interests = Arc::from(["urn:b".into()]);
        assert_eq!(gained(&before, &wanted), ["urn:a".into()]);
    }
}
