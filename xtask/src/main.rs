//! The workshop: what is generated, is generated here, and what is stale is found here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

/// Generates the files that would drift from the program.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes conf/reference.toml: every setting with its doc comment and default
    Reference {
        /// Write nothing, and fail when the file is stale
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Reference { check } => generate("conf/reference.toml", &ask_the_program("reference")?, check),
    }
}

/// What a subcommand of the program prints. Only the program knows its modules, so it is asked rather than imitated.
fn ask_the_program(subcommand: &str) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--package", "waxwing", "--", subcommand])
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`waxwing {subcommand}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`waxwing {subcommand}` printed something that is not UTF-8"))
}

/// Writes a generated file, or compares it with what stands there.
fn generate(name: &str, text: &str, check: bool) -> anyhow::Result<()> {
    let path = root().join(name);
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present == text {
        return Ok(());
    }
    if check {
        let line = present
            .lines()
            .zip(text.lines())
            .take_while(|(old, new)| old == new)
            .count()
            + 1;
        bail!(
            "{name} is stale from line {line} on, run `cargo run -p xtask -- {}`",
            name_of_task(name)
        );
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {name}"))
}

/// `conf/reference.toml` is written by the task `reference`.
fn name_of_task(name: &str) -> &str {
    Path::new(name)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or(name)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
