//! S1, S2, S8: XML that is made to cost the server more than it costs its sender.

use std::time::{Duration, Instant};

use waxwing_testkit::{RawClient, Scene, TestServer, stream_header};

use crate::common::{SERVER, options};
use crate::program;
use crate::strangers::{answer_to, hold};

/// A document type whose last entity stands for 10⁹ words.
fn billion_laughs() -> String {
    let mut bomb = "<!DOCTYPE bomb [<!ENTITY a0 'ha'>".to_owned();
    for level in 1..10 {
        let inner = format!("&a{};", level - 1).repeat(10);
        bomb.push_str(&format!("<!ENTITY a{level} '{inner}'>"));
    }
    bomb + "]>"
}

/// Everything that begins like a document type or needs one.
fn documents() -> Vec<String> {
    vec![
        billion_laughs(),
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]>".to_owned(),
        "<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/a.dtd'>".to_owned(),
        "<!DOCTYPE a [<!ENTITY % b '<!ENTITY c \"d\">'> %b;]>".to_owned(),
        "<!DOCTYPE a [<!ATTLIST message type CDATA 'error'>]>".to_owned(),
        "<!ENTITY b 'c'>".to_owned(),
    ]
}

/// Clients at every entrance for XML there is: in the clear, under TLS, logged in, bound.
async fn entrances(scene: &Scene) -> Vec<RawClient> {
    let mut plain = scene.connect().await;
    plain.open_stream(scene.host()).await;
    let mut encrypted = scene.connect_tls().await;
    encrypted.open_stream(scene.host()).await;
    vec![plain, encrypted, scene.logged_in("romeo").await, scene.session("romeo/orchard").await]
}

