//! Executions of commands that wait for their client: bounded, and forgotten after a while (XEP-0050 §3.3).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use waxwing_core::address::Jid;
use waxwing_core::commands::Command;
use waxwing_core::forms::Filled;
use waxwing_core::refusal::Refusal;

use crate::protocol::{Action, session_expired, wrong};

/// An execution that waits for its client.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Whose it is: the client's full JID.
    pub by: Jid,
    /// The entity whose command it is.
    pub of: Jid,
    /// The command.
    pub command: &'static Command,
    /// What was filled in so far.
    pub answers: Vec<Filled>,
    /// Whether another step may follow.
    pub may_go_on: bool,
    /// Whether it may be completed now.
    pub may_finish: bool,
}

/// What the owner of a command is asked next.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// What was filled in so far.
    pub answers: Vec<Filled>,
    /// Whether it is to be done now.
    pub is_last: bool,
}

impl Execution {
    /// What an action of the client means at this step.
    ///
    /// # Errors
    /// `bad-action` when it is not allowed here.
    pub fn turn(&self, action: Action, filled: Option<Filled>) -> Result<Turn, Refusal> {
        let mut answers = self.answers.clone();
        let action = match action {
            Action::Execute if self.may_go_on => Action::Next,
            Action::Execute => Action::Complete,
            action => action,
        };
        let is_last = match action {
            Action::Next if self.may_go_on => false,
            Action::Complete if self.may_finish => true,
            Action::Previous if answers.pop().is_some() => return Ok(Turn { answers, is_last: false }),
            _ => return Err(wrong("bad-action")),
        };
        answers.push(filled.unwrap_or_default());
        Ok(Turn { answers, is_last })
    }
}

/// What an execution may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many wait at a time.
    pub all: usize,
    /// How many of one account.
    pub of_account: usize,
    /// For how long.
    pub patience: Duration,
}

/// The executions that wait, by their ids.
pub struct Executions {
    bounds: Bounds,
    waiting: HashMap<String, (Instant, Execution)>,
}

/// How long an id of ours is ([`waxwing_core::random::token`]).
const ID_LENGTH: usize = 24;

impl Executions {
    /// None waits.
    pub fn new(bounds: Bounds) -> Executions {
        Executions { bounds, waiting: HashMap::new() }
    }

    /// Lets an execution wait. When its account has too many, the one that waits for the longest time is forgotten.
    ///
    /// # Errors
    /// `resource-constraint` when as many wait as may.
    pub fn put(&mut self, id: String, execution: Execution, now: Instant) -> Result<(), Refusal> {
        if self.waiting.len() >= self.bounds.all {
            self.forget_old(now);
        }
        let account = execution.by.to_bare();
        let own = self.waiting.iter().filter(|(_, (_, other))| other.by.to_bare() == account);
        let own: Vec<(Instant, String)> = own.map(|(id, (since, _))| (*since, id.clone())).collect();
        if own.len() >= self.bounds.of_account
            && let Some((_, oldest)) = own.into_iter().min()
        {
            self.waiting.remove(&oldest);
        }
        if self.waiting.len() >= self.bounds.all {
            return Err(Refusal::resource_constraint().saying("too many commands are being run"));
        }
        self.waiting.insert(id, (now, execution));
        Ok(())
    }

    /// Takes out the execution that a client goes on with.
    ///
    /// # Errors
    /// `bad-sessionid` when it is none of this client, entity and node; `session-expired` when it is over.
    pub fn take(&mut self, id: &str, by: &Jid, of: &Jid, node: &str, now: Instant) -> Result<Execution, Refusal> {
        let Some((since, execution)) = self.waiting.get(id) else {
            // An id of our form was given by us: what is not here any more has come to its end.
            let was_ours =
                id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            return Err(if was_ours { session_expired() } else { wrong("bad-sessionid") });
        };
        if execution.by != *by || execution.of != *of || execution.command.node != node {
            return Err(wrong("bad-sessionid"));
        }
        let is_old = now.saturating_duration_since(*since) > self.bounds.patience;
        match self.waiting.remove(id) {
            Some((_, execution)) if !is_old => Ok(execution),
            _ => Err(session_expired()),
        }
    }

    /// Forgets those that have waited for too long.
    pub fn forget_old(&mut self, now: Instant) {
        let patience = self.bounds.patience;
        self.waiting.retain(|_, (since, _)| now.saturating_duration_since(*since) <= patience);
        self.waiting.shrink_to(self.waiting.len().max(16));
    }

    /// Forgets those of a client that is gone.
    pub fn forget_client(&mut self, client: &Jid) {
        self.waiting.retain(|_, (_, execution)| execution.by != *client);
    }
}

#[cfg(test)]
mod tests {
    use waxwing_core::commands::Who;
    use waxwing_core::module::Entity;

