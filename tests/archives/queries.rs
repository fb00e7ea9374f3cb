//! Queries: who may ask, what for, and how the answer is paged (XEP-0313 §4 and §5, XEP-0059, XEP-0431).

use std::time::{Duration, Instant};

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{ask, ask_with, bodies, field, ids, query};

/// Romeo, whose archive holds messages to Juliet with these bodies.
async fn romeo_said(scene: &Scene, lines: &[&str]) -> RawClient {
    let mut romeo = scene.session("romeo/orchard").await;
    scene.account("juliet").await;
    for line in lines {
        romeo.send(format!("<message to='{{juliet}}' type='chat'><body>{line}</body></message>")).await;
    }
    romeo.barrier().await;
    romeo
}

#[tokio::test]
async fn s18_an_archive_is_shown_to_its_owner_only() {
    let scene = SERVER.scene().await;
    let mut romeo = romeo_said(&scene, &["a secret"]).await;
    let mut paris = scene.session("paris/church").await;
    for payload in ["<query xmlns='urn:xmpp:mam:2'/>", "<prefs xmlns='urn:xmpp:mam:2' default='never'/>"] {
        paris.send(format!("<iq type='set' id='1' to='{{romeo}}'>{payload}</iq>")).await;
        paris.expect("<iq type='error' id='1' from='{romeo}' to='{paris/church}'>{error:auth:forbidden}</iq>").await;
    }
    for payload in
        ["<query xmlns='urn:xmpp:mam:2'/>", "<metadata xmlns='urn:xmpp:mam:2'/>", "<prefs xmlns='urn:xmpp:mam:2'/>"]
    {
        paris.send(format!("<iq type='get' id='2' to='{{romeo}}'>{payload}</iq>")).await;
        paris.expect("<iq type='error' id='2' from='{romeo}' to='{paris/church}'>{error:auth:forbidden}</iq>").await;
    }
    romeo.barrier().await;
    // With the own address and without one.
    assert_eq!(bodies(&ask(&mut romeo, "", "").await.0), ["a secret"]);
    romeo.send(query("", "", "").replace("type='set'", "type='set' to='{romeo}'")).await;
    romeo.receive().await;
    romeo.expect("<iq type='result' id='mam' {…}><fin xmlns='urn:xmpp:mam:2' complete='true'>{…}</fin></iq>").await;
}

#[tokio::test]
async fn what_is_supported_is_told() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    romeo.send("<iq type='get' id='d' to='{romeo}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>").await;
    let info = romeo.receive().await;
    let query = info.child("query").expect("an answer");
    for feature in [
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:sid:0",
        "urn:xmpp:fulltext:0",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:message-retract:1#tombstone",
    ] {
        assert!(query.elements().any(|child| child.attribute("var") == Some(feature)), "{feature}: {info}");
    }
    romeo.send("<iq type='get' id='f'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    romeo
        .expect(
            "<iq type='result' id='f' {…}><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>\
             <field var='with' type='jid-single'/><field var='start' type='text-single'/>\
             <field var='end' type='text-single'/><field var='before-id' type='text-single'/>\
             <field var='after-id' type='text-single'/><field var='ids' type='list-multi'>\
             <validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field>\
             <field var='include-groupchat' type='boolean'/>\
             <field var='{any}' type='text-single'/></x></query></iq>",
        )
        .await;
}

