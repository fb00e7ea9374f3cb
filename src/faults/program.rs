//! The server under test, in a process of its own: started, killed, asked to stop.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use crate::process;

/// The host that is served.
pub const HOST: &str = "capulet.lit";

/// How long a server may take to listen for the first time, when it makes its tables.
const FIRST_START: Duration = Duration::from_secs(60);

/// The server under test.
pub struct Program {
    binary: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

/// What a row adds to the configuration.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// To the section `limits`.
    pub limits: &'static str,
    /// Sections of their own.
    pub sections: &'static str,
}

/// What one peer may cost is another suite's business: all load comes from one address.
const LIMITS: &str = r#"
[limits]
connections = "unlimited"
connections_burst = "unlimited"
connections_per_address = "unlimited"
unauthenticated_connections_per_address = "unlimited"
authentication_failures_per_address = "unlimited"
c2s_bytes = "unlimited"
c2s_bytes_burst = "unlimited"
c2s_stanzas = "unlimited"
c2s_stanzas_burst = "unlimited"
recipients = "unlimited"
presences = "unlimited"
"#;

const SECTIONS: &str = r#"
[auth]
scram_iterations = 4096
[log]
filter = "info"
[modules.register]
open = true
registrations = "unlimited"
"#;

impl Program {
    /// A server that keeps its data at this URL and everything else in this folder.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub fn new(binary: &Path, folder: &Path, url: &str, settings: Settings) -> anyhow::Result<Program> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()?));
        let certificates = folder.join("certs");
        std::fs::create_dir_all(&certificates)?;
        let text = format!(
            "[[hosts]]\nname = \"{HOST}\"\n[listen]\nc2s = [\"{address}\"]\nc2s_tls = []\n[storage]\nurl = \"{url}\"\n\
             [tls]\ncertificates = \"{}\"\nplaintext_on_loopback = true\n{LIMITS}{}{SECTIONS}{}",
            certificates.display(),
            settings.limits,
            settings.sections
        );
        std::fs::write(folder.join("waxwing.toml"), text)?;
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        Ok(Program { binary, folder, address, environment: Vec::new(), child: None })
    }

    /// Sets a variable of the environment for later starts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The memory it uses, in bytes.
    pub fn memory(&self) -> usize {
        self.child.as_ref().and_then(Child::id).map_or(0, process::memory)
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// With the end of its log, when it does not.
    pub async fn start(&mut self) -> anyhow::Result<Duration> {
        self.launch()?;
        self.listening().await
    }

    /// Starts it and waits for nothing.
    fn launch(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.join("server.log"))?;
        let child = Command::new(&self.binary)
            .args(["serve".as_ref(), "--config".as_ref(), self.folder.join("waxwing.toml").as_os_str()])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it listens.
    async fn listening(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        loop {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(began.elapsed());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || began.elapsed() > FIRST_START {
                let log = self.log();
                let end: Vec<&str> = log.lines().rev().take(15).collect();
                let end: Vec<&str> = end.into_iter().rev().collect();
                anyhow::bail!("the server does not listen (ended: {ended:?}):\n{}", end.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills it as a lack of memory would.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }

    /// Kills it and starts it at once, as a supervisor does; how long it was until it listened again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn kill_and_start(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.kill().await;
        self.start().await?;
        Ok(began.elapsed())
    }

    /// Asks it to stop; how long that took, and how it ended.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn stop(&mut self) -> anyhow::Result<(Duration, ExitStatus)> {
        let mut child = self.child.take().context("the server does not run")?;
        let began = Instant::now();
        process::signal("-TERM", &[child.id().unwrap_or_default()]).await;
        let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;
        let status = ended.context("the server does not stop")??;
        Ok((began.elapsed(), status))
    }
}
