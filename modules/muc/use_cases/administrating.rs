//! Banning and members: XEP-0045 §9.1 to §9.5, examples 110 to 136.

use super::*;

fn ban(who: &str, jid: &str) -> String {
    admin(who, "set", &format!("<item affiliation='outcast' jid='{jid}'><reason>Treason</reason></item>"))
}

#[test]
fn example_110_to_114_an_admin_bans() {
    let mut cave = Cave::full();
    cave.join("hag66@shakespeare.lit/phone", "otherhag");
    let heard = cave.hear(&ban(WICCA, "hag66@shakespeare.lit"));
    let gone = |to: &str, codes: &[u16]| {
        format!(
            "<presence from='{COVEN}/thirdwitch' to='{to}' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='outcast' jid='{HAG}' role='none'><actor nick='secondwitch'/><reason>Treason</reason></item>{}\
             </x></presence>",
            status(codes)
        )
    };
    assert_eq!(heard.one(HAG), gone(HAG, &[110, 301]));
    assert_eq!(heard.by(CRONE)[0], gone(CRONE, &[301]));
    assert_eq!(heard.by(WICCA)[0], format!("<iq from='{COVEN}' to='{WICCA}' id='iq1' type='result'/>"));
    assert_eq!(cave.room.occupants().count(), 2, "under every nickname");
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "auth forbidden");
    assert!(
        matches!(cave.changes.as_slice(), [Change::Affiliated(entries)] if entries[0].1.reason.as_deref() == Some("Treason"))
    );
    // The ban is lifted.
    cave.hear(&admin(WICCA, "set", "<item affiliation='none' jid='hag66@shakespeare.lit'/>"));
    cave.join(HAG, "thirdwitch");
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn example_115_s20_owners_are_not_banned_and_nobody_bans_himself() {
    let mut cave = Cave::full();
    assert_eq!(cave.hear(&ban(WICCA, "crone1@shakespeare.lit")).error(), "cancel not-allowed");
    assert_eq!(cave.hear(&ban(WICCA, "wiccarocks@shakespeare.lit")).error(), "cancel conflict");
    assert_eq!(cave.hear(&ban(CRONE, "crone1@shakespeare.lit")).error(), "cancel conflict");
    assert_eq!(cave.hear(&ban(HAG, "wiccarocks@shakespeare.lit")).error(), "auth forbidden");
    assert_eq!(cave.hear(&ban(BARD, "hag66@shakespeare.lit")).error(), "auth forbidden");
    assert_eq!(cave.room.occupants().count(), 3);
    cave.hear(&ban(CRONE, "wiccarocks@shakespeare.lit"));
    assert_eq!(cave.room.occupants().count(), 2, "an owner bans an admin");
}

#[test]
fn example_116_to_119_the_ban_list() {
    let mut cave = Cave::full();
    let items = "<item affiliation='outcast' jid='lordscroop@shakespeare.lit'><reason>Treason</reason></item>\
                 <item affiliation='outcast' jid='sirthomasgrey@shakespeare.lit/x'/>";
    cave.hear(&admin(WICCA, "set", items));
    assert_eq!(
        cave.hear(&admin(WICCA, "get", "<item affiliation='outcast'/>")).result(),
        "<query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='outcast' jid='lordscroop@shakespeare.lit'><reason>Treason</reason></item>\
         <item affiliation='outcast' jid='sirthomasgrey@shakespeare.lit'/></query>"
    );
    // §9.2: all or nothing.
    let items = "<item affiliation='outcast' jid='one@shakespeare.lit'/><item affiliation='outcast' jid='crone1@shakespeare.lit'/>";
    assert_eq!(cave.hear(&admin(WICCA, "set", items)).error(), "cancel not-allowed");
    assert!(!cave.hear(&admin(WICCA, "get", "<item affiliation='outcast'/>")).result().contains("one@"));
    assert_eq!(cave.changes.len(), 1);
}

#[test]
fn a_whole_domain_is_banned_but_for_those_who_are_affiliated() {
    let mut cave = Cave::open();
    cave.affiliate("friend@elsewhere.lit", Affiliation::Member, None);
    let mut cave = cave.witches();
    cave.join(BARD, "bard");
    cave.join("friend@elsewhere.lit/x", "friend");
    let heard = cave.hear(&ban(WICCA, "elsewhere.lit"));
    assert!(heard.one(BARD).contains("code='301'"));
    assert!(cave.present().contains(&"friend member participant".to_owned()));
    assert_eq!(
        cave.hear(&admin(CRONE, "set", "<item affiliation='admin' jid='elsewhere.lit'/>")).error(),
        "modify not-acceptable"
    );
}

