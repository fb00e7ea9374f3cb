//! S39: text is text, wherever it comes in and wherever it is kept.

use std::sync::Arc;

use waxwing_core::house::House;
use waxwing_testkit::scram::{Scram, base64};
use waxwing_testkit::{RawClient, Scene, TestServer, escape, logs};

use crate::common::options;

/// What means something to SQL, to LIKE, to a shell, to templates, or to nobody.
const CORPUS: [&str; 22] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    "' OR '1'='1",
    "' OR 1=1--",
    "'; DROP TABLE accounts;--",
    "'); DELETE FROM roster_items;--",
    "1 UNION SELECT stored_key FROM account_keys",
    "%",
    "_",
    "%' ESCAPE '",
    "$1",
    "?1",
    ":name",
    "{ 0 } $(id) `id` ${ HOME }",
    "%s%n%x",
    "\u{2019}; SELECT 1",
    "\u{FF07} OR 1=1",
    "/* */ -- #",
];

/// How many rows each table of accounts and contacts has.
async fn rows(server: &TestServer) -> Vec<i64> {
    let count = async |house: Arc<House>| {
        let mut rows = Vec::new();
        for table in
            ["SELECT COUNT(*) FROM accounts", "SELECT COUNT(*) FROM account_keys", "SELECT COUNT(*) FROM roster_items"]
        {
            let row = house.database().fetch_optional(table, &[]).await.expect("the table is there").expect("a number");
            rows.push(row.integer(0).expect("a number"));
        }
        rows
    };
    server.with_house(count).await
}

/// Whatever was tried, nothing in the database has failed over it.
fn no_faults() {
    let faults: Vec<String> = logs::lines().into_iter().filter(|line| line.contains(" ERROR ")).collect();
    assert!(faults.is_empty(), "{}", faults.join(""));
}

async fn at_the_door(scene: &Scene) -> RawClient {
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    client
}

#[tokio::test]
async fn s39_names_and_passwords_are_text() {
    let options = options().toml(
        "[auth]\nmechanisms = ['SCRAM-SHA-256', 'PLAIN']\nminimum_password_length = 1\n\
         [modules.register]\nopen = true\nregistrations = 'unlimited'\n\
         [limits]\nauthentication_failures_per_stream = 'unlimited'",
    );
    let server = TestServer::start(options).await;
    let scene = server.scene();
    let name = scene.account("romeo").await;
    let before = rows(&server).await;
    let mut client = at_the_door(&scene).await;
    for text in CORPUS {
        for written in [text.to_owned(), format!("{name}{text}")] {
            let failure = client.auth("PLAIN", &base64(format!("\0{written}\0{text}"))).await;
            assert!(failure.child("not-authorized").is_some(), "{written}: {failure}");
            let scram = Scram::new("SCRAM-SHA-256", &written, text);
            let failure = client.try_scram(&scram).await.expect_err("nobody is called that");
            assert!(failure.child("not-authorized").is_some(), "{written}: {failure}");
        }
        let failure = client.auth("PLAIN", &base64(format!("\0{name}\0{text}"))).await;
        assert!(failure.child("not-authorized").is_some(), "{text}: {failure}");
        let failure = client.auth("PLAIN", &base64(format!("{text}\0{name}\0{}", scene.password("romeo")))).await;
        assert!(failure.child("invalid-authzid").is_some(), "{text}: {failure}");
    }
    assert_eq!(rows(&server).await, before);
    // As a password it is as good as any.
    for (number, text) in CORPUS.iter().enumerate() {
        let password = format!("{text} correct horse battery");
        let wish = |name: &str| {
            format!(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{}</username><password>{}</password>\
                 </query></iq>",
                escape(name),
                escape(&password)
            )
        };
        client.send_bytes(wish(&format!("bot{number}"))).await;
        let answer = client.receive().await;
        assert_eq!(answer.attribute("type"), Some("result"), "{password}: {answer}");
        let success = at_the_door(&scene).await.auth("PLAIN", &base64(format!("\0bot{number}\0{password}"))).await;
        assert_eq!(success.name, "success", "{password}: {success}");
        // As a name it is refused, or it is a name; never anything else.
        client.send_bytes(wish(text)).await;
        let answer = client.receive().await;
        if answer.attribute("type") != Some("result") {
            let error = answer.child("error").and_then(|error| error.elements().next()).map(|error| error.name.clone());
            assert!(matches!(error.as_deref(), Some("jid-malformed" | "not-acceptable")), "{text}: {answer}");
        }
    }
    let mut romeo = at_the_door(&scene).await;
    romeo.login(&name, &scene.password("romeo")).await;
    no_faults();
}

