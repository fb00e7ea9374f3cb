//! Roster items: added, changed and removed (RFC 6121 §2.1 to §2.5).

use waxwing_testkit::{Element, RawClient};

use crate::common::SERVER;
use crate::pair::say;

/// A roster set with these items.
fn set(id: &str, items: &str) -> String {
    format!("<iq type='set' id='{id}'><query xmlns='jabber:iq:roster'>{items}</query></iq>")
}

/// The result of a roster set.
fn done(id: &str, to: &str) -> String {
    format!("<iq type='result' id='{id}' from='{{any}}' to='{{{to}}}'/>")
}

/// The push of an item.
fn push(to: &str, item: &str) -> String {
    format!(
        "<iq type='set' id='{{any}}' to='{{{to}}}'><query xmlns='jabber:iq:roster' ver='{{any}}'>{item}</query></iq>"
    )
}

/// Asks for the roster: from now on the client is interested in it.
async fn ask(client: &mut RawClient) -> Element {
    client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await;
    client.expect("<iq type='result' id='roster' {…}><query xmlns='jabber:iq:roster'>{…}</query></iq>").await
}

/// Asks for the roster, which must have exactly these items.
async fn expect_roster(client: &mut RawClient, items: &str) {
    client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await;
    let query = format!("<query xmlns='jabber:iq:roster'>{items}{{unordered}}</query>");
    client.expect(format!("<iq type='result' id='roster' {{…}}>{query}</iq>")).await;
}

#[tokio::test]
async fn c72_nobody_changes_another_ones_roster() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.session("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    ask(&mut juliet).await;
    let query = "<query xmlns='jabber:iq:roster'><item jid='nurse@{host}'/></query>";
    for to in ["{juliet}", "{juliet/balcony}"] {
        romeo.send(format!("<iq type='set' id='r1' to='{to}'>{query}</iq>")).await;
        let refused = match to {
            "{juliet}" => "{error:auth:forbidden}",
            // What is for a device is not for the account: it goes there, and devices do not obey strangers (§8.5.3.1).
            _ => {
                juliet.expect("<iq type='set' id='r1' from='{romeo/orchard}' to='{juliet/balcony}'>{…}</iq>").await;
                juliet.send("<iq type='error' id='r1' to='{romeo/orchard}'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>").await;
                "{error:auth:forbidden}"
            }
        };
        romeo.expect(format!("<iq type='error' id='r1' from='{to}' to='{{romeo/orchard}}'>{refused}{{…}}</iq>")).await;
    }
    romeo.barrier().await;
    juliet.barrier().await;
    expect_roster(&mut juliet, "").await;
    // One's own account by its name is as good as no address.
    romeo.send(format!("<iq type='set' id='r2' to='{{romeo}}'>{query}</iq>")).await;
    romeo.expect(done("r2", "romeo/orchard")).await;
}

#[tokio::test]
async fn c72_nobody_reads_another_ones_roster() {
    let scene = SERVER.scene().await;
    let _juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    scene.stranger("nobody");
    for to in ["{juliet}", "{nobody}"] {
        romeo.send(format!("<iq type='get' id='r1' to='{to}'><query xmlns='jabber:iq:roster'/></iq>")).await;
        romeo
            .expect(format!(
                "<iq type='error' id='r1' from='{to}' to='{{romeo/orchard}}'>{{error:cancel:service-unavailable}}{{…}}</iq>"
            ))
            .await;
    }
}

#[tokio::test]
async fn c73_a_client_does_not_decide_who_sees_whom() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.online("romeo/orchard").await;
    ask(&mut romeo).await;
    for claim in [
        "subscription='both'",
        "subscription='to' ask='subscribe'",
        "subscription='from' approved='true'",
        "ask='subscribe'",
        "subscription='none'",
    ] {
        romeo.send(set("r1", &format!("<item jid='{{juliet}}' name='J' {claim}/>"))).await;
        let item = "<item jid='{juliet}' name='J' subscription='none'/>";
        romeo.expect_in_any_order(&[push("romeo/orchard", item), done("r1", "romeo/orchard")]).await;
        expect_roster(&mut romeo, item).await;
    }
    // Nor is anybody told or shown anything.
    romeo.send("<presence><show>dnd</show></presence>").await;
    romeo.drain().await;
    juliet.barrier().await;
    // What is true already is not taken back either.
    say("subscribe", &mut romeo, &mut juliet).await;
    say("subscribed", &mut juliet, &mut romeo).await;
    romeo.send(set("r2", "<item jid='{juliet}' subscription='none'/>")).await;
    let item = "<item jid='{juliet}' subscription='to'/>";
    romeo.expect_in_any_order(&[push("romeo/orchard", item), done("r2", "romeo/orchard")]).await;
}

