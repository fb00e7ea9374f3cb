//! Kicking, voice, moderators: XEP-0045 §7.13, §8.2 to §8.6, §9.6 to §9.8, examples 79, 89 to 109 and 137 to 150.

use super::*;

const REASON: &str = "<reason>Avaunt, you cullion!</reason>";

fn moderated() -> Cave {
    Cave::with(|configuration| configuration.moderated = true).witches()
}

#[test]
fn example_089_to_092_a_moderator_kicks() {
    let mut cave = Cave::full();
    let heard = cave.hear(&admin(WICCA, "set", &format!("<item nick='thirdwitch' role='none'>{REASON}</item>")));
    let gone = |to: &str, jid: &str, codes: &[u16]| {
        format!(
            "<presence from='{COVEN}/thirdwitch' to='{to}' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='none'{jid} role='none'><actor nick='secondwitch'/>{REASON}</item>{}</x></presence>",
            status(codes)
        )
    };
    let jid = format!(" jid='{HAG}'");
    // §8.2: first the one, then the moderator, then all others.
    assert_eq!(
        heard.all(),
        [
            gone(HAG, &jid, &[110, 307]),
            format!("<iq from='{COVEN}' to='{WICCA}' id='iq1' type='result'/>"),
            gone(CRONE, &jid, &[307]),
            gone(WICCA, &jid, &[307]),
        ]
    );
    assert_eq!(cave.room.occupants().count(), 2);
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.room.occupants().count(), 3, "a kick is no ban");
}

#[test]
fn example_093_s20_nobody_kicks_who_stands_above_him() {
    let mut cave = Cave::full();
    assert_eq!(cave.hear(&admin(WICCA, "set", "<item nick='firstwitch' role='none'/>")).error(), "cancel not-allowed");
    assert_eq!(cave.hear(&admin(HAG, "set", "<item nick='firstwitch' role='none'/>")).error(), "auth forbidden");
    assert_eq!(cave.hear(&admin(BARD, "set", "<item nick='firstwitch' role='none'/>")).error(), "auth forbidden");
    assert_eq!(cave.hear(&admin(BARD, "set", "<item nick='nobody' role='none'/>")).error(), "auth forbidden");
    assert_eq!(cave.hear(&admin(WICCA, "set", "<item nick='nobody' role='none'/>")).error(), "cancel item-not-found");
    assert_eq!(cave.hear(&admin(WICCA, "set", "<item nick='secondwitch' role='none'/>")).error(), "cancel conflict");
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn all_devices_of_who_is_kicked_go() {
    let mut cave = Cave::full();
    cave.join("hag66@shakespeare.lit/phone", "thirdwitch");
    let heard = cave.hear(&admin(WICCA, "set", "<item nick='thirdwitch' role='none'/>"));
    for device in [HAG, "hag66@shakespeare.lit/phone"] {
        assert!(heard.one(device).contains(&status(&[110, 307])));
    }
    assert_eq!(cave.room.occupants().count(), 2);
}

#[test]
fn example_079_108_109_a_visitor_asks_for_voice_and_gets_it() {
    let mut cave = moderated();
    let ask = |who: &str| {
        format!(
            "<message from='{who}' to='{COVEN}' id='yd53c486'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role' type='list-single' \
             label='Requested role'><value>participant</value></field></x></message>"
        )
    };
    let heard = cave.hear(&ask(HAG));
    assert_eq!(heard.order(), ["message crone1", "message wiccarocks"], "moderators are asked");
    let form = heard.one(CRONE);
    for part in
        ["type='form'", "<title>Voice request</title>", HAG, "thirdwitch", "muc#request_allow", "<value>false</value>"]
    {
        assert!(form.contains(part), "{part} in {form}");
    }
    assert_eq!(cave.hear(&ask(WICCA)).error(), "modify not-acceptable", "who has a voice needs none");
    assert_eq!(cave.hear(&ask(BARD)).error(), "modify not-acceptable");
    let submit = |who: &str, jid: &str, allow: &str| {
        format!(
            "<message from='{who}' to='{COVEN}' id='approve'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/muc#request</value></field>\
             <field var='muc#role'><value>participant</value></field><field var='muc#jid'><value>{jid}</value></field>\
             <field var='muc#roomnick'><value>thirdwitch</value></field><field var='muc#request_allow'>\
             <value>{allow}</value></field></x></message>"
        )
    };
    assert!(cave.hear(&submit(CRONE, HAG, "false")).is_nothing());
    assert_eq!(
        cave.hear(&submit(CRONE, HECATE, "true")).error(),
        "cancel item-not-found",
        "somebody else is called so"
    );
    assert_eq!(cave.hear(&submit(HAG, HAG, "true")).error(), "auth forbidden", "nobody approves of himself");
    let heard = cave.hear(&submit(CRONE, HAG, "true"));
    assert!(heard.one(WICCA).contains("role='participant'"));
    assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).0.len(), 3);
}

