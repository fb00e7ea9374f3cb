//! The configuration as an operator meets it: whole files, whole environments, and what is said about them.

use serde::{Deserialize, Serialize};

use super::reference::{keys_without_words, reference};
use super::*;

/// Settings of a module, as one would write them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Berries {
    /// How many berries a bird may hold.
    items: Count,
    /// Who is told when they run out.
    watchers: Vec<String>,
    /// What the keeper says to be let in.
    password: Secret,
    /// Where the keeper lives, if anywhere.
    address: Option<String>,
    /// How ripe they are.
    ripeness: Ripeness,
}

/// How ripe the berries are.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Ripeness {
    /// How long they hang at least.
    after: Period,
    /// Whether frost is waited for.
    frost: bool,
}

impl Default for Berries {
    fn default() -> Self {
        Self {
            items: Count::of(1000),
            watchers: Vec::new(),
            password: Secret::default(),
            address: None,
            ripeness: Ripeness::default(),
        }
    }
}

impl Default for Ripeness {
    fn default() -> Self {
        Self { after: Period::seconds(60), frost: true }
    }
}

const KNOWN: [KnownModule; 2] = [
    KnownModule {
        name: "berries",
        about: "Keeps berries.",
        enabled: true,
        settings: SettingsDescription::of::<Berries>,
    },
    KnownModule { name: "flight", about: "Flies.", enabled: false, settings: SettingsDescription::none },
];

