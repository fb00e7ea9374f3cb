//! Making, configuring and destroying rooms, owners and admins: XEP-0045 §10, examples 152 to 204.

use super::*;
use crate::configuration::Preset;

fn owner(who: &str, kind: &str, inside: &str) -> String {
    iq(who, kind, &format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{inside}</query>"))
}

fn submit(fields: &[(&str, &[&str])]) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, values)| {
            let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
            format!("<field var='{name}'>{values}</field>")
        })
        .collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value>\
         </field>{fields}</x>"
    )
}

fn notice(to: &str, codes: &[u16]) -> String {
    format!(
        "<message from='{COVEN}' to='{to}' type='groupchat'><x xmlns='http://jabber.org/protocol/muc#user'>{}</x></message>",
        status(codes)
    )
}

const INSTANT: &str = "<x xmlns='jabber:x:data' type='submit'/>";

#[test]
fn example_153_to_155_an_instant_room_is_made() {
    let mut cave = Cave::new_room(Settings { new_rooms: Preset::Temporary, ..patient() });
    let heard = cave.join(CRONE, "firstwitch");
    assert!(heard.by(CRONE)[0].contains("affiliation='owner'"));
    assert!(heard.by(CRONE)[0].contains(&status(&[100, 110, 170, 201])), "{:?}", heard.by(CRONE));
    assert!(cave.changes.is_empty(), "nothing is kept of a locked room");
    assert_eq!(
        cave.hear(&iq(HAG, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")).error(),
        "cancel item-not-found"
    );
    assert_eq!(cave.hear(&groupchat(CRONE, "<body>x</body>")).error(), "cancel item-not-found");
    let heard = cave.hear(&owner(CRONE, "set", INSTANT));
    assert_eq!(heard.all(), [format!("<iq from='{COVEN}' to='{CRONE}' id='iq1' type='result'/>")]);
    assert!(matches!(cave.changes.as_slice(), [Change::Created(records)] if records.affiliations.has_owner()));
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.room.occupants().count(), 2);
}

#[test]
fn new_rooms_are_what_the_operator_says() {
    for (preset, enters) in [(Preset::PrivateGroup, false), (Preset::PublicChannel, true), (Preset::Temporary, true)] {
        let mut cave = Cave::new_room(Settings { new_rooms: preset, ..patient() });
        cave.join(CRONE, "firstwitch");
        cave.hear(&owner(CRONE, "set", INSTANT));
        assert_eq!(!cave.join(HAG, "thirdwitch").0[0].is_error(), enters, "{preset:?}");
    }
}

#[test]
fn example_156_157_159_160_a_reserved_room_is_made() {
    let mut cave = Cave::new_room(patient());
    cave.join(CRONE, "firstwitch");
    let form = cave.hear(&owner(CRONE, "get", "")).result();
    for field in [
        "roomname",
        "roomdesc",
        "lang",
        "enablelogging",
        "changesubject",
        "allowinvites",
        "allowpm",
        "maxusers",
        "presencebroadcast",
        "getmemberlist",
        "publicroom",
        "persistentroom",
        "moderatedroom",
        "membersonly",
        "passwordprotectedroom",
        "roomsecret",
        "whois",
        "roomadmins",
        "roomowners",
    ] {
        assert!(form.contains(&format!("var='muc#roomconfig_{field}'")), "{field}");
    }
    let heard = cave.hear(&owner(
        CRONE,
        "set",
        &submit(&[
            ("muc#roomconfig_roomname", &["A Dark Cave"]),
            ("muc#roomconfig_membersonly", &["0"]),
            ("muc#roomconfig_maxusers", &["10"]),
            ("muc#roomconfig_passwordprotectedroom", &["1"]),
            ("muc#roomconfig_roomsecret", &["cauldronburn"]),
            ("muc#roomconfig_whois", &["moderators"]),
            ("muc#roomconfig_roomadmins", &["wiccarocks@shakespeare.lit", "hecate@shakespeare.lit"]),
        ]),
    ));
    assert!(heard.all().contains(&format!("<iq from='{COVEN}' to='{CRONE}' id='iq1' type='result'/>")));
    assert!(matches!(cave.changes.as_slice(), [Change::Created(records)]
        if records.configuration.name == "A Dark Cave" && records.affiliations.with(Affiliation::Admin).count() == 2));
    cave.hear(&join(WICCA, "secondwitch", "<password>cauldronburn</password>"));
    assert!(cave.present().contains(&"secondwitch admin moderator".to_owned()));
}

#[test]
fn example_161_options_that_cannot_be_change_nothing() {
    let mut cave = Cave::new_room(patient());
    cave.join(CRONE, "firstwitch");
    let bad = submit(&[("muc#roomconfig_passwordprotectedroom", &["1"]), ("muc#roomconfig_roomsecret", &[""])]);
    assert_eq!(cave.hear(&owner(CRONE, "set", &bad)).error(), "modify not-acceptable");
    assert!(cave.room.is_locked() && cave.changes.is_empty());
}

#[test]
fn example_162_a_room_that_is_not_wanted_is_gone() {
    let mut cave = Cave::new_room(patient());
    cave.join(CRONE, "firstwitch");
    let heard = cave.hear(&owner(CRONE, "set", "<x xmlns='jabber:x:data' type='cancel'/>"));
    assert!(heard.by(CRONE)[0].contains("<destroy/>"));
    assert!(cave.is_over && cave.changes.is_empty());
    // The same when its maker goes, or never answers.
    let mut cave = Cave::new_room(patient());
    cave.join(CRONE, "firstwitch");
    cave.hear(&format!("<presence from='{CRONE}' to='{COVEN}/firstwitch' type='unavailable'/>"));
    assert!(cave.is_over);
    let mut cave = Cave::new_room(patient());
    cave.join(CRONE, "firstwitch");
    cave.later(301);
    assert!(cave.event(Event::Time).unwrap().by(CRONE)[0].contains("<destroy/>"));
    assert!(cave.is_over && cave.changes.is_empty());
}

#[test]
fn example_163_to_166_only_owners_see_and_change_the_configuration() {
    let mut cave = Cave::full();
    for who in [WICCA, HAG, BARD] {
        assert_eq!(cave.hear(&owner(who, "get", "")).error(), "auth forbidden");
        assert_eq!(cave.hear(&owner(who, "set", INSTANT)).error(), "auth forbidden");
    }
    assert!(cave.hear(&owner(CRONE, "get", "")).result().contains("<value>A Dark Cave</value>"));
    cave.hear(&owner(CRONE, "set", "<x xmlns='jabber:x:data' type='cancel'/>"));
    assert!(cave.changes.is_empty() && !cave.is_over);
    assert_eq!(cave.hear(&owner(CRONE, "set", "")).error(), "modify bad-request");
}

#[test]
fn example_167_to_170_the_lists_in_the_form_are_the_lists() {
    let mut cave = Cave::full();
    let heard = cave.hear(&owner(
        CRONE,
        "set",
        &submit(&[
            ("muc#roomconfig_roomadmins", &["hag66@shakespeare.lit"]),
            ("muc#roomconfig_roomowners", &["crone1@shakespeare.lit"]),
        ]),
    ));
    let item =
        |affiliation: &str, jid: &str, role: &str| format!("affiliation='{affiliation}' jid='{jid}' role='{role}'");
    let by_crone = heard.by(CRONE);
    assert!(
        by_crone.contains(&presence("secondwitch", CRONE, "", &item("member", WICCA, "participant"), "")),
        "{by_crone:#?}"
    );
    assert!(
        by_crone.contains(&presence("thirdwitch", CRONE, "", &item("admin", HAG, "moderator"), "")),
        "{by_crone:#?}"
    );
    let heard = cave.hear(&owner(
        CRONE,
        "set",
        &submit(&[("muc#roomconfig_roomowners", &["crone1@shakespeare.lit", "hag66@shakespeare.lit"])]),
    ));
    assert!(heard.by(WICCA)[0].contains("affiliation='owner'"));
    let heard = cave.hear(&owner(HAG, "set", &submit(&[("muc#roomconfig_roomowners", &["hag66@shakespeare.lit"])])));
    assert!(heard.by(WICCA)[0].contains("affiliation='admin'"), "example 169");
    assert_eq!(
        cave.present(),
        ["firstwitch admin moderator", "secondwitch member participant", "thirdwitch owner moderator"]
    );
    let none = submit(&[("muc#roomconfig_roomowners", &[])]);
    assert_eq!(cave.hear(&owner(HAG, "set", &none)).error(), "cancel conflict");
}

#[test]
fn example_171_all_are_told_what_has_changed() {
    let mut cave = Cave::full();
    let mut change = |name: &str, value: &str| {
        let heard = cave.hear(&owner(CRONE, "set", &submit(&[(name, &[value])])));
        heard.by(HAG)
    };
    assert_eq!(change("muc#roomconfig_whois", "anyone"), [notice(HAG, &[172])]);
    assert_eq!(change("muc#roomconfig_whois", "moderators"), [notice(HAG, &[173])]);
    assert_eq!(change("muc#roomconfig_roomname", "B"), [notice(HAG, &[104])]);
    assert_eq!(change("muc#roomconfig_enablearchiving", "1"), [notice(HAG, &[104, 170])]);
    assert_eq!(change("muc#roomconfig_enablearchiving", "0"), [notice(HAG, &[104, 171])]);
    assert!(change("muc#roomconfig_roomname", "B").is_empty(), "nothing has changed");
    assert!(matches!(cave.changes.last(), Some(Change::Configured(_))));
}

#[test]
fn who_is_no_member_leaves_when_the_room_becomes_members_only() {
    let mut cave = Cave::full();
    let heard = cave.hear(&owner(CRONE, "set", &submit(&[("muc#roomconfig_membersonly", &["1"])])));
    let item = format!("affiliation='none' jid='{HAG}' role='none'");
    assert!(heard.by(HAG).contains(&presence("thirdwitch", HAG, "unavailable", &item, &status(&[110, 322]))));
    assert!(heard.by(WICCA).contains(&presence("thirdwitch", WICCA, "unavailable", &item, &status(&[322]))));
    assert_eq!(cave.room.occupants().count(), 2);
}

#[test]
fn everyone_has_a_voice_when_a_room_is_no_more_moderated() {
    let mut cave = Cave::with(|configuration| configuration.moderated = true).witches();
    let heard = cave.hear(&owner(CRONE, "set", &submit(&[("muc#roomconfig_moderatedroom", &["0"])])));
    assert!(heard.by(HAG).iter().any(|stanza| stanza.contains("role='participant'")));
    assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).0.len(), 3);
}

