//! Commands that people run with their clients, of the host and of their accounts (XEP-0050). What there is to run is
//! stated by modules.

mod executions;
mod protocol;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Scope, Topic};
use waxwing_core::commands::{COMMANDS, Command, Order, Step, Who};
use waxwing_core::events::{Event, Happening};
use waxwing_core::forms::{DATA_FORM, Filled};
use waxwing_core::limits::{ByteSize, Count, Period};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::random;
use waxwing_core::refusal::Refusal;
use xmpp_parsers::disco::{DiscoInfoResult, Identity, Item};

use executions::{Bounds, Execution, Executions, Turn};
use protocol::{Action, Standing, Wish, forbidden, wrong};

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(async move { start(context) }) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "commands",
    summary: "lets people run the commands of modules with their clients",
    xeps: &[Xep::partial(50, "1.3.0", "in English only")],
    features: &[(Entity::Host, COMMANDS), (Entity::Account, COMMANDS)],
    answers: &[Topic::host(COMMANDS), Topic::account(COMMANDS)],
    hears: &[Happening::SessionEnded],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many commands may wait at a time for what their users fill in. One more is refused with resource-constraint.
    pub waiting: Count,
    /// How many of one account. With one more, the one that waits for the longest time is forgotten.
    pub waiting_per_account: Count,
    /// How long a command waits for the next form.
    pub wait_for: Period,
    /// How many bytes may be filled in during one command, all forms together.
    pub form_bytes: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting: Count::of(1_000),
            waiting_per_account: Count::of(10),
            wait_for: Period::seconds(600),
            form_bytes: ByteSize::kibibytes(64),
        }
    }
}

/// How often executions that have waited for too long are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);

fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let bounds = Bounds {
        all: settings.waiting.get(),
        of_account: settings.waiting_per_account.get(),
        patience: settings.wait_for.get(),
    };
    let executions = Arc::new(Mutex::new(Executions::new(bounds)));
    let forgetting = executions.clone();
    context.every(FORGET_EVERY, move || {
        forgetting.lock().forget_old(Instant::now());
        std::future::ready(())
    });
    Ok(Arc::new(Commands { context, settings, executions }))
}

struct Commands {
    context: Context,
    settings: Settings,
    executions: Arc<Mutex<Executions>>,
}

/// A command with its owner.
type Owned = (&'static Command, Arc<dyn Module>);

#[async_trait]
impl Module for Commands {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        if request.scope == Scope::Account && !request.is_from_owner() {
            // Nobody learns here whether somebody else has an account.
            return Err(Refusal::service_unavailable());
        }
        if !request.is_set() {
            return Err(Refusal::bad_request().saying("a command is run by an iq of type set"));
        }
        let wish = protocol::read(request.payload())?;
        let owned = self.find(&wish.node, request)?.ok_or_else(Refusal::item_not_found)?;
        self.run(owned, wish, request).await
    }

    async fn hear(&self, event: &Event) {
        if let Event::SessionEnded(session) = event {
            self.executions.lock().forget_client(&session.jid().clone().into());
        }
    }

    async fn describe(&self, node: &str, request: Request<'_>) -> Result<Option<DiscoInfoResult>, Refusal> {
        if node == COMMANDS {
            return Ok(Some(described("command-list", None, &[])));
        }
        let Some((command, _)) = self.find(node, request)? else { return Ok(None) };
        Ok(Some(described("command-node", Some(command.name), &[COMMANDS, DATA_FORM])))
    }

    async fn list(&self, node: &str, request: Request<'_>) -> Result<Option<Vec<Item>>, Refusal> {
        if node != COMMANDS {
            return Ok(None);
        }
        let address = self.address(request);
        let catalogue = self.context.host().catalogue();
        let items = catalogue.commands(entity(request)).filter(|(command, _)| self.may_run(command, request));
        let item = |command: &Command| Item {
            jid: address.clone(),
            node: Some(command.node.to_owned()),
            name: Some(command.name.to_owned()),
        };
        Ok(Some(items.map(|(command, _)| item(command)).collect()))
    }
}

