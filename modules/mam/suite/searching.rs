//! Words that are frequent, rare, far away and of somebody else: each is found, whichever way the database takes.

use super::*;
use crate::store::NewMessage;

/// How many messages there are: more than the database looks through before it asks the index of words.
const MANY: usize = 4_100;
/// Which of them hold the rare word; the last but one is Mercutio's, as are all that do not hold it.
const RARE: [usize; 5] = [1, 50, 60, 4_050, 4_099];

async fn fill(database: &Database, archives: &Archives, next_id: &NextId) -> Vec<ArchiveId> {
    let store = Store(database.clone());
    let (hers, of_nurse) = (archives.number_of(&juliet()).await.unwrap(), archives.number_of(&nurse()).await.unwrap());
    let mut ids = Vec::with_capacity(MANY);
    let mut rows = Vec::new();
    for number in 0..MANY {
        let is_rare = RARE.contains(&number);
        let peer = if is_rare && number != 60 { "romeo@montague.lit" } else { "mercutio@montague.lit" };
        let body = if is_rare { "often seldom" } else { "often" };
        let stanza = said(peer, body).to_bytes();
        for archive in [Some(hers), (number % 2_000 == 1).then_some(of_nurse)].into_iter().flatten() {
            let id = next_id();
            if archive == hers {
                ids.push(ArchiveId(id));
            }
            rows.push((archive, id, peer, stanza.clone()));
        }
    }
    for rows in rows.chunks(500) {
        let messages: Vec<NewMessage<'_>> = rows
            .iter()
            .map(|(archive, id, peer, stanza)| NewMessage {
                archive: *archive,
                id: *id,
                reference: 0,
                peer,
                resource: "",
                stanza,
            })
            .collect();
        store.insert(&messages).await.unwrap();
    }
    archives.finish_search().await.unwrap();
    ids
}

on_both_engines! {
    [MIGRATIONS];

    async fn rare_words_are_found_however_far_away_they_are(database: Database) {
        let (archives, clock) = open(&database, Settings::default());
        let ids = fill(&database, &archives, &clock.next_id()).await;
        let rare = RARE.map(|number| ids[number]);
        let found = async |words: &str, with: &str, set: &str| {
            let fields = field(FULL_TEXT, words) + &(if with.is_empty() { String::new() } else { field("with", with) });
            let (found, fin) = page(&archives, &juliet(), &query(&fields, set)).await.unwrap();
            let count = fin.child("http://jabber.org/protocol/rsm", "set").unwrap();
            let count = count.child("http://jabber.org/protocol/rsm", "count").map(|count| count.text().into_owned());
            (found, fin.attribute("complete").is_some(), count)
        };
        let romeo = "romeo@montague.lit";
        for words in ["seldom", "often seldom", "seldom often"] {
            for end in ["", "<before/>"] {
                assert_eq!(found(words, "", end).await, (rare.to_vec(), true, Some("5".to_owned())), "{words} {end}");
                let his = [rare[0], rare[1], rare[3], rare[4]].to_vec();
                assert_eq!(found(words, romeo, end).await, (his, true, Some("4".to_owned())), "{words} {end}");
                let of_mercutio = found(words, "mercutio@montague.lit", end).await;
                assert_eq!(of_mercutio, (vec![rare[2]], true, Some("1".to_owned())), "{words} {end}");
                assert_eq!(found(words, "nobody@montague.lit", end).await.0, [], "{words} {end}");
            }
            // Page by page, over the edge of what is looked through.
            assert_eq!(found(words, "", "<max>3</max><before/>").await, (rare[2..].to_vec(), false, None));
            let before = format!("<max>3</max><before>{}</before>", rare[2]);
            assert_eq!(found(words, "", &before).await, (rare[..2].to_vec(), true, None));
            assert_eq!(found(words, "", "<max>3</max>").await, (rare[..3].to_vec(), false, None));
            let after = format!("<max>3</max><after>{}</after>", rare[2]);
            assert_eq!(found(words, "", &after).await, (rare[3..].to_vec(), true, None));
            assert_eq!(found(words, "", "<max>0</max>").await.2.as_deref(), Some("5"));
            assert_eq!(found(words, romeo, "<max>0</max>").await.2.as_deref(), Some("4"));
        }
        // Frequent ones.
        assert_eq!(found("often", "", "<max>3</max><before/>").await, (ids[MANY - 3..].to_vec(), false, None));
        assert_eq!(found("often", "", "<max>3</max>").await, (ids[..3].to_vec(), false, None));
        let (his, all, _) = found("often", romeo, "").await;
        assert_eq!((his, all), (vec![rare[0], rare[1], rare[3], rare[4]], true));
        // How many they are may be too much to tell; it is never told wrongly.
        let count = found("often", "", "<max>0</max>").await.2;
        assert!(count.as_deref().is_none_or(|count| count == "4100"), "{count:?}");
        for nothing in ["never", "often never", "seldom never"] {
            assert_eq!(found(nothing, "", "<before/>").await, (Vec::new(), true, Some("0".to_owned())), "{nothing}");
        }
        // A small archive beside a large one with the same words.
        assert_eq!(search(&archives, &nurse(), "often").await.len(), 3);
        assert_eq!(search(&archives, &nurse(), "seldom").await.len(), 1);
    }
}
