//! Who may read, and what strangers learn (security row S21).

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{PUBSUB, ask, form, ids, publication, publish, read, refusal};

const NODES: [&str; 5] = ["open", "presence", "roster", "authorize", "whitelist"];

/// Juliet with a node of each access model and one item in each; Romeo her friend, the nurse in her group of servants,
/// Paris a stranger.
async fn household(scene: &Scene) -> [RawClient; 4] {
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut nurse = scene.online("nurse/hall").await;
    let paris = scene.online("paris/street").await;
    scene.befriend(&mut juliet, &mut romeo).await;
    scene.befriend(&mut juliet, &mut nurse).await;
    let set = "<iq type='set' id='group'><query xmlns='jabber:iq:roster'><item jid='{nurse}'><group>Servants</group></item>\
               </query></iq>";
    ask(&mut juliet, set).await;
    for node in NODES {
        let options = [("access_model", node), ("roster_groups_allowed", "Servants")];
        let count = if node == "roster" { 2 } else { 1 };
        publish(&mut juliet, node, "1", "calm", &options[..count]).await;
    }
    [juliet, romeo, nurse, paris]
}

/// What each node tells somebody.
async fn told(client: &mut RawClient, of: &str) -> Vec<String> {
    let mut told = Vec::new();
    for node in NODES {
        let answer = read(client, of, node).await;
        told.push(match answer.attribute("type") {
            Some("result") => ids(&answer).join(" "),
            _ => refusal(&answer),
        });
    }
    told
}

#[tokio::test]
async fn s21_the_matrix_of_access_over_the_wire() {
    let scene = SERVER.scene().await;
    let [mut juliet, mut romeo, mut nurse, mut paris] = household(&scene).await;
    let wall = "not-authorized presence-subscription-required";
    let closed = "not-allowed closed-node";
    let authorize = "not-authorized not-subscribed";
    assert_eq!(told(&mut juliet, "{juliet}").await, ["1"; 5]);
    assert_eq!(told(&mut romeo, "{juliet}").await, ["1", "1", "not-authorized not-in-roster-group", authorize, closed]);
    assert_eq!(told(&mut nurse, "{juliet}").await, ["1", "1", "1", authorize, closed]);
    assert_eq!(told(&mut paris, "{juliet}").await, ["1", wall, wall, authorize, wall]);
    // On the list of one, banned from another.
    let set = format!(
        "<iq type='set' id='lists'><pubsub xmlns='{PUBSUB}#owner'><affiliations node='whitelist'>\
         <affiliation jid='{{paris}}' affiliation='member'/></affiliations></pubsub></iq>"
    );
    ask(&mut juliet, &set).await;
    ask(&mut juliet, &set.replace("whitelist", "open").replace("{paris}", "{romeo}").replace("member", "outcast"))
        .await;
    assert_eq!(told(&mut paris, "{juliet}").await, ["1", wall, wall, authorize, "1"]);
    assert_eq!(told(&mut romeo, "{juliet}").await[0], "forbidden");
}

#[tokio::test]
async fn s21_nobody_else_changes_a_node() {
    let scene = SERVER.scene().await;
    let [mut juliet, mut romeo, _nurse, mut paris] = household(&scene).await;
    let configure = form("node_config", &[("access_model", "open")]);
    for content in [
        "<publish node='open'><item id='2'><a xmlns='urn:a'/></item></publish>".to_owned(),
        "<publish node='new'><item id='2'><a xmlns='urn:a'/></item></publish>".to_owned(),
        "<retract node='open'><item id='1'/></retract>".to_owned(),
        "<create node='mine'/>".to_owned(),
    ] {
        let iq = format!("<iq type='set' id='try' to='{{juliet}}'><pubsub xmlns='{PUBSUB}'>{content}</pubsub></iq>");
        for client in [&mut romeo, &mut paris] {
            assert_eq!(refusal(&ask(client, &iq).await), "forbidden", "{content}");
        }
    }
    for content in [
        format!("<configure node='whitelist'>{configure}</configure>"),
        "<delete node='open'/>".to_owned(),
        "<purge node='open'/>".to_owned(),
        "<affiliations node='whitelist'><affiliation jid='{romeo}' affiliation='member'/></affiliations>".to_owned(),
        "<subscriptions node='authorize'><subscription jid='{romeo}' subscription='subscribed'/></subscriptions>"
            .to_owned(),
    ] {
        let iq =
            format!("<iq type='set' id='try' to='{{juliet}}'><pubsub xmlns='{PUBSUB}#owner'>{content}</pubsub></iq>");
        for client in [&mut romeo, &mut paris] {
            assert_eq!(refusal(&ask(client, &iq).await), "forbidden", "{content}");
        }
    }
    assert_eq!(told(&mut juliet, "{juliet}").await, ["1"; 5]);
}