fn errors_of(text: &str) -> Vec<String> {
    match Config::from_text(text, &KNOWN) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn with_environment(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let root = tree::parse_document(text, None).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let result = Config::assemble(root, variables, &KNOWN);
    result.map(|(config, _)| config).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn s04_empty_configuration_has_the_limits_of_the_list() {
    let config = Config::load(None, [], &KNOWN).unwrap().config;
    let limits = &config.limits;
    assert_eq!(limits.stanza_bytes, ByteSize::bytes(1_048_576));
    assert_eq!(
        (limits.stanza_depth, limits.stanza_elements, limits.stanza_attributes),
        (Count::of(64), Count::of(4096), Count::of(64))
    );
    assert_eq!(limits.unauthenticated_stanza_bytes, ByteSize::bytes(8192));
    assert_eq!(limits.unauthenticated_stanza_elements, Count::of(32));
    assert_eq!((limits.c2s_bytes.get(), limits.c2s_bytes_burst.get()), (16_000, 1_048_576));
    assert_eq!(limits.c2s_stanzas, Rate::per_second(50));
    assert_eq!(limits.recipients, Rate::per_minute(60));
    assert_eq!(limits.subscriptions, Rate::per_hour(20));
    assert_eq!(limits.presences, Rate::per_minute(10));
    assert_eq!(limits.sessions_per_user, Count::of(10));
    assert_eq!((limits.connections, limits.connections_burst), (Rate::per_second(20), Count::of(50)));
    assert_eq!(limits.unauthenticated_connections_per_address, Count::of(50));
    assert_eq!(limits.connections_per_address, Count::of(500));
    assert_eq!(limits.unauthenticated_timeout, Period::seconds(30));
    assert_eq!(limits.bind_timeout, Period::seconds(60));
    assert_eq!((limits.ping_after, limits.ping_timeout), (Period::seconds(180), Period::seconds(30)));
    assert_eq!(limits.send_buffer_bytes, ByteSize::mebibytes(1));
    assert_eq!(limits.authentication_failures_per_stream, Count::of(5));
    assert_eq!(limits.authentication_failures_per_address, Rate::per_hour(20));
    assert_eq!(limits.ban_time, Period::seconds(3600));
    assert!(!config.tls.tls13_only && !config.tls.plaintext_on_loopback);
    assert!(!config.auth.mechanisms.iter().any(|name| name == "PLAIN" || name == "ANONYMOUS" || name == "DIGEST-MD5"));
    assert_eq!((config.auth.scram_iterations, config.auth.minimum_password_length), (10_000, 10));
    let lists = config.listen.lists();
    assert!(lists.iter().flat_map(|(_, addresses)| addresses.iter()).all(|address| address.ip().is_loopback()));
    assert_eq!(config.log, Log { filter: "info".to_owned(), format: LogFormat::Text });
    let names: Vec<_> = config.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["localhost"]);
}

#[test]
fn an_empty_file_and_no_file_are_the_same() {
    let empty = Config::from_text("", &KNOWN).unwrap();
    assert_eq!(format!("{empty:?}"), format!("{:?}", Config::default()));
}

#[test]
fn every_limit_can_be_lifted_and_none_set_to_zero() {
    let table = toml::Table::try_from(Limits::default()).unwrap();
    let all = |value: &str| table.keys().map(|key| format!("{key} = {value}\n")).collect::<String>();
    let lifted = Config::from_text(&format!("[limits]\n{}", all("'unlimited'")), &KNOWN).unwrap().limits;
    assert!(lifted.c2s_stanzas.is_unlimited() && lifted.stanza_bytes.is_unlimited() && lifted.ban_time.is_unlimited());
    let errors = errors_of(&format!("[limits]\n{}", all("'0'")));
    let rates = [
        "c2s_stanzas",
        "recipients",
        "subscriptions",
        "presences",
        "connections",
        "authentication_failures_per_address",
    ];
    for (line, key) in table.keys().enumerate().map(|(index, key)| (index + 2, key)) {
        let place = format!("configuration:{line}:{}: limits.{key}: ", key.len() + 4);
        let error =
            errors.iter().find(|error| error.starts_with(&place)).unwrap_or_else(|| panic!("{place} {errors:#?}"));
        assert!(error.contains("unlimited") || rates.contains(&key.as_str()), "{error}");
    }
    assert_eq!(errors_of("[limits]\nrecipients = '0/min'").len(), 1);
}

#[test]
fn every_error_is_reported_at_once_with_its_line_and_key() {
    let errors = errors_of(
        "[[hosts]]\nname = 'capulet.lit'\n\n[[hosts]]\nname = 'CAPULET.lit'\n\n[[hosts]]\nname = 'not a name'\ncolour = 'red'\n\
         [hosts.modules.fligth]\n\n[listen]\nc2s = ['localhost:5222', '127.0.0.1:5222', '127.0.0.1:5222']\n\n\
         [limits]\nstanza_bytes = 9999\nsesions_per_user = 3\nping_after = 'soon'\nbind_failures = 0\n\n\
         [auth]\nmechanisms = ['SCRAM-SHA-256', 'SCRAM-SHA256']\nscram_iterations = 100\n\n\
         [modules.berries]\nitem = 5\nenabled = 'yes'\n[modules.berries.ripeness]\nafter = -1\n\n[storrage]\nurl = 'x'\n",
    );
    let expected = [
        "configuration:5:8: hosts[1].name: the host \"capulet.lit\" is there twice, first at configuration:2:8",
        "configuration:8:8: hosts[2].name: \"not a name\" is not the name of a domain: it contains ' '",
        "configuration:9:1: hosts[2].colour: unknown key `colour`, known here: `name`, `operators`, `modules`",
        "configuration:10:16: hosts[2].modules.fligth: unknown module `fligth`, did you mean `flight`?",
        "configuration:13:8: listen.c2s[0]: \"localhost:5222\" is not an address to listen on, write an IP address and a port such \
         as \"127.0.0.1:5222\" or \"[::]:5222\"",
        "configuration:13:44: listen.c2s[1]: the address 127.0.0.1:5222 is there twice, already in listen.c2s",
        "configuration:16:16: limits.stanza_bytes: 9999 B is too little, RFC 6120 (13.12) demands 10000 bytes or more",
        "configuration:17:1: limits.sesions_per_user: unknown key `sesions_per_user`, did you mean `sessions_per_user`?",
        "configuration:18:14: limits.ping_after: \"soon\" is not a time, write seconds or a text such as \"250ms\", \"30s\", \
         \"5min\", \"1h 30min\", \"7d\" or \"unlimited\"",
        "configuration:19:17: limits.bind_failures: zero would lock everyone out, write \"unlimited\" to lift the limit",
        "configuration:22:32: auth.mechanisms[1]: unknown mechanism `SCRAM-SHA256`, did you mean `SCRAM-SHA-256`?",
        "configuration:23:20: auth.scram_iterations: 100 is not between 4096 (RFC 7677) and 1000000",
        "configuration:26:1: modules.berries.item: unknown key `item`, did you mean `items`?",
        "configuration:27:11: modules.berries.enabled: expected true or false",
        "configuration:29:9: modules.berries.ripeness.after: expected a number of seconds or a text such as \"30s\", found the \
         number -1",
        "configuration:31:2: storrage: unknown section `storrage`, did you mean `storage`?",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let errors = errors_of("limits.stanza_bytes = '2 MiB'");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|error| error.contains("is less than stanza_bytes (2 MiB)")), "{errors:?}");
    assert_eq!(
        errors_of("limits = { stanza_bytes = '2 MiB', c2s_bytes_burst = '2 MiB', send_buffer_bytes = '3 MiB' }"),
        [""; 0]
    );
}