#[test]
fn a_ban_takes_the_reserved_nickname() {
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, Some("thirdwitch"));
    cave.hear(&ban(WICCA, "hag66@shakespeare.lit"));
    cave.join(HECATE, "thirdwitch");
    assert_eq!(cave.present(), ["thirdwitch none participant"]);
}

#[test]
fn example_120_to_123_membership_is_granted() {
    let mut cave = Cave::full();
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hag66@shakespeare.lit' nick='thirdwitch'><reason>A worthy witch indeed!</reason></item>"));
    assert!(heard.one(WICCA).contains(&format!("<item affiliation='member' jid='{HAG}' role='participant'>")));
    assert_eq!(cave.join(HECATE, "thirdwitch").error(), "cancel conflict", "reserved");
    assert_eq!(
        cave.hear(&admin(HAG, "set", "<item affiliation='member' jid='hecate@shakespeare.lit'/>")).error(),
        "auth forbidden"
    );
    // In a moderated room it gives a voice.
    let mut cave = Cave::with(|configuration| configuration.moderated = true).witches();
    cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hag66@shakespeare.lit'/>"));
    assert!(cave.present().contains(&"thirdwitch member participant".to_owned()));
}

#[test]
fn example_124_to_127_membership_is_revoked() {
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, None);
    let mut cave = cave.witches();
    let heard = cave.hear(&admin(
        CRONE,
        "set",
        "<item affiliation='none' jid='hag66@shakespeare.lit'><reason>Not so worthy after all!</reason></item>",
    ));
    assert!(heard.one(WICCA).contains(&format!("<item affiliation='none' jid='{HAG}' role='participant'>")));
    assert_eq!(cave.room.occupants().count(), 3);
}

#[test]
fn example_128_who_is_no_member_leaves_a_members_only_room() {
    let mut cave = Cave::with(|configuration| configuration.members_only = true);
    cave.affiliate(HAG, Affiliation::Member, None);
    let mut cave = cave.witches();
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='none' jid='hag66@shakespeare.lit'/>"));
    let gone = |to: &str, codes: &[u16]| {
        format!(
            "<presence from='{COVEN}/thirdwitch' to='{to}' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='none' jid='{HAG}' role='none'><actor nick='firstwitch'/></item>{}</x></presence>",
            status(codes)
        )
    };
    assert_eq!(heard.one(HAG), gone(HAG, &[110, 321]));
    assert_eq!(heard.one(WICCA), gone(WICCA, &[321]), "one presence, not two");
    assert_eq!(cave.join(HAG, "thirdwitch").error(), "auth registration-required");
}

#[test]
fn example_129_130_s20_the_member_list_is_for_those_who_may_see_it() {
    let lists = ["owner", "admin", "member", "outcast"];
    let may = |cave: &mut Cave, who: &str| -> String {
        lists
            .iter()
            .map(|list| {
                let heard = cave.hear(&admin(who, "get", &format!("<item affiliation='{list}'/>")));
                if heard.0[0].is_error() {
                    assert_eq!(heard.error(), "auth forbidden");
                    '-'
                } else {
                    list.chars().next().unwrap()
                }
            })
            .collect()
    };
    for (whois, members_only, expected) in [
        // An owner, an admin, a member who is in the room, one who is not, a stranger inside, a stranger outside.
        (Whois::Moderators, false, ["oamo", "--mo", "----", "----", "----", "----"]),
        (Whois::Moderators, true, ["oamo", "--mo", "----", "----", "", "----"]),
        (Whois::Anyone, false, ["oamo", "oamo", "oam-", "oam-", "oam-", "----"]),
        (Whois::Anyone, true, ["oamo", "oamo", "oam-", "oam-", "", "----"]),
    ] {
        let mut cave = Cave::with(|configuration| {
            configuration.whois = whois;
            configuration.members_only = members_only;
            configuration.member_list = Roles::ALL;
        });
        cave.affiliate(HAG, Affiliation::Member, None);
        cave.affiliate("away@shakespeare.lit", Affiliation::Member, None);
        let mut cave = cave.witches();
        cave.join(HECATE, "hecate");
        for (who, expected) in [CRONE, WICCA, HAG, "away@shakespeare.lit/x", HECATE, BARD].iter().zip(expected) {
            if !expected.is_empty() {
                assert_eq!(may(&mut cave, who), expected, "{whois:?} {members_only} {who}");
            }
        }
    }
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, Some("thirdwitch"));
    assert_eq!(
        cave.hear(&admin(CRONE, "get", "<item affiliation='member'/>")).result(),
        "<query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='member' jid='hag66@shakespeare.lit' nick='thirdwitch'/></query>"
    );
}

