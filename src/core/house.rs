//! The house: everything one process shares. Put together from a configuration and a list of modules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waxwing_storage::{Database, Migrations, StorageError, migrations, values};

use crate::address::{DomainPart, DomainRef, is_subdomain};
use crate::catalogue::{Catalogue, Running, clashes, start_order};
use crate::clock::IdMaker;
use crate::config::Config;
use crate::directory::Directory;
use crate::events::Event;
use crate::fabric::{Alone, Fabric};
use crate::fault::Fault;
use crate::host::Host;
use crate::http::Routes;
use crate::metrics::Metrics;
use crate::module::{Context, Module, Plan, StartError};
use crate::parcel::Parcel;
use crate::router;
use crate::stream_error::{StreamCondition, StreamError};

/// The house's own table.
const MIGRATIONS: Migrations = migrations!("house", "0001_house");

/// How long a stop waits for modules that say goodbye ([`Event::Closing`]).
const CLOSING: Duration = Duration::from_secs(2);

/// Why the house cannot stand.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The database cannot be opened or migrated.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Modules clash, or one misses what it needs.
    #[error("on host {host}: {}", problems.join("; "))]
    Clash {
        /// The host.
        host: String,
        /// Every clash.
        problems: Vec<String>,
    },
    /// A module could not start.
    #[error("module {module} on host {host}: {error}")]
    Module {
        /// The module.
        module: &'static str,
        /// The host.
        host: String,
        /// Why.
        error: StartError,
    },
}

/// Whom a domain belongs to.
pub enum Place {
    /// One of our hosts.
    Host(Arc<Host>),
    /// A service of one of our hosts.
    Service(Arc<Host>, Arc<dyn Module>),
    /// Below one of our hosts, and nothing is there: never looked for elsewhere, or we would find ourselves.
    Nowhere,
    /// Another server.
    Elsewhere,
}

