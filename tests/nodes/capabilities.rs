//! What clients say that they want to hear of, and what nobody can say for others (security rows S17, S22).

use std::time::Duration;

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{DISCO, answer_questions, events, features, presence, question, tell};

/// Takes the question for a client's features.
async fn asked(client: &mut RawClient) -> (String, String) {
    loop {
        let came = client.receive().await;
        if let Some(question) = question(&came) {
            return question;
        }
    }
}

/// Somebody online whose features nobody else has.
fn own_features(scene: &Scene, node: &str) -> (String, String) {
    features(&[node, &format!("urn:own:{}", scene.local("x"))])
}

#[tokio::test]
async fn s22_a_kind_of_client_is_asked_once() {
    let scene = SERVER.scene().await;
    let (information, version) = own_features(&scene, "n");
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send(presence(&version)).await;
    let (id, from) = asked(&mut juliet).await;
    assert_eq!(from, scene.jid("juliet"));
    tell(&mut juliet, &(id, from), &information).await;
    let mut romeo = scene.session("romeo/orchard").await;
    juliet.drain().await;
    romeo.send(presence(&version)).await;
    for _ in 0..5 {
        assert!(romeo.drain().await.iter().all(|came| question(came).is_none()), "he is known by his hash");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    romeo.send(crate::publication("n", "1", "x", &[])).await;
    assert_eq!(wait_for_event(&mut romeo).await, "romeo items n item:1:x");
}

#[tokio::test]
async fn s22_an_answer_that_does_not_fit_its_hash_is_nobody_elses() {
    let scene = SERVER.scene().await;
    let (information, version) = own_features(&scene, "n");
    // Mallory says that he is of Juliet's kind, and that it wants to hear of something else.
    let mut mallory = scene.session("mallory/x").await;
    mallory.send(presence(&version)).await;
    let question = asked(&mut mallory).await;
    let (forged, _) = features(&["other"]);
    tell(&mut mallory, &question, &forged).await;
    mallory.drain().await;
    // She is asked herself, and what she says counts.
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.send(presence(&version)).await;
    let question = asked(&mut juliet).await;
    tell(&mut juliet, &question, &information).await;
    hears_herself(&mut juliet).await;
}

/// Juliet's features are known now: what she publishes comes back to her.
async fn hears_herself(juliet: &mut RawClient) {
    juliet.drain().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    juliet.send(crate::publication("n", "1", "x", &[])).await;
    assert_eq!(wait_for_event(juliet).await, "juliet items n item:1:x");
}

async fn wait_for_event(client: &mut RawClient) -> String {
    loop {
        let came = client.receive().await;
        if let Some(event) = events(std::slice::from_ref(&came)).pop() {
            return event;
        }
    }
}

#[tokio::test]
async fn s22_a_hash_we_do_not_know_counts_for_its_client_alone() {
    let scene = SERVER.scene().await;
    let (information, version) = own_features(&scene, "n");
    let (forged, _) = features(&["other"]);
    for (name, told, hears) in [("mallory/x", &forged, "other"), ("juliet/balcony", &information, "n")] {
        let mut client = scene.session(name).await;
        client.send(presence(&version).replace("sha-1", "md5")).await;
        let came = answer_questions(&mut client, told).await;
        assert!(events(&came).is_empty());
        client.send(crate::publication(hears, "1", "x", &[])).await;
        assert!(wait_for_event(&mut client).await.contains(hears));
    }
}

#[tokio::test]
async fn s17_an_answer_counts_only_from_whom_was_asked() {
    let scene = SERVER.scene().await;
    let (information, version) = own_features(&scene, "n");
    let mut juliet = scene.session("juliet/balcony").await;
    let mut mallory = scene.online("mallory/x").await;
    juliet.send(presence(&version)).await;
    let (id, from) = asked(&mut juliet).await;
    // Mallory knows the id of the question, and answers for her.
    let (forged, _) = features(&["forged"]);
    for content in [format!("<query xmlns='{DISCO}'>{forged}</query>"), String::new()] {
        mallory.send(format!("<iq type='result' id='{id}' to='{from}'>{content}</iq>")).await;
        mallory.send(format!("<iq type='error' id='{id}' to='{from}'/>")).await;
    }
    mallory.drain().await;
    tell(&mut juliet, &(id, from), &information).await;
    hears_herself(&mut juliet).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_hears_nothing_and_harms_nobody() {
    let scene = SERVER.scene().await;
    let (information, version) = own_features(&scene, "n");
    let mut silent = scene.session("mallory/x").await;
    silent.send(presence(&version)).await;
    asked(&mut silent).await;
    // Somebody of the same kind waits a little for the answer, and is asked then.
    let mut juliet = scene.session("juliet/balcony").await;
    juliet.set_patience(Duration::from_secs(10));
    juliet.send(presence(&version)).await;
    let question = asked(&mut juliet).await;
    tell(&mut juliet, &question, &information).await;
    hears_herself(&mut juliet).await;
    silent.drain().await;
}
