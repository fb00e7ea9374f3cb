//! Questions of the server's own: IQs it sends, and who waits for which answer (RFC 6120 §8.2.3).

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::address::Jid;
use crate::stanza::{IqType, Stanza, StanzaType};

/// Why there is no answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Nobody has answered in time.
    #[error("there was no answer in time")]
    TooLate,
    /// As many questions are open as may be (`limits.open_questions`).
    #[error("too many questions are open")]
    TooMany,
    /// The stanza is no IQ of type get or set with an id and an address.
    #[error("this is no question")]
    NotAQuestion,
}

/// The questions of one host that nobody has answered yet. An answer counts only from the very address that was asked, and
/// only under the id of the question (security row S17).
#[derive(Default)]
pub struct Questions {
    open: Mutex<HashMap<Box<str>, Open>>,
}

/// A question that waits for its answer.
struct Open {
    asked: Jid,
    answer: oneshot::Sender<Stanza>,
}

/// A question that is forgotten when this is dropped.
pub(crate) struct Waiting<'a> {
    questions: &'a Questions,
    id: Box<str>,
    answer: oneshot::Receiver<Stanza>,
}

impl Questions {
    /// Enters a question. At most `most` are open at a time.
    pub(crate) fn enter(&self, question: &Stanza, most: usize) -> Result<Waiting<'_>, Unanswered> {
        let is_question = matches!(question.what, StanzaType::Iq(IqType::Get | IqType::Set));
        let (true, Some(id), Some(asked)) = (is_question, &question.id, &question.to) else {
            return Err(Unanswered::NotAQuestion);
        };
        let (sender, receiver) = oneshot::channel();
        let mut open = self.open.lock();
        if open.len() >= most {
            return Err(Unanswered::TooMany);
        }
        open.insert(id.clone(), Open { asked: asked.clone(), answer: sender });
        Ok(Waiting { questions: self, id: id.clone(), answer: receiver })
    }

    /// Somebody answers; whether anybody waited for it.
    pub(crate) fn settle(&self, answer: &Stanza) -> bool {
        let (Some(id), Some(from)) = (&answer.id, &answer.from) else { return false };
        let mut open = self.open.lock();
        if open.get(id).is_none_or(|question| question.asked != *from) {
            return false;
        }
        let question = open.remove(id);
        drop(open);
        question.is_some_and(|question| question.answer.send(answer.clone()).is_ok())
    }

    /// How many questions are open.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether every question is answered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Waiting<'_> {
    /// Waits until the question is put, by `putting`, and answered: at most `patience` for both.
    pub(crate) async fn answer(
        mut self,
        putting: impl Future<Output = ()>,
        patience: Duration,
    ) -> Result<Stanza, Unanswered> {
        let answered = async {
            putting.await;
            (&mut self.answer).await
        };
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Unanswered::TooLate),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.questions.open.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(to: &str) -> Stanza {
        Stanza::iq(IqType::Set).to(Jid::new(to).unwrap()).id("q1")
    }

    fn answer(from: &str, id: &str) -> Stanza {
        Stanza::iq(IqType::Result).from(Jid::new(from).unwrap()).id(id)
    }

    #[tokio::test]
    async fn s17_only_who_was_asked_answers_and_only_under_the_id() {
        let questions = Questions::default();
        let waiting = questions.enter(&question("app.lit/a"), 1).unwrap();
        assert_eq!(questions.enter(&question("app.lit/b"), 1).err(), Some(Unanswered::TooMany));
        for (from, id) in [("app.lit", "q1"), ("app.lit/b", "q1"), ("evil.lit/a", "q1"), ("app.lit/a", "q2")] {
            assert!(!questions.settle(&answer(from, id)), "{from} {id}");
        }
        assert!(!questions.settle(&Stanza::iq(IqType::Result).id("q1")), "from nobody");
        assert!(questions.settle(&answer("app.lit/a", "q1")));
        assert!(!questions.settle(&answer("app.lit/a", "q1")), "once");
        let answered = waiting.answer(std::future::ready(()), Duration::from_secs(1)).await.unwrap();
        assert_eq!(answered.id.as_deref(), Some("q1"));
        assert!(questions.is_empty());
    }

    #[tokio::test]
    async fn a_question_without_an_answer_is_forgotten() {
        let questions = Questions::default();
        let waiting = questions.enter(&question("app.lit"), 1).unwrap();
        let answered = waiting.answer(std::future::ready(()), Duration::from_millis(10)).await;
        assert_eq!(answered.err(), Some(Unanswered::TooLate));
        assert!(questions.is_empty());
        let hanging = questions.enter(&question("app.lit"), 1).unwrap();
        let answered = hanging.answer(std::future::pending(), Duration::from_millis(10)).await;
        assert_eq!(answered.err(), Some(Unanswered::TooLate), "also when it cannot even be put");
        assert_eq!(questions.enter(&answer("app.lit", "q1"), 1).err(), Some(Unanswered::NotAQuestion));
    }
}