#[test]
fn an_empty_room_that_becomes_temporary_is_over() {
    let mut cave = Cave::open();
    cave.hear(&owner(CRONE, "set", &submit(&[("muc#roomconfig_persistentroom", &["0"])])));
    assert!(cave.is_over);
}

#[test]
fn example_172_to_176_owners_make_owners() {
    let mut cave = Cave::full();
    assert_eq!(
        cave.hear(&admin(WICCA, "set", "<item affiliation='owner' jid='hecate@shakespeare.lit'/>")).error(),
        "auth forbidden"
    );
    let heard = cave.hear(&admin(
        CRONE,
        "set",
        "<item affiliation='owner' jid='hag66@shakespeare.lit/pda'><reason>A worthy witch indeed!</reason></item>",
    ));
    assert!(heard.one(WICCA).contains(&format!("<item affiliation='owner' jid='{HAG}' role='moderator'>")));
    // One who is not here: those who may see the list are told.
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='owner' jid='hecate@shakespeare.lit'/>"));
    let told = |to: &str| {
        format!(
            "<message from='{COVEN}' to='{to}'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='owner' jid='hecate@shakespeare.lit' role='none'/></x></message>"
        )
    };
    assert!(heard.by(CRONE).contains(&told(CRONE)) && heard.by(HAG).contains(&told(HAG)));
    assert!(heard.by(WICCA).is_empty(), "§10.5: an admin of a semi-anonymous room does not see who owns it");
}

