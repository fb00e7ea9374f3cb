//! Entering a room: XEP-0045 §7.1 and §7.2, examples 18 to 43.

use super::*;

const USER: &str = "http://jabber.org/protocol/muc#user";

#[test]
fn example_018_020_021_who_enters_sees_all_and_all_see_him() {
    let mut cave = Cave::open();
    cave.join(CRONE, "firstwitch");
    cave.join(WICCA, "secondwitch");
    let heard = cave.join(HAG, "thirdwitch");
    assert_eq!(
        heard.by(HAG),
        [
            presence("firstwitch", HAG, "", "affiliation='owner' role='moderator'", ""),
            presence("secondwitch", HAG, "", "affiliation='admin' role='moderator'", ""),
            presence(
                "thirdwitch",
                HAG,
                "",
                &format!("affiliation='none' jid='{HAG}' role='participant'"),
                &status(&[110])
            )
            .replace(&format!("to='{HAG}'>"), &format!("to='{HAG}' id='n13mt3l'>")),
            format!("<message from='{COVEN}' to='{HAG}' type='groupchat'><subject/></message>"),
        ]
    );
    // §7.2.4: moderators see the address.
    let item = format!("affiliation='none' jid='{HAG}' role='participant'");
    assert_eq!(heard.one(CRONE), presence("thirdwitch", CRONE, "", &item, ""));
    assert_eq!(heard.one(WICCA), presence("thirdwitch", WICCA, "", &item, ""));
    assert_eq!(
        cave.present(),
        ["firstwitch owner moderator", "secondwitch admin moderator", "thirdwitch none participant"]
    );
}

#[test]
fn example_019_a_nickname_is_needed() {
    let heard = Cave::open().hear(&format!(
        "<presence from='{HAG}' to='{COVEN}' id='273hs51g'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    ));
    assert_eq!(heard.error(), "modify jid-malformed");
    assert!(heard.all()[0].contains(&format!("by='{COVEN}'")));
}

#[test]
fn example_022_the_room_may_give_another_nickname() {
    let mut cave = Cave::full();
    // Another device under a name that a person takes for the same: it gets the one that is there.
    let heard = cave.join("hag66@shakespeare.lit/phone", "ThirdWitch");
    let own = heard.by("hag66@shakespeare.lit/phone");
    assert!(own[2].starts_with(&format!("<presence from='{COVEN}/thirdwitch'")), "{}", own[2]);
    assert!(own[2].contains(&status(&[110, 210])), "{}", own[2]);
}

#[test]
fn example_023_024_everyone_sees_addresses_in_a_non_anonymous_room_and_is_warned() {
    let mut cave = Cave::with(|configuration| configuration.whois = Whois::Anyone);
    cave.join(HECATE, "hecate");
    let heard = cave.join(HAG, "thirdwitch");
    let item = format!("affiliation='none' jid='{HAG}' role='participant'");
    assert_eq!(heard.one(HECATE), presence("thirdwitch", HECATE, "", &item, ""));
    let own = heard.by(HAG);
    assert_eq!(
        own[0],
        presence("hecate", HAG, "", &format!("affiliation='none' jid='{HECATE}' role='participant'"), "")
    );
    assert!(own[1].contains(&status(&[100, 110])), "{}", own[1]);
}

#[test]
fn example_025_026_a_password_is_needed() {
    let mut cave = Cave::with(|configuration| configuration.password = Some("cauldronburn".to_owned()));
    let heard = cave.join(HAG, "thirdwitch");
    assert_eq!(heard.error(), "auth not-authorized");
    assert_eq!(
        heard.one(HAG),
        format!(
            "<presence from='{COVEN}/thirdwitch' to='{HAG}' id='n13mt3l' type='error'><x xmlns='http://jabber.org/protocol/muc'/>\
             <error type='auth' by='{COVEN}'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>this room needs a password</text></error></presence>"
        )
    );
    assert_eq!(cave.hear(&join(HAG, "thirdwitch", "<password>wrong</password>")).error(), "auth not-authorized");
    cave.hear(&join(HAG, "thirdwitch", "<password>cauldronburn</password>"));
    assert_eq!(cave.present(), ["thirdwitch none participant"]);
}

#[test]
fn example_027_a_members_only_room_is_for_members() {
    let mut cave = Cave::with(|configuration| configuration.members_only = true);
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "auth registration-required");
    cave.affiliate(HAG, Affiliation::Member, None);
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.present(), ["thirdwitch member participant"]);
}

