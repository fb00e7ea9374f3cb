//! `[modules]` and `[[hosts]]` with their own `[hosts.modules]`: which settings hold for which module on which host.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jid::{BareJid, DomainPart};

use super::describe::KnownModule;
use super::error::{ConfigError, Origin, unknown};
use super::tree::{self, Node, Step, Table, Value};
use super::{HostConfig, reading};
use crate::address;

/// What may stand in a table of `[[hosts]]`.
const HOST_KEYS: [&str; 3] = ["name", "operators", "modules"];

/// Settings of modules by name.
pub(super) type ModuleTables = BTreeMap<String, ModuleTable>;

/// What the operator wrote for one module.
#[derive(Debug, Clone)]
pub(super) struct ModuleTable {
    /// `enabled`, which is a key of every module.
    pub enabled: Option<bool>,
    /// The other keys: always a table.
    pub node: Node,
}

/// Reads `[modules]`.
pub(super) fn read_common(node: Option<&Node>, known: &[KnownModule], errors: &mut Vec<ConfigError>) -> ModuleTables {
    let mut tables = raw_tables(node, "modules", known, errors);
    for (name, table) in &mut tables {
        settle(table, name, known, &|path| written("modules", name, path), errors);
    }
    tables
}

/// Reads `[[hosts]]`, in their order.
pub(super) fn read_hosts(
    node: &Node,
    common: &ModuleTables,
    known: &[KnownModule],
    errors: &mut Vec<ConfigError>,
) -> Vec<HostConfig> {
    let listed;
    let items = match &node.value {
        Value::Array(items) => items,
        Value::Untyped(text) => {
            listed = reading::list_from(text, &node.origin);
            &listed
        }
        _ => {
            let problem = "hosts are a list, write [[hosts]] and below it name = \"example.org\"".to_owned();
            errors.push(ConfigError { origin: node.origin.clone(), key: "hosts".to_owned(), problem });
            return Vec::new();
        }
    };
    if items.is_empty() {
        let problem = "there is no host, name at least one or leave the list out for \"localhost\"".to_owned();
        errors.push(ConfigError { origin: node.origin.clone(), key: "hosts".to_owned(), problem });
    }
    let mut hosts: Vec<(HostConfig, Origin)> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let Some((host, origin)) = read_host(item, index, common, known, errors) else {
            continue;
        };
        match hosts.iter().find(|(present, _)| present.name == host.name) {
            Some((_, first)) => {
                let problem = format!("the host {:?} is there twice, first at {first}", host.name.as_str());
                errors.push(ConfigError { origin, key: format!("hosts[{index}].name"), problem });
            }
            None => hosts.push((host, origin)),
        }
    }
    hosts.into_iter().map(|(host, _)| host).collect()
}

fn read_host(
    item: &Node,
    index: usize,
    common: &ModuleTables,
    known: &[KnownModule],
    errors: &mut Vec<ConfigError>,
) -> Option<(HostConfig, Origin)> {
    let path = format!("hosts[{index}]");
    let parsed = match &item.value {
        Value::Untyped(text) if text.starts_with('{') => tree::parse_value(text, &item.origin),
        _ => None,
    };
    let empty = Table::default();
    let (name, table) = match &parsed.as_ref().unwrap_or(item).value {
        Value::Table(table) => (table.get("name"), table),
        // A list of names is all most servers need, and all an environment can hold with comfort.
        Value::String(_) | Value::Untyped(_) => (Some(item), &empty),
        _ => (None, &empty),
    };
    for entry in &table.entries {
        if !HOST_KEYS.contains(&entry.key.as_str()) {
            let problem = unknown("key", &entry.key, HOST_KEYS);
            errors.push(ConfigError { origin: entry.origin.clone(), key: format!("{path}.{}", entry.key), problem });
        }
    }
    let (name, origin) = match name {
        Some(node) => (read_name(node), node.origin.clone()),
        None => (Err("the host has no name, write name = \"example.org\"".to_owned()), item.origin.clone()),
    };
    let operators = table.get("operators").map_or_else(Vec::new, |node| read_operators(node, &path, errors));
    let own = raw_tables(table.get("modules"), &format!("{path}.modules"), known, errors);
    let modules = own.into_iter().map(|(module, own)| {
        let table = merged(common.get(&module), own, &module, &path, known, errors);
        (module, table)
    });
    let modules = modules.collect();
    match name {
        Ok(name) => Some((HostConfig { name, operators, modules }, origin)),
        Err(problem) => {
            errors.push(ConfigError { origin, key: format!("{path}.name"), problem });
            None
        }
    }
}

