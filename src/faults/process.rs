//! Processes: told by signals, by their numbers only.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// Sends a signal to processes; those that are gone do not matter.
pub async fn signal(signal: &str, processes: &[u32]) {
    let numbers = processes.iter().map(u32::to_string);
    let mut command = Command::new("kill");
    command.arg(signal).args(numbers).stderr(std::process::Stdio::null());
    let _ = command.status().await;
}

/// The processes that this one has started, and those that they have.
pub fn descendants(process: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children: Vec<u32> = list.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let further: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    children.into_iter().chain(further).collect()
}

/// Whether there is such a process, other than as a corpse.
pub fn is_alive(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The memory a process uses, in bytes.
pub fn memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok()).unwrap_or(0) * 1024
}

/// Waits until something holds.
///
/// # Errors
/// When it does not in time.
pub async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > patience {
            bail!("not within {patience:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(began.elapsed())
}

/// A port that is free now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
