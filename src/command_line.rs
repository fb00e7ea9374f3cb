//! The command line: what may be asked of the program, and how it answers a person.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::config::reference::reference;
use waxwing_core::config::{Config, ConfigError, KnownModule, Loaded, Secret, process_environment};

use crate::doctor::{self, DoctorArguments};

/// Read when no file is named and it is there.
const DEFAULT_FILE: &str = "conf/waxwing.toml";

/// A password is never longer than this, in bytes; SASL refuses longer ones too.
const LONGEST_PASSWORD: u64 = 1023;

const EXAMPLES: &str = "\
Examples:
  waxwing                                     run with conf/waxwing.toml, or with safe defaults without it
  waxwing user add romeo@localhost            make an account; the password is asked for
  waxwing check --config /etc/waxwing.toml    find every mistake in a configuration
  waxwing reference                           print every setting with its default
  waxwing doctor example.org                  find out why others do not reach a domain, yours or theirs

Every setting can also be given by the environment: WAXWING_STORAGE__URL=sqlite:/srv/waxwing.db sets storage.url.";

/// An XMPP server: federated, durable, small.
#[derive(Debug, Parser)]
#[command(name = "waxwing", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct CommandLine {
    /// The configuration file. Without it conf/waxwing.toml below the current folder is read if it is there, and
    /// otherwise the defaults hold
    #[arg(long, short, global = true, value_name = "FILE", env = "WAXWING_CONFIG")]
    pub config: Option<PathBuf>,

    /// What to do; serve when left out
    #[command(subcommand)]
    command: Option<Command>,
}

/// What may be asked of the program.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the server until it is told to stop (Ctrl-C or SIGTERM); SIGHUP reloads certificates and configuration
    #[command(after_help = "Example:\n  waxwing serve --config /etc/waxwing.toml")]
    Serve,
    /// Read the configuration, say every mistake with its line and key, and start nothing
    #[command(
        after_help = "Example:\n  waxwing check && systemctl reload waxwing\n\nThe exit code is 1 when anything is wrong."
    )]
    Check,
    /// Look at a domain from outside, as clients and other servers do: its DNS, ports, certificates, streams and web. Says
    /// what is wrong, and the record or line that mends it
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArguments),
    /// Make, remove and list accounts; works while the server runs
    #[command(subcommand, after_help = "Example:\n  waxwing user add romeo@localhost")]
    User(UserArguments),
    /// Print the modules and the stages a stanza passes, in order
    #[command(after_help = "Example:\n  waxwing modules")]
    Modules,
    /// Print every setting with its meaning and its default, as a configuration file
    #[command(after_help = "Example:\n  waxwing reference | less")]
    Reference,
}

/// What may be done to accounts, as it was typed.
#[derive(Debug, Clone, Subcommand)]
pub enum UserArguments {
    /// Make an account
    #[command(after_help = "Examples:\n  waxwing user add romeo@localhost\n  \
                            pwgen 16 1 | waxwing user add juliet@localhost --password-stdin")]
    Add {
        /// Its address, such as romeo@example.org
        #[arg(value_name = "JID", value_parser = parse_account)]
        account: BareJid,
        /// Where its password comes from
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Remove an account and everything stored for it, at once and for good
    #[command(after_help = "Example:\n  waxwing user remove romeo@localhost")]
    Remove {
        /// Its address
        #[arg(value_name = "JID", value_parser = parse_account)]
        account: BareJid,
    },
    /// Give an account a new password
    #[command(after_help = "Example:\n  waxwing user password romeo@localhost")]
    Password {
        /// Its address
        #[arg(value_name = "JID", value_parser = parse_account)]
        account: BareJid,
        /// Where its password comes from
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// List the accounts, one a line
    #[command(after_help = "Examples:\n  waxwing user list\n  waxwing user list example.org")]
    List {
        /// Only those of this host
        #[arg(value_name = "HOST", value_parser = parse_host)]
        host: Option<DomainPart>,
    },
}

/// Where a password comes from: asked for when neither is given.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct PasswordArguments {
    /// Read the password from standard input, up to the end of the first line
    #[arg(long)]
    password_stdin: bool,
    /// The password itself. Other users of this machine can see it while the command runs, and your shell remembers it
    #[arg(long, value_name = "PASSWORD", value_parser = parse_secret, hide_env_values = true)]
    password: Option<Secret>,
}

/// What is to be done to accounts, with the password at hand.
#[derive(Debug, Clone, PartialEq)]
pub enum UserCommand {
    /// Make an account.
    Add {
        /// Its address, with a local part.
        account: BareJid,
        /// Its password, as typed: not yet prepared, checked against no rule but its length in bytes.
        password: Secret,
    },
    /// Remove an account and what belongs to it.
    Remove {
        /// Its address, with a local part.
        account: BareJid,
    },
    /// Replace a password.
    Password {
        /// Its address, with a local part.
        account: BareJid,
        /// The new password, as typed.
        password: Secret,
    },
    /// List the accounts of one host or of all.
    List {
        /// The host; none for all.
        host: Option<DomainPart>,
    },
}

impl CommandLine {
    /// What is to be done.
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// Reads the configuration: the file named here, else the usual one if it is there, else the defaults; over it the
    /// environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self, known: &[KnownModule]) -> Result<Loaded, Vec<ConfigError>> {
        let usual = Path::new(DEFAULT_FILE);
        let file = self.config.as_deref().or_else(|| usual.exists().then_some(usual));
        Config::load(file, process_environment(), known)
    }
}

