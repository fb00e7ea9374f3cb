//! A whole server inside the test process, with its own runtime, folder and database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use waxwing_core::address::{DomainPart, NodePart};
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::Accounts;
use waxwing_core::house::House;
use waxwing_storage::testing::{Guard, fresh_settings};

use crate::logs;
use crate::options::TestOptions;
use crate::scene::Scene;

/// A future in a box.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How to start the server under test. The package that is tested gives it, because the kit knows no roof.
#[derive(Clone, Copy)]
pub struct Assembly {
    /// The modules, for reading the configuration.
    pub known: fn() -> Vec<KnownModule>,
    /// Starts a server.
    pub start: fn(Config) -> Boxed<anyhow::Result<Running>>,
}

/// A server that runs.
pub struct Running {
    /// Its house.
    pub house: Arc<House>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Has it read its certificates anew, as a SIGHUP does.
    pub reload: Box<dyn Fn() + Send>,
    /// Stops it in good order.
    pub stop: Box<dyn FnOnce() -> Boxed<()> + Send>,
}

/// Where a server listens, by the key of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Clients that begin in the clear.
    pub c2s: Vec<SocketAddr>,
    /// Clients that begin with TLS.
    pub c2s_tls: Vec<SocketAddr>,
    /// Servers that begin in the clear.
    pub s2s: Vec<SocketAddr>,
    /// Servers that begin with TLS.
    pub s2s_tls: Vec<SocketAddr>,
    /// The web in the clear.
    pub http: Vec<SocketAddr>,
    /// The web over TLS.
    pub https: Vec<SocketAddr>,
    /// Health and figures.
    pub health: Vec<SocketAddr>,
    /// Everything over TLS.
    pub all_tls: Vec<SocketAddr>,
}

/// A server in this process. It has a runtime of its own, so tests with one runtime each can share it. Dropped, it is
/// stopped, and its folder and database are gone.
pub struct TestServer {
    options: TestOptions,
    live: Mutex<Option<Live>>,
    database: Guard,
    folder: TempDir,
    thread: String,
}

struct Live {
    runtime: Runtime,
    running: Running,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// How long an orderly stop may take.
const STOPPING: Duration = Duration::from_secs(30);

impl TestServer {
    /// Starts a server with an empty database.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(options: TestOptions) -> Arc<TestServer> {
        TestServer::try_start(options).await.unwrap_or_else(|error| panic!("the server does not start: {error:#}"))
    }

    /// Starts a server with an empty database.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn try_start(options: TestOptions) -> anyhow::Result<Arc<TestServer>> {
        logs::watch();
        let folder = tempfile::Builder::new().prefix("waxwing-test-").tempdir()?;
        std::fs::create_dir(folder.path().join("certs"))?;
        let engine = options.storage;
        let database = tokio::spawn(fresh_settings(engine)).await?;
        let thread = format!("waxwing-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let server = TestServer { options, live: Mutex::new(None), database, folder, thread };
        server.start_again().await?;
        Ok(Arc::new(server))
    }

