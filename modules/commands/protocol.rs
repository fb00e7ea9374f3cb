//! What commands look like on the wire (XEP-0050 §4), and the ways to be wrong about them (§4.4).

use waxwing_core::commands::{COMMANDS, Gravity, Step};
use waxwing_core::fault::Fault;
use waxwing_core::forms::{DATA_FORM, Filled};
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::stanza::element;
use waxwing_core::xml::{Child, Element, Writer};

/// What a client wants of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin, or do what this step says is the usual thing.
    Execute,
    /// The next step.
    Next,
    /// The step before.
    Previous,
    /// Finish with what was filled in.
    Complete,
    /// Forget it.
    Cancel,
}

/// What a client sends.
#[derive(Debug)]
pub struct Wish {
    /// Which command.
    pub node: String,
    /// Which execution of it; none to begin one.
    pub session: Option<String>,
    /// What to do.
    pub action: Action,
    /// What was filled in.
    pub filled: Option<Filled>,
}

/// Reads what a client sends.
///
/// # Errors
/// `bad-request`, with `malformed-action` for an action that is none.
pub fn read(payload: Child<'_>) -> Result<Wish, Refusal> {
    if payload.name() != "command" {
        return Err(Refusal::bad_request());
    }
    let Some(node) = payload.attribute("node") else {
        return Err(Refusal::bad_request().saying("a command needs a node"));
    };
    let action = match payload.attribute("action").as_deref() {
        None | Some("execute") => Action::Execute,
        Some("next") => Action::Next,
        Some("prev") => Action::Previous,
        Some("complete") => Action::Complete,
        Some("cancel") => Action::Cancel,
        Some(_) => return Err(wrong("malformed-action")),
    };
    Ok(Wish {
        node: node.into_owned(),
        session: payload.attribute("sessionid").map(|id| id.into_owned()),
        action,
        filled: payload.child(DATA_FORM, "x").map(Filled::read),
    })
}

/// A refusal for one of the specific conditions that go with bad-request.
pub fn wrong(condition: &'static str) -> Refusal {
    Refusal::bad_request().because(condition, COMMANDS)
}

/// The execution has come to its end.
pub fn session_expired() -> Refusal {
    Refusal::not_allowed().because("session-expired", COMMANDS)
}

/// The command is not for whoever asks.
pub fn forbidden() -> Refusal {
    Refusal::forbidden().of_type(ErrorType::Cancel)
}

/// How an execution stands after a step.
pub enum Standing<'a> {
    /// The step says what comes next; `may_go_back` when a step is behind.
    After {
        /// What comes next.
        step: &'a Step,
        /// Whether a step is behind.
        may_go_back: bool,
    },
    /// It was cancelled.
    Cancelled,
}

/// Writes what the client is told.
///
/// # Errors
/// A fault when it cannot be written.
pub fn write(node: &str, session: &str, standing: Standing<'_>) -> Result<Element, Fault> {
    let status = match standing {
        Standing::After { step: Step::Ask { .. }, .. } => "executing",
        Standing::After { step: Step::Done { .. }, .. } => "completed",
        Standing::Cancelled => "canceled",
    };
    let mut writer = Writer::new();
    writer.open("command").attribute("xmlns", COMMANDS);
    writer.attribute("node", node).attribute("sessionid", session).attribute("status", status);
    match standing {
        Standing::After { step: Step::Ask { form, may_go_on, may_finish }, may_go_back } => {
            writer.open("actions").attribute("execute", if *may_go_on { "next" } else { "complete" });
            for (name, is_allowed) in [("prev", may_go_back), ("next", *may_go_on), ("complete", *may_finish)] {
                if is_allowed {
                    writer.open(name).close();
                }
            }
            writer.close().raw(form.as_bytes());
        }
        Standing::After { step: Step::Done { form, note }, .. } => {
            if let Some((gravity, text)) = note {
                let kind = match gravity {
                    Gravity::Info => "info",
                    Gravity::Warning => "warn",
                    Gravity::Error => "error",
                };
                writer.open("note").attribute("type", kind).text(text).close();
            }
            if let Some(form) = form {
                writer.raw(form.as_bytes());
            }
        }
        Standing::Cancelled => {}
    }
    element(writer.close().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(xml: &str) -> Result<Wish, String> {
        read(element(xml.to_owned()).unwrap().as_child()).map_err(|refusal| {
            let application = refusal.application.map_or("", |(name, _)| name);
            format!("{} {application}", refusal.condition.name())
        })
    }

    #[test]
    fn a_wish_is_read_and_execute_goes_without_saying() {
        let begun = wish("<command xmlns='http://jabber.org/protocol/commands' node='list'/>").unwrap();
        assert_eq!((begun.node.as_str(), begun.session, begun.action), ("list", None, Action::Execute));
        let next = wish(
            "<command xmlns='http://jabber.org/protocol/commands' node='list' sessionid='s' action='next'>\
             <x xmlns='jabber:x:data' type='submit'><field var='a'><value>1</value></field></x></command>",
        );
        let next = next.unwrap();
        assert_eq!((next.session.as_deref(), next.action), (Some("s"), Action::Next));
        assert_eq!(next.filled.unwrap().text("a"), Some("1"));
        assert_eq!(wish("<command xmlns='http://jabber.org/protocol/commands'/>").unwrap_err(), "bad-request ");
        let malformed = "<command xmlns='http://jabber.org/protocol/commands' node='list' action='jump'/>";
        assert_eq!(wish(malformed).unwrap_err(), "bad-request malformed-action");
    }

    #[test]
    fn an_answer_names_the_actions_that_are_allowed() {
        let form = || element("<x xmlns='jabber:x:data' type='form'/>").unwrap();
        let asked = |may_go_on, may_finish, may_go_back| {
            let step = Step::Ask { form: form(), may_go_on, may_finish };
            let written = write("n", "s", Standing::After { step: &step, may_go_back }).unwrap();
            String::from_utf8(written.child(COMMANDS, "actions").unwrap().bytes().to_vec()).unwrap()
        };
        assert_eq!(asked(true, false, false), "<actions execute='next'><next/></actions>");
        assert_eq!(asked(false, true, true), "<actions execute='complete'><prev/><complete/></actions>");
        assert_eq!(asked(true, true, true), "<actions execute='next'><prev/><next/><complete/></actions>");
        let failed = Step::failed("a < b");
        let written = write("n", "s", Standing::After { step: &failed, may_go_back: true }).unwrap();
        assert_eq!(
            String::from_utf8(written.as_bytes().to_vec()).unwrap(),
            "<command xmlns='http://jabber.org/protocol/commands' node='n' sessionid='s' status='completed'>\
             <note type='error'>a &lt; b</note></command>"
        );
    }
}
