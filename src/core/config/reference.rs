//! `conf/reference.toml`: every key with its doc comment and its default, written from the structs that read them.
//!
//! The text is itself a configuration, and one that changes nothing.

use schemars::Schema;
use serde_json::Value as Json;

use super::describe::{KnownModule, SettingsDescription};
use super::sections::{Auth, Listen, Log, Tls};
use super::{Limits, Storage, Web};

/// Longest line of a comment, in characters.
const WIDTH: usize = 100;

const OPENING: &str = "\
Every setting of Waxwing with its default. This file is generated from the program (`cargo run -p xtask -- reference`) and \
checked for freshness, so edit conf/waxwing.toml instead and write there only what you want to be different.

Sizes are bytes or a text with a unit (`\"8 KiB\"`, `\"16 kB\"`, `\"1 MiB\"`), times are seconds or a text with one or more units \
(`\"250ms\"`, `\"30s\"`, `\"5min\"`, `\"1h 30min\"`, `\"7d\"`), rates have a time below the line (`\"50/s\"`, `\"60/min\"`, `\"20/h\"`, \
`\"16 kB/s\"`). Each of them may be `\"unlimited\"`; zero never means that.

Every key can be set by the environment, which wins over the file: `WAXWING_STORAGE__URL` sets `storage.url`, two underscores \
stand for each dot. Lists are written as here or with commas between their items \
(`WAXWING_LISTEN__C2S=0.0.0.0:5222,[::]:5222`); the items of the list of hosts have numbers (`WAXWING_HOSTS__0__NAME`).

Every text, and above all every secret, can be read from a file of its own: write `url_file = \"/run/secrets/database\"` instead of \
`url = \"…\"`.";

const HOSTS: &str = "\
The domains this server speaks for, one `[[hosts]]` each. A client that names none is greeted by the first.";

const HOST_MODULES: &str = "\
People named as operators may run the commands that the host offers (XEP-0050), with their clients:

    operators = [\"admin@example.org\"]

Settings of a module for this host alone go below it and leave the other keys of the module as they are for all hosts:

    [hosts.modules.<name of the module>]";

const MODULES: &str = "\
Each module has a table of its own. `enabled` switches it on and off; without it the module's own default holds.";

/// The whole reference.
pub fn reference(modules: &[KnownModule]) -> String {
    let mut text = String::new();
    comment(&mut text, OPENING);
    text.push('\n');
    comment(&mut text, HOSTS);
    text.push_str("[[hosts]]\nname = \"localhost\"\n\n");
    comment(&mut text, HOST_MODULES);
    section(&mut text, "listen", &SettingsDescription::of::<Listen>());
    section(&mut text, "http", &SettingsDescription::of::<Web>());
    section(&mut text, "storage", &SettingsDescription::of::<Storage>());
    section(&mut text, "tls", &SettingsDescription::of::<Tls>());
    section(&mut text, "limits", &SettingsDescription::of::<Limits>());
    section(&mut text, "auth", &SettingsDescription::of::<Auth>());
    section(&mut text, "log", &SettingsDescription::of::<Log>());
    if !modules.is_empty() {
        text.push('\n');
        comment(&mut text, MODULES);
    }
    for module in modules {
        text.push('\n');
        comment(&mut text, module.about);
        text.push_str(&format!("[modules.{}]\nenabled = {}\n", module.name, module.enabled));
        let description = (module.settings)();
        let schema = description.schema.as_value();
        keys(&mut text, &format!("modules.{}", module.name), schema, schema, &description.defaults);
    }
    text
}

fn section(text: &mut String, name: &str, description: &SettingsDescription) {
    let schema = description.schema.as_value();
    text.push('\n');
    comment(text, description_of(schema));
    text.push_str(&format!("[{name}]\n"));
    keys(text, name, schema, schema, &description.defaults);
}

/// Writes the keys of one table, and after them the tables inside it.
fn keys(text: &mut String, name: &str, root: &Json, schema: &Json, defaults: &toml::Table) {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        return;
    };
    let mut tables = Vec::new();
    for (key, property) in properties {
        let target = resolve(root, property);
        if let (Some(_), Some(toml::Value::Table(defaults))) = (target.get("properties"), defaults.get(key)) {
            tables.push((format!("{name}.{key}"), property, target, defaults));
            continue;
        }
        text.push('\n');
        comment(text, description_of(property));
        let hidden = target.get("writeOnly").is_some();
        match defaults.get(key).filter(|_| !hidden) {
            Some(default) => text.push_str(&format!("{key} = {}\n", written(default))),
            None => text.push_str(&format!("# {key} = {}\n", example(target))),
        }
    }
    for (name, property, target, defaults) in tables {
        text.push('\n');
        comment(text, description_of(property));
        text.push_str(&format!("[{name}]\n"));
        keys(text, &name, root, target, defaults);
    }
}

/// Follows a reference to a definition of the same schema.
fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let name = schema.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"));
    name.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

fn description_of(schema: &Json) -> &str {
    schema.get("description").and_then(Json::as_str).unwrap_or_default()
}

/// A value of the right shape for a key that has no default.
fn example(schema: &Json) -> &'static str {
    let types: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    match types.first() {
        Some(&"integer" | &"number") => "1",
        Some(&"boolean") => "true",
        Some(&"array") => "[]",
        Some(&"object") => "{}",
        _ => "\"\"",
    }
}

fn written(value: &toml::Value) -> String {
    let line = value.to_string();
    match value {
        toml::Value::Array(items) if line.chars().count() > WIDTH => {
            let items: Vec<String> = items.iter().map(|item| format!("    {item},\n")).collect();
            format!("[\n{}]", items.concat())
        }
        _ => line,
    }
}

/// Writes a text as comment lines: paragraphs are wrapped, indented lines stay as they are.
fn comment(text: &mut String, words: &str) {
    for (number, paragraph) in words.trim().split("\n\n").enumerate() {
        if paragraph.is_empty() {
            return;
        }
        if number > 0 {
            text.push_str("#\n");
        }
        if paragraph.starts_with("    ") {
            for line in paragraph.lines() {
                text.push_str(&format!("# {line}\n"));
            }
            continue;
        }
        let mut line = String::from("#");
        for word in words_of(paragraph) {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(&word);
        }
        text.push_str(&line);
        text.push('\n');
    }
}

/// The words of a paragraph; what stands between backticks is one, so that nobody copies half a command.
fn words_of(paragraph: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for word in paragraph.split_whitespace() {
        match words.last_mut().filter(|_| is_open) {
            Some(last) => last.extend([" ", word]),
            None => words.push(word.to_owned()),
        }
        is_open ^= word.matches('`').count() % 2 == 1;
    }
    words
}

/// The names of the keys that have no doc comment; a test of each module keeps this empty.
pub fn keys_without_words(schema: &Schema) -> Vec<String> {
    let root = schema.as_value();
    let mut missing = Vec::new();
    collect_wordless(root, root, "", &mut missing);
    missing
}

fn collect_wordless(root: &Json, schema: &Json, path: &str, missing: &mut Vec<String>) {
    for (key, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        if description_of(property).is_empty() {
            missing.push(format!("{path}{key}"));
        }
        let target = resolve(root, property);
        collect_wordless(root, target, &format!("{path}{key}."), missing);
    }
}