#[tokio::test]
async fn c74_who_has_asked_for_the_roster_hears_of_its_changes() {
    let scene = SERVER.scene().await;
    let mut sender = scene.session("romeo/orchard").await;
    let mut other = scene.session("romeo/garden").await;
    let mut online = scene.online("romeo/street").await;
    ask(&mut sender).await;
    // Interest has nothing to do with presence (§2.2): this one is not available, the one that is has not asked.
    ask(&mut other).await;
    let item = "<item jid='nurse@x.lit' name='Nurse'><group>Servants</group><group>Old</group></item>";
    sender.send(set("r1", item)).await;
    let item = "<item jid='nurse@x.lit' name='Nurse' subscription='none'><group>Servants</group><group>Old</group>{unordered}</item>";
    sender.expect_in_any_order(&[push("romeo/orchard", item), done("r1", "romeo/orchard")]).await;
    other.expect(push("romeo/garden", item)).await;
    sender.barrier().await;
    other.barrier().await;
    online.barrier().await;
    // Who has not asked may change it all the same.
    online.send(set("r2", "<item jid='nurse@x.lit'/>")).await;
    online.expect(done("r2", "romeo/street")).await;
    let item = "<item jid='nurse@x.lit' subscription='none'/>";
    sender.expect(push("romeo/orchard", item)).await;
    other.expect(push("romeo/garden", item)).await;
    online.barrier().await;
    // The answer to a push, and that there is none, are the server's business alone.
    sender.send("<iq type='result' id='x1'/><iq type='error' id='x2'/>").await;
    sender.barrier().await;
}

#[tokio::test]
async fn c75_c76_a_set_that_breaks_a_rule_changes_nothing() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    ask(&mut romeo).await;
    let long_name = format!("<item jid='a@x.lit' name='{}'/>", "n".repeat(1024));
    let long_group = format!("<item jid='a@x.lit'><group>{}</group></item>", "g".repeat(1024));
    for (items, error) in [
        ("", "modify:bad-request"),
        ("<item jid='a@x.lit'/><item jid='b@x.lit'/>", "modify:bad-request"),
        ("<item/>", "modify:bad-request"),
        ("<item jid='a@@x.lit'/>", "modify:bad-request"),
        ("<item jid='a@x.lit'><group>One</group><group>One</group></item>", "modify:bad-request"),
        ("<item jid='a@x.lit'><group/></item>", "modify:not-acceptable"),
        ("<item jid='a@x.lit'><group>One</group><group></group></item>", "modify:not-acceptable"),
        (long_name.as_str(), "modify:not-acceptable"),
        (long_group.as_str(), "modify:not-acceptable"),
        ("<item jid='{romeo}'/>", "cancel:not-allowed"),
    ] {
        romeo.send(set("r1", items)).await;
        romeo
            .expect(format!(
                "<iq type='error' id='r1' from='{{any}}' to='{{romeo/orchard}}'>{{error:{error}}}{{…}}</iq>"
            ))
            .await;
    }
    // A get with something in it is as good as one without; something else than a query is not.
    romeo.send("<iq type='get' id='r2'><other xmlns='jabber:iq:roster'/></iq>").await;
    romeo.expect("<iq type='error' id='r2' {…}>{error:modify:bad-request}{…}</iq>").await;
    romeo.barrier().await;
    expect_roster(&mut romeo, "").await;
    // The longest that is allowed.
    let item = format!("<item jid='a@x.lit' name='{}'><group>{}</group></item>", "n".repeat(1023), "g".repeat(511));
    romeo.send(set("r3", &item)).await;
    let item = item.replace("jid=", "subscription='none' jid=");
    romeo.expect_in_any_order(&[push("romeo/orchard", &item), done("r3", "romeo/orchard")]).await;
}

#[tokio::test]
async fn c77_an_update_replaces_all_of_an_item() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    ask(&mut romeo).await;
    for (asked, kept) in [
        ("name='Juliet'><group>A</group><group>B</group>", "name='Juliet'><group>A</group><group>B</group>{unordered}"),
        ("name='Jule'><group>B</group><group>C</group>", "name='Jule'><group>B</group><group>C</group>{unordered}"),
        ("name='Jule'>", "name='Jule'>"),
        ("><group>&lt;D&gt; &amp; ü\u{1f339}</group>", "><group>&lt;D&gt; &amp; ü\u{1f339}</group>"),
        ("name=''>", ">"),
    ] {
        romeo.send(set("r1", &format!("<item jid='Juliet@X.lit' {asked}</item>"))).await;
        let item = format!("<item jid='juliet@x.lit' subscription='none' {kept}</item>");
        romeo.expect_in_any_order(&[push("romeo/orchard", &item), done("r1", "romeo/orchard")]).await;
        expect_roster(&mut romeo, &item).await;
    }
}

