//! The house rules that no compiler knows: who may import whom (DESIGN, section 2), what may stand in a file, and that
//! every row of the checklists has its test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// A file of ours: its path from the top of the repository, and its text.
struct Source {
    path: String,
    text: String,
}

/// Folders that hold sources; everything else is built, data, or somebody else's.
const SOURCES: [&str; 6] = ["src", "modules", "xtask", "tests", "benches", "fuzz"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below the folders with one of these extensions, in a stable order.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<Source> {
    let mut waiting: Vec<PathBuf> =
        folders.iter().map(|folder| top().join(folder)).filter(|path| path.exists()).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let hidden = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with('.') || name == "target" || name == "__pycache__"
            };
            waiting.extend(entries.map(|entry| entry.expect("a readable folder").path()).filter(|path| !hidden(path)));
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(top()).expect("a path below the top").to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "no sources found below {folders:?}");
    found
}

fn rust_files() -> Vec<Source> {
    files(&SOURCES, &["rs"])
}

/// Fails with all offences, one a line.
fn none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}; {} offend:\n  {}", offences.len(), offences.join("\n  "));
}

// ---- who may import whom -------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Ground,
    Hall,
    Room,
    Roof,
    Shed,
}

/// The floor of a package, by where its manifest stands.
fn floor(package: &Package) -> Floor {
    let folder = package.manifest_path.parent().expect("a manifest stands in a folder");
    let folder = folder.as_std_path().strip_prefix(top()).expect("members lie below the top");
    let mut parts = folder.iter().map(|part| part.to_string_lossy().into_owned());
    match (parts.next().as_deref(), parts.next().as_deref()) {
        (None, _) => Floor::Roof,
        (Some("modules"), Some(_)) => Floor::Room,
        (Some("src"), Some("core")) => Floor::Hall,
        (Some("src"), Some("streams" | "cluster")) => Floor::Room,
        (Some("src"), Some("xml" | "storage" | "preparation")) => Floor::Ground,
        (Some("src"), Some("testkit" | "faults")) | (Some("xtask" | "fuzz"), _) => Floor::Shed,
        _ => panic!("{} stands on no floor: add it to tests/tidy.rs and to docs/architecture.md", folder.display()),
    }
}

/// What one floor may know of another in the program that ships.
fn may_import(from: Floor, to: Floor) -> bool {
    match from {
        Floor::Roof => to != Floor::Shed && to != Floor::Roof,
        Floor::Room => matches!(to, Floor::Hall | Floor::Ground),
        Floor::Hall => to == Floor::Ground,
        Floor::Ground => false,
        Floor::Shed => true,
    }
}

/// Outside crates with one way in: who may have them as a dependency of the program.
const ONE_WAY_IN: [(&str, &[&str]); 6] = [
    ("sqlx", &["waxwing-storage"]),
    ("rustls", &["waxwing-push-gateway", "waxwing-streams", "waxwing-testkit"]),
    ("rcgen", &["waxwing-streams"]),
    ("anyhow", &["waxwing", "waxwing-testkit", "xtask"]),
    ("clap", &["waxwing", "xtask"]),
    ("tikv-jemallocator", &["waxwing"]),
];

/// Outside crates that are for tests and benchmarks only.
const ONLY_FOR_TESTS: [&str; 8] =
    ["tokio-xmpp", "sasl", "tokio-rustls", "tokio-tungstenite", "rxml", "quick-xml", "proptest", "tempfile"];

#[test]
fn arrows_between_crates_point_down() {
    let metadata = MetadataCommand::new().current_dir(top()).no_deps().exec().expect("cargo metadata works");
    let floors: BTreeMap<String, Floor> =
        metadata.packages.iter().map(|package| (package.name.to_string(), floor(package))).collect();
    assert!(floors.len() > 10, "the workspace has lost its members: {floors:?}");
    let mut offences = Vec::new();
    for package in &metadata.packages {
        let (name, from) = (package.name.to_string(), floor(package));
        for dependency in &package.dependencies {
            let to = &dependency.name;
            let shipped = dependency.kind != DependencyKind::Development;
            // By its path: src/preparation has the name of the crate that it wraps.
            match floors.get(to).filter(|_| dependency.path.is_some()) {
                // A test may use the shed; apart from that it keeps to the arrows of its package.
                Some(&floor) if !may_import(from, floor) && (shipped || floor != Floor::Shed) => {
                    offences.push(format!("{name} ({from:?}) must not depend on {to} ({floor:?})"));
                }
                Some(_) => {}
                None if shipped && from != Floor::Shed => {
                    let elsewhere = |(krate, users): &(&str, &[&str])| krate == to && !users.contains(&name.as_str());
                    if ONLY_FOR_TESTS.contains(&to.as_str()) || ONE_WAY_IN.iter().any(elsewhere) {
                        offences.push(format!("{name} ({from:?}) must not depend on the outside crate {to}"));
                    }
                }
                None => {}
            }
        }
    }
    none(&offences, "arrows point down: roof, rooms, hall, ground (rooms never know each other)");
}