    use super::*;

    static COMMAND: Command = Command { entity: Entity::Account, node: "list", name: "List", who: Who::Accounts };

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn execution(by: &str) -> Execution {
        let (by, of) = (jid(by), jid("juliet@capulet.lit"));
        Execution { by, of, command: &COMMAND, answers: Vec::new(), may_go_on: false, may_finish: true }
    }

    fn executions() -> Executions {
        Executions::new(Bounds { all: 3, of_account: 2, patience: Duration::from_secs(60) })
    }

    fn id(number: u32) -> String {
        format!("{number:0>24}")
    }

    fn reason(refusal: Refusal) -> (&'static str, &'static str) {
        (refusal.kind.name(), refusal.application.map_or(refusal.condition.name(), |(name, _)| name))
    }

    #[test]
    fn actions_mean_what_the_step_allows() {
        let filled = |answers: usize| vec![Filled::default(); answers];
        let at = |answers, may_go_on, may_finish| Execution {
            answers: filled(answers),
            may_go_on,
            may_finish,
            ..execution("juliet@capulet.lit/a")
        };
        let next = |answers| Ok(Turn { answers: filled(answers), is_last: false });
        let done = |answers| Ok(Turn { answers: filled(answers), is_last: true });
        for (execution, action, wanted) in [
            (at(0, true, false), Action::Execute, next(1)),
            (at(0, true, true), Action::Execute, next(1)),
            (at(1, false, true), Action::Execute, done(2)),
            (at(0, true, false), Action::Next, next(1)),
            (at(0, true, true), Action::Complete, done(1)),
            (at(2, true, true), Action::Previous, next(1)),
            (at(0, true, true), Action::Previous, Err("bad-action")),
            (at(0, true, false), Action::Complete, Err("bad-action")),
            (at(0, false, true), Action::Next, Err("bad-action")),
            (at(0, false, false), Action::Execute, Err("bad-action")),
        ] {
            let turn = execution.turn(action, None).map_err(|refusal| reason(refusal).1);
            assert_eq!(turn, wanted, "{execution:?} {action:?}");
        }
    }

    #[test]
    fn an_execution_is_gone_on_with_by_who_began_it_only() {
        let mut executions = executions();
        let (now, juliet, account) = (Instant::now(), jid("juliet@capulet.lit/a"), jid("juliet@capulet.lit"));
        executions.put(id(1), execution("juliet@capulet.lit/a"), now).unwrap();
        for (by, of, node) in [
            ("juliet@capulet.lit/b", "juliet@capulet.lit", "list"),
            ("juliet@capulet.lit/a", "capulet.lit", "list"),
            ("juliet@capulet.lit/a", "juliet@capulet.lit", "other"),
        ] {
            let taken = executions.take(&id(1), &jid(by), &jid(of), node, now);
            assert_eq!(reason(taken.unwrap_err()), ("modify", "bad-sessionid"));
        }
        assert_eq!(reason(executions.take("x", &juliet, &account, "list", now).unwrap_err()).1, "bad-sessionid");
        assert!(executions.take(&id(1), &juliet, &account, "list", now).is_ok());
        let again = executions.take(&id(1), &juliet, &account, "list", now);
        assert_eq!(reason(again.unwrap_err()), ("cancel", "session-expired"));
    }

    #[test]
    fn executions_expire_and_are_bounded() {
        let mut executions = executions();
        let (begun, juliet, account) = (Instant::now(), jid("juliet@capulet.lit/a"), jid("juliet@capulet.lit"));
        executions.put(id(1), execution("juliet@capulet.lit/a"), begun).unwrap();
        let later = begun + Duration::from_secs(61);
        let late = executions.take(&id(1), &juliet, &account, "list", later);
        assert_eq!(reason(late.unwrap_err()).1, "session-expired");
        for number in 2..5 {
            executions
                .put(id(number), execution("juliet@capulet.lit/a"), later + Duration::from_secs(number.into()))
                .unwrap();
        }
        assert_eq!(executions.waiting.len(), 2, "the oldest of an account makes room");
        assert!(!executions.waiting.contains_key(&id(2)));
        executions.put(id(5), execution("nurse@capulet.lit/a"), later).unwrap();
        let full = executions.put(id(6), execution("romeo@montague.lit/a"), later).unwrap_err();
        assert_eq!(full.condition.name(), "resource-constraint");
        executions.forget_client(&jid("nurse@capulet.lit/a"));
        executions.put(id(6), execution("romeo@montague.lit/a"), later).unwrap();
        executions.put(id(7), execution("paris@verona.lit/a"), later + Duration::from_secs(100)).unwrap();
        assert_eq!(executions.waiting.len(), 1, "the old ones have made room");
    }
}
