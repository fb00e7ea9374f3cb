//! Messages, private messages, nicknames, availability, the subject: XEP-0045 §7.4 to §7.7 and §8.1, examples 44 to 55
//! and 84 to 88.

use super::*;

#[test]
fn example_044_045_what_is_said_to_all_is_reflected_to_all() {
    let mut cave = Cave::full();
    let heard = cave.hear(&groupchat(HAG, "<body>Harpier cries: 'tis time, 'tis time.</body>"));
    let reflected = |to: &str| {
        format!(
            "<message from='{COVEN}/thirdwitch' to='{to}' id='hysf1v37' type='groupchat'>\
             <body>Harpier cries: 'tis time, 'tis time.</body></message>"
        )
    };
    assert_eq!(heard.all(), [reflected(CRONE), reflected(WICCA), reflected(HAG)]);
    let id =
        |stanza: &Stanza| stanza.payload(OCCUPANT_ID, "occupant-id").unwrap().attribute("id").unwrap().into_owned();
    assert!(heard.0.iter().all(|stanza| id(stanza) == id(&heard.0[0])));
}

#[test]
fn a_message_without_an_id_gets_one_for_all() {
    let mut cave = Cave::full();
    let heard = cave.hear(&format!("<message from='{HAG}' to='{COVEN}' type='groupchat'><body>x</body></message>"));
    assert!(heard.0[0].id.is_some() && heard.0.iter().all(|stanza| stanza.id == heard.0[0].id));
}

#[test]
fn only_occupants_with_a_voice_speak() {
    let mut cave = Cave::with(|configuration| configuration.moderated = true).witches();
    assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).error(), "auth forbidden");
    assert_eq!(cave.hear(&groupchat(HECATE, "<body>x</body>")).error(), "modify not-acceptable");
    assert_eq!(
        cave.hear(&groupchat("crone1@shakespeare.lit/other", "<body>x</body>")).error(),
        "modify not-acceptable"
    );
    // §17.2: what is not for all has no business in the room.
    let heard = cave.hear(&format!("<message from='{CRONE}' to='{COVEN}' type='chat' id='1'><body>x</body></message>"));
    assert_eq!(heard.error(), "modify bad-request");
}

#[test]
fn f29_poison_reaches_all_as_it_was_sent() {
    let mut cave = Cave::full();
    for body in [
        "&#x1F600;".repeat(100_000),
        "&lt;".repeat(10_000),
        format!("Z&#x334;&#x35B;&#x307;{}", "&#x35C;".repeat(5_000)),
        "\u{202E}\u{200F}\u{5D0}\u{5D1}\u{5D2}\u{2066}".to_owned(),
        "]]&gt;&amp;amp;&#13;\t\n".to_owned(),
    ] {
        let sent = element(format!("<body xmlns='jabber:client'>{body}</body>")).unwrap();
        let heard = cave.hear(&groupchat(HAG, &format!("<body>{body}</body>")));
        assert_eq!(heard.0.len(), 3);
        for stanza in &heard.0 {
            assert_eq!(stanza.text_of("body").unwrap(), sent.text());
        }
        let bytes = |stanza: &Stanza| stanza.payloads().next().unwrap().bytes().to_vec();
        assert!(heard.0.iter().all(|stanza| bytes(stanza) == bytes(&heard.0[0])));
    }
}

