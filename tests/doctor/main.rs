//! `waxwing doctor` at servers that are well, and at servers that are not: its exit code, and the line that mends it.

#[path = "../federation/authority.rs"]
mod authority;
#[path = "../common/mod.rs"]
mod common;
#[path = "../names/mod.rs"]
mod names;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use waxwing_testkit::TestServer;

use authority::{Authority, Signed};
use names::{TLSA, Zone, dead_port, srv};

const DOMAIN: &str = "capulet.lit";
const MACHINE: &str = "machine.capulet.lit";
const HERE: [u8; 4] = [127, 0, 0, 1];

/// A server of ours, and the authority that has signed for it.
struct Place {
    server: Arc<TestServer>,
    authority: Authority,
    _certificates: TempDir,
}

impl Place {
    async fn new(certificate: impl FnOnce(&Authority) -> Signed, more: &str) -> Place {
        let authority = Authority::new();
        let certificates = tempfile::tempdir().expect("a folder");
        certificate(&authority).write(certificates.path(), DOMAIN);
        let text = format!(
            "[listen]\ns2s = [\"127.0.0.1:0\"]\ns2s_tls = [\"127.0.0.1:0\"]\n[tls]\ncertificates = \"{}\"\n\
             [modules.federation]\nenabled = true\npublic_authorities = false\nauthorities = [\"{}\"]\n{more}\n",
            certificates.path().display(),
            authority.file().display(),
        );
        let server = TestServer::start(common::options().hosts(&[DOMAIN]).toml(text)).await;
        Place { server, authority, _certificates: certificates }
    }

    async fn healthy() -> Place {
        Place::new(|authority| authority.sign(DOMAIN), "").await
    }

    /// The DNS as it should be.
    fn zone(&self) -> Zone {
        let addresses = self.server.addresses();
        let services = [
            ("_xmpp-client", addresses.c2s[0]),
            ("_xmpps-client", addresses.c2s_tls[0]),
            ("_xmpp-server", addresses.s2s[0]),
            ("_xmpps-server", addresses.s2s_tls[0]),
        ];
        let zone = services.into_iter().fold(Zone::default(), |zone, (label, address)| {
            zone.with(&format!("{label}._tcp.{DOMAIN}"), names::SRV, srv(0, address.port(), MACHINE))
        });
        zone.with(MACHINE, names::A, HERE)
    }

    async fn examined(&self, zone: Zone, arguments: &[&str]) -> Examined {
        let web = format!("web={}", self.server.addresses().https[0]);
        let authority = self.authority.file().display().to_string();
        let all = [&["--ca", &authority, "--connect", &web, "--private-addresses"], arguments].concat();
        examine(zone.serve().await, &all).await
    }
}

/// What the doctor has said.
struct Examined {
    code: Option<i32>,
    text: String,
}

impl Examined {
    /// The lines of a finding: its own and those that mend it.
    fn finding(&self, words: &str) -> String {
        let mut lines = self.text.lines().skip_while(|line| !line.contains(words));
        let first = lines.next().unwrap_or_else(|| panic!("{words:?} is missing in:\n{}", self.text));
        let mending = lines.take_while(|line| line.trim_start().starts_with("->"));
        [first].into_iter().chain(mending).collect::<Vec<_>>().join("\n")
    }

    /// It ends with this code, and one finding with this mark and these words is mended by the line.
    fn says(&self, code: i32, words: &str, mend: &str) {
        let finding = self.finding(words);
        let mark = if code == 2 { "FAIL" } else { "WARN" };
        assert!(finding.trim_start().starts_with(mark) && finding.contains(mend), "{finding}\n\n{}", self.text);
        assert_eq!(self.code, Some(code), "{}", self.text);
    }
}

async fn examine(resolver: SocketAddr, arguments: &[&str]) -> Examined {
    let output = Command::new(env!("CARGO_BIN_EXE_waxwing"))
        .args(["doctor", DOMAIN, "--resolver", &resolver.to_string()])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_secs(40), output).await.expect("it ends in time").expect("it runs");
    assert!(output.stderr.is_empty(), "{output:?}");
    Examined { code: output.status.code(), text: String::from_utf8(output.stdout).expect("UTF-8") }
}

