//! Publishing, reading and taking away (XEP-0060 §6.5, §7).

use crate::common::SERVER;
use crate::{PRIVATE, PUBSUB, ask, ids, publication, publish, read, refusal};

#[tokio::test]
async fn a_node_is_made_by_publishing_and_keeps_one_item() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    publish(&mut juliet, "urn:mood", "1", "calm", &[]).await;
    publish(&mut juliet, "urn:mood", "2", "glad", &[]).await;
    juliet.send(format!("<iq type='get' id='r'><pubsub xmlns='{PUBSUB}'><items node='urn:mood'/></pubsub></iq>")).await;
    juliet
        .expect(format!(
            "<iq type='result' id='r' from='{{juliet}}' to='{{juliet/balcony}}'><pubsub xmlns='{PUBSUB}'>\
             <items node='urn:mood'><item id='2'><mood xmlns='urn:mood'>glad</mood></item></items></pubsub></iq>"
        ))
        .await;
    // Without an id the server makes one, and tells it.
    let iq = publication("urn:mood", "", "sad", &[]);
    juliet.send(iq).await;
    juliet
        .expect(format!(
            "<iq type='result' id='publish' from='{{juliet}}' to='{{juliet/balcony}}'><pubsub xmlns='{PUBSUB}'>\
             <publish node='urn:mood'><item id='{{capture:made}}'/></publish></pubsub></iq>"
        ))
        .await;
    assert_eq!(ids(&read(&mut juliet, "{juliet}", "urn:mood").await), [juliet.captured("made")]);
}

#[tokio::test]
async fn what_a_publisher_wants_of_a_node_must_be_so() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    publish(&mut juliet, "urn:private", "1", "x", PRIVATE).await;
    publish(&mut juliet, "urn:private", "2", "y", PRIVATE).await;
    publish(&mut juliet, "urn:private", "3", "z", &[]).await;
    assert_eq!(ids(&read(&mut juliet, "{juliet}", "urn:private").await), ["1", "2", "3"]);
    for (options, expected) in [
        ([("access_model", "open")], "conflict precondition-not-met"),
        ([("max_items", "1")], "conflict precondition-not-met"),
        ([("nonsense", "1")], "not-acceptable"),
    ] {
        let answer = ask(&mut juliet, &publication("urn:private", "4", "w", &options)).await;
        assert_eq!(refusal(&answer), expected);
        assert_eq!(
            refusal(&ask(&mut juliet, &publication("urn:other", "4", "w", &[("nonsense", "1")])).await),
            "not-acceptable"
        );
    }
    assert_eq!(ids(&read(&mut juliet, "{juliet}", "urn:private").await), ["1", "2", "3"]);
    // A node that was made for everyone to see takes nothing that is to be private.
    publish(&mut juliet, "urn:public", "1", "x", &[("access_model", "open")]).await;
    let answer = ask(&mut juliet, &publication("urn:public", "2", "secret", PRIVATE)).await;
    assert_eq!(refusal(&answer), "conflict precondition-not-met");
    assert_eq!(refusal(&read(&mut juliet, "{juliet}", "urn:other").await), "item-not-found");
}

#[tokio::test]
async fn items_are_read_by_id_by_number_and_by_pages() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for id in ["a", "b", "c", "d", "e"] {
        publish(&mut juliet, "n", id, "x", PRIVATE).await;
    }
    let mut page = async |items: &str, set: &str| {
        let set = if set.is_empty() {
            String::new()
        } else {
            format!("<set xmlns='http://jabber.org/protocol/rsm'>{set}</set>")
        };
        let iq = format!("<iq type='get' id='page'><pubsub xmlns='{PUBSUB}'>{items}{set}</pubsub></iq>");
        let answer = ask(&mut juliet, &iq).await;
        let told = answer.child("pubsub").and_then(|pubsub| pubsub.child("set")).map(|set| {
            let first = set.child("first").and_then(|first| first.attribute("index")).unwrap_or("-").to_owned();
            format!("{first}/{}", set.child("count").map(|count| count.text()).unwrap_or_default())
        });
        (ids(&answer).join(""), told.unwrap_or_default())
    };
    let told = |ids: &str, set: &str| (ids.to_owned(), set.to_owned());
    assert_eq!(page("<items node='n'/>", "").await, told("abcde", ""));
    assert_eq!(page("<items node='n' max_items='2'/>", "").await, told("de", ""));
    assert_eq!(page("<items node='n'><item id='d'/><item id='b'/><item id='x'/></items>", "").await, told("bd", ""));
    assert_eq!(page("<items node='n'/>", "<max>2</max>").await, told("ab", "0/5"));
    assert_eq!(page("<items node='n'/>", "<max>2</max><after>b</after>").await, told("cd", "2/5"));
    assert_eq!(page("<items node='n'/>", "<max>2</max><before/>").await, told("de", "3/5"));
    assert_eq!(page("<items node='n'/>", "<max>2</max><before>d</before>").await, told("bc", "1/5"));
    assert_eq!(page("<items node='n'/>", "<max>0</max>").await, told("", "-/5"));
    assert_eq!(page("<items node='n'><item id='x'/></items>", "").await, told("", ""));
}

