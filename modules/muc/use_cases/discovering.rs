//! What a room tells about itself: XEP-0045 §6.4 to §6.6, §17.4, §18.1.1, examples 8 to 13 and 223 to 225; XEP-0410.

use super::*;

const INFORMATION: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
const ITEMS: &str = "<query xmlns='http://jabber.org/protocol/disco#items'/>";

fn to_occupant(who: &str, nick: &str, kind: &str, payload: &str) -> String {
    format!("<iq from='{who}' to='{COVEN}/{nick}' id='s2c1' type='{kind}'>{payload}</iq>")
}

#[test]
fn example_008_009_a_room_tells_what_it_is() {
    let features = |change: fn(&mut Configuration)| Cave::with(change).hear(&iq(BARD, "get", INFORMATION)).result();
    let open = features(|configuration| configuration.persistent = false);
    assert!(open.contains("<identity category='conference' name='A Dark Cave' type='text'/>"));
    let has = |text: &str, feature: &str| text.contains(&format!("<feature var='{feature}'/>"));
    for feature in [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/muc#stable_id",
        "muc_unsecured",
        "muc_hidden",
        "muc_temporary",
        "muc_open",
        "muc_unmoderated",
        "muc_semianonymous",
        "urn:xmpp:occupant-id:0",
        "jabber:iq:register",
        "http://jabber.org/protocol/muc#self-ping-optimization",
        "vcard-temp",
        "urn:xmpp:hats:0",
    ] {
        assert!(has(&open, feature), "{feature}");
    }
    let closed = features(|configuration| {
        *configuration =
            Configuration { password: Some("x".to_owned()), moderated: true, public: true, ..Configuration::default() };
    });
    for feature in [
        "muc_passwordprotected",
        "muc_public",
        "muc_persistent",
        "muc_membersonly",
        "muc_moderated",
        "muc_nonanonymous",
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:message-moderate:1",
        "urn:xmpp:message-moderate:0",
    ] {
        assert!(has(&closed, feature), "{feature}");
    }
    assert!(!has(&closed, "jabber:iq:register") && !has(&open, "urn:xmpp:mam:2"));
}

#[test]
fn example_010_facts_are_told_to_those_who_may_look_inside() {
    let mut cave = Cave::full();
    cave.hear(&groupchat(CRONE, "<subject>Spells</subject>"));
    let field = |text: &str, name: &str, value: &str| {
        let start = text.find(&format!("var='{name}'")).unwrap_or_else(|| panic!("{name} in {text}"));
        text[start..].starts_with(&format!("var='{name}'"))
            && text[start..].find(&format!("<value>{value}</value>")) < text[start..].find("</field>")
    };
    let inside = cave.hear(&iq(HAG, "get", INFORMATION)).result();
    assert!(field(&inside, "muc#roominfo_occupants", "3") && field(&inside, "muc#roominfo_subject", "Spells"));
    assert!(field(&inside, "muc#roomconfig_maxusers", "100") && field(&inside, "muc#maxhistoryfetch", "20"));
    let outside = cave.hear(&iq(BARD, "get", INFORMATION)).result();
    assert!(!outside.contains("Spells") && !outside.contains("roominfo_occupants"), "{outside}");
    assert!(field(&outside, "muc#roomconfig_maxusers", "100"));
    let mut public = Cave::with(|configuration| configuration.public = true).witches();
    assert!(field(&public.hear(&iq(BARD, "get", INFORMATION)).result(), "muc#roominfo_occupants", "3"));
}

#[test]
fn example_011_to_013_who_is_in_the_room_sees_who_is_in_it() {
    let mut cave = Cave::full();
    assert_eq!(
        cave.hear(&iq(HAG, "get", ITEMS)).result(),
        format!(
            "<query xmlns='http://jabber.org/protocol/disco#items'><item jid='{COVEN}/firstwitch'/>\
             <item jid='{COVEN}/secondwitch'/><item jid='{COVEN}/thirdwitch'/></query>"
        )
    );
    assert_eq!(cave.hear(&iq(BARD, "get", ITEMS)).result(), ITEMS);
}

