//! An app server as a script, and people who register their devices with it.

use std::time::Duration;

use waxwing_testkit::{Element, RawClient, Scene, SharedServer, TestOptions};

use crate::common::options;

/// Short times, so that tests need not wait for long.
const SETTINGS: &str = r#"
[modules.push]
show_sender = true
pause = "300ms"
unacknowledged_for = "2s"
answer_within = "1s"
retry_after = "400ms"
retry_at_most = "1s"
"#;

/// One server for all tests of this binary that need nothing special.
pub static SERVER: SharedServer = SharedServer::new(quick);

/// A server of one's own begins with these.
pub fn quick() -> TestOptions {
    options().toml(SETTINGS)
}

/// Long enough for a call that must not come: longer than every pause above.
pub const SILENCE: Duration = Duration::from_millis(700);

/// An app server.
pub struct App {
    pub client: RawClient,
}

/// A call that an app server got.
#[derive(Debug)]
pub struct Called {
    id: String,
    from: String,
    /// The node.
    pub node: String,
    whole: Element,
}

impl App {
    pub async fn start(scene: &Scene) -> App {
        App { client: scene.session("app/push").await }
    }

    /// The next call.
    pub async fn call(&mut self) -> Called {
        let whole = self.client.receive().await;
        let of = (whole.name.as_str(), whole.attribute("type"));
        assert_eq!(of, ("iq", Some("set")), "{whole}");
        let attribute = |name| whole.attribute(name).unwrap_or_else(|| panic!("no {name} in {whole}")).to_owned();
        let (id, from) = (attribute("id"), attribute("from"));
        let publish = whole.child("pubsub").and_then(|pubsub| pubsub.child("publish"));
        let node = publish.and_then(|publish| publish.attribute("node")).unwrap_or_default().to_owned();
        Called { id, from, node, whole }
    }

    /// The next call is taken.
    pub async fn takes_call(&mut self) -> Called {
        let called = self.call().await;
        self.answers(&called, "result", "").await;
        called
    }

    /// The next call is refused.
    pub async fn refuses_call(&mut self, kind: &str, condition: &str) -> Called {
        let called = self.call().await;
        let error = format!("<error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
        self.answers(&called, "error", &error).await;
        called
    }

    async fn answers(&mut self, called: &Called, of: &str, content: &str) {
        let answer = format!("<iq type='{of}' id='{}' to='{}'>{content}</iq>", called.id, called.from);
        self.client.send_bytes(answer).await;
    }

    /// No call comes.
    pub async fn is_left_alone(&mut self) {
        self.client.expect_silence(SILENCE).await;
    }
}

impl Called {
    /// The id of the question.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn fields(form: &Element) -> impl Iterator<Item = (&str, String)> {
        let fields = form.elements().filter(|child| child.name == "field");
        fields.filter_map(|field| Some((field.attribute("var")?, field.text_of("value").unwrap_or_default())))
    }

    /// A field of the summary.
    pub fn said(&self, field: &str) -> Option<String> {
        let item = self.whole.child("pubsub")?.child("publish")?.child("item")?;
        let form = item.child_in("urn:xmpp:push:0", "notification")?.child_in("jabber:x:data", "x")?;
        assert_eq!(Called::fields(form).next().unwrap().1, "urn:xmpp:push:summary");
        Called::fields(form).find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// How many messages wait.
    pub fn count(&self) -> u32 {
        self.said("message-count").unwrap().parse().unwrap()
    }

    /// A field of the options.
    pub fn option(&self, field: &str) -> Option<String> {
        let form = self.whole.child("pubsub")?.child("publish-options")?.child_in("jabber:x:data", "x")?;
        Called::fields(form).find(|(name, _)| *name == field).map(|(_, value)| value)
    }
}

/// A client registers its device.
pub async fn registers(client: &mut RawClient, node: &str) {
    client
        .send(format!(
            "<iq type='set' id='on'><enable xmlns='urn:xmpp:push:0' jid='{{app/push}}' node='{node}'>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
             <field var='secret'><value>secret of {node}</value></field></x></enable></iq>"
        ))
        .await;
    client.expect("<iq type='result' id='on' {…}/>").await;
}

/// Somebody registers his device, and goes.
pub async fn away(scene: &Scene, who: &str, node: &str) {
    let mut client = scene.online(who).await;
    registers(&mut client, node).await;
    goes(client).await;
}

/// A client closes its stream.
pub async fn goes(mut client: RawClient) {
    client.send_bytes("</stream:stream>").await;
    client.expect_end().await;
}

/// A client writes something to somebody.
pub async fn writes(client: &mut RawClient, to: &str, body: &str) {
    client.send(format!("<message type='chat' to='{{{to}}}'><body>{body}</body></message>")).await;
    client.drain().await;
}
