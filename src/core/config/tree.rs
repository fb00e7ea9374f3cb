//! A configuration as it was written, before it has types: every key and value knows its place, so that an error found
//! much later, after per-host tables were laid over common ones, still names the right line.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};

/// More errors than this in the syntax of one file help nobody: the later ones follow from the first.
const MOST_SYNTAX_ERRORS: usize = 10;

/// A value and its place.
#[derive(Clone, PartialEq)]
pub(crate) struct Node {
    pub origin: Origin,
    pub value: Value,
}

/// A value of TOML, or one of the environment, whose type is not known before somebody reads it.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    /// From the environment: a number, a list or a text, as the reader expects.
    Untyped(String),
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys and values in the order of the file.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Table {
    pub entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Clone, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    /// Where the key stands (the place of its value is in the node).
    pub origin: Origin,
    pub node: Node,
}

/// One step from a table or list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Values are left out: any of them may be a secret.
impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.entries.iter().map(|entry| &entry.key)).finish()
    }
}

/// As above: only the place shows.
impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Table(table) => table.fmt(formatter),
            _ => write!(formatter, "(from {})", self.origin),
        }
    }
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let position = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(position))
    }

    /// Sets a key. A secret given directly replaces the same secret given by file, and the other way round.
    pub fn set(&mut self, entry: Entry) {
        let other = match entry.key.strip_suffix("_file") {
            Some(stem) => stem.to_owned(),
            None => format!("{}_file", entry.key),
        };
        self.entries.retain(|present| present.key != other);
        match self.entries.iter_mut().find(|present| present.key == entry.key) {
            Some(present) => *present = entry,
            None => self.entries.push(entry),
        }
    }

    /// Lays another table over this one, key by key; tables inside tables likewise, lists are replaced whole.
    pub fn overlay(&mut self, over: &Table) {
        for entry in &over.entries {
            let present = self.entries.iter_mut().find(|present| present.key == entry.key);
            match (present.map(|present| &mut present.node.value), &entry.node.value) {
                (Some(Value::Table(below)), Value::Table(above)) => below.overlay(above),
                _ => self.set(entry.clone()),
            }
        }
    }

    /// The place of what stands at a path, if anything does.
    pub fn find(&self, path: &[Step]) -> Option<&Node> {
        let (first, rest) = path.split_first()?;
        let Step::Key(key) = first else { return None };
        rest.iter().try_fold(self.get(key)?, |node, step| match (&node.value, step) {
            (Value::Table(table), Step::Key(key)) => table.get(key),
            (Value::Array(items), Step::Index(index)) => items.get(*index),
            _ => None,
        })
    }

    /// Takes out what stands at a path; an unset path stays unset.
    pub fn take(&mut self, path: &[Step]) -> Option<Node> {
        let (Step::Key(key), rest) = path.split_first()? else {
            return None;
        };
        if rest.is_empty() {
            return self.remove(key).map(|entry| entry.node);
        }
        self.entries.iter_mut().find(|entry| entry.key == *key)?.node.take(rest)
    }

    /// The table that holds the last step of a path.
    pub fn parent_of(&mut self, path: &[Step]) -> Option<&mut Table> {
        let (_, above) = path.split_last()?;
        above.iter().try_fold(self, |table, step| match step {
            Step::Key(key) => match &mut table.entries.iter_mut().find(|entry| entry.key == *key)?.node.value {
                Value::Table(inner) => Some(inner),
                _ => None,
            },
            Step::Index(_) => None,
        })
    }
}

impl Node {
    pub fn take(&mut self, path: &[Step]) -> Option<Node> {
        let (first, rest) = path.split_first()?;
        match (&mut self.value, first) {
            (Value::Table(table), _) => table.take(path),
            (Value::Array(items), Step::Index(index)) if *index < items.len() => match rest {
                [] => Some(items.remove(*index)),
                rest => items[*index].take(rest),
            },
            _ => None,
        }
    }
}

/// Writes a path as an operator would: `hosts[1].modules.roster.items`.
pub(crate) fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key.as_str()]),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Path of plain keys.
pub(crate) fn keys<const N: usize>(keys: [&str; N]) -> Vec<Step> {
    keys.map(|key| Step::Key(key.to_owned())).to_vec()
}