#[tokio::test]
async fn s39_resources_are_text() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    for text in CORPUS {
        let mut romeo = scene.logged_in("romeo").await;
        let jid = romeo.bind(text).await;
        // Resourceprep makes a plain sign of a full-width one; nothing else changes.
        let resource = text.replace('\u{FF07}', "'");
        assert_eq!(jid, format!("{}/{resource}", scene.jid("romeo")), "{text}");
        romeo.send_bytes(format!("<presence><status>{}</status></presence>", escape(text))).await;
        romeo.drain().await;
        juliet
            .send_bytes(format!(
                "<message to='{}' id='{}'><body>{}</body></message>",
                escape(&jid),
                escape(text),
                escape(text)
            ))
            .await;
        let message = romeo.receive().await;
        assert_eq!((message.attribute("id"), message.text_of("body").as_deref()), (Some(text), Some(text)));
        romeo.send("</stream:stream>").await;
        while romeo.receive_or_close().await.is_some() {}
    }
    no_faults();
}

#[tokio::test]
async fn s39_rosters_are_text() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    let mut other = scene.session("mercutio/street").await;
    for client in [&mut romeo, &mut other] {
        for (number, text) in CORPUS.iter().enumerate() {
            let text = escape(text);
            client
                .send_bytes(format!(
                    "<iq type='set' id='{text}'><query xmlns='jabber:iq:roster'><item jid='c{number}@{}' name='{text}'>\
                     <group>{text}</group></item></query></iq>",
                    scene.host()
                ))
                .await;
            let answer = client.receive().await;
            assert_eq!(answer.attribute("type"), Some("result"), "{text}: {answer}");
        }
    }
    // Versions are the server's business; whatever a client writes there, it gets what is its own.
    for version in CORPUS.iter().chain(&["", "0", "-1", "1", "99999999999999999999"]) {
        romeo
            .send_bytes(format!(
                "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='{}'/></iq>",
                escape(version)
            ))
            .await;
        let came = romeo.drain().await;
        let roster = came.iter().find(|answer| answer.attribute("id") == Some("g")).expect("an answer");
        assert_eq!(roster.attribute("type"), Some("result"), "{roster}");
    }
    romeo.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    let roster = romeo.receive().await;
    let query = roster.child("query").expect("a roster");
    assert_eq!(query.elements().count(), CORPUS.len());
    for item in query.elements() {
        let number: usize = item.attribute("jid").expect("a contact")[1..]
            .split('@')
            .next()
            .expect("a name")
            .parse()
            .expect("a number");
        assert_eq!(item.attribute("name"), Some(CORPUS[number]));
        assert_eq!(item.text_of("group").as_deref(), Some(CORPUS[number]));
    }
    no_faults();
}

#[tokio::test]
async fn s39_wildcards_are_letters() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    let item =
        |inside: &str| format!("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item {inside}/></query></iq>");
    for contact in ["axb", "ayb", "a_b", "a%b", "%", "_"] {
        romeo.send(item(&format!("jid='{contact}@{{host}}'"))).await;
    }
    romeo.drain().await;
    for contact in ["a_b", "a%b", "%", "_"] {
        romeo.send(item(&format!("jid='{contact}@{{host}}' subscription='remove'"))).await;
    }
    romeo.drain().await;
    romeo.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    let roster = romeo.receive().await;
    let left: Vec<&str> =
        roster.child("query").expect("a roster").elements().filter_map(|item| item.attribute("jid")).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|jid| jid.starts_with("axb@") || jid.starts_with("ayb@")), "{left:?}");
    // Who is blocked is who was named.
    let mut juliet = scene.online("juliet/balcony").await;
    let pattern = scene.local("juliet").replace('u', "_");
    for named in [pattern.as_str(), "%", "_%"] {
        romeo
            .send(format!(
                "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{named}@{{host}}'/></block></iq>"
            ))
            .await;
    }
    romeo.drain().await;
    juliet.send("<message to='{romeo}' type='chat'><body>still here</body></message>").await;
    romeo
        .expect("<message to='{romeo}' from='{juliet/balcony}' type='chat'><body>still here</body>{…}</message>")
        .await;
    no_faults();
}

#[tokio::test]
async fn s39_what_is_kept_comes_back_as_it_was() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    for text in CORPUS {
        let text = escape(text);
        romeo
            .send(format!(
                "<message to='{{juliet}}' type='chat' id='{text}' xml:lang='{text}'><body>{text}</body><thread>{text}</thread>\
                 <x xmlns='urn:x' a='{text}'/></message>"
            ))
            .await;
    }
    // A request is kept with all that is in it; the last word of whoever leaves, too.
    let status: String = CORPUS.concat();
    romeo
        .send(format!("<presence type='subscribe' to='{{juliet}}'><status>{}</status></presence>", escape(&status)))
        .await;
    romeo.barrier().await;
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send("<presence/>").await;
    let mut came = juliet.drain().await;
    while came.iter().filter(|element| element.name == "message").count() < CORPUS.len() {
        let more = juliet.receive().await;
        came.push(more);
    }
    let messages: Vec<_> = came.iter().filter(|element| element.name == "message").collect();
    for (message, text) in messages.iter().zip(CORPUS) {
        assert_eq!(message.attribute("id"), Some(text));
        assert_eq!(message.text_of("body").as_deref(), Some(text));
        assert_eq!(message.text_of("thread").as_deref(), Some(text));
        assert_eq!(message.child_in("urn:x", "x").and_then(|x| x.attribute("a")), Some(text));
    }
    let request = came.iter().find(|element| element.attribute("type") == Some("subscribe")).expect("the request");
    assert_eq!(request.text_of("status"), Some(status.clone()));
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.drain().await;
    juliet
        .send(format!("<presence type='unavailable'><status>{}</status></presence></stream:stream>", escape(&status)))
        .await;
    while juliet.receive_or_close().await.is_some() {}
    romeo.drain().await;
    romeo.send("<iq type='get' id='last' to='{juliet}'><query xmlns='jabber:iq:last'/></iq>").await;
    let last = loop {
        let answer = romeo.receive().await;
        if answer.attribute("id") == Some("last") {
            break answer;
        }
    };
    assert_eq!(last.attribute("type"), Some("result"), "{last}");
    no_faults();
}

