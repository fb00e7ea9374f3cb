//! Bookmarks in all their forms (XEP-0402 §5.3, XEP-0048, XEP-0049), and what else clients keep for themselves.

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{PRIVATE, PUBSUB, ask, events, form, ids, listener, read, refusal};

const NATIVE: &str = "urn:xmpp:bookmarks:1";
const LIST: &str = "storage:bookmarks";

fn private(of_type: &str, content: &str) -> String {
    format!("<iq type='{of_type}' id='p'><query xmlns='jabber:iq:private'>{content}</query></iq>")
}

fn native(room: &str, content: &str) -> String {
    format!(
        "<iq type='set' id='n'><pubsub xmlns='{PUBSUB}'><publish node='{NATIVE}'><item id='{room}'>\
         <conference xmlns='{NATIVE}' {content}</conference></item></publish><publish-options>{}</publish-options>\
         </pubsub></iq>",
        form("publish-options", PRIVATE)
    )
}

/// The rooms of the list that a client of old is shown.
async fn list(client: &mut RawClient) -> Vec<String> {
    let answer = ask(client, &private("get", &format!("<storage xmlns='{LIST}'/>"))).await;
    let storage = answer.child("query").and_then(|query| query.child("storage")).unwrap_or_else(|| panic!("{answer}"));
    let conferences = storage.elements().filter(|child| child.name == "conference");
    conferences
        .map(|room| {
            let of = |name| room.attribute(name).unwrap_or_default().to_owned();
            format!("{} {} {} {}", of("jid"), of("name"), of("autojoin"), room.text_of("nick").unwrap_or_default())
        })
        .collect()
}

async fn two_devices(scene: &Scene) -> (RawClient, RawClient) {
    let (phone, _) = listener(scene, "juliet/phone", &[NATIVE, LIST]).await;
    (scene.online("juliet/balcony").await, phone)
}

#[tokio::test]
async fn a_bookmark_of_today_is_read_by_a_client_of_old() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut phone) = two_devices(&scene).await;
    ask(&mut juliet, &native("play@rooms.lit", "name='Hamlet' autojoin='1'><nick>JC</nick>")).await;
    ask(&mut juliet, &native("other@rooms.lit", ">")).await;
    assert_eq!(list(&mut phone).await, ["other@rooms.lit   ", "play@rooms.lit Hamlet true JC"]);
    // And by one that keeps the list in a node.
    let answer = read(&mut phone, "{juliet}", LIST).await;
    assert_eq!(ids(&answer), ["current"]);
    assert!(answer.to_string().contains("play@rooms.lit"), "{answer}");
    let retract = format!(
        "<iq type='set' id='r'><pubsub xmlns='{PUBSUB}'><retract node='{NATIVE}' notify='1'><item id='play@rooms.lit'/></retract></pubsub></iq>"
    );
    ask(&mut juliet, &retract).await;
    assert_eq!(list(&mut phone).await, ["other@rooms.lit   "]);
    // The list is nobody else's.
    let mut paris = scene.online("paris/street").await;
    for node in [NATIVE, LIST] {
        assert_eq!(refusal(&read(&mut paris, "{juliet}", node).await), "not-authorized presence-subscription-required");
    }
}

