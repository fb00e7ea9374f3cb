//! What a person sees at the start: the log's shape, a few lines of where everything is, and the stage table.

use std::fmt::Write as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use waxwing_core::config::{Log, LogFormat};
use waxwing_core::module::Plan;
use waxwing_core::stages::Stage;
use waxwing_streams::Service;

use crate::server::Server;

/// Sends the log to standard error. `quiet`: only warnings, for commands that answer and end.
///
/// # Errors
/// When the filter cannot be read.
pub fn log_to_stderr(log: &Log, quiet: bool) -> anyhow::Result<()> {
    let words = if quiet { "warn" } else { log.filter.as_str() };
    let filter = EnvFilter::try_new(words).with_context(|| format!("log.filter cannot be read: {words}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match log.format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_target(false).with_ansi(is_terminal).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("the log cannot be set up: {error}"))
}

/// The lines that greet the operator.
pub fn banner(server: &Server, configuration: &str) -> String {
    let config = server.house().config();
    let hosts: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
    let mut text = format!("Waxwing {} serves {}\n", env!("CARGO_PKG_VERSION"), hosts.join(", "));
    let _ = writeln!(text, "  {configuration}");
    let titles = [
        (Service::Clients, "clients, STARTTLS", ""),
        (Service::ClientsTls, "clients, direct TLS", ""),
        (Service::Servers, "servers, STARTTLS", ""),
        (Service::ServersTls, "servers, direct TLS", ""),
        (Service::AllTls, "clients and web, TLS", ""),
        (Service::Web, "web", "http://"),
        (Service::WebTls, "web, TLS", "https://"),
        (Service::Health, "health and figures", "http://"),
    ];
    for (service, title, scheme) in titles {
        let addresses: Vec<String> = server
            .addresses()
            .iter()
            .filter(|(of, _)| *of == service)
            .map(|(_, address)| format!("{scheme}{address}"))
            .collect();
        if !addresses.is_empty() {
            let _ = writeln!(text, "  {title}: {}", addresses.join(", "));
        }
    }
    let _ = writeln!(text, "  data: {}", config.storage.redacted_url());
    let _ = writeln!(text, "  certificates: {}", config.tls.certificates.display());
    let host = hosts.first().copied().unwrap_or("localhost");
    let _ = writeln!(text, "  make an account: waxwing user add NAME@{host}    stop: Ctrl-C");
    text
}

/// The modules and the stages they stand at, for `waxwing modules`.
pub fn stage_table(plans: &[Plan]) -> String {
    let mut text = String::from("Modules, in their order\n\n");
    let width = plans.iter().map(|plan| plan.manifest.name.len()).max().unwrap_or(0);
    for Plan { manifest, .. } in plans {
        let xeps: Vec<String> = manifest
            .xeps
            .iter()
            .map(|xep| format!("{:04}{}", xep.number, if xep.complete { "" } else { " (part)" }))
            .collect();
        let off = if manifest.on_by_default { "" } else { " [off]" };
        let _ = writeln!(text, "  {:width$}  {}{off}", manifest.name, manifest.summary);
        if !xeps.is_empty() {
            let _ = writeln!(text, "  {:width$}  XEP {}", "", xeps.join(", "));
        }
    }
    text.push_str("\nThe way of a stanza\n\n");
    for stage in Stage::ALL {
        let core = matches!(stage, Stage::Stamp | Stage::Choose).then_some("core");
        let modules = plans
            .iter()
            .filter(|plan| plan.manifest.stages.iter().any(|standing| standing.stage == stage))
            .map(|plan| plan.manifest.name);
        let standing: Vec<&str> = core.into_iter().chain(modules).collect();
        let name = format!("{stage:?}");
        let _ = writeln!(text, "  {name:16} {:38} {}", stage.question(), standing.join(" · "));
    }
    text
}