#[test]
fn example_094_to_097_voice_is_granted() {
    let mut cave = moderated();
    let heard = cave.hear(&admin(
        CRONE,
        "set",
        "<item nick='thirdwitch' role='participant'><reason>A worthy witch indeed!</reason></item>",
    ));
    assert_eq!(heard.all()[0], format!("<iq from='{COVEN}' to='{CRONE}' id='iq1' type='result'/>"));
    assert_eq!(
        heard.by(CRONE)[1],
        format!(
            "<presence from='{COVEN}/thirdwitch' to='{CRONE}'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='none' jid='{HAG}' role='participant'><reason>A worthy witch indeed!</reason></item></x></presence>"
        )
    );
    assert!(heard.one(HAG).contains(&status(&[110])));
    // §5.1: it lasts as long as the discussion.
    cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='unavailable'/>"));
    cave.join(HAG, "thirdwitch");
    assert!(cave.present().contains(&"thirdwitch none participant".to_owned()));
}

#[test]
fn example_098_to_101_voice_is_revoked() {
    let mut cave = Cave::full();
    let heard = cave.hear(&admin(
        CRONE,
        "set",
        "<item nick='thirdwitch' role='visitor'><reason>Not so worthy after all!</reason></item>",
    ));
    assert!(heard.one(WICCA).contains("role='visitor'><reason>Not so worthy after all!</reason>"));
    assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).error(), "auth forbidden");
    // Leaving and entering does not bring it back.
    cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='unavailable'/>"));
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).error(), "auth forbidden");
}

#[test]
fn example_102_107_s20_nobody_takes_the_voice_of_admins() {
    let mut cave = Cave::full();
    for who in [CRONE, WICCA] {
        for nick in ["firstwitch", "secondwitch"] {
            let item = format!("<item nick='{nick}' role='visitor'/>");
            assert_eq!(cave.hear(&admin(who, "set", &item)).error(), "cancel not-allowed", "{who} {nick}");
        }
    }
    // One that is not allowed takes all with it.
    let items = "<item nick='thirdwitch' role='visitor'/><item nick='firstwitch' role='visitor'/>";
    assert_eq!(cave.hear(&admin(WICCA, "set", items)).error(), "cancel not-allowed");
    assert!(cave.present().contains(&"thirdwitch none participant".to_owned()));
}

#[test]
fn example_103_to_106_the_voice_list() {
    let mut cave = moderated();
    cave.join(HECATE, "hecate");
    cave.hear(&admin(CRONE, "set", "<item nick='hecate' role='participant'/>"));
    let list = cave.hear(&admin(CRONE, "get", "<item role='participant'/>")).result();
    assert_eq!(
        list,
        format!(
            "<query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item affiliation='none' jid='{HECATE}' nick='hecate' role='participant'/></query>"
        )
    );
    let heard = cave.hear(&admin(
        CRONE,
        "set",
        "<item nick='hecate' role='visitor'/><item nick='thirdwitch' role='participant'/>",
    ));
    assert_eq!(heard.by(WICCA).len(), 2);
    assert!(cave.present().contains(&"hecate none visitor".to_owned()));
    assert!(cave.present().contains(&"thirdwitch none participant".to_owned()));
    assert_eq!(cave.hear(&admin(HAG, "get", "<item role='participant'/>")).error(), "auth forbidden");
    assert_eq!(cave.hear(&admin(BARD, "get", "<item role='visitor'/>")).error(), "auth forbidden");
}

