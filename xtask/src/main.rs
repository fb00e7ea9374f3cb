//! The workshop: what is generated, is generated here, and what is stale is found here.

mod doap;
mod module_table;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use waxwing::assembly::{MODULES, known_modules};
use waxwing_core::config::reference::reference;

/// Generates the files that would drift from the program.
#[derive(Parser)]
#[command(name = "xtask", after_help = "Example:\n  cargo run -p xtask -- all --check")]
struct Arguments {
    /// What to generate
    what: What,
    /// Write nothing, and fail when a file is stale
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// conf/reference.toml: every setting with its meaning and its default
    Reference,
    /// waxwing.doap: what this server is and which specifications it carries (XEP-0453)
    Doap,
    /// docs/modules.md: every module, what it does and where it stands
    Modules,
    /// All of them
    All,
}

/// A generated file.
struct Generated {
    what: What,
    /// Where it stands, from the top of the repository.
    name: &'static str,
    make: fn() -> String,
}

const FILES: [Generated; 3] = [
    Generated { what: What::Reference, name: "conf/reference.toml", make: || reference(&known_modules()) },
    Generated { what: What::Doap, name: "waxwing.doap", make: || doap::doap(MODULES) },
    Generated { what: What::Modules, name: "docs/modules.md", make: || module_table::module_table(MODULES) },
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    for Generated { what, name, make } in FILES {
        if arguments.what == What::All || arguments.what == what {
            let text = make();
            match arguments.check {
                true => check(name, &text)?,
                false => std::fs::write(path_of(name), text).with_context(|| format!("cannot write {name}"))?,
            }
        }
    }
    Ok(())
}

/// Compares a generated file with what stands there.
fn check(name: &str, text: &str) -> anyhow::Result<()> {
    let present = std::fs::read_to_string(path_of(name)).unwrap_or_default();
    if present == text {
        return Ok(());
    }
    let line = present.lines().zip(text.lines()).take_while(|(old, new)| old == new).count() + 1;
    bail!("{name} is stale from line {line} on, run `cargo run -p xtask -- all`");
}

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[cfg(test)]
mod tests {
    use waxwing_core::config::reference::keys_without_words;
    use waxwing_core::config::{Config, Limits};

    use super::*;

    #[test]
    fn every_generated_file_is_fresh() {
        let checks = FILES.iter().map(|file| check(file.name, &(file.make)()));
        let stale: Vec<String> = checks.filter_map(Result::err).map(|error| error.to_string()).collect();
        assert!(stale.is_empty(), "{stale:#?}");
    }

    #[test]
    fn the_reference_changes_nothing_and_misses_nothing() {
        let known = known_modules();
        let config = Config::from_text(&reference(&known), &known).unwrap_or_else(|errors| panic!("{errors:#?}"));
        assert_eq!(config.limits, Limits::default());
        for module in &known {
            assert_eq!(config.module_enabled("localhost", module.name), Some(module.enabled), "{}", module.name);
            let description = (module.settings)();
            assert_eq!(keys_without_words(&description.schema), [""; 0], "{}", module.name);
        }
    }

    #[test]
    fn the_configuration_we_ship_is_good_and_safe() {
        let known = known_modules();
        let loaded = Config::load(Some(&path_of("conf/waxwing.toml")), [], &known)
            .unwrap_or_else(|errors| panic!("{errors:#?}"));
        let (config, default) = (loaded.config, Config::default());
        assert_eq!((config.listen, config.tls, config.limits), (default.listen, default.tls, default.limits));
        assert_eq!((config.storage, config.auth, config.log), (default.storage, default.auth, default.log));
    }
}