#[tokio::test]
async fn a_server_that_is_well_is_told_so() {
    let place = Place::healthy().await;
    let examined = place.examined(place.zone(), &[]).await;
    assert_eq!(examined.code, Some(0), "{}", examined.text);
    assert!(examined.text.is_ascii() && examined.text.ends_with("capulet.lit: all is well\n"), "{}", examined.text);
    for words in [
        "ok   _xmpps-server._tcp.capulet.lit: 0 0 ",
        ", for clients, STARTTLS: 127.0.0.1:",
        ", for other servers, direct TLS: 127.0.0.1:",
        "ok   capulet.lit, *.capulet.lit, signed by The Prince of Verona",
        "SASL SCRAM-SHA-",
        "channel binding tls-exporter",
        "ok   https://capulet.lit/.well-known/host-meta\n",
        "ok   https://capulet.lit/.well-known/host-meta.json\n",
        "ok   WebSocket: wss://capulet.lit",
        "ok   BOSH: https://capulet.lit",
    ] {
        assert!(examined.text.contains(words), "{words:?} is missing in:\n{}", examined.text);
    }
    // For programs the same.
    let json = place.examined(place.zone(), &["--json"]).await;
    let report: Value = serde_json::from_str(&json.text).expect("JSON");
    assert_eq!((json.code, report["domain"].as_str()), (Some(0), Some(DOMAIN)));
    assert!(report["findings"].as_array().is_some_and(|findings| findings.len() > 10), "{}", json.text);
}

#[tokio::test]
async fn without_srv_records_they_are_written_down() {
    let place = Place::healthy().await;
    let empty = place.examined(Zone::default(), &[]).await;
    empty.says(
        2,
        "there is no _xmpp-client._tcp",
        "-> _xmpp-client._tcp.capulet.lit. 3600 IN SRV 5 0 5222 capulet.lit.",
    );
    empty.says(
        2,
        "there is no _xmpp-server._tcp",
        "-> _xmpp-server._tcp.capulet.lit. 3600 IN SRV 5 0 5269 capulet.lit.",
    );
    let (client, server) = (place.server.addresses().c2s[0], place.server.addresses().s2s[0]);
    let services = [format!("client={client}"), format!("server={server}")];
    // Where only one is missing, the other one tells which machine it is; where the machine has no name, neither helps.
    let zone = Zone::default().with_service("_xmpp-client._tcp.capulet.lit", client.port(), MACHINE, HERE).with(
        "_xmpps-client._tcp.capulet.lit",
        names::SRV,
        srv(0, 5223, "nowhere.capulet.lit"),
    );
    let half = place.examined(zone, &["--connect", &services[1]]).await;
    half.says(
        2,
        "nowhere.capulet.lit, which an SRV record names, has no address",
        "-> nowhere.capulet.lit. 3600 IN A ",
    );
    assert!(half.finding("no _xmpps-server").contains("IN SRV 5 0 5270 capulet.lit."), "{}", half.text);
    // Nobody needs the DNS for what the command line places.
    let placed = place.examined(Zone::default(), &["--connect", &services[0], "--connect", &services[1]]).await;
    assert_eq!(placed.code, Some(0), "{}", placed.text);
}

#[tokio::test]
async fn a_dead_port_is_named_with_what_must_let_it_through() {
    let place = Place::healthy().await;
    let (port, _dead) = dead_port();
    let zone = place.zone().with("_xmpp-client._tcp.capulet.lit", names::SRV, srv(9, port, MACHINE));
    let one_of_two = place.examined(zone, &[]).await;
    one_of_two.says(
        1,
        &format!("127.0.0.1:{port} refuses connections"),
        &format!("let TCP to 127.0.0.1:{port} through"),
    );
    let dead = format!("client=127.0.0.1:{port}");
    let all = place.examined(place.zone(), &["--connect", &dead]).await;
    all.says(2, "refuses connections", &format!("[listen]: c2s = [\"0.0.0.0:{port}\", \"[::]:{port}\"]"));
}

#[tokio::test]
async fn bad_certificates_are_told_apart() {
    let expired = Place::new(
        |authority| {
            authority.sign_with(|params| {
                params.subject_alt_names =
                    rcgen::CertificateParams::new([DOMAIN.to_owned()]).expect("a name").subject_alt_names;
                params.not_before = rcgen::date_time_ymd(2020, 1, 1);
                params.not_after = rcgen::date_time_ymd(2020, 6, 1);
            })
        },
        "",
    )
    .await;
    let said = expired.examined(expired.zone(), &[]).await;
    said.says(2, "the certificate has expired on 2020-06-01", "certbot certonly -d capulet.lit");
    // A server that takes the name of this one, and has a certificate of its own.
    let other = Place::healthy().await;
    let montague = Authority::new();
    let tls = Arc::new(signed_server(&montague.sign("montague.lit")));
    let address = serving_tls(tls).await;
    let authority = montague.file().display().to_string();
    let said = other.examined(other.zone(), &["--ca", &authority, "--connect", &format!("client-tls={address}")]).await;
    said.says(2, "does not name capulet.lit: it is for montague.lit", "order a new one for DNS:capulet.lit");
    assert!(said.finding("nothing answers to ALPN xmpp-client").contains("agree to xmpp-client"), "{}", said.text);
    let own = Place::new(|_| Signed::by_itself(DOMAIN), "").await;
    let said = own.examined(own.zone(), &[]).await;
    said.says(2, "signed by itself", "tls.certificates");
}

