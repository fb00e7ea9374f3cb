//! Waxwing, an XMPP server: reads arguments and configuration, puts the house together, runs until told to stop.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use waxwing::assembly::{MODULES, known_modules};
use waxwing::command_line::{self, Command, CommandLine, Style};
use waxwing::doctor;
use waxwing::server::{Server, run_user_command};
use waxwing::start_up;
use waxwing_core::config::{Config, Loaded};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let style = Style::of(&std::io::stderr());
    match run(&line, style) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", style.error(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(line: &CommandLine, style: Style) -> anyhow::Result<ExitCode> {
    let known = known_modules();
    let mut out = std::io::stdout().lock();
    match line.command() {
        Command::Modules => {
            out.write_all(start_up::stage_table(MODULES).as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Reference => {
            command_line::print_reference(&known, &mut out)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Check => {
            return match command_line::check(line, &known, &mut out) {
                Ok(written) => written.map(|()| ExitCode::SUCCESS).map_err(Into::into),
                Err(errors) => {
                    eprint!("{}", style.configuration_errors(&errors));
                    Ok(ExitCode::FAILURE)
                }
            };
        }
        Command::Doctor(arguments) => {
            return Ok(match threads()?.block_on(doctor::run(arguments, &mut out)) {
                Ok(code) => code.into(),
                Err(error) => {
                    eprint!("{}", style.error(&error));
                    doctor::NOT_EXAMINED.into()
                }
            });
        }
        Command::Serve | Command::User(_) => {}
    }
    let loaded = match line.load(&known) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprint!("{}", style.configuration_errors(&errors));
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &loaded.warnings {
        eprint!("{}", style.warning(warning));
    }
    let runtime = threads()?;
    if let Command::User(arguments) = line.command() {
        start_up::log_to_stderr(&loaded.config.log, true)?;
        for text in runtime.block_on(run_user_command(loaded.config, arguments.resolve()?))? {
            writeln!(out, "{text}")?;
        }
    } else {
        start_up::log_to_stderr(&loaded.config.log, false)?;
        drop(out);
        runtime.block_on(serve(line, loaded))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn threads() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")
}

async fn serve(line: &CommandLine, loaded: Loaded) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let banner_source = command_line::describe_source(&loaded);
    let server = Server::start(loaded.config).await?;
    let banner = start_up::banner(&server, &banner_source);
    std::io::stdout().lock().write_all(banner.as_bytes())?;
    loop {
        tokio::select! {
            () = received(&mut interrupt) => break,
            () = received(&mut terminate) => break,
            () = received(&mut hang_up) => reload(line, &server),
        }
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// SIGHUP: the configuration and the certificates are read anew. What is wrong is said, and the old ones stay.
fn reload(line: &CommandLine, server: &Server) {
    match line.load(&known_modules()) {
        Ok(Loaded { config, warnings, .. }) => {
            for warning in warnings {
                tracing::warn!(%warning, "reload");
            }
            server.reload(Config::clone(&config));
            tracing::info!("configuration and certificates are read anew");
        }
        Err(errors) => {
            for error in errors {
                tracing::error!(%error, "reload");
            }
        }
    }
}
