//! Settings from the environment: `WAXWING_STORAGE__URL` sets `storage.url`, two underscores stand for each dot.
//!
//! A number between two underscores is a place in a list, from 0: `WAXWING_HOSTS__0__NAME`. Variables without two
//! underscores that are no section are not ours: Kubernetes, for one, sets `WAXWING_PORT` and its kin by itself for a
//! service of this name, and `WAXWING_CONFIG` belongs to the command line.

use super::error::{ConfigError, Origin};
use super::tree::{self, Entry, Node, Table, Value};

const PREFIX: &str = "WAXWING_";
const SEPARATOR: &str = "__";

/// The variables of this process that may be settings. A name or value that is not UTF-8 is kept with replacement
/// characters, so that it is refused rather than overlooked.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// Lays what the environment says over what the file says.
pub(super) fn overlay(
    root: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
    sections: &[&str],
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) {
    let mut settings: Vec<(Vec<String>, Node)> = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path: Vec<String> = rest.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        if path.len() == 1 && !sections.contains(&path[0].as_str()) {
            warnings.extend(forgotten_underscore(&name, &path[0], sections));
            continue;
        }
        let origin = Origin::Environment(name.as_str().into());
        settings.push((path, Node { origin, value: Value::Untyped(value) }));
    }
    // Whole tables before their keys, and always in the same order.
    settings.sort_by(|(one, _), (other, _)| (one.len(), one).cmp(&(other.len(), other)));
    for (path, node) in settings {
        let origin = node.origin.clone();
        if let Err(problem) = place_in_table(root, &path, node) {
            errors.push(ConfigError { origin, key: path.join("."), problem });
        }
    }
}

/// `WAXWING_STORAGE_URL` is ignored, but never silently.
fn forgotten_underscore(name: &str, path: &str, sections: &[&str]) -> Option<String> {
    let section =
        sections.iter().find(|section| path.strip_prefix(**section).is_some_and(|rest| rest.starts_with('_')))?;
    let (section, key) = path.split_at(section.len());
    let meant = format!("{PREFIX}{section}{SEPARATOR}{}", &key[1..]).to_ascii_uppercase();
    Some(format!("the environment variable {name} is not used, did you mean {meant}?"))
}

fn place_in_table(table: &mut Table, path: &[String], node: Node) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(());
    };
    if key.is_empty() {
        return Err("a name is missing between the underscores".to_owned());
    }
    let origin = node.origin.clone();
    if let Some(present) = table.entries.iter_mut().find(|entry| entry.key == *key) {
        if !rest.is_empty() {
            return place(&mut present.node, rest, node);
        }
        // `WAXWING_LIMITS={ … }` changes what it names and leaves the rest of the section.
        if let (Value::Table(below), Some(Node { value: Value::Table(above), .. })) =
            (&mut present.node.value, as_toml(&node))
        {
            below.overlay(&above);
            return Ok(());
        }
    }
    let mut fresh = match rest.first().map(String::as_str) {
        None => node,
        Some(first) => {
            let value = if first == "0" { Value::Array(Vec::new()) } else { Value::Table(Table::default()) };
            let mut fresh = Node { origin: origin.clone(), value };
            place(&mut fresh, rest, node)?;
            fresh
        }
    };
    fresh.origin = origin.clone();
    table.set(Entry { key: key.clone(), origin, node: fresh });
    Ok(())
}

fn place(below: &mut Node, path: &[String], node: Node) -> Result<(), String> {
    if let Some(parsed) = as_toml(below) {
        *below = parsed;
    }
    match &mut below.value {
        Value::Table(table) => place_in_table(table, path, node),
        Value::Array(items) => {
            let Some((first, rest)) = path.split_first() else {
                return Ok(());
            };
            let count = items.len();
            let index = first.parse().ok().filter(|index| *index <= count);
            let index: usize = index
                .ok_or_else(|| format!("this is a list of {count}, its places are numbered from 0, not `{first}`"))?;
            match rest {
                [] if index == count => items.push(node),
                [] => items[index] = node,
                rest => {
                    if index == count {
                        items.push(Node { origin: node.origin.clone(), value: Value::Table(Table::default()) });
                    }
                    place(&mut items[index], rest, node)?;
                }
            }
            Ok(())
        }
        _ => Err(format!("{} is a single value and holds no `{}`", below.origin, path.join("."))),
    }
}

