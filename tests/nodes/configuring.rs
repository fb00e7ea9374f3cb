//! Making and configuring nodes, and what discovery tells of them (XEP-0060 §5, §8).

use crate::common::SERVER;
use crate::{DISCO, PRIVATE, PUBSUB, ask, form, ids, publication, publish, read, refusal};

fn owner(of_type: &str, content: &str) -> String {
    format!("<iq type='{of_type}' id='o'><pubsub xmlns='{PUBSUB}#owner'>{content}</pubsub></iq>")
}

/// The value of a field in the form of an answer.
fn value(answer: &waxwing_testkit::Element, field: &str) -> String {
    let form = answer.to_string();
    let start = form.find(&format!("pubsub#{field}")).unwrap_or_else(|| panic!("no field {field}: {form}"));
    let rest = &form[start..];
    let value = rest.find("<value>").map(|at| &rest[at + 7..]).unwrap_or_default();
    value.split('<').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_node_is_made_configured_and_shown() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let create = |node: &str, fields: &str| {
        format!("<iq type='set' id='c'><pubsub xmlns='{PUBSUB}'><create{node}/>{fields}</pubsub></iq>")
    };
    let configured =
        format!("<configure>{}</configure>", form("node_config", &[("title", "Thoughts"), ("max_items", "7")]));
    let answer = ask(&mut juliet, &create(" node='n'", &configured)).await;
    assert_eq!(answer.attribute("type"), Some("result"));
    assert_eq!(refusal(&ask(&mut juliet, &create(" node='n'", "")).await), "conflict");
    // One without a name gets one.
    juliet.send(create("", "")).await;
    juliet
        .expect(format!(
            "<iq id='c' type='result' {{…}}><pubsub xmlns='{PUBSUB}'><create node='{{capture:made}}'/></pubsub></iq>"
        ))
        .await;
    let shown = ask(&mut juliet, &owner("get", "<configure node='n'/>")).await;
    assert_eq!((value(&shown, "title"), value(&shown, "max_items")), ("Thoughts".to_owned(), "7".to_owned()));
    assert_eq!(value(&shown, "access_model"), "presence");
    assert_eq!(value(&ask(&mut juliet, &owner("get", "<default/>")).await, "max_items"), "1");
    let change = form("node_config", &[("access_model", "open"), ("max_items", "max")]);
    ask(&mut juliet, &owner("set", &format!("<configure node='n'>{change}</configure>"))).await;
    let shown = ask(&mut juliet, &owner("get", "<configure node='n'/>")).await;
    assert_eq!((value(&shown, "access_model"), value(&shown, "max_items")), ("open".to_owned(), "max".to_owned()));
    assert_eq!(value(&shown, "title"), "Thoughts", "what was not set stays");
    let wrong = form("node_config", &[("access_model", "everyone")]);
    let answer = ask(&mut juliet, &owner("set", &format!("<configure node='n'>{wrong}</configure>"))).await;
    assert_eq!(refusal(&answer), "not-acceptable unsupported-access-model");
    assert_eq!(refusal(&ask(&mut juliet, &owner("get", "<configure node='x'/>")).await), "item-not-found");
}

#[tokio::test]
async fn a_node_that_is_closed_later_is_read_no_more() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut paris = scene.online("paris/street").await;
    publish(&mut juliet, "n", "1", "x", &[("access_model", "open")]).await;
    assert_eq!(ids(&read(&mut paris, "{juliet}", "n").await), ["1"]);
    let close = form("node_config", &[("access_model", "whitelist")]);
    ask(&mut juliet, &owner("set", &format!("<configure node='n'>{close}</configure>"))).await;
    assert_eq!(refusal(&read(&mut paris, "{juliet}", "n").await), "not-authorized presence-subscription-required");
}

#[tokio::test]
async fn discovery_tells_of_the_nodes_that_one_may_read() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.online("romeo/orchard").await;
    scene.befriend(&mut juliet, &mut romeo).await;
    publish(&mut juliet, "urn:mood", "1", "calm", &[]).await;
    publish(&mut juliet, "urn:private", "1", "x", PRIVATE).await;
    let items = |node: &str| {
        format!(
            "<iq type='get' id='d' to='{{juliet}}'><query xmlns='http://jabber.org/protocol/disco#items'{node}/></iq>"
        )
    };
    let nodes = async |client: &mut waxwing_testkit::RawClient, node: &str| {
        let answer = ask(client, &items(node)).await;
        let query = answer.child("query").unwrap_or_else(|| panic!("{answer}"));
        let name = if node.is_empty() { "node" } else { "name" };
        let mut names: Vec<String> =
            query.elements().filter_map(|item| item.attribute(name)).map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(nodes(&mut juliet, "").await, ["urn:mood", "urn:private"]);
    assert_eq!(nodes(&mut romeo, "").await, ["urn:mood"]);
    assert_eq!(nodes(&mut romeo, " node='urn:mood'").await, ["1"]);
    assert_eq!(refusal(&ask(&mut romeo, &items(" node='urn:private'")).await), "item-not-found");
    let info = |node: &str| format!("<iq type='get' id='d' to='{{juliet}}'><query xmlns='{DISCO}'{node}/></iq>");
    let described = ask(&mut romeo, &info(" node='urn:mood'")).await.to_string();
    assert!(described.contains("leaf") && described.contains("pubsub#meta-data"), "{described}");
    assert_eq!(refusal(&ask(&mut romeo, &info(" node='urn:private'")).await), "item-not-found");
    let account = ask(&mut juliet, &info("")).await.to_string();
    for told in [
        "'pep'",
        "pubsub#publish-options'",
        "pubsub#config-node-max'",
        "pubsub#multi-items'",
        "pubsub#persistent-items'",
    ] {
        assert!(account.contains(told) || account.contains(&told.replace('\'', "\"")), "{told}: {account}");
    }
}

#[tokio::test]
async fn an_account_has_no_more_nodes_than_it_may() {
    let server = waxwing_testkit::TestServer::start(crate::common::options().toml("[modules.pubsub]\nnodes = 2")).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    for node in ["a", "b"] {
        publish(&mut juliet, node, "1", "x", &[]).await;
    }
    assert_eq!(refusal(&ask(&mut juliet, &publication("c", "1", "x", &[])).await), "policy-violation");
}
