//! Reading types from texts: what every error says, and what the environment may leave untyped.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;
use crate::config::secret::Secret;
use crate::config::units::{ByteSize, Count, Period};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Sample {
    number: u32,
    yes: bool,
    ratio: f64,
    text: String,
    maybe: Option<String>,
    names: Vec<String>,
    size: ByteSizeOrDefault,
    wait: Option<Period>,
    count: Option<Count>,
    kind: Option<Kind>,
    inner: Inner,
    key: Secret,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent)]
struct ByteSizeOrDefault(ByteSize);

impl Default for ByteSizeOrDefault {
    fn default() -> Self {
        Self(ByteSize::bytes(1))
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Inner {
    ports: Vec<u16>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plain,
    Fancy,
}

fn node(text: &str) -> Node {
    let path = Path::new("t.toml");
    Node { origin: Origin::Text, value: Value::Table(tree::parse_document(text, Some(path)).unwrap()) }
}

fn untyped(rows: &[(&str, &str)]) -> Node {
    let origin = Origin::Environment("V".into());
    let entries = rows.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        origin: origin.clone(),
        node: Node { origin: origin.clone(), value: Value::Untyped((*value).to_owned()) },
    });
    Node { origin: origin.clone(), value: Value::Table(Table { entries: entries.collect() }) }
}

fn errors_of(text: &str) -> (Option<Sample>, Vec<String>) {
    let mut errors = Vec::new();
    let sample = settle::<Sample>(&mut node(text), &tree::written, &mut errors);
    (sample, errors.iter().map(ToString::to_string).collect())
}

#[test]
fn every_error_of_a_table_is_found_and_the_rest_is_kept() {
    let (sample, errors) = errors_of(
        "number = -1\nyes = 'no'\ntext = 5\nnames = 'a'\nsize = '5 parsecs'\nkind = 'fancyy'\nmaybe = 'kept'\n\
         numbr = 2\n[inner]\nports = [1, 70000, 'x', 2]\n",
    );
    let expected = [
        "t.toml:1:10: number: expected a whole number from 0 to 4294967295, found the number -1",
        "t.toml:2:7: yes: expected true or false, found the text \"no\"",
        "t.toml:3:8: text: expected a text in quotes, found the number 5",
        "t.toml:4:9: names: expected a list such as [\"one\", \"two\"], found the text \"a\"",
        "t.toml:5:8: size: \"5 parsecs\" is not a size, write bytes or a text such as \"512 KiB\", \"2 MB\" or \"unlimited\"",
        "t.toml:6:8: kind: unknown value `fancyy`, did you mean `fancy`?",
        "t.toml:8:1: numbr: unknown key `numbr`, did you mean `number`?",
        "t.toml:10:13: inner.ports[1]: expected a whole number from 0 to 65535, found the number 70000",
        "t.toml:10:20: inner.ports[1]: expected a whole number from 0 to 65535, found the text \"x\"",
    ];
    assert_eq!(errors, expected);
    let sample = sample.unwrap();
    assert_eq!((sample.maybe.as_deref(), sample.inner.ports), (Some("kept"), vec![1, 2]));
}

#[test]
fn a_text_of_the_environment_takes_the_type_that_is_asked_for() {
    let node = untyped(&[
        ("number", "7"),
        ("yes", "true"),
        ("ratio", "0.5"),
        ("text", "12345"),
        ("maybe", ""),
        ("names", "a, b,"),
        ("size", "2 KiB"),
        ("wait", "45"),
        ("count", "unlimited"),
        ("kind", "plain"),
        ("inner", "{ ports = [1, 2] }"),
        ("key", "true"),
    ]);
    let expected = Sample {
        number: 7,
        yes: true,
        ratio: 0.5,
        text: "12345".to_owned(),
        maybe: None,
        names: vec!["a".to_owned(), "b".to_owned()],
        size: ByteSizeOrDefault(ByteSize::kibibytes(2)),
        wait: Some(Period::seconds(45)),
        count: Some(Count::UNLIMITED),
        kind: Some(Kind::Plain),
        inner: Inner { ports: vec![1, 2] },
        key: Secret::new("true"),
    };
    assert_eq!(read::<Sample>(&node).unwrap(), expected);
    let list = |text: &str| read::<Sample>(&untyped(&[("names", text)])).unwrap().names;
    assert_eq!(list("[::1]:5222,127.0.0.1:5222"), ["[::1]:5222", "127.0.0.1:5222"]);
    assert_eq!(list("[\"x, y\", 'z']"), ["x, y", "z"]);
    assert!(list("").is_empty());
}

#[test]
fn an_error_of_the_environment_names_the_variable() {
    let mut errors = Vec::new();
    settle::<Sample>(&mut untyped(&[("number", "many")]), &tree::written, &mut errors);
    let expected =
        "environment variable V: number: expected a whole number from 0 to 4294967295, found the text \"many\"";
    assert_eq!(errors[0].to_string(), expected);
}

#[test]
fn a_secret_comes_from_a_file_without_its_last_line_end() {
    let file = scratch("secret", "s3cret \n");
    let (sample, errors) = errors_of(&format!("key_file = {:?}", file.display().to_string()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!((sample.unwrap().key.expose(), errors), ("s3cret ", vec![]));
}

#[test]
fn a_secret_that_cannot_be_read_or_is_given_twice_is_an_error() {
    let (_, errors) = errors_of("key_file = 'no/such/file'");
    assert!(errors[0].starts_with("t.toml:1:1: key_file: cannot read the file \"no/such/file\":"), "{errors:?}");
    let (_, errors) = errors_of("key = 'a'\nkey_file = 'b'");
    assert_eq!(errors, ["t.toml:2:1: key_file: `key` and `key_file` are both set, keep one of them"]);
    let large = scratch("large", &"x".repeat(65 * 1024));
    let (_, errors) = errors_of(&format!("key_file = {:?}", large.display().to_string()));
    std::fs::remove_file(&large).unwrap();
    assert!(errors[0].ends_with("is larger than 65536 bytes"), "{errors:?}");
}

fn scratch(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("waxwing-config-{name}-{}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}