#[test]
fn example_137_to_140_an_admin_makes_a_moderator_who_sees_more_then() {
    let mut cave = Cave::full();
    cave.join(HECATE, "hecate");
    let heard = cave.hear(&admin(WICCA, "set", "<item nick='thirdwitch' role='moderator'/>"));
    let item = format!("affiliation='none' jid='{HAG}' role='moderator'");
    assert_eq!(heard.one(CRONE), presence("thirdwitch", CRONE, "", &item, ""));
    assert!(heard.by(HAG).iter().any(|stanza| stanza.contains(HECATE)), "he learns the addresses");
    assert!(!heard.one(HECATE).contains(HAG));
}

#[test]
fn example_141_to_145_an_admin_unmakes_a_moderator_but_no_admin() {
    let mut cave = Cave::full();
    cave.hear(&admin(WICCA, "set", "<item nick='thirdwitch' role='moderator'/>"));
    let heard = cave.hear(&admin(
        WICCA,
        "set",
        "<item nick='thirdwitch' role='participant'><reason>Not so worthy after all!</reason></item>",
    ));
    assert!(heard.one(CRONE).contains("role='participant'"));
    for nick in ["firstwitch", "secondwitch"] {
        let item = format!("<item nick='{nick}' role='participant'/>");
        assert_eq!(cave.hear(&admin(WICCA, "set", &item)).error(), "cancel not-allowed");
    }
    cave.hear(&admin(WICCA, "set", "<item nick='thirdwitch' role='moderator'/>"));
    assert_eq!(cave.hear(&admin(HAG, "set", "<item nick='secondwitch' role='none'/>")).error(), "cancel not-allowed");
}

#[test]
fn example_146_to_150_the_moderator_list() {
    let mut cave = Cave::full();
    let list = cave.hear(&admin(WICCA, "get", "<item role='moderator'/>")).result();
    assert!(list.contains("nick='firstwitch' role='moderator'") && list.contains("nick='secondwitch'"), "{list}");
    assert_eq!(cave.hear(&admin(HAG, "get", "<item role='moderator'/>")).error(), "auth forbidden");
    cave.join(HECATE, "hecate");
    cave.hear(&admin(WICCA, "set", "<item nick='thirdwitch' role='moderator'/>"));
    assert_eq!(cave.hear(&admin(HAG, "get", "<item role='moderator'/>")).error(), "auth forbidden", "§9.8: for admins");
    let heard = cave.hear(&admin(
        WICCA,
        "set",
        "<item nick='thirdwitch' role='participant'/><item nick='hecate' role='moderator'/>",
    ));
    assert!(!heard.0[0].is_error());
    let items = "<item nick='hecate' role='participant'/><item nick='firstwitch' role='participant'/>";
    assert_eq!(cave.hear(&admin(WICCA, "set", items)).error(), "cancel not-allowed");
    assert!(cave.present().contains(&"hecate none moderator".to_owned()));
}

#[test]
fn s20_roles_and_affiliations_are_not_mixed() {
    let mut cave = Cave::full();
    for items in [
        "",
        "<item nick='thirdwitch'/>",
        "<item nick='thirdwitch' role='king'/>",
        "<item role='visitor'/>",
        "<item nick='thirdwitch' role='visitor' affiliation='member'/>",
        "<item nick='thirdwitch' role='visitor'/><item jid='hag66@shakespeare.lit' affiliation='member'/>",
        "<item affiliation='member'/>",
        "<item jid='hag66@shakespeare.lit' affiliation='pope'/>",
    ] {
        assert_eq!(cave.hear(&admin(CRONE, "set", items)).error(), "modify bad-request", "{items}");
    }
    for items in [
        "",
        "<item/>",
        "<item role='none'/>",
        "<item affiliation='none'/>",
        "<item role='visitor'/><item role='visitor'/>",
    ] {
        assert_eq!(cave.hear(&admin(CRONE, "get", items)).error(), "modify bad-request", "{items}");
    }
    assert!(cave.changes.is_empty());
}
