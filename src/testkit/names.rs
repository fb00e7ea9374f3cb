//! Names of a test: what stands for `{romeo}` or `{host}` in the XML that a test sends and expects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names and their values, shared by everyone in a scene.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<BTreeMap<String, String>>>);

impl Names {
    /// Sets a name, also in place of an older value.
    pub fn set(&self, name: &str, value: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.into());
    }

    /// The value of a name. `romeo/orchard` is the value of `romeo` with `/orchard` behind it, unless it has its own.
    pub fn get(&self, name: &str) -> Option<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = names.get(name) {
            return Some(value.clone());
        }
        let (bare, resource) = name.split_once('/')?;
        names.get(bare).map(|value| format!("{value}/{resource}"))
    }

    /// The value of a name that a test relies on.
    ///
    /// # Panics
    /// When there is none.
    pub fn value(&self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| panic!("nothing is named {{{name}}} here, only {}", self.known()))
    }

    /// All names, for messages.
    pub(crate) fn known(&self) -> String {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.keys().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" ")
    }
}
