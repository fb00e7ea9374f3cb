//! Health and figures on their own listener.

use waxwing_testkit::TestServer;
use waxwing_testkit::http::request;

use crate::common::{SERVER, options};

#[tokio::test]
async fn a_server_that_runs_is_live_and_ready() {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().health[0];
    for path in ["/health/live", "/health/ready"] {
        let answer = request(address, &format!("GET {path} HTTP/1.1"), &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(request(address, "POST /health/live HTTP/1.1", &[], "x").await.status, 405);
    for path in ["/", "/health", "/metrics/", "/xmpp-websocket"] {
        assert_eq!(request(address, &format!("GET {path} HTTP/1.1"), &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_server_whose_database_is_gone_is_live_and_not_ready() {
    let server = TestServer::start(options()).await;
    let address = server.addresses().health[0];
    server.with_house(async |house| house.database().close().await).await;
    assert_eq!(request(address, "GET /health/live HTTP/1.1", &[], "").await.status, 200);
    assert_eq!(request(address, "GET /health/ready HTTP/1.1", &[], "").await.status, 503);
}

/// The value of one line of the figures.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
}

#[tokio::test]
async fn figures_follow_sessions_stanzas_commits_and_limits() {
    let server = TestServer::start(options().toml("[limits]\nsend_buffer_bytes = '1 MiB'")).await;
    let address = server.addresses().health[0];
    let figures = async || {
        let answer = request(address, "GET /metrics HTTP/1.1", &[], "").await;
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
        let text = answer.text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        text
    };
    let (messages, out) = (
        "waxwing_stanzas_total{direction=\"in\",kind=\"message\"}",
        "waxwing_stanzas_total{direction=\"out\",kind=\"message\"}",
    );
    let before = figures().await;
    assert_eq!(figure(&before, messages), 0.0);
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    romeo.send("<message to='{juliet/balcony}' type='chat' id='1'><body>Hi</body></message>").await;
    juliet.expect("<message {…}>{…}<body>Hi</body></message>").await;
    romeo.barrier().await;
    let after = figures().await;
    assert_eq!((figure(&after, messages), figure(&after, out)), (1.0, 1.0));
    assert_eq!(figure(&after, "waxwing_sessions{transport=\"tls\"}"), 2.0);
    let commits = "waxwing_storage_commit_seconds_count";
    assert!(figure(&after, commits) > figure(&before, commits), "the message was archived");
    assert!(figure(&after, "waxwing_storage_waiting_rows") >= 0.0);
    romeo.send("</stream:stream>").await;
    romeo.expect_end().await;
    juliet.send("</stream:stream>").await;
    juliet.expect_end().await;
    // Sessions end behind the closing tag.
    for _ in 0..100 {
        if figure(&figures().await, "waxwing_sessions{transport=\"tls\"}") == 0.0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("sessions that have ended are counted:\n{}", figures().await);
}
