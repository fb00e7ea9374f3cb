//! Versions of a roster: a client that was away hears only of what has changed (RFC 6121 §2.6).

use waxwing_testkit::RawClient;

use crate::common::SERVER;

async fn change(client: &mut RawClient, item: &str) {
    client.send(format!("<iq type='set' id='c'><query xmlns='jabber:iq:roster'>{item}</query></iq>")).await;
    client.expect("<iq type='result' id='c' {…}/>").await;
}

async fn ask(client: &mut RawClient, version: &str) {
    client.send(format!("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver='{version}'/></iq>")).await;
}

#[tokio::test]
async fn c80_the_server_says_that_it_knows_versions() {
    let scene = SERVER.scene().await;
    let mut client = scene.connect_tls().await;
    client.open_stream(scene.host()).await;
    let before = client.features().clone();
    assert!(before.child_in("urn:xmpp:features:rosterver", "ver").is_none(), "{before}");
    let romeo = scene.logged_in("romeo").await;
    let after = romeo.features();
    assert!(after.child_in("urn:xmpp:features:rosterver", "ver").is_some(), "{after}");
    assert!(after.child_in("urn:xmpp:features:pre-approval", "sub").is_some(), "{after}");
}

#[tokio::test]
async fn c80_a_client_that_was_away_hears_what_has_changed() {
    let scene = SERVER.scene().await;
    let mut editor = scene.session("romeo/editor").await;
    for name in ["a", "b", "c"] {
        change(&mut editor, &format!("<item jid='{name}@x.lit'/>")).await;
    }
    // Without a version, and with an empty one: everything.
    let all = ["a", "b", "c"].map(|name| format!("<item jid='{name}@x.lit' subscription='none'/>")).concat();
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send("<iq type='get' id='v'><query xmlns='jabber:iq:roster'/></iq>").await;
    romeo
        .expect(format!(
            "<iq type='result' id='v' {{…}}><query xmlns='jabber:iq:roster' {{…}}>{all}{{unordered}}</query></iq>"
        ))
        .await;
    ask(&mut romeo, "").await;
    romeo
        .expect(format!(
            "<iq type='result' id='v' {{…}}><query xmlns='jabber:iq:roster' ver='{{capture:old}}'>{all}{{unordered}}</query></iq>"
        ))
        .await;
    // The current one: nothing.
    ask(&mut romeo, "{old}").await;
    romeo.expect("<iq type='result' id='v' from='{any}' to='{romeo/orchard}'/>").await;
    romeo.barrier().await;
    drop(romeo);
    // While it is away, one is added and renamed, one removed, one added and removed again, one changed and left.
    change(&mut editor, "<item jid='d@x.lit'/>").await;
    change(&mut editor, "<item jid='b@x.lit' subscription='remove'/>").await;
    change(&mut editor, "<item jid='e@x.lit'/>").await;
    change(&mut editor, "<item jid='d@x.lit' name='Dee'/>").await;
    change(&mut editor, "<item jid='e@x.lit' subscription='remove'/>").await;
    change(&mut editor, "<item jid='c@x.lit' name='Cee'><group>G</group></item>").await;
    let mut romeo = scene.session("romeo/orchard").await;
    ask(&mut romeo, "{old}").await;
    romeo.expect("<iq type='result' id='v' from='{any}' to='{romeo/orchard}'/>").await;
    // What became of each in the end, in order, each with a version of its own.
    let pushes = romeo.drain().await;
    let mut versions = vec![scene.names().get("old").expect("captured").parse::<i64>().expect("a number")];
    let mut items = Vec::new();
    for push in &pushes {
        assert_eq!((push.name.as_str(), push.attribute("type")), ("iq", Some("set")), "{push}");
        let query = push.child_in("jabber:iq:roster", "query").expect("a roster");
        versions.push(query.attribute("ver").expect("a version").parse().expect("a number"));
        let item = query.child("item").expect("an item");
        items.push(
            ["jid", "name", "subscription"].map(|name| item.attribute(name).unwrap_or_default().to_owned()).join(" "),
        );
    }
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    // Whether the one it has never known is removed does not matter.
    items.retain(|item| item != "e@x.lit  remove");
    assert_eq!(items, ["b@x.lit  remove", "d@x.lit Dee none", "c@x.lit Cee none"]);
    // The last of these versions is the current one.
    let newest = versions.pop().unwrap_or_default();
    ask(&mut romeo, &newest.to_string()).await;
    romeo.expect("<iq type='result' id='v' from='{any}' to='{romeo/orchard}'/>").await;
    romeo.barrier().await;
    // And what is pushed to those who are there goes on from it.
    change(&mut editor, "<item jid='a@x.lit' name='Ay'/>").await;
    let push = romeo.receive().await;
    let version =
        push.child("query").and_then(|query| query.attribute("ver")).and_then(|version| version.parse::<i64>().ok());
    assert!(version.is_some_and(|version| version > newest), "{push}");
}

#[tokio::test]
async fn c80_a_version_that_says_nothing_is_answered_with_everything() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    change(&mut romeo, "<item jid='a@x.lit'/>").await;
    for version in ["never seen", "-1", "999999999", "9999999999999999999999", "&lt;&amp;&apos;"] {
        ask(&mut romeo, version).await;
        romeo
            .expect(
                "<iq type='result' id='v' {…}><query xmlns='jabber:iq:roster' ver='{any}'>\
                 <item jid='a@x.lit' subscription='none'/></query></iq>",
            )
            .await;
    }
    romeo.barrier().await;
}
