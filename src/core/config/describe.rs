//! How a module tells the configuration what may be set in it: the names and texts for the reference, the defaults, and
//! how to find every error before anything starts.

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::reading;
use super::tree::{Node, Step};
use crate::module::Manifest;

/// Reads settings from a tree and reports what is wrong with them.
pub(super) type Settle = fn(&mut Node, &dyn Fn(&[Step]) -> String, &mut Vec<ConfigError>);

/// What may be set: made from the struct that holds the settings, by [`SettingsDescription::of`].
#[derive(Clone)]
pub struct SettingsDescription {
    /// Names, types and doc comments of the keys.
    pub schema: Schema,
    /// The defaults; a key without one is missing.
    pub defaults: toml::Table,
    pub(super) settle: Settle,
}

impl SettingsDescription {
    /// The description of a struct of settings. Each field's doc comment is written for the operator: what it is, its
    /// unit, and why to change it. The struct needs `#[serde(default)]`, so that every key may be left out.
    pub fn of<T: JsonSchema + Serialize + DeserializeOwned + Default>() -> Self {
        // Settings are plain data; one that TOML cannot hold has no default to show, and the test of its module says so.
        let defaults = toml::Table::try_from(T::default()).unwrap_or_default();
        let settle: Settle = |node, name_of, errors| {
            reading::settle::<T>(node, name_of, errors);
        };
        Self { schema: schemars::schema_for!(T), defaults, settle }
    }

    /// The description of a module without settings.
    pub fn none() -> Self {
        Self::of::<NoSettings>()
    }
}

/// The settings of a module that has none (beside `enabled`, which every module has).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoSettings {}

/// A module that may be configured, as far as the configuration needs to know it.
#[derive(Clone, Copy)]
pub struct KnownModule {
    /// Its name in `[modules.<name>]`.
    pub name: &'static str,
    /// One sentence for the reference: what it does.
    pub about: &'static str,
    /// Whether it runs when the configuration does not say.
    pub enabled: bool,
    /// What may be set in it.
    pub settings: fn() -> SettingsDescription,
}

impl From<&Manifest> for KnownModule {
    fn from(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name,
            about: manifest.summary,
            enabled: manifest.on_by_default,
            settings: manifest.settings.unwrap_or(SettingsDescription::none),
        }
    }
}
