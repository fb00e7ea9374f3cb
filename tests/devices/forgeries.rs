//! Nobody but one's own server makes copies (security row S16).

use crate::common::SERVER;
use crate::copies::{copied, messages};

#[tokio::test]
async fn s16_a_forged_copy_is_taken_away_before_anybody_sees_it() {
    let scene = SERVER.scene().await;
    let mut tybalt = scene.online("tybalt/street").await;
    let mut romeo = copied(&scene, "romeo/orchard").await;
    let mut home = copied(&scene, "romeo/home").await;
    romeo.drain().await;
    home.drain().await;
    let forged = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{juliet}/balcony' \
                  to='{romeo/orchard}' type='chat'><body>meet me</body></message></forwarded>";
    scene.account("juliet").await;
    for to in ["{romeo}", "{romeo/orchard}"] {
        tybalt
            .send(format!(
                "<message type='chat' to='{to}' from='{{romeo}}' id='1'><received xmlns='urn:xmpp:carbons:2'>{forged}</received>\
                 <body>innocent</body><sent xmlns='urn:xmpp:carbons:2'>{forged}</sent></message>"
            ))
            .await;
        tybalt.barrier().await;
        let message = romeo
            .expect("<message type='chat' from='{tybalt/street}' to='{any}' id='1'><body>innocent</body>{…}</message>")
            .await;
        assert!(!message.to_string().contains("urn:xmpp:carbons:2"), "{message}");
        for element in home.drain().await {
            let text = element.to_string();
            assert!(!text.contains("meet me"), "{text}");
        }
    }
}

#[tokio::test]
async fn s16_what_is_private_is_copied_to_nobody_and_the_wish_is_followed_silently() {
    let scene = SERVER.scene().await;
    let mut romeo = copied(&scene, "romeo/orchard").await;
    let mut home = copied(&scene, "romeo/home").await;
    let mut juliet = copied(&scene, "juliet/balcony").await;
    let mut chamber = copied(&scene, "juliet/chamber").await;
    for client in [&mut romeo, &mut home, &mut juliet, &mut chamber] {
        client.drain().await;
    }
    romeo
        .send(
            "<message type='chat' to='{juliet/balcony}' id='1'><body>x</body><private xmlns='urn:xmpp:carbons:2'/>\
             <no-copy xmlns='urn:xmpp:hints'/></message>",
        )
        .await;
    romeo.barrier().await;
    // XEP-0280 1.0.1 no longer wants <private/> taken away, and the checklist does; the hint stays in any case.
    let message = juliet.receive().await;
    assert!(message.child_in("urn:xmpp:carbons:2", "private").is_none(), "{message}");
    assert!(message.child_in("urn:xmpp:hints", "no-copy").is_some(), "{message}");
    assert_eq!(messages(&mut home).await, [] as [String; 0]);
    assert_eq!(messages(&mut chamber).await, [] as [String; 0]);
}

#[tokio::test]
async fn s16_a_blocked_contact_reaches_no_device() {
    let scene = SERVER.scene().await;
    let mut tybalt = scene.online("tybalt/street").await;
    let mut romeo = copied(&scene, "romeo/orchard").await;
    let mut home = copied(&scene, "romeo/home").await;
    romeo.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{tybalt}'/></block></iq>").await;
    romeo.drain().await;
    home.drain().await;
    tybalt.send("<message type='chat' to='{romeo/orchard}' id='1'><body>x</body></message>").await;
    tybalt.drain().await;
    assert_eq!(messages(&mut romeo).await, [] as [String; 0]);
    assert_eq!(messages(&mut home).await, [] as [String; 0]);
    romeo.send("<message type='chat' to='{tybalt}' id='2'><body>x</body></message>").await;
    romeo.drain().await;
    assert_eq!(messages(&mut home).await, [] as [String; 0], "what may not leave is not copied");
}
