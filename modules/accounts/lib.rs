//! Accounts: names and SCRAM keys of those who may log in (RFC 5802, RFC 6122), also when another process changes them.

mod book;
mod known;
mod names;
mod passwords;
mod store;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::contracts::Contract;
use waxwing_core::limits::Count;
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError};

use book::Book;
use passwords::Forbidden;
use store::Store;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "accounts",
    summary: "keeps who may log in, as SCRAM keys and never as passwords",
    offers: &[Contract::Accounts],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set. How new passwords are kept and how long they are stands in `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A file of passwords nobody may choose, one a line, upper and lower case alike; for instance a list of those that
    /// were stolen elsewhere. At most 64 MiB. It is read when the server starts. The most common ones are always refused.
    pub forbidden_passwords: Option<PathBuf>,
    /// For how many names the server remembers whether they are accounts, so that not every message to somebody who is
    /// away asks the database. Some 150 bytes each.
    pub remembered_names: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self { forbidden_passwords: None, remembered_names: Count::of(20_000) }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let forbidden = Forbidden::load(settings.forbidden_passwords.as_deref()).map_err(StartError::Other)?;
    let store = Store::new(context.database().clone(), context.domain());
    let newest = store.newest_change().await?;
    let book = Arc::new(Book::new(context.clone(), store, forbidden, settings.remembered_names.get()));
    watch::start(book.clone(), newest);
    if !context.contracts().offer_accounts(book) {
        return Err(StartError::Other("another module offers the accounts already".to_owned()));
    }
    Ok(Arc::new(Accounts))
}

/// All it does is behind its contract.
struct Accounts;

impl Module for Accounts {}

#[cfg(test)]
mod tests;
