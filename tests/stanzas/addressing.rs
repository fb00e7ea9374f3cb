//! Who says it, to whom, in which language (RFC 6120 §8.1).

use crate::common::SERVER;

#[tokio::test]
async fn c49_from_is_always_the_true_sender() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.stranger("nurse");
    for from in ["", "from='{nurse}'", "from='{juliet}'", "from='{host}'", "from='{romeo}'", "from='{romeo/other}'"] {
        romeo.send(format!("<message to='{{juliet}}' {from} id='m'><body>hi</body></message>")).await;
        juliet
            .expect("<message to='{juliet}' from='{romeo/orchard}' id='m'><body>hi</body>{stanza-id}</message>")
            .await;
        romeo.send(format!("<presence to='{{juliet}}' {from}/>")).await;
        juliet.expect("<presence to='{juliet}' from='{romeo/orchard}'/>").await;
        romeo.send(format!("<iq to='{{juliet/balcony}}' {from} id='q' type='get'><x xmlns='urn:x'/></iq>")).await;
        juliet
            .expect("<iq to='{juliet/balcony}' from='{romeo/orchard}' id='q' type='get'><x xmlns='urn:x'/></iq>")
            .await;
    }
}

#[tokio::test]
async fn c49_subscriptions_come_from_the_bare_jid() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.stranger("nurse");
    for from in ["", "from='{romeo/orchard}'", "from='{nurse}'"] {
        romeo.send(format!("<presence type='subscribe' to='{{juliet}}' {from}/>")).await;
        romeo.drain().await;
        juliet.expect("<presence type='subscribe' to='{juliet}' from='{romeo}' {…}/>").await;
        romeo.send(format!("<presence type='unsubscribe' to='{{juliet}}' {from}/>")).await;
        romeo.drain().await;
        juliet.drain().await;
    }
}

#[tokio::test]
async fn c50_to_is_delivered_as_it_was_written() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    for to in ["{juliet}", "{juliet/balcony}"] {
        romeo.send(format!("<message to='{to}' type='chat'><body>hi</body></message>")).await;
        juliet
            .expect(format!(
                "<message to='{to}' from='{{romeo/orchard}}' type='chat'><body>hi</body>{{stanza-id}}</message>"
            ))
            .await;
        romeo.send(format!("<presence to='{to}'/>")).await;
        juliet.expect(format!("<presence to='{to}' from='{{romeo/orchard}}'/>")).await;
    }
    // A resource that is gone: the message goes to the person, the address stays (RFC 6121 §8.5.3.2.1).
    romeo.send("<message to='{juliet/gone}' type='chat'/>").await;
    juliet.expect("<message to='{juliet/gone}' from='{romeo/orchard}' type='chat'/>").await;
}

#[tokio::test]
async fn c59_the_language_of_the_stream_is_that_of_its_stanzas() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session_with("romeo/orchard", "xml:lang='de'").await;
    romeo.send("<message to='{juliet}'><body>ja</body></message>").await;
    juliet
        .expect("<message to='{juliet}' from='{romeo/orchard}' xml:lang='de'><body>ja</body>{stanza-id}</message>")
        .await;
    romeo.send("<message to='{juliet}' xml:lang='fr'><body xml:lang='it'>si</body></message>").await;
    juliet
        .expect("<message to='{juliet}' from='{romeo/orchard}' xml:lang='fr'><body xml:lang='it'>si</body>{stanza-id}</message>")
        .await;
    romeo.send("<presence to='{juliet}'><status>da</status></presence>").await;
    juliet.expect("<presence to='{juliet}' from='{romeo/orchard}' xml:lang='de'><status>da</status></presence>").await;
    romeo.send("<iq to='{juliet/balcony}' id='q' type='get'><x xmlns='urn:x'/></iq>").await;
    juliet
        .expect(
            "<iq to='{juliet/balcony}' from='{romeo/orchard}' id='q' type='get' xml:lang='de'><x xmlns='urn:x'/></iq>",
        )
        .await;
}

#[tokio::test]
async fn c60_a_message_without_to_is_for_oneself() {
    let scene = SERVER.scene().await;
    let mut orchard = scene.online("romeo/orchard").await;
    let mut garden = scene.online("romeo/garden").await;
    orchard.drain().await;
    orchard.send("<message type='chat' id='m'><body>note to self</body></message>").await;
    for client in [&mut orchard, &mut garden] {
        client
            .expect(
                "<message from='{romeo/orchard}' type='chat' id='m' {…}><body>note to self</body>{stanza-id}</message>",
            )
            .await;
        client.barrier().await;
    }
}

#[tokio::test]
async fn c60_presence_without_to_is_for_everyone_who_may_see_it() {
    let scene = SERVER.scene().await;
    let mut orchard = scene.online("romeo/orchard").await;
    let mut garden = scene.online("romeo/garden").await;
    orchard.drain().await;
    let mut stranger = scene.online("nurse/chamber").await;
    orchard.send("<presence><show>away</show></presence>").await;
    for client in [&mut orchard, &mut garden] {
        client.expect("<presence from='{romeo/orchard}' to='{any}'><show>away</show></presence>").await;
        client.barrier().await;
    }
    stranger.barrier().await;
}

#[tokio::test]
async fn c60_an_iq_without_to_is_for_the_account() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    romeo.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await;
    romeo.expect("<iq type='result' id='roster' {…}><query xmlns='jabber:iq:roster' {…}/></iq>").await;
    romeo.send("<iq type='get' id='none'><query xmlns='urn:unknown'/></iq>").await;
    romeo.expect("<iq type='error' id='none' {…}>{error:cancel:service-unavailable}</iq>").await;
    romeo.barrier().await;
}