#[test]
fn example_131_to_134_the_member_list_is_changed_and_new_members_are_invited() {
    let mut cave = Cave::with(|configuration| {
        configuration.members_only = true;
        configuration.whois = Whois::Anyone;
        configuration.password = None;
    });
    cave.affiliate(HAG, Affiliation::Member, None);
    let mut cave = cave.witches();
    let items = "<item affiliation='none' jid='hag66@shakespeare.lit'/><item affiliation='member' jid='hecate@shakespeare.lit'/>";
    let heard = cave.hear(&admin(CRONE, "set", items));
    assert!(heard.one(HAG).contains("code='321'"));
    assert_eq!(
        heard.one("hecate@shakespeare.lit"),
        format!(
            "<message from='{COVEN}' to='hecate@shakespeare.lit'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <invite from='crone1@shakespeare.lit'/></x></message>"
        )
    );
    cave.join(HECATE, "hecate");
    assert!(cave.present().contains(&"hecate member participant".to_owned()));
    // §9.5: an empty nickname takes the reservation away.
    cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hecate@shakespeare.lit' nick='hecate'/>"));
    cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hecate@shakespeare.lit' nick=''/>"));
    assert!(!cave.hear(&admin(CRONE, "get", "<item affiliation='member'/>")).result().contains("nick"));
}

#[test]
fn example_136_a_new_member_of_an_open_room_is_shown() {
    let mut cave = Cave::full();
    cave.join(HECATE, "hecate");
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hecate@shakespeare.lit'/>"));
    let item = format!("affiliation='member' jid='{HECATE}' role='participant'");
    assert_eq!(heard.one(WICCA), presence("hecate", WICCA, "", &item, ""));
    assert!(heard.by("hecate@shakespeare.lit").is_empty(), "who is here is not invited");
}

#[test]
fn affiliations_are_bounded_and_named_once() {
    let mut cave = Cave::of(records(configuration()), Settings { affiliations: Count::of(3), ..patient() });
    cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='a@b.lit'/>"));
    assert_eq!(
        cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='c@b.lit'/>")).error(),
        "modify policy-violation"
    );
    cave.hear(&admin(CRONE, "set", "<item affiliation='none' jid='a@b.lit'/>"));
    let twice = "<item affiliation='member' jid='c@b.lit'/><item affiliation='outcast' jid='C@b.lit/x'/>";
    assert_eq!(cave.hear(&admin(CRONE, "set", twice)).error(), "modify bad-request");
    assert_eq!(cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='@'/>")).error(), "modify jid-malformed");
}

#[test]
fn s20_a_member_cannot_change_his_own_affiliation() {
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, None);
    let mut cave = cave.witches();
    for affiliation in ["owner", "admin", "none"] {
        let item = format!("<item affiliation='{affiliation}' jid='hag66@shakespeare.lit'/>");
        assert_eq!(cave.hear(&admin(HAG, "set", &item)).error(), "cancel not-allowed");
    }
}

#[test]
fn an_account_that_is_removed_is_forgotten() {
    let mut cave = Cave::open();
    cave.affiliate(HAG, Affiliation::Member, Some("thirdwitch"));
    cave.event(Event::Removed(bare(HAG))).unwrap();
    assert!(
        matches!(cave.changes.as_slice(), [Change::Affiliated(entries)] if entries[0].1.affiliation == Affiliation::None)
    );
    // The last owner: the next in rank takes the room over.
    let heard = cave.event(Event::Removed(bare(CRONE))).unwrap();
    assert!(heard.is_nothing());
    assert_eq!(cave.room.records().affiliations.of(&bare(WICCA)), Affiliation::Owner);
    cave.event(Event::Removed(bare(WICCA))).unwrap();
    assert!(cave.is_over, "nobody is left");
}
