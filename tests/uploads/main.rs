//! Files over real sockets: slots from the service, PUT and GET over HTTP, in a folder and in a bucket (XEP-0363).

#[path = "../common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waxwing_testkit::{RawClient, SharedServer, TestOptions, TestServer};

use common::options;

const UPLOAD: &str = "urn:xmpp:http:upload:0";
const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
const FILES: &str = "https://files.test";

static SERVER: SharedServer = SharedServer::new(|| with(""));

fn with(more: &str) -> TestOptions {
    options().toml(format!("[modules.upload]\nurl = \"{FILES}\"\nfile = \"100KiB\"\naccount_day = \"250KiB\"\n{more}"))
}

/// An answer of the web.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Where the web of a server is.
#[derive(Clone)]
struct Web {
    address: SocketAddr,
    host: String,
}

impl Web {
    fn of(server: &Arc<TestServer>) -> Web {
        Web { address: server.addresses().http[0], host: server.host().to_owned() }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses does not have to read the body.
        let _ = socket.write_all(body).await;
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await;
        read.expect("the answer comes").unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = answer[end + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Answer { status, head, body }
    }

    async fn put(&self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        let length = body.len().to_string();
        self.ask("PUT", path, &[("Content-Length", &length), ("Content-Type", media_type)], body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").await
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// Asks for a slot; gives the path of its URL.
async fn slot(client: &mut RawClient, attributes: &str, inside: &str) -> String {
    client
        .send(format!("<iq type='get' id='slot' to='upload.{{host}}'><request xmlns='{UPLOAD}' {attributes}>{inside}</request></iq>"))
        .await;
    let answer = client.receive().await;
    let slot = answer.child_in(UPLOAD, "slot").unwrap_or_else(|| panic!("no slot: {answer}"));
    let url = |name: &str| slot.child_in(UPLOAD, name).unwrap().attribute("url").unwrap().to_owned();
    assert_eq!(url("put"), url("get"));
    url("get").strip_prefix(FILES).expect("below the URL that the operator has named").to_owned()
}

async fn refused(client: &mut RawClient, attributes: &str, inside: &str, error: &str) {
    client
        .send(format!(
            "<iq type='get' id='no' to='upload.{{host}}'><request xmlns='{UPLOAD}' {attributes}>{inside}</request></iq>"
        ))
        .await;
    client.expect(format!("<iq type='error' id='no' {{…}}>{{error:{error}}}</iq>")).await;
}

#[tokio::test]
async fn a_file_goes_up_once_and_comes_down_whole_or_in_parts() {
    let scene = SERVER.scene().await;
    let web = Web::of(scene.server());
    let mut romeo = scene.session("romeo/orchard").await;
    let path = slot(&mut romeo, "filename='très cool.jpg' size='1000' content-type='image/jpeg'", "").await;
    assert!(path.ends_with("/tr%C3%A8s%20cool.jpg"), "{path}");
    let picture: Vec<u8> = (0..1000u32).map(|number| (number * 7) as u8).collect();
    assert_eq!(web.get(&path).await.status, 404, "nothing is there yet");
    assert_eq!(web.put(&path, "image/jpeg", &picture).await.status, 201);
    assert_eq!(web.put(&path, "image/jpeg", &picture).await.status, 409, "S30: a slot is used once");
    let whole = web.get(&path).await;
    assert_eq!((whole.status, &whole.body), (200, &picture));
    assert_eq!(whole.header("content-type"), Some("image/jpeg"));
    assert_eq!(whole.header("content-disposition"), Some("inline; filename*=UTF-8''tr%C3%A8s%20cool.jpg"));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(whole.header("access-control-allow-origin"), Some("*"));
    assert!(whole.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let part = web.ask("GET", &path, &[("Range", "bytes=10-19")], b"").await;
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 10-19/1000")));
    assert_eq!(part.body, picture[10..20]);
    let head = web.ask("HEAD", &path, &[], b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000"), 0));
    let tag = whole.header("etag").unwrap();
    assert_eq!(web.ask("GET", &path, &[("If-None-Match", tag)], b"").await.status, 304);
    let other_name = path.replace("cool", "hot");
    assert_eq!(web.get(&other_name).await.status, 404);
}

#[tokio::test]
async fn s30_what_does_not_fit_the_slot_is_refused_and_the_slot_stays() {
    let scene = SERVER.scene().await;
    let web = Web::of(scene.server());
    let mut romeo = scene.session("romeo/orchard").await;
    let path = slot(&mut romeo, "filename='a.png' size='10' content-type='image/png'", "").await;
    assert_eq!(web.put(&path, "image/png", &[0; 11]).await.status, 413);
    assert_eq!(web.put(&path, "image/png", &[0; 9]).await.status, 400);
    assert_eq!(web.put(&path, "text/html", &[0; 10]).await.status, 400);
    assert_eq!(web.ask("PUT", &path, &[("Transfer-Encoding", "chunked")], b"1\r\nx\r\n0\r\n\r\n").await.status, 411);
    let short = web.ask("PUT", &path, &[("Content-Length", "10"), ("Content-Type", "image/png")], b"abc");
    // The client goes away in the middle.
    assert!(timeout(Duration::from_millis(300), short).await.is_err());
    let mut status = 409;
    for _ in 0..50 {
        status = web.put(&path, "image/png", &[7; 10]).await.status;
        if status != 409 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 201, "after all that the slot can be used");
    assert_eq!(web.get(&path).await.body, [7; 10]);
    for range in ["bytes=0-1,3-4", "bytes=10-", "bytes=5-4"] {
        assert_eq!(web.ask("GET", &path, &[("Range", range)], b"").await.status, 416, "{range}");
    }
    let many = format!("bytes={}", vec!["0-1"; 1000].join(","));
    assert_eq!(web.ask("GET", &path, &[("Range", &many)], b"").await.status, 416);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_file_or_the_slot() {
    let scene = SERVER.scene().await;
    let web = Web::of(scene.server());
    let mut romeo = scene.session("romeo/orchard").await;
    for round in 0..15 {
        let path = slot(&mut romeo, "filename='a.png' size='1000'", "").await;
        let mut socket = TcpStream::connect(web.address).await.unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n", web.host);
        socket.write_all(&[head.as_bytes(), &[7; 1000]].concat()).await.unwrap();
        // In each round at another place: before the slot is taken, while the file is written, after it.
        tokio::time::sleep(Duration::from_micros(400 * round)).await;
        drop(socket);
        let mut found = (0, 0);
        for _ in 0..200 {
            found = (web.put(&path, "image/png", &[7; 1000]).await.status, web.get(&path).await.status);
            if found.1 == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(matches!(found, (201 | 409, 200)), "round {round}: {found:?}");
    }
}

#[tokio::test]
async fn s30_nothing_that_could_run_in_a_browser_is_shown() {
    let scene = SERVER.scene().await;
    let web = Web::of(scene.server());
    let mut romeo = scene.session("romeo/orchard").await;
    for (name, media_type) in [("x.html", "text/html"), ("x.svg", "image/svg+xml"), ("x.js", "text/javascript")] {
        let wish = format!("filename='{name}' size='8' content-type='{media_type}'");
        let path = slot(&mut romeo, &wish, "").await;
        assert_eq!(web.put(&path, media_type, b"<script>").await.status, 201);
        let answer = web.get(&path).await;
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{name}");
        assert!(answer.header("content-disposition").unwrap().starts_with("attachment"), "{name}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
    for name in ["../../etc/x", "a%2f..%2fb", "CON", "\u{202e}gpj.exe"] {
        let path = slot(&mut romeo, &format!("filename='{name}' size='1'"), "").await;
        assert!(!path.contains("/..") && !path.to_lowercase().contains("%2f"), "{path}");
        assert_eq!(web.put(&path, "application/octet-stream", b"x").await.status, 201, "{name}");
        assert_eq!(web.get(&path).await.body, b"x");
    }
}

#[tokio::test]
async fn slots_are_for_accounts_and_bounded() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    refused(&mut romeo, "filename='a' size='102401'", "", "modify:not-acceptable").await;
    refused(&mut romeo, "filename='a' size='0'", "", "modify:bad-request").await;
    let permanent = format!("<permanent xmlns='{PURPOSE}'/>");
    refused(&mut romeo, "filename='a' size='1'", &permanent, "cancel:feature-not-implemented").await;
    let over = format!("<ephemeral xmlns='{PURPOSE}' expire-before='2001-01-01T00:00:00Z'/>");
    refused(&mut romeo, "filename='a' size='1'", &over, "modify:bad-request").await;
    for _ in 0..2 {
        slot(&mut romeo, "filename='a' size='102400'", "").await;
    }
    refused(&mut romeo, "filename='a' size='102400'", "", "wait:resource-constraint").await;
    slot(&mut romeo, "filename='a' size='1000'", &format!("<profile xmlns='{PURPOSE}'/>")).await;
    romeo
        .send("<iq type='get' id='d' to='upload.{host}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    let told = romeo.receive().await.to_string();
    for wanted in [UPLOAD, "max-file-size", "102400", "purpose:0#profile", "purpose:0#ephemeral"] {
        assert!(told.contains(wanted), "{wanted} in {told}");
    }
    assert!(!told.contains("#permanent"));
}

#[tokio::test]
async fn s28_pages_of_other_hosts_read_and_do_not_write() {
    let scene = SERVER.scene().await;
    let web = Web::of(scene.server());
    let mut romeo = scene.session("romeo/orchard").await;
    let path = slot(&mut romeo, "filename='a.txt' size='2'", "").await;
    let own = format!("https://{}", scene.host());
    let asked = web.ask("OPTIONS", &path, &[("Origin", &own), ("Access-Control-Request-Method", "PUT")], b"").await;
    assert_eq!(asked.header("access-control-allow-origin"), Some(own.as_str()));
    assert!(asked.header("access-control-allow-methods").unwrap().contains("PUT"));
    let evil = [("Origin", "https://evil.test"), ("Content-Length", "2")];
    assert_eq!(web.ask("PUT", &path, &evil, b"hi").await.status, 403);
    let asked = web.ask("OPTIONS", &path, &evil[..1], b"").await;
    assert!(!asked.header("access-control-allow-methods").unwrap().contains("PUT"));
    assert_eq!(web.ask("PUT", &path, &[("Origin", &own), ("Content-Length", "2")], b"hi").await.status, 201);
    assert_eq!(web.ask("GET", &path, &evil[..1], b"").await.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn files_outlive_the_server_and_not_their_account() {
    let server = TestServer::start(with("")).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    let path = slot(&mut romeo, "filename='a.txt' size='2'", "").await;
    assert_eq!(Web::of(&server).put(&path, "application/octet-stream", b"hi").await.status, 201);
    drop(romeo);
    server.stop().await;
    server.start_again().await.unwrap();
    assert_eq!(Web::of(&server).get(&path).await.body, b"hi");
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
    romeo.expect("<iq type='result' id='r' {…}/>").await;
    let mut status = 200;
    for _ in 0..50 {
        status = Web::of(&server).get(&path).await.status;
        if status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 404);
}

/// Against a server that speaks S3, whose URL scripts/test gives in WAXWING_TEST_S3.
#[tokio::test]
async fn files_may_lie_in_a_bucket() {
    let endpoint = std::env::var("WAXWING_TEST_S3")
        .expect("WAXWING_TEST_S3 names a server that speaks S3; see scripts/with-bucket");
    let address: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let bucket = Web { address, host: address.to_string() };
    let made = bucket.ask("PUT", "/berries", &[("Content-Length", "0")], b"").await;
    assert!(matches!(made.status, 200 | 409), "{}", made.head);
    let settings = format!(
        "[modules.upload.bucket]\nname = \"berries\"\nendpoint = \"{endpoint}\"\naccess_key = \"a\"\nsecret_key = \"b\"\nprefix = \"files/\"\n"
    );
    let server = TestServer::start(with(&settings)).await;
    let scene = server.scene();
    let web = Web::of(&server);
    let mut romeo = scene.session("romeo/orchard").await;
    let path = slot(&mut romeo, "filename='a.png' size='90000' content-type='image/png'", "").await;
    let picture: Vec<u8> = (0..90_000u32).map(|number| (number % 251) as u8).collect();
    assert_eq!(web.put(&path, "image/png", &picture).await.status, 201);
    assert_eq!(web.get(&path).await.body, picture);
    let part = web.ask("GET", &path, &[("Range", "bytes=89990-")], b"").await;
    assert_eq!((part.status, part.body.as_slice()), (206, &picture[89_990..]));
    let list = bucket.get("/berries?list-type=2").await;
    let list = String::from_utf8_lossy(&list.body).into_owned();
    assert!(list.contains("<Key>files/"), "{list}");
    let broken = slot(&mut romeo, "filename='b.png' size='10'", "").await;
    assert_eq!(web.put(&broken, "application/octet-stream", &[0; 9]).await.status, 400);
    assert_eq!(web.get(&broken).await.status, 404);
}