// ---- what may stand in a file --------------------------------------------------------------------------------------

#[test]
fn every_file_says_what_it_is_for() {
    let offences: Vec<_> = rust_files()
        .iter()
        .filter(|source| !source.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 12))
        .map(|source| source.path.clone())
        .collect();
    none(&offences, "a file opens with a sentence in `//!`");
}

#[test]
fn no_file_has_more_than_800_lines() {
    let offences: Vec<_> = rust_files()
        .iter()
        .filter(|source| source.text.lines().count() > 800)
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()))
        .collect();
    none(&offences, "a file of more than 800 lines hides a second subject");
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    none(&containing(&rust_files(), &marks, &[]), "an open end belongs into an issue");
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let marks = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("index.", "crates.io"), concat!("/ho", "me/")];
    let mut all = files(&[".", ".ci"], &["rs", "md", "toml", "sql", "py", "service"]);
    all.extend(files(&["scripts", ".ci"], &["", "sh", "txt"]));
    none(&containing(&all, &marks, &[]), "the project knows no machine");
}

/// Lines that hold one of the words, apart from files that start with one of the exceptions.
fn containing(sources: &[Source], words: &[&str], exceptions: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| !exceptions.iter().any(|start| source.path.starts_with(start))) {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                offences.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    offences
}

#[test]
fn s26_randomness_has_one_source() {
    // Not secrets: names of throw-away databases, and dice that must fall the same way again.
    let exceptions = ["src/core/random.rs", "src/storage/testing.rs", "src/faults/dice.rs", "tests/tidy.rs"];
    let words = ["aws_lc_rs::rand", "SystemRandom", "getrandom", "thread_rng", "fastrand", "use rand::", " rand::"];
    none(&containing(&rust_files(), &words, &exceptions), "tokens come from src/core/random.rs");
}

// ---- SQL -----------------------------------------------------------------------------------------------------------

/// Files that may put a name into SQL, because no value of a user reaches them.
const MAY_BUILD_SQL: [&str; 3] = ["src/storage/testing.rs", "src/storage/migrations.rs", "tests/tidy.rs"];

/// Words that only SQL has in this spelling.
const SQL: [&str; 8] =
    ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", " WHERE ", " VALUES", "CREATE TABLE", "ORDER BY"];

#[test]
fn s39_no_sql_is_built_from_text() {
    let mut offences = Vec::new();
    for source in rust_files().iter().filter(|source| !MAY_BUILD_SQL.contains(&source.path.as_str())) {
        let words = ["AssertSqlSafe", "QueryBuilder"];
        offences.extend(containing(std::slice::from_ref(source), &words, &[]));
        for macro_name in ["format!(", "format_args!(", "write!(", "writeln!(", "concat!(", ".push_str("] {
            for (start, _) in source.text.match_indices(macro_name) {
                let literal = first_literal(&source.text[start + macro_name.len()..]);
                if let Some(word) = SQL.iter().find(|word| literal.contains(**word)) {
                    let line = source.text[..start].lines().count();
                    offences.push(format!("{}:{line}: {macro_name} with {word:?}", source.path));
                }
            }
        }
    }
    none(&offences, "SQL is written whole, values are bound as parameters");
}

