//! What goes beyond XEP-0045: archives (0313), retraction (0424), moderation (0425), hats (0317), versions of the lists
//! (0463), pictures (0486), slow mode (0500), mentions (0452, 0513).

use super::*;

/// A room whose messages are archived.
fn archived() -> Cave {
    Cave::with(|configuration| configuration.archiving = true).witches()
}

fn id_of(stanza: &Stanza) -> String {
    stanza.payload("urn:xmpp:sid:0", "stanza-id").expect("an id").attribute("id").unwrap().into_owned()
}

#[test]
fn xep_0359_what_is_archived_is_said_with_its_id() {
    let mut cave = archived();
    let forged = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{COVEN}' id='1'/>");
    let heard = cave
        .hear(&groupchat(HAG, &format!("{forged}<body>x</body>{forged}<origin-id xmlns='urn:xmpp:sid:0' id='o'/>")));
    let kept = cave.archived();
    for stanza in &heard.0 {
        let ids: Vec<_> = stanza.payloads().filter(|payload| payload.name() == "stanza-id").collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(ids[0].attribute("by").as_deref(), Some(COVEN));
        assert_eq!(id_of(stanza), kept.id.to_string());
    }
    let kept = String::from_utf8(kept.stanza.to_vec()).unwrap();
    assert!(kept.contains("origin-id") && kept.contains("occupant-id") && !kept.contains("stanza-id"), "{kept}");
    // A state of the moment is neither kept nor numbered.
    let heard = cave.hear(&groupchat(HAG, "<composing xmlns='http://jabber.org/protocol/chatstates'/>"));
    assert!(heard.0[0].payload("urn:xmpp:sid:0", "stanza-id").is_none());
    assert_eq!(cave.archive.len(), 1);
}

#[test]
fn xep_0313_the_archive_tells_who_spoke_where_everyone_sees_it() {
    let mut cave = archived();
    cave.hear(&groupchat(HAG, "<body>x</body>"));
    assert!(!String::from_utf8(cave.archived().stanza.to_vec()).unwrap().contains("hag66"));
    let mut cave = Cave::with(|configuration| {
        configuration.archiving = true;
        configuration.whois = Whois::Anyone;
    })
    .witches();
    cave.hear(&groupchat(
        HAG,
        "<body>x</body><x xmlns='http://jabber.org/protocol/muc#user'><item jid='forged@a.lit'/></x>",
    ));
    let kept = String::from_utf8(cave.archived().stanza.to_vec()).unwrap();
    assert!(kept.contains(&format!("jid='{HAG}'")) && !kept.contains("forged"), "{kept}");
}

#[test]
fn xep_0313_who_may_enter_may_read() {
    let query = "<query xmlns='urn:xmpp:mam:2'/>";
    let may = |cave: &mut Cave, who: &str| !cave.hear(&iq(who, "set", query)).0[0].is_error();
    let mut open = archived();
    open.affiliate("outcast@a.lit", Affiliation::Outcast, None);
    assert!(may(&mut open, HAG) && may(&mut open, BARD) && !may(&mut open, "outcast@a.lit/x"));
    let mut closed = Cave::with(|configuration| configuration.members_only = true);
    assert!(may(&mut closed, WICCA) && !may(&mut closed, BARD));
    let mut protected = Cave::with(|configuration| configuration.password = Some("x".to_owned()));
    assert!(!may(&mut protected, BARD) && may(&mut protected, WICCA));
    protected.hear(&join(BARD, "bard", "<password>x</password>"));
    assert!(may(&mut protected, BARD));
}

