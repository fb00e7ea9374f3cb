//! A play: a server, its database, many clients under load, and the oracle at the end of each act.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::archive;
use crate::arguments::Arguments;
use crate::database::{Cluster, Engine};
use crate::diary::{self, Diary, Synchroniser};
use crate::oracle::{self, Verdict};
use crate::person::{Order, Person, Role, Stage, State, name_of};
use crate::process::until;
use crate::program::{HOST, Program, Settings};
use crate::wire::Wire;

/// How many accounts are made at a time.
const REGISTRATIONS: usize = 8;

/// How many orders a client may have before it.
const ORDERS: usize = 16;

/// How long a play waits until everything has an outcome and was shown.
const SETTLING: Duration = Duration::from_secs(60);

/// What a play needs to begin.
pub struct Scenery<'a> {
    /// What was asked for.
    pub arguments: &'a Arguments,
    /// The database.
    pub engine: Engine,
    /// The PostgreSQL, where that is the engine.
    pub cluster: Option<&'a Cluster>,
    /// Where the data are, if not where they usually are.
    pub url: Option<String>,
    /// The name of the row.
    pub row: &'static str,
    /// How many clients.
    pub clients: usize,
    /// What is added to the server's configuration.
    pub settings: Settings,
    /// Variables of the server's environment.
    pub environment: Vec<(String, String)>,
}

/// A client as the director sees it.
pub struct Actor {
    /// What may be known of it.
    pub state: Arc<State>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Actor {
    /// Says something to it.
    pub fn order(&self, order: Order) {
        assert!(self.orders.try_send(order).is_ok(), "a client has not obeyed its last orders");
    }
}

/// A play.
pub struct Play {
    /// The server.
    pub program: Program,
    /// The clients.
    pub actors: Vec<Actor>,
    stage: watch::Sender<Stage>,
    url: String,
    folder: TempDir,
    pace: Duration,
    keep: Option<PathBuf>,
    /// What was missing at the end of an earlier act: it is not waited for again.
    missing: std::collections::HashSet<String>,
}

impl Play {
    /// Starts a server with an empty database and brings all clients online.
    ///
    /// # Errors
    /// What cannot be had.
    pub async fn begin(scenery: Scenery<'_>) -> anyhow::Result<Play> {
        let Scenery { arguments, engine, cluster, url, row, clients, settings, environment } = scenery;
        let folder = tempfile::Builder::new().prefix("waxwing-faults-").tempdir()?;
        let url = match (engine, cluster) {
            _ if url.is_some() => url.unwrap_or_default(),
            (Engine::Sqlite, _) => format!("sqlite:{}", folder.path().join("waxwing.db").display()),
            (Engine::Postgres, Some(cluster)) => cluster.new_database().await?,
            (Engine::Postgres, None) => bail!("there is no PostgreSQL"),
        };
        let mut program = Program::new(&arguments.server, folder.path(), &url, settings)?;
        for (name, value) in &environment {
            program.set(name, value);
        }
        program.start().await?;
        let address = program.address();
        register(address, clients).await?;

        let stage = Stage { host: HOST.to_owned(), address, pace: None, jitter: arguments.jitter() };
        let (stage, _) = watch::channel(stage);
        let synchroniser = Synchroniser::start();
        let mut actors = Vec::new();
        for number in 0..clients {
            let (orders, receiver) = mpsc::channel(ORDERS);
            let state = Arc::new(State::default());
            let diary = Diary::begin(&diary_of(folder.path(), number), &synchroniser)?;
            let role = Role { number, neighbours: neighbours(number, clients), seed: arguments.seed() };
            let person = Person::new(role, stage.subscribe(), receiver, state.clone(), diary);
            actors.push(Actor { state, orders, task: tokio::spawn(person.live()) });
        }
        let pace = Duration::from_secs_f64(clients as f64 / arguments.rate());
        let keep = arguments.keep.as_ref().map(|keep| keep.join(format!("{row}-{engine}")));
        let play = Play { program, actors, stage, url, folder, pace, keep, missing: Default::default() };
        play.all_online(Duration::from_secs(120)).await?;
        Ok(play)
    }

    /// Where the files of the play are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everybody writes to others from now on.
    pub fn speak(&self) {
        self.stage.send_modify(|stage| stage.pace = Some(self.pace));
    }

