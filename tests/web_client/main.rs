//! The web client over real sockets: its page, its files and its policy, what it says when it is not installed, and 404 for
//! everything else.

#[path = "../common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use waxwing_testkit::TestServer;
use waxwing_testkit::http::{HttpAnswer, request};

use common::options;

/// Stands for what `scripts/web-client` installs.
fn installed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("converse.min.js", &b"/* a client */ ".repeat(20_000));
    write("converse.min.css", b"body {}");
    write("curve25519_compiled.wasm", b"\0asm");
    write("chunkjs/locales/de-LC_MESSAGES-converse-po.js", b"1;");
    write("start.js", b"not this one");
    write("README.md", b"# not served");
    write(".secret.js", b"not served");
    folder
}

async fn server(folder: &Path, more: &str) -> (std::sync::Arc<TestServer>, SocketAddr) {
    let toml = format!("[modules.web_client]\nfolder = {:?}\n{more}", folder.to_str().unwrap());
    let server = TestServer::start(options().toml(toml)).await;
    let address = server.addresses().http[0];
    (server, address)
}

async fn get(address: SocketAddr, path: &str) -> HttpAnswer {
    request(address, &format!("GET {path} HTTP/1.1"), &[("host", "localhost")], "").await
}

#[tokio::test]
async fn the_page_its_script_and_its_files_come_from_here_and_so_does_everything_they_load() {
    let folder = installed();
    let (_server, address) = server(folder.path(), "").await;
    let page = get(address, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(!page.text().contains("//"), "nothing from elsewhere: {}", page.text());
    for file in ["/client/converse.min.js", "/client/start.js", "/client/converse.min.css"] {
        assert!(page.text().contains(file), "{file}");
        assert_eq!(get(address, file).await.status, 200, "{file}");
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let script = get(address, "/client/start.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert!(script.text().contains("converse.initialize"), "ours comes before the folder's");
    assert!(script.text().contains("/xmpp-websocket") && script.text().contains("\"allow_registration\":false"));
    let main = get(address, "/client/converse.min.js").await;
    assert_eq!(main.body.len(), 300_000, "whole, in several pieces");
    assert_eq!(get(address, "/client/curve25519_compiled.wasm").await.header("content-type"), Some("application/wasm"));
    assert_eq!(get(address, "/client/chunkjs/locales/de-LC_MESSAGES-converse-po.js").await.body, b"1;");
    // What the browser has is not sent again.
    assert_eq!(main.header("cache-control"), Some("max-age=60"));
    let tag = ("if-none-match", main.header("etag").unwrap());
    let again = request(address, "GET /client/converse.min.js HTTP/1.1", &[("host", "localhost"), tag], "").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = request(address, "HEAD /client/converse.min.js HTTP/1.1", &[("host", "localhost")], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("300000")));
    assert_eq!(request(address, "POST / HTTP/1.1", &[("host", "localhost")], "x").await.status, 405);
}

#[tokio::test]
async fn s31_nothing_but_the_listed_files_is_found_and_never_a_folder() {
    let folder = installed();
    std::fs::write(folder.path().parent().unwrap().join("outside.js"), "outside").unwrap();
    let (_server, address) = server(folder.path(), "").await;
    std::fs::write(folder.path().join("later.js"), "later").unwrap();
    for path in [
        "/client",
        "/client/",
        "/client/chunkjs",
        "/client/chunkjs/",
        "/client/README.md",
        "/client/.secret.js",
        "/client/later.js",
        "/client/nothing.js",
        "/client/../outside.js",
        "/client/..%2foutside.js",
        "/client/%2e%2e/outside.js",
        "/client/..%5coutside.js",
        "/client/%252e%252e/outside.js",
        "/client//etc/passwd",
        "/client/chunkjs/../converse.min.js",
        "/client/..;/outside.js",
        "/client/converse.min.js%00.css",
        "/client/converse.min.js/",
        "/clients",
        "/converse.min.js",
        "/index.html",
        "/dist/",
    ] {
        let answer = get(address, path).await;
        assert_eq!((answer.status, answer.text().contains("outside")), (404, false), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn without_its_files_the_root_says_in_one_sentence_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = server(&folder.path().join("nowhere"), "").await;
    let page = get(address, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert!(page.text().contains("scripts/web-client") && page.text().trim_end().lines().count() == 1);
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert_eq!(get(address, "/client/start.js").await.status, 404);
}

#[tokio::test]
async fn it_offers_what_the_host_offers_and_can_be_turned_off() {
    let folder = installed();
    let open = "[http]\nbosh = false\n[modules.register]\nopen = true\n";
    let (_server, address) = server(folder.path(), open).await;
    let script = get(address, "/client/start.js").await.text();
    assert!(script.contains("\"allow_registration\":true") && !script.contains("/http-bind"), "{script}");
    let (_server, address) = server(folder.path(), "[http]\nbosh = false\nwebsocket = false\n").await;
    assert!(get(address, "/").await.text().contains("takes no web clients"));
    let (_server, address) = server(folder.path(), "enabled = false\n").await;
    for path in ["/", "/client/converse.min.js", "/client/start.js"] {
        assert_eq!(get(address, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn who_comes_in_the_clear_from_elsewhere_is_sent_to_https() {
    let folder = installed();
    // A listed proxy says that the client is elsewhere and has no TLS.
    let (_server, address) = server(folder.path(), "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n").await;
    let from =
        |scheme: &'static str| [("host", "localhost"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", scheme)];
    let clear = request(address, "GET / HTTP/1.1", &from("http"), "").await;
    assert!(clear.text().contains("https"), "{}", clear.text());
    let encrypted = request(address, "GET / HTTP/1.1", &from("https"), "").await;
    assert_eq!(encrypted.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(encrypted.header("strict-transport-security").is_some());
}