impl Commands {
    /// A command of the entity that is asked, for somebody who may run it.
    ///
    /// # Errors
    /// `forbidden` when he may not.
    fn find(&self, node: &str, request: Request<'_>) -> Result<Option<Owned>, Refusal> {
        let catalogue = self.context.host().catalogue();
        let found = catalogue.commands(entity(request)).find(|(command, _)| command.node == node);
        match found {
            Some((command, _)) if !self.may_run(command, request) => Err(forbidden()),
            found => Ok(found.map(|(command, owner)| (command, owner.clone()))),
        }
    }

    fn may_run(&self, command: &Command, request: Request<'_>) -> bool {
        // Only clients of this very server: who speaks for another one is its operator's business.
        let Some(session) = request.session else { return false };
        match (command.entity, command.who) {
            (Entity::Account, _) => request.is_from_owner(),
            (Entity::Host, Who::Accounts) => session.account().domain() == &**self.context.domain(),
            (Entity::Host, Who::Operators) => self.context.is_operator(session.account()),
        }
    }

    /// The address of the entity that is asked.
    fn address(&self, request: Request<'_>) -> Jid {
        let account = request.account().filter(|_| request.scope == Scope::Account);
        account.unwrap_or_else(|| BareJid::clone(self.context.host().address())).into()
    }

    async fn run(&self, owned: Owned, wish: Wish, request: Request<'_>) -> Result<Answer, Refusal> {
        let (command, owner) = owned;
        let Some(by) = request.from().cloned() else { return Err(forbidden()) };
        let of = self.address(request);
        let (id, execution) = match &wish.session {
            Some(id) => {
                let execution = self.executions.lock().take(id, &by, &of, command.node, Instant::now())?;
                (id.clone(), Some(execution))
            }
            None if wish.action == Action::Execute => (random::token(), None),
            None => return Err(wrong("bad-action")),
        };
        let Some(before) = execution else {
            let execution = Execution { by, of, command, answers: Vec::new(), may_go_on: false, may_finish: false };
            let order = Order { command, request, answers: &[], is_last: false };
            let step = owner.command(order).await?;
            return self.tell(id, execution, step);
        };
        if wish.action == Action::Cancel {
            return Ok(Answer::Payload(protocol::write(command.node, &id, Standing::Cancelled)?));
        }
        match self.go_on(&before, wish, &*owner, request).await {
            Ok((step, answers)) => self.tell(id, Execution { answers, ..before }, step),
            Err(refusal) => {
                // It stays where it is, and the client may try again.
                self.executions.lock().put(id, before, Instant::now())?;
                Err(refusal)
            }
        }
    }

    async fn go_on(
        &self,
        before: &Execution,
        wish: Wish,
        owner: &dyn Module,
        request: Request<'_>,
    ) -> Result<(Step, Vec<Filled>), Refusal> {
        let Turn { answers, is_last } = before.turn(wish.action, wish.filled)?;
        if !self.settings.form_bytes.allows(answers.iter().map(Filled::size).sum()) {
            return Err(Refusal::policy_violation().saying("too much is filled in"));
        }
        let order = Order { command: before.command, request, answers: &answers, is_last };
        let step = owner.command(order).await?;
        Ok((step, answers))
    }

    /// Tells the client what comes next, and lets the execution wait if something does.
    fn tell(&self, id: String, execution: Execution, step: Step) -> Result<Answer, Refusal> {
        let may_go_back = !execution.answers.is_empty();
        let answer = protocol::write(execution.command.node, &id, Standing::After { step: &step, may_go_back })?;
        if let Step::Ask { may_go_on, may_finish, .. } = step {
            self.executions.lock().put(id, Execution { may_go_on, may_finish, ..execution }, Instant::now())?;
        }
        Ok(Answer::Payload(answer))
    }
}

fn entity(request: Request<'_>) -> Entity {
    match request.scope {
        Scope::Account => Entity::Account,
        _ => Entity::Host,
    }
}

/// What discovery tells about a node.
fn described(kind: &str, name: Option<&str>, features: &[&str]) -> DiscoInfoResult {
    let name = name.map(str::to_owned);
    let identity = Identity { category: "automation".to_owned(), type_: kind.to_owned(), lang: None, name };
    let features = features.iter().map(|feature| (*feature).to_owned()).collect();
    DiscoInfoResult { node: None, identities: vec![identity], features, extensions: Vec::new() }
}
