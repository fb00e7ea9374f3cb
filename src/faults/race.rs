//! Two connections of one client that resume the same session at once (row F16).

use std::time::Duration;

use waxwing_xml::Element;

use crate::wire::{Gone, Wire};

/// How long two streams may live that both were told that they have the session.
const PATIENCE: Duration = Duration::from_secs(10);

/// A race that is to be run.
pub struct Race {
    /// Whether the old connection stays open meanwhile.
    pub keep_old: bool,
    /// The old connection.
    pub old: Option<Wire>,
}

/// How a race has ended.
pub struct Outcome {
    /// The connection that has won.
    pub wire: Wire,
    /// What it was answered.
    pub answer: Element,
    /// What the server has done wrong.
    pub wrong: Option<String>,
}

/// Sends the request on both, and finds the one that has the session.
pub async fn resume_both(mut first: Wire, mut second: Wire, resume: &str) -> Result<Outcome, Gone> {
    let (sent, also) = tokio::join!(first.send(resume), second.send(resume));
    sent.and(also)?;
    let (one, two) = tokio::join!(first.answer(), second.answer());
    let is_resumed = |answer: &Result<Element, Gone>| answer.as_ref().is_ok_and(|answer| answer.name() == "resumed");
    let (one_has_it, two_has_it) = (is_resumed(&one), is_resumed(&two));
    match (one_has_it, two_has_it) {
        (true, false) => Ok(Outcome { wire: first, answer: one?, wrong: None }),
        (false, true) => Ok(Outcome { wire: second, answer: two?, wrong: None }),
        (false, false) => {
            let said = |answer: &Result<Element, Gone>| match answer {
                Ok(answer) => String::from_utf8_lossy(answer.as_bytes()).into_owned(),
                Err(gone) => gone.to_string(),
            };
            let wrong = Some(format!("two resumed at once and neither may: {} and {}", said(&one), said(&two)));
            Ok(Outcome { wire: first, answer: one?, wrong })
        }
        // One after the other: the first must be thrown off its stream.
        (true, true) => {
            let (one, two) = (one?, two?);
            let deadline = tokio::time::sleep(PATIENCE);
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    read = first.read_past() => match read {
                        Ok(element) => first.put_back(element),
                        Err(_) => return Ok(Outcome { wire: second, answer: two, wrong: None }),
                    },
                    read = second.read_past() => match read {
                        Ok(element) => second.put_back(element),
                        Err(_) => return Ok(Outcome { wire: first, answer: one, wrong: None }),
                    },
                    () = &mut deadline => {
                        let wrong = Some("two streams have the same session".to_owned());
                        return Ok(Outcome { wire: first, answer: one, wrong });
                    }
                }
            }
        }
    }
}
