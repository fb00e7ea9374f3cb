//! Rooms with people of another server in them, which comes and goes.

use waxwing_testkit::{Element, RawClient};

use crate::world::{Setup, World};

const MUC: &str = "http://jabber.org/protocol/muc";
const ROOM: &str = "hall@conference.capulet.lit";

/// Juliet makes a room on her server that everybody may enter, and Romeo comes into it from his.
async fn both_in_a_room(world: &World) -> (RawClient, RawClient) {
    let (mut romeo, mut juliet) = world.lovers().await;
    juliet.send(format!("<presence to='{ROOM}/Juliet'><x xmlns='{MUC}'/></presence>")).await;
    juliet.expect(format!("<presence from='{ROOM}/Juliet' {{…}}>{{…}}</presence>")).await;
    juliet.expect(format!("<message from='{ROOM}' type='groupchat' {{…}}><subject/>{{…}}</message>")).await;
    juliet
        .send(format!(
            "<iq type='set' to='{ROOM}' id='o'><query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>{MUC}#roomconfig</value></field>\
             <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query></iq>"
        ))
        .await;
    juliet.expect("<iq type='result' id='o' {…}>{…}</iq>").await;
    romeo.send(format!("<presence to='{ROOM}/Romeo'><x xmlns='{MUC}'/></presence>")).await;
    romeo.expect(format!("<presence from='{ROOM}/Juliet' {{…}}>{{…}}</presence>")).await;
    romeo.expect(format!("<presence from='{ROOM}/Romeo' {{…}}>{{…}}</presence>")).await;
    romeo.expect(format!("<message from='{ROOM}' type='groupchat' {{…}}>{{…}}</message>")).await;
    juliet.expect(format!("<presence from='{ROOM}/Romeo' {{…}}>{{…}}</presence>")).await;
    (romeo, juliet)
}

/// The status codes of the next presence that says that this occupant is gone.
async fn gone(client: &mut RawClient, nick: &str) -> Vec<u16> {
    loop {
        let stanza = client.receive().await;
        let is_his = stanza.attribute("from") == Some(&format!("{ROOM}/{nick}"));
        if stanza.name == "presence" && is_his && stanza.attribute("type") == Some("unavailable") {
            return statuses(&stanza);
        }
    }
}

fn statuses(presence: &Element) -> Vec<u16> {
    let user = presence.child_in("http://jabber.org/protocol/muc#user", "x").unwrap_or_else(|| panic!("{presence}"));
    let codes = user.elements().filter(|element| element.name == "status");
    codes.filter_map(|status| status.attribute("code")?.parse().ok()).collect()
}

#[tokio::test]
async fn people_of_another_server_are_in_a_room() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = both_in_a_room(&world).await;
    romeo.send(format!("<message to='{ROOM}' type='groupchat' id='g'><body>But soft</body></message>")).await;
    for client in [&mut juliet, &mut romeo] {
        client
            .expect(format!("<message from='{ROOM}/Romeo' type='groupchat' {{…}}><body>But soft</body>{{…}}</message>"))
            .await;
    }
    romeo.send(format!("<presence to='{ROOM}/Romeo' type='unavailable'/>")).await;
    juliet.expect(format!("<presence from='{ROOM}/Romeo' type='unavailable' {{…}}>{{…}}</presence>")).await;
}

/// Nobody speaks: the room asks who is silent, and learns that his server is not there.
#[tokio::test]
async fn f25_whose_server_has_died_leaves_the_room() {
    let more = "[modules.muc]\nping_after = '500ms'\nping_timeout = '15s'";
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let (_romeo, mut juliet) = both_in_a_room(&world).await;
    world.montague.server.crash();
    assert_eq!(gone(&mut juliet, "Romeo").await, [333]);
}

/// His server brings the question and his client does not answer it.
#[tokio::test]
async fn who_is_silent_and_does_not_answer_leaves_the_room() {
    let more = "[modules.muc]\nping_after = '500ms'\nping_timeout = '500ms'";
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let (mut romeo, mut juliet) = both_in_a_room(&world).await;
    assert_eq!(gone(&mut juliet, "Romeo").await, [333]);
    assert_eq!(gone(&mut romeo, "Romeo").await, [110, 333], "he is told as well");
}

#[tokio::test]
async fn a_message_to_whose_server_has_died_shows_that_he_is_gone() {
    let more = "[modules.muc]\nping_after = '1h'";
    let world = World::new(Setup { more, ..Setup::default() }).await;
    let (_romeo, mut juliet) = both_in_a_room(&world).await;
    world.montague.server.crash();
    juliet.send(format!("<message to='{ROOM}' type='groupchat' id='g'><body>Wherefore</body></message>")).await;
    assert_eq!(gone(&mut juliet, "Romeo").await, [333]);
}

#[tokio::test]
async fn f18_a_room_that_stops_tells_people_of_another_server() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = both_in_a_room(&world).await;
    world.capulet.server.stop().await;
    assert_eq!(gone(&mut juliet, "Juliet").await, [110, 332]);
    assert_eq!(gone(&mut romeo, "Romeo").await, [110, 332]);
}