#[tokio::test]
async fn s01_entities_are_refused_at_every_entrance() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for document in documents() {
        for mut client in entrances(&scene).await {
            client.send(format!("{document}<message to='{{juliet}}'><body>&a9;</body></message>")).await;
            client.expect_stream_error("restricted-xml").await;
        }
        // Instead of the header, and between the declaration and the header.
        for declaration in ["", "<?xml version='1.0'?>"] {
            for tls in [false, true] {
                let mut client = if tls { scene.connect_tls().await } else { scene.connect().await };
                let header = stream_header(&format!("to='{}' version='1.0'", scene.host()));
                let header = header.trim_start_matches("<?xml version='1.0'?>");
                client.begin_stream(format!("{declaration}{document}{header}")).await;
                client.expect_stream_error("restricted-xml").await;
            }
        }
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn s01_entities_inside_a_stanza_are_refused() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for inside in [billion_laughs().as_str(), "&a9;", "<a b='&a9;'/>", "&a0;&a1;", "%b;&b;"] {
        let mut romeo = scene.session("romeo/orchard").await;
        romeo.send(format!("<message to='{{juliet}}'><body>{inside}</body></message>")).await;
        // RFC 6120 §11.1 counts references to other than the predefined entities among the restricted features.
        romeo.expect_stream_error("restricted-xml").await;
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn s01_a_bomb_costs_neither_memory_nor_time() {
    let server = TestServer::start(program::options()).await;
    let bomb = format!("<?xml version='1.0'?>{}<stream:stream to='x'>&a9;", billion_laughs());
    let throw = async |times: usize| {
        for _ in 0..times {
            let answer = answer_to(&server, bomb.as_bytes()).await;
            assert!(answer.contains("<restricted-xml"), "{answer}");
        }
    };
    let process = program::Process::of(&server);
    // The program settles: threads, caches, the allocator's arenas.
    throw(100).await;
    let (memory, time) = (process.memory(), process.processor_time());
    throw(200).await;
    let (grown, taken) = (process.memory().saturating_sub(memory), process.processor_time() - time);
    // The row's figure, 1 MiB, is for one; some noise of the allocator is in it here.
    assert!(grown < 2 * 1024 * 1024, "200 bombs have cost {} KiB", grown / 1024);
    // The row's figure is 10 ms for each, on the connection as a whole.
    assert!(taken < Duration::from_millis(10) * 200, "200 bombs have taken {taken:?}");
}

/// What no stranger may send: too large, too deep, too many elements, too many attributes, too long a name.
fn too_much_before_login() -> Vec<String> {
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'";
    let attributes: String = (0..1_000).map(|number| format!(" a{number}=''")).collect();
    let namespaces: String = (0..100).map(|number| format!(" xmlns:n{number}='urn:{number}'")).collect();
    vec![
        format!("{auth}>{}</auth>", "A".repeat(9 * 1024)),
        format!("{auth}>{}{}</auth>", "<a>".repeat(33), "</a>".repeat(33)),
        format!("{auth}>{}</auth>", "<a/>".repeat(33)),
        format!("{auth}{attributes}/>"),
        format!("{auth}{namespaces}/>"),
        format!("<a{} xmlns='urn:x'/>", "a".repeat(1_000)),
        format!("{auth} a='{}'/>", "x".repeat(9 * 1024)),
        // It never ends.
        format!("{auth}>{}", "A".repeat(9 * 1024)),
        format!("<{}", "a".repeat(9 * 1024)),
        " ".repeat(3) + "<a " + &" ".repeat(9 * 1024),
    ]
}

#[tokio::test]
async fn s02_strangers_are_given_little_room() {
    let scene = SERVER.scene().await;
    for bad in too_much_before_login() {
        for tls in [false, true] {
            let mut client = if tls { scene.connect_tls().await } else { scene.connect().await };
            client.open_stream(scene.host()).await;
            client.send_bytes(&bad).await;
            client.expect_stream_error("policy-violation").await;
        }
    }
    // The header is no other.
    for header in ["a".repeat(9 * 1024), (0..1_000).map(|number| format!("a{number}='' ")).collect()] {
        let mut client = scene.connect().await;
        client.begin_stream(format!("<stream:stream xmlns='jabber:client' {header}>")).await;
        client.expect_stream_error("policy-violation|not-well-formed").await;
    }
}

#[tokio::test]
async fn s02_what_is_as_large_as_may_be_is_still_read() {
    let scene = SERVER.scene().await;
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>";
    // RFC 6120 gives strangers no size; the limit that is advertised is the one that holds.
    let limits = client.features().child_in("urn:xmpp:stream-limits:0", "limits").expect("limits are advertised");
    let most: usize = limits.text_of("max-bytes").and_then(|text| text.parse().ok()).expect("a number");
    let filler = "A".repeat(most - auth.len() - "</auth>".len());
    client.send_bytes(format!("{auth}{filler}</auth>")).await;
    // Whether it is base64 depends on its length; it is no SCRAM in any case.
    let failure = client.receive().await;
    assert_eq!(failure.name, "failure", "{failure}");
    client.send_bytes(format!("{auth}{}</auth>", "<a/>".repeat(31))).await;
    assert_eq!(client.receive().await.name, "challenge", "no initial response is asked for");
    client.send_bytes(format!("{auth}A{filler}</auth>")).await;
    client.expect_stream_error("policy-violation").await;
}

#[tokio::test]
async fn s02_many_strangers_who_send_as_much_as_they_may_cost_little_memory() {
    let server = TestServer::start(program::options()).await;
    let process = program::Process::of(&server);
    let header = stream_header(&format!("to='{}' version='1.0'", server.host()));
    let longest = format!("{header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}", "A".repeat(8_000));
    drop(hold(&server, longest.as_bytes(), 100).await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = process.memory();
    // A stanza that is refused leaves nothing behind.
    let strangers = 400;
    for _ in 0..strangers {
        let answer = answer_to(&server, format!("{longest}{}", "A".repeat(1_000)).as_bytes()).await;
        assert!(answer.contains("<policy-violation"), "{answer}");
    }
    let after_refusals = process.memory().saturating_sub(before);
    assert!(after_refusals < 4 * 1024 * 1024, "{strangers} refusals have cost {} KiB", after_refusals / 1024);
    // And one that is waited for costs what the row allows: 16 KiB for each connection.
    let before = process.memory();
    let held = hold(&server, longest.as_bytes(), strangers).await;
    let each = process.memory().saturating_sub(before) / strangers;
    assert!(each <= 16 * 1024, "each of {strangers} strangers costs {each} bytes");
    drop(held);
}

#[tokio::test]
async fn s02_nobody_overflows_the_stack_or_the_tables() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let attributes: String = (0..10_000).map(|number| format!(" a{number}=''")).collect();
    let namespaces: String = (0..10_000).map(|number| format!("<a xmlns:n{number}='urn:{number}'>")).collect();
    for bad in [
        "<a>".repeat(10_000),
        format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000)),
        "<a/>".repeat(100_000),
        format!("<{}/>", "a".repeat(64 * 1024)),
        format!("<a {}=''/>", "a".repeat(64 * 1024)),
        format!("<a{attributes}/>"),
        namespaces,
    ] {
        let mut romeo = scene.session("romeo/orchard").await;
        romeo.send_bytes(format!("<message to='{}'>{bad}</message>", scene.jid("juliet"))).await;
        romeo.expect_stream_error("policy-violation").await;
    }
    juliet.barrier().await;
}