#[test]
fn example_028_s20_whoever_is_banned_stays_outside_however_he_writes_his_name() {
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Outcast, None);
    for spelling in [HAG, "HAG66@Shakespeare.lit/pda", "ｈａｇ66@shakespeare.lit/other"] {
        assert_eq!(cave.join(spelling, "thirdwitch").error(), "auth forbidden", "{spelling}");
    }
    cave.affiliate("elsewhere.lit", Affiliation::Outcast, None);
    assert_eq!(cave.join(BARD, "bard").error(), "auth forbidden");
    assert!(cave.present().is_empty());
}

#[test]
fn example_029_s20_a_nickname_belongs_to_one_person() {
    let mut cave = Cave::full();
    for nick in ["thirdwitch", "ThirdWitch", "thirdwitch ", "ｔｈｉｒｄｗｉｔｃｈ"] {
        assert_eq!(cave.join(HECATE, nick).error(), "cancel conflict", "{nick}");
    }
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, Some("thirdwitch"));
    assert_eq!(cave.join(HECATE, "ThirdWitch").error(), "cancel conflict", "reserved");
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.present(), ["thirdwitch member participant"]);
}

#[test]
fn several_devices_of_one_person_share_a_nickname() {
    let mut cave = Cave::full();
    let phone = "hag66@shakespeare.lit/phone";
    let heard = cave.join(phone, "thirdwitch");
    assert_eq!(heard.by(phone).len(), 4, "two others, himself, the subject");
    assert_eq!(heard.by(CRONE).len(), 1, "it shows itself from now on");
    assert!(heard.by(HAG).is_empty());
    assert_eq!(cave.room.occupants().count(), 3);
    // All of them hear, all of them may speak.
    let heard = cave.hear(&groupchat(phone, "<body>x</body>"));
    assert_eq!((heard.by(HAG).len(), heard.by(phone).len()), (1, 1));
    // The first leaves: he is still there.
    let heard = cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='unavailable'/>"));
    assert!(heard.one(HAG).contains("type='unavailable'"));
    assert!(heard.by(CRONE).is_empty());
    assert_eq!(cave.room.occupants().count(), 3);
    let heard = cave.hear(&format!("<presence from='{phone}' to='{COVEN}/thirdwitch' type='unavailable'/>"));
    assert!(heard.one(CRONE).contains("role='none'"));
    assert_eq!(cave.room.occupants().count(), 2);
}

#[test]
fn devices_are_bounded() {
    let mut cave = Cave::of(records(configuration()), Settings { devices: Count::of(2), ..patient() });
    cave.join("hag66@shakespeare.lit/1", "thirdwitch");
    cave.join("hag66@shakespeare.lit/2", "thirdwitch");
    assert_eq!(cave.join("hag66@shakespeare.lit/3", "thirdwitch").error(), "wait resource-constraint");
}

#[test]
fn example_030_the_hundred_and_first_does_not_come_in() {
    let mut cave = Cave::open();
    for number in 0..100 {
        cave.join(&format!("user{number}@elsewhere.lit/x"), &format!("user{number}"));
    }
    assert_eq!(cave.room.occupants().count(), 100);
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "wait service-unavailable");
    // Another device of one who is in it needs no place.
    cave.join("user5@elsewhere.lit/y", "user5");
    assert_eq!(cave.room.occupants().count(), 100);
}

#[test]
fn an_admin_finds_a_place_and_nobody_affiliated_loses_his() {
    let mut cave = Cave::of(records(configuration()), places(3));
    cave.affiliate(HECATE, Affiliation::Member, None);
    cave.join(HECATE, "hecate");
    cave.join(HAG, "thirdwitch");
    cave.later(10);
    cave.join(BARD, "bard");
    cave.later(10);
    cave.hear(&groupchat(HAG, "<body>I am not silent</body>"));
    // A member finds none.
    assert_eq!(cave.join("other@shakespeare.lit/x", "other").error(), "wait service-unavailable");
    let heard = cave.join(WICCA, "secondwitch");
    assert!(heard.by(BARD)[0].contains("The room is full."), "{:?}", heard.by(BARD));
    assert_eq!(
        cave.present(),
        ["hecate member participant", "secondwitch admin moderator", "thirdwitch none participant"]
    );
    cave.join(CRONE, "firstwitch");
    assert_eq!(
        cave.present(),
        ["firstwitch owner moderator", "hecate member participant", "secondwitch admin moderator"]
    );
    // All places belong to somebody who is affiliated.
    cave.hear(&admin(CRONE, "set", "<item affiliation='admin' jid='hag66@shakespeare.lit'/>"));
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "wait service-unavailable");
}

