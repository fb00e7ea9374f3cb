//! What people of two servers do with each other, over every kind of link.

use waxwing_testkit::{Element, RawClient};

use crate::world::{Setup, World, say};

/// Messages, questions and refusals in both directions.
async fn talk(world: &World) {
    let (mut romeo, mut juliet) = world.lovers().await;
    say(&mut romeo, &mut juliet, "1").await;
    say(&mut juliet, &mut romeo, "2").await;
    say(&mut romeo, &mut juliet, "3").await;
    // To the server itself, to an account, and to a client that answers.
    romeo.send("<iq type='get' to='capulet.lit' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    romeo.expect("<iq type='result' from='capulet.lit' to='{romeo/orchard}' id='ping'/>").await;
    juliet
        .send("<iq type='get' to='montague.lit' id='disco'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    juliet.expect("<iq type='result' from='montague.lit' to='{juliet/balcony}' id='disco'>{…}</iq>").await;
    let (to, from) = (juliet.jid().to_owned(), romeo.jid().to_owned());
    romeo.send(format!("<iq type='get' to='{to}' id='v'><query xmlns='jabber:iq:version'/></iq>")).await;
    juliet
        .expect(format!("<iq type='get' from='{from}' to='{to}' id='v'><query xmlns='jabber:iq:version'/></iq>"))
        .await;
    juliet
        .send(format!(
            "<iq type='result' to='{from}' id='v'><query xmlns='jabber:iq:version'><name>x</name></query></iq>"
        ))
        .await;
    romeo
        .expect(format!("<iq type='result' from='{to}' to='{from}' id='v'><query xmlns='jabber:iq:version'><name>x</name></query></iq>"))
        .await;
    // Nobody of that name: the error comes back all the way.
    romeo.send("<iq type='get' to='nobody@capulet.lit/x' id='n'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    romeo.expect("<iq type='error' from='nobody@capulet.lit/x' to='{romeo/orchard}' id='n'>{error:cancel:service-unavailable}{…}</iq>").await;
}

#[tokio::test]
async fn people_talk_over_starttls_and_external() {
    talk(&World::new(Setup::default()).await).await;
}

#[tokio::test]
async fn people_talk_over_direct_tls() {
    talk(&World::new(Setup { direct_tls: true, ..Setup::default() }).await).await;
}

#[tokio::test]
async fn people_talk_over_dialback() {
    talk(&World::new(Setup { dialback: true, ..Setup::default() }).await).await;
}

#[tokio::test]
async fn people_talk_over_dialback_and_direct_tls() {
    talk(&World::new(Setup { dialback: true, direct_tls: true, ..Setup::default() }).await).await;
}

#[tokio::test]
async fn people_talk_over_one_connection_for_both_directions() {
    let world = World::new(Setup { bidirectional: true, ..Setup::default() }).await;
    talk(&world).await;
    // Whoever was first has connected, and nobody else.
    assert_eq!(world.capulet.line.accepted() + world.montague.line.accepted(), 1);
}

#[tokio::test]
async fn people_talk_over_one_connection_and_dialback() {
    let world = World::new(Setup { bidirectional: true, dialback: true, ..Setup::default() }).await;
    talk(&world).await;
    // One connection for the conversation, one to ask about its key.
    assert_eq!((world.capulet.line.accepted(), world.montague.line.accepted()), (1, 1));
}

#[tokio::test]
async fn c21_content_changes_its_namespace_and_forwarded_content_does_not() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    let to = juliet.jid().to_owned();
    romeo
        .send(format!(
            "<message to='{to}' type='chat' id='f'><subject>s</subject><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='a@b' to='c@d'><body>inner</body></message></forwarded></message>"
        ))
        .await;
    juliet
        .expect(
            "<message from='{any}' to='{juliet/balcony}' type='chat' id='f'><subject>s</subject>\
             <forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='a@b' to='c@d'><body>inner</body></message></forwarded>{…}</message>",
        )
        .await;
}

#[tokio::test]
async fn people_subscribe_see_each_other_and_part() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    for client in [&mut romeo, &mut juliet] {
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        client.expect("<iq type='result' id='r' {…}>{…}</iq>").await;
    }
    let (he, she) = (romeo.bare().to_owned(), juliet.bare().to_owned());
    romeo.send(format!("<presence type='subscribe' to='{she}'/>")).await;
    juliet.expect(format!("<presence type='subscribe' from='{he}' to='{she}'/>")).await;
    juliet.send(format!("<presence type='subscribed' to='{he}'/>")).await;
    romeo.expect(push(&she, "subscription='none' ask='subscribe'")).await;
    romeo
        .expect_in_any_order(&[
            push(&she, "subscription='to'"),
            format!("<presence type='subscribed' from='{she}' to='{he}'/>"),
            format!("<presence from='{she}/balcony' to='{{any}}' {{…}}>{{…}}</presence>"),
        ])
        .await;
    juliet.send(format!("<presence type='subscribe' to='{he}'/>")).await;
    romeo.expect(format!("<presence type='subscribe' from='{she}' to='{he}'/>")).await;
    romeo.send(format!("<presence type='subscribed' to='{she}'/>")).await;
    romeo.drain().await;
    juliet.expect(push(&he, "subscription='from'")).await;
    juliet.expect(push(&he, "subscription='from' ask='subscribe'")).await;
    juliet
        .expect_in_any_order(&[
            push(&he, "subscription='both'"),
            format!("<presence type='subscribed' from='{he}' to='{she}'/>"),
            format!("<presence from='{he}/orchard' to='{{any}}' {{…}}>{{…}}</presence>"),
        ])
        .await;
    // Changes are seen, and so is that somebody goes and comes back.
    juliet.send("<presence><show>away</show></presence>").await;
    romeo.expect(format!("<presence from='{she}/balcony' to='{{any}}' {{…}}><show>away</show>{{…}}</presence>")).await;
    juliet.expect("<presence from='{juliet/balcony}' {…}><show>away</show>{…}</presence>").await;
    romeo.send("<presence type='unavailable'/>").await;
    juliet
        .expect(format!("<presence type='unavailable' from='{he}/orchard' to='{{any}}' {{…}}>{{…}}</presence>"))
        .await;
    romeo.drain().await;
    romeo.send("<presence/>").await;
    juliet.expect(format!("<presence from='{he}/orchard' to='{{any}}' {{…}}>{{…}}</presence>")).await;
    // His server asks hers, and he sees her again (RFC 6121 §4.3).
    romeo
        .expect_in_any_order(&[
            "<presence from='{romeo/orchard}' {…}>{…}</presence>".to_owned(),
            format!("<presence from='{she}/balcony' to='{{any}}' {{…}}><show>away</show>{{…}}</presence>"),
        ])
        .await;
    // No roster push goes across: only what clients say of themselves does.
    juliet.send(format!("<iq type='set' id='rm'><query xmlns='jabber:iq:roster'><item jid='{he}' subscription='remove'/></query></iq>")).await;
    romeo
        .expect_in_any_order(&[
            format!("<presence type='unsubscribe' from='{she}' to='{he}'/>"),
            format!("<presence type='unsubscribed' from='{she}' to='{he}'/>"),
            format!("<presence type='unavailable' from='{she}/balcony' {{…}}>{{…}}</presence>"),
            push(&she, "subscription='to'"),
            push(&she, "subscription='none'"),
        ])
        .await;
}

/// A roster push of one item.
fn push(contact: &str, state: &str) -> String {
    format!(
        "<iq type='set' id='{{any}}' {{…}}><query xmlns='jabber:iq:roster' {{…}}><item jid='{contact}' {state} {{…}}>{{…}}</item></query></iq>"
    )
}

/// A presence that says what a client wants to hear of (XEP-0115), and what it answers when it is asked.
async fn say_interests(client: &mut RawClient) {
    client
        .send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='md5' node='urn:test' ver='1'/></presence>")
        .await;
}

/// The next that comes; questions about interests are answered.
async fn next(client: &mut RawClient) -> Element {
    let came = client.receive().await;
    if let Some(query) = came.child("query").filter(|_| came.attribute("type") == Some("get")) {
        let node = query.attribute("node").unwrap_or_default();
        let (id, from) = (came.attribute("id").unwrap_or_default(), came.attribute("from").unwrap_or_default());
        client
            .send_bytes(format!(
                "<iq type='result' id='{id}' to='{from}'><query xmlns='http://jabber.org/protocol/disco#info' node='{node}'>\
                 <identity category='client' type='pc'/><feature var='urn:xmpp:avatar:metadata+notify'/></query></iq>"
            ))
            .await;
    }
    came
}

/// Takes what comes until the item of somebody else's node comes; its id and whose it is.
async fn avatar_of_other(client: &mut RawClient) -> (String, String) {
    loop {
        let came = next(client).await;
        let from = came.attribute("from").unwrap_or_default().to_owned();
        let item = came.child("event").and_then(|event| event.child("items")?.child("item"));
        if let Some(item) = item.filter(|_| !client.jid().starts_with(&from)) {
            return (item.attribute("id").unwrap_or_default().to_owned(), from);
        }
    }
}

#[tokio::test]
async fn people_see_the_avatars_of_another_server_whoever_subscribed_first() {
    let world = World::new(Setup::default()).await;
    let (mut romeo, mut juliet) = world.lovers().await;
    for client in [&mut romeo, &mut juliet] {
        say_interests(client).await;
    }
    // First he sees her alone, then she sees him, too: what their clients have said about themselves came before.
    subscribe(&mut romeo, &mut juliet).await;
    subscribe(&mut juliet, &mut romeo).await;
    show(&mut romeo, &mut juliet).await;
    show(&mut juliet, &mut romeo).await;
}

/// One asks to see the other, and does.
async fn subscribe(one: &mut RawClient, other: &mut RawClient) {
    let (from, to) = (one.bare().to_owned(), other.bare().to_owned());
    one.send_bytes(format!("<presence type='subscribe' to='{to}'/>")).await;
    until_presence(other, "subscribe", &from).await;
    other.send_bytes(format!("<presence type='subscribed' to='{from}'/>")).await;
    until_presence(one, "", &to).await;
}

/// One publishes what describes an avatar; the other is told of it, and fetches it.
async fn show(one: &mut RawClient, other: &mut RawClient) {
    let owner = one.bare().to_owned();
    let name = owner.replace('@', "-");
    one.send_bytes(format!(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='urn:xmpp:avatar:metadata'><item id='{name}'><metadata xmlns='urn:xmpp:avatar:metadata'/></item>\
         </publish></pubsub></iq>"
    ))
    .await;
    assert_eq!(avatar_of_other(other).await, (name.clone(), owner.clone()));
    other
        .send_bytes(format!(
            "<iq type='get' id='f' to='{owner}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <items node='urn:xmpp:avatar:metadata'/></pubsub></iq>"
        ))
        .await;
    let mut came = next(other).await;
    while came.attribute("id") != Some("f") {
        came = next(other).await;
    }
    assert!(came.attribute("type") == Some("result") && came.to_string().contains(&name), "{came}");
}

/// Takes what comes until somebody's presence of a type does.
async fn until_presence(client: &mut RawClient, kind: &str, from: &str) {
    loop {
        let came = next(client).await;
        let is_his = came.attribute("from").is_some_and(|sender| sender.starts_with(from));
        if came.name == "presence" && is_his && came.attribute("type").unwrap_or_default() == kind {
            return;
        }
    }
}
