//! The catalogue: the running modules of one host, sorted by what they do. Made once, from manifests; clashes refuse to start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::answers::{Scope, Topic};
use crate::commands::Command;
use crate::contracts::Contract;
use crate::events::{Event, Happening};
use crate::module::{Entity, Manifest, Module, Plan, StreamElement};
use crate::parcel::Parcel;
use crate::refusal::Refusal;
use crate::stages::{Pass, Stage};
use crate::stanza::Kind;

/// A module that runs.
#[derive(Clone)]
pub struct Running {
    /// What it states.
    pub manifest: &'static Manifest,
    /// It.
    pub module: Arc<dyn Module>,
}

const KINDS: usize = 3;

/// Who takes which element of one namespace, by name; a namespace has few.
type StreamOwners = Vec<(&'static str, Arc<dyn Module>)>;

/// The running modules of one host, sorted by what they do.
#[derive(Default)]
pub struct Catalogue {
    running: Vec<Running>,
    stages: [[Vec<Arc<dyn Module>>; KINDS]; Stage::ALL.len()],
    answers: [HashMap<&'static str, Arc<dyn Module>>; Scope::COUNT],
    stream: HashMap<&'static str, StreamOwners>,
    hearers: HashMap<Happening, Vec<Arc<dyn Module>>>,
}

impl Catalogue {
    /// Sorts the running modules. Their order is the order inside each stage.
    pub fn new(running: Vec<Running>) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for Running { manifest, module } in &running {
            for standing in manifest.stages {
                for kind in standing.kinds {
                    catalogue.stages[standing.stage as usize][*kind as usize].push(module.clone());
                }
            }
            for Topic { scope, namespace } in manifest.answers {
                catalogue.answers[*scope as usize].insert(namespace, module.clone());
            }
            for StreamElement { namespace, name } in manifest.stream {
                catalogue.stream.entry(namespace).or_default().push((name, module.clone()));
            }
            for happening in manifest.hears {
                catalogue.hearers.entry(*happening).or_default().push(module.clone());
            }
        }
        catalogue.running = running;
        catalogue
    }

    /// The running modules in the order of the assembly.
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// The running module of this name.
    pub fn module(&self, name: &str) -> Option<&Arc<dyn Module>> {
        self.running.iter().find(|running| running.manifest.name == name).map(|running| &running.module)
    }

    /// Leads a parcel past everyone who stands at a stage for its kind.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        for module in &self.stages[stage as usize][parcel.stanza.kind() as usize] {
            if module.pass(stage, parcel).await? == Pass::Taken {
                return Ok(Pass::Taken);
            }
        }
        Ok(Pass::Onward)
    }

    /// Whether anybody stands at a stage for stanzas of this kind.
    pub fn stands(&self, stage: Stage, kind: Kind) -> bool {
        !self.stages[stage as usize][kind as usize].is_empty()
    }

    /// Who answers IQs on this namespace.
    pub fn owner(&self, scope: Scope, namespace: &str) -> Option<&Arc<dyn Module>> {
        self.answers[scope as usize].get(namespace)
    }

    /// The commands of an entity with their owners, in the order of the assembly.
    pub fn commands(&self, of: Entity) -> impl Iterator<Item = (&'static Command, &Arc<dyn Module>)> {
        let stated = self
            .running
            .iter()
            .flat_map(|running| running.manifest.commands.iter().map(|command| (command, &running.module)));
        stated.filter(move |(command, _)| command.entity == of)
    }

    /// Who takes this element of a stream.
    pub fn stream_owner(&self, namespace: &str, name: &str) -> Option<&Arc<dyn Module>> {
        self.stream.get(namespace)?.iter().find(|(known, _)| *known == name).map(|(_, module)| module)
    }

    /// Tells an event to everyone who hears it, one after the other in the order of the assembly.
    pub async fn tell(&self, event: &Event) {
        for module in self.hearers.get(&event.happening()).into_iter().flatten() {
            module.hear(event).await;
        }
    }
}

/// Finds what would clash or be missing if these modules ran together.
pub fn clashes(plans: &[Plan]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    let mut topics: HashMap<&Topic, &str> = HashMap::new();
    let mut commands: HashMap<(Entity, &str), &str> = HashMap::new();
    let mut elements: HashMap<&StreamElement, &str> = HashMap::new();
    let mut providers: HashMap<&Contract, &str> = HashMap::new();
    for Plan { manifest, .. } in plans {
        if !names.insert(manifest.name) {
            problems.push(format!("two modules are named {}", manifest.name));
        }
        let mut claim = |what: String, older: Option<&str>| {
            if let Some(older) = older {
                problems.push(format!("{older} and {} both own {what}", manifest.name));
            }
        };
        for topic in manifest.answers {
            claim(format!("{:?} {}", topic.scope, topic.namespace), topics.insert(topic, manifest.name));
        }
        for command in manifest.commands {
            let older = commands.insert((command.entity, command.node), manifest.name);
            claim(format!("the command {} of {:?}", command.node, command.entity), older);
        }
        for element in manifest.stream {
            claim(
                format!("<{} xmlns='{}'/>", element.name, element.namespace),
                elements.insert(element, manifest.name),
            );
        }
        for contract in manifest.offers {
            claim(format!("the contract {contract:?}"), providers.insert(contract, manifest.name));
        }
    }
    for Plan { manifest, .. } in plans {
        for contract in manifest.needs.iter().filter(|contract| !providers.contains_key(contract)) {
            problems.push(format!("{} needs the contract {contract:?}, and no module offers it", manifest.name));
        }
    }
    problems
}

/// The order to start modules in: providers before those who need or like what they offer, else as listed.
///
/// # Errors
/// The names of modules that wait for each other.
pub fn start_order(plans: &[Plan]) -> Result<Vec<Plan>, Vec<&'static str>> {
    let offered: HashSet<Contract> = plans.iter().flat_map(|plan| plan.manifest.offers).copied().collect();
    let mut there: HashSet<Contract> = HashSet::new();
    let mut waiting: Vec<Plan> = plans.to_vec();
    let mut order = Vec::with_capacity(plans.len());
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|plan| {
            let mut wanted = plan.manifest.needs.iter().chain(plan.manifest.likes);
            wanted.all(|contract| there.contains(contract) || !offered.contains(contract))
        });
        let Some(ready) = ready else { return Err(waiting.iter().map(|plan| plan.manifest.name).collect()) };
        let plan = waiting.remove(ready);
        there.extend(plan.manifest.offers);
        order.push(plan);
    }
    Ok(order)
}
