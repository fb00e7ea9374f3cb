//! S15, S17: nobody speaks in another's name.

use crate::common::SERVER;

/// What Mallory writes into `from`.
const FORGED: [&str; 12] = [
    "{juliet}",
    "{juliet/balcony}",
    "{juliet/forged}",
    "{mallory}",
    "{mallory/other}",
    "{host}",
    "{nurse}",
    "admin@montague.lit/x",
    "rooms.{host}",
    "a@@b",
    "",
    " {juliet} ",
];

#[tokio::test]
async fn s15_the_true_sender_stands_on_whatever_arrives() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    scene.account("nurse").await;
    let mut mallory = scene.online("mallory/den").await;
    let stanzas = [
        "<message to='{juliet}' from='F' type='chat'><body>x</body></message>",
        "<message to='{juliet/balcony}' from='F'><body>x</body></message>",
        "<message to='{juliet}' from='F' type='headline'><body>x</body></message>",
        "<message to='{juliet/balcony}' from='F' type='error'><body>x</body></message>",
        "<presence to='{juliet}' from='F'/>",
        "<presence to='{juliet/balcony}' from='F' type='unavailable'/>",
        "<iq to='{juliet/balcony}' from='F' type='get' id='1'><query xmlns='urn:x'/></iq>",
        "<iq to='{juliet/balcony}' from='F' type='set' id='1'><query xmlns='urn:x'/></iq>",
        "<iq to='{juliet/balcony}' from='F' type='result' id='1'><query xmlns='urn:x'/></iq>",
        "<iq to='{juliet/balcony}' from='F' type='error' id='1'/>",
    ];
    for forged in FORGED {
        for stanza in stanzas {
            mallory.send(stanza.replace('F', forged)).await;
            // What is refused comes back to nobody but him.
            let refused = mallory.drain().await;
            assert!(refused.iter().all(|answer| answer.attribute("type") == Some("error")), "{refused:?}");
            for arrived in juliet.drain().await {
                assert_eq!(arrived.attribute("from"), Some(mallory.jid()), "{stanza} with {forged:?}");
            }
        }
    }
}

#[tokio::test]
async fn s15_a_subscription_comes_from_the_true_account() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut nurse = scene.online("nurse/chamber").await;
    let mut mallory = scene.online("mallory/den").await;
    // Juliet and her nurse know each other; Mallory wants to be her nurse.
    scene.befriend(&mut juliet, &mut nurse).await;
    for forged in ["{nurse}", "{nurse/chamber}", "{juliet}", "{host}", ""] {
        for of_type in ["subscribe", "subscribed", "unsubscribe", "unsubscribed", "unavailable", "probe"] {
            mallory.send(format!("<presence to='{{juliet}}' from='{forged}' type='{of_type}'/>")).await;
            mallory.drain().await;
            for arrived in juliet.drain().await {
                let from = arrived.attribute("from").unwrap_or_default();
                assert!(from == mallory.bare() || from == mallory.jid(), "{of_type} with {forged:?}: {arrived}");
            }
        }
    }
    // Nothing has changed between the two.
    nurse.drain().await;
    juliet.send("<presence><show>away</show></presence>").await;
    nurse.expect("<presence from='{juliet/balcony}' to='{any}'><show>away</show></presence>").await;
}

#[tokio::test]
async fn s15_a_forged_sender_inside_a_stanza_is_only_content() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut mallory = scene.session("mallory/den").await;
    scene.account("nurse").await;
    let inside = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{nurse}' to='{juliet}'>\
                  <body>trust me</body></message></forwarded>";
    mallory.send(format!("<message to='{{juliet}}' from='{{nurse}}' type='chat'>{inside}</message>")).await;
    juliet.expect(format!("<message to='{{juliet}}' from='{{mallory/den}}' type='chat'>{inside}{{…}}</message>")).await;
}

const ROSTER: &str = "<query xmlns='jabber:iq:roster'><item jid='mallory@evil.lit' subscription='both'/></query>";

#[tokio::test]
async fn s17_a_roster_push_comes_from_the_server_alone() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    juliet.expect("<iq type='result' id='r' {…}>{…}</iq>").await;
    let mut mallory = scene.session("mallory/den").await;
    for from in ["", "from='{juliet}'", "from='{juliet/balcony}'", "from='{host}'"] {
        // To her client: delivered in his own name, so that she knows what to think of it, or refused.
        mallory.send(format!("<iq type='set' id='push' to='{{juliet/balcony}}' {from}>{ROSTER}</iq>")).await;
        let refused = mallory.drain().await;
        for push in juliet.drain().await {
            assert_eq!(push.attribute("from"), Some(mallory.jid()), "{push}");
        }
        assert!(refused.iter().all(|answer| answer.attribute("type") == Some("error")), "{refused:?}");
        // To her account: the server answers, and her client hears nothing of it.
        for of_type in ["set", "get"] {
            let query = if of_type == "set" { ROSTER } else { "<query xmlns='jabber:iq:roster'/>" };
            mallory.send(format!("<iq type='{of_type}' id='push' to='{{juliet}}' {from}>{query}</iq>")).await;
            mallory.expect("<iq type='error' id='push' from='{juliet}' to='{mallory/den}'>{…}</iq>").await;
            juliet.barrier().await;
        }
    }
    juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    juliet.expect("<iq type='result' id='r' {…}><query xmlns='jabber:iq:roster' {…}/></iq>").await;
}

#[tokio::test]
async fn s17_an_answer_says_who_gives_it() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut nurse = scene.online("nurse/chamber").await;
    let mut mallory = scene.session("mallory/den").await;
    // Juliet waits for her nurse; Mallory has guessed the id and is quicker.
    juliet.send("<iq type='get' id='guess' to='{nurse/chamber}'><query xmlns='urn:x'/></iq>").await;
    nurse
        .expect("<iq type='get' id='guess' from='{juliet/balcony}' to='{nurse/chamber}'><query xmlns='urn:x'/></iq>")
        .await;
    for of_type in ["result", "error"] {
        for from in ["{nurse/chamber}", "{nurse}", "{juliet}", "{host}"] {
            mallory.send(format!("<iq type='{of_type}' id='guess' to='{{juliet/balcony}}' from='{from}'/>")).await;
            mallory.drain().await;
            for arrived in juliet.drain().await {
                assert_eq!(arrived.attribute("from"), Some(mallory.jid()), "{arrived}");
            }
        }
    }
    // An answer to her account goes nowhere.
    mallory.send("<iq type='result' id='guess' to='{juliet}'/>").await;
    mallory.barrier().await;
    juliet.barrier().await;
    nurse.send("<iq type='result' id='guess' to='{juliet/balcony}'/>").await;
    juliet.expect("<iq type='result' id='guess' from='{nurse/chamber}' to='{juliet/balcony}'/>").await;
}

#[tokio::test]
async fn s17_an_answer_to_the_servers_own_question_is_only_a_sign_of_life() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut mallory = scene.online("mallory/den").await;
    // Results for things the server has never asked, to the server and in the names of others.
    for to in ["to='{host}'", "to='{mallory}'", "", "to='{host}/x'"] {
        for payload in [ROSTER, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{juliet/balcony}</jid></bind>", ""]
        {
            mallory.send(format!("<iq type='result' id='kit-bind' {to} from='{{juliet}}'>{payload}</iq>")).await;
        }
    }
    mallory.barrier().await;
    juliet.barrier().await;
    mallory.send("<message to='{juliet}' type='chat'/>").await;
    juliet.expect("<message to='{juliet}' from='{mallory/den}' type='chat'/>").await;
}