    /// Nobody writes anything new from now on.
    pub fn be_quiet(&self) {
        self.stage.send_modify(|stage| stage.pace = None);
    }

    /// The sum of something over all clients.
    pub fn sum(&self, of: impl Fn(&State) -> usize) -> usize {
        self.actors.iter().map(|actor| of(&actor.state)).sum()
    }

    /// The largest of something over all clients, which is set back to 0.
    pub fn slowest(&self, of: impl Fn(&State) -> &std::sync::atomic::AtomicU64) -> Duration {
        let all = self.actors.iter().map(|actor| of(&actor.state).swap(0, Ordering::Relaxed));
        Duration::from_micros(all.max().unwrap_or(0))
    }

    /// How many clients are online.
    pub fn online(&self) -> usize {
        self.sum(|state| usize::from(state.online.load(Ordering::Relaxed)))
    }

    /// Waits until all clients are online.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn all_online(&self, patience: Duration) -> anyhow::Result<Duration> {
        let all = self.actors.len();
        until("everybody is online", patience, || self.online() == all)
            .await
            .with_context(|| format!("{} of {all} are online", self.online()))
    }

    /// Ends an act: nobody says anything new, and everything that was said must come to its end. Then the oracle speaks.
    ///
    /// # Errors
    /// When the database or a diary cannot be read.
    pub async fn judge(&mut self) -> anyhow::Result<Verdict> {
        self.be_quiet();
        let began = Instant::now();
        loop {
            let unsettled = self.sum(|state| state.unsettled.load(Ordering::Relaxed));
            let is_over = unsettled == 0 && self.online() == self.actors.len();
            if is_over || began.elapsed() > SETTLING {
                let mut verdict = self.look().await?;
                verdict.open.retain(|what| !self.missing.contains(what));
                if verdict.open.is_empty() && is_over {
                    return Ok(verdict);
                }
                if began.elapsed() > SETTLING {
                    let online = self.online();
                    if online < self.actors.len() {
                        verdict.open.push(format!("only {online} of {} are online", self.actors.len()));
                    }
                    self.missing.extend(verdict.open.iter().cloned());
                    let missing = verdict.open.drain(..).map(|text| format!("after {SETTLING:?}: {text}"));
                    verdict.broken.extend(missing);
                    return Ok(verdict);
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn look(&self) -> anyhow::Result<Verdict> {
        let rows = archive::rows(&self.url).await?;
        // After the rows: what is shown later is stored already, what is stored later is shown later.
        let diaries: anyhow::Result<Vec<_>> =
            (0..self.actors.len()).map(|number| diary::read(&diary_of(self.folder(), number))).collect();
        Ok(oracle::judge(&diaries?, &rows))
    }

    /// The end of the play. What it has left behind is kept where the operator wants it, if something was broken.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn end(mut self, good: bool) -> anyhow::Result<()> {
        for actor in &self.actors {
            actor.task.abort();
        }
        self.program.kill().await;
        let Some(place) = self.keep.filter(|_| !good) else { return Ok(()) };
        std::fs::create_dir_all(&place)?;
        for file in std::fs::read_dir(self.folder.path())?.flatten() {
            if file.file_type()?.is_file() {
                std::fs::copy(file.path(), place.join(file.file_name()))?;
            }
        }
        Ok(())
    }
}

fn diary_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{}.diary", name_of(number)))
}

/// To whom a client writes: to the next ones in a ring, so that every client also reads.
fn neighbours(number: usize, clients: usize) -> Vec<usize> {
    let mut list: Vec<usize> = [1, 2, 3].iter().map(|step| (number + step) % clients).collect();
    list.sort_unstable();
    list.dedup();
    list.retain(|other| *other != number);
    list
}

/// Makes the accounts.
async fn register(address: std::net::SocketAddr, clients: usize) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..REGISTRATIONS {
        tasks.spawn(async move {
            for number in (first..clients).step_by(REGISTRATIONS) {
                let mut wire = Wire::connect(address, false).await.map_err(|gone| anyhow::anyhow!("{gone}"))?;
                let name = name_of(number);
                wire.register(HOST, &name).await.map_err(|gone| anyhow::anyhow!("{name} has no account: {gone}"))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