#[test]
fn example_046_047_a_private_message_reaches_all_devices_of_one() {
    let mut cave = Cave::full();
    cave.join("crone1@shakespeare.lit/phone", "firstwitch");
    let heard = cave.hear(&format!(
        "<message from='{WICCA}' to='{COVEN}/firstwitch' id='hgn27af1' type='chat'><body>I'll give thee a wind.</body>\
         <x xmlns='http://jabber.org/protocol/muc#user'/></message>"
    ));
    let relayed = |to: &str| {
        format!(
            "<message from='{COVEN}/secondwitch' to='{to}' id='hgn27af1' type='chat'><body>I'll give thee a wind.</body>\
             <x xmlns='http://jabber.org/protocol/muc#user'/></message>"
        )
    };
    assert_eq!(heard.all(), [relayed(CRONE), relayed("crone1@shakespeare.lit/phone")]);
    assert!(heard.0[0].payload(OCCUPANT_ID, "occupant-id").is_some());
    // The room adds what the sender has left out.
    let heard = cave
        .hear(&format!("<message from='{WICCA}' to='{COVEN}/thirdwitch' id='1' type='chat'><body>x</body></message>"));
    assert!(heard.one(HAG).contains("muc#user"));
}

#[test]
fn example_048_s20_private_messages_have_their_rules() {
    let mut cave = Cave::full();
    let message = |who: &str, nick: &str, of: &str| {
        format!(
            "<message from='{who}' to='{COVEN}/{nick}' id='bx71f29k' type='{of}'><body>I'll give thee a wind.</body></message>"
        )
    };
    assert_eq!(cave.hear(&message(WICCA, "firstwitch", "groupchat")).error(), "modify bad-request");
    assert_eq!(cave.hear(&message(WICCA, "nobody", "chat")).error(), "cancel item-not-found");
    assert_eq!(cave.hear(&message(HECATE, "firstwitch", "chat")).error(), "modify not-acceptable");
    assert_eq!(
        cave.hear(&message("hag66@shakespeare.lit/other", "firstwitch", "chat")).error(),
        "modify not-acceptable"
    );
    use crate::configuration::Allowed;
    for (allowed, by_hag, by_wicca) in [
        (Allowed::Anyone, true, true),
        (Allowed::Participants, true, true),
        (Allowed::Moderators, false, true),
        (Allowed::None, false, false),
    ] {
        let mut cave = Cave::with(|configuration| configuration.private_messages = allowed).witches();
        let mut may = |who| !cave.hear(&message(who, "firstwitch", "chat")).0[0].is_error();
        assert_eq!((may(HAG), may(WICCA)), (by_hag, by_wicca), "{allowed:?}");
    }
}

