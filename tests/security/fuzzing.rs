//! S33: stanzas that are good XML and nonsense otherwise; the server survives them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use waxwing_core::house::House;
use waxwing_testkit::{RawClient, Scene, TestServer};

use crate::common::options;
use crate::dice::Dice;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics on the threads of servers from now on; they are still shown.
fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |information| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("waxwing")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            usual(information);
        }));
    });
}

/// Namespaces the server has an opinion on, now or some day.
const NAMESPACES: [&str; 44] = [
    "jabber:client",
    "jabber:server",
    "jabber:iq:roster",
    "jabber:iq:register",
    "jabber:iq:last",
    "jabber:iq:version",
    "jabber:iq:private",
    "jabber:iq:privacy",
    "jabber:iq:auth",
    "jabber:x:data",
    "jabber:x:oob",
    "jabber:x:conference",
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/commands",
    "http://jabber.org/protocol/muc",
    "http://jabber.org/protocol/muc#user",
    "http://jabber.org/protocol/muc#admin",
    "http://jabber.org/protocol/muc#owner",
    "http://jabber.org/protocol/pubsub",
    "http://jabber.org/protocol/pubsub#owner",
    "http://jabber.org/protocol/pubsub#event",
    "http://jabber.org/protocol/rsm",
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/chatstates",
    "http://jabber.org/protocol/compress",
    "http://etherx.jabber.org/other",
    "urn:ietf:params:xml:ns:xmpp-bind",
    "urn:ietf:params:xml:ns:xmpp-session",
    "urn:ietf:params:xml:ns:xmpp-stanzas",
    "urn:ietf:params:xml:ns:xmpp-streams",
    "urn:xmpp:ping",
    "urn:xmpp:time",
    "urn:xmpp:blocking",
    "urn:xmpp:carbons:2",
    "urn:xmpp:mam:2",
    "urn:xmpp:sid:0",
    "urn:xmpp:delay",
    "urn:xmpp:forward:0",
    "urn:xmpp:hints",
    "urn:xmpp:push:0",
    "urn:xmpp:http:upload:0",
    "vcard-temp",
    "urn:x",
];

const NAMES: [&str; 60] = [
    "query",
    "item",
    "items",
    "group",
    "x",
    "field",
    "value",
    "option",
    "set",
    "max",
    "after",
    "before",
    "index",
    "first",
    "last",
    "count",
    "ping",
    "time",
    "tzo",
    "utc",
    "block",
    "unblock",
    "blocklist",
    "enable",
    "disable",
    "received",
    "sent",
    "private",
    "forwarded",
    "message",
    "presence",
    "iq",
    "body",
    "subject",
    "thread",
    "status",
    "show",
    "priority",
    "error",
    "text",
    "delay",
    "stanza-id",
    "origin-id",
    "active",
    "composing",
    "bind",
    "resource",
    "session",
    "username",
    "password",
    "command",
    "pubsub",
    "publish",
    "subscribe",
    "configure",
    "vCard",
    "prefs",
    "always",
    "never",
    "slot",
];

const ATTRIBUTES: [&str; 22] = [
    "jid",
    "name",
    "node",
    "id",
    "type",
    "subscription",
    "ask",
    "ver",
    "var",
    "from",
    "to",
    "by",
    "stamp",
    "hash",
    "action",
    "sessionid",
    "status",
    "code",
    "affiliation",
    "role",
    "queryid",
    "seconds",
];

const VALUES: [&str; 34] = [
    "",
    " ",
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "-9223372036854775809",
    "1e309",
    "NaN",
    "0x10",
    "true",
    "both",
    "none",
    "remove",
    "to",
    "from",
    "subscribe",
    "submit",
    "cancel",
    "error",
    "groupchat",
    "{juliet}",
    "{juliet/balcony}",
    "{host}",
    "{romeo}",
    "@",
    "a@@b",
    "/",
    "a@b/c/d",
    "2026-02-30T25:61:61Z",
    "9999999999-01-01T00:00:00Z",
    "\u{1F99C}\u{301}\u{202E}",
    "%s%n&apos; OR 1=1 --",
    "&lt;&amp;&#9;",
];

/// Anything that may stand as a value: one of the list, or many letters of it.
fn value(dice: &mut Dice) -> String {
    match dice.below(40) {
        0 => "x".repeat(dice.below(5_000)),
        1 => "\u{DF}".repeat(dice.below(600)),
        _ => dice.of(&VALUES).to_owned(),
    }
}

