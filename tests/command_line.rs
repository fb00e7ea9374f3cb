//! The program as an operator meets it: its commands, what they print, and what they do to a server that runs.

mod common;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use waxwing::assembly::MODULES;
use waxwing_testkit::{Element, Scene, TestServer};

/// Runs the program to its end in this folder, with these words on its standard input.
async fn run_in(folder: &std::path::Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waxwing"))
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let mut to = child.stdin.take().expect("it has an input");
    // Who does not read has no use for it.
    let _ = to.write_all(input.as_bytes()).await;
    drop(to);
    let ended = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output());
    ended.await.expect("it ends in time").expect("it runs")
}

async fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), arguments, "").await
}

/// What it has printed; it must have gone well, and nothing may be wrong.
fn printed(output: &Output) -> String {
    assert!(output.status.success() && said(output).is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What it has said to be wrong; its exit code must be this, and it must have printed nothing.
fn complained(output: &Output, code: i32) -> String {
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{output:?}");
    said(output)
}

/// What it has said besides, without the warning that a PostgreSQL for tests deserves.
fn said(output: &Output) -> String {
    let text = std::str::from_utf8(&output.stderr).expect("UTF-8");
    text.split_inclusive('\n').filter(|line| !line.contains("WARN fsync is off at the database")).collect()
}

// ---- what it says of itself ----------------------------------------------------------------------------------------

#[tokio::test]
async fn it_says_its_version_and_its_commands() {
    assert_eq!(printed(&run(&["--version"]).await), format!("waxwing {}\n", env!("CARGO_PKG_VERSION")));
    let help = printed(&run(&["--help"]).await);
    for word in ["serve", "check", "doctor", "user", "modules", "reference", "--config", "Examples:"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    for command in
        [&["serve"][..], &["check"], &["user"], &["user", "add"], &["user", "remove"], &["modules"], &["doctor"]]
    {
        let help = printed(&run(&[command, &["--help"]].concat()).await);
        assert!(help.contains("Usage: waxwing") && help.contains("Example"), "{help}");
    }
    let complaint = complained(&run(&["srve"]).await, 2);
    assert!(complaint.contains("srve") && complaint.contains("serve"), "{complaint}");
}

#[tokio::test]
async fn it_shows_its_modules_and_the_way_of_a_stanza() {
    let table = printed(&run(&["modules"]).await);
    let mut rest = table.as_str();
    for plan in MODULES {
        let line = format!("\n  {} ", plan.manifest.name);
        let at =
            rest.find(&line).unwrap_or_else(|| panic!("{} is missing, or out of its order, in:\n{table}", line.trim()));
        rest = &rest[at + 1..];
        assert!(rest.lines().next().is_some_and(|line| line.contains(plan.manifest.summary)), "{table}");
    }
    let at =
        |stage: &str| table.find(&format!("\n  {stage} ")).unwrap_or_else(|| panic!("{stage} is missing in:\n{table}"));
    let stages = ["Vet", "Stamp", "ArchiveSent", "Guard", "ArchiveReceived", "Choose", "Rescue", "Hold", "Count"];
    assert!(stages.map(at).is_sorted(), "{table}");
}

// ---- the configuration ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn check_says_every_mistake_with_its_line_and_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[limits]\nstanza_bites = 1\nbind_failures = 0\n\n[log]\nfilter = \"loud\"\n\n[modules.roster]\ncontacts = \"many\"\n\n\
                [storage]\nurl = \"mysql://waxwing:opensesame@localhost/x\"\n";
    std::fs::write(folder.path().join("wrong.toml"), text).expect("it is written");
    for command in ["check", "serve"] {
        let complaint = complained(&run_in(folder.path(), &[command, "--config", "wrong.toml"], "").await, 1);
        for (line, words) in [
            (2, "limits.stanza_bites: unknown key `stanza_bites`, did you mean `stanza_bytes`?"),
            (3, "limits.bind_failures: "),
            (6, "log.filter: "),
            (9, "modules.roster.contacts: "),
            (12, "storage.url: "),
        ] {
            let place = format!("wrong.toml:{line}:");
            let said = complaint.lines().any(|said| said.contains(&place) && said.contains(words));
            assert!(said, "{place} {words} is missing in:\n{complaint}");
        }
        assert!(complaint.ends_with("5 mistakes in the configuration, nothing was started\n"), "{complaint}");
        assert!(!complaint.contains("opensesame"), "{complaint}");
    }
    let complaint = complained(&run_in(folder.path(), &["check", "--config", "missing.toml"], "").await, 1);
    assert!(complaint.contains("missing.toml"), "{complaint}");
    std::fs::write(folder.path().join("broken.toml"), "[limits]\nx = \n").expect("it is written");
    let complaint = complained(&run_in(folder.path(), &["check", "--config", "broken.toml"], "").await, 1);
    assert!(complaint.contains("broken.toml:2:"), "{complaint}");
}

#[tokio::test]
async fn check_is_content_with_what_is_right_and_starts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let usual = printed(&run_in(folder.path(), &["check"], "").await);
    assert!(usual.contains("no mistakes found"), "{usual}");
    std::fs::write(folder.path().join("right.toml"), "[[hosts]]\nname = \"capulet.lit\"\n").expect("it is written");
    let own = printed(&run_in(folder.path(), &["check", "--config", "right.toml"], "").await);
    assert!(own.contains("configuration: right.toml\nhosts: capulet.lit\nno mistakes found\n"), "{own}");
    // Neither a database nor a certificate was made.
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).expect("it is there").flatten().map(|file| file.file_name()).collect();
    assert_eq!(files, ["right.toml"]);
    // What `reference` prints is such a file.
    let reference = printed(&run_in(folder.path(), &["reference"], "").await);
    std::fs::write(folder.path().join("all.toml"), reference).expect("it is written");
    printed(&run_in(folder.path(), &["check", "--config", "all.toml"], "").await);
}

