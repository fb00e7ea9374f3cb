//! Gives types to a configuration: a serde deserializer over the tree, whose errors know the path of keys they happened
//! at and speak the operator's language, and the loop that goes on after an error to find the next.

use std::cell::Cell;
use std::fmt;
use std::io::Read as _;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};

use super::error::{ConfigError, Origin, unknown};
use super::tree::{self, Entry, Node, Step, Table, Value};

/// When one table has more errors than this, the rest waits for the next attempt.
const MOST_ERRORS: usize = 100;

/// A file that holds a secret is never larger than this, in bytes.
const LARGEST_SECRET_FILE: u64 = 64 * 1024;

/// Why a value could not be read, and where below the node the reading began at.
#[derive(Debug)]
pub(crate) struct ReadError {
    place: Option<(Vec<Step>, Origin)>,
    problem: String,
    /// The key stands for the content of a file (`url_file`); nothing is wrong yet.
    is_file: bool,
}

/// Reads a value of the configuration.
pub(crate) fn read<T: DeserializeOwned>(node: &Node) -> Result<T, ReadError> {
    T::deserialize(Reader { node, trail: &Trail { parent: None, step: TrailStep::Root } })
}

/// Reads a value and finds every error in it: what is wrong is reported under the name `name_of` gives its path, taken
/// out of the tree, and the rest is read again. Keys that name a file are replaced by its content.
pub(crate) fn settle<T: DeserializeOwned>(
    node: &mut Node,
    name_of: &dyn Fn(&[Step]) -> String,
    errors: &mut Vec<ConfigError>,
) -> Option<T> {
    for _ in 0..MOST_ERRORS {
        let error = match read(node) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let (path, origin) = error.place.unwrap_or_else(|| (Vec::new(), node.origin.clone()));
        let problem = match error.is_file {
            true => match read_file_into(node, &path) {
                Ok(()) => continue,
                Err(problem) => problem,
            },
            false => error.problem,
        };
        errors.push(ConfigError { origin, key: name_of(&path), problem });
        // What cannot be taken out is the whole: there is nothing left to read.
        node.take(&path)?;
    }
    None
}

/// Reads a setting that was already settled; the first error ends it.
pub(crate) fn read_settled<T: DeserializeOwned>(
    node: &Node,
    name_of: &dyn Fn(&[Step]) -> String,
) -> Result<T, ConfigError> {
    read(node).map_err(|error| {
        let (path, origin) = error.place.unwrap_or_else(|| (Vec::new(), node.origin.clone()));
        ConfigError { origin, key: name_of(&path), problem: error.problem }
    })
}

/// Replaces `url_file = "path"` by `url = "<content>"`.
fn read_file_into(node: &mut Node, path: &[Step]) -> Result<(), String> {
    let Value::Table(table) = &mut node.value else {
        return Err("not a table".to_owned());
    };
    let parent = table.parent_of(path).ok_or("a file cannot be named inside a list")?;
    let Some(Step::Key(key)) = path.last() else {
        return Err("not a key".to_owned());
    };
    let stem = key.strip_suffix("_file").unwrap_or(key).to_owned();
    if parent.get(&stem).is_some() {
        return Err(format!("`{stem}` and `{key}` are both set, keep one of them"));
    }
    let name = match parent.get(key).map(|node| &node.value) {
        Some(Value::String(name) | Value::Untyped(name)) => name.clone(),
        _ => return Err(format!("expected the path of a file that holds `{stem}`, in quotes")),
    };
    let mut content = String::new();
    std::fs::File::open(&name)
        .and_then(|file| file.take(LARGEST_SECRET_FILE + 1).read_to_string(&mut content))
        .map_err(|error| format!("cannot read the file {name:?}: {error}"))?;
    if content.len() as u64 > LARGEST_SECRET_FILE {
        return Err(format!("the file {name:?} is larger than {LARGEST_SECRET_FILE} bytes"));
    }
    // Editors end the last line; the secret does not.
    let secret = content.strip_suffix('\n').map_or(content.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if let Some(entry) = parent.remove(key) {
        let node = Node { origin: entry.node.origin, value: Value::String(secret.to_owned()) };
        parent.set(Entry { key: stem, origin: entry.origin, node });
    }
    Ok(())
}

impl ReadError {
    fn at(mut self, trail: &Trail<'_>, origin: &Origin) -> Self {
        self.place.get_or_insert_with(|| (trail.path(), origin.clone()));
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { place: None, problem: message.to_string(), is_file: false }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("expected {}, found {}", wording(expected), found_words(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("value", variant, expected.iter().copied()))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("key", field, expected.iter().copied()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("`{field}` is missing"))
    }
}

fn found_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Bool(yes) => format!("{yes}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// serde names what it expects in the language of Rust.
fn wording(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a character" | "path string" => "a text in quotes".to_owned(),
        "a sequence" => "a list such as [\"one\", \"two\"]".to_owned(),
        "a map" => "a table".to_owned(),
        words if words.starts_with("struct ") => "a table".to_owned(),
        _ => words,
    }
}

/// The way from the node the reading began at, kept on the stack and written down only for an error.
struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    step: TrailStep<'a>,
}

enum TrailStep<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl Trail<'_> {
    fn path(&self) -> Vec<Step> {
        let mut path = self.parent.map(Trail::path).unwrap_or_default();
        match self.step {
            TrailStep::Root => {}
            TrailStep::Key(key) => path.push(Step::Key(key.to_owned())),
            TrailStep::Index(index) => path.push(Step::Index(index)),
        }
        path
    }
}

struct Reader<'a> {
    node: &'a Node,
    trail: &'a Trail<'a>,
}