fn element(dice: &mut Dice, depth: usize) -> String {
    let name = dice.of(&NAMES);
    let mut attributes = String::new();
    if depth == 0 || dice.one_in(3) {
        attributes.push_str(&format!(" xmlns='{}'", dice.of(&NAMESPACES)));
    }
    let mut seen = Vec::new();
    for _ in 0..dice.below(4) {
        let attribute = dice.of(&ATTRIBUTES);
        if !seen.contains(&attribute) {
            seen.push(attribute);
            attributes.push_str(&format!(" {attribute}='{}'", value(dice)));
        }
    }
    let mut content = String::new();
    if depth < 5 {
        for _ in 0..dice.below(4) {
            content.push_str(&element(dice, depth + 1));
        }
    }
    if dice.one_in(2) {
        content.push_str(&value(dice));
    }
    format!("<{name}{attributes}>{content}</{name}>")
}

/// Pairs of namespace and element that mean something together, so that not everything is refused at the first look.
const KNOWN: [(&str, &str); 22] = [
    ("query", "jabber:iq:roster"),
    ("query", "jabber:iq:register"),
    ("query", "jabber:iq:last"),
    ("query", "jabber:iq:version"),
    ("query", "jabber:iq:private"),
    ("query", "http://jabber.org/protocol/disco#info"),
    ("query", "http://jabber.org/protocol/disco#items"),
    ("query", "urn:xmpp:mam:2"),
    ("prefs", "urn:xmpp:mam:2"),
    ("block", "urn:xmpp:blocking"),
    ("unblock", "urn:xmpp:blocking"),
    ("blocklist", "urn:xmpp:blocking"),
    ("enable", "urn:xmpp:carbons:2"),
    ("enable", "urn:xmpp:push:0"),
    ("ping", "urn:xmpp:ping"),
    ("time", "urn:xmpp:time"),
    ("bind", "urn:ietf:params:xml:ns:xmpp-bind"),
    ("session", "urn:ietf:params:xml:ns:xmpp-session"),
    ("pubsub", "http://jabber.org/protocol/pubsub"),
    ("command", "http://jabber.org/protocol/commands"),
    ("vCard", "vcard-temp"),
    ("request", "urn:xmpp:http:upload:0"),
];

fn payload(dice: &mut Dice) -> String {
    if dice.one_in(3) {
        return element(dice, 0);
    }
    let (name, namespace) = dice.of(&KNOWN);
    let children: String = (0..dice.below(4)).map(|_| element(dice, 1)).collect();
    let attribute = dice.of(&ATTRIBUTES);
    format!("<{name} xmlns='{namespace}' {attribute}='{}'>{children}{}</{name}>", value(dice), value(dice))
}

/// Elements of the stream itself, which are no stanzas. None asks for a session that outlives its stream.
fn stream_element(dice: &mut Dice) -> String {
    let (name, namespace) = dice.of(&[
        ("r", "urn:xmpp:sm:3"),
        ("a", "urn:xmpp:sm:3"),
        ("enable", "urn:xmpp:sm:3"),
        ("resume", "urn:xmpp:sm:3"),
        ("active", "urn:xmpp:csi:0"),
        ("inactive", "urn:xmpp:csi:0"),
    ]);
    let attribute = dice.of(&["h", "max", "previd", "id"]);
    format!("<{name} xmlns='{namespace}' {attribute}='{}'>{}</{name}>", value(dice), value(dice))
}

fn stanza(dice: &mut Dice) -> String {
    if dice.one_in(60) {
        return stream_element(dice);
    }
    let kind = dice.of(&["message", "presence", "iq", "iq", "iq"]);
    let of_type = match (kind, dice.below(8)) {
        (_, 0) => value(dice),
        ("message", _) => dice.of(&["", "chat", "normal", "headline", "groupchat", "error"]).to_owned(),
        ("presence", _) => dice
            .of(&["unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"])
            .to_owned(),
        _ => dice.of(&["get", "set", "get", "set", "result", "error"]).to_owned(),
    };
    let mut attributes = String::new();
    if !(kind == "presence" && dice.one_in(4)) {
        attributes.push_str(&format!(" type='{of_type}'"));
    }
    if !dice.one_in(10) {
        attributes.push_str(&format!(" id='{}'", value(dice)));
    }
    if dice.one_in(2) {
        let to = dice.of(&[
            "{host}",
            "{romeo}",
            "{juliet}",
            "{juliet/balcony}",
            "{juliet/nowhere}",
            "nobody@{host}",
            "rooms.{host}",
            "montague.lit",
        ]);
        attributes.push_str(&format!(" to='{to}'"));
    } else if dice.one_in(4) {
        attributes.push_str(&format!(" to='{}'", value(dice)));
    }
    if dice.one_in(6) {
        attributes.push_str(&format!(" from='{}'", value(dice)));
    }
    if dice.one_in(10) {
        attributes.push_str(&format!(" xml:lang='{}'", value(dice)));
    }
    if dice.one_in(10) {
        attributes.push_str(&format!(" unknown='{}'", value(dice)));
    }
    let number = if kind == "iq" && !dice.one_in(8) { 1 } else { dice.below(4) };
    let content: String = (0..number).map(|_| payload(dice)).collect();
    let text = if dice.one_in(10) { value(dice) } else { String::new() };
    format!("<{kind}{attributes}>{text}{content}</{kind}>")
}