fn as_toml(node: &Node) -> Option<Node> {
    match &node.value {
        Value::Untyped(text) => tree::parse_value(text, &node.origin),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: [&str; 4] = ["hosts", "limits", "storage", "modules"];

    fn overlaid(text: &str, variables: &[(&str, &str)]) -> (Table, Vec<String>, Vec<String>) {
        let mut root = tree::parse_document(text, None).unwrap();
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        overlay(&mut root, variables, &SECTIONS, &mut errors, &mut warnings);
        (root, errors.iter().map(ToString::to_string).collect(), warnings)
    }

    fn text_at<'a>(root: &'a Table, path: &str) -> &'a str {
        let path: Vec<_> = path
            .split('.')
            .map(|step| match step.parse() {
                Ok(index) => tree::Step::Index(index),
                Err(_) => tree::Step::Key(step.to_owned()),
            })
            .collect();
        match &root.find(&path).expect("the path leads somewhere").value {
            Value::Untyped(text) | Value::String(text) => text,
            _ => "another type",
        }
    }

    #[test]
    fn two_underscores_stand_for_a_dot() {
        let (root, errors, warnings) = overlaid(
            "[storage]\nurl_file = 'x'\n[limits]\nping_after = '1h'\n",
            &[
                ("WAXWING_STORAGE__URL", "sqlite:x"),
                ("WAXWING_MODULES__STREAM_MANAGEMENT__HIBERNATE", "5m"),
                ("HOME", "/"),
            ],
        );
        assert_eq!((errors, warnings), (vec![], vec![]));
        assert_eq!(text_at(&root, "storage.url"), "sqlite:x");
        assert!(root.find(&tree::keys(["storage", "url_file"])).is_none(), "the environment wins over the file");
        assert_eq!(text_at(&root, "modules.stream_management.hibernate"), "5m");
        assert_eq!(text_at(&root, "limits.ping_after"), "1h");
    }

    #[test]
    fn places_of_a_list_are_numbers() {
        let (root, errors, _) = overlaid(
            "[[hosts]]\nname = 'a'\n",
            &[
                ("WAXWING_HOSTS__0__MODULES__ROSTER__ITEMS", "5"),
                ("WAXWING_HOSTS__1__NAME", "b"),
                ("WAXWING_HOSTS__3__NAME", "d"),
            ],
        );
        assert_eq!(text_at(&root, "hosts.0.name"), "a");
        assert_eq!(text_at(&root, "hosts.0.modules.roster.items"), "5");
        assert_eq!(text_at(&root, "hosts.1.name"), "b");
        let expected = "environment variable WAXWING_HOSTS__3__NAME: hosts.3.name: this is a list of 2, its places are numbered \
                        from 0, not `3`";
        assert_eq!(errors, [expected]);
    }

    #[test]
    fn a_whole_section_leaves_what_it_does_not_name() {
        let (root, errors, _) = overlaid(
            "limits.a = 'file'\nlimits.b = 'file'",
            &[("WAXWING_LIMITS", "{ b = 'whole', c = 'whole' }"), ("WAXWING_LIMITS__C", "key")],
        );
        assert_eq!(errors, [""; 0]);
        assert_eq!(["a", "b", "c"].map(|key| text_at(&root, &format!("limits.{key}"))), ["file", "whole", "key"]);
    }

    #[test]
    fn a_forgotten_underscore_is_noticed_and_a_stranger_left_alone() {
        let (root, errors, warnings) = overlaid(
            "",
            &[("WAXWING_STORAGE_URL", "x"), ("WAXWING_PORT_5222_TCP", "tcp://10.0.0.1:5222"), ("WAXWING_CONFIG", "f")],
        );
        assert!(root.entries.is_empty() && errors.is_empty());
        let expected = "the environment variable WAXWING_STORAGE_URL is not used, did you mean WAXWING_STORAGE__URL?";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn a_key_below_a_single_value_is_refused() {
        let (_, errors, _) =
            overlaid("limits.ping_after = 5", &[("WAXWING_LIMITS__PING_AFTER__X", "1"), ("WAXWING_LIMITS____X", "1")]);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("a name is missing"), "{errors:?}");
        assert!(errors[1].contains("is a single value and holds no `x`"), "{errors:?}");
    }
}