#[tokio::test]
async fn what_is_too_big_or_no_item_is_refused() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let answer = ask(&mut juliet, &publication("n", "1", &"x".repeat(300_000), &[])).await;
    assert_eq!(refusal(&answer), "not-acceptable payload-too-big");
    let answer = ask(&mut juliet, &publication("n", "1", "xxxx", &[("max_payload_size", "20")])).await;
    assert_eq!(refusal(&answer), "not-acceptable payload-too-big");
    for (content, expected) in [
        ("<publish node='n'/>", "bad-request item-required"),
        ("<publish node='n'><item/></publish>", "bad-request payload-required"),
        ("<publish><item><a xmlns='urn:a'/></item></publish>", "bad-request nodeid-required"),
        (
            "<publish node='n'><item><a xmlns='urn:a'/><b xmlns='urn:b'/></item></publish>",
            "bad-request invalid-payload",
        ),
        ("<retract node='n'/>", "bad-request item-required"),
        ("<retract node='n'><item id='1'/></retract>", "item-not-found"),
    ] {
        let iq = format!("<iq type='set' id='bad'><pubsub xmlns='{PUBSUB}'>{content}</pubsub></iq>");
        assert_eq!(refusal(&ask(&mut juliet, &iq).await), expected, "{content}");
    }
}

#[tokio::test]
async fn items_are_taken_away_and_nodes_emptied_and_deleted() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for id in ["a", "b", "c"] {
        publish(&mut juliet, "n", id, "x", PRIVATE).await;
    }
    let retract = format!(
        "<iq type='set' id='x'><pubsub xmlns='{PUBSUB}'><retract node='n'><item id='b'/></retract></pubsub></iq>"
    );
    assert_eq!(ask(&mut juliet, &retract).await.attribute("type"), Some("result"));
    assert_eq!(refusal(&ask(&mut juliet, &retract).await), "item-not-found");
    assert_eq!(ids(&read(&mut juliet, "{juliet}", "n").await), ["a", "c"]);
    let owner = |content: &str| format!("<iq type='set' id='o'><pubsub xmlns='{PUBSUB}#owner'>{content}</pubsub></iq>");
    ask(&mut juliet, &owner("<purge node='n'/>")).await;
    assert!(ids(&read(&mut juliet, "{juliet}", "n").await).is_empty());
    ask(&mut juliet, &owner("<delete node='n'/>")).await;
    assert_eq!(refusal(&read(&mut juliet, "{juliet}", "n").await), "item-not-found");
    assert_eq!(refusal(&ask(&mut juliet, &owner("<delete node='n'/>")).await), "item-not-found");
}

#[tokio::test]
async fn items_are_there_after_a_restart_and_gone_with_the_account() {
    let server = waxwing_testkit::TestServer::start(crate::common::options()).await;
    let scene = server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    publish(&mut juliet, "n", "a", "x", PRIVATE).await;
    drop(juliet);
    server.stop().await;
    server.start_again().await.expect("the server starts again");
    let mut juliet = scene.online("juliet/balcony").await;
    assert_eq!(ids(&read(&mut juliet, "{juliet}", "n").await), ["a"]);
    juliet.send("<iq type='set' id='bye'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
    juliet.expect("<iq type='result' id='bye' {…}/>").await;
    let rows = || async {
        server
            .with_house(|house| async move {
                let sql = "SELECT (SELECT count(*) FROM pubsub_nodes) + (SELECT count(*) FROM pubsub_items)";
                house.database().fetch_optional(sql, &[]).await.unwrap().unwrap().integer(0).unwrap()
            })
            .await
    };
    for _ in 0..100 {
        if rows().await == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} rows are left", rows().await);
}