#[test]
fn the_owner_may_set_a_smaller_number_which_does_not_bind_admins() {
    let mut cave = Cave::with(|configuration| configuration.most_occupants = 1);
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.join(HECATE, "hecate").error(), "wait service-unavailable");
    cave.join(WICCA, "secondwitch");
    cave.join(CRONE, "firstwitch");
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn example_031_nobody_enters_a_locked_room() {
    let mut cave = Cave::new_room(patient());
    cave.join(CRONE, "firstwitch");
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "cancel item-not-found");
}

#[test]
fn example_032_who_enters_is_told_that_everyone_may_read_the_archive() {
    let mut cave = Cave::with(|configuration| {
        configuration.archiving = true;
        configuration.whois = Whois::Anyone;
    });
    assert!(cave.join(HAG, "thirdwitch").by(HAG)[0].contains(&status(&[100, 110, 170])));
    // What only members may read is not public.
    let mut cave = Cave::with(|configuration| {
        configuration.archiving = true;
        configuration.members_only = true;
    });
    assert!(cave.join(CRONE, "firstwitch").by(CRONE)[0].contains(&format!("{}</x>", status(&[110]))));
}

#[test]
fn example_033_034_history_comes_before_the_subject() {
    let mut cave = Cave::full();
    cave.hear(&groupchat(CRONE, "<body>Thrice the brinded cat hath mew'd.</body>"));
    cave.hear(&groupchat(WICCA, "<subject>Fire Burn and Cauldron Bubble!</subject>"));
    cave.hear(&groupchat(HAG, "<composing xmlns='http://jabber.org/protocol/chatstates'/>"));
    let heard = cave.join(HECATE, "hecate").by(HECATE);
    assert_eq!(heard.len(), 6, "{heard:#?}");
    assert_eq!(
        heard[4],
        format!(
            "<message from='{COVEN}/firstwitch' to='{HECATE}' id='hysf1v37' type='groupchat'>\
             <body>Thrice the brinded cat hath mew'd.</body>\
             <delay xmlns='urn:xmpp:delay' from='{COVEN}' stamp='2023-11-14T22:13:20.000Z'/></message>"
        )
    );
    assert!(heard[3].contains(USER) && heard[5].contains("<subject>Fire"), "{heard:#?}");
}

#[test]
fn example_035_to_039_history_is_limited_as_wished() {
    let mut cave = Cave::full();
    for number in 0..5 {
        cave.hear(&groupchat(CRONE, &format!("<body>{number}</body>")));
        cave.later(60);
    }
    let mut count = |nick: &str, history: &str| {
        let heard = cave.hear(&join(&format!("{nick}@elsewhere.lit/x"), nick, history));
        heard.by(&format!("{nick}@elsewhere.lit/x")).iter().filter(|stanza| stanza.contains("<body>")).count()
    };
    assert_eq!(count("a", "<history maxchars='65000'/>"), 5);
    assert_eq!(count("b", "<history maxstanzas='2'/>"), 2);
    assert_eq!(count("c", "<history seconds='180'/>"), 3);
    assert_eq!(count("d", "<history since='1970-01-01T00:00:00Z'/>"), 5);
    assert_eq!(count("e", "<history maxchars='0'/>"), 0);
}

#[test]
fn example_040_041_the_subject_ends_the_entry() {
    let mut cave = Cave::full();
    let last = cave.join(HECATE, "hecate").by(HECATE).pop().unwrap();
    assert_eq!(last, format!("<message from='{COVEN}' to='{HECATE}' type='groupchat'><subject/></message>"));
    cave.hear(&groupchat(WICCA, "<subject>Fire Burn and Cauldron Bubble!</subject>"));
    let last = cave.join(BARD, "bard").by(BARD).pop().unwrap();
    assert_eq!(
        last,
        format!(
            "<message from='{COVEN}/secondwitch' to='{BARD}' id='hysf1v37' type='groupchat'>\
             <subject>Fire Burn and Cauldron Bubble!</subject>\
             <delay xmlns='urn:xmpp:delay' from='{COVEN}' stamp='2023-11-14T22:13:20.000Z'/></message>"
        )
    );
}

#[test]
fn example_042_043_who_only_believes_to_be_in_the_room_is_told_that_he_is_not() {
    let heard = Cave::full().hear(&format!("<presence from='{BARD}' to='{COVEN}/bard' id='ng91xs69'/>"));
    assert_eq!(
        heard.one(BARD),
        format!(
            "<presence from='{COVEN}/bard' to='{BARD}' type='unavailable'><x xmlns='{USER}'>\
             <item affiliation='none' role='none'><reason>You are not in the room.</reason></item>{}</x></presence>",
            status(&[110, 307, 333])
        )
    );
}