#[tokio::test]
async fn serve_greets_with_what_an_operator_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[listen]\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = [\"127.0.0.1:0\"]\n\
                s2s = []\nhttp = [\"127.0.0.1:0\"]\nhealth = []\n[[hosts]]\nname = \"capulet.lit\"\n";
    std::fs::write(folder.path().join("own.toml"), text).expect("it is written");
    // Without a command it serves.
    let mut child = Command::new(env!("CARGO_BIN_EXE_waxwing"))
        .args(["--config", "own.toml"])
        .env_clear()
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it has an output")).lines();
    let mut banner = String::new();
    let read = async {
        while let Ok(Some(line)) = lines.next_line().await {
            banner.push_str(&line);
            banner.push('\n');
            if line.contains("make an account") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("it greets in time");
    for words in [
        &format!("Waxwing {} serves capulet.lit\n", env!("CARGO_PKG_VERSION")),
        "configuration: own.toml",
        "clients, STARTTLS: 127.0.0.1:",
        "clients, direct TLS: 127.0.0.1:",
        "data: sqlite:data/waxwing.db",
        "certificates: certs",
        "waxwing user add NAME@capulet.lit",
    ] {
        assert!(banner.contains(words), "{words} is missing in:\n{banner}");
    }
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.is_ok_and(|status| status.success()));
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.expect("it ends in time");
    assert!(ended.is_ok_and(|status| status.success()), "Ctrl-C ends it well");
}

// ---- accounts, while the server runs -------------------------------------------------------------------------------

/// Somebody who works on a running server's database with the program's commands.
struct Operator {
    server: std::sync::Arc<TestServer>,
    scene: Scene,
}

impl Operator {
    async fn new() -> Operator {
        let server = TestServer::start(common::options()).await;
        let text = format!(
            "[storage]\nurl = \"{}\"\n[auth]\nscram_iterations = 4096\n[[hosts]]\nname = \"{}\"\n",
            server.database_url(),
            server.host()
        );
        std::fs::write(server.folder().join("operator.toml"), text).expect("it is written");
        let scene = server.scene();
        Operator { server, scene }
    }

    async fn user(&self, arguments: &[&str], input: &str) -> Output {
        let file = self.server.folder().join("operator.toml").display().to_string();
        run_in(self.server.folder(), &[&["user"], arguments, &["--config", &file]].concat(), input).await
    }

    /// An attempt to log in: success, or the failure.
    async fn login(&self, name: &str, password: &str) -> Result<Element, Element> {
        let mut client = self.scene.connect_tls().await;
        client.open_stream(self.scene.host()).await;
        let scram = client.scram(name, password);
        client.try_scram(&scram).await
    }
}

#[tokio::test]
async fn an_account_that_is_made_can_log_in_at_once() {
    let operator = Operator::new().await;
    let failure = operator.login("romeo", "first secret").await.expect_err("there is no such account");
    assert!(failure.child("not-authorized").is_some(), "{failure}");
    let output = operator.user(&["add", "Romeo@capulet.lit", "--password-stdin"], "first secret\nand more\n").await;
    assert_eq!(printed(&output), "romeo@capulet.lit was made\n");
    operator.login("romeo", "first secret").await.expect("the account is there");
    let output = operator.user(&["add", "juliet@capulet.lit", "--password", "second secret"], "").await;
    assert_eq!(printed(&output), "juliet@capulet.lit was made\n");
    operator.login("juliet", "second secret").await.expect("the account is there");
    assert_eq!(printed(&operator.user(&["list"], "").await), "juliet@capulet.lit\nromeo@capulet.lit\n");
    assert_eq!(printed(&operator.user(&["list", "capulet.lit"], "").await), "juliet@capulet.lit\nromeo@capulet.lit\n");

    // What cannot be done is said in one line, and nothing changes.
    for (arguments, input, code, words) in [
        (&["add", "romeo@capulet.lit", "--password-stdin"][..], "other secret\n", 1, "romeo@capulet.lit was not made"),
        (&["add", "nurse@montague.lit", "--password-stdin"], "other secret\n", 1, "montague.lit is not served here"),
        (&["add", "nurse@capulet.lit", "--password-stdin"], "\n", 1, "the password is empty"),
        (&["add", "nurse@capulet.lit"], "other secret\n", 1, "--password-stdin"),
        (&["add", "capulet.lit", "--password-stdin"], "other secret\n", 2, "name@capulet.lit"),
        (&["add", "a@b@capulet.lit", "--password-stdin"], "other secret\n", 2, "a@b@capulet.lit"),
        (&["password", "nurse@capulet.lit", "--password-stdin"], "other secret\n", 1, "nurse@capulet.lit"),
        (&["remove", "nurse@capulet.lit"], "", 1, "nurse@capulet.lit was not removed"),
    ] {
        let complaint = complained(&operator.user(arguments, input).await, code);
        assert!(complaint.contains(words), "{words} is missing in:\n{complaint}");
        assert!(code == 2 || complaint.lines().count() == 1, "{complaint}");
        assert!(!complaint.contains("other secret"), "{complaint}");
    }
    operator.login("romeo", "first secret").await.expect("nothing has changed");
    assert_eq!(printed(&operator.user(&["list"], "").await), "juliet@capulet.lit\nromeo@capulet.lit\n");
}

#[tokio::test]
async fn a_new_password_holds_for_the_running_server() {
    let operator = Operator::new().await;
    printed(&operator.user(&["add", "romeo@capulet.lit", "--password-stdin"], "first secret\n").await);
    operator.login("romeo", "first secret").await.expect("the account is there");
    let output = operator.user(&["password", "romeo@capulet.lit", "--password-stdin"], "second secret\n").await;
    assert_eq!(printed(&output), "romeo@capulet.lit has a new password\n");
    // What the server remembers of the old one it forgets within a second or two.
    let began = Instant::now();
    while operator.login("romeo", "second secret").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "the new password is not known");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let failure = operator.login("romeo", "first secret").await.expect_err("the old password is over");
    assert!(failure.child("not-authorized").is_some(), "{failure}");
}

#[tokio::test]
async fn an_account_that_is_removed_is_gone_within_seconds() {
    let operator = Operator::new().await;
    let scene = &operator.scene;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    let (local, bare) = (scene.local("romeo"), scene.jid("romeo"));
    assert_eq!(printed(&operator.user(&["remove", &bare], "").await), format!("{bare} was removed\n"));
    let began = Instant::now();
    // His session ends, and she sees him go, once, and that she is on his roster no more.
    romeo.expect_stream_error("not-authorized").await;
    juliet.expect("<presence type='unavailable' from='{romeo/orchard}' to='{juliet}'/>").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let failure = operator.login(&local, &scene.password("romeo")).await.expect_err("the account is gone");
    assert!(failure.child("not-authorized").is_some(), "{failure}");
    juliet.send("<iq type='get' id='q' to='{romeo}'><query xmlns='jabber:iq:last'/></iq>").await;
    while juliet.receive().await.attribute("id") != Some("q") {}
    let list = printed(&operator.user(&["list"], "").await);
    assert_eq!(list, format!("{}\n", scene.jid("juliet")));
}
