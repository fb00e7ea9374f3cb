//! How streams end (RFC 6120 §4.4, §4.6, §4.9), and that order holds while they last (§10.1).

use std::time::{Duration, Instant};

use waxwing_testkit::{Ending, TestServer};

use crate::common::{SERVER, options};

#[tokio::test]
async fn c10_what_was_sent_before_the_closing_tag_is_done() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let messages: String =
        (1..=5).map(|number| format!("<message to='{{juliet}}' type='chat' id='m{number}'/>")).collect();
    romeo.send(format!("{messages}</stream:stream>")).await;
    for number in 1..=5 {
        let template = format!("<message from='{{romeo/orchard}}' to='{{juliet}}' type='chat' id='m{number}'/>");
        juliet.expect(template).await;
    }
    // The closing tag, close_notify and FIN, and nothing behind the tag.
    romeo.expect_end().await;
}

#[tokio::test]
async fn c10_a_stream_can_be_closed_at_every_step() {
    let scene = SERVER.scene().await;
    let mut plain = scene.connect().await;
    plain.open_stream(scene.host()).await;
    let mut encrypted = scene.connect_tls().await;
    encrypted.open_stream(scene.host()).await;
    let logged_in = scene.logged_in("romeo").await;
    let online = scene.online("romeo/orchard").await;
    for mut client in [plain, encrypted, logged_in, online] {
        client.send("</stream:stream>").await;
        client.expect_end().await;
    }
}

#[tokio::test]
async fn c11_a_silent_peer_does_not_keep_a_closed_stream_open() {
    // 5 seconds by default; a shorter time shows that it is the setting that does it.
    let server = TestServer::start(options().toml("[limits]\nclose_timeout = '500ms'")).await;
    let scene = server.scene();
    let plain = {
        let mut client = scene.connect().await;
        client.open_stream(scene.host()).await;
        client
    };
    for mut client in [plain, scene.session("romeo/orchard").await] {
        client.send("<a></b>").await;
        let error = client.receive().await;
        assert_eq!(error.name, "error", "{error}");
        let began = Instant::now();
        // Our half is closed at once; the other half is closed for the peer in the end.
        while client.try_send(" ").await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(4), "the connection stays open for ever");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn c23_half_a_stanza_has_no_effect() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for half in [
        "<message to='{juliet}' type='chat'><body>half</body>",
        "<message to='{juliet}' type='chat'><body>half</body></message",
        "<presence to='{juliet}'",
    ] {
        let mut romeo = scene.session("romeo/orchard").await;
        romeo.send(half).await;
        romeo.shut_down().await;
        romeo.expect_close().await;
        juliet.barrier().await;
    }
}

#[tokio::test]
async fn c24_a_peer_that_is_gone_is_found_out_and_a_quiet_one_is_left_alone() {
    let server = TestServer::start(options().toml("[limits]\nping_after = '500ms'\nping_timeout = '1500ms'")).await;
    let scene = server.scene();
    let mut gone = scene.session("romeo/orchard").await;
    let mut quiet = scene.session("juliet/balcony").await;
    let mut keepalive = scene.session("nurse/chamber").await;
    let mut pings = 0;
    let ticks = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            // Whitespace is a sign of life (RFC 6120 §4.6.1).
            keepalive.send(" ").await;
        }
        keepalive.barrier().await;
    };
    let answers = async {
        // Any answer is a sign of life, an error too.
        while pings < 2 {
            quiet.expect("<iq type='get' id='{capture:ping}' from='{any}' to='{any}'>{…}</iq>").await;
            quiet.send("<iq type='error' id='{ping}' to='{host}'/>").await;
            pings += 1;
        }
        quiet.barrier().await;
    };
    let timeout = async {
        gone.expect("<iq type='get' id='{any}' from='{any}' to='{any}'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        gone.expect_stream_error("connection-timeout").await;
    };
    tokio::join!(ticks, answers, timeout);
}

#[tokio::test]
async fn c26_everyone_is_told_when_the_server_stops() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut stranger = scene.connect().await;
    stranger.open_stream(scene.host()).await;
    let mut bare = scene.logged_in("nurse").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    let told = async {
        for client in [&mut stranger, &mut bare, &mut romeo, &mut juliet] {
            client.expect_stream_error("system-shutdown").await;
        }
    };
    tokio::join!(server.stop(), told);
    // What the kit calls the same server is there again on the same data.
    server.start_again().await.expect("the server starts again");
    scene.session("romeo/orchard").await.barrier().await;
}

#[tokio::test]
async fn c27_a_thousand_messages_stay_in_order() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    for batch in 0..10 {
        let to = |number: usize| if number.is_multiple_of(3) { "{juliet}" } else { "{juliet/balcony}" };
        let message = |number| format!("<message to='{}' type='chat' id='{number}'/>", to(number));
        let messages: String = (batch * 100..(batch + 1) * 100).map(message).collect();
        romeo.send(messages).await;
    }
    for number in 0..1_000 {
        let message = juliet.receive().await;
        assert_eq!(message.attribute("id"), Some(number.to_string().as_str()), "{message}");
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn c10_a_connection_that_breaks_ends_the_session() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut other = scene.online("romeo/garden").await;
    romeo.drain().await;
    romeo.hang_up();
    other.expect("<presence from='{romeo/orchard}' to='{any}' type='unavailable'/>").await;
    assert_eq!(romeo.expect_close().await, Ending::Broken("hung up".to_owned()));
}
