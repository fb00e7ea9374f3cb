//! S38: what the server writes to its log. (That no test of the whole run finds a password or a proof there is checked by
//! the test kit, at the end of every server.)

use waxwing_testkit::scram::{Scram, base64, from_base64};
use waxwing_testkit::{RawClient, Scene, TestServer};

use crate::program;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// Somebody at the door, and everything secret that has been said so far.
struct Talk {
    scene: Scene,
    secrets: Vec<String>,
    number: usize,
}

impl Talk {
    /// A text found nowhere else.
    fn secret(&mut self, of: &str) -> String {
        self.number += 1;
        let secret = format!("Zqx{}{}vjw", of, self.number);
        self.secrets.push(secret.clone());
        secret
    }

    async fn at_the_door(&self) -> RawClient {
        let mut client = self.scene.connect_tls().await;
        client.open_stream(self.scene.host()).await;
        client
    }

    /// A login with SCRAM; all that it proves is secret.
    async fn scram(&mut self, name: &str, password: &str) -> RawClient {
        let mut client = self.at_the_door().await;
        let scram = Scram::new("SCRAM-SHA-256", name, password);
        let challenge = client.auth("SCRAM-SHA-256", &base64(scram.first())).await;
        let last = scram.last(&from_base64(&challenge.text()));
        let proof = last.message.rsplit_once("p=").expect("a proof").1.to_owned();
        self.secrets.extend([proof, base64(&last.message), last.server.clone(), base64(&last.server)]);
        client.send_bytes(format!("<response xmlns='{SASL}'>{}</response>", base64(&last.message))).await;
        client.receive().await;
        client
    }

    /// A login with PLAIN.
    async fn plain(&mut self, name: &str, password: &str) -> RawClient {
        let mut client = self.at_the_door().await;
        let response = base64(format!("\0{name}\0{password}"));
        self.secrets.push(response.clone());
        client.auth("PLAIN", &response).await;
        client
    }
}

/// Logs in rightly and wrongly, with each mechanism.
async fn log_in(talk: &mut Talk, name: &str, password: &str) {
    let wrong = talk.secret("wrong");
    talk.scram(name, password).await;
    talk.scram(name, &wrong).await;
    talk.plain(name, password).await;
    talk.plain(name, &wrong).await;
    // Data that is not what it should be.
    let nonsense = talk.secret("nonsense");
    for data in [base64(&nonsense), nonsense.clone(), base64(format!("{nonsense}\0{nonsense}\0{nonsense}\0"))] {
        for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
            talk.at_the_door().await.auth(mechanism, &data).await;
        }
        talk.secrets.push(data);
    }
    let mut client = talk.at_the_door().await;
    let scram = Scram::new("SCRAM-SHA-256", name, password);
    client.auth("SCRAM-SHA-256", &base64(scram.first())).await;
    client.send_bytes(format!("<response xmlns='{SASL}'>{}</response>", base64(&nonsense))).await;
    client.receive().await;
}

/// Makes an account, fails to make others, and changes passwords.
async fn register(talk: &mut Talk, name: &str) -> String {
    let wish = |name: &str, password: &str| {
        format!(
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>{password}</password></query></iq>"
        )
    };
    let (first, second) = (talk.secret("first"), talk.secret("second"));
    let mut client = talk.at_the_door().await;
    for name in [name, name, "not a name", "n@me", ""] {
        client.send_bytes(wish(name, &first)).await;
        client.receive().await;
    }
    // Passwords that are refused: too short, like the name, not to be prepared.
    let short = talk.secret("")[..7].to_owned();
    talk.secrets.push(short.clone());
    for bad in [short.clone(), format!("{short}\u{E000}{short}")] {
        client.send_bytes(wish("other", &bad)).await;
        client.receive().await;
    }
    let mut client = talk.scram(name, &first).await;
    client.open_stream(talk.scene.host()).await;
    client.bind("x").await;
    for (name, password) in [(name, short.as_str()), ("somebodyelse", second.as_str()), (name, second.as_str())] {
        client.send_bytes(wish(name, password)).await;
        client.receive().await;
    }
    second
}

/// Says private things in every way there is.
async fn talk_about(talk: &mut Talk, client: &mut RawClient) {
    let says: Vec<String> = (0..12).map(|_| talk.secret("said")).collect();
    client.open_stream(talk.scene.host()).await;
    client.bind("orchard").await;
    let [body, subject, status, name, group, payload, attribute, other, id, ..] = &says[..] else { unreachable!() };
    for to in ["{juliet}", "{juliet/balcony}", "{nurse}", "nobody@{host}", "rooms.{host}", "montague.lit", "{host}"] {
        client
            .send(format!(
                "<message to='{to}' type='chat' id='{id}'><subject>{subject}</subject><body>{body}</body></message>\
                 <iq to='{to}' type='get' id='q'><x xmlns='urn:x' a='{attribute}'>{payload}</x></iq>\
                 <iq to='{to}' type='set' id='q'><x xmlns='urn:x' a='{attribute}'>{payload}</x></iq>\
                 <presence to='{to}'><status>{status}</status></presence>\
                 <presence to='{to}' type='subscribe'><status>{status}</status></presence>"
            ))
            .await;
    }
    client
        .send(format!(
            "<presence><status>{status}</status></presence>\
             <iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='{{nurse}}' name='{name}'><group>{group}</group>\
             </item></query></iq>\
             <iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='a@@{name}'/></query></iq>\
             <message to='{other}@@' id='{id}'><body>{body}</body></message>\
             <iq type='{other}' id='{id}'/><presence type='{other}'/>\
             <presence type='unavailable'><status>{status}</status></presence>"
        ))
        .await;
    client.drain().await;
    // A stream that ends badly, in the middle of it all.
    client.send(format!("<message to='{{juliet}}'><body>{other}</wrong></message>")).await;
    client.expect_stream_error("not-well-formed").await;
}

