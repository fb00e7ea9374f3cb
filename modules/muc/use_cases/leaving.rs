//! Leaving a room, and being lost to it: XEP-0045 §7.14, §11 and §18.1.2, examples 80 to 83 and 205 to 207.

use super::*;
use crate::room::Gone;

fn item(jid: &str) -> String {
    format!("affiliation='none' jid='{jid}' role='none'")
}

#[test]
fn example_080_081_082_who_leaves_is_told_and_so_are_all() {
    let mut cave = Cave::full();
    let heard = cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='unavailable'/>"));
    assert_eq!(
        heard.all(),
        [
            presence("thirdwitch", HAG, "unavailable", &item(HAG), &status(&[110])),
            presence("thirdwitch", CRONE, "unavailable", &item(HAG), ""),
            presence("thirdwitch", WICCA, "unavailable", &item(HAG), ""),
        ]
    );
    assert!(!cave.is_over);
    // §17.3: who is not there cannot leave.
    assert!(cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='unavailable'/>")).is_nothing());
}

#[test]
fn example_083_an_exit_message_is_passed_on() {
    let mut cave = Cave::full();
    let heard = cave.hear(&format!(
        "<presence from='{WICCA}' to='{COVEN}/secondwitch' type='unavailable'><status>gone where the goblins go</status></presence>"
    ));
    assert!(heard.one(CRONE).contains("<status>gone where the goblins go</status>"));
}

#[test]
fn only_unavailable_presence_leaves() {
    let mut cave = Cave::full();
    for kind in ["probe", "subscribe", "unsubscribed"] {
        assert!(cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/thirdwitch' type='{kind}'/>")).is_nothing());
    }
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn a_temporary_room_goes_with_the_last_one() {
    let mut cave = Cave::with(|configuration| configuration.persistent = false).witches();
    for (who, nick) in [(CRONE, "firstwitch"), (WICCA, "secondwitch"), (HAG, "thirdwitch")] {
        assert!(!cave.is_over);
        cave.hear(&format!("<presence from='{who}' to='{COVEN}/{nick}' type='unavailable'/>"));
    }
    assert!(cave.is_over);
    assert!(matches!(cave.changes.as_slice(), [Change::Destroyed { sealed: false }]));
}

#[test]
fn example_205_206_who_cannot_be_reached_is_removed() {
    for condition in [
        "gone",
        "item-not-found",
        "recipient-unavailable",
        "redirect",
        "remote-server-not-found",
        "remote-server-timeout",
    ] {
        let mut cave = Cave::full();
        let heard = cave.hear(&format!(
            "<presence from='{HAG}' to='{COVEN}/firstwitch' type='error'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        ));
        assert_eq!(heard.one(HAG), presence("thirdwitch", HAG, "unavailable", &item(HAG), &status(&[110, 333])));
        assert_eq!(heard.one(WICCA), presence("thirdwitch", WICCA, "unavailable", &item(HAG), &status(&[333])));
    }
    let mut cave = Cave::full();
    cave.hear(&format!(
        "<presence from='{HAG}' to='{COVEN}/firstwitch' type='error'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    ));
    assert_eq!(cave.room.occupants().count(), 3, "others do not say that nobody is there");
}

#[test]
fn a_session_that_ends_leaves() {
    let mut cave = Cave::full();
    let heard = cave.event(Event::Gone(jid(HAG), Gone::Ended)).unwrap();
    assert_eq!(heard.one(CRONE), presence("thirdwitch", CRONE, "unavailable", &item(HAG), ""));
    assert!(cave.event(Event::Gone(jid(HAG), Gone::Ended)).unwrap().is_nothing());
}

#[test]
fn example_207_the_service_is_shut_down() {
    let mut cave = Cave::full();
    let heard = cave.event(Event::ShutDown).unwrap();
    assert_eq!(heard.0.len(), 3, "each about himself only");
    assert_eq!(heard.one(HAG), presence("thirdwitch", HAG, "unavailable", &item(HAG), &status(&[110, 332])));
}

/// What comes back for a ping is no sign of life: it is the word of who could not deliver it.
#[test]
fn a_device_is_gone_when_its_ping_comes_back() {
    let ping = |cave: &mut Cave| {
        cave.later(600);
        let asked = cave.event(Event::Time).unwrap().0.into_iter().find(|stanza| stanza.to == Some(jid(BARD)));
        asked.and_then(|asked| asked.id).expect("he is asked")
    };
    let answer = |cave: &mut Cave, id: &str, condition: &str| {
        let error = format!("<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
        cave.hear(&format!("<iq from='{BARD}' to='{COVEN}' id='{id}' type='error'>{error}</iq>"))
    };
    for condition in ["remote-server-not-found", "remote-server-timeout", "item-not-found"] {
        let mut cave = Cave::full();
        cave.join(BARD, "bard");
        let id = ping(&mut cave);
        assert!(answer(&mut cave, "another", condition).is_nothing(), "nobody has asked that");
        let heard = answer(&mut cave, &id, condition);
        assert!(heard.one(CRONE).contains("/bard'") && heard.one(CRONE).contains("code='333'"), "{condition}");
    }
    // A client that does not know pings is there; one that knew them is not, when its server speaks for it.
    let mut cave = Cave::full();
    cave.join(BARD, "bard");
    let id = ping(&mut cave);
    assert!(answer(&mut cave, &id, "service-unavailable").is_nothing());
    let id = ping(&mut cave);
    cave.hear(&format!("<iq from='{BARD}' to='{COVEN}' id='{id}' type='result'/>"));
    let id = ping(&mut cave);
    assert!(answer(&mut cave, &id, "service-unavailable").one(CRONE).contains("code='333'"));
}

#[test]
fn devices_of_other_servers_are_asked_and_removed_when_they_do_not_answer() {
    let mut cave = Cave::full();
    cave.join(BARD, "bard");
    cave.join("other@elsewhere.lit/x", "other");
    cave.later(600);
    let heard = cave.event(Event::Time).unwrap();
    assert_eq!(heard.0.len(), 2, "ours tell when they go");
    let asked = heard.0.iter().find(|stanza| stanza.to == Some(jid(BARD))).unwrap().clone();
    assert!(asked.payload("urn:xmpp:ping", "ping").is_some());
    let next = cave.room.next_check().unwrap();
    assert_eq!(next, cave.now.instant + Duration::from_secs(60));
    cave.later(10);
    cave.hear(&format!("<iq from='{BARD}' to='{COVEN}' id='{}' type='result'/>", asked.id.unwrap()));
    cave.later(50);
    let heard = cave.event(Event::Time).unwrap();
    assert!(heard.one(CRONE).contains("/other'") && heard.one(CRONE).contains("code='333'"));
    assert!(cave.present().contains(&"bard none participant".to_owned()));
}
