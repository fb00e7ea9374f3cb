//! How a client comes back: resumed before its writer knows, or available between a commit and what comes of it.

use bytes::Bytes;
use waxwing_core::address::FullJid;
use waxwing_core::archive::ArchiveId;
use waxwing_core::contracts::Resumed;
use waxwing_core::parcel::Origin;
use waxwing_core::session::{Circumstances, Saved};
use waxwing_core::wire::Keeper;

use super::*;

/// Keeps nothing, and is slow when a new connection comes.
struct Slow;

impl Keeper for Slow {
    fn patience(&self, _: &Session) -> Duration {
        Duration::from_secs(60)
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the writer is to stand still, and not to let anything else go before"
    )]
    fn again(&self) -> Vec<Parcel> {
        std::thread::sleep(Duration::from_millis(300));
        Vec::new()
    }
    fn give_up(&self) -> Vec<Parcel> {
        Vec::new()
    }
}

/// A session that was stored with its presence, and waits for its client.
fn restored(house: &Arc<House>, jid: &str) -> Arc<Session> {
    let jid = FullJid::new(jid).unwrap();
    let presence = Stanza::read(element("<presence/>").unwrap()).unwrap().unwrap();
    let host = house.host(jid.domain()).unwrap();
    let saved = Saved {
        jid,
        presence: Some(presence),
        interested: true,
        notes: Vec::new(),
        circumstances: Circumstances::default(),
    };
    host.restore_session(saved, Arc::new(Slow)).expect("a session")
}

#[test]
fn f18_what_came_while_a_session_waited_comes_when_it_is_resumed() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        let juliet = restored(&house, "juliet@verona.lit/balcony");
        eventually(|| juliet.waits_since().is_some(), || "it does not wait".to_owned()).await;
        chat(&romeo, "juliet@verona.lit", &words("a", 0..3), 10).await;
        assert_eq!(stored(&house).await, 3);
        let client = Paper::default();
        let resumed = Resumed {
            session: juliet.clone(),
            wire_number: juliet.take_over().await,
            after_restart: true,
            greeting: Bytes::from_static(b"<resumed/>"),
            otherwise: Bytes::new(),
        };
        // Everyone hears of it while the writer is still at what was not acknowledged.
        assert!(juliet.host().resume_session(resumed, client.wire()).await.is_ok());
        has_read(&client, &words("a", 0..3)).await;
        chat(&romeo, "juliet@verona.lit", &words("b", 0..2), 10).await;
        has_read(&client, &[words("a", 0..3), words("b", 0..2)].concat()).await;
    });
}

#[test]
fn who_has_found_a_message_in_the_archive_is_not_given_it_when_it_arrives() {
    on_both_engines("", async |house, _guard| {
        let (balcony, _) = session(&house, "juliet@verona.lit/balcony").await;
        let (phone, _) = session(&house, "juliet@verona.lit/phone").await;
        let account = balcony.account().clone();
        balcony.put_note(CatchesUp(ArchiveId(20)));
        let arriving = |to: &str, id: i64, recipients: &[&Arc<Session>]| {
            let stanza = format!(
                "<message to='{to}' type='chat'><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='{account}' id='{id}'/>\
                 </message>"
            );
            let mut parcel = Parcel::new(Stanza::read(element(stanza).unwrap()).unwrap().unwrap(), Origin::House);
            parcel.recipients = recipients.iter().map(|session| Arc::clone(session)).collect();
            let all = is_known_to_all(&account, &mut parcel);
            let left: Vec<String> = parcel.recipients.iter().map(|one| one.jid().resource().to_string()).collect();
            (all, left.concat())
        };
        let bare = account.as_str();
        assert_eq!(arriving(bare, 20, &[&balcony]), (true, String::new()));
        assert_eq!(arriving(bare, 20, &[&balcony, &phone]), (false, "phone".to_owned()));
        assert_eq!(arriving(bare, 21, &[&balcony]), (false, "balcony".to_owned()));
        assert_eq!(arriving("juliet@verona.lit/balcony", 20, &[&balcony]), (false, "balcony".to_owned()));
        assert_eq!(arriving(bare, 20, &[]), (false, String::new()));
    });
}
