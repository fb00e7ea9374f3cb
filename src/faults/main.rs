//! The fault suite: breaks a server, its database and its network under load, and checks with an oracle that nothing that
//! was acknowledged is lost and nothing is shown twice (docs/faults.md).
#![allow(clippy::print_stdout)]

mod archive;
mod arguments;
mod database;
mod diary;
mod dice;
mod message;
mod observer;
mod oracle;
mod person;
mod play;
mod process;
mod program;
mod race;
mod relay;
mod report;
mod rows;
mod volume;
mod wire;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::Arguments;
use database::{Cluster, Engine};
use report::Report;
use rows::Act;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime.context("no threads").and_then(|runtime| runtime.block_on(run(&arguments)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    println!(
        "fault suite: seed {}, {} repetitions, {} clients, {} messages/s",
        arguments.seed(),
        arguments.repetitions(),
        arguments.clients(),
        arguments.rate()
    );
    let mut reports = Vec::new();
    for engine in arguments.engines() {
        let cluster = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let programs = arguments.postgres.as_ref().context("where PostgreSQL's programs are is not known")?;
                Some(Cluster::start(programs).await?)
            }
        };
        for row in arguments.rows().into_iter().filter(|row| row.runs_on(engine)) {
            println!("{row} on {engine}: {}", row.what());
            let mut report = Report::new(row, engine, arguments.seed());
            let began = std::time::Instant::now();
            let act = Act { arguments, engine, cluster: cluster.as_ref(), row, report: &mut report };
            if let Err(error) = act.run().await {
                report.broken(format!("the row could not be run to its end: {error:#}"));
            }
            report.time("whole row", began.elapsed(), None);
            reports.push(report);
        }
        if let Some(cluster) = cluster {
            cluster.stop().await;
        }
    }
    println!();
    for report in &reports {
        println!("{}", report.line());
    }
    let good = reports.iter().filter(|report| report.is_good()).count();
    println!("{good} of {} rows hold", reports.len());
    Ok(good == reports.len() && good > 0)
}
