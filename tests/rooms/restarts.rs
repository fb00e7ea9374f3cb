//! What rooms remember when the server was stopped in between.

use waxwing_testkit::{RawClient, Scene, TestServer};

use crate::common::options;
use crate::{CHANNEL, MUC, enter, make, name_room, next_message, talk};

/// A private group of anna and ben, who has a name reserved; carl is shut out.
async fn group(scene: &Scene) -> RawClient {
    name_room(scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", &[("muc#roomconfig_roomname", "A Dark Cave")]).await;
    for name in ["ben", "carl", "dora"] {
        scene.account(name).await;
    }
    let query = format!(
        "<query xmlns='{MUC}#admin'><item affiliation='member' jid='{{ben}}' nick='benvolio'/>\
         <item affiliation='member' jid='{{dora}}'/><item affiliation='outcast' jid='{{carl}}'/></query>"
    );
    anna.send(format!("<iq type='set' id='s' to='{{room}}'>{query}</iq>")).await;
    while anna.receive().await.name != "iq" {}
    anna.send("<message to='{room}' type='groupchat'><subject>Spells</subject></message>").await;
    while next_message(&mut anna).await.child("subject").is_none() {}
    talk(&mut anna, "before").await;
    anna
}

fn occupant_id(stanza: &waxwing_testkit::Element) -> String {
    let id = stanza.child_in("urn:xmpp:occupant-id:0", "occupant-id").unwrap_or_else(|| panic!("{stanza}"));
    id.attribute("id").expect("an id").to_owned()
}

/// Everything that should be as it was, asked by those who come back.
async fn all_is_there(scene: &Scene, occupant: &str) {
    let mut carl = scene.session("carl/y").await;
    carl.send(format!("<presence to='{{room}}/carl'><x xmlns='{MUC}'/></presence>")).await;
    carl.expect("<presence {…} type='error'>{…}{error:auth:forbidden}</presence>").await;
    let mut dora = scene.session("dora/y").await;
    dora.send(format!("<presence to='{{room}}/Benvolio'><x xmlns='{MUC}'/></presence>")).await;
    dora.expect("<presence {…} type='error'>{…}{error:cancel:conflict}</presence>").await;
    // A room nobody is in tells those who think they are that they are not.
    dora.send("<iq type='get' id='p' to='{room}/dora'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    dora.expect("<iq {…} type='error'>{error:modify:not-acceptable}</iq>").await;
    let mut anna = scene.session("anna/y").await;
    let came = enter(&mut anna, "anna").await;
    assert_eq!(occupant_id(&came[0]), occupant, "an occupant keeps the id");
    assert!(came[0].to_string().contains("affiliation='owner'"), "{}", came[0]);
    assert_eq!(came.len(), 3, "herself, what was said, the subject: {came:?}");
    assert_eq!(came[1].text_of("body").as_deref(), Some("before"));
    assert_eq!(occupant_id(&came[1]), occupant);
    assert_eq!(came[2].text_of("subject").as_deref(), Some("Spells"));
    let mut ben = scene.session("ben/y").await;
    let came = enter(&mut ben, "benvolio").await;
    assert!(came[1].to_string().contains("affiliation='member'"), "{}", came[1]);
    ben.send("<iq type='get' id='i' to='{room}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>").await;
    let info = ben.receive().await.to_string();
    assert!(info.contains("A Dark Cave") && info.contains("muc_membersonly"), "{info}");
}

#[tokio::test]
async fn a_stopped_server_comes_back_with_its_rooms() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut anna = group(&scene).await;
    let occupant = occupant_id(&next_message(&mut anna).await);
    server.stop().await;
    server.start_again().await.expect("it starts");
    all_is_there(&scene, &occupant).await;
}

#[tokio::test]
async fn what_was_heard_before_a_crash_is_there_after_it() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    let mut anna = group(&scene).await;
    let occupant = occupant_id(&next_message(&mut anna).await);
    server.crash();
    server.start_again().await.expect("it starts");
    all_is_there(&scene, &occupant).await;
}

/// The status codes of the next presence from this occupant, who is gone.
async fn gone(client: &mut RawClient, occupant: &str) -> Vec<u16> {
    loop {
        let stanza = client.receive().await;
        if stanza.attribute("from") == Some(occupant) && stanza.attribute("type") == Some("unavailable") {
            let user =
                stanza.child_in("http://jabber.org/protocol/muc#user", "x").unwrap_or_else(|| panic!("{stanza}"));
            let codes = user.elements().filter(|element| element.name == "status");
            return codes.filter_map(|status| status.attribute("code")?.parse().ok()).collect();
        }
    }
}

/// XEP-0045 §11.2 for who must log in anew; §11.1 and XEP-0410 for who goes on with his session, and is told when he is back.
#[tokio::test]
async fn f18_everybody_learns_that_he_has_to_come_back_into_the_room() {
    let server = TestServer::start(options()).await;
    let scene = server.scene();
    name_room(&scene);
    let mut anna = scene.session("anna/x").await;
    make(&mut anna, "anna", CHANNEL).await;
    let mut ben = scene.session("ben/x").await;
    ben.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    ben.expect("<enabled xmlns='urn:xmpp:sm:3' id='{capture:session}' resume='true' max='{any}'/>").await;
    let received = enter(&mut ben, "ben").await.len();
    anna.receive().await;
    server.stop().await;
    let room = scene.jid("room");
    assert_eq!(gone(&mut anna, &format!("{room}/anna")).await, [110, 332]);
    anna.expect_stream_error("system-shutdown").await;
    ben.expect_stream_error("system-shutdown").await;
    server.start_again().await.expect("it starts");
    let session = ben.captured("session");
    let mut ben = scene.logged_in("ben").await;
    ben.send(format!("<resume xmlns='urn:xmpp:sm:3' previd='{session}' h='{received}'/>")).await;
    ben.expect("<resumed xmlns='urn:xmpp:sm:3' {…}/>").await;
    assert_eq!(gone(&mut ben, &format!("{room}/ben")).await, [110, 307, 333]);
    ben.send("<iq type='get' id='p' to='{room}/ben'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    ben.expect("<iq {…} id='p' type='error'>{error:modify:not-acceptable}</iq>").await;
    let came = enter(&mut ben, "ben").await;
    assert_eq!(came.iter().filter(|stanza| stanza.name == "presence").count(), 1, "nobody else is there: {came:?}");
}