impl UserArguments {
    /// Gets the password, if one is needed, from where the arguments say.
    ///
    /// # Errors
    /// When there is nobody to ask, the two answers differ, or the password is empty or endless.
    pub fn resolve(self) -> anyhow::Result<UserCommand> {
        Ok(match self {
            Self::Add { password, account } => {
                let password = password.obtain(&format!("password for {account}"))?;
                UserCommand::Add { account, password }
            }
            Self::Password { password, account } => {
                let password = password.obtain(&format!("new password for {account}"))?;
                UserCommand::Password { account, password }
            }
            Self::Remove { account } => UserCommand::Remove { account },
            Self::List { host } => UserCommand::List { host },
        })
    }
}

impl PasswordArguments {
    fn obtain(self, question: &str) -> anyhow::Result<Secret> {
        let password = match self {
            Self { password: Some(password), .. } => password,
            Self { password_stdin: true, .. } => first_line(io::stdin().lock())?,
            Self { .. } => ask_twice(question)?,
        };
        match password.expose().len() as u64 {
            0 => bail!("the password is empty"),
            length if length > LONGEST_PASSWORD => bail!("the password is longer than {LONGEST_PASSWORD} bytes"),
            _ => Ok(password),
        }
    }
}

fn ask_twice(question: &str) -> anyhow::Result<Secret> {
    let ask = |question: String| {
        rpassword::prompt_password(question)
            .map(Secret::new)
            .context("cannot ask for the password without a terminal, use --password-stdin")
    };
    let password = ask(format!("{question}: "))?;
    if password != ask("and once more: ".to_owned())? {
        bail!("the two passwords differ, nothing was changed");
    }
    Ok(password)
}

/// The first line of a stream, without its end.
fn first_line(stream: impl BufRead) -> anyhow::Result<Secret> {
    let mut bytes = Vec::new();
    let mut bounded = stream.take(LONGEST_PASSWORD + 2);
    bounded.read_until(b'\n', &mut bytes).context("cannot read the password from standard input")?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Secret::new(std::str::from_utf8(line).context("the password on standard input is not UTF-8")?))
}

fn parse_account(text: &str) -> Result<BareJid, String> {
    let jid: BareJid = text.parse().map_err(|error| format!("not the address of an account: {error}"))?;
    match jid.node() {
        Some(_) => Ok(jid),
        None => Err(format!("not the address of an account, write name@{text}")),
    }
}

pub(crate) fn parse_host(text: &str) -> Result<DomainPart, String> {
    let prepared = DomainPart::new(text).map_err(|error| format!("not the name of a host: {error}"))?;
    Ok(prepared.into_owned())
}

/// clap wants an error type; a text is always a secret.
fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// Which configuration holds, in one line.
pub fn describe_source(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(file) => format!("configuration: {}", file.display()),
        None => format!("configuration: the defaults, because there is no {DEFAULT_FILE} here"),
    }
}