#[tokio::test]
async fn s02_depth_and_number_of_elements_may_be_what_the_limits_say() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let attributes: String = (0..64).map(|number| format!(" a{number}=''")).collect();
    for good in [
        format!("{}{}", "<a>".repeat(63), "</a>".repeat(63)),
        "<a/>".repeat(4_095),
        format!("<a{attributes}/>"),
        format!("<{}/>", "a".repeat(256)),
    ] {
        romeo.send_bytes(format!("<message to='{}'>{good}</message>", scene.jid("juliet"))).await;
        let message = juliet.receive().await;
        assert_eq!(message.name, "message");
        romeo.barrier().await;
    }
}

/// A session without TLS, so that single bytes stay single bytes.
async fn plain_session(scene: &Scene) -> RawClient {
    let name = scene.account("romeo").await;
    let mut client = scene.connect().await;
    client.open_stream(scene.host()).await;
    let scram = waxwing_testkit::scram::Scram::new("SCRAM-SHA-256", &name, &scene.password("romeo"));
    client.try_scram(&scram).await.expect("the right password");
    client.open_stream(scene.host()).await;
    client.bind("orchard").await;
    client
}

#[tokio::test]
async fn s08_an_attribute_in_single_bytes_is_not_read_again_and_again() {
    let server = TestServer::start(options().toml("[tls]\nplaintext_on_loopback = true")).await;
    let scene = server.scene();
    let mut romeo = plain_session(&scene).await;
    let mut cost = async |length: usize| {
        let before = server.processor_time();
        romeo.send("<message to='{romeo}' type='headline'><a b='").await;
        romeo.send_in_pieces("x".repeat(length), 1).await;
        romeo.send("'/></message>").await;
        romeo.barrier().await;
        server.processor_time() - before
    };
    cost(8 * 1024).await;
    let (small, large) = (cost(16 * 1024).await, cost(128 * 1024).await);
    // Eight times as much, in pieces of the same size: 8 when each byte is looked at once, 64 when all of them are each
    // time. What is spent on reading from the socket stays the same for each piece.
    assert!(large < small * 24 + Duration::from_millis(50), "16 KiB take {small:?}, 128 KiB take {large:?}");
}

#[tokio::test]
async fn s08_a_stanza_is_acted_on_with_its_last_byte() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut fastest = Duration::MAX;
    let filler = "x".repeat(32 * 1024);
    for turn in 0..20 {
        let ping = format!("<iq type='get' id='{turn}' to='{{host}}'><ping xmlns='urn:xmpp:ping' a='{filler}'/></iq>");
        romeo.send(&ping[..ping.len() - 1]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let begun = Instant::now();
        romeo.send(">").await;
        romeo.expect(format!("<iq type='result' id='{turn}' {{…}}/>")).await;
        fastest = fastest.min(begun.elapsed());
    }
    // Other tests run beside this one; that one of twenty is as fast as the row wants shows that nothing waits.
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
}
