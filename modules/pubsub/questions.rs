//! Questions that clients are asked: what they can do (XEP-0030 §3.1). An answer counts only from whom it was asked
//! (security row S17), and what is learned by a hash is learned for all clients of its kind (S22).

use std::collections::HashMap;
use std::hash::RandomState;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::oneshot;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::fault::Fault;
use waxwing_core::module::Context;
use waxwing_core::stanza::{IqType, Stanza, StanzaType, element};
use waxwing_core::xml::{Element, Writer};

use crate::capabilities::{Advertised, Interests, Version, interests};
use crate::protocol::DISCO_INFO;

/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long somebody waits for what another client of the same kind is being asked.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(3);

/// What is known of a kind of client weighs its bytes.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Version, Interests> for ByBytes {
    fn weight(&self, _: &Version, interests: &Interests) -> u64 {
        200 + interests.iter().map(|node| node.len() as u64 + 24).sum::<u64>()
    }
}

/// Who has been asked, and where the answer goes.
struct Asked {
    whom: Jid,
    answer: oneshot::Sender<Option<Element>>,
}

/// The questions that wait for an answer, and what was learned.
pub struct Questions {
    waiting: Mutex<HashMap<String, Asked>>,
    most_waiting: usize,
    learned: Cache<Version, Interests, ByBytes, RandomState>,
}

impl Questions {
    /// None yet. So many may wait at a time, and so many bytes are used for what was learned.
    pub fn new(most_waiting: usize, bytes: usize) -> Questions {
        let bytes = (bytes as u64).clamp(16 * 1024, 1 << 32);
        let kinds = (bytes / 2_000).max(16) as usize;
        Questions {
            waiting: Mutex::default(),
            most_waiting,
            learned: Cache::with(kinds, bytes, ByBytes, RandomState::new(), Default::default()),
        }
    }

    /// Which nodes a client wants to hear of: remembered, or asked for in the name of `account`. None when it does not
    /// answer.
    pub async fn interests(
        &self,
        context: &Context,
        account: &BareJid,
        client: &Jid,
        advertised: &Advertised,
    ) -> Option<Interests> {
        let Some(version) = advertised.shared() else {
            // What it says holds for itself alone.
            let answer = self.ask(context, account, client, advertised).await?;
            return Some(interests(answer.as_child()));
        };
        let known = self.learned.get_value_or_guard_async(&version);
        match tokio::time::timeout(PATIENCE_WITH_OTHERS, known).await {
            Ok(Ok(interests)) => Some(interests),
            Ok(Err(guard)) => {
                let answer = self.ask(context, account, client, advertised).await?;
                let interests = interests(answer.as_child());
                if version.is_of(answer.as_child()) {
                    let _ = guard.insert(interests.clone());
                }
                Some(interests)
            }
            // Somebody of the same kind is slow to answer, or only pretends to be of it.
            Err(_) => {
                let answer = self.ask(context, account, client, advertised).await?;
                let interests = interests(answer.as_child());
                if version.is_of(answer.as_child()) {
                    self.learned.insert(version, interests.clone());
                }
                Some(interests)
            }
        }
    }

    async fn ask(
        &self,
        context: &Context,
        account: &BareJid,
        client: &Jid,
        advertised: &Advertised,
    ) -> Option<Element> {
        let question = match question(advertised) {
            Ok(question) => Stanza::iq(IqType::Get).from(account.clone()).to(client.clone()).with(question),
            Err(fault) => {
                tracing::debug!(fault = fault.id(), "pubsub.no_question");
                return None;
            }
        };
        let id = question.id.as_deref().unwrap_or_default().to_owned();
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= self.most_waiting {
                tracing::debug!(client = %client, "pubsub.too_many_questions");
                return None;
            }
            waiting.insert(id.clone(), Asked { whom: client.clone(), answer });
        }
        // Dropped in any case, also when nobody waits any more.
        let _forgets = Forgets { questions: self, id: &id };
        context.send(question).await;
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()?
    }

    /// Takes the answer to a question; whether it was one.
    pub fn answered(&self, stanza: &Stanza) -> bool {
        let is_result = match stanza.what {
            StanzaType::Iq(IqType::Result) => true,
            StanzaType::Iq(IqType::Error) => false,
            _ => return false,
        };
        let (Some(id), Some(from)) = (&stanza.id, &stanza.from) else { return false };
        let asked = {
            let mut waiting = self.waiting.lock();
            match waiting.get(&**id) {
                Some(asked) if asked.whom == *from => waiting.remove(&**id),
                _ => None,
            }
        };
        let Some(asked) = asked else { return false };
        let answer = stanza.payload(DISCO_INFO, "query").filter(|_| is_result).map(|query| query.to_element());
        let _ = asked.answer.send(answer);
        true
    }
}

/// A question that is forgotten when nobody waits for its answer.
struct Forgets<'a> {
    questions: &'a Questions,
    id: &'a str,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.questions.waiting.lock().remove(self.id);
    }
}

fn question(advertised: &Advertised) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("query").attribute("xmlns", DISCO_INFO).attribute("node", &advertised.question());
    element(writer.finish())
}