impl Reader<'_> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Self { node, trail } = self;
        let result = match &node.value {
            Value::Untyped(text) | Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(yes) => visitor.visit_bool(*yes),
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0, trail }),
            Value::Table(table) => visitor.visit_map(Rows::new(table, None, trail)),
        };
        result.map_err(|error| error.at(trail, &node.origin))
    }

    /// Reads this place as if the environment had held a value of TOML there.
    fn visit_as<'de, V: Visitor<'de>>(self, value: Value, visitor: V) -> Result<V::Value, ReadError> {
        let node = Node { origin: self.node.origin.clone(), value };
        Reader { node: &node, trail: self.trail }.visit(visitor)
    }

    fn untyped(&self) -> Option<&str> {
        match &self.node.value {
            Value::Untyped(text) => Some(text.trim()),
            _ => None,
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped().and_then(|text| text.replace('_', "").parse().ok()) {
            Some(number) => self.visit_as(Value::Integer(number), visitor),
            None => self.visit(visitor),
        }
    }

    fn float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped().and_then(|text| text.parse().ok()) {
            Some(number) => self.visit_as(Value::Float(number), visitor),
            None => self.visit(visitor),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped() {
            Some(text) => {
                let items = list_from(text, &self.node.origin);
                self.visit_as(Value::Array(items), visitor)
            }
            None => self.visit(visitor),
        }
    }

    fn table<'de, V: Visitor<'de>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let parsed = self.untyped().and_then(|text| tree::parse_value(text, &self.node.origin));
        let node = parsed.as_ref().unwrap_or(self.node);
        match &node.value {
            Value::Table(table) => visitor
                .visit_map(Rows::new(table, fields, self.trail))
                .map_err(|error| error.at(self.trail, &node.origin)),
            _ => Reader { node, trail: self.trail }.visit(visitor),
        }
    }
}

/// A list from the environment: in brackets as in TOML, or its items with commas between them.
pub(crate) fn list_from(text: &str, origin: &Origin) -> Vec<Node> {
    // "[::1]:5222" begins like a list and is none.
    if let Some(Node { value: Value::Array(items), .. }) = tree::parse_value(text, origin) {
        return items;
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Node { origin: origin.clone(), value: Value::Untyped(item.to_owned()) }).collect()
}

macro_rules! forward {
    ($($method:ident)* => $way:ident) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$way(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let parsed = self.untyped().and_then(|text| tree::parse_value(text, &self.node.origin));
        match parsed {
            // A text from the environment is taken as it stands, quotes and all.
            None | Some(Node { value: Value::String(_), .. }) => self.visit(visitor),
            Some(node) => Reader { node: &node, trail: self.trail }.visit(visitor),
        }
    }

    forward!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 => integer);
    forward!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 => integer);
    forward!(deserialize_f32 deserialize_f64 => float);
    forward!(deserialize_str deserialize_string deserialize_char deserialize_identifier => visit);
    forward!(deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_ignored_any => visit);
    forward!(deserialize_seq => list);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped().and_then(|text| text.parse().ok()) {
            Some(yes) => self.visit_as(Value::Boolean(yes), visitor),
            None => self.visit(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        // An empty variable is how container files leave something out.
        match self.untyped() {
            Some("") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        let (node, trail) = (self.node, self.trail);
        visitor.visit_newtype_struct(self).map_err(|error| error.at(trail, &node.origin))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.visit(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.table(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.table(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Untyped(text) | Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Rows::new(table, None, self.trail))),
            _ => Err(de::Error::custom("expected a text in quotes")),
        };
        result.map_err(|error: ReadError| error.at(self.trail, &self.node.origin))
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
    trail: &'a Trail<'a>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.items.get(self.next) else {
            return Ok(None);
        };
        let trail = Trail { parent: Some(self.trail), step: TrailStep::Index(self.next) };
        self.next += 1;
        let value = seed.deserialize(Reader { node, trail: &trail });
        value.map(Some).map_err(|error| error.at(&trail, &node.origin))
    }
}

struct Rows<'a> {
    entries: &'a [Entry],
    fields: Option<&'static [&'static str]>,
    current: Cell<Option<&'a Entry>>,
    trail: &'a Trail<'a>,
}

impl<'a> Rows<'a> {
    fn new(table: &'a Table, fields: Option<&'static [&'static str]>, trail: &'a Trail<'a>) -> Self {
        Self { entries: &table.entries, fields, current: Cell::new(None), trail }
    }

    fn check_key(&self, entry: &Entry) -> Result<(), ReadError> {
        let Some(fields) = self.fields else { return Ok(()) };
        if fields.contains(&entry.key.as_str()) {
            return Ok(());
        }
        let is_file = entry.key.strip_suffix("_file").is_some_and(|stem| fields.contains(&stem));
        let problem = match is_file {
            true => String::new(),
            false => unknown("key", &entry.key, fields.iter().copied()),
        };
        Err(ReadError { place: None, problem, is_file })
    }
}

impl<'de> de::MapAccess<'de> for Rows<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((entry, rest)) = self.entries.split_first() else {
            return Ok(None);
        };
        self.entries = rest;
        self.current.set(Some(entry));
        let trail = Trail { parent: Some(self.trail), step: TrailStep::Key(&entry.key) };
        let key = self.check_key(entry).and_then(|()| seed.deserialize(entry.key.as_str().into_deserializer()));
        key.map(Some).map_err(|error: ReadError| error.at(&trail, &entry.origin))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let trail = Trail { parent: Some(self.trail), step: TrailStep::Key(&entry.key) };
        let value = seed.deserialize(Reader { node: &entry.node, trail: &trail });
        value.map_err(|error| error.at(&trail, &entry.node.origin))
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