#[test]
fn an_error_for_a_private_message_goes_back_by_nickname() {
    let mut cave = Cave::full();
    let error = |condition: &str| {
        format!(
            "<message from='{HAG}' to='{COVEN}/secondwitch' id='1' type='error'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
    };
    let heard = cave.hear(&error("policy-violation"));
    assert_eq!(
        heard.one(WICCA),
        format!(
            "<message from='{COVEN}/thirdwitch' to='{WICCA}' id='1' type='error'><error type='cancel'>\
             <policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
    );
    assert_eq!(cave.room.occupants().count(), 3);
    // §18.1.2: this one says that nobody is there.
    cave.hear(&error("recipient-unavailable"));
    assert_eq!(cave.room.occupants().count(), 2);
}

#[test]
fn example_049_050_another_nickname() {
    let mut cave = Cave::full();
    let heard = cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/oldhag' id='ifd1c35'/>"));
    let item = format!("affiliation='none' jid='{HAG}' nick='oldhag' role='participant'");
    let gone = |to: &str, codes: &[u16]| presence("thirdwitch", to, "unavailable", &item, &status(codes));
    let here = |to: &str, codes: &[u16]| {
        presence("oldhag", to, "", &format!("affiliation='none' jid='{HAG}' role='participant'"), &status(codes))
    };
    assert_eq!(heard.by(CRONE), [gone(CRONE, &[303]), here(CRONE, &[])]);
    assert_eq!(heard.by(WICCA), [gone(WICCA, &[303]), here(WICCA, &[])]);
    let with_id = here(HAG, &[110]).replace(&format!("to='{HAG}'"), &format!("to='{HAG}' id='ifd1c35'"));
    assert_eq!(heard.by(HAG), [gone(HAG, &[110, 303]), with_id]);
    assert!(cave.present().contains(&"oldhag none participant".to_owned()));
}

#[test]
fn example_051_a_changed_case_is_a_change() {
    let mut cave = Cave::full();
    cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/ThirdWitch' id='nx6z2v5'/>"));
    assert!(cave.present().contains(&"ThirdWitch none participant".to_owned()));
}

#[test]
fn example_052_053_s20_nicknames_of_others_are_theirs() {
    let mut cave = Cave::open();
    cave.affiliate(HECATE, Affiliation::Member, Some("hecate"));
    let mut cave = cave.witches();
    for nick in ["firstwitch", "FirstWitch", "hecate", "Hecate "] {
        let heard = cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/{nick}' id='ifd1c35'/>"));
        assert_eq!(heard.error(), "cancel conflict", "{nick}");
    }
    let heard = cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/ㅤ' id='ifd1c35'/>"));
    assert!(heard.error().ends_with("not-acceptable"));
    assert!(cave.present().contains(&"thirdwitch none participant".to_owned()));
}

#[test]
fn all_devices_change_the_nickname_together() {
    let mut cave = Cave::full();
    let phone = "hag66@shakespeare.lit/phone";
    cave.join(phone, "thirdwitch");
    let heard = cave.hear(&format!("<presence from='{phone}' to='{COVEN}/oldhag'/>"));
    for device in [HAG, phone] {
        let heard = heard.by(device);
        assert_eq!(heard.len(), 2);
        assert!(heard[0].contains("code='303'") && heard[1].contains("code='110'"), "{heard:#?}");
    }
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn example_054_055_availability_is_passed_along() {
    let mut cave = Cave::full();
    let heard = cave.hear(&format!(
        "<presence from='{WICCA}' to='{COVEN}/secondwitch' id='kr7v143h'><show>xa</show>\
         <status>gone where the goblins go</status></presence>"
    ));
    assert_eq!(
        heard.one(CRONE),
        format!(
            "<presence from='{COVEN}/secondwitch' to='{CRONE}'><show>xa</show><status>gone where the goblins go</status>\
             <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='admin' jid='{WICCA}' role='moderator'/></x></presence>"
        )
    );
    assert!(!heard.one(HAG).contains(WICCA), "who is no moderator does not learn the address");
    assert!(heard.one(WICCA).contains(&status(&[110])));
    // Said twice, it is no news.
    let heard = cave.hear(&format!(
        "<presence from='{WICCA}' to='{COVEN}/secondwitch'><show>xa</show><status>gone where the goblins go</status></presence>"
    ));
    assert_eq!(heard.order(), ["presence wiccarocks"]);
}

#[test]
fn example_084_085_088_moderators_change_the_subject() {
    let mut cave = Cave::full();
    let heard = cave.hear(&groupchat(WICCA, "<subject>Fire Burn and Cauldron Bubble!</subject>"));
    let said = |to: &str| {
        format!(
            "<message from='{COVEN}/secondwitch' to='{to}' id='hysf1v37' type='groupchat'>\
             <subject>Fire Burn and Cauldron Bubble!</subject></message>"
        )
    };
    assert_eq!(heard.all(), [said(CRONE), said(WICCA), said(HAG)]);
    assert!(matches!(cave.changes.as_slice(), [Change::Subject(_)]));
    cave.hear(&groupchat(WICCA, "<subject></subject>"));
    let last = cave.join(HECATE, "hecate").by(HECATE).pop().unwrap();
    assert!(last.contains("<subject") && last.contains("/secondwitch") && last.contains("<delay "), "{last}");
    assert!(!last.contains("Fire"), "{last}");
}

#[test]
fn example_087_others_do_not_unless_the_owner_lets_them() {
    let mut cave = Cave::full();
    assert_eq!(cave.hear(&groupchat(HAG, "<subject>x</subject>")).error(), "auth forbidden");
    let mut cave = Cave::with(|configuration| configuration.change_subject = true).witches();
    assert_eq!(cave.hear(&groupchat(HAG, "<subject>x</subject>")).0.len(), 3);
    cave.hear(&admin(CRONE, "set", "<item nick='thirdwitch' role='visitor'/>"));
    assert_eq!(cave.hear(&groupchat(HAG, "<subject>y</subject>")).error(), "auth forbidden", "no voice");
    let long = format!("<subject>{}</subject>", "x".repeat(5000));
    assert!(cave.hear(&groupchat(CRONE, &long)).error().ends_with("not-acceptable"));
}

#[test]
fn a_subject_beside_a_body_or_a_thread_is_none() {
    let mut cave = Cave::full();
    for inside in ["<subject>s</subject><body>b</body>", "<subject>s</subject><thread>t</thread>"] {
        assert_eq!(cave.hear(&groupchat(HAG, inside)).0.len(), 3);
    }
    assert!(cave.changes.is_empty());
}

#[test]
fn what_was_said_before_keeps_its_time() {
    // §7.9, example 62: the owner brings the history of another chat.
    let mut cave = Cave::full();
    let heard = cave.hear(&groupchat(
        CRONE,
        &format!(
            "<thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread><body>Thrice the brinded cat hath mew'd.</body>\
             <delay xmlns='urn:xmpp:delay' from='{CRONE}' stamp='2004-09-29T01:54:37Z'/>\
             <delay xmlns='urn:xmpp:delay' from='{COVEN}' stamp='2004-09-29T01:54:37Z'/>"
        ),
    ));
    let one = heard.one(HAG);
    assert_eq!(one.matches("<delay").count(), 1, "{one}");
    assert!(one.contains("<thread>e0ffe42b"));
}

#[test]
fn who_says_too_much_must_wait() {
    let settings = Settings { occupant_messages: Rate::per_minute(2), ..patient() };
    let mut cave = Cave::of(records(configuration()), settings).witches();
    for _ in 0..2 {
        assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).0.len(), 3);
    }
    assert_eq!(cave.hear(&groupchat(HAG, "<body>x</body>")).error(), "wait policy-violation");
    // A refused subject is no subject.
    cave.hear(&groupchat(WICCA, "<body>x</body>"));
    cave.hear(&groupchat(WICCA, "<body>x</body>"));
    assert_eq!(cave.hear(&groupchat(WICCA, "<subject>x</subject>")).error(), "wait policy-violation");
    assert!(cave.changes.is_empty() && cave.room.records().subject.is_none());
}

/// What is said is encoded once: everyone in the room, the history and the archive share the same bytes.
#[test]
fn all_who_hear_a_message_share_one_encoding() {
    let mut cave = Cave::with(|configuration| {
        configuration.archiving = true;
        configuration.whois = Whois::Moderators;
    })
    .witches();
    let heard = cave.hear(&groupchat(HAG, "<body>Harpier cries</body>"));
    assert_eq!(heard.0.len(), 3);
    let place = |stanza: &Stanza| stanza.payloads().next().expect("a body").bytes().as_ptr();
    let places: Vec<_> = heard.0.iter().map(place).collect();
    assert!(places.iter().all(|one| *one == places[0]), "{places:?}");
    // Presence, too: all who see the same of a newcomer are sent the same.
    let heard = cave.join(BARD, "bard");
    let of_bard: Vec<_> = heard
        .0
        .iter()
        .filter(|stanza| {
            stanza.from.as_ref().and_then(|from| from.resource()).is_some_and(|nick| nick.as_str() == "bard")
                && stanza.to != Some(jid(BARD))
        })
        .collect();
    let knowing: Vec<_> =
        of_bard.iter().filter(|stanza| stanza.to != Some(jid(HAG))).map(|stanza| place(stanza)).collect();
    assert!(of_bard.len() == 3 && knowing.len() == 2 && knowing[0] == knowing[1], "{knowing:?}");
}