#[tokio::test]
async fn s38_no_level_shows_what_is_secret() {
    let options = program::options().toml(
        "[log]\nfilter = 'trace'\n[auth]\nmechanisms = ['SCRAM-SHA-256', 'PLAIN']\n\
         [modules.register]\nopen = true\nregistrations = 'unlimited'",
    );
    let server = TestServer::start(options).await;
    let scene = server.scene();
    let name = scene.account("romeo").await;
    scene.account("nurse").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let password = scene.password("romeo");
    let mut talk = Talk { scene, secrets: vec![password.clone()], number: 0 };
    log_in(&mut talk, &name, &password).await;
    let password = register(&mut talk, "benvolio").await;
    let mut client = talk.scram("benvolio", &password).await;
    talk_about(&mut talk, &mut client).await;
    juliet.drain().await;
    // Something that is told at level debug.
    let garbage = format!("{} not TLS\r\n\r\n", talk.secret("garbage"));
    let mut mute = tokio::net::TcpStream::connect(server.addresses().c2s_tls[0]).await.expect("the server listens");
    tokio::io::AsyncWriteExt::write_all(&mut mute, garbage.as_bytes()).await.expect("the server reads");
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut mute, &mut Vec::new()).await;
    // What was kept is delivered later.
    let mut nurse = talk.scene.online("nurse/chamber").await;
    nurse.drain().await;
    server.stop().await;
    let log = program::log(&server);
    assert!(log.contains("DEBUG") && log.contains("login.failed"), "the log is not what it should be: {log}");
    let mut found: Vec<String> = Vec::new();
    for line in log.lines() {
        let shown = |secret: &&String| line.contains(secret.as_str());
        // As a Rust string, or as bytes.
        let bytes = |secret: &&String| line.contains(&format!("{:?}", secret.as_bytes()).replace(['[', ']'], ""));
        if let Some(secret) = talk.secrets.iter().find(|secret| shown(secret) || bytes(secret)) {
            found.push(format!("{secret}: {line}"));
        }
    }
    assert!(found.is_empty(), "{} lines show what is secret:\n{}", found.len(), found.join("\n"));
}

#[tokio::test]
async fn s38_nobody_writes_lines_of_his_own_into_the_log() {
    let options = program::options().toml(
        "[log]\nfilter = 'debug'\n[auth]\nmechanisms = ['SCRAM-SHA-256', 'PLAIN']\n\
         [modules.register]\nopen = true\nregistrations = 'unlimited'",
    );
    let server = TestServer::start(options).await;
    let scene = server.scene();
    let forged = "\n2026-01-01T00:00:00.000000Z  INFO forged line\r\u{1B}[31mred\u{1B}[0m\u{7}\u{9B}31m\u{85}\u{2028}";
    // A name, as whom, a password.
    for message in [format!("\0{forged}\0password"), format!("{forged}\0romeo\0password"), format!("\0romeo\0{forged}")]
    {
        let mut client = scene.connect_tls().await;
        client.open_stream(scene.host()).await;
        client.auth("PLAIN", &base64(message)).await;
    }
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    client.auth("SCRAM-SHA-256", &base64(Scram::new("SCRAM-SHA-256", forged, "x").first())).await;
    client.auth("FORGED&#10;2026-01-01&#x85;", "=").await;
    // In XML, escaped where it must be; U+001B cannot be written there at all.
    let references: String =
        "\nforged line\r\u{85}\u{2028}\u{9B}31m".chars().map(|sign| format!("&#{};", u32::from(sign))).collect();
    for (name, password) in [(references.as_str(), "correct horse battery"), ("alice", references.as_str())] {
        client
            .send_bytes(format!(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
                 <password>{password}</password></query></iq>"
            ))
            .await;
        client.receive().await;
    }
    let host = scene.host();
    for header in [
        format!("to='{references}' version='1.0'"),
        format!("to='{host}' from='{references}' version='1.0'"),
        format!("to='{host}' xml:lang='{references}' version='1.0'"),
        format!("to='{host}' version='{references}'"),
    ] {
        let mut client = scene.connect().await;
        client.begin_stream(waxwing_testkit::stream_header(&header)).await;
        client.expect_header().await;
    }
    let mut romeo = scene.logged_in("romeo").await;
    for resource in [references.as_str(), "\u{2028}forged line", "a&#x202E;b"] {
        romeo
            .send_bytes(format!(
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
            ))
            .await;
        if romeo.receive().await.attribute("type") == Some("result") {
            break;
        }
    }
    server.stop().await;
    let log = program::log(&server);
    let lines: Vec<&str> = log.split('\n').filter(|line| !line.is_empty()).collect();
    assert!(lines.len() > 5, "{log}");
    for line in lines {
        assert!(line.starts_with("20") && line.contains("Z "), "a line that is not ours: {line:?}");
        assert!(!line.contains("INFO forged line"), "{line:?}");
        let control = |sign: char| sign.is_control() || ['\u{2028}', '\u{2029}', '\u{202E}'].contains(&sign);
        assert!(!line.contains(control), "{line:?}");
    }
}