/// Whoever may run the commands of the host: bare JIDs.
fn read_operators(node: &Node, host: &str, errors: &mut Vec<ConfigError>) -> Vec<BareJid> {
    let parsed = parse_untyped(node);
    let node = parsed.as_ref().unwrap_or(node);
    let Ok(names) = reading::read::<Vec<String>>(node) else {
        let problem = "expected a list of addresses, such as [\"admin@example.org\"]".to_owned();
        errors.push(ConfigError { origin: node.origin.clone(), key: format!("{host}.operators"), problem });
        return Vec::new();
    };
    let read = names.iter().enumerate().filter_map(|(index, name)| {
        let problem = match address::read_bare(name) {
            Ok(operator) if operator.node().is_some() => return Some(operator),
            Ok(_) => format!("{name:?} is a domain, write the address of an account"),
            Err(error) => format!("{name:?} is not the address of an account: {error}"),
        };
        let key = format!("{host}.operators[{index}]");
        errors.push(ConfigError { origin: node.origin.clone(), key, problem });
        None
    });
    read.collect()
}

fn read_name(node: &Node) -> Result<DomainPart, String> {
    let (Value::String(name) | Value::Untyped(name)) = &node.value else {
        return Err("expected the name of a domain in quotes".to_owned());
    };
    // The preparation of JIDs says only that something is wrong, so the common slips are named here.
    let is_ipv6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).is_some();
    let is_slip = |sign: char| sign.is_whitespace() || "/@,;\"'".contains(sign) || (sign == ':' && !is_ipv6);
    if let Some(sign) = name.chars().find(|sign| is_slip(*sign)) {
        return Err(format!("{name:?} is not the name of a domain: it contains {sign:?}"));
    }
    let prepared = address::read_domain(name).map(Cow::into_owned);
    prepared.map_err(|error| format!("{name:?} is not the name of a domain: {error}"))
}

/// The tables below `[modules]`, with `enabled` read and taken out.
fn raw_tables(node: Option<&Node>, path: &str, known: &[KnownModule], errors: &mut Vec<ConfigError>) -> ModuleTables {
    let parsed = node.and_then(parse_untyped);
    let table = match parsed.as_ref().or(node).map(|node| (&node.value, &node.origin)) {
        None => return BTreeMap::new(),
        Some((Value::Table(table), _)) => table,
        Some((_, origin)) => {
            let problem = "expected a table for each module, such as [modules.roster]".to_owned();
            errors.push(ConfigError { origin: origin.clone(), key: path.to_owned(), problem });
            return BTreeMap::new();
        }
    };
    let mut tables = BTreeMap::new();
    for entry in &table.entries {
        let key = format!("{path}.{}", entry.key);
        if !known.iter().any(|module| module.name == entry.key) {
            let problem = unknown("module", &entry.key, known.iter().map(|module| module.name));
            errors.push(ConfigError { origin: entry.origin.clone(), key, problem });
            continue;
        }
        let mut node = parse_untyped(&entry.node).unwrap_or_else(|| entry.node.clone());
        let Value::Table(settings) = &mut node.value else {
            let problem = format!("expected a table, write [{key}] and the settings below it");
            errors.push(ConfigError { origin: node.origin, key, problem });
            continue;
        };
        let enabled = settings.remove("enabled").and_then(|entry| {
            let enabled = reading::read::<bool>(&entry.node).ok();
            if enabled.is_none() {
                let problem = "expected true or false".to_owned();
                errors.push(ConfigError { origin: entry.node.origin, key: format!("{key}.enabled"), problem });
            }
            enabled
        });
        tables.insert(entry.key.clone(), ModuleTable { enabled, node });
    }
    tables
}

fn parse_untyped(node: &Node) -> Option<Node> {
    match &node.value {
        Value::Untyped(text) => tree::parse_value(text, &node.origin),
        _ => None,
    }
}

fn merged(
    common: Option<&ModuleTable>,
    own: ModuleTable,
    name: &str,
    host: &str,
    known: &[KnownModule],
    errors: &mut Vec<ConfigError>,
) -> ModuleTable {
    let mut table =
        ModuleTable { enabled: own.enabled.or(common.and_then(|common| common.enabled)), node: own.node.clone() };
    let own_section = format!("{host}.modules");
    let Value::Table(own_table) = &own.node.value else {
        return table;
    };
    if let Some(ModuleTable { node: Node { value: Value::Table(below), .. }, .. }) = common {
        let mut both = below.clone();
        both.overlay(own_table);
        table.node.value = Value::Table(both);
    }
    // What is common was read already, so whatever is wrong now was written for this host.
    settle(&mut table, name, known, &|path| written(&own_section, name, path), errors);
    table
}

fn settle(
    table: &mut ModuleTable,
    name: &str,
    known: &[KnownModule],
    name_of: &dyn Fn(&[Step]) -> String,
    errors: &mut Vec<ConfigError>,
) {
    if let Some(module) = known.iter().find(|module| module.name == name) {
        ((module.settings)().settle)(&mut table.node, name_of, errors);
    }
}

fn written(section: &str, module: &str, path: &[Step]) -> String {
    let mut text = format!("{section}.{module}");
    if !path.is_empty() {
        text.push('.');
        text.push_str(&tree::written(path));
    }
    text
}