#[test]
fn example_177_to_185_s20_there_is_always_an_owner() {
    let mut cave = Cave::full();
    for affiliation in ["admin", "member", "none"] {
        let item = format!("<item affiliation='{affiliation}' jid='crone1@shakespeare.lit'/>");
        assert_eq!(cave.hear(&admin(CRONE, "set", &item)).error(), "cancel conflict");
    }
    cave.hear(&admin(CRONE, "set", "<item affiliation='owner' jid='hecate@shakespeare.lit'/>"));
    assert_eq!(
        cave.hear(&admin(CRONE, "get", "<item affiliation='owner'/>")).result(),
        "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='owner' jid='crone1@shakespeare.lit'/>\
         <item affiliation='owner' jid='hecate@shakespeare.lit'/></query>"
    );
    assert_eq!(cave.hear(&admin(WICCA, "get", "<item affiliation='owner'/>")).error(), "auth forbidden");
    assert_eq!(
        cave.hear(&admin(HAG, "set", "<item affiliation='owner' jid='bard@elsewhere.lit'/>")).error(),
        "auth forbidden"
    );
    // Both at once is one too many.
    let both = "<item affiliation='none' jid='crone1@shakespeare.lit'/><item affiliation='none' jid='hecate@shakespeare.lit'/>";
    assert_eq!(cave.hear(&admin(CRONE, "set", both)).error(), "cancel conflict");
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='admin' jid='crone1@shakespeare.lit'/>"));
    let item = format!("affiliation='admin' jid='{CRONE}' role='moderator'");
    assert_eq!(heard.one(WICCA), presence("firstwitch", WICCA, "", &item, ""));
}