/// A TOML document; all errors of its syntax at once.
pub(crate) fn parse_document(text: &str, path: Option<&Path>) -> Result<Table, Vec<ConfigError>> {
    let places = Places::new(text, path);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return convert_table(document.get_ref(), &places).map_err(|error| vec![error]);
    }
    let errors = errors.iter().take(MOST_SYNTAX_ERRORS).map(|error| ConfigError {
        origin: places.at(&error.span().unwrap_or(0..0)),
        key: String::new(),
        problem: format!("this is not valid TOML: {}", error.message()),
    });
    Err(errors.collect())
}

/// A single TOML value from the environment, such as `["a", "b"]` or `{ key = 1 }`.
pub(crate) fn parse_value(text: &str, origin: &Origin) -> Option<Node> {
    let places = Places { origin: Some(origin), lines: Vec::new(), path: None, text };
    let value = DeValue::parse(text).ok()?;
    convert(value.get_ref(), &value.span(), &places).ok()
}

/// Turns byte offsets into places.
struct Places<'a> {
    origin: Option<&'a Origin>,
    path: Option<Arc<Path>>,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, path: Option<&Path>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(position, _)| position + 1)).collect();
        Self { origin: None, path: path.map(Arc::from), text, lines }
    }

    fn at(&self, span: &Range<usize>) -> Origin {
        if let Some(origin) = self.origin {
            return origin.clone();
        }
        let path = self.path.clone().unwrap_or_else(|| Arc::from(Path::new("configuration")));
        let line = self.lines.partition_point(|begin| *begin <= span.start).max(1);
        let before = self.text.get(self.lines[line - 1]..span.start).unwrap_or("");
        Origin::File { path, line, column: before.chars().count() + 1 }
    }
}

fn convert_table(table: &DeTable<'_>, places: &Places<'_>) -> Result<Table, ConfigError> {
    let mut rows: Vec<_> = table.iter().collect();
    // toml hands the keys in the order of the alphabet; errors are read in the order of the file.
    rows.sort_by_key(|(key, _)| key.span().start);
    let mut entries = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let node = convert(value.get_ref(), &value.span(), places)?;
        entries.push(Entry { key: key.get_ref().to_string(), origin: places.at(&key.span()), node });
    }
    Ok(Table { entries })
}

fn convert(value: &DeValue<'_>, span: &Range<usize>, places: &Places<'_>) -> Result<Node, ConfigError> {
    let origin = places.at(span);
    let too_large = |written: &str| ConfigError {
        origin: origin.clone(),
        key: String::new(),
        problem: format!("the number {written} is too large"),
    };
    let value = match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| too_large(number.as_str()))?,
        ),
        DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| too_large(number.as_str()))?),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => Value::Array(
            items.iter().map(|item| convert(item.get_ref(), &item.span(), places)).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, places)?),
    };
    Ok(Node { origin, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_their_lines() {
        let table = parse_document("b = 1\n\n[z]\n'ä' = 2\na.c = 'x'\n", Some(Path::new("x.toml"))).unwrap();
        let names: Vec<_> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(names, ["b", "z"]);
        let node = table.find(&keys(["z", "a", "c"])).unwrap();
        assert_eq!(node.origin.to_string(), "x.toml:5:7");
    }

    #[test]
    fn every_error_of_the_syntax_is_reported() {
        let errors = parse_document("a = \nb = 1\nb = 2\n", Some(Path::new("x.toml"))).unwrap_err();
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with("x.toml:1:")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("x.toml:3:") && line.contains("duplicate")), "{lines:?}");
    }

    #[test]
    fn an_overlay_replaces_key_by_key() {
        let mut below = parse_document("a = 1\nlist = [1, 2]\nt.x = 1\nt.y = 2\nkey_file = 'k'", None).unwrap();
        let above = parse_document("list = [3]\nt.y = 3\nkey = 'direct'", None).unwrap();
        below.overlay(&above);
        let expected = "a = 1\nt.x = 1\nt.y = 3\nlist = [3]\nkey = 'direct'";
        let plain = |table: &Table, key| matches!(table.get(key).map(|node| &node.value), Some(Value::Integer(1)));
        assert!(plain(&below, "a"));
        assert_eq!(below.entries.len(), parse_document(expected, None).unwrap().entries.len());
        assert!(below.get("key_file").is_none(), "the direct secret replaces the one in a file");
        assert!(matches!(&below.find(&keys(["t", "y"])).unwrap().value, Value::Integer(3)));
        assert!(matches!(&below.get("list").unwrap().value, Value::Array(items) if items.len() == 1));
    }

    #[test]
    fn s38_debug_shows_no_value() {
        let table = parse_document("password = 'hunter2'", None).unwrap();
        assert!(!format!("{table:?}").contains("hunter2"));
    }
}
