//! Floods that would bother others are refused beyond the limits (security row S33; the defaults of an empty file, S4).

use waxwing_testkit::{Scene, TestServer};

use crate::common::options;

/// A scene on a server with the limits of an empty configuration file.
async fn with_safe_defaults() -> Scene {
    TestServer::start(options().safe_defaults()).await.scene()
}

#[tokio::test]
async fn s33_presence_changes_beyond_the_limit_are_refused_and_not_shown() {
    let scene = with_safe_defaults().await;
    let mut other = scene.online("romeo/garden").await;
    // Its initial presence is the first of ten in a minute.
    let mut romeo = scene.online("romeo/orchard").await;
    other.drain().await;
    for _ in 0..100 {
        romeo.send("<presence id='flood'><show>away</show></presence>").await;
    }
    let answers = romeo.drain().await;
    let refused = answers.iter().filter(|answer| answer.attribute("type") == Some("error")).count();
    assert!(refused >= 90, "{refused} of 100 refused");
    for answer in answers.iter().filter(|answer| answer.attribute("type") == Some("error")) {
        let condition = answer.child("error").and_then(|error| error.child("policy-violation"));
        assert!(condition.is_some() && answer.attribute("id") == Some("flood"), "{answer}");
    }
    let seen = other.drain().await.len();
    assert!((1..=10).contains(&seen), "the others have seen {seen}");
    // Another session has its own ten, and leaving is always possible.
    other.send("<presence><show>dnd</show></presence>").await;
    romeo.expect("<presence from='{romeo/garden}' to='{any}'><show>dnd</show></presence>").await;
    other.drain().await;
    romeo.send("<presence type='unavailable'/>").await;
    other.expect("<presence from='{romeo/orchard}' to='{any}' type='unavailable'/>").await;
}

#[tokio::test]
async fn s33_subscription_requests_beyond_the_limit_are_refused() {
    let scene = with_safe_defaults().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut sessions = [scene.session("romeo/orchard").await, scene.session("romeo/garden").await];
    // Twenty in an hour, over all sessions of the account.
    for number in 0..50 {
        let romeo = &mut sessions[number % 2];
        let to = if number == 49 { "{juliet}".to_owned() } else { format!("nobody{number}@{{host}}") };
        romeo.send(format!("<presence type='subscribe' id='s{number}' to='{to}'/>")).await;
        let answers = romeo.drain().await;
        let refused = answers.iter().any(|answer| {
            answer.attribute("type") == Some("error")
                && answer.child("error").is_some_and(|error| error.child("policy-violation").is_some())
        });
        assert_eq!(refused, number >= 20, "request {number}: {answers:?}");
    }
    juliet.barrier().await;
    // Juliet has her own twenty.
    juliet.send("<presence type='subscribe' to='{romeo}'/>").await;
    let answers = juliet.drain().await;
    assert!(answers.iter().all(|answer| answer.attribute("type") != Some("error")), "{answers:?}");
}

#[tokio::test]
async fn s33_new_recipients_beyond_the_limit_are_refused() {
    let scene = with_safe_defaults().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    // Sixty different addresses in a minute.
    for number in 0..59 {
        romeo.send(format!("<message to='nobody{number}@{{host}}'><body>spam</body></message>")).await;
    }
    romeo.send("<message to='{juliet}' type='chat' id='first'/>").await;
    juliet.expect("<message from='{romeo/orchard}' to='{juliet}' type='chat' id='first'/>").await;
    romeo.drain().await;
    for number in 60..70 {
        romeo.send(format!("<message to='nobody{number}@{{host}}' id='m'><body>spam</body></message>")).await;
        romeo.expect("<message type='error' id='m' {…}>{error:wait:policy-violation}</message>").await;
    }
    // With whom he talks already, he may go on; another resource is the same person.
    romeo.send("<message to='{juliet/balcony}' type='chat' id='again'/>").await;
    juliet.expect("<message from='{romeo/orchard}' to='{juliet/balcony}' type='chat' id='again'/>").await;
    // And to himself always.
    romeo.send("<message to='{romeo/orchard}' type='chat' id='self'/>").await;
    romeo.expect("<message from='{romeo/orchard}' to='{romeo/orchard}' type='chat' id='self'/>").await;
}
