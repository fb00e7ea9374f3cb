//! Commands that people run with their clients (XEP-0050), as modules state and carry them out.
//!
//! A module keeps nothing between the steps of a command: each time it is given every form that was filled in so far, and
//! says what comes next. So going back is the same question with one form less.

use waxwing_xml::Element;

use crate::answers::Request;
use crate::forms::Filled;
use crate::module::Entity;
use crate::refusal::Refusal;

/// The namespace of commands, and the node below which they are found.
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";

/// Who may run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Every client of an account of the host: with [`Entity::Account`] that account itself, and nobody else.
    Accounts,
    /// Those whom the configuration names as operators of the host. For [`Entity::Host`].
    Operators,
}

/// A command, for a module's manifest. One module owns a node of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// Whether it is a command of the host or of each account.
    pub entity: Entity,
    /// Its name on the wire.
    pub node: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Who may run it.
    pub who: Who,
}

/// One step of a command that somebody runs who may.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The command.
    pub command: &'static Command,
    /// What the client has sent; its session is there.
    pub request: Request<'a>,
    /// What was filled in so far, one form for each step that is behind.
    pub answers: &'a [Filled],
    /// Whether the client wants it done now, as far as it may be with what was filled in.
    pub is_last: bool,
}

/// How grave a note is (XEP-0050 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// For information.
    Info,
    /// Something is doubtful.
    Warning,
    /// It has failed.
    Error,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// This form is to be filled in.
    Ask {
        /// The form.
        form: Element,
        /// Whether another step may follow.
        may_go_on: bool,
        /// Whether the command may be completed with this form.
        may_finish: bool,
    },
    /// The command is done.
    Done {
        /// What it has found.
        form: Option<Element>,
        /// What is to be said about it.
        note: Option<(Gravity, String)>,
    },
}

impl Step {
    /// The last form of a command.
    pub fn ask_last(form: Element) -> Step {
        Step::Ask { form, may_go_on: false, may_finish: true }
    }

    /// It is done, and this is what it has found.
    pub fn found(form: Element) -> Step {
        Step::Done { form: Some(form), note: None }
    }

    /// It is done.
    pub fn done(note: impl Into<String>) -> Step {
        Step::Done { form: None, note: Some((Gravity::Info, note.into())) }
    }

    /// It was tried and has failed.
    pub fn failed(note: impl Into<String>) -> Step {
        Step::Done { form: None, note: Some((Gravity::Error, note.into())) }
    }
}

/// What was filled in last cannot be accepted (XEP-0050 §4.4): the client may try again at the same step.
pub fn bad_payload() -> Refusal {
    Refusal::bad_request().because("bad-payload", COMMANDS)
}