/// How a server shows this certificate.
fn signed_server(signed: &Signed) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("PEM");
    builder.with_single_cert(vec![CertificateDer::from(signed.der())], key).expect("a certificate")
}

/// A server that begins with TLS, shows its certificate and hangs up; without ALPN.
async fn serving_tls(configuration: Arc<rustls::ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let acceptor = tokio_rustls::TlsAcceptor::from(configuration);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = acceptor.accept(socket).await;
        }
    });
    address
}

#[tokio::test]
async fn what_signed_or_unsigned_records_say_of_a_certificate_is_compared() {
    let place = Place::healthy().await;
    let port = place.server.addresses().s2s[0].port();
    let wrong = digest(&SHA256, b"another");
    let name = format!("_{port}._tcp.{MACHINE}");
    let zone = place.zone().with(&name, TLSA, [&[3, 1, 1][..], wrong.as_ref()].concat());
    let said = place.examined(zone, &[]).await;
    said.says(1, &format!("TLSA of {name} does not fit"), &format!("-> {name}. 3600 IN TLSA 3 1 1 "));
}

#[tokio::test]
async fn a_server_without_a_web_is_no_home_for_browsers() {
    let place = Place::new(|authority| authority.sign(DOMAIN), "[http]\nwebsocket = false\nbosh = false").await;
    let said = place.examined(place.zone(), &[]).await;
    said.says(1, "host-meta: it is not there (status 404)", "let https://capulet.lit/.well-known/host-meta lead");
    let (port, _dead) = dead_port();
    let dead = format!("web=127.0.0.1:{port}");
    let authority = place.authority.file().display().to_string();
    let arguments = ["--ca", &authority, "--connect", &dead, "--private-addresses"];
    let said = examine(place.zone().serve().await, &arguments).await;
    said.says(1, "refuses connections", "proxy_pass http://127.0.0.1:5280");
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_says_whom_to_ask() {
    let place = Place::new(|authority| authority.sign(DOMAIN), "block = [\"evil.test\"]").await;
    let said = place.examined(place.zone(), &["--from", "evil.test"]).await;
    said.says(2, "it refuses other servers: policy-violation", "[modules.federation]: enabled = true");
    let welcome = place.examined(place.zone(), &["--from", "montague.lit"]).await;
    assert_eq!(welcome.code, Some(0), "{}", welcome.text);
    // A machine that serves somebody else.
    let other = TestServer::start(common::options().hosts(&["montague.lit"])).await;
    let client = format!("client={}", other.addresses().c2s[0]);
    let said = place.examined(place.zone(), &["--connect", &client]).await;
    said.says(2, "does not serve capulet.lit", "[[hosts]] name = \"capulet.lit\"");
}

#[tokio::test]
async fn a_server_without_tls_and_one_that_says_nothing_are_told_apart() {
    let place = Place::healthy().await;
    let plain = scripted(
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
         </mechanisms></stream:features>",
    )
    .await;
    let said = place.examined(place.zone(), &["--connect", &format!("client={plain}")]).await;
    said.says(2, "offers no STARTTLS", "c2s_require_encryption = true");
    said.says(2, "takes passwords in the clear", "starttls_required: true");
    // It accepts, and says nothing: the time is over when it is over.
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("bound");
    let began = Instant::now();
    let said = place.examined(place.zone(), &["--timeout", "2", "--connect", &format!("client-tls={address}")]).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(said.code, Some(2), "{}", said.text);
    let text = said.finding("TLS is not agreed on");
    assert!(text.contains(&format!("openssl s_client -connect {address}")), "{text}");
}

/// A server for clients that says this after its header, to everybody.
async fn scripted(features: &'static str) -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' version='1.0' \
                          xmlns:stream='http://etherx.jabber.org/streams' from='capulet.lit'>";
            let _ = socket.read(&mut [0; 1_024]).await;
            let _ = socket.write_all([header, features].concat().as_bytes()).await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    address
}

#[tokio::test]
async fn what_cannot_be_examined_has_a_code_of_its_own() {
    for (arguments, words) in
        [(&["127.0.0.1"][..], "is an address"), (&[DOMAIN, "--ca", "missing.pem"], "authorities: missing.pem")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_waxwing"))
            .arg("doctor")
            .args(arguments)
            .env_clear()
            .output()
            .await
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && said.contains(words) && output.stdout.is_empty(), "{output:?}");
    }
}
