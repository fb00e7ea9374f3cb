//! What a server does when what it stands on gives way: the database, its certificates, its port, its process
//! (faults rows F3, F18, F27; promises P1, P6 and P8).

mod common;
mod relay;
// The program in a process of its own, as an operator runs it.
#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "security/program.rs"]
mod program;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Command;
use waxwing_core::storage::testing::{Guard, fresh_settings};
use waxwing_core::storage::{Database, Engine};
use waxwing_streams::certificates::Certificates;
use waxwing_testkit::{RawClient, Scene, TestServer, TlsChoice};

use relay::Relay;

/// Runs the program to its end, which must come soon.
async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(30), command.output()).await.expect("it ends in time").expect("it runs")
}

/// A configuration file in this folder, with this URL of a database and this address to listen on.
fn configuration(folder: &Path, url: &str, address: SocketAddr) -> String {
    let file = folder.join("waxwing.toml");
    let certificates = folder.join("certs");
    let text = format!(
        "[listen]\nc2s = [\"{address}\"]\nc2s_tls = []\ns2s = []\nhttp = []\nhealth = []\n[storage]\nurl = \"{url}\"\n[tls]\ncertificates = \"{}\"\n\
         [[hosts]]\nname = \"capulet.lit\"\n",
        certificates.display()
    );
    std::fs::write(&file, text).expect("the file is written");
    file.display().to_string()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// The one line that is no line of the log.
fn the_error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), errors.len()), (Some(1), 1), "{text}");
    errors[0].to_owned()
}

// ---- at the start --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_database_that_is_away_is_said_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = nobody();
    let url = format!("postgres://waxwing:opensesame@{database}/waxwing");
    let file = configuration(folder.path(), &url, nobody());
    for command in [&["serve"][..], &["user", "list"]] {
        let output = run(&[command, &["--config", &file]].concat()).await;
        let error = the_error(&output);
        assert!(error.contains(&format!("postgres://waxwing@{database}/waxwing")), "{error}");
        let all = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains("opensesame"), "the password is shown");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_port_says_what_is_wrong() {
    let server = TestServer::start(program::options()).await;
    let address = server.addresses().c2s[0];
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("other.db").display());
    let output = run(&["serve", "--config", &configuration(folder.path(), &url, address)]).await;
    let error = the_error(&output);
    assert!(error.contains(&format!("cannot listen on {address}")) && error.contains("in use"), "{error}");
    // The first one does not mind.
    server.scene().session("romeo/orchard").await.barrier().await;
}

/// What a newer program would have left in the table of migrations.
const FROM_THE_FUTURE: &str = "\
    INSERT INTO migrations (module, number, name, checksum, applied_at) \
    SELECT module, 999, '0999_from_the_future', checksum, applied_at FROM migrations \
    WHERE module = 'accounts' AND number = 1";

