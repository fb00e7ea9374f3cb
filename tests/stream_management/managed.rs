//! A client that counts as XEP-0198 wants, and says what it has received only when it is told to.

use waxwing_testkit::{Element, RawClient, Scene};

pub const SM: &str = "urn:xmpp:sm:3";

/// A client with a managed session.
pub struct Managed {
    pub client: RawClient,
    pub who: String,
    pub id: String,
    /// Stanzas it has received since counting began.
    pub received: u32,
    /// The bodies of the messages it has received.
    pub got: Vec<String>,
}

impl Managed {
    /// A client that is online, with a session that can be resumed.
    pub async fn online(scene: &Scene, who: &str) -> Managed {
        let client = scene.online(who).await;
        Managed::enable(client, who).await
    }

    /// Enables it on a client that is bound.
    pub async fn enable(mut client: RawClient, who: &str) -> Managed {
        client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let enabled = client.expect("<enabled xmlns='urn:xmpp:sm:3' id='{any}' resume='true' max='{any}'/>").await;
        let id = enabled.attribute("id").unwrap_or_default().to_owned();
        Managed { client, who: who.to_owned(), id, received: 0, got: Vec::new() }
    }

    /// Takes stanzas until a message with a body has come; its body.
    pub async fn receives(&mut self) -> String {
        loop {
            let element = self.client.receive().await;
            if let Some(body) = self.takes(&element) {
                return body;
            }
        }
    }

    /// Takes messages until one with this body has come.
    pub async fn receives_until(&mut self, last: &str) {
        while self.receives().await != last {}
    }

    /// Counts what has come; the body if it is a message with one.
    pub fn takes(&mut self, element: &Element) -> Option<String> {
        if !matches!(element.name.as_str(), "message" | "presence" | "iq") {
            return None;
        }
        self.received += 1;
        let body = element.text_of("body").filter(|_| element.name == "message");
        self.got.extend(body.clone());
        body
    }

    /// Writes a message.
    pub async fn writes(&mut self, to: &str, text: &str) {
        self.client.send(format!("<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>")).await;
    }

    /// Asks how many of its stanzas have arrived.
    pub async fn asks(&mut self) -> u32 {
        self.client.send("<r xmlns='urn:xmpp:sm:3'/>").await;
        loop {
            let element = self.client.receive().await;
            if element.name == "a" {
                return element.attribute("h").and_then(|h| h.parse().ok()).expect("a number");
            }
            self.takes(&element);
        }
    }

    /// Says what it has received.
    pub async fn acknowledges(&mut self) {
        let received = self.received;
        self.client.send(format!("<a xmlns='urn:xmpp:sm:3' h='{received}'/>")).await;
    }

    /// Its connection breaks.
    pub fn breaks(&mut self) {
        self.client.hang_up();
    }

    /// Logs in anew and asks for its session; what it is answered.
    pub async fn tries_to_resume(&mut self, scene: &Scene) -> Element {
        let name = self.who.split('/').next().unwrap_or_default().to_owned();
        self.client = scene.logged_in(&name).await;
        let (id, received) = (&self.id, self.received);
        self.client.send(format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{received}'/>")).await;
        self.client.receive().await
    }

    /// Comes back to its session; how many of its stanzas have arrived.
    pub async fn resumes(&mut self, scene: &Scene) -> u32 {
        let answer = self.tries_to_resume(scene).await;
        assert_eq!(answer.name, "resumed", "{answer}");
        assert_eq!(answer.attribute("previd"), Some(self.id.as_str()));
        answer.attribute("h").and_then(|h| h.parse().ok()).expect("a number")
    }
}
