//! Expiry while others read and write: it makes nobody wait, and no hole.

use super::*;

on_both_engines! {
    [MIGRATIONS];

    async fn while_old_messages_are_deleted_others_write_and_no_archive_has_a_hole(database: Database) {
        let settings = Settings { keep: Keep::of(Duration::from_secs(30 * 86_400)), ..Settings::default() };
        let (archives, clock) = open(&database, settings);
        clock.set(now() - 40 * DAY);
        let stanza = said("romeo@montague.lit", "x");
        let mut ids = Vec::new();
        for _ in 0..450 {
            ids.push(receive(&archives, &juliet(), &stanza).await);
        }
        clock.set(now());
        let left = async || {
            let stretch = Stretch { after: None, before: None, newest: false, most: 1000 };
            let kept = archives.read(&juliet(), stretch).await.unwrap();
            kept.iter().map(|kept| kept.id).collect::<Vec<_>>()
        };
        // After the first piece it rests for longer than this test lasts.
        let expiring = archives.expire(Duration::from_secs(3600));
        let others = async {
            while left().await.len() == ids.len() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(left().await, ids[200..], "the oldest go first");
            receive(&archives, &juliet(), &stanza).await
        };
        let newest = tokio::select! {
            result = expiring => panic!("it did not rest: {result:?}"),
            newest = others => newest,
        };
        assert_eq!(left().await.last(), Some(&newest));
        assert_eq!(archives.expire(Duration::ZERO).await.unwrap(), 250);
        assert_eq!(left().await, [newest]);
    }
}