#[test]
fn example_186_to_200_owners_make_and_unmake_admins() {
    let mut cave = Cave::full();
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='admin' jid='hag66@shakespeare.lit'/>"));
    let item = format!("affiliation='admin' jid='{HAG}' role='moderator'");
    assert_eq!(heard.one(WICCA), presence("thirdwitch", WICCA, "", &item, ""));
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='none' jid='wiccarocks@shakespeare.lit'/>"));
    let item = format!("affiliation='none' jid='{WICCA}' role='participant'");
    assert_eq!(heard.one(HAG), presence("secondwitch", HAG, "", &item, ""));
    let list = cave.hear(&admin(CRONE, "get", "<item affiliation='admin'/>")).result();
    assert!(list.contains("hag66@shakespeare.lit") && !list.contains("wiccarocks"), "{list}");
    assert_eq!(cave.hear(&admin(HAG, "get", "<item affiliation='admin'/>")).error(), "auth forbidden");
    for who in [HAG, WICCA] {
        let heard = cave.hear(&admin(who, "set", "<item affiliation='admin' jid='hecate@shakespeare.lit'/>"));
        assert_eq!(heard.error(), "auth forbidden");
    }
    let items = "<item affiliation='none' jid='hag66@shakespeare.lit'/><item affiliation='admin' jid='hecate@shakespeare.lit'/>";
    assert!(!cave.hear(&admin(CRONE, "set", items)).0[0].is_error());
}

#[test]
fn example_201_to_203_an_owner_destroys_the_room() {
    let mut cave = Cave::full();
    let destroy = "<destroy jid='heath@chat.shakespeare.lit'><reason>Macbeth doth come.</reason></destroy>";
    let heard = cave.hear(&owner(CRONE, "set", destroy));
    let gone = |nick: &str, to: &str| {
        format!(
            "<presence from='{COVEN}/{nick}' to='{to}' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='none' role='none'/>{destroy}</x></presence>"
        )
    };
    assert_eq!(
        heard.all(),
        [
            gone("firstwitch", CRONE),
            gone("secondwitch", WICCA),
            gone("thirdwitch", HAG),
            format!("<iq from='{COVEN}' to='{CRONE}' id='iq1' type='result'/>"),
        ]
    );
    assert!(cave.is_over);
    assert!(matches!(cave.changes.as_slice(), [Change::Destroyed { sealed: true }]));
}

#[test]
fn example_204_nobody_else_does() {
    let mut cave = Cave::full();
    for who in [WICCA, HAG, BARD] {
        assert_eq!(cave.hear(&owner(who, "set", "<destroy/>")).error(), "auth forbidden");
    }
    assert!(!cave.is_over);
}