/// A domain that a module serves: which host it belongs to, and which module it is.
type Claims = HashMap<DomainPart, (DomainPart, &'static str)>;

/// Everything one process shares.
pub struct House {
    config: ArcSwap<Config>,
    database: Database,
    directory: Directory,
    fabric: ArcSwapOption<Box<dyn Fabric>>,
    ids: IdMaker,
    hosts: ArcSwap<Vec<Arc<Host>>>,
    claims: RwLock<Claims>,
    routes: Routes,
    metrics: Metrics,
    tasks: TaskTracker,
    stopped: CancellationToken,
    started: std::time::Instant,
}

impl House {
    /// Opens the database, brings its tables up to date, and starts the modules of every host. Nothing listens yet.
    ///
    /// # Errors
    /// What is wrong, in one line for the operator.
    pub async fn assemble(config: Arc<Config>, plans: &[Plan]) -> Result<Arc<House>, AssembleError> {
        let database = Database::open(&config.storage).await?;
        let of_modules = plans.iter().filter_map(|plan| plan.manifest.migrations);
        let migrations: Vec<Migrations> = std::iter::once(MIGRATIONS).chain(of_modules).collect();
        database.migrate(&migrations).await?;
        let house = Arc::new(House {
            config: ArcSwap::new(config.clone()),
            database,
            directory: Directory::default(),
            fabric: ArcSwapOption::new(Some(Arc::new(Box::new(Alone)))),
            ids: IdMaker::new(0),
            hosts: ArcSwap::default(),
            claims: RwLock::default(),
            routes: Routes::default(),
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            stopped: CancellationToken::new(),
            started: std::time::Instant::now(),
        });
        let hosts: Vec<Arc<Host>> =
            config.hosts.iter().map(|host| Host::new(host.name.clone(), house.clone())).collect();
        house.hosts.store(Arc::new(hosts.clone()));
        for host in &hosts {
            if let Err(error) = house.furnish(host, plans).await {
                house.shut_down(Duration::ZERO).await;
                return Err(error);
            }
        }
        Ok(house)
    }

    /// Starts the modules of one host.
    async fn furnish(self: &Arc<House>, host: &Arc<Host>, plans: &[Plan]) -> Result<(), AssembleError> {
        let name = host.domain().as_str();
        let config = self.config();
        let wanted =
            |plan: &&Plan| config.module_enabled(name, plan.manifest.name).unwrap_or(plan.manifest.on_by_default);
        let plans: Vec<Plan> = plans.iter().filter(wanted).copied().collect();
        let clash = |problems| AssembleError::Clash { host: name.to_owned(), problems };
        let problems = clashes(&plans);
        if !problems.is_empty() {
            return Err(clash(problems));
        }
        let order = start_order(&plans)
            .map_err(|names| clash(vec![format!("these modules wait for each other: {}", names.join(", "))]))?;
        let mut started: HashMap<&str, Arc<dyn Module>> = HashMap::new();
        for plan in order {
            let module = plan.manifest.name;
            let failed = |error| AssembleError::Module { module, host: name.to_owned(), error };
            let running = (plan.start)(Context::new(host.clone(), module)).await.map_err(failed)?;
            for contract in plan.manifest.offers {
                if !host.contracts().has(*contract) {
                    let text = format!("its manifest offers {contract:?}, and it does not");
                    return Err(failed(StartError::Other(text)));
                }
            }
            started.insert(module, running);
        }
        // They started by need; inside a stage they stand as the assembly lists them.
        let running = plans.iter().filter_map(|plan| {
            let module = started.get(plan.manifest.name)?.clone();
            Some(Running { manifest: plan.manifest, module })
        });
        host.set_catalogue(Catalogue::new(running.collect()));
        Ok(())
    }

    /// The operator's decisions.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Takes a new configuration. Hosts and modules stay as they are; limits and the like hold from now on.
    pub fn reconfigure(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Who is online.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The way to other nodes.
    pub fn fabric(&self) -> Arc<Box<dyn Fabric>> {
        self.fabric.load_full().expect("there is always a fabric")
    }

    /// Makes ids that sort by time.
    pub fn ids(&self) -> &IdMaker {
        &self.ids
    }

    /// A secret of this installation, 256 bits, made when it is first asked for and kept in the database: for what must
    /// stay the same over restarts and on every node, and unguessable.
    ///
    /// # Errors
    /// A fault when storage fails.
    pub async fn secret(&self, name: &'static str) -> Result<Vec<u8>, Fault> {
        let fresh = crate::random::bytes::<32>();
        let insert = "INSERT INTO house_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        self.database.execute(insert, values![name, &fresh[..]]).await.map_err(Fault::new)?;
        let select = "SELECT value FROM house_secrets WHERE name = $1";
        let row = self.database.fetch_optional(select, values![name]).await.map_err(Fault::new)?;
        let row = row.ok_or_else(|| Fault::new("a secret was written and is not there"))?;
        row.bytes(0).map_err(Fault::new)
    }

    /// What the web listeners serve.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The figures of this process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Tasks that end with the house.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Cancelled when the house is shut down.
    pub fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }

    /// How long it stands.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The hosts in the order of the configuration.
    pub fn hosts(&self) -> Arc<Vec<Arc<Host>>> {
        self.hosts.load_full()
    }

    /// The host of this domain.
    pub fn host(&self, domain: &DomainRef) -> Option<Arc<Host>> {
        self.hosts.load().iter().find(|host| **host.domain() == *domain).cloned()
    }

    /// Whom a domain belongs to.
    pub fn place(&self, domain: &DomainRef) -> Place {
        let hosts = self.hosts.load();
        let host_named = |name: &DomainRef| hosts.iter().find(|host| **host.domain() == *name).cloned();
        if let Some(host) = host_named(domain) {
            return Place::Host(host);
        }
        if let Some((host, module)) = self.claims.read().get(domain).cloned()
            && let Some(host) = host_named(&host)
            && let Some(module) = host.catalogue().module(module).cloned()
        {
            return Place::Service(host, module);
        }
        if hosts.iter().any(|host| is_subdomain(domain, host.domain())) { Place::Nowhere } else { Place::Elsewhere }
    }

    /// Whether a domain is ours: a host or a service of one.
    pub fn is_ours(&self, domain: &DomainRef) -> bool {
        self.hosts.load().iter().any(|host| **host.domain() == *domain) || self.claims.read().contains_key(domain)
    }

    pub(crate) fn claim(&self, domain: &DomainPart, host: &Host, module: &'static str) -> Result<(), StartError> {
        let mut claims = self.claims.write();
        if let Some((_, older)) = claims.get(domain) {
            return Err(StartError::Other(format!("{domain} is served by {older} already")));
        }
        if self.host(domain).is_some() {
            return Err(StartError::Other(format!("{domain} is a host")));
        }
        claims.insert(domain.clone(), (host.domain().clone(), module));
        Ok(())
    }

    /// Sends a parcel on its way from the router; a refusal goes back to who sent it.
    pub async fn send(self: &Arc<House>, parcel: Parcel) {
        router::dispatch(self, parcel).await;
    }

    /// Tells every module that the listeners open next. For the process that serves, once.
    pub async fn open(&self) {
        for host in self.hosts.load_full().iter() {
            host.tell(Event::Opening).await;
        }
    }

    /// Lets the modules say goodbye, ends every session with `system-shutdown`, or stores it when it can go on after the
    /// next start; waits for them and for the tasks at most `patience`, and closes the database.
    pub async fn shut_down(&self, patience: Duration) {
        let sessions = self.directory.everyone();
        let silence = async {
            // First nobody says anything more: what is stored of a session must not miss what another still sends it.
            for session in &sessions {
                session.take_over().await;
            }
        };
        let _ = tokio::time::timeout(patience, silence).await;
        let closing = async {
            for host in self.hosts.load_full().iter() {
                host.tell(Event::Closing).await;
            }
        };
        if tokio::time::timeout(patience.min(CLOSING), closing).await.is_err() {
            tracing::warn!("house.closing_cut_short");
        }
        for session in &sessions {
            session.suspend(StreamError::from(StreamCondition::SystemShutdown));
        }
        let farewells = async {
            for session in &sessions {
                session.wait_for_end().await;
            }
        };
        if tokio::time::timeout(patience, farewells).await.is_err() {
            tracing::warn!(sessions = self.directory.count(), "house.shutdown_cut_short");
        }
        self.stopped.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(patience.max(Duration::from_secs(1)), self.tasks.wait()).await;
        for host in self.hosts.load().iter() {
            host.set_catalogue(Catalogue::default());
        }
        self.routes.clear();
        self.database.close().await;
        self.hosts.store(Arc::default());
    }
}
