//! A PostgreSQL of one's own: with every safety of a real one, and killed, stopped and started at will.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::process;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A PostgreSQL that the suite starts.
    Postgres,
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgres",
        })
    }
}

/// A PostgreSQL.
pub struct Cluster {
    programs: PathBuf,
    folder: Place,
    port: u16,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
    /// The name it runs under, when this process is root: PostgreSQL refuses to be.
    user: Option<String>,
}

enum Place {
    Own(TempDir),
    Given(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Place::Own(folder) => folder.path(),
            Place::Given(folder) => folder,
        }
    }
}

impl Cluster {
    /// Makes a cluster with the programs in this folder and starts it.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub async fn start(programs: &Path) -> anyhow::Result<Cluster> {
        let folder = tempfile::Builder::new().prefix("waxwing-faults-postgres-").tempdir()?;
        Cluster::make(programs, Place::Own(folder)).await
    }

    /// Makes a cluster whose files are in this folder, which exists.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub async fn start_in(programs: &Path, folder: &Path) -> anyhow::Result<Cluster> {
        Cluster::make(programs, Place::Given(folder.to_owned())).await
    }

    async fn make(programs: &Path, folder: Place) -> anyhow::Result<Cluster> {
        let is_root = run(Command::new("id").arg("-u")).await?.trim() == "0";
        let user = is_root.then(|| "postgres".to_owned());
        if let Some(user) = &user {
            run(Command::new("chown").arg(user).arg(folder.path())).await?;
        }
        let port = process::free_port()?;
        let programs = programs.to_owned();
        let cluster = Cluster { programs, folder, port, child: Mutex::new(None), databases: AtomicU32::new(0), user };
        let data = cluster.data();
        let mut command = cluster.command("initdb");
        command.arg("-D").arg(&data).args(["-U", "waxwing", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        command.arg("--no-sync");
        run(&mut command).await?;
        cluster.launch().await?;
        Ok(cluster)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs, run by whom it lets run it.
    fn command(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder.path());
        command
    }

    /// Starts it and waits until it answers; how long that took.
    ///
    /// # Errors
    /// With its log, when it does not.
    pub async fn launch(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let log_file = self.folder.path().join("postgres.log");
        let log = File::options().create(true).append(true).open(&log_file)?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=60",
            // As in production: what is committed is on the disc.
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            "max_wal_size=64MB",
            "min_wal_size=32MB",
        ] {
            command.args(["-c", setting]);
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).spawn()?;
        let number = child.id().unwrap_or_default();
        *self.child.lock().await = Some(child);
        loop {
            if self.query("SELECT 1").await.is_ok() {
                return Ok(began.elapsed());
            }
            if began.elapsed() > Duration::from_secs(60) || !process::is_alive(number) {
                let text = std::fs::read_to_string(&log_file).unwrap_or_default();
                let end: Vec<&str> = text.lines().rev().take(10).collect();
                bail!("PostgreSQL does not answer:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://waxwing@127.0.0.1:{}/{database}", self.port)
    }

    async fn query(&self, sql: &str) -> anyhow::Result<String> {
        let url = self.url("postgres");
        run(Command::new(self.programs.join("psql")).args(["-qXAt", "-d", &url, "-c", sql])).await
    }

    /// An empty database.
    ///
    /// # Errors
    /// When PostgreSQL makes none.
    pub async fn new_database(&self) -> anyhow::Result<String> {
        let name = format!("play{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let url = self.url("postgres");
        run(Command::new(self.programs.join("createdb")).args(["--maintenance-db", &url, &name])).await?;
        Ok(self.url(&name))
    }

    /// The number of its first process.
    pub async fn postmaster(&self) -> u32 {
        self.child.lock().await.as_ref().and_then(Child::id).unwrap_or(0)
    }

    /// Whether it runs.
    pub async fn is_alive(&self) -> bool {
        process::is_alive(self.postmaster().await)
    }

    /// Those processes that serve connections.
    pub async fn backends(&self) -> Vec<u32> {
        let all = process::descendants(self.postmaster().await);
        let serves = |process: &u32| {
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("127.0.0.1(")
        };
        all.into_iter().filter(serves).collect()
    }

    /// All its processes.
    pub async fn processes(&self) -> Vec<u32> {
        let first = self.postmaster().await;
        std::iter::once(first).chain(process::descendants(first)).filter(|process| *process != 0).collect()
    }

    /// Kills its first process; the others notice and end.
    ///
    /// # Errors
    /// When they do not.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let others = process::descendants(self.postmaster().await);
        if let Some(mut child) = self.child.lock().await.take() {
            child.kill().await?;
        }
        let gone = || others.iter().all(|process| !process::is_alive(*process));
        process::until("PostgreSQL's processes have ended", Duration::from_secs(20), gone).await?;
        Ok(())
    }

    /// Ends it.
    pub async fn stop(self) {
        if let Some(mut child) = self.child.lock().await.take() {
            process::signal("-CONT", &[child.id().unwrap_or_default()]).await;
            process::signal("-INT", &[child.id().unwrap_or_default()]).await;
            let _ = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
        }
    }
}

/// Runs a program to its end and gives its output.
///
/// # Errors
/// With what it has complained of.
pub async fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("{command:?} cannot be run"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