/// Throws stanzas until there are enough; comes back whenever the server has had enough. Answers what went wrong inside.
async fn thrower(scene: &Scene, dice: &mut Dice, stanzas: usize) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut thrown, mut lives) = (0, 0);
    while thrown < stanzas {
        lives += 1;
        assert!(lives < 200, "the server has ended {lives} streams after {thrown} stanzas");
        // Some throws remove the account, and nobody comes back under the same name.
        let someone = format!("romeo{lives}");
        let mut romeo = scene.online(&format!("{someone}/orchard")).await;
        scene.names().set("romeo", scene.jid(&someone));
        while thrown < stanzas {
            let number = 100.min(stanzas - thrown);
            let volley: String = (0..number).map(|_| stanza(dice)).collect();
            thrown += number;
            romeo.send(&volley).await;
            romeo.send("<iq type='get' id='volley' to='{host}'><ping xmlns='urn:xmpp:ping'/></iq>").await;
            if !answered(&mut romeo, &mut faults).await {
                break;
            }
        }
    }
    faults
}

/// Takes in what comes back for a volley; false when the stream has ended.
async fn answered(romeo: &mut RawClient, faults: &mut Vec<String>) -> bool {
    romeo.set_patience(Duration::from_secs(20));
    loop {
        let Some(answer) = romeo.receive_or_close().await else { return false };
        if answer.name == "iq" && answer.attribute("id") == Some("volley") && answer.attribute("type") == Some("result")
        {
            return true;
        }
        let text = answer.to_string();
        if text.contains("internal-server-error") {
            faults.push(text);
        }
    }
}

#[tokio::test]
async fn s33_an_iq_with_nothing_but_a_forged_id_is_answered() {
    // Found by the test below: the id was taken away, and then there was nothing to answer.
    count_panics();
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    scene.account("juliet").await;
    let mut romeo = scene.session("romeo/orchard").await;
    for to in ["", "to='{host}'", "to='{juliet}'", "to='nobody@{host}'", "to='{romeo}'"] {
        for by in ["{host}", "{romeo}", "@", ""] {
            romeo
                .send(format!("<iq type='get' id='f' {to}><stanza-id xmlns='urn:xmpp:sid:0' id='1' by='{by}'/></iq>"))
                .await;
            romeo.expect("<iq type='error' id='f' {…}>{error:cancel:service-unavailable}</iq>").await;
        }
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn s33_nonsense_breaks_nothing() {
    count_panics();
    let server = TestServer::start(options()).await;
    let panics = PANICS.load(Ordering::Relaxed);
    let look = async |server: &Arc<TestServer>| {
        let look = async |house: Arc<House>| (house.tasks().len(), house.directory().count());
        server.with_house(look).await
    };
    let (tasks, _) = look(&server).await;
    {
        let scene = server.scene();
        // Two who bear all that comes to them, and are still there in the end.
        let mut juliet = scene.online("juliet/balcony").await;
        let mut dice = Dice::new(20_260_103);
        let mut faults = Vec::new();
        for _ in 0..10 {
            faults.extend(thrower(&scene, &mut dice, 2_000).await);
            juliet.drain().await;
        }
        assert!(faults.is_empty(), "{} answers say that the server has failed:\n{}", faults.len(), faults.join("\n"));
        let mut nurse = scene.online("nurse/chamber").await;
        nurse.send("<message to='{juliet}' type='chat'><body>still there?</body></message>").await;
        let nurses = scene.jid("nurse/chamber");
        // Before it may come farewells of those who threw.
        while juliet.receive().await.attribute("from") != Some(&nurses) {}
    }
    // Nobody is online any more, and every task of theirs has ended.
    let mut left = look(&server).await;
    for _ in 0..100 {
        if left.0 <= tasks && left.1 == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = look(&server).await;
    }
    assert!(left.0 <= tasks && left.1 == 0, "{} tasks before, {} after; {} sessions", tasks, left.0, left.1);
    assert_eq!(PANICS.load(Ordering::Relaxed), panics, "some task of a server has panicked");
}
