//! The program itself under test, in a process of its own: its memory and processor time are nobody else's, and all it
//! writes to its log can be read.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use waxwing::assembly::{MODULES, known_modules};
use waxwing_core::config::Config;
use waxwing_core::house::House;
use waxwing_testkit::{Addresses, Assembly, Running, TestOptions, TestServer};

/// A server of one's own begins with these. The test process has a house on the same database, to make accounts; streams
/// are served by the program.
pub fn options() -> TestOptions {
    TestOptions::new(PROGRAM)
}

const PROGRAM: Assembly = Assembly { known: known_modules, start: |config| Box::pin(start(config)) };

async fn start(config: Config) -> anyhow::Result<Running> {
    let folder = config.tls.certificates.parent().context("the certificates are in the server's folder")?.to_owned();
    let house = House::assemble(Arc::new(config.clone()), MODULES).await?;
    let file = folder.join("program.toml");
    std::fs::write(&file, written(&config)?)?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_waxwing"))
        .args(["serve".as_ref(), "--config".as_ref(), file.as_os_str()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(log_file(&folder))?)
        .kill_on_drop(true)
        .spawn()?;
    let addresses = addresses(&mut child).await;
    let addresses = addresses.with_context(|| std::fs::read_to_string(log_file(&folder)).unwrap_or_default())?;
    let id = child.id().unwrap_or_default().to_string();
    std::fs::write(folder.join("program.pid"), &id)?;
    let at_stop = house.clone();
    let stop = Box::new(move || -> waxwing_testkit::Boxed<()> {
        Box::pin(async move {
            end(child).await;
            at_stop.shut_down(Duration::from_secs(1)).await;
        })
    });
    let reload = Box::new(move || {
        let told = std::process::Command::new("kill").args(["-HUP", &id]).status();
        assert!(told.is_ok_and(|status| status.success()), "the program cannot be told");
    });
    Ok(Running { house, addresses, reload, stop })
}

/// Asks the program to stop, as a service manager does.
async fn end(mut child: Child) {
    if let Some(id) = child.id() {
        let asked = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
        assert!(asked.is_ok_and(|status| status.success()), "the program cannot be asked to stop");
    }
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
    let status = ended.expect("the program stops in time").expect("the program is ours");
    assert!(status.success(), "the program has ended with {status}");
}

/// What the program tells the operator at its start.
async fn addresses(child: &mut Child) -> anyhow::Result<Addresses> {
    let mut lines = BufReader::new(child.stdout.take().context("the program has an output")?).lines();
    let mut addresses = Addresses::default();
    while let Some(line) = lines.next_line().await? {
        let Some((title, list)) = line.split_once(": ") else { continue };
        let bare = |text: &str| text.rsplit("//").next().unwrap_or_default().parse();
        let list = || list.split(", ").map(bare).collect::<Result<Vec<_>, _>>();
        match title.trim() {
            "clients, STARTTLS" => addresses.c2s = list()?,
            "clients, direct TLS" => addresses.c2s_tls = list()?,
            "web" => addresses.http = list()?,
            "web, TLS" => addresses.https = list()?,
            "health and figures" => addresses.health = list()?,
            "make an account" => return Ok(addresses),
            _ => {}
        }
    }
    anyhow::bail!("the program has ended before it listened")
}

/// The configuration as a file.
fn written(config: &Config) -> anyhow::Result<String> {
    let mut table = toml::Table::new();
    let mut put = |name: &str, section: toml::Table| table.insert(name.to_owned(), section.into());
    put("listen", toml::Table::try_from(&config.listen)?);
    put("http", toml::Table::try_from(&config.http)?);
    put("storage", toml::Table::try_from(&config.storage)?);
    put("tls", toml::Table::try_from(&config.tls)?);
    put("limits", toml::Table::try_from(&config.limits)?);
    put("auth", toml::Table::try_from(&config.auth)?);
    put("log", toml::Table::try_from(&config.log)?);
    let mut modules = toml::Table::new();
    for plan in MODULES {
        let settings: toml::Table =
            config.module("", plan.manifest.name).map_err(|error| anyhow::anyhow!("{error}"))?;
        if !settings.is_empty() {
            modules.insert(plan.manifest.name.to_owned(), settings.into());
        }
    }
    put("modules", modules);
    let hosts = config.hosts.iter().map(|host| toml::Value::Table(toml::toml! { name = (host.name.as_str()) }));
    let hosts: Vec<toml::Value> = hosts.collect();
    table.insert("hosts".to_owned(), hosts.into());
    Ok(table.to_string())
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("program.log")
}

/// Everything the program has logged so far.
pub fn log(server: &TestServer) -> String {
    std::fs::read_to_string(log_file(server.folder())).expect("the program has a log")
}

/// The program's process.
pub struct Process(PathBuf);

impl Process {
    /// The process of a server that was started with [`options`].
    pub fn of(server: &TestServer) -> Process {
        let id = std::fs::read_to_string(server.folder().join("program.pid")).expect("the program runs");
        Process(Path::new("/proc").join(id))
    }

    /// The memory it uses now, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(self.0.join("status")).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells it");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// The time its threads have spent on a processor.
    pub fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(self.0.join("task")).expect("the program runs");
        let times = tasks.flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }
}
