//! Nodes of accounts (XEP-0060, XEP-0163) and what stands on them, against a running server.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod avatars;
mod bookmarks;
mod capabilities;
mod configuring;
mod displayed;
mod items;
mod notifications;
mod subscribing;

use tokio_xmpp::parsers::caps::hash_caps;
use tokio_xmpp::parsers::hashes::Algo;
use waxwing_testkit::{Element, RawClient, Scene};

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const DISCO: &str = "http://jabber.org/protocol/disco#info";

/// A form with these fields.
fn form(kind: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("<field var='pubsub#{name}'><value>{value}</value></field>"))
        .collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{PUBSUB}#{kind}</value>\
         </field>{fields}</x>"
    )
}

/// What a client asks for that keeps something for itself (XEP-0223).
const PRIVATE: &[(&str, &str)] = &[
    ("persist_items", "true"),
    ("max_items", "max"),
    ("send_last_published_item", "never"),
    ("access_model", "whitelist"),
];

/// The request to publish an item with a payload of one word.
fn publication(node: &str, id: &str, word: &str, options: &[(&str, &str)]) -> String {
    let options = match options {
        [] => String::new(),
        options => format!("<publish-options>{}</publish-options>", form("publish-options", options)),
    };
    format!(
        "<iq type='set' id='publish'><pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{id}'>\
         <mood xmlns='urn:mood'>{word}</mood></item></publish>{options}</pubsub></iq>"
    )
}

/// Publishes an item with a payload of one word.
async fn publish(client: &mut RawClient, node: &str, id: &str, word: &str, options: &[(&str, &str)]) {
    let answer = ask(client, &publication(node, id, word, options)).await;
    assert_eq!(answer.attribute("type"), Some("result"), "{answer}");
}

/// Sends an IQ; the answer to it. What comes before is passed over.
async fn ask(client: &mut RawClient, iq: &str) -> Element {
    client.send(iq).await;
    let id = iq.split("id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default().to_owned();
    loop {
        let came = client.receive().await;
        if came.name == "iq" && came.attribute("id") == Some(&id) {
            return came;
        }
    }
}

/// Reads all items of a node of somebody.
async fn read(client: &mut RawClient, of: &str, node: &str) -> Element {
    ask(
        client,
        &format!("<iq type='get' id='read' to='{of}'><pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub></iq>"),
    )
    .await
}

/// The ids of the items in an answer.
fn ids(answer: &Element) -> Vec<String> {
    assert_eq!(answer.attribute("type"), Some("result"), "{answer}");
    let pubsub = answer.child("pubsub").unwrap_or_else(|| panic!("no payload: {answer}"));
    let items = pubsub.child("items").unwrap_or_else(|| panic!("no items: {answer}"));
    items.elements().map(|item| item.attribute("id").unwrap_or_default().to_owned()).collect()
}

/// The conditions of an error, separated by a blank.
fn refusal(answer: &Element) -> String {
    assert_eq!(answer.attribute("type"), Some("error"), "{answer}");
    let error = answer.child("error").unwrap_or_else(|| panic!("no error: {answer}"));
    let names = error.elements().filter(|child| child.name != "text").map(|child| child.name.clone());
    names.collect::<Vec<_>>().join(" ")
}

/// The features of a client that wants to hear of these nodes, as the answer to a question, and their hash.
fn features(nodes: &[&str]) -> (String, String) {
    let mut features: Vec<String> = nodes.iter().map(|node| format!("{node}+notify")).collect();
    features.push(DISCO.to_owned());
    features.sort();
    let text = features.iter().fold("client/pc//Test<".to_owned(), |text, feature| text + feature + "<");
    let version = waxwing_testkit::scram::base64(sha1(text.as_bytes()));
    let xml: String = features.iter().map(|feature| format!("<feature var='{feature}'/>")).collect();
    (format!("<identity category='client' type='pc' name='Test'/>{xml}"), version)
}

fn sha1(text: &[u8]) -> Vec<u8> {
    hash_caps(text, Algo::Sha_1).expect("it knows SHA-1").hash
}

/// Presence of a client with this version of its features.
fn presence(version: &str) -> String {
    format!(
        "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:test' ver='{version}'/></presence>"
    )
}

/// Answers one question for the client's features.
async fn tell(client: &mut RawClient, (id, from): &(String, String), information: &str) {
    client
        .send(format!("<iq type='result' id='{id}' to='{from}'><query xmlns='{DISCO}'>{information}</query></iq>"))
        .await;
}

/// Answers questions for the client's features until it is quiet for a while; what else came.
async fn answer_questions(client: &mut RawClient, information: &str) -> Vec<Element> {
    let mut others = Vec::new();
    // What runs in the background needs a moment; each round is a question and its answer with the server.
    let mut quiet = 0;
    while quiet < 6 {
        let came = client.drain().await;
        quiet = if came.is_empty() { quiet + 1 } else { 0 };
        for stanza in came {
            match question(&stanza) {
                Some(asked) => tell(client, &asked, information).await,
                None => others.push(stanza),
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
    others
}

/// The id and the sender of a question for features.
fn question(stanza: &Element) -> Option<(String, String)> {
    let is_question = stanza.name == "iq" && stanza.attribute("type") == Some("get");
    let query = stanza.child("query").filter(|query| is_question && query.namespace == DISCO)?;
    assert!(query.attribute("node").is_some_and(|node| node.starts_with("urn:test#")), "{stanza}");
    Some((stanza.attribute("id")?.to_owned(), stanza.attribute("from")?.to_owned()))
}

/// Somebody who is online and wants to hear of these nodes, with all that has come meanwhile.
async fn listener(scene: &Scene, name: &str, nodes: &[&str]) -> (RawClient, Vec<Element>) {
    let mut client = scene.session(name).await;
    let (information, version) = features(nodes);
    client.send(presence(&version)).await;
    let came = answer_questions(&mut client, &information).await;
    (client, came)
}

/// What was told of nodes: sender, node and content of each event.
fn events(came: &[Element]) -> Vec<String> {
    let of_event = |stanza: &Element| {
        let event = stanza.child("event").filter(|event| event.namespace == format!("{PUBSUB}#event"))?;
        let about = event.elements().next()?;
        let content: Vec<String> = about
            .elements()
            .map(|item| format!("{}:{}:{}", item.name, item.attribute("id").unwrap_or_default(), text_of(item)))
            .collect();
        let from = stanza.attribute("from").unwrap_or_default().split(['-', '@']).next().unwrap_or_default().to_owned();
        Some(format!("{from} {} {} {}", about.name, about.attribute("node").unwrap_or_default(), content.join(",")))
    };
    came.iter().filter_map(of_event).collect()
}

fn text_of(item: &Element) -> String {
    item.elements().next().map(Element::text).unwrap_or_default()
}

/// Waits until something was told of nodes; passes over presence.
async fn next_event(client: &mut RawClient) -> String {
    loop {
        let came = client.receive().await;
        if let Some(event) = events(std::slice::from_ref(&came)).pop() {
            return event;
        }
        assert_eq!(came.name, "presence", "{came}");
    }
}
