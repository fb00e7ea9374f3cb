//! Archives over the wire (XEP-0313 and what belongs to it), against a running server.

#[path = "../common/mod.rs"]
mod common;

mod catching_up;
mod clients;
mod keeping;
mod offline;
mod queries;

use waxwing_testkit::{Element, RawClient};

/// Asks for a part of the own archive: fields of the form, and what stands inside `<set/>`. Gives the results and `<fin/>`.
async fn ask(client: &mut RawClient, fields: &str, set: &str) -> (Vec<Element>, Element) {
    ask_with(client, fields, set, "").await
}

async fn ask_with(client: &mut RawClient, fields: &str, set: &str, more: &str) -> (Vec<Element>, Element) {
    client.send_bytes(query(fields, set, more)).await;
    let mut results = Vec::new();
    loop {
        let stanza = client.receive().await;
        if stanza.name == "iq" {
            assert_eq!(stanza.attribute("type"), Some("result"), "{stanza}");
            return (results, stanza.child("fin").expect("the end of the results").clone());
        }
        let result = stanza.child_in("urn:xmpp:mam:2", "result").unwrap_or_else(|| panic!("not a result: {stanza}"));
        // Security row S18: a result comes from one's own account and tells which query it answers.
        assert_eq!(stanza.attribute("from"), Some(client.bare()), "{stanza}");
        assert_eq!(stanza.attribute("to"), Some(client.jid()), "{stanza}");
        assert_eq!(result.attribute("queryid"), Some("q1"), "{stanza}");
        results.push(result.clone());
    }
}

fn query(fields: &str, set: &str, more: &str) -> String {
    format!(
        "<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2' queryid='q1'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>{fields}</x>\
         <set xmlns='http://jabber.org/protocol/rsm'>{set}</set>{more}</query></iq>"
    )
}

fn field(name: &str, value: &str) -> String {
    format!("<field var='{name}'><value>{value}</value></field>")
}

/// The stored message in a result.
fn stored(result: &Element) -> &Element {
    let forwarded = result.child_in("urn:xmpp:forward:0", "forwarded").expect("what is forwarded");
    let delay = forwarded.child_in("urn:xmpp:delay", "delay").expect("a delay");
    assert!(delay.attribute("stamp").is_some_and(|stamp| stamp.ends_with('Z')), "{result}");
    forwarded.child_in("jabber:client", "message").expect("a message with its namespace")
}

fn bodies(results: &[Element]) -> Vec<String> {
    results.iter().map(|result| stored(result).text_of("body").unwrap_or_default()).collect()
}

fn ids(results: &[Element]) -> Vec<String> {
    results.iter().map(|result| result.attribute("id").expect("an id").to_owned()).collect()
}
