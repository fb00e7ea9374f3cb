//! Rooms over the wire (XEP-0045 and what belongs to it), against a running server.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../security/program.rs"]
mod program;

mod archive;
mod calling;
mod crashes;
mod entering;
mod restarts;
mod security;

use waxwing_testkit::{Element, RawClient, Scene};

const MUC: &str = "http://jabber.org/protocol/muc";

/// Names a room of the scene, which nobody else uses: `{room}`.
fn name_room(scene: &Scene) -> String {
    let room = format!("{}@conference.{}", scene.local("coven"), scene.host());
    scene.names().set("room", &room);
    room
}

/// Makes a room with this client in it, configured with these fields of the form.
async fn make(client: &mut RawClient, nick: &str, fields: &[(&str, &str)]) {
    client.send(format!("<presence to='{{room}}/{nick}'><x xmlns='{MUC}'/></presence>")).await;
    let own = client.receive().await;
    assert!(own.to_string().contains("'201'") || own.to_string().contains("\"201\""), "{own}");
    client.expect("<message from='{room}' to='{any}' type='groupchat'><subject/></message>").await;
    let fields: String =
        fields.iter().map(|(name, value)| format!("<field var='{name}'><value>{value}</value></field>")).collect();
    client
        .send(format!(
            "<iq type='set' id='make' to='{{room}}'><query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>{MUC}#roomconfig</value></field>{fields}</x></query></iq>"
        ))
        .await;
    client.expect("<iq from='{room}' to='{any}' id='make' type='result'/>").await;
}

/// A room that everyone may enter.
const CHANNEL: &[(&str, &str)] = &[("waxwing#roomconfig_preset", "public-channel")];

/// Asks to enter; everything that comes until the subject.
async fn enter(client: &mut RawClient, nick: &str) -> Vec<Element> {
    client.send(format!("<presence to='{{room}}/{nick}'><x xmlns='{MUC}'/></presence>")).await;
    let mut came = Vec::new();
    loop {
        let stanza = client.receive().await;
        assert_ne!(stanza.attribute("type"), Some("error"), "{stanza}");
        let is_subject = stanza.name == "message" && stanza.child("subject").is_some();
        came.push(stanza);
        if is_subject {
            return came;
        }
    }
}

async fn talk(client: &mut RawClient, body: &str) {
    client.send(format!("<message to='{{room}}' type='groupchat' id='{body}'><body>{body}</body></message>")).await;
}

/// Passes over presence until a message comes.
async fn next_message(client: &mut RawClient) -> Element {
    loop {
        let stanza = client.receive().await;
        if stanza.name == "message" {
            return stanza;
        }
    }
}
