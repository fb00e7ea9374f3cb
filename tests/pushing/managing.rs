//! An account looks at its devices and forgets some (XEP-0050), with the protocol as it is written.

use waxwing_testkit::{Element, RawClient};

use crate::app::{App, SERVER, away, registers, writes};

const COMMANDS: &str = "http://jabber.org/protocol/commands";

/// Sends a command and gives back its answer.
async fn run(client: &mut RawClient, attributes: &str, content: &str) -> Element {
    client
        .send(format!("<iq type='set' id='c'><command xmlns='{COMMANDS}' {attributes}>{content}</command></iq>"))
        .await;
    let answer = client.expect("<iq id='c' type='{any}' {…}>{…}</iq>").await;
    answer.elements().next().unwrap_or(&answer).clone()
}

/// The condition of an error, and the one that commands add.
fn conditions(error: &Element) -> Vec<String> {
    error.elements().filter(|child| child.name != "text").map(|child| child.name.clone()).collect()
}

fn values(form: &Element) -> Vec<Vec<String>> {
    let items = form.elements().filter(|child| child.name == "item");
    items.map(|item| item.elements().map(|field| field.text_of("value").unwrap_or_default()).collect()).collect()
}

#[tokio::test]
async fn devices_are_listed_with_what_came_of_calling_them_and_forgotten() {
    let scene = SERVER.scene().await;
    let mut app = App::start(&scene).await;
    let mut romeo = scene.online("romeo/orchard").await;
    away(&scene, "juliet/phone", "n1").await;
    away(&scene, "juliet/tablet", "n2").await;
    writes(&mut romeo, "juliet", "hi").await;
    for _ in 0..2 {
        app.takes_call().await;
    }
    app.client.drain().await;
    let mut juliet = scene.online("juliet/desk").await;
    juliet.drain().await;
    juliet
        .send(format!(
            "<iq type='get' id='i' to='{{juliet}}'><query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/></iq>"
        ))
        .await;
    let items = juliet.expect("<iq type='result' id='i' {…}>{…}</iq>").await;
    let nodes: Vec<_> = items.child("query").unwrap().elements().filter_map(|item| item.attribute("node")).collect();
    assert!(nodes.contains(&"urn:waxwing:push:list") && nodes.contains(&"urn:waxwing:push:forget"), "{nodes:?}");
    juliet
        .send("<iq type='get' id='i' to='{juliet}'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:waxwing:push:list'/></iq>")
        .await;
    let about = juliet.expect("<iq type='result' id='i' {…}>{…}</iq>").await;
    let identity = about.child("query").unwrap().child("identity").unwrap();
    assert_eq!(
        (identity.attribute("category"), identity.attribute("type")),
        (Some("automation"), Some("command-node"))
    );

    let listed = run(&mut juliet, "node='urn:waxwing:push:list' action='execute'", "").await;
    assert_eq!(listed.attribute("status"), Some("completed"));
    let rows = values(listed.child("x").unwrap());
    let short: Vec<[&str; 3]> = rows.iter().map(|row| [row[1].as_str(), row[2].as_str(), row[5].as_str()]).collect();
    assert_eq!(short, [["n2", "tablet", "ok"], ["n1", "phone", "ok"]]);
    assert!(rows.iter().all(|row| row[0] == scene.jid("app/push") && row[4] > row[3]), "{rows:?}");

    let asked = run(&mut juliet, "node='urn:waxwing:push:forget'", "").await;
    assert_eq!(
        (asked.attribute("status"), asked.child("actions").unwrap().attribute("execute")),
        (Some("executing"), Some("complete"))
    );
    let session = asked.attribute("sessionid").unwrap().to_owned();
    let field = asked.child("x").unwrap().child("field").unwrap();
    let options = field.elements().filter(|child| child.name == "option");
    let phone = options.filter(|option| option.attribute("label").unwrap().starts_with("phone, n1 at "));
    let phone: Vec<String> = phone.map(|option| option.text_of("value").unwrap()).collect();
    let chosen = |value: &str| {
        format!("<x xmlns='jabber:x:data' type='submit'><field var='devices'><value>{value}</value></field></x>")
    };
    let goes_on = format!("node='urn:waxwing:push:forget' sessionid='{session}'");
    let refused = run(&mut juliet, &goes_on, &chosen("1")).await;
    assert_eq!(conditions(&refused), ["bad-request", "bad-payload"]);
    let done = run(&mut juliet, &format!("{goes_on} action='complete'"), &chosen(&phone[0])).await;
    assert_eq!((done.attribute("status"), done.text_of("note").as_deref()), (Some("completed"), Some("Forgotten: 1.")));
    let again = run(&mut juliet, &goes_on, &chosen(&phone[0])).await;
    assert_eq!(conditions(&again), ["not-allowed", "session-expired"]);
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    writes(&mut romeo, "juliet", "hi").await;
    assert_eq!(app.takes_call().await.node, "n2");
    app.is_left_alone().await;
}

#[tokio::test]
async fn a_command_says_what_is_wrong_with_what_it_was_told() {
    let scene = SERVER.scene().await;
    App::start(&scene).await;
    let mut juliet = scene.online("juliet/desk").await;
    registers(&mut juliet, "n1").await;
    let node = "node='urn:waxwing:push:forget'";
    let begun = run(&mut juliet, node, "").await;
    let session = begun.attribute("sessionid").unwrap().to_owned();
    let goes_on = format!("{node} sessionid='{session}'");
    for (attributes, wanted) in [
        (format!("{node} action='jump'"), vec!["bad-request", "malformed-action"]),
        (format!("{node} action='next'"), vec!["bad-request", "bad-action"]),
        (format!("{goes_on} action='next'"), vec!["bad-request", "bad-action"]),
        (format!("{goes_on} action='prev'"), vec!["bad-request", "bad-action"]),
        (format!("{node} sessionid='made-up'"), vec!["bad-request", "bad-sessionid"]),
        (format!("node='urn:waxwing:push:list' sessionid='{session}'"), vec!["bad-request", "bad-sessionid"]),
        ("node='urn:other'".to_owned(), vec!["item-not-found"]),
        (String::new(), vec!["bad-request"]),
    ] {
        assert_eq!(conditions(&run(&mut juliet, &attributes, "").await), wanted, "{attributes}");
    }
    let cancelled = run(&mut juliet, &format!("{goes_on} action='cancel'"), "").await;
    assert_eq!(cancelled.attribute("status"), Some("canceled"));
    let after = run(&mut juliet, &goes_on, "").await;
    assert_eq!(conditions(&after), ["not-allowed", "session-expired"]);
    // Commands of an account are for itself, and nobody learns whether there is such an account.
    let mut mallory = scene.online("mallory/x").await;
    for to in ["{juliet}", "nobody@{host}"] {
        mallory.send(format!("<iq type='set' id='c' to='{to}'><command xmlns='{COMMANDS}' {node}/></iq>")).await;
        let error = mallory.expect("<iq type='error' id='c' {…}>{…}</iq>").await;
        assert_eq!(conditions(error.child("error").unwrap()), ["service-unavailable"]);
    }
}