/// Does `waxwing check`: prints to `out` that all is well, or fails with everything that is not.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn check(
    line: &CommandLine,
    known: &[KnownModule],
    out: &mut impl Write,
) -> Result<io::Result<()>, Vec<ConfigError>> {
    let loaded = line.load(known)?;
    let hosts: Vec<&str> = loaded.config.hosts.iter().map(|host| host.name.as_str()).collect();
    let mut text = format!("{}\nhosts: {}\nno mistakes found\n", describe_source(&loaded), hosts.join(", "));
    text.extend(loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")));
    Ok(out.write_all(text.as_bytes()))
}

/// Does `waxwing reference`.
///
/// # Errors
/// When nobody reads the other end.
pub fn print_reference(known: &[KnownModule], out: &mut impl Write) -> io::Result<()> {
    out.write_all(reference(known).as_bytes())
}

/// How messages for people look on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` asks for none.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: stream.is_terminal() && !refused }
    }

    /// The lines for a configuration that is wrong.
    pub fn configuration_errors(self, errors: &[ConfigError]) -> String {
        let mut text: String = errors.iter().map(|error| self.line("error", "31", &error.to_string())).collect();
        let count = match errors.len() {
            1 => "one mistake".to_owned(),
            several => format!("{several} mistakes"),
        };
        text.push_str(&format!("{count} in the configuration, nothing was started\n"));
        text
    }

    /// The line for anything else that went wrong, with its causes.
    pub fn error(self, error: &anyhow::Error) -> String {
        self.line("error", "31", &format!("{error:#}"))
    }

    /// The line for something that is probably not meant.
    pub fn warning(self, warning: &str) -> String {
        self.line("warning", "33", warning)
    }

    fn line(self, word: &str, colour: &str, text: &str) -> String {
        // A file name or an environment variable may hold anything; a terminal obeys only us.
        let text: String =
            text.chars().map(|sign| if sign.is_control() && sign != '\n' { '\u{fffd}' } else { sign }).collect();
        match self.coloured {
            true => format!("\u{1b}[1;{colour}m{word}:\u{1b}[0m {text}\n"),
            false => format!("{word}: {text}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        <CommandLine as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_server_runs() {
        assert!(matches!(parse("waxwing").unwrap().command(), Command::Serve));
        for line in ["waxwing --config a.toml", "waxwing serve --config a.toml", "waxwing -c a.toml serve"] {
            let parsed = parse(line).unwrap();
            assert_eq!(parsed.config.as_deref(), Some(Path::new("a.toml")), "{line}");
            assert!(matches!(parsed.command(), Command::Serve), "{line}");
        }
        assert_eq!(parse("waxwing --version").unwrap_err().kind(), ErrorKind::DisplayVersion);
    }

    fn user(line: &str) -> UserCommand {
        match parse(line).unwrap().command() {
            Command::User(arguments) => arguments.resolve().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn accounts_are_prepared_and_passwords_taken_as_they_are() {
        let account: BareJid = "romeo@montague.lit".parse().unwrap();
        let password = Secret::new("Wherefore");
        let added = user("waxwing user add ROMEO@Montague.lit --password Wherefore");
        assert_eq!(added, UserCommand::Add { account: account.clone(), password: password.clone() });
        let changed = user("waxwing user password romeo@montague.lit --password Wherefore");
        assert_eq!(changed, UserCommand::Password { account: account.clone(), password });
        assert_eq!(user("waxwing user remove romeo@montague.lit"), UserCommand::Remove { account });
        assert_eq!(user("waxwing user list"), UserCommand::List { host: None });
        let host = Some(parse_host("Montague.lit").unwrap());
        assert_eq!(user("waxwing user list montague.lit"), UserCommand::List { host });
    }

    #[test]
    fn what_is_no_account_is_refused_with_advice() {
        for line in [
            "waxwing user add montague.lit --password x",
            "waxwing user add romeo@montague.lit/balcony --password x",
            "waxwing user add @montague.lit",
            "waxwing user add romeo@montague.lit --password x --password-stdin",
            "waxwing user",
            "waxwing usr list",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let error = parse("waxwing user remove montague.lit").unwrap_err().to_string();
        assert!(error.contains("write name@montague.lit"), "{error}");
    }

    #[test]
    fn s38_a_password_on_the_command_line_is_not_shown() {
        let parsed = parse("waxwing user add romeo@montague.lit --password hunter2").unwrap();
        assert!(!format!("{parsed:?}").contains("hunter2"));
    }

    #[test]
    fn standard_input_gives_the_first_line_and_no_more() {
        let read = |bytes: &[u8]| first_line(bytes).map(|secret| secret.expose().to_owned());
        assert_eq!(read(b"open sesame\r\nand more").unwrap(), "open sesame");
        assert_eq!(read(b" spaces stay ").unwrap(), " spaces stay ");
        assert!(read(b"\xff\xfe\n").is_err());
        let given = |password: &str| {
            PasswordArguments { password_stdin: false, password: Some(Secret::new(password)) }.obtain("")
        };
        assert!(given("").is_err() && given(&"x".repeat(1024)).is_err() && given(&"x".repeat(1023)).is_ok());
    }

    #[test]
    fn s38_messages_are_one_line_each_and_hold_no_control_signs() {
        let plain = Style { coloured: false };
        assert_eq!(plain.error(&anyhow::anyhow!("a\u{1b}[2Jb").context("outer")), "error: outer: a\u{fffd}[2Jb\n");
        let errors = Config::from_text("limits.bind_failures = 0\nlog.filter = ''", &[]).unwrap_err();
        let text = plain.configuration_errors(&errors);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("2 mistakes in the configuration, nothing was started\n"), "{text}");
        assert!(Style { coloured: true }.warning("x").starts_with("\u{1b}[1;33mwarning:\u{1b}[0m x"));
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        fn visit(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
            command.get_subcommands().for_each(visit);
        }
        visit(&<CommandLine as clap::CommandFactory>::command());
    }
}