#[tokio::test]
async fn s21_s25_a_stranger_learns_neither_of_nodes_nor_of_accounts() {
    let scene = SERVER.scene().await;
    let [_juliet, _romeo, _nurse, mut paris] = household(&scene).await;
    scene.account("cook").await;
    scene.stranger("nobody");
    let jid = scene.jid("paris");
    let questions = [
        ("get", "", "<items node='presence'/>".to_owned()),
        ("get", "", "<items node='whitelist'/>".to_owned()),
        ("get", "", "<items node='nothing'/>".to_owned()),
        ("get", "", "<items node='whitelist'><item id='1'/></items>".to_owned()),
        ("get", "", "<subscriptions/>".to_owned()),
        ("get", "", "<affiliations/>".to_owned()),
        ("get", "", "<affiliations node='presence'/>".to_owned()),
        ("set", "", format!("<subscribe node='whitelist' jid='{jid}'/>")),
        ("set", "", format!("<unsubscribe node='whitelist' jid='{jid}'/>")),
        ("set", "", "<publish node='presence'><item><a xmlns='urn:a'/></item></publish>".to_owned()),
        ("set", "", "<retract node='presence'><item id='1'/></retract>".to_owned()),
        ("set", "", "<create node='presence'/>".to_owned()),
        ("get", "#owner", "<configure node='presence'/>".to_owned()),
        ("get", "#owner", "<default/>".to_owned()),
        ("set", "#owner", "<delete node='presence'/>".to_owned()),
        ("set", "", "<nonsense/>".to_owned()),
        ("set", "", String::new()),
    ];
    for (of_type, namespace, content) in questions {
        let mut answers = Vec::new();
        for account in ["{juliet}", "{cook}", "{nobody}"] {
            let iq = format!(
                "<iq type='{of_type}' id='q' to='{account}'><pubsub xmlns='{PUBSUB}{namespace}'>{content}</pubsub></iq>"
            );
            answers.push(refusal(&ask(&mut paris, &iq).await));
        }
        assert!(answers.iter().all(|answer| *answer == answers[2]), "{content}: {answers:?}");
    }
}

#[tokio::test]
async fn s21_questions_to_accounts_that_do_not_exist_leave_nothing() {
    let scene = SERVER.scene().await;
    let mut paris = scene.online("paris/street").await;
    for number in 0..300 {
        let to = format!("nobody{number}@{}", scene.host());
        let iq = publication("n", "1", "x", &[]).replace("id='publish'", &format!("id='publish' to='{to}'"));
        assert_eq!(refusal(&ask(&mut paris, &iq).await), "forbidden");
    }
    let rows = scene
        .server()
        .with_house(|house| async move {
            let sql = "SELECT count(*) FROM pubsub_nodes WHERE owner LIKE 'nobody%'";
            house.database().fetch_optional(sql, &[]).await.unwrap().unwrap().integer(0).unwrap()
        })
        .await;
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn s21_a_page_beside_words_of_a_database_is_none() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    for id in ["a", "b", "c"] {
        publish(&mut juliet, "n", id, "x", &[("max_items", "max")]).await;
    }
    for beside in ["after", "before"] {
        for words in ["' OR 1=1--", "1) OR (1=1", "a' UNION SELECT 1,2,3,4,5--", "%", "\\", "nothing"] {
            let iq = format!(
                "<iq type='get' id='page'><pubsub xmlns='{PUBSUB}'><items node='n'/>\
                 <set xmlns='http://jabber.org/protocol/rsm'><max>10</max><{beside}>{words}</{beside}></set></pubsub></iq>"
            );
            assert_eq!(refusal(&ask(&mut juliet, &iq).await), "item-not-found", "{beside} {words}");
        }
    }
}