#[test]
fn a_misspelt_level_of_the_log_is_refused() {
    for filter in
        ["info", "WARN", "info,waxwing_streams=debug", "off, waxwing_core::router=trace", "info,x[span{id=7}]=debug"]
    {
        assert_eq!(errors_of(&format!("log.filter = \"{filter}\"")), [""; 0], "{filter}");
    }
    let error = "configuration:1:14: log.filter: unknown level `inof`, did you mean `info`?";
    assert_eq!(errors_of("log.filter = 'inof'"), [error]);
    for filter in ["", "info,", "waxwing_streams=loud"] {
        assert_eq!(errors_of(&format!("log.filter = '{filter}'")).len(), 1, "{filter}");
    }
}

#[test]
fn hosts_keep_their_order_and_may_be_plain_names() {
    let names = |config: Config| config.hosts.iter().map(|host| host.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(Config::from_text("hosts = ['z.lit', 'a.lit']", &KNOWN).unwrap()), ["z.lit", "a.lit"]);
    assert_eq!(names(with_environment("", &[("WAXWING_HOSTS", "z.lit, a.lit")]).unwrap()), ["z.lit", "a.lit"]);
    assert_eq!(names(with_environment("", &[("WAXWING_HOSTS__0__NAME", "z.lit")]).unwrap()), ["z.lit"]);
    assert_eq!(names(Config::from_text("[[hosts]]\nname = 'Bücher.Example'", &KNOWN).unwrap()), ["bücher.example"]);
    assert_eq!(errors_of("hosts = []").len(), 1);
    assert_eq!(
        errors_of("[[hosts]]\n"),
        ["configuration:1:1: hosts[0].name: the host has no name, write name = \"example.org\""]
    );
    assert_eq!(errors_of("[hosts]\nname = 'a.lit'").len(), 1);
    for name in ["", "a/b", "a@b", "a b", "a:5222"] {
        assert_eq!(errors_of(&format!("hosts = [{name:?}]")).len(), 1, "{name:?}");
    }
}

