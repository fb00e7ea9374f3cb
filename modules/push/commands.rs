//! The commands of an account about its devices: which are registered and what came of calling them, and to forget some.

use std::collections::HashSet;

use waxwing_core::address::BareJid;
use waxwing_core::clock::date_time;
use waxwing_core::commands::{Command, Order, Step, Who, bad_payload};
use waxwing_core::fault::Fault;
use waxwing_core::forms::FormWriter;
use waxwing_core::module::Entity;
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Element;

use crate::courier::Courier;
use crate::store::Registration;

/// Shows the devices.
pub const LIST: &str = "urn:waxwing:push:list";
/// Forgets some of them.
pub const FORGET: &str = "urn:waxwing:push:forget";

/// The commands, for the manifest.
pub static COMMANDS: [Command; 2] = [
    Command { entity: Entity::Account, node: LIST, name: "Devices that are called", who: Who::Accounts },
    Command { entity: Entity::Account, node: FORGET, name: "Forget devices that are called", who: Who::Accounts },
];

/// The field of the form.
const DEVICES: &str = "devices";

impl Courier {
    /// A step of one of the commands.
    ///
    /// # Errors
    /// `bad-payload` when a device was chosen that is not there; when the database does not answer.
    pub async fn command(&self, order: Order<'_>) -> Result<Step, Refusal> {
        let owner = order.request.account().ok_or_else(Refusal::item_not_found)?;
        self.write_down().await;
        let registrations = self.store.read(&owner).await?;
        if registrations.is_empty() {
            return Ok(Step::done("No device is registered."));
        }
        match (order.command.node, order.answers.first()) {
            (LIST, _) => Ok(Step::found(list(&registrations)?)),
            (_, None) => Ok(Step::ask_last(choose(&registrations)?)),
            (_, Some(chosen)) => self.forget_chosen(&owner, &registrations, chosen.values(DEVICES)).await,
        }
    }

    async fn forget_chosen(
        &self,
        owner: &BareJid,
        registrations: &[Registration],
        chosen: &[String],
    ) -> Result<Step, Refusal> {
        let known: HashSet<i64> = registrations.iter().map(|registration| registration.id).collect();
        let chosen: Option<Vec<i64>> =
            chosen.iter().map(|id| id.parse().ok().filter(|id| known.contains(id))).collect();
        let chosen = chosen.filter(|chosen| !chosen.is_empty());
        let chosen = chosen.ok_or_else(|| bad_payload().saying("choose one of the devices"))?;
        self.store.delete(owner, &chosen).await?;
        let mut desk = self.desk.lock();
        chosen.iter().for_each(|id| desk.forget(*id));
        Ok(Step::done(format!("Forgotten: {}.", chosen.len())))
    }
}

fn list(registrations: &[Registration]) -> Result<Element, Fault> {
    let time = |at: Option<i64>| at.map(date_time).unwrap_or_default();
    let rows: Vec<Vec<String>> = registrations
        .iter()
        .map(|registration| {
            vec![
                registration.service.to_string(),
                registration.node.clone(),
                registration.resource.clone(),
                date_time(registration.since),
                time(registration.last_call),
                registration.last_result.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let columns = [
        ("service", "App server"),
        ("node", "Node"),
        ("client", "Client"),
        ("since", "Registered"),
        ("last-call", "Last call"),
        ("last-result", "Its result"),
    ];
    let mut form = FormWriter::result("Devices that are called");
    form.table(&columns, &rows);
    form.finish()
}

fn choose(registrations: &[Registration]) -> Result<Element, Fault> {
    let label = |registration: &Registration| {
        let since = date_time(registration.since);
        format!("{}, {} at {}, since {since}", registration.resource, registration.node, registration.service)
    };
    let options: Vec<(String, String)> =
        registrations.iter().map(|registration| (registration.id.to_string(), label(registration))).collect();
    let mut form = FormWriter::to_fill_in("Forget devices", "These devices will not be called any more.");
    form.field("list-multi", DEVICES, "Devices", [], &options);
    form.finish()
}