#[tokio::test]
async fn what_a_client_of_old_writes_becomes_bookmarks_of_today() {
    let scene = SERVER.scene().await;
    let (mut juliet, mut phone) = two_devices(&scene).await;
    let extended = "name='Hamlet'><nick>JC</nick><extensions><notify xmlns='urn:xmpp:notification-settings:1'><never/>\
                    </notify></extensions>";
    ask(&mut juliet, &native("play@rooms.lit", extended)).await;
    ask(&mut juliet, &native("gone@rooms.lit", ">")).await;
    phone.drain().await;
    let rooms = "<conference jid='play@rooms.lit' name='Macbeth'><nick>JC</nick></conference>\
                 <conference jid='new@rooms.lit' autojoin='1'/><url name='x' url='http://x.lit/'/>";
    ask(&mut juliet, &private("set", &format!("<storage xmlns='{LIST}'>{rooms}</storage>"))).await;
    let answer = read(&mut juliet, "{juliet}", NATIVE).await;
    let mut there = ids(&answer);
    there.sort();
    assert_eq!(there, ["new@rooms.lit", "play@rooms.lit"]);
    let text = answer.to_string();
    assert!(text.contains("Macbeth") && text.contains("never"), "what the list cannot say is kept: {text}");
    // Every device hears of each change once, and of the bookmarks that stay nothing.
    let told = events(&phone.drain().await);
    let of_items: Vec<_> = told.iter().filter(|event| event.contains(NATIVE)).collect();
    assert_eq!(
        of_items,
        [
            "juliet items urn:xmpp:bookmarks:1 item:new@rooms.lit:,item:play@rooms.lit:",
            "juliet items urn:xmpp:bookmarks:1 retract:gone@rooms.lit:"
        ]
    );
    ask(&mut juliet, &private("set", &format!("<storage xmlns='{LIST}'>{rooms}</storage>"))).await;
    assert!(events(&phone.drain().await).is_empty(), "nothing has changed");
    // Addresses of pages are kept beside.
    let answer = ask(&mut juliet, &private("get", &format!("<storage xmlns='{LIST}'/>"))).await;
    assert!(answer.to_string().contains("http://x.lit/"), "{answer}");
}

#[tokio::test]
async fn a_list_in_a_node_becomes_bookmarks_of_today() {
    let scene = SERVER.scene().await;
    let (mut juliet, _phone) = two_devices(&scene).await;
    let options = form("publish-options", &[("persist_items", "true"), ("access_model", "whitelist")]);
    for (rooms, expected) in [
        ("<conference jid='a@rooms.lit' name='A'/><conference jid='b@rooms.lit'/>", vec!["a@rooms.lit", "b@rooms.lit"]),
        ("<conference jid='b@rooms.lit'/>", vec!["b@rooms.lit"]),
    ] {
        let iq = format!(
            "<iq type='set' id='l'><pubsub xmlns='{PUBSUB}'><publish node='{LIST}'><item id='current'>\
             <storage xmlns='{LIST}'>{rooms}</storage></item></publish><publish-options>{options}</publish-options></pubsub></iq>"
        );
        assert_eq!(ask(&mut juliet, &iq).await.attribute("type"), Some("result"));
        let mut there = ids(&read(&mut juliet, "{juliet}", NATIVE).await);
        there.sort();
        assert_eq!(there, expected);
        assert_eq!(list(&mut juliet).await.len(), expected.len());
    }
    // A list that is deleted takes no bookmark with it.
    let delete = format!("<iq type='set' id='d'><pubsub xmlns='{PUBSUB}#owner'><delete node='{LIST}'/></pubsub></iq>");
    ask(&mut juliet, &delete).await;
    assert_eq!(ids(&read(&mut juliet, "{juliet}", NATIVE).await), ["b@rooms.lit"]);
}

#[tokio::test]
async fn elements_are_kept_for_their_owner_alone() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.online("romeo/orchard").await;
    let kept = "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>";
    juliet.send(private("get", "<exodus xmlns='exodus:prefs'/>")).await;
    juliet
        .expect(
            "<iq type='result' id='p' {…}><query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'/></query></iq>",
        )
        .await;
    juliet.send(private("set", kept)).await;
    juliet.expect("<iq type='result' id='p' {…}/>").await;
    juliet.send(private("get", "<exodus xmlns='exodus:prefs'/>")).await;
    juliet.expect(format!("<iq type='result' id='p' {{…}}><query xmlns='jabber:iq:private'>{kept}</query></iq>")).await;
    for of_type in ["get", "set"] {
        let iq = private(of_type, kept).replace("id='p'", "id='p' to='{juliet}'");
        assert_eq!(refusal(&ask(&mut romeo, &iq).await), "service-unavailable");
    }
    for (of_type, content, expected) in [
        ("get", "", "bad-request"),
        ("set", "", "bad-request"),
        ("set", "<x/>", "not-acceptable"),
        ("set", "<vCard xmlns='vcard-temp'/>", "not-acceptable"),
    ] {
        assert_eq!(refusal(&ask(&mut juliet, &private(of_type, content)).await), expected, "{of_type} {content}");
    }
}