#[test]
fn xep_0424_authors_take_back_what_is_theirs() {
    let mut cave = archived();
    let id = id_of(&cave.hear(&groupchat(HAG, "<body>I was wrong</body>")).0[0]);
    let retract = |who: &str| {
        groupchat(who, &format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'/><body>retracted</body>"))
    };
    assert_eq!(cave.hear(&retract(WICCA)).error(), "auth forbidden");
    assert_eq!(cave.archive.len(), 1);
    // Under another nickname he is the same person.
    cave.hear(&format!("<presence from='{HAG}' to='{COVEN}/oldhag'/>"));
    let heard = cave.hear(&retract(HAG));
    assert_eq!(heard.0.len(), 3);
    assert_eq!(cave.archive.len(), 2, "the retraction is archived");
    let stone = String::from_utf8(cave.archive[0].1.to_bytes()).unwrap();
    assert!(
        stone.contains("<retracted xmlns='urn:xmpp:message-retract:1'") && stone.contains("id='hysf1v37'/>"),
        "{stone}"
    );
    assert!(stone.contains("occupant-id") && stone.contains("/thirdwitch") && !stone.contains("wrong"), "{stone}");
    let heard = cave.join(HECATE, "hecate").by(HECATE);
    assert!(!heard.iter().any(|stanza| stanza.contains("wrong") || stanza.contains("<body>")), "{heard:#?}");
}

#[test]
fn xep_0425_moderators_take_back_what_others_said_in_both_versions() {
    for (request, old) in [
        (
            "<moderate id='ID' xmlns='urn:xmpp:message-moderate:1'><retract xmlns='urn:xmpp:message-retract:1'/><reason>Spam</reason></moderate>",
            false,
        ),
        (
            "<apply-to id='ID' xmlns='urn:xmpp:fasten:0'><moderate xmlns='urn:xmpp:message-moderate:0'><retract xmlns='urn:xmpp:message-retract:0'/><reason>Spam</reason></moderate></apply-to>",
            true,
        ),
    ] {
        let mut cave = archived();
        let id = id_of(&cave.hear(&groupchat(HAG, "<body>DM me for free magic potions!</body>")).0[0]);
        let request = |who: &str| iq(who, "set", &request.replace("ID", &id));
        assert_eq!(cave.hear(&request(HAG)).error(), "auth forbidden");
        assert_eq!(cave.hear(&request(BARD)).error(), "auth forbidden");
        let heard = cave.hear(&request(WICCA));
        assert_eq!(heard.0.len(), 4, "three hear of it, one is answered");
        let told = heard.0.iter().find(|stanza| stanza.to == Some(jid(HAG))).unwrap();
        assert_eq!(told.from, Some(jid(COVEN)));
        let retract = told.payload("urn:xmpp:message-retract:1", "retract").unwrap();
        assert_eq!(retract.attribute("id").as_deref(), Some(&*id));
        let moderated = retract.child("urn:xmpp:message-moderate:1", "moderated").unwrap();
        assert_eq!(moderated.attribute("by"), Some(format!("{COVEN}/secondwitch").into()));
        assert!(moderated.child("urn:xmpp:occupant-id:0", "occupant-id").is_some());
        assert!(
            told.payload("urn:xmpp:fasten:0", "apply-to")
                .unwrap()
                .child("urn:xmpp:message-moderate:0", "moderated")
                .is_some()
        );
        assert_eq!(cave.archive.len(), 2, "archived, old: {old}");
        let stone = String::from_utf8(cave.archive[0].1.to_bytes()).unwrap();
        assert!(
            stone.contains("<retracted ") && stone.contains("moderated") && stone.contains("<reason>Spam</reason>"),
            "{stone}"
        );
        assert!(!stone.contains("potions"));
        assert_eq!(cave.hear(&request(WICCA)).error(), "cancel item-not-found", "it is gone already");
    }
}

#[test]
fn xep_0425_only_the_room_says_that_it_moderates() {
    let mut cave = archived();
    let forged = "<retract id='1' xmlns='urn:xmpp:message-retract:1'><moderated by='x' xmlns='urn:xmpp:message-moderate:1'/></retract>";
    assert_eq!(cave.hear(&groupchat(HAG, forged)).error(), "modify bad-request");
    let unknown = "<moderate id='17' xmlns='urn:xmpp:message-moderate:1'><retract xmlns='urn:xmpp:message-retract:1'/></moderate>";
    assert_eq!(cave.hear(&iq(WICCA, "set", unknown)).error(), "cancel item-not-found");
    let other = "<moderate id='17' xmlns='urn:xmpp:message-moderate:1'><rewrite xmlns='urn:x'/></moderate>";
    assert_eq!(cave.hear(&iq(WICCA, "set", other)).error(), "cancel feature-not-implemented");
}

fn command(who: &str, node: &str, fields: &[(&str, &str)]) -> String {
    let form = if fields.is_empty() {
        String::new()
    } else {
        let fields: String =
            fields.iter().map(|(name, value)| format!("<field var='{name}'><value>{value}</value></field>")).collect();
        format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")
    };
    iq(
        who,
        "set",
        &format!(
            "<command xmlns='http://jabber.org/protocol/commands' action='execute' node='urn:xmpp:hats:commands:{node}'>{form}</command>"
        ),
    )
}

#[test]
fn xep_0317_admins_hand_out_hats() {
    let mut cave = Cave::full();
    let hats =
        |stanza: &Stanza| stanza.payload(HATS, "hats").map(|hats| String::from_utf8(hats.bytes().to_vec()).unwrap());
    assert_eq!(cave.hear(&command(HAG, "create", &[])).error(), "auth forbidden");
    assert!(cave.hear(&command(WICCA, "create", &[])).result().contains("status='executing'"));
    let create = [("hats#title", "Teacher's Assistant"), ("hats#uri", "urn:ta"), ("hats#hue", "327.255249")];
    let heard = cave.hear(&command(WICCA, "create", &create));
    assert!(heard.by(WICCA)[0].contains("status='completed'") && heard.one(HAG).contains("code='104'"));
    assert_eq!(
        cave.hear(&command(WICCA, "assign", &[("hats#jid", "hag66@shakespeare.lit"), ("hats#uri", "urn:none")]))
            .error(),
        "cancel item-not-found"
    );
    let heard = cave.hear(&command(WICCA, "assign", &[("hats#jid", "hag66@shakespeare.lit"), ("hats#uri", "urn:ta")]));
    let told = heard.0.iter().find(|stanza| stanza.to == Some(jid(CRONE))).unwrap();
    assert_eq!(
        hats(told).unwrap(),
        "<hats xmlns='urn:xmpp:hats:0'><hat title='Teacher&apos;s Assistant' uri='urn:ta' hue='327.255249'/></hats>"
    );
    assert!(cave.hear(&command(HAG, "list", &[])).result().contains("<value>urn:ta</value>"));
    assert_eq!(cave.hear(&command(HAG, "list-assigned", &[])).error(), "auth forbidden");
    assert!(cave.hear(&command(CRONE, "list-assigned", &[])).result().contains("hag66@shakespeare.lit"));
    // Whoever enters sees it.
    let heard = cave.join(HECATE, "hecate");
    assert!(heard.0.iter().any(|stanza| stanza.to == Some(jid(HECATE)) && hats(stanza).is_some()));
    let heard =
        cave.hear(&command(WICCA, "unassign", &[("hats#jid", "hag66@shakespeare.lit"), ("hats#uri", "urn:ta")]));
    assert!(heard.0.iter().all(|stanza| hats(stanza).is_none()));
    cave.hear(&command(WICCA, "assign", &[("hats#jid", "hag66@shakespeare.lit"), ("hats#uri", "urn:ta")]));
    let heard = cave.hear(&command(WICCA, "destroy", &[("hats#uri", "urn:ta")]));
    assert!(heard.by(CRONE).len() == 2 && heard.0.iter().all(|stanza| hats(stanza).is_none()));
    assert!(matches!(cave.changes.last(), Some(Change::Hats(_))));
    assert_eq!(
        cave.hear(&command(WICCA, "create", &[("hats#title", "x"), ("hats#uri", "y"), ("hats#hue", "400")])).error(),
        "modify not-acceptable"
    );
    let items = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>";
    assert_eq!(cave.hear(&iq(WICCA, "get", items)).result().matches("<item ").count(), 6);
    assert_eq!(cave.hear(&iq(HAG, "get", items)).result().matches("<item ").count(), 1);
}

#[test]
fn xep_0463_who_enters_learns_what_has_changed() {
    let mut cave = Cave::with(|configuration| {
        configuration.whois = Whois::Anyone;
        configuration.member_list = Roles::ALL;
    });
    let ask = |since: &str| join(CRONE, "firstwitch", &format!("<mav xmlns='urn:xmpp:muc:affiliations:0'{since}/>"));
    let list = |heard: &Heard| -> Option<String> {
        let first = heard.0.iter().find(|stanza| stanza.to == Some(jid(CRONE)))?;
        (first.kind().name() == "message").then(|| {
            let mut out = Vec::new();
            first.write(&mut out, None);
            String::from_utf8(out).unwrap()
        })
    };
    let until = |heard: &Heard| -> String {
        let own = heard
            .0
            .iter()
            .rev()
            .find(|stanza| stanza.kind().name() == "presence" && stanza.to == Some(jid(CRONE)))
            .unwrap();
        let x = own.payload("http://jabber.org/protocol/muc#user", "x").unwrap();
        x.child("urn:xmpp:muc:affiliations:0", "mav").expect("a version").attribute("until").unwrap().into_owned()
    };
    let heard = cave.hear(&ask(""));
    let all = list(&heard).unwrap();
    assert!(
        all.contains("<item jid='crone1@shakespeare.lit' affiliation='owner'/>") && !all.contains("since="),
        "{all}"
    );
    let version = until(&heard);
    assert!(list(&cave.hear(&ask(&format!(" since='{version}'")))).is_none(), "nothing is new");
    cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hag66@shakespeare.lit'/><item affiliation='none' jid='wiccarocks@shakespeare.lit'/>"));
    let heard = cave.hear(&ask(&format!(" since='{version}'")));
    let news = list(&heard).unwrap();
    assert!(
        news.contains(&format!("since='{version}'")) && news.contains("hag66") && !news.contains("jid='crone1"),
        "{news}"
    );
    assert!(news.contains("<item jid='wiccarocks@shakespeare.lit' affiliation='none'/>"), "{news}");
    // A version that nobody gave.
    assert!(list(&cave.hear(&ask(" since='9pacabr2q1'"))).unwrap().contains("crone1"));
    // Who became a member later does not learn what was before.
    let heard =
        cave.hear(&join(HAG, "thirdwitch", &format!("<mav xmlns='urn:xmpp:muc:affiliations:0' since='{version}'/>")));
    assert!(!heard.by(HAG)[0].contains("wiccarocks"), "{:?}", heard.by(HAG)[0]);
    // Who may not see the lists is told so.
    let mut cave = Cave::full();
    let heard = cave.hear(&join(HECATE, "hecate", "<mav xmlns='urn:xmpp:muc:affiliations:0'/>"));
    assert!(heard.by(HECATE)[0].starts_with("<message") && heard.by(HECATE)[0].contains("forbidden"));
}

#[test]
fn xep_0463_a_change_carries_both_versions() {
    let mut cave = Cave::full();
    let heard = cave.hear(&admin(CRONE, "set", "<item affiliation='member' jid='hag66@shakespeare.lit'/>"));
    let told = heard.0.iter().find(|stanza| stanza.to == Some(jid(WICCA))).unwrap();
    let x = told.payload("http://jabber.org/protocol/muc#user", "x").unwrap();
    let mav = x.child("urn:xmpp:muc:affiliations:0", "mav").unwrap();
    assert_eq!(mav.attribute("since").as_deref(), Some("1000"));
    assert_eq!(mav.attribute("until"), Some(cave.room.records().version.to_string().into()));
}

#[test]
fn xep_0486_owners_give_the_room_a_picture() {
    let mut cave = Cave::full();
    let card = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO></vCard>";
    assert_eq!(cave.hear(&iq(WICCA, "set", card)).error(), "auth forbidden");
    let heard = cave.hear(&iq(CRONE, "set", card));
    assert!(heard.one(HAG).contains("code='104'"));
    assert!(matches!(cave.changes.as_slice(), [Change::Card(Some(kept), hashes)] if kept == card && hashes.len() == 1));
    let information = iq(BARD, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>");
    assert!(cave.hear(&information).result().contains("muc#roominfo_avatarhash"));
    cave.hear(&iq(CRONE, "set", "<vCard xmlns='vcard-temp'/>"));
    assert!(matches!(cave.changes.last(), Some(Change::Card(None, hashes)) if hashes.is_empty()));
    assert!(!cave.hear(&information).result().contains("muc#roominfo_avatarhash"));
}

#[test]
fn xep_0500_slow_mode_slows_everyone_but_admins() {
    let mut cave = Cave::with(|configuration| configuration.slow_mode = 20).witches();
    let say = groupchat(HAG, "<body>x</body>");
    assert_eq!(cave.hear(&say).0.len(), 3);
    let heard = cave.hear(&say);
    assert_eq!(heard.error(), "wait policy-violation");
    assert!(heard.all()[0].contains("20 seconds"));
    cave.join("hag66@shakespeare.lit/phone", "otherhag");
    assert!(cave.hear(&groupchat("hag66@shakespeare.lit/phone", "<body>x</body>")).0[0].is_error(), "by account");
    assert!(!cave.hear(&groupchat(HAG, "<composing xmlns='http://jabber.org/protocol/chatstates'/>")).0[0].is_error());
    for _ in 0..2 {
        assert!(!cave.hear(&groupchat(WICCA, "<body>x</body>")).0[0].is_error());
    }
    cave.later(20);
    assert!(!cave.hear(&say).0[0].is_error());
    let information = iq(BARD, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>");
    let text = cave.hear(&information).result();
    assert!(text.contains("var='muc#roominfo_slow_mode_duration'") && text.contains("<value>20</value>"));
}

#[test]
fn xep_0452_members_who_are_away_learn_that_they_are_mentioned() {
    let mut cave = Cave::open();
    cave.affiliate(HECATE, Affiliation::Member, None);
    cave.affiliate("other@shakespeare.lit", Affiliation::Member, None);
    let mut cave = cave.witches();
    let mention = "<body>hecate: hi</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:hecate@shakespeare.lit'/>";
    let heard = cave.hear(&groupchat(HAG, mention));
    assert_eq!(heard.0.len(), 4);
    let notice = heard.one("hecate@shakespeare.lit");
    assert!(notice.starts_with(&format!("<message from='{COVEN}' to='hecate@shakespeare.lit'>")), "{notice}");
    assert!(
        notice.contains("<mentions xmlns='urn:xmpp:mmn:0'><forwarded xmlns='urn:xmpp:forward:0'><delay "),
        "{notice}"
    );
    assert!(notice.contains(&format!("<message xmlns='jabber:client' from='{COVEN}/thirdwitch'")), "{notice}");
    // By occupant id, as XEP-0513 wants it; all members at once; not those who are here.
    let id = cave.room.rules_for_tests().occupant_id(&bare(COVEN), &bare(HECATE));
    let by_id = format!("<body>x</body><mention xmlns='urn:xmpp:mentions:0' occupantid='{id}'/>");
    assert_eq!(cave.hear(&groupchat(HAG, &by_id)).by("hecate@shakespeare.lit").len(), 1);
    let all = "<body>x</body><mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#member'/>";
    assert_eq!(cave.hear(&groupchat(HAG, all)).0.len(), 5);
    cave.join(HECATE, "hecate");
    assert!(cave.hear(&groupchat(HAG, mention)).by("hecate@shakespeare.lit").is_empty());
    // Strangers are told nothing.
    let stranger = mention.replace("hecate@", "bard@");
    assert_eq!(cave.hear(&groupchat(HAG, &stranger)).0.len(), 4);
}

#[test]
fn xep_0513_owners_say_who_may_mention_whom() {
    let mut cave = Cave::full();
    let get = iq(HAG, "get", "<query xmlns='urn:xmpp:mentions:0'/>");
    assert!(cave.hear(&get).result().contains("mentions#count"));
    let set = |who: &str| {
        iq(
            who,
            "set",
            "<query xmlns='urn:xmpp:mentions:0'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
            <value>urn:xmpp:mentions:0</value></field><field var='mentions#count'><value>1</value></field></x></query>",
        )
    };
    assert_eq!(cave.hear(&set(WICCA)).error(), "auth forbidden");
    let heard = cave.hear(&set(CRONE));
    let told = heard.one(HAG);
    assert!(told.contains("mentions#count") && !told.contains("mentions#individual"), "{told}");
    assert!(cave.hear(&get).result().contains("<value>1</value>"));
}