/// The first string literal within the next few arguments, escapes left as they are.
fn first_literal(text: &str) -> &str {
    let Some(open) = text.find('"').filter(|open| *open < 80) else {
        return "";
    };
    let text = &text[open + 1..];
    let mut escaped = false;
    for (position, letter) in text.char_indices() {
        match letter {
            '"' if !escaped => return &text[..position],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text
}

#[test]
fn the_search_for_built_sql_finds_it() {
    assert_eq!(first_literal("\n   f, \"SELECT \\\"a\\\" FROM {table}\", x)"), "SELECT \\\"a\\\" FROM {table}");
    assert_eq!(first_literal("name)"), "");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let of = |engine: &str| -> BTreeSet<String> {
        let start = format!("migrations/{engine}/");
        files(&["migrations"], &["sql"])
            .into_iter()
            .filter_map(|source| source.path.strip_prefix(&start).map(str::to_owned))
            .collect()
    };
    let (postgres, sqlite) = (of("postgres"), of("sqlite"));
    let lonely: Vec<_> = postgres.symmetric_difference(&sqlite).cloned().collect();
    none(&lonely, "a migration has the same name on both databases");
    let mut numbers: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for name in &postgres {
        let (module, file) = name.split_once('/').unwrap_or_else(|| panic!("{name} lies in no folder of a module"));
        let number = file.split('_').next().filter(|digits| digits.len() == 4).and_then(|digits| digits.parse().ok());
        numbers
            .entry(module)
            .or_default()
            .push(number.unwrap_or_else(|| panic!("{name} does not begin with four digits")));
    }
    for (module, numbers) in numbers {
        let wanted: Vec<_> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, wanted, "the migrations of {module} are numbered from 1 without a gap");
    }
}

// ---- the checklists ------------------------------------------------------------------------------------------------

/// A row of a checklist: the letter of the list, the number of the row. The tables of delivery and of subscriptions are
/// ('d', 0) and ('g', 0).
type Row = (char, u32);

/// Rows of the conformance (`c`) and security (`s`) checklists and the two tables (`d`, `g`) that must have a test whose
/// name begins with the row's id, such as `c54_iq_without_id_is_refused`; two rows in one test: `c16_c17_…`.
const ROWS: [(char, u32, u32); 5] = [('c', 1, 109), ('d', 0, 0), ('g', 0, 0), ('s', 1, 35), ('s', 37, 39)];

/// Rows that come with a later part of the server; a test may be there already.
const LATER: [(char, u32, u32); 2] = [('s', 36, 36), ('s', 40, 40)];

/// Conformance rows that no socket can show in reasonable time; all others are shown by a running server, in `tests/`.
const WITHOUT_A_SOCKET: [Row; 1] = [('c', 109)];

fn all_of(ranges: &[(char, u32, u32)]) -> BTreeSet<Row> {
    ranges.iter().flat_map(|(letter, first, last)| (*first..=*last).map(|number| (*letter, number))).collect()
}

#[test]
fn every_row_of_the_checklists_has_a_test() {
    let (wanted, later) = (all_of(&ROWS), all_of(&LATER));
    let (mut tested, mut unknown) = (BTreeSet::new(), Vec::new());
    // The two rules above that bear a row's id are not the whole of what the row asks for.
    for source in rust_files().iter().filter(|source| source.path != "tests/tidy.rs") {
        for name in test_names(&source.text) {
            for row in rows_of(name) {
                if !wanted.contains(&row) && !later.contains(&row) {
                    unknown.push(format!("{name} in {}", source.path));
                }
                if source.path.starts_with("tests/") || row.0 == 's' || WITHOUT_A_SOCKET.contains(&row) {
                    tested.insert(row);
                }
            }
        }
    }
    none(&unknown, "a test named by a row must name one that exists");
    let missing: Vec<_> = wanted.difference(&tested).map(written).collect();
    assert!(
        missing.is_empty(),
        "{} of {} rows of the checklists have no test against a running server (c, d, g: below tests/) yet: {}",
        missing.len(),
        wanted.len(),
        missing.join(" ")
    );
}

fn written((letter, number): &Row) -> String {
    match letter {
        'd' | 'g' => format!("table {}", letter.to_uppercase()),
        _ => format!("{}{number:02}", letter.to_uppercase()),
    }
}

/// Names of the functions of this file that bear a test attribute.
fn test_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some((before, name)) = line.split_once("fn ") {
            if is_test && (before.is_empty() || before == "async " || before == "pub ") {
                names
                    .push(name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or(name));
            }
            is_test = false;
        } else if !line.starts_with("//") && !line.is_empty() {
            is_test = false;
        }
    }
    names
}

/// The rows that a test's name begins with: `c54_…`, `s07_…`, `d_…`, `d12_…`; several may follow each other.
fn rows_of(name: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        let (letter, number) = (letters.next(), letters.as_str());
        match (letter, number.parse::<u32>()) {
            (Some(letter @ ('c' | 's')), Ok(row)) if number.len() >= 2 => rows.push((letter, row)),
            (Some(letter @ ('d' | 'g')), Ok(_)) => rows.push((letter, 0)),
            (Some(letter @ ('d' | 'g')), Err(_)) if number.is_empty() && rows.is_empty() => rows.push((letter, 0)),
            _ => break,
        }
    }
    rows
}

#[test]
fn rows_are_read_from_the_names_of_tests() {
    let text = "#[tokio::test(flavor = \"x\")]\n/// Words.\nasync fn c54_c55_iq() {\n fn c09_helper() {}\n}\n\
                #[test]\nfn s07_x() {}\n#[test]\nfn d_bare() {}";
    let names = test_names(text);
    assert_eq!(names, ["c54_c55_iq", "s07_x", "d_bare"]);
    let rows: Vec<_> = names.into_iter().flat_map(rows_of).collect();
    assert_eq!(rows, [('c', 54), ('c', 55), ('s', 7), ('d', 0)]);
    assert!(rows_of("c2s_listener_starts").is_empty() && rows_of("delivery").is_empty());
}