#[tokio::test]
async fn pages_go_both_ways() {
    let scene = SERVER.scene().await;
    let mut romeo = romeo_said(&scene, &["1", "2", "3", "4", "5", "6", "7"]).await;
    let (all, fin) = ask(&mut romeo, "", "").await;
    assert_eq!(bodies(&all), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(fin.attribute("complete"), Some("true"));
    let known = ids(&all);
    let mut seen = Vec::new();
    let mut set = "<max>3</max>".to_owned();
    for complete in [None, None, Some("true")] {
        let (page, fin) = ask(&mut romeo, "", &set).await;
        assert_eq!(fin.attribute("complete"), complete);
        let rsm = fin.child_in("http://jabber.org/protocol/rsm", "set").unwrap();
        assert_eq!(rsm.text_of("first"), ids(&page).first().cloned());
        assert_eq!(rsm.text_of("last"), ids(&page).last().cloned());
        set = format!("<max>3</max><after>{}</after>", rsm.text_of("last").unwrap());
        seen.extend(bodies(&page));
    }
    assert_eq!(seen, bodies(&all));
    let (last, fin) = ask(&mut romeo, "", "<max>3</max><before/>").await;
    assert_eq!((bodies(&last).concat().as_str(), fin.attribute("complete")), ("567", None));
    let (before, _) = ask(&mut romeo, "", &format!("<max>3</max><before>{}</before>", known[4])).await;
    assert_eq!(bodies(&before), ["2", "3", "4"]);
    let (flipped, fin) = ask_with(&mut romeo, "", "<max>3</max><before/>", "<flip-page/>").await;
    assert_eq!(bodies(&flipped), ["7", "6", "5"]);
    assert_eq!(fin.child("set").and_then(|set| set.text_of("first")), Some(known[4].clone()));
    let between = field("after-id", &known[1]) + &field("before-id", &known[5]);
    assert_eq!(bodies(&ask(&mut romeo, &between, "").await.0), ["3", "4", "5"]);
    let named = format!("<field var='ids'><value>{}</value><value>{}</value></field>", known[6], known[0]);
    assert_eq!(bodies(&ask(&mut romeo, &named, "").await.0), ["1", "7"]);
    let (none, fin) = ask(&mut romeo, "", "<max>0</max>").await;
    assert_eq!(none.len(), 0);
    assert_eq!(fin.child("set").and_then(|set| set.text_of("count")).as_deref(), Some("7"));
    romeo.send("<iq type='get' id='md'><metadata xmlns='urn:xmpp:mam:2'/></iq>").await;
    let template = format!(
        "<iq type='result' id='md' {{…}}><metadata xmlns='urn:xmpp:mam:2'><start id='{}' timestamp='{{any}}'/>\
         <end id='{}' timestamp='{{any}}'/></metadata></iq>",
        known[0], known[6]
    );
    romeo.expect(template).await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let scene = SERVER.scene().await;
    let mut romeo = romeo_said(&scene, &["1"]).await;
    for (fields, set, refusal) in [
        (field("after-id", "12345"), "", "cancel:item-not-found"),
        (field("ids", "no-id-of-ours"), "", "cancel:item-not-found"),
        (String::new(), "<before>12345</before>", "cancel:item-not-found"),
        (String::new(), "<index>3</index>", "cancel:feature-not-implemented"),
        (field("x", "y"), "", "cancel:feature-not-implemented"),
        (field("start", "yesterday"), "", "modify:bad-request"),
        (field("with", "@"), "", "modify:jid-malformed"),
    ] {
        romeo.send(query(&fields, set, "")).await;
        romeo.expect(format!("<iq type='error' id='mam' {{…}}>{{error:{refusal}}}</iq>")).await;
    }
    romeo.barrier().await;
}

#[tokio::test]
async fn s35_a_page_has_an_end() {
    let scene = SERVER.scene().await;
    let lines: Vec<String> = (0..130).map(|line| line.to_string()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut romeo = romeo_said(&scene, &lines).await;
    for set in ["", "<max>100000</max>"] {
        let (page, fin) = ask(&mut romeo, "", set).await;
        assert_eq!((page.len(), fin.attribute("complete")), (100, None));
    }
    // Far more than a client's queue holds: it comes as fast as it is read.
    let large = "x".repeat(90_000);
    for _ in 0..40 {
        romeo.send(format!("<message to='{{juliet}}' type='chat'><body>{large}</body></message>")).await;
    }
    let (page, fin) = ask(&mut romeo, "", "<before/>").await;
    assert!(page.len() >= 10 && fin.attribute("complete").is_none(), "{}", page.len());
}

#[tokio::test]
async fn words_are_found_within_seconds() {
    let scene = SERVER.scene().await;
    let mut romeo = romeo_said(&scene, &["It is the east", "and Juliet is the sun", "arise, fair SUN"]).await;
    romeo
        .send("<message to='{juliet}' type='chat'><body>sun</body><encryption xmlns='urn:xmpp:eme:0' namespace='x'/></message>")
        .await;
    let search = field("{urn:xmpp:fulltext:0}fulltext", "sun");
    let deadline = Instant::now() + Duration::from_secs(5);
    let found = loop {
        let (found, _) = ask(&mut romeo, &search, "").await;
        if found.len() == 2 || Instant::now() > deadline {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(bodies(&found), ["and Juliet is the sun", "arise, fair SUN"]);
    let (found, _) = ask(&mut romeo, &(search + &field("with", "nobody@elsewhere.lit")), "").await;
    assert_eq!(found.len(), 0);
}
