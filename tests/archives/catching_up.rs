//! Clients that come back while others go on talking: whatever they read first, each message is shown once.

use std::collections::BTreeMap;

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;
use crate::{ask, bodies, ids};

/// Romeo talks without waiting for anybody.
async fn talks(mut romeo: RawClient, lines: Vec<String>) -> RawClient {
    for line in lines {
        romeo.send(format!("<message to='{{juliet}}' type='chat' id='{line}'><body>{line}</body></message>")).await;
    }
    romeo.barrier().await;
    romeo
}

/// A client that logs in, reads its archive from there on, and is available then; how often it was shown what.
async fn comes_back(scene: &Scene, known: Option<&String>) -> (RawClient, BTreeMap<String, u32>, Option<String>) {
    let mut juliet = scene.session("juliet/balcony").await;
    let (mut shown, mut last) = (BTreeMap::new(), known.cloned());
    loop {
        let after = last.as_ref().map(|id| format!("<after>{id}</after>")).unwrap_or_default();
        let (results, fin) = ask(&mut juliet, "", &format!("<max>5</max>{after}")).await;
        for body in bodies(&results) {
            *shown.entry(body).or_default() += 1;
        }
        last = ids(&results).pop().or(last);
        if fin.attribute("complete") == Some("true") {
            break;
        }
    }
    // Right behind the answer, as clients do.
    juliet.send_bytes("<presence/>").await;
    (juliet, shown, last)
}

#[tokio::test]
async fn who_reads_the_archive_and_then_comes_is_shown_each_message_once() {
    let scene = SERVER.scene().await;
    scene.account("juliet").await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut known: Option<String> = None;
    for round in 0..8 {
        let lines: Vec<String> = (0..40).map(|line| format!("{round}-{line:02}")).collect();
        let (first, rest) = lines.split_at(round * 5);
        romeo = talks(romeo, first.to_vec()).await;
        let talking = tokio::spawn(talks(romeo, rest.to_vec()));
        let (mut juliet, mut shown, last) = comes_back(&scene, known.as_ref()).await;
        known = last;
        while shown.len() < lines.len() {
            let stanza = juliet.receive().await;
            if let Some(body) = stanza.text_of("body").filter(|_| stanza.name == "message") {
                *shown.entry(body).or_default() += 1;
                let id = stanza.child_in("urn:xmpp:sid:0", "stanza-id").and_then(|id| id.attribute("id"));
                known = id.map(str::to_owned).or(known);
            }
        }
        romeo = talking.await.expect("he has said everything");
        for stanza in juliet.drain().await {
            if let Some(body) = stanza.text_of("body").filter(|_| stanza.name == "message") {
                *shown.entry(body).or_default() += 1;
            }
        }
        let expected: BTreeMap<String, u32> = lines.iter().map(|line| (line.clone(), 1)).collect();
        assert_eq!(shown, expected, "round {round}");
        juliet.send_bytes("</stream:stream>").await;
        juliet.expect_end().await;
    }
    // Nothing is left for the next one, and the archive has it all, once.
    let mut phone = scene.session("juliet/phone").await;
    let came = phone.go_online(0).await;
    assert!(came.iter().all(|stanza| stanza.name != "message"), "{came:?}");
    let mut kept = Vec::new();
    let mut set = String::new();
    loop {
        let (results, fin) = ask(&mut phone, "", &set).await;
        set = format!("<after>{}</after>", ids(&results).pop().unwrap_or_default());
        kept.extend(bodies(&results));
        if fin.attribute("complete").is_some() {
            break;
        }
    }
    let expected: Vec<String> =
        (0..8).flat_map(|round| (0..40).map(move |line| format!("{round}-{line:02}"))).collect();
    assert_eq!(kept, expected);
}
