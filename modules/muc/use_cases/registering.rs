//! Registration and reserved nicknames: XEP-0045 §7.10, §7.12 and §9.9, examples 66 to 78 and 151.

use super::*;

const QUERY: &str = "<query xmlns='jabber:iq:register'/>";

fn submit(who: &str, nick: &str) -> String {
    iq(
        who,
        "set",
        &format!(
            "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/muc#register</value></field><field var='muc#register_first'>\
             <value>Brunhilde</value></field><field var='muc#register_roomnick'><value>{nick}</value></field></x></query>"
        ),
    )
}

#[test]
fn example_066_070_the_form_asks_for_a_nickname() {
    let result = Cave::full().hear(&iq(HAG, "get", QUERY)).result();
    assert!(result.contains("http://jabber.org/protocol/muc#register") && result.contains("<required/>"), "{result}");
    assert!(!result.contains("<registered/>"));
}

#[test]
fn example_068_a_closed_room_registers_nobody() {
    let mut cave = Cave::with(|configuration| configuration.registration = Registration::Closed).witches();
    assert_eq!(cave.hear(&iq(HAG, "get", QUERY)).error(), "cancel not-allowed");
    assert_eq!(cave.hear(&submit(HAG, "thirdwitch")).error(), "cancel not-allowed");
    // Nobody lets himself into a room for members.
    let mut cave = Cave::with(|configuration| configuration.members_only = true);
    assert_eq!(cave.hear(&submit(HAG, "thirdwitch")).error(), "cancel not-allowed");
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Outcast, None);
    assert_eq!(cave.hear(&submit(HAG, "thirdwitch")).error(), "auth forbidden");
}

#[test]
fn example_069_071_075_076_who_registers_is_a_member_and_has_his_nickname() {
    let mut cave = Cave::full();
    let heard = cave.hear(&submit(HAG, "thirdwitch"));
    assert_eq!(heard.all()[0], format!("<iq from='{COVEN}' to='{HAG}' id='iq1' type='result'/>"));
    let item = format!("affiliation='member' jid='{HAG}' role='participant'");
    assert_eq!(heard.one(CRONE), presence("thirdwitch", CRONE, "", &item, ""));
    let result = cave.hear(&iq(HAG, "get", QUERY)).result();
    assert!(result.contains("<registered/><username>thirdwitch</username>"), "{result}");
    assert_eq!(cave.join(HECATE, "ThirdWitch").error(), "cancel conflict");
    // He may reserve another one.
    cave.hear(&submit(HAG, "oldhag"));
    assert!(cave.hear(&iq(HAG, "get", QUERY)).result().contains("<username>oldhag</username>"));
}

#[test]
fn example_072_074_what_cannot_be_registered() {
    let mut cave = Cave::open();
    cave.affiliate(HECATE, Affiliation::Member, Some("hecate"));
    let mut cave = cave.witches();
    assert_eq!(cave.hear(&submit(HAG, "Hecate")).error(), "cancel conflict");
    assert_eq!(cave.hear(&submit(HAG, "firstwitch")).error(), "cancel conflict", "somebody is called so now");
    assert_eq!(cave.hear(&submit(HAG, "")).error(), "modify bad-request");
    assert_eq!(cave.hear(&iq(HAG, "set", QUERY)).error(), "modify bad-request");
    assert!(cave.changes.is_empty());
}

#[test]
fn who_does_not_want_to_be_registered_any_more_is_not() {
    let mut cave = Cave::full();
    let remove = "<query xmlns='jabber:iq:register'><remove/></query>";
    assert_eq!(cave.hear(&iq(HAG, "set", remove)).error(), "auth registration-required");
    cave.hear(&submit(HAG, "thirdwitch"));
    let heard = cave.hear(&iq(HAG, "set", remove));
    assert!(heard.one(CRONE).contains("affiliation='none'"));
    cave.hear(&submit(CRONE, "firstwitch"));
    cave.hear(&iq(CRONE, "set", remove));
    assert!(cave.present().contains(&"firstwitch owner moderator".to_owned()), "an owner stays one");
}

#[test]
fn example_077_078_the_reserved_nickname_is_told() {
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, Some("thirdwitch"));
    let query = "<query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'/>";
    assert_eq!(
        cave.hear(&iq(HAG, "get", query)).result(),
        "<query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'>\
         <identity category='conference' name='thirdwitch' type='text'/></query>"
    );
    assert_eq!(cave.hear(&iq(HECATE, "get", query)).result(), query);
}

#[test]
fn example_151_an_admin_approves_of_new_members() {
    let mut cave = Cave::with(|configuration| {
        configuration.registration = Registration::Approval;
        configuration.members_only = true;
    });
    cave.join(CRONE, "firstwitch");
    let heard = cave.hear(&submit(HAG, "thirdwitch"));
    assert_eq!(heard.by(HAG), [format!("<iq from='{COVEN}' to='{HAG}' id='iq1' type='result'/>")]);
    let asked = heard.one(CRONE);
    assert!(
        asked.contains("<title>Registration request</title>") && asked.contains("<value>thirdwitch</value>"),
        "{asked}"
    );
    // Who enters later is asked, too.
    assert!(cave.join(WICCA, "secondwitch").by(WICCA).last().unwrap().contains("Registration request"));
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "auth registration-required");
    let answer = |who: &str, allow: &str| {
        format!(
            "<message from='{who}' to='{COVEN}' id='1'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/muc#register</value></field><field var='muc#register_roomnick'>\
             <value>thirdwitch</value></field><field var='muc#register_allow'><value>{allow}</value></field></x></message>"
        )
    };
    assert_eq!(cave.hear(&answer(BARD, "1")).error(), "auth forbidden");
    cave.hear(&answer(WICCA, "1"));
    cave.join(HAG, "thirdwitch");
    assert!(cave.present().contains(&"thirdwitch member participant".to_owned()));
    assert_eq!(cave.hear(&answer(WICCA, "1")).error(), "cancel item-not-found", "it is decided");
    cave.hear(&submit(HECATE, "hecate"));
    let answer = answer(WICCA, "0").replace("<value>thirdwitch</value>", "<value>hecate</value>");
    assert!(cave.hear(&answer).is_nothing());
    assert_eq!(cave.join(HECATE, "hecate").error(), "auth registration-required");
}
