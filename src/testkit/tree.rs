//! XML as tests see it: a plain tree, read by rxml, a parser that shares nothing with the server's own.

use std::collections::BTreeMap;
use std::fmt;

use crate::reader::{Item, StreamReader};

/// The namespace of the prefix `xml`.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// An element without its prefixes: names are compared by namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its namespace; empty when it has none.
    pub namespace: String,
    /// Its local name.
    pub name: String,
    /// Attributes by namespace (nearly always empty) and local name. Namespace declarations are not among them.
    pub attributes: BTreeMap<(String, String), String>,
    /// What it contains, in order.
    pub children: Vec<Node>,
}

/// A part of an element's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text; never empty, never two in a row.
    Text(String),
}

impl Element {
    /// Reads one element whose default namespace is `jabber:client`; the prefix `stream` is bound.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Element, String> {
        let mut reader = StreamReader::new();
        let whole = format!(
            "<kit xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback'>{text}</kit>"
        );
        let mut items = reader.feed(whole.as_bytes())?.into_iter();
        match (items.next(), items.next(), items.next(), items.next()) {
            (Some(Item::Header(_)), Some(Item::Element(element)), Some(Item::Close), None) => Ok(element),
            _ => Err("it is not exactly one element".to_owned()),
        }
    }

    /// The value of an attribute without a namespace, or of `xml:lang`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let key = match name.strip_prefix("xml:") {
            Some(name) => (XML.to_owned(), name.to_owned()),
            None => (String::new(), name.to_owned()),
        };
        self.attributes.get(&key).map(String::as_str)
    }

    /// Its child elements in order.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child of this local name, whatever its namespace.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// The first child of this namespace and local name.
    pub fn child_in(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.namespace == namespace && element.name == name)
    }

    /// Its own text, without that of its children.
    pub fn text(&self) -> String {
        let texts = self.children.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        texts.collect()
    }

    /// The text of the first child of this local name: `message.text_of("body")`.
    pub fn text_of(&self, name: &str) -> Option<String> {
        self.child(name).map(Element::text)
    }

    /// Adds text at the end.
    pub(crate) fn push_text(&mut self, more: &str) {
        match self.children.last_mut() {
            Some(Node::Text(text)) => text.push_str(more),
            _ => self.children.push(Node::Text(more.to_owned())),
        }
    }

    fn write(&self, outer: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{}", self.name)?;
        if self.namespace != outer {
            write!(formatter, " xmlns='{}'", escape(&self.namespace))?;
        }
        for ((namespace, name), value) in &self.attributes {
            match namespace.as_str() {
                "" => write!(formatter, " {name}='{}'", escape(value))?,
                XML => write!(formatter, " xml:{name}='{}'", escape(value))?,
                other => write!(formatter, " {{{other}}}{name}='{}'", escape(value))?,
            }
        }
        if self.children.is_empty() {
            return formatter.write_str("/>");
        }
        formatter.write_str(">")?;
        for child in &self.children {
            match child {
                Node::Element(element) => element.write(&self.namespace, formatter)?,
                Node::Text(text) => formatter.write_str(&escape(text))?,
            }
        }
        write!(formatter, "</{}>", self.name)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write("jabber:client", formatter)
    }
}

/// The text as it stands in XML, between tags or in an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            sign => escaped.push(sign),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_forgets_how_it_was_written() {
        let one = Element::parse("<message to='a@b' id=\"1\"><body>x &amp; y</body><x:y xmlns:x='urn:z'/></message>");
        let other =
            Element::parse("<message id='1' to='a@b'><body><![CDATA[x & y]]></body><y xmlns='urn:z'></y></message>");
        assert_eq!(one, other);
        let one = one.unwrap();
        assert_eq!(one.text_of("body").as_deref(), Some("x & y"));
        assert_eq!(one.to_string(), "<message id='1' to='a@b'><body>x &amp; y</body><y xmlns='urn:z'/></message>");
    }

    #[test]
    fn only_one_element_is_one() {
        for text in ["", "text", "<a/><b/>", "<a>", "<a></b>", "<a/>tail", "</kit><kit>"] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
    }
}