#[test]
fn operators_are_accounts_and_named_for_each_host() {
    let config = Config::from_text(
        "[[hosts]]\nname = 'capulet.lit'\noperators = ['Nurse@Capulet.lit', 'friar@verona.lit']\n[[hosts]]\nname = 'verona.lit'",
        &[],
    );
    let operators: Vec<Vec<String>> =
        config.unwrap().hosts.iter().map(|host| host.operators.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(operators, [vec!["nurse@capulet.lit", "friar@verona.lit"], vec![]]);
    for (wrong, said) in [
        ("['capulet.lit']", "hosts[0].operators[0]: \"capulet.lit\" is a domain, write the address of an account"),
        ("['nurse@capulet.lit/x']", "hosts[0].operators[0]: \"nurse@capulet.lit/x\" is not the address of an account"),
        ("'nurse@capulet.lit'", "hosts[0].operators: expected a list of addresses"),
    ] {
        let error =
            Config::from_text(&format!("[[hosts]]\nname = 'capulet.lit'\noperators = {wrong}"), &[]).unwrap_err();
        assert!(error[0].to_string().contains(said), "{}", error[0]);
    }
}

#[test]
fn a_host_lays_its_own_settings_over_the_common_ones() {
    let config = Config::from_text(
        "[[hosts]]\nname = 'a.lit'\n[hosts.modules.berries]\nitems = 5\nripeness.frost = false\nenabled = false\n\
         [[hosts]]\nname = 'b.lit'\n[modules.berries]\nitems = 7\nwatchers = ['x']\nripeness.after = '1h'\n",
        &KNOWN,
    );
    let config = config.unwrap();
    let on = |host| config.module::<Berries>(host, "berries").unwrap();
    let common = Berries {
        items: Count::of(7),
        watchers: vec!["x".to_owned()],
        ripeness: Ripeness { after: Period::seconds(3600), frost: true },
        ..Berries::default()
    };
    assert_eq!(on("b.lit"), common);
    assert_eq!(on("unknown.lit"), common);
    let ripeness = Ripeness { after: Period::seconds(3600), frost: false };
    assert_eq!(on("a.lit"), Berries { items: Count::of(5), ripeness, ..common });
    let enabled = |host, name| config.module_enabled(host, name);
    assert_eq!(
        (enabled("a.lit", "berries"), enabled("b.lit", "berries"), enabled("a.lit", "flight")),
        (Some(false), None, None)
    );
}

#[test]
fn an_error_in_the_settings_of_one_host_names_that_host() {
    let errors = errors_of(
        "[modules.berries]\nitems = 'many'\n[[hosts]]\nname = 'a.lit'\n[hosts.modules.berries]\nwatchers = 5\nripeness.frst = true\n",
    );
    let expected = [
        "configuration:2:9: modules.berries.items: \"many\" is not a number, write digits or \"unlimited\"",
        "configuration:6:12: hosts[0].modules.berries.watchers: expected a list such as [\"one\", \"two\"], found the number 5",
        "configuration:7:10: hosts[0].modules.berries.ripeness.frst: unknown key `frst`, did you mean `frost`?",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn the_environment_reaches_every_key_and_wins() {
    let config = with_environment(
        "[[hosts]]\nname = 'a.lit'\n[storage]\nurl = 'sqlite:file.db'\n[modules.berries]\nitems = 7\n",
        &[
            ("WAXWING_STORAGE__URL", "postgres://x@y/z"),
            ("WAXWING_STORAGE__CONNECTIONS", "20"),
            ("WAXWING_LISTEN__C2S", "0.0.0.0:5222,[::]:5222"),
            ("WAXWING_LISTEN__C2S_TLS", ""),
            ("WAXWING_LIMITS__SESSIONS_PER_USER", "unlimited"),
            ("WAXWING_LIMITS__STANZA_BYTES", "20000"),
            ("WAXWING_TLS__TLS13_ONLY", "true"),
            ("WAXWING_LOG__FORMAT", "json"),
            ("WAXWING_MODULES__BERRIES__ITEMS", "9"),
            ("WAXWING_MODULES__BERRIES__RIPENESS__AFTER", "2h"),
            ("WAXWING_MODULES__FLIGHT__ENABLED", "true"),
            ("WAXWING_HOSTS__0__MODULES__BERRIES__WATCHERS", "a@a.lit,b@a.lit"),
        ],
    );
    let config = config.unwrap();
    assert_eq!((config.storage.url.as_str(), config.storage.connections), ("postgres://x@y/z", Some(20)));
    assert_eq!(config.listen.c2s, ["0.0.0.0:5222".parse().unwrap(), "[::]:5222".parse().unwrap()]);
    assert!(config.listen.c2s_tls.is_empty());
    assert!(config.limits.sessions_per_user.is_unlimited());
    assert_eq!(config.limits.stanza_bytes.get(), 20_000);
    assert!(config.tls.tls13_only);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.module_enabled("a.lit", "flight"), Some(true));
    let berries = config.module::<Berries>("a.lit", "berries").unwrap();
    assert_eq!((berries.items, berries.ripeness.after), (Count::of(9), Period::seconds(7200)));
    assert_eq!(berries.watchers, ["a@a.lit", "b@a.lit"]);
}

#[test]
fn an_error_in_the_environment_names_its_variable() {
    let errors = with_environment(
        "",
        &[
            ("WAXWING_LIMITS__STANZA_BYTES", "5"),
            ("WAXWING_LIMITS__STANZA_BITES", "5"),
            ("WAXWING_LISTEN__C2S", "here"),
            ("WAXWING_STORGE__URL", "x"),
            ("WAXWING_STORAGE__URL", "mongodb:x"),
        ],
    );
    let errors = errors.unwrap_err();
    let expected = [
        "environment variable WAXWING_LIMITS__STANZA_BITES: limits.stanza_bites: unknown key `stanza_bites`, did you mean \
         `stanza_bytes`?",
        "environment variable WAXWING_LIMITS__STANZA_BYTES: limits.stanza_bytes: 5 B is too little",
        "environment variable WAXWING_LISTEN__C2S: listen.c2s[0]: \"here\" is not an address to listen on",
        "environment variable WAXWING_STORAGE__URL: storage.url: \"mongodb:x\" names no database this server knows",
        "environment variable WAXWING_STORGE__URL: storge: unknown section `storge`, did you mean `storage`?",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn s38_secrets_come_from_files_and_show_in_neither_errors_nor_debug() {
    let file = std::env::temp_dir().join(format!("waxwing-config-keeper-{}", std::process::id()));
    std::fs::write(&file, "open sesame\n").unwrap();
    let text = format!("modules.berries.password_file = {:?}", file.display().to_string());
    let config = Config::from_text(&text, &KNOWN).unwrap();
    std::fs::remove_file(&file).unwrap();
    // The snapshot does not change when the file goes.
    assert_eq!(config.module::<Berries>("localhost", "berries").unwrap().password.expose(), "open sesame");
    assert!(!format!("{config:?}").contains("sesame"));
    let errors =
        errors_of("modules.berries.password = 77665544\nstorage.url = 'postgres://u:hunter2@h/d'\nstorage.ulr = 1");
    assert!(
        errors.len() == 2 && errors.iter().all(|error| !error.contains("77665544") && !error.contains("hunter2")),
        "{errors:?}"
    );
    let config = Config::from_text("storage.url = 'postgres://u:hunter2@h/d'", &KNOWN).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let errors = Config::load(Some(Path::new("no/such.toml")), [], &KNOWN).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().starts_with("no/such.toml:1:1: cannot read the file: "), "{}", errors[0]);
}

#[test]
fn the_reference_is_a_configuration_that_changes_nothing() {
    let text = reference(&KNOWN);
    let config = Config::from_text(&text, &KNOWN).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    let default = Config::default();
    assert_eq!((config.listen, config.tls, config.limits), (default.listen, default.tls, default.limits));
    assert_eq!((config.storage, config.auth, config.log), (default.storage, default.auth, default.log));
    assert_eq!(config.hosts.len(), 1);
}

#[test]
fn the_reference_names_every_key_with_its_words_and_default() {
    let text = reference(&KNOWN);
    let wanted = [
        "# How many berries a bird may hold.\nitems = 1000\n",
        "# Where the keeper lives, if anywhere.\n# address = \"\"\n",
        "# What the keeper says to be let in.\n# password = \"\"\n",
        "# How ripe they are.\n[modules.berries.ripeness]\n\n# How long they hang at least.\nafter = \"1min\"\n",
        "# Flies.\n[modules.flight]\nenabled = false\n",
        "stanza_bytes = \"1 MiB\"\n",
        "c2s_bytes = \"16 kB/s\"\n",
        "certificates = \"certs\"\n",
    ];
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "a line is too long");
    let fields = text.find("\nitems = ").zip(text.find("\nwatchers = "));
    assert!(fields.is_some_and(|(first, second)| first < second), "the keys stand in the order of the struct");
}

#[test]
fn every_key_has_words_for_the_operator() {
    let descriptions = [
        SettingsDescription::of::<Listen>(),
        SettingsDescription::of::<Storage>(),
        SettingsDescription::of::<Tls>(),
        SettingsDescription::of::<Limits>(),
        SettingsDescription::of::<Auth>(),
        SettingsDescription::of::<Log>(),
    ];
    for description in descriptions {
        assert_eq!(keys_without_words(&description.schema), [""; 0]);
    }
}
