//! What the operator decides: the configuration file and the environment, read into one plain, immutable snapshot.
//!
//! Every error is found in one go and names its file, line and key. A key is looked for in the environment first, then
//! in the file; what neither says has the default of the security list, so an empty file is a safe configuration.

mod checks;
mod describe;
mod environment;
mod error;
mod modules;
mod reading;
pub mod reference;
pub mod secret;
mod sections;
#[cfg(test)]
mod tests;
mod tree;
pub mod units;
mod web;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jid::{BareJid, DomainPart};
use serde::de::DeserializeOwned;

pub use crate::limits::Limits;
pub use describe::{KnownModule, NoSettings, SettingsDescription};
pub use environment::process_environment;
pub use error::{ConfigError, Origin};
pub use secret::Secret;
pub use sections::{Auth, Listen, Log, LogFormat, MECHANISMS, Tls};
pub use units::{ByteRate, ByteSize, Count, Period, Rate};
pub use waxwing_storage::Settings as Storage;
pub use web::{ForwardedHeader, Networks, Web};

use modules::{ModuleTable, ModuleTables};
use tree::{Step, Table};

/// A configuration file is never larger than this, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Everything that may stand at the beginning of a key.
const SECTIONS: [&str; 9] = ["hosts", "listen", "http", "storage", "tls", "limits", "auth", "log", "modules"];

/// Everything the operator decided, checked and complete. Shared as `Arc<Config>` and replaced whole on a reload.
#[derive(Debug, Clone)]
pub struct Config {
    /// The domains this server speaks for, in the order of the file; never empty, no name twice.
    pub hosts: Vec<HostConfig>,
    /// Where it listens.
    pub listen: Listen,
    /// What the web listeners do.
    pub http: Web,
    /// Where it keeps what must last.
    pub storage: Storage,
    /// Certificates and versions of TLS.
    pub tls: Tls,
    /// What a peer may cost.
    pub limits: Limits,
    /// How clients prove who they are.
    pub auth: Auth,
    /// What is written to the log.
    pub log: Log,
    /// `[modules]`, for every host.
    modules: ModuleTables,
}

/// One domain this server speaks for.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Its name, prepared and normalised as the domain of a JID.
    pub name: DomainPart,
    /// Who may run its commands, by bare JID; nobody when the operator has named none.
    pub operators: Vec<BareJid>,
    /// `[modules]` with this host's own `[hosts.modules]` laid over it; only the modules named there.
    modules: ModuleTables,
}

/// A configuration and what is to be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file it was read from; none when the defaults and the environment were all there was.
    pub file: Option<PathBuf>,
    /// What is no error and still probably not meant; each one line.
    pub warnings: Vec<String>,
}

impl Default for Config {
    /// The configuration of an empty file.
    fn default() -> Self {
        Self {
            hosts: default_hosts(),
            listen: Listen::default(),
            http: Web::default(),
            storage: Storage::default(),
            tls: Tls::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            log: Log::default(),
            modules: BTreeMap::new(),
        }
    }
}

fn default_hosts() -> Vec<HostConfig> {
    let localhost = DomainPart::new("localhost").map(std::borrow::Cow::into_owned);
    localhost.into_iter().map(|name| HostConfig { name, operators: Vec::new(), modules: BTreeMap::new() }).collect()
}

