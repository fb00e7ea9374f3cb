//! Cards, and one picture in cards, nodes and presence (XEP-0054, XEP-0084, XEP-0153, XEP-0398).

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{DISCO, PUBSUB, ask, form, ids, read, refusal};

const METADATA: &str = "urn:xmpp:avatar:metadata";
const DATA: &str = "urn:xmpp:avatar:data";

/// Two pictures, and their SHA-1 as `sha1sum` tells it.
const HELLO: (&str, &str) = ("SGVsbG8=", "f7ff9e8b7bb2e09b70935a5d785e0cc5d9d0abf0");
const WORLD: (&str, &str) = ("V29ybGQ=", "70c07ec18ef89c5309bbb0937f3a6342411e1fdd");

async fn set_card(client: &mut RawClient, content: &str) {
    let iq = format!("<iq type='set' id='set'><vCard xmlns='vcard-temp'>{content}</vCard></iq>");
    let answer = ask(client, &iq).await;
    assert_eq!(answer.attribute("type"), Some("result"), "{answer}");
}

async fn card(client: &mut RawClient, of: &str) -> String {
    ask(client, &format!("<iq type='get' id='card' to='{of}'><vCard xmlns='vcard-temp'/></iq>")).await.to_string()
}

fn photo(data: &str) -> String {
    format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{data}</BINVAL></PHOTO>")
}

/// Publishes a picture as clients do.
async fn publish_avatar(client: &mut RawClient, (data, hash): (&str, &str), access: &str) {
    let metadata = format!("<metadata xmlns='{METADATA}'><info bytes='5' id='{hash}' type='image/jpeg'/></metadata>");
    for (node, payload) in [(DATA, format!("<data xmlns='{DATA}'>{data}</data>")), (METADATA, metadata)] {
        let options = form("publish-options", &[("access_model", access)]);
        let iq = format!(
            "<iq type='set' id='avatar'><pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{hash}'>{payload}</item>\
             </publish><publish-options>{options}</publish-options></pubsub></iq>"
        );
        let answer = ask(client, &iq).await;
        assert_eq!(answer.attribute("type"), Some("result"), "{answer}");
    }
}

/// What Romeo sees of Juliet's picture when she says this to him.
async fn shown(juliet: &mut RawClient, romeo: &mut RawClient, content: &str) -> String {
    let to = romeo.jid().to_owned();
    juliet.send_bytes(format!("<presence to='{to}'>{content}</presence>")).await;
    loop {
        let came = romeo.receive().await;
        if came.name == "presence" && came.attribute("from") == Some(juliet.jid()) {
            let update = came.elements().find(|child| child.name == "x");
            return update.map(ToString::to_string).unwrap_or_default();
        }
    }
}

async fn lovers() -> (Scene, RawClient, RawClient) {
    let scene = SERVER.scene().await;
    let (juliet, romeo) = (scene.online("juliet/balcony").await, scene.online("romeo/orchard").await);
    (scene, juliet, romeo)
}

#[tokio::test]
async fn a_card_is_read_while_its_owner_is_away_and_changed_by_nobody_else() {
    let (_scene, mut juliet, mut romeo) = lovers().await;
    let her = juliet.bare().to_owned();
    // Who has none looks like who is not there, and sees an empty one himself.
    let nobody = card(&mut romeo, "nobody-at-all@{host}").await;
    assert!(nobody.contains("service-unavailable"), "{nobody}");
    assert!(card(&mut romeo, &her).await.contains("service-unavailable"));
    let own = ask(&mut juliet, "<iq type='get' id='own'><vCard xmlns='vcard-temp'/></iq>").await;
    assert!(own.child("vCard").is_some_and(|card| card.elements().next().is_none()), "{own}");
    set_card(&mut juliet, "<FN>Juliet</FN><NICKNAME>J &amp; R</NICKNAME><DESC xml:lang='de'>Hallo</DESC>").await;
    let change = format!("<iq type='set' id='x' to='{her}'><vCard xmlns='vcard-temp'><FN>Mine</FN></vCard></iq>");
    assert_eq!(refusal(&ask(&mut romeo, &change).await), "forbidden");
    juliet.send_bytes("<presence type='unavailable'/></stream:stream>").await;
    let read = card(&mut romeo, &her).await;
    for part in ["<FN>Juliet</FN>", "J &amp; R", "Hallo"] {
        assert!(read.contains(part), "{part}: {read}");
    }
}

