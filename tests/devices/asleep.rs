//! A client whose user does not look (XEP-0352).

use waxwing_testkit::{RawClient, TestServer};

use crate::common::{SERVER, options};

/// What a client has been sent, in short.
fn told(came: &[waxwing_testkit::Element]) -> Vec<String> {
    came.iter()
        .map(|stanza| match stanza.name.as_str() {
            "presence" => match (stanza.attribute("type"), stanza.text_of("show")) {
                (Some(of), _) => of.to_owned(),
                (None, show) => show.unwrap_or_else(|| "available".to_owned()),
            },
            "message" => match stanza.text_of("body") {
                Some(body) => body,
                None => stanza.elements().next().map(|child| child.name.clone()).unwrap_or_default(),
            },
            other => other.to_owned(),
        })
        .collect()
}

async fn writes(client: &mut RawClient, content: &str) {
    client.send(format!("<message type='chat' to='{{juliet/balcony}}'>{content}</message>")).await;
}

const COMPOSING: &str = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
const PAUSED: &str = "<paused xmlns='http://jabber.org/protocol/chatstates'/>";

#[tokio::test]
async fn what_can_wait_waits_and_comes_in_order_the_newest_of_each() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    assert!(juliet.features().child_in("urn:xmpp:csi:0", "csi").is_some());
    scene.befriend(&mut romeo, &mut juliet).await;
    juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    juliet.barrier().await;
    for show in ["away", "xa", "dnd"] {
        romeo.send(format!("<presence><show>{show}</show></presence>")).await;
    }
    writes(&mut romeo, COMPOSING).await;
    writes(&mut romeo, PAUSED).await;
    romeo.drain().await;
    juliet.barrier().await;
    // The answer to a ping does not need what waits; a message does.
    writes(&mut romeo, "<body>hi</body>").await;
    romeo.barrier().await;
    assert_eq!(told(&juliet.drain().await), ["dnd", "paused", "hi"]);
    // She still sleeps; once she wakes, all comes before the answer to what she says next.
    romeo.send("<presence/>").await;
    romeo.drain().await;
    juliet.barrier().await;
    juliet.send("<active xmlns='urn:xmpp:csi:0'/>").await;
    assert_eq!(told(&juliet.drain().await), ["available"]);
    romeo.send("<presence><show>away</show></presence>").await;
    romeo.drain().await;
    assert_eq!(told(&juliet.drain().await), ["away"]);
    // Again, and a contact that has gone stays gone.
    juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    juliet.barrier().await;
    romeo.send("<presence/><presence type='unavailable'/>").await;
    romeo.drain().await;
    juliet.barrier().await;
    juliet.send("<active xmlns='urn:xmpp:csi:0'/>").await;
    assert_eq!(told(&juliet.drain().await), ["unavailable"]);
}

#[tokio::test]
async fn a_request_to_subscribe_and_a_call_do_not_wait() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    juliet.barrier().await;
    romeo.send("<presence><show>chat</show></presence>").await;
    romeo.send("<iq type='set' id='call' to='{juliet/balcony}'><jingle xmlns='urn:xmpp:jingle:1'/></iq>").await;
    romeo.drain().await;
    assert_eq!(told(&juliet.drain().await), ["chat", "iq"]);
    let mut paris = scene.online("paris/hall").await;
    paris.send("<presence type='subscribe' to='{juliet}'/>").await;
    paris.drain().await;
    assert_eq!(told(&juliet.drain().await), ["subscribe"]);
}

#[tokio::test]
async fn what_waits_is_bounded_in_stanzas() {
    let server = TestServer::start(options().toml("[modules.csi]\nheld_stanzas = 3")).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    juliet.barrier().await;
    let mut romeo = scene.online("romeo/orchard").await;
    for show in ["away", "chat", "dnd"] {
        let mut client = scene.session(&format!("romeo/{show}")).await;
        client.send(format!("<presence to='{{juliet/balcony}}'><show>{show}</show></presence>")).await;
        client.drain().await;
        std::mem::forget(client);
    }
    juliet.barrier().await;
    romeo.send("<presence to='{juliet/balcony}'><show>xa</show></presence>").await;
    romeo.drain().await;
    assert_eq!(told(&juliet.drain().await), ["away", "chat", "dnd", "xa"]);
}

#[tokio::test]
async fn c27_what_waits_survives_a_broken_connection_and_is_not_counted_before_it_is_sent() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.befriend(&mut romeo, &mut juliet).await;
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    juliet.expect("<enabled xmlns='urn:xmpp:sm:3' id='{capture:id}' {…}/>").await;
    juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    juliet.barrier().await;
    romeo.send("<presence><show>away</show></presence>").await;
    romeo.drain().await;
    // One stanza was sent: the answer to the ping. The presence waits.
    juliet.send("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    juliet.barrier().await;
    juliet.hang_up();
    writes(&mut romeo, "<body>hi</body>").await;
    romeo.barrier().await;
    let mut again = scene.logged_in("juliet").await;
    // A resumed stream begins active: what waited comes, and in order.
    again.send("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='2'/>").await;
    again.expect("<resumed xmlns='urn:xmpp:sm:3' previd='{id}' h='{any}'/>").await;
    again.expect("<presence from='{romeo/orchard}' {…}><show>away</show>{…}</presence>").await;
    again.expect("<message {…}><body>hi</body>{…}</message>").await;
}