#[test]
fn example_223_to_225_everything_passes_through() {
    let query = "<query xmlns='http://jabber.org/protocol/disco#info' node='http://jabber.org/protocol/muc#traffic'/>";
    assert_eq!(Cave::open().hear(&iq(WICCA, "get", query)).error(), "cancel service-unavailable");
    let unknown = "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>";
    assert_eq!(Cave::open().hear(&iq(WICCA, "get", unknown)).error(), "cancel item-not-found");
    assert_eq!(
        Cave::open().hear(&iq(WICCA, "get", "<query xmlns='urn:unknown'/>")).error(),
        "cancel service-unavailable"
    );
}

#[test]
fn s20_strangers_ask_nobody_in_the_room() {
    let mut cave = Cave::full();
    // §6.6.
    assert_eq!(cave.hear(&to_occupant(BARD, "firstwitch", "get", INFORMATION)).error(), "modify bad-request");
    assert_eq!(
        cave.hear(&to_occupant(BARD, "firstwitch", "get", "<vCard xmlns='vcard-temp'/>")).error(),
        "modify not-acceptable"
    );
    assert_eq!(cave.hear(&to_occupant(HAG, "nobody", "get", INFORMATION)).error(), "cancel item-not-found");
}

#[test]
fn a_question_is_passed_on_and_nobody_learns_an_address() {
    let mut cave = Cave::full();
    let heard = cave.hear(&to_occupant(HAG, "secondwitch", "get", INFORMATION));
    let asked = heard.0[0].clone();
    assert_eq!(asked.to, Some(jid(WICCA)));
    assert_eq!(asked.from, Some(jid(&format!("{COVEN}/thirdwitch"))));
    let id = asked.id.unwrap();
    assert_ne!(&*id, "s2c1");
    let answer = |who: &str, kind: &str| {
        format!(
            "<iq from='{who}' to='{COVEN}/thirdwitch' id='{id}' type='{kind}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
    };
    assert!(cave.hear(&answer(BARD, "result")).is_nothing(), "not from who was asked");
    let heard = cave.hear(&answer(WICCA, "result"));
    assert_eq!(
        heard.all(),
        [format!("<iq from='{COVEN}/secondwitch' to='{HAG}' id='s2c1' type='result'>{INFORMATION}</iq>")]
    );
    assert!(cave.hear(&answer(WICCA, "result")).is_nothing(), "only once");
}

#[test]
fn a_card_is_asked_from_the_account() {
    let mut cave = Cave::full();
    let heard = cave.hear(&to_occupant(HAG, "secondwitch", "get", "<vCard xmlns='vcard-temp'/>"));
    assert_eq!(heard.0[0].to, Some(jid("wiccarocks@shakespeare.lit")));
    let id = heard.0[0].id.clone().unwrap();
    let xml = format!(
        "<iq from='wiccarocks@shakespeare.lit' to='{COVEN}/thirdwitch' id='{id}' type='result'><vCard xmlns='vcard-temp'/></iq>"
    );
    assert!(cave.hear(&xml).one(HAG).contains("/secondwitch"));
}

#[test]
fn questions_wait_for_a_while_only() {
    let mut cave = Cave::full();
    let heard = cave.hear(&to_occupant(HAG, "secondwitch", "get", INFORMATION));
    let id = heard.0[0].id.clone().unwrap();
    cave.later(121);
    cave.event(Event::Time).unwrap();
    let late = format!("<iq from='{WICCA}' to='{COVEN}/thirdwitch' id='{id}' type='result'/>");
    assert!(cave.hear(&late).is_nothing());
}

#[test]
fn xep_0410_a_ping_to_oneself_tells_whether_one_is_in_the_room() {
    const PING: &str = "<ping xmlns='urn:xmpp:ping'/>";
    let mut cave = Cave::full();
    assert_eq!(
        cave.hear(&to_occupant(HAG, "thirdwitch", "get", PING)).all(),
        [format!("<iq from='{COVEN}/thirdwitch' to='{HAG}' id='s2c1' type='result'/>")]
    );
    for who in [BARD, "hag66@shakespeare.lit/other"] {
        assert!(cave.hear(&to_occupant(who, "thirdwitch", "get", PING)).error().ends_with("not-acceptable"));
    }
    assert_eq!(
        cave.hear(&to_occupant(HAG, "secondwitch", "get", PING)).order(),
        ["iq wiccarocks"],
        "to others it is passed on"
    );
    cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='unavailable'/>"));
    assert!(cave.hear(&to_occupant(HAG, "thirdwitch", "get", PING)).error().ends_with("not-acceptable"));
    assert_eq!(cave.hear(&iq(BARD, "get", PING)).result(), "");
}
