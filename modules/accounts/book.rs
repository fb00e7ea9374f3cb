//! The book of accounts: what the contract asks, with the rules for names and passwords around the tables.

use std::num::NonZeroU32;

use async_trait::async_trait;
use waxwing_core::address::{self, BareJid, NodePart, NodeRef};
use waxwing_core::config::Config;
use waxwing_core::contracts::{AccountError, Accounts};
use waxwing_core::credentials::{Hash, SALT_LENGTH, ScramKeys, prepare_password};
use waxwing_core::events::Event;
use waxwing_core::module::Context;
use waxwing_storage::StorageError;

use crate::known::Known;
use crate::names;
use crate::passwords::{self, Forbidden, Workshop};
use crate::store::Store;

/// The accounts of one host.
pub(crate) struct Book {
    pub(crate) context: Context,
    pub(crate) store: Store,
    pub(crate) known: Known,
    forbidden: Forbidden,
    workshop: Workshop,
}

impl Book {
    pub(crate) fn new(context: Context, store: Store, forbidden: Forbidden, remembered: usize) -> Book {
        Book { context, store, known: Known::new(remembered), forbidden, workshop: Workshop::new() }
    }

    /// The address of an account.
    pub(crate) fn address(&self, name: &NodeRef) -> BareJid {
        address::account(name, self.context.domain())
    }

    /// Ends what is left of a retired account: everybody is told, and then the name is free.
    pub(crate) async fn finish_removing(&self, names: &[NodePart]) -> Result<(), StorageError> {
        for name in names {
            self.known.forget(name);
            self.context.tell(Event::AccountRemoved(self.address(name))).await;
        }
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        self.store.free(&names).await?;
        for name in names {
            tracing::info!(host = %self.context.domain(), account = name, "account.removed");
        }
        Ok(())
    }

    async fn keys(&self, name: &NodeRef, password: &str) -> Result<[ScramKeys; 3], AccountError> {
        let config = self.context.config();
        let (host, minimum) = (self.context.domain().as_str(), config.auth.minimum_password_length);
        passwords::check(password, name.as_str(), host, minimum, &self.forbidden)
            .map_err(AccountError::NotAcceptable)?;
        let keys = self.workshop.keys(password, iterations(&config)).await?;
        keys.map_err(|error| AccountError::NotAcceptable(error.to_string()))
    }
}

/// Rounds of PBKDF2 for new keys. The configuration has checked their number.
fn iterations(config: &Config) -> NonZeroU32 {
    NonZeroU32::new(config.auth.scram_iterations).unwrap_or(NonZeroU32::MIN)
}

/// Keys that no password fits, and that take as long to try.
fn nobodys_keys(iterations: NonZeroU32) -> ScramKeys {
    let hash = Hash::ALL[0];
    ScramKeys {
        hash,
        salt: vec![0; SALT_LENGTH],
        iterations: iterations.get(),
        stored_key: vec![0; hash.length()],
        server_key: vec![0; hash.length()],
    }
}

#[async_trait]
impl Accounts for Book {
    async fn exists(&self, name: &NodeRef) -> Result<bool, StorageError> {
        self.known.exists(name, self.store.exists(name)).await
    }

    async fn scram_keys(&self, name: &NodeRef, hash: Hash) -> Result<Option<ScramKeys>, StorageError> {
        self.store.keys(name, hash).await
    }

    async fn check_password(&self, name: &NodeRef, password: &str) -> Result<bool, StorageError> {
        let keys = self.store.strongest_keys(name).await?;
        if prepare_password(password).is_err() {
            return Ok(false);
        }
        let keys = keys.unwrap_or_else(|| nobodys_keys(iterations(&self.context.config())));
        self.workshop.verify(keys, password).await
    }

    async fn is_disabled(&self, name: &NodeRef) -> Result<bool, StorageError> {
        self.store.is_disabled(name).await
    }

    fn prepare_name(&self, wanted: &str) -> Result<NodePart, AccountError> {
        names::prepare(wanted).map_err(AccountError::NotAcceptable)
    }

    async fn create(&self, name: &NodeRef, password: &str) -> Result<(), AccountError> {
        names::check(name.as_str()).map_err(AccountError::NotAcceptable)?;
        if self.store.exists(name).await? {
            return Err(AccountError::Exists);
        }
        let keys = self.keys(name, password).await?;
        if !self.store.create(name, &keys).await? {
            return Err(AccountError::Exists);
        }
        self.known.forget(name);
        tracing::info!(host = %self.context.domain(), account = name.as_str(), "account.created");
        self.context.tell(Event::AccountCreated(self.address(name))).await;
        Ok(())
    }

    async fn set_password(&self, name: &NodeRef, password: &str) -> Result<(), AccountError> {
        if !self.store.exists(name).await? {
            return Err(AccountError::NotFound);
        }
        let keys = self.keys(name, password).await?;
        if !self.store.set_keys(name, &keys).await? {
            return Err(AccountError::NotFound);
        }
        tracing::info!(host = %self.context.domain(), account = name.as_str(), "account.password_changed");
        self.context.tell(Event::PasswordChanged(self.address(name))).await;
        Ok(())
    }

    async fn retire(&self, name: &NodeRef) -> Result<(), AccountError> {
        if !self.store.retire(name).await? {
            return Err(AccountError::NotFound);
        }
        self.known.forget(name);
        Ok(())
    }

    async fn remove(&self, name: &NodeRef) -> Result<(), AccountError> {
        if !self.store.retire(name).await? && !self.store.is_retired(name).await? {
            return Err(AccountError::NotFound);
        }
        // The account has ended already; what does not succeed now is done by the watch later.
        if let Err(error) = self.finish_removing(&[name.to_owned()]).await {
            tracing::warn!(host = %self.context.domain(), account = name.as_str(), %error, "account.not_forgotten_yet");
        }
        Ok(())
    }

    async fn list(&self, after: Option<&NodeRef>, most: u32) -> Result<Vec<NodePart>, StorageError> {
        self.store.names(after, most).await
    }
}