#[tokio::test]
async fn s39_addresses_and_questions_are_text() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    scene.account("juliet").await;
    let before = rows(&server).await;
    for text in CORPUS {
        let text = escape(text);
        for to in [format!("{text}@{{host}}"), format!("{{juliet}}/{text}"), text.clone(), format!("juliet@{text}")] {
            romeo
                .send(format!(
                    "<message to='{to}' type='headline'/><presence to='{to}' type='probe'/>\
                     <iq to='{to}' type='get' id='q'><query xmlns='jabber:iq:last'/></iq>"
                ))
                .await;
        }
        for query in [
            format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{text}'/>"),
            format!("<query xmlns='http://jabber.org/protocol/disco#items' node='{text}'/>"),
            format!(
                "<query xmlns='urn:xmpp:mam:2' queryid='{text}'><set xmlns='http://jabber.org/protocol/rsm'><after>{text}</after></set></query>"
            ),
            format!("<block xmlns='urn:xmpp:blocking'><item jid='{{juliet}}/{text}'/></block>"),
            format!("<unblock xmlns='urn:xmpp:blocking'><item jid='{{juliet}}/{text}'/></unblock>"),
        ] {
            let of_type = if query.contains("block") { "set" } else { "get" };
            romeo.send(format!("<iq type='{of_type}' id='{text}'>{query}</iq>")).await;
        }
        for answer in romeo.drain().await {
            assert!(!answer.to_string().contains("internal-server-error"), "{text}: {answer}");
        }
        let mut stranger = scene.connect().await;
        stranger
            .begin_stream(waxwing_testkit::stream_header(&format!("to='{text}' from='{text}' version='1.0'")))
            .await;
        stranger.expect_stream_error("host-unknown|improper-addressing").await;
    }
    assert_eq!(rows(&server).await, before);
    no_faults();
}

#[tokio::test]
async fn s39_questions_to_an_archive_are_text() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    scene.account("juliet").await;
    // Somebody else's archive, in the same table.
    let mut mercutio = scene.online("mercutio/street").await;
    for text in CORPUS {
        let body = escape(text);
        mercutio
            .send(format!("<message to='{{juliet}}' type='chat'><body>not for Romeo {body}</body></message>"))
            .await;
        romeo.send(format!("<message to='{{juliet}}' type='chat'><body>his own {body}</body></message>")).await;
    }
    mercutio.drain().await;
    romeo.drain().await;
    let mut shown = 0;
    for text in CORPUS {
        let text = escape(text);
        let field = |name: &str| format!("<field var='{name}'><value>{text}</value></field>");
        let form = |field: &str| {
            format!(
                "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value>\
                 </field>{field}</x>"
            )
        };
        let page = |inside: &str| format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>");
        let mut questions: Vec<String> =
            ["with", "start", "end", "before-id", "after-id", "ids", "withtext", text.as_str()]
                .iter()
                .map(|name| form(&field(name)))
                .collect();
        questions.push(form(&field("{urn:xmpp:fulltext:0}fulltext")));
        // Words of both archives.
        questions.push(form("<field var='{urn:xmpp:fulltext:0}fulltext'><value>his Romeo own not</value></field>"));
        questions.push(String::new());
        for place in ["after", "before", "max", "index"] {
            questions.push(page(&format!("<{place}>{text}</{place}>")));
        }
        for question in questions {
            romeo
                .send_bytes(format!(
                    "<iq type='set' id='{text}'><query xmlns='urn:xmpp:mam:2' queryid='{text}'>{question}</query></iq>"
                ))
                .await;
            // Everything that is found is his; what is wrong with a question is his mistake, not ours.
            for answer in romeo.drain().await {
                let words = answer.to_string();
                assert!(!words.contains("not for Romeo"), "{question}: {words}");
                assert!(!words.contains("internal-server-error"), "{question}: {words}");
                shown += usize::from(words.contains("his own"));
            }
        }
    }
    assert!(shown >= CORPUS.len() * CORPUS.len(), "{shown} results: the questions do not reach the archive");
    no_faults();
}
