//! Invitations: XEP-0045 §7.8 and §7.9, examples 56 to 65 and 134 to 135.

use super::*;
use crate::configuration::Preset;

const REASON: &str = "Hey Hecate, this is the place for all good witches!";

fn invite(who: &str, invites: &str) -> String {
    format!(
        "<message from='{who}' to='{COVEN}' id='nzd143v8'><x xmlns='http://jabber.org/protocol/muc#user'>{invites}</x></message>"
    )
}

fn hecate(who: &str) -> String {
    invite(who, &format!("<invite to='hecate@shakespeare.lit'><reason>{REASON}</reason></invite>"))
}

#[test]
fn example_056_057_the_room_passes_an_invitation_on() {
    let mut cave = Cave::with(|configuration| {
        configuration.whois = Whois::Anyone;
        configuration.password = Some("cauldronburn".to_owned());
    });
    cave.hear(&join(CRONE, "firstwitch", "<password>cauldronburn</password>"));
    let heard = cave.hear(&hecate(CRONE));
    assert_eq!(
        heard.all(),
        [format!(
            "<message from='{COVEN}' to='hecate@shakespeare.lit' id='nzd143v8'>\
             <x xmlns='http://jabber.org/protocol/muc#user'><invite from='crone1@shakespeare.lit'><reason>{REASON}</reason>\
             </invite><password>cauldronburn</password></x></message>"
        )]
    );
    assert!(cave.changes.is_empty(), "§9.5: an invitation into an open room makes nobody a member");
}

#[test]
fn who_invites_into_a_semi_anonymous_room_keeps_his_nickname() {
    let heard = Cave::full().hear(&hecate(HAG));
    assert!(heard.one("hecate@shakespeare.lit").contains(&format!("<invite from='{COVEN}/thirdwitch'>")));
}

#[test]
fn example_060_to_065_two_go_on_talking_in_a_room() {
    let mut cave = Cave::new_room(Settings { new_rooms: Preset::PrivateGroup, ..patient() });
    let heard = cave.join(CRONE, "firstwitch");
    assert!(heard.by(CRONE)[0].contains("<status code='201'/>"));
    cave.hear(&iq(
        CRONE,
        "set",
        "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>",
    ));
    // What the two have said comes along with its thread, its speaker and its time.
    let said = "<thread>e0ff</thread><body>Thrice the brinded cat hath mew'd.</body>\
                <delay xmlns='urn:xmpp:delay' from='crone1@shakespeare.lit/desktop' stamp='2004-09-29T01:54:37Z'/>";
    assert!(cave.hear(&groupchat(CRONE, said)).one(CRONE).contains(said));
    let one = |to: &str| format!("<invite to='{to}'><reason>r</reason><continue thread='e0ff'/></invite>");
    let wicca = "wiccarocks@shakespeare.lit/laptop";
    let heard = cave.hear(&invite(CRONE, &format!("{}{}", one(wicca), one("hag66@shakespeare.lit"))));
    for to in [wicca, "hag66@shakespeare.lit"] {
        let invitation = heard.one(to);
        assert!(
            invitation
                .contains("<invite from='crone1@shakespeare.lit'><reason>r</reason><continue thread='e0ff'/></invite>"),
            "{invitation}"
        );
    }
    let heard = cave.join(wicca, "secondwitch").by(wicca);
    assert_eq!(heard.len(), 4, "{heard:#?}");
    assert!(heard[0].contains("firstwitch") && heard[1].contains("affiliation='member'"), "{heard:#?}");
    assert!(heard[2].contains(said), "{heard:#?}");
    assert!(heard[3].contains("<subject/>"), "{heard:#?}");
}

#[test]
fn several_are_invited_at_once_and_a_thread_goes_on() {
    let one = |to: &str| format!("<invite to='{to}'><reason>r</reason><continue thread='e0ff'/></invite>");
    let heard = Cave::full()
        .hear(&invite(CRONE, &format!("{}{}", one("wiccarocks@shakespeare.lit/laptop"), one("bard@elsewhere.lit"))));
    assert_eq!(heard.0.len(), 2);
    assert!(heard.one("bard@elsewhere.lit").contains("<continue thread='e0ff'/>"));
    assert!(heard.one(WICCA).contains("<continue thread='e0ff'/>"));
    let many: String = (0..21).map(|number| format!("<invite to='user{number}@a.lit'/>")).collect();
    assert_eq!(Cave::full().hear(&invite(CRONE, &many)).error(), "modify policy-violation");
}

#[test]
fn only_occupants_with_a_voice_invite() {
    assert_eq!(Cave::full().hear(&hecate(BARD)).error(), "modify not-acceptable");
    let mut cave = Cave::with(|configuration| configuration.moderated = true).witches();
    assert_eq!(cave.hear(&hecate(HAG)).error(), "auth forbidden");
    assert_eq!(cave.hear(&invite(CRONE, "<invite/>")).error(), "modify jid-malformed");
    let mut cave = Cave::open();
    cave.affiliate(HECATE, Affiliation::Outcast, None);
    let mut cave = cave.witches();
    assert_eq!(cave.hear(&hecate(HAG)).error(), "modify not-acceptable", "an invitation lifts no ban");
}

#[test]
fn example_135_a_mere_member_invites_nobody_into_a_members_only_room() {
    let mut cave = Cave::with(|configuration| configuration.members_only = true);
    cave.affiliate(HAG, Affiliation::Member, None);
    let mut cave = cave.witches();
    assert_eq!(cave.hear(&hecate(HAG)).error(), "auth forbidden");
    assert!(cave.changes.is_empty());
}

#[test]
fn who_is_invited_into_a_members_only_room_may_come_in() {
    for who in [WICCA, HAG] {
        let mut cave = Cave::with(|configuration| {
            configuration.members_only = true;
            configuration.invites = true;
        });
        cave.affiliate(HAG, Affiliation::Member, None);
        let mut cave = cave.witches();
        let heard = cave.hear(&hecate(who));
        assert_eq!(heard.by("hecate@shakespeare.lit").len(), 1);
        assert!(
            matches!(cave.changes.as_slice(), [Change::Affiliated(entries)] if entries[0].1.affiliation == Affiliation::Member)
        );
        cave.join(HECATE, "hecate");
        assert!(cave.present().contains(&"hecate member participant".to_owned()));
    }
}

#[test]
fn example_058_059_a_refusal_reaches_who_has_invited() {
    let decline = |to: &str| {
        format!(
            "<message from='{HECATE}' to='{COVEN}' id='jk2vs61v'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <decline to='{to}'><reason>Sorry, I'm too busy right now.</reason></decline></x></message>"
        )
    };
    let mut cave = Cave::full();
    let told = |to: &str| {
        format!(
            "<message from='{COVEN}' to='{to}' id='jk2vs61v'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <decline from='hecate@shakespeare.lit'><reason>Sorry, I'm too busy right now.</reason></decline></x></message>"
        )
    };
    assert_eq!(cave.hear(&decline("crone1@shakespeare.lit")).all(), [told(CRONE)]);
    assert_eq!(cave.hear(&decline(&format!("{COVEN}/thirdwitch"))).all(), [told(HAG)]);
    // Nobody writes to strangers through a room.
    assert!(cave.hear(&decline("victim@elsewhere.lit")).is_nothing());
    // An owner who is away is told.
    cave.hear(&format!("<presence from='{CRONE}' to='{COVEN}/firstwitch' type='unavailable'/>"));
    assert_eq!(cave.hear(&decline("crone1@shakespeare.lit")).all(), [told("crone1@shakespeare.lit")]);
}
