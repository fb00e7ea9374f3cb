//! A running server: the house, its certificates and its listeners, started and stopped in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use waxwing_core::address::{BareJid, NodePart, NodeRef};
use waxwing_core::config::Config;
use waxwing_core::contracts::{AccountError, Accounts};
use waxwing_core::house::House;
use waxwing_streams::certificates::Certificates;
use waxwing_streams::{Listeners, Service};

use crate::assembly::MODULES;
use crate::command_line::UserCommand;

/// How long a stop waits for sessions and their writers (faults row F18).
const PATIENCE: Duration = Duration::from_secs(25);

/// A server that listens.
pub struct Server {
    house: Arc<House>,
    certificates: Arc<Certificates>,
    listeners: Listeners,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// What is wrong, in one line for the operator.
    pub async fn start(config: Config) -> anyhow::Result<Server> {
        let config = Arc::new(config);
        let names: Vec<String> = config.hosts.iter().map(|host| host.name.to_string()).collect();
        let certificates = Arc::new(Certificates::open(&config.tls.certificates, &names, config.tls.self_signed)?);
        certificates.warn();
        let house = House::assemble(config, MODULES).await?;
        house.open().await;
        match Listeners::open(&house, certificates.clone()).await {
            Ok(listeners) => Ok(Server { house, certificates, listeners }),
            Err(error) => {
                house.shut_down(Duration::ZERO).await;
                Err(error.into())
            }
        }
    }

    /// The house, for tests and for what is shown at the start.
    pub fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// Its certificates, which can be read anew at any time.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// What is spoken where.
    pub fn addresses(&self) -> &[(Service, SocketAddr)] {
        self.listeners.addresses()
    }

    /// Takes a new configuration and reads the certificates anew; nobody is dropped.
    pub fn reload(&self, config: Config) {
        self.house.reconfigure(Arc::new(config));
        self.certificates.reload();
    }

    /// Lets nobody in any more, ends every session with `system-shutdown`, and closes the database.
    pub async fn stop(self) {
        self.listeners.close();
        self.house.shut_down(PATIENCE).await;
    }
}

/// Does what `waxwing user` asks, on the database of a server that may run at the same time.
///
/// # Errors
/// Why it could not be done.
pub async fn run_user_command(config: Config, command: UserCommand) -> anyhow::Result<Vec<String>> {
    let house = House::assemble(Arc::new(config), MODULES).await?;
    let done = user_command(&house, command).await;
    house.shut_down(Duration::from_secs(1)).await;
    done
}

async fn user_command(house: &Arc<House>, command: UserCommand) -> anyhow::Result<Vec<String>> {
    Ok(match command {
        UserCommand::Add { account, password } => {
            let (accounts, name) = accounts_of(house, &account)?;
            accounts.create(&name, password.expose()).await.with_context(|| format!("{account} was not made"))?;
            vec![format!("{account} was made")]
        }
        UserCommand::Password { account, password } => {
            let (accounts, name) = accounts_of(house, &account)?;
            accounts
                .set_password(&name, password.expose())
                .await
                .with_context(|| format!("nothing was changed for {account}"))?;
            vec![format!("{account} has a new password")]
        }
        UserCommand::Remove { account } => {
            let (accounts, name) = accounts_of(house, &account)?;
            remove(&*accounts, &name).await.with_context(|| format!("{account} was not removed"))?;
            vec![format!("{account} was removed")]
        }
        UserCommand::List { host } => list(house, host.as_deref()).await?,
    })
}

/// How long a server that runs is given to notice that an account has ended: its watch looks every second.
const NOTICE: Duration = Duration::from_secs(3);

/// Removes an account. A server that runs ends its sessions and says goodbye to its contacts first, while its roster is
/// still there; only then is here deleted what is left. Else contacts would see it online for ever.
async fn remove(accounts: &dyn Accounts, name: &NodeRef) -> Result<(), AccountError> {
    match accounts.retire(name).await {
        Ok(()) => tokio::time::sleep(NOTICE).await,
        // Nobody, or somebody whose removal was begun before.
        Err(AccountError::NotFound) => {}
        Err(error) => return Err(error),
    }
    accounts.remove(name).await
}

/// The accounts of the host an address belongs to, and the name there.
fn accounts_of(house: &Arc<House>, account: &BareJid) -> anyhow::Result<(Arc<dyn Accounts>, NodePart)> {
    let name = account.node().context("the address has no name before the @")?.to_owned();
    let host = house.host(account.domain()).with_context(|| {
        let names: Vec<String> = house.hosts().iter().map(|host| host.domain().to_string()).collect();
        format!("{} is not served here, the hosts are: {}", account.domain(), names.join(", "))
    })?;
    let accounts = host.contracts().accounts().context("the module accounts is off on this host")?;
    Ok((accounts.clone(), name))
}

/// How many accounts are read at a time.
const PAGE: u32 = 1_000;

async fn list(house: &Arc<House>, only: Option<&waxwing_core::address::DomainRef>) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for host in house.hosts().iter().filter(|host| only.is_none_or(|only| **host.domain() == *only)) {
        let accounts = host.contracts().accounts().context("the module accounts is off")?;
        let mut after: Option<NodePart> = None;
        loop {
            let page = accounts.list(after.as_deref(), PAGE).await?;
            lines.extend(page.iter().map(|name| format!("{name}@{}", host.domain())));
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.clone()),
                _ => break,
            }
        }
    }
    Ok(lines)
}