#[tokio::test]
async fn the_picture_of_a_card_is_in_nodes_and_presence_too() {
    let (_scene, mut juliet, mut romeo) = lovers().await;
    let her = juliet.bare().to_owned();
    let query = format!("<iq type='get' id='disco' to='{her}'><query xmlns='{DISCO}'/></iq>");
    let features = ask(&mut juliet, &query).await.to_string();
    for feature in ["urn:xmpp:pep-vcard-conversion:0", "vcard-temp"] {
        assert!(features.contains(feature), "{feature}: {features}");
    }
    assert_eq!(shown(&mut juliet, &mut romeo, "").await, "");
    let (data, hash) = HELLO;
    set_card(&mut juliet, &photo(data)).await;
    assert_eq!(ids(&read(&mut romeo, &her, METADATA).await), [hash]);
    assert!(read(&mut romeo, &her, METADATA).await.to_string().contains("bytes='5'"));
    assert!(read(&mut romeo, &her, DATA).await.to_string().contains(data));
    // Whatever her client says of a picture, but that it is not ready to say (XEP-0398 §4).
    for said in ["", "<x xmlns='vcard-temp:x:update'/>", "<x xmlns='vcard-temp:x:update'><photo>0</photo></x>"] {
        let seen = shown(&mut juliet, &mut romeo, said).await;
        assert!(seen.contains(&format!("<photo>{hash}</photo>")), "{said}: {seen}");
    }
    let unready = shown(&mut juliet, &mut romeo, "<x xmlns='vcard-temp:x:update'><photo/></x>").await;
    assert!(unready.contains("photo") && !unready.contains(hash), "{unready}");
    set_card(&mut juliet, "<FN>Juliet</FN>").await;
    let told = read(&mut romeo, &her, METADATA).await.to_string();
    assert!(told.contains("<metadata") && !told.contains(hash), "{told}");
    assert_eq!(shown(&mut juliet, &mut romeo, "").await, "");
    let broken = "<iq type='set' id='b'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>?</BINVAL></PHOTO></vCard></iq>";
    assert_eq!(refusal(&ask(&mut juliet, broken).await), "bad-request");
}

#[tokio::test]
async fn the_picture_of_open_nodes_is_in_the_card_too_and_the_rest_of_the_card_stays() {
    let (_scene, mut juliet, mut romeo) = lovers().await;
    let her = juliet.bare().to_owned();
    set_card(&mut juliet, "<FN>Juliet</FN>").await;
    publish_avatar(&mut juliet, HELLO, "open").await;
    let read = card(&mut romeo, &her).await;
    assert!(read.contains("<FN>Juliet</FN>") && read.contains(HELLO.0) && read.contains("image/jpeg"), "{read}");
    assert!(shown(&mut juliet, &mut romeo, "").await.contains(HELLO.1));
    publish_avatar(&mut juliet, WORLD, "open").await;
    let read = card(&mut romeo, &her).await;
    assert!(read.contains(WORLD.0) && !read.contains(HELLO.0), "{read}");
    // No picture any more (XEP-0084 §4.2).
    let nothing = format!(
        "<iq type='set' id='n'><pubsub xmlns='{PUBSUB}'><publish node='{METADATA}'><item><metadata xmlns='{METADATA}'/>\
         </item></publish></pubsub></iq>"
    );
    ask(&mut juliet, &nothing).await;
    let read = card(&mut romeo, &her).await;
    assert!(read.contains("<FN>Juliet</FN>") && !read.contains("PHOTO"), "{read}");
}

#[tokio::test]
async fn the_picture_of_nodes_for_contacts_stays_there() {
    let (_scene, mut juliet, mut romeo) = lovers().await;
    publish_avatar(&mut juliet, HELLO, "presence").await;
    let her = juliet.bare().to_owned();
    assert!(card(&mut romeo, &her).await.contains("service-unavailable"));
    assert_eq!(shown(&mut juliet, &mut romeo, "").await, "");
    // What she puts into the card herself is for everybody, and the node stays as narrow as it was.
    set_card(&mut juliet, &photo(WORLD.0)).await;
    assert!(card(&mut romeo, &her).await.contains(WORLD.0));
    assert_eq!(ids(&read(&mut juliet, &her, METADATA).await)[0], WORLD.1);
    let stranger = read(&mut romeo, &her, METADATA).await;
    assert_eq!(stranger.attribute("type"), Some("error"), "{stranger}");
    assert!(shown(&mut juliet, &mut romeo, "").await.contains(WORLD.1));
}