    /// Starts it again on the same data, after [`stop`](Self::stop) or [`crash`](Self::crash). It listens on other ports
    /// than before.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        let text = self.options.configuration(self.folder.path(), &self.database.settings.url)?;
        self.start_with(&text).await
    }

    async fn start_with(&self, text: &str) -> anyhow::Result<()> {
        let assembly = self.options.assembly;
        let known: Vec<KnownModule> = (assembly.known)();
        let config = Config::from_text(text, &known).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the configuration is wrong:\n{}\n{text}", lines.join("\n"))
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&self.thread)
            .enable_all()
            .build()?;
        match runtime.spawn((assembly.start)(config)).await.context("the start has panicked")? {
            Ok(running) => {
                *self.live() = Some(Live { runtime, running });
                Ok(())
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the running server.
    fn look<T>(&self, at: impl FnOnce(&Live) -> T) -> T {
        at(self.live().as_ref().expect("the server runs"))
    }

    /// Has it read its certificates anew, as a SIGHUP does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn reload(&self) {
        self.look(|live| (live.running.reload)());
    }

    /// Stops it in good order: everyone is told, everything is stored.
    ///
    /// # Panics
    /// When it takes longer than 30 seconds.
    pub async fn stop(&self) {
        let live = self.live().take();
        if let Some(Live { runtime, running }) = live {
            let stopped = tokio::time::timeout(STOPPING, runtime.spawn((running.stop)())).await;
            drop(running.house);
            runtime.shutdown_background();
            stopped.expect("the server stops in time").expect("the server stops without a panic");
        }
    }

    /// Lets it die in the middle of whatever it does: nobody is told, nothing is stored any more.
    pub fn crash(&self) {
        if let Some(Live { runtime, .. }) = self.live().take() {
            runtime.shutdown_background();
        }
    }

    /// Works with the running server's house, on the server's own runtime: database connections belong to it.
    ///
    /// # Panics
    /// When the work does, or the server does not run.
    pub async fn with_house<F, T>(&self, work: impl FnOnce(Arc<House>) -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let task = self.look(|live| live.runtime.spawn(work(live.running.house.clone())));
        task.await.expect("the work in the house is done")
    }

    /// Makes an account.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn add_account(&self, host: &str, name: &str, password: &str) {
        logs::keep_secret(password);
        let (host, name, password) = (host.to_owned(), node(name), password.to_owned());
        let text = format!("{name}@{host}");
        let added = self.with_house(async move |house: Arc<House>| {
            let accounts = accounts(&house, &host)?;
            Ok::<_, anyhow::Error>(accounts.create(&name, &password).await?)
        });
        added.await.unwrap_or_else(|error| panic!("the account {text} cannot be made: {error:#}"));
    }

    /// Whether there is such an account.
    pub async fn has_account(&self, host: &str, name: &str) -> bool {
        let (host, name) = (host.to_owned(), node(name));
        let asked = self.with_house(async move |house: Arc<House>| {
            Ok::<_, anyhow::Error>(accounts(&house, &host)?.exists(&name).await?)
        });
        asked.await.unwrap_or_else(|error| panic!("the accounts cannot be asked: {error:#}"))
    }

    /// A test's view of the server: with names of its own, so that tests can share the server.
    pub fn scene(self: &Arc<Self>) -> Scene {
        Scene::new(self.clone())
    }

    /// The first host.
    pub fn host(&self) -> &str {
        &self.options.hosts[0]
    }

    /// All hosts.
    pub fn hosts(&self) -> &[String] {
        &self.options.hosts
    }

    /// Where it listens now.
    pub fn addresses(&self) -> Addresses {
        self.look(|live| live.running.addresses.clone())
    }

    /// The folder of its certificates.
    pub fn certificates(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// Its own folder, which is removed at the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of its database.
    pub fn database_url(&self) -> &str {
        &self.database.settings.url
    }

    /// The time its runtime's threads have spent on a processor since they were started.
    pub fn processor_time(&self) -> Duration {
        crate::process::processor_time_of(&self.thread)
    }
}

fn node(name: &str) -> NodePart {
    NodePart::new(name).unwrap_or_else(|error| panic!("{name:?} is no name of an account: {error}")).into_owned()
}

fn accounts(house: &House, host: &str) -> anyhow::Result<Arc<dyn Accounts>> {
    let domain = DomainPart::new(host)?;
    let host = house.host(&domain).context("there is no such host")?;
    host.contracts().accounts().cloned().context("no module keeps accounts")
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let live = self.live.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Live { runtime, running }) = live else { return };
        // A runtime must not be waited for inside another; a thread may.
        let stopping = std::thread::spawn(move || {
            let stop = (running.stop)();
            runtime.block_on(async { tokio::time::timeout(STOPPING, stop).await.is_ok() });
            drop(running.house);
            runtime.shutdown_timeout(Duration::from_secs(1));
        });
        let _ = stopping.join();
        // Security row S38, for the whole run of whatever is tested.
        let leaks = logs::leaks();
        if !std::thread::panicking() {
            assert!(leaks.is_empty(), "the log shows what is secret:\n{}", leaks.concat());
        }
    }
}