impl Config {
    /// Reads the configuration: the file, if there is one, and over it the environment. `known` are the modules that may
    /// be configured; the core knows none by name.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        known: &[KnownModule],
    ) -> Result<Loaded, Vec<ConfigError>> {
        let root = match file {
            Some(path) => tree::parse_document(&read_file(path)?, Some(path))?,
            None => Table::default(),
        };
        let (config, warnings) = Self::assemble(root, environment, known)?;
        Ok(Loaded { config, file: file.map(Path::to_owned), warnings })
    }

    /// Reads a configuration that a program wrote, such as a test.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn from_text(text: &str, known: &[KnownModule]) -> Result<Self, Vec<ConfigError>> {
        let root = tree::parse_document(text, None)?;
        Self::assemble(root, [], known).map(|(config, _)| config)
    }

    fn assemble(
        mut root: Table,
        environment: impl IntoIterator<Item = (String, String)>,
        known: &[KnownModule],
    ) -> Result<(Self, Vec<String>), Vec<ConfigError>> {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        environment::overlay(&mut root, environment, &SECTIONS, &mut errors, &mut warnings);
        checks::unknown_sections(&root, &mut errors);

        let mut reader = Sections { root: &mut root, errors: &mut errors };
        let (listen, storage, tls) = (reader.read("listen"), reader.read("storage"), reader.read("tls"));
        let (limits, auth, log) = (reader.read("limits"), reader.read("auth"), reader.read("log"));
        let http = reader.read("http");
        let modules = modules::read_common(root.get("modules"), known, &mut errors);
        let hosts = match root.get("hosts") {
            Some(node) => modules::read_hosts(node, &modules, known, &mut errors),
            None => default_hosts(),
        };

        let config = Self { hosts, listen, http, storage, tls, limits, auth, log, modules };
        checks::check(&config, &root, &mut errors);
        match errors.is_empty() {
            true => Ok((config, warnings)),
            false => {
                errors.sort_by(|one, other| one.origin.cmp(&other.origin));
                Err(errors)
            }
        }
    }

    /// The settings of a module for one host: `[modules.<name>]`, and over it, key by key, `[hosts.modules.<name>]`. A
    /// host that is not configured has the common settings.
    ///
    /// # Errors
    /// None for a module among those given to [`load`](Self::load), because its settings were read there already.
    pub fn module<T: DeserializeOwned + Default>(&self, host: &str, name: &str) -> Result<T, ConfigError> {
        let Some(table) = self.module_table(host, name) else {
            return Ok(T::default());
        };
        reading::read_settled(&table.node, &|path| format!("modules.{name}.{}", tree::written(path)))
    }

    /// Whether the operator wants a module on a host; none when the configuration does not say.
    pub fn module_enabled(&self, host: &str, name: &str) -> Option<bool> {
        self.module_table(host, name)?.enabled
    }

    /// The host of this name, which must be prepared already.
    pub fn host(&self, name: &str) -> Option<&HostConfig> {
        self.hosts.iter().find(|host| host.name.as_str() == name)
    }

    fn module_table(&self, host: &str, name: &str) -> Option<&ModuleTable> {
        self.host(host).and_then(|host| host.modules.get(name)).or_else(|| self.modules.get(name))
    }
}

/// Reads the sections that are plain structs.
struct Sections<'a> {
    root: &'a mut Table,
    errors: &'a mut Vec<ConfigError>,
}

impl Sections<'_> {
    fn read<T: DeserializeOwned + Default>(&mut self, section: &str) -> T {
        let Some(entry) = self.root.entries.iter_mut().find(|entry| entry.key == section) else {
            return T::default();
        };
        let name_of = |path: &[Step]| below(section, path);
        reading::settle(&mut entry.node, &name_of, self.errors).unwrap_or_default()
    }
}

/// The written name of what lies below a section.
fn below(section: &str, path: &[Step]) -> String {
    let mut whole = vec![Step::Key(section.to_owned())];
    whole.extend_from_slice(path);
    tree::written(&whole)
}

fn read_file(path: &Path) -> Result<String, Vec<ConfigError>> {
    let mut text = String::new();
    let result = std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text));
    let problem = match result {
        Ok(_) if text.len() as u64 <= LARGEST_FILE => return Ok(text),
        Ok(_) => format!("the file is larger than {LARGEST_FILE} bytes"),
        Err(error) => format!("cannot read the file: {error}"),
    };
    let origin = Origin::File { path: path.into(), line: 1, column: 1 };
    Err(vec![ConfigError { origin, key: String::new(), problem }])
}