#[tokio::test]
async fn c78_a_removed_contact_hears_of_what_ends() {
    // What Romeo and Juliet have of each other, what she gets, what he sees of her.
    for (sees, seen) in [(true, true), (true, false), (false, true), (false, false)] {
        let scene = SERVER.scene().await;
        let mut romeo = scene.online("romeo/orchard").await;
        let mut juliet = scene.online("juliet/balcony").await;
        ask(&mut romeo).await;
        ask(&mut juliet).await;
        romeo.send(set("r1", "<item jid='{juliet}'/>")).await;
        juliet.send(set("r1", "<item jid='{romeo}'/>")).await;
        romeo.drain().await;
        juliet.drain().await;
        if sees {
            say("subscribe", &mut romeo, &mut juliet).await;
            say("subscribed", &mut juliet, &mut romeo).await;
        }
        if seen {
            say("subscribe", &mut juliet, &mut romeo).await;
            say("subscribed", &mut romeo, &mut juliet).await;
        }
        romeo.drain().await;
        romeo.send(set("r2", "<item jid='{juliet}' subscription='remove'/>")).await;
        let mut to_romeo =
            vec![push("romeo/orchard", "<item jid='{juliet}' subscription='remove'/>"), done("r2", "romeo/orchard")];
        if sees {
            let item = if seen { "subscription='to'" } else { "subscription='none'" };
            juliet.expect("<presence type='unsubscribe' from='{romeo}' to='{juliet}'/>").await;
            juliet.expect(push("juliet/balcony", &format!("<item jid='{{romeo}}' {item}/>"))).await;
            to_romeo.push("<presence type='unavailable' from='{juliet/balcony}' to='{romeo}'/>".to_owned());
        }
        if seen {
            juliet.expect("<presence type='unsubscribed' from='{romeo}' to='{juliet}'/>").await;
            juliet.expect(push("juliet/balcony", "<item jid='{romeo}' subscription='none'/>")).await;
            juliet.expect("<presence type='unavailable' from='{romeo/orchard}' to='{juliet}'/>").await;
        }
        romeo.expect_in_any_order(&to_romeo).await;
        romeo.barrier().await;
        juliet.barrier().await;
        expect_roster(&mut romeo, "").await;
        // It is over indeed: neither sees the other.
        for client in [&mut romeo, &mut juliet] {
            client.send("<presence><show>away</show></presence>").await;
            let came = client.drain().await;
            assert!(came.iter().all(|stanza| stanza.attribute("from") == Some(client.jid())), "{came:?}");
        }
        romeo.barrier().await;
        juliet.barrier().await;
    }
}

#[tokio::test]
async fn c78_an_open_request_ends_with_the_contact() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.online("juliet/balcony").await;
    romeo.send("<presence type='subscribe' to='{juliet}'/>").await;
    romeo.drain().await;
    juliet.expect("<presence type='subscribe' from='{romeo}' to='{juliet}'/>").await;
    romeo.send(set("r1", "<item jid='{juliet}' subscription='remove'/>")).await;
    romeo.expect(done("r1", "romeo/orchard")).await;
    juliet.barrier().await;
    // The request is gone: her next device does not hear of it, and her late answer is for nobody.
    let mut next = scene.session("juliet/chamber").await;
    let came = next.go_online(0).await;
    assert!(came.iter().all(|stanza| stanza.attribute("type").is_none()), "{came:?}");
    juliet.drain().await;
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.barrier().await;
    romeo.barrier().await;
    expect_roster(&mut romeo, "").await;
}

#[tokio::test]
async fn c79_who_is_not_there_cannot_be_removed() {
    let scene = SERVER.scene().await;
    let mut romeo = scene.session("romeo/orchard").await;
    let mut juliet = scene.session("juliet/balcony").await;
    ask(&mut romeo).await;
    // Somebody who has asked and got no answer is no contact either.
    say("subscribe", &mut juliet, &mut romeo).await;
    for contact in ["nobody@x.lit", "{juliet}"] {
        romeo.send(set("r1", &format!("<item jid='{contact}' subscription='remove'/>"))).await;
        romeo
            .expect("<iq type='error' id='r1' from='{any}' to='{romeo/orchard}'>{error:cancel:item-not-found}{…}</iq>")
            .await;
    }
    romeo.barrier().await;
    juliet.barrier().await;
}

#[tokio::test]
async fn c81_who_has_only_asked_is_no_contact() {
    let scene = SERVER.scene().await;
    let mut juliet = scene.online("juliet/balcony").await;
    let mut romeo = scene.session("romeo/orchard").await;
    expect_roster(&mut juliet, "").await;
    romeo.send("<presence type='subscribe' to='{juliet}'/>").await;
    romeo.drain().await;
    // The request comes, a push does not.
    juliet.expect("<presence type='subscribe' from='{romeo}' to='{juliet}'/>").await;
    juliet.barrier().await;
    expect_roster(&mut juliet, "").await;
    juliet.send("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver=''/></iq>").await;
    juliet.expect("<iq type='result' id='v' {…}><query xmlns='jabber:iq:roster' ver='{any}'/></iq>").await;
    // A change of the item she has made herself shows nothing of it.
    juliet.send(set("r1", "<item jid='{romeo}' name='R'/>")).await;
    let item = "<item jid='{romeo}' name='R' subscription='none'/>";
    juliet.expect_in_any_order(&[push("juliet/balcony", item), done("r1", "juliet/balcony")]).await;
    // With the answer he becomes one.
    juliet.send("<presence type='subscribed' to='{romeo}'/>").await;
    juliet.expect(push("juliet/balcony", "<item jid='{romeo}' name='R' subscription='from'/>")).await;
}