async fn refuses_a_newer_database(engine: Engine) {
    let guard = fresh_settings(engine).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = configuration(folder.path(), &guard.settings.url, nobody());
    let output = run(&["user", "list", "--config", &file]).await;
    assert!(output.status.success(), "{output:?}");
    let database = Database::open(&guard.settings).await.expect("it opens");
    assert_eq!(database.execute(FROM_THE_FUTURE, &[]).await.expect("it is written"), 1);
    database.close().await;
    for command in [&["serve"][..], &["user", "list"]] {
        let error = the_error(&run(&[command, &["--config", &file]].concat()).await);
        for words in ["newer than this program", "accounts", "999"] {
            assert!(error.contains(words), "{error}");
        }
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_on_sqlite() {
    refuses_a_newer_database(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_on_postgres() {
    refuses_a_newer_database(Engine::Postgres).await;
}

// ---- while it runs -------------------------------------------------------------------------------------------------

/// A server whose PostgreSQL is behind a relay. Always PostgreSQL, whatever the other tests run on: an SQLite file does
/// not go away.
async fn behind_a_relay() -> (std::sync::Arc<TestServer>, Relay, Guard) {
    let guard = fresh_settings(Engine::Postgres).await;
    let (scheme, rest) = guard.settings.url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').expect("a database");
    let (user, host) = authority.rsplit_once('@').expect("a user");
    let there = tokio::net::lookup_host(host).await.expect("host:port").next().expect("an address");
    let relay = Relay::to(move || there).await;
    let url = format!("{scheme}://{user}@{}/{path}", relay.address());
    let settings = format!("[storage]\nurl = \"{url}\"\n");
    (TestServer::start(common::options().toml(settings)).await, relay, guard)
}

/// A message that the server must store before anyone sees it. True when it was taken, false when the sender was told to
/// try again.
async fn is_taken(romeo: &mut RawClient, id: &str) -> bool {
    romeo.send(format!("<message type='chat' id='{id}' to='{{nurse}}'><body>{id}</body></message>")).await;
    let began = Instant::now();
    let answers = romeo.drain().await;
    // A database that is away for a moment is waited for, up to 12 seconds.
    assert!(began.elapsed() < Duration::from_secs(14), "the sender waits: {:?}", began.elapsed());
    let mine: Vec<_> = answers.iter().filter(|answer| answer.attribute("id") == Some(id)).collect();
    match mine.as_slice() {
        [] => true,
        [error] => {
            let condition = error.child("error").expect("an error");
            assert_eq!(condition.attribute("type"), Some("wait"), "{error}");
            assert!(condition.child("resource-constraint").is_some(), "{error}");
            false
        }
        more => panic!("one message, several answers: {more:?}"),
    }
}

#[tokio::test]
async fn an_outage_of_the_database_is_survived() {
    let (server, relay, _guard) = behind_a_relay().await;
    let scene = server.scene();
    scene.account("nurse").await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    assert!(is_taken(&mut romeo, "before").await);
    romeo.set_patience(Duration::from_secs(15));
    let mut accepted = vec!["before".to_owned()];

    for round in 1..=2 {
        relay.cut();
        // What cannot be stored is refused. Whoever stores nothing notices nothing meanwhile.
        let refused = async { assert!(!is_taken(&mut romeo, &format!("lost {round}")).await) };
        let others = async {
            for _ in 0..20 {
                let began = Instant::now();
                juliet.barrier().await;
                assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::join!(refused, others);
        romeo.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='a@x.lit'/></query></iq>").await;
        romeo.expect("<iq type='error' id='r' {…}>{error:wait:resource-constraint}{…}</iq>").await;
        romeo.send("<presence type='subscribe' to='{nurse}' id='s'/>").await;
        romeo.expect("<presence type='error' id='s' {…}>{error:wait:resource-constraint}{…}</presence>").await;
        // What needs no database goes on, at once.
        for client in [&mut romeo, &mut juliet] {
            let began = Instant::now();
            client.barrier().await;
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
        romeo.send("<iq type='get' id='p' to='{juliet/balcony}'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        juliet.expect("<iq type='get' id='p' from='{romeo/orchard}' to='{juliet/balcony}'>{…}</iq>").await;
        juliet.send("<iq type='result' id='p' to='{romeo/orchard}'/>").await;
        romeo.expect("<iq type='result' id='p' from='{juliet/balcony}' to='{romeo/orchard}'/>").await;
        // Nobody can log in, and is told that it is not his password.
        let mut late = scene.connect_tls().await;
        late.set_patience(Duration::from_secs(15));
        late.open_stream(scene.host()).await;
        let failure = late.try_scram(&late.scram(&scene.local("nurse"), &scene.password("nurse"))).await;
        let failure = failure.expect_err("nobody can look up the password");
        assert!(failure.child("temporary-auth-failure").is_some(), "{failure}");

        relay.restore();
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let id = format!("after {round} {attempt}");
            if is_taken(&mut romeo, &id).await {
                accepted.push(id);
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "the database is back and nothing is taken");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Nobody was disconnected, and what they know of each other still holds.
        romeo.send("<presence><show>away</show></presence>").await;
        romeo.expect("<presence from='{romeo/orchard}' to='{romeo}'><show>away</show></presence>").await;
        juliet.expect("<presence from='{romeo/orchard}' to='{juliet}'><show>away</show></presence>").await;
        romeo.send("<message type='chat' id='m' to='{juliet}'><body>hello</body></message>").await;
        juliet
            .expect("<message type='chat' id='m' from='{romeo/orchard}' to='{juliet}'><body>hello</body>{…}</message>")
            .await;
        scene.session("romeo/garden").await.barrier().await;
    }

    // What was taken is there, once and in order; what was refused is not.
    assert_eq!(stored(&scene, &mut romeo).await, accepted);
}

/// The ids of the messages that were kept for the nurse.
async fn stored(scene: &Scene, romeo: &mut RawClient) -> Vec<String> {
    let mut nurse = scene.session("nurse/hall").await;
    let came = nurse.go_online(0).await;
    // What was kept may come a moment later, but before what is said now.
    romeo.send("<message type='chat' id='newest' to='{nurse/hall}'><body>newest</body></message>").await;
    let mut ids = Vec::new();
    let mut came = came.into_iter();
    loop {
        let stanza = match came.next() {
            Some(stanza) => stanza,
            None => nurse.receive().await,
        };
        match stanza.attribute("id") {
            Some("newest") => return ids,
            Some(id) if stanza.name == "message" => ids.push(id.to_owned()),
            _ => {}
        }
    }
}

// ---- told to by the operator ---------------------------------------------------------------------------------------

async fn signal(server: &TestServer, signal: &str) {
    let id = std::fs::read_to_string(server.folder().join("program.pid")).expect("the program runs");
    let status = Command::new("kill").args([signal, &id]).status().await;
    assert!(status.is_ok_and(|status| status.success()), "the program cannot be told");
}

/// The certificate that a new handshake shows now.
async fn shown(scene: &Scene) -> Vec<u8> {
    let client = scene.try_connect_tls(TlsChoice::new().unchecked()).await.expect("a handshake");
    client.tls().expect("TLS").certificate.clone()
}

#[tokio::test]
async fn f27_sighup_takes_a_new_certificate_and_drops_nobody() {
    let server = TestServer::start(program::options()).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let old = shown(&scene).await;
    assert_eq!(romeo.tls().map(|facts| &facts.certificate), Some(&old));
    let certificates = server.certificates();
    let names = [scene.host().to_owned()];

    for _ in 0..3 {
        let before = shown(&scene).await;
        let folder = tempfile::tempdir().expect("a folder");
        drop(Certificates::open(folder.path(), &names, true).expect("a certificate is made"));
        for file in std::fs::read_dir(folder.path()).expect("it is there").flatten() {
            std::fs::copy(file.path(), certificates.join(file.file_name())).expect("it is put in place");
        }
        // Not before it is told to.
        assert_eq!(shown(&scene).await, before);
        signal(&server, "-HUP").await;
        let began = Instant::now();
        while shown(&scene).await == before {
            assert!(began.elapsed() < Duration::from_secs(5), "the new certificate is not taken");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        romeo.barrier().await;
        // It is whole: a client that trusts only it gets in.
        scene.session("juliet/balcony").await.barrier().await;
    }

    // A broken file is said, and the certificate stays.
    let good = shown(&scene).await;
    let file = certificates.join(format!("{}.crt", scene.host()));
    for broken in ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "nonsense", ""] {
        let complaints = || program::log(&server).matches("capulet.lit.crt").count();
        let before = complaints();
        std::fs::write(&file, broken).expect("it is written");
        signal(&server, "-HUP").await;
        let began = Instant::now();
        while complaints() == before {
            assert!(began.elapsed() < Duration::from_secs(5), "nothing is said of the broken file");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(shown(&scene).await, good);
        romeo.barrier().await;
    }
}

#[tokio::test]
async fn sighup_with_a_mistake_in_the_configuration_changes_nothing() {
    let server = TestServer::start(program::options()).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let file = server.folder().join("program.toml");
    let good = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, format!("{good}\n[limts]\nx = 1\n")).expect("it is written");
    signal(&server, "-HUP").await;
    let began = Instant::now();
    while !program::log(&server).contains("limts") {
        assert!(began.elapsed() < Duration::from_secs(5), "the mistake is not said");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    romeo.barrier().await;
    scene.session("juliet/balcony").await.barrier().await;
}

#[tokio::test]
async fn f18_sigterm_tells_everyone_and_keeps_what_it_has_taken() {
    let server = TestServer::start(program::options()).await;
    let scene = server.scene();
    scene.account("nurse").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut stranger = scene.connect().await;
    stranger.open_stream(scene.host()).await;
    let message =
        |number: u32| format!("<message type='chat' id='{number}' to='{{nurse}}'><body>{number}</body></message>");
    let (first, second): (String, String) = ((1..=30).map(message).collect(), (31..=60).map(message).collect());
    romeo.send(first).await;
    // The answer to a ping: all before it is stored.
    romeo.barrier().await;
    romeo.send(second).await;
    let began = Instant::now();
    let told = async {
        for client in [&mut romeo, &mut juliet, &mut stranger] {
            client.expect_stream_error("system-shutdown").await;
        }
    };
    // Whoever stops the program checks that it ends with 0 and in time.
    tokio::join!(server.stop(), told);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    server.start_again().await.expect("it starts again");
    let mut romeo = scene.session("romeo/orchard").await;
    let kept = stored(&scene, &mut romeo).await;
    assert!(kept.len() >= 30, "{} of 30 messages are there", kept.len());
    let in_order: Vec<String> = (1..=kept.len()).map(|number| number.to_string()).collect();
    assert_eq!(kept, in_order);
}
