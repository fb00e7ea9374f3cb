//! Who may resume, and what happens when several do (security row S27, faults row F16).

use crate::common::SERVER;
use crate::managed::Managed;

#[tokio::test]
async fn s27_nobody_else_resumes_a_session() {
    let scene = SERVER.scene().await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    let mut tybalt = scene.logged_in("tybalt").await;
    let failed = "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    for id in [juliet.id.as_str(), "no-such-session"] {
        tybalt.send(format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
        tybalt.expect(failed).await;
    }
    tybalt.send("<resume xmlns='urn:xmpp:sm:3' h='0'/>").await;
    tybalt
        .expect("<failed xmlns='urn:xmpp:sm:3'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
        .await;
    // He may still bind, and has done nothing to her.
    tybalt.bind("street").await;
    tybalt.barrier().await;
    assert_eq!(juliet.asks().await, 0);
}

#[tokio::test]
async fn c48_guessing_ids_ends_the_stream() {
    let scene = SERVER.scene().await;
    let mut tybalt = scene.logged_in("tybalt").await;
    for _ in 0..10 {
        tybalt.send("<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>").await;
        tybalt.expect("<failed xmlns='urn:xmpp:sm:3'>{…}</failed>").await;
    }
    tybalt.send("<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>").await;
    tybalt.expect("<failed xmlns='urn:xmpp:sm:3'>{…}</failed>").await;
    tybalt.expect_stream_error("policy-violation").await;
}

#[tokio::test]
async fn f16_who_resumes_while_the_old_stream_lives_takes_its_place() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    juliet.writes("{romeo/orchard}", "old").await;
    assert_eq!(juliet.asks().await, 1);
    let mut old = scene.logged_in("juliet").await;
    std::mem::swap(&mut juliet.client, &mut old);
    let (id, received) = (juliet.id.clone(), juliet.received);
    juliet.client.send(format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{received}'/>")).await;
    juliet.client.expect(format!("<resumed xmlns='urn:xmpp:sm:3' previd='{id}' h='1'/>")).await;
    old.expect_stream_error("conflict").await;
    juliet.writes("{romeo/orchard}", "new").await;
    assert_eq!(juliet.asks().await, 2);
    romeo.expect("<message id='old' {…}>{…}</message>").await;
    romeo.expect("<message id='new' {…}>{…}</message>").await;
    romeo.barrier().await;
}

#[tokio::test]
async fn f16_of_two_who_resume_at_once_one_wins_and_nothing_is_lost() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.online("romeo/orchard").await;
    let mut juliet = Managed::online(&scene, "juliet/balcony").await;
    for round in 0..8 {
        juliet.breaks();
        let text = round.to_string();
        romeo
            .send(format!("<message type='chat' to='{{juliet/balcony}}' id='{text}'><body>{text}</body></message>"))
            .await;
        romeo.barrier().await;
        let (mut one, mut other) = (scene.logged_in("juliet").await, scene.logged_in("juliet").await);
        let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{}' h='{}'/>", juliet.id, juliet.received);
        tokio::join!(one.send(&resume), other.send(&resume));
        // One of them stays; whatever it is told, the other's stream ends with a conflict.
        let mut answers = Vec::new();
        for client in [&mut one, &mut other] {
            let answer = client.receive().await;
            assert!(
                answer.name == "resumed" || (answer.name == "error" && answer.child("conflict").is_some()),
                "{answer}"
            );
            answers.push(answer.name == "resumed");
        }
        assert!(answers.contains(&true), "one at least was told that it goes on");
        // A message that is meant for whoever goes on.
        romeo.send(format!("<message type='chat' to='{{juliet/balcony}}'><body>after {text}</body></message>")).await;
        romeo.barrier().await;
        let mut winners = Vec::new();
        for (mut client, was_resumed) in [one, other].into_iter().zip(answers) {
            if !was_resumed {
                continue;
            }
            let mut seen = Vec::new();
            let stays = loop {
                let element = match client.receive_or_close().await {
                    Some(element) => element,
                    None => break false,
                };
                if element.name == "error" {
                    continue;
                }
                if element.name == "message" {
                    let body = element.text_of("body").unwrap_or_default();
                    seen.push(element);
                    if body == format!("after {text}") {
                        break true;
                    }
                }
            };
            if stays {
                winners.push((client, seen));
            }
        }
        assert_eq!(winners.len(), 1, "exactly one goes on");
        let (client, seen) = winners.remove(0);
        juliet.client = client;
        for element in &seen {
            juliet.takes(element);
        }
        juliet.acknowledges().await;
    }
    let expected: Vec<String> = (0..8).flat_map(|round| [round.to_string(), format!("after {round}")]).collect();
    assert_eq!(juliet.got, expected);
}