#[test]
fn who_asks_again_is_told_everything_again() {
    let mut cave = Cave::full();
    cave.hear(&groupchat(CRONE, "<body>x</body>"));
    let heard = cave.join(HAG, "thirdwitch");
    assert_eq!(heard.by(HAG).len(), 5, "two others, himself, a message, the subject");
    assert!(heard.by(CRONE).is_empty(), "nothing is new");
    let away = join(HAG, "thirdwitch", "").replace("</presence>", "<show>away</show></presence>");
    let heard = cave.hear(&away);
    assert!(heard.one(CRONE).contains("<show>away</show>"));
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn s19_nobody_says_about_himself_what_only_the_room_says() {
    let mut cave = Cave::full();
    let forged = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>";
    let xml = join(HECATE, "hecate", "").replace(
        "</presence>",
        &format!(
            "{forged}<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner'/></x>{forged}\
             <hats xmlns='urn:xmpp:hats:0'><hat uri='x' title='King'/></hats><c xmlns='urn:caps'/></presence>"
        ),
    );
    let heard = cave.hear(&xml);
    for stanza in heard.0.iter().filter(|stanza| stanza.from == Some(jid(&format!("{COVEN}/hecate")))) {
        let ids: Vec<_> = stanza.payloads().filter(|payload| payload.name() == "occupant-id").collect();
        assert_eq!(ids.len(), 1);
        assert_ne!(ids[0].attribute("id").as_deref(), Some("forged"));
        assert_eq!(stanza.payloads().filter(|payload| payload.namespace() == USER).count(), 1);
        assert!(stanza.payload("urn:xmpp:hats:0", "hats").is_none());
        assert!(stanza.payload("urn:caps", "c").is_some());
        assert!(!plain(stanza).contains("owner"));
    }
    let heard = cave.hear(&groupchat(HECATE, &format!("{forged}<body>x</body>{forged}")));
    assert_eq!(heard.0.len(), 4);
    for stanza in &heard.0 {
        let ids: Vec<_> = stanza.payloads().filter(|payload| payload.name() == "occupant-id").collect();
        assert_eq!(ids.len(), 1);
        assert_ne!(ids[0].attribute("id").as_deref(), Some("forged"));
    }
}

#[test]
fn who_enters_too_often_must_wait() {
    let settings = Settings { occupant_presences: Rate::per_minute(3), ..patient() };
    let mut cave = Cave::of(records(configuration()), settings);
    for _ in 0..3 {
        assert!(!cave.join(HAG, "thirdwitch").0[0].is_error());
    }
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "wait policy-violation");
    assert!(!cave.join(HECATE, "hecate").0[0].is_error(), "others are not concerned");
    cave.later(60);
    assert!(!cave.join(HAG, "thirdwitch").0[0].is_error());
}

#[test]
fn an_endless_presence_is_refused() {
    let big = join(HAG, "thirdwitch", "")
        .replace("</presence>", &format!("<status>{}</status></presence>", "x".repeat(9000)));
    assert_eq!(Cave::open().hear(&big).error(), "modify policy-violation");
}

#[test]
fn visitors_may_be_hidden_and_moderators_see_them() {
    let mut cave = Cave::with(|configuration| {
        configuration.moderated = true;
        configuration.broadcast = Roles { visitor: false, ..Roles::ALL };
    });
    cave.join(CRONE, "firstwitch");
    cave.affiliate(HECATE, Affiliation::Member, None);
    cave.join(CRONE, "firstwitch");
    cave.join(HECATE, "hecate");
    let heard = cave.join(HAG, "thirdwitch");
    assert_eq!(heard.by(CRONE).len(), 1);
    assert!(heard.by(HECATE).is_empty());
    assert_eq!(heard.by(HAG).len(), 4, "a visitor sees others and himself");
    // With a voice he appears, without it he is gone.
    let heard = cave.hear(&admin(CRONE, "set", "<item nick='thirdwitch' role='participant'/>"));
    assert!(heard.one(HECATE).contains("role='participant'") && !heard.one(HECATE).contains("unavailable"));
    let heard = cave.hear(&admin(CRONE, "set", "<item nick='thirdwitch' role='visitor'/>"));
    assert!(heard.one(HECATE).contains("type='unavailable'"));
}
