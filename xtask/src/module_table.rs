//! `docs/modules.md`: every module, what it does, which specifications it carries and where in the way of a stanza it
//! stands.

use std::fmt::Write as _;

use waxwing_core::module::{Plan, Xep};
use waxwing_core::stages::Stage;

const OPENING: &str = "\
# Modules

Generated from the manifests by `cargo run -p xtask -- modules`. The order is that of `src/assembly.rs`, and with it the
order inside each stage.

| module | does | carries | runs by default | answers, hears, stands at |
|---|---|---|---|---|
";

/// The whole file.
pub fn module_table(plans: &[Plan]) -> String {
    let mut text = String::from(OPENING);
    for plan in plans {
        let manifest = plan.manifest;
        let xeps: Vec<String> = manifest.xeps.iter().map(written).collect();
        let default = if manifest.on_by_default { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {default} | {} |",
            manifest.name,
            cell(manifest.summary),
            cell(&xeps.join(", ")),
            cell(&verbs(plan))
        );
    }
    text.push_str("\n## The way of a stanza\n\n| stage | question | modules, in this order |\n|---|---|---|\n");
    for stage in Stage::ALL {
        let names: Vec<&str> = plans
            .iter()
            .filter(|plan| plan.manifest.stages.iter().any(|standing| standing.stage == stage))
            .map(|plan| plan.manifest.name)
            .collect();
        let _ = writeln!(text, "| {stage:?} | {} | {} |", cell(stage.question()), names.join(", "));
    }
    text
}

fn written(xep: &Xep) -> String {
    let part = if xep.complete { "" } else { " (in part)" };
    format!("[{:04}](https://xmpp.org/extensions/xep-{0:04}.html){part}", xep.number)
}

fn verbs(plan: &Plan) -> String {
    let manifest = plan.manifest;
    let answers = manifest.answers.iter().map(|topic| format!("answers `{}`", topic.namespace));
    let hears = manifest.hears.iter().map(|happening| format!("hears {happening:?}"));
    let stages = manifest.stages.iter().map(|standing| format!("at {:?}", standing.stage));
    let offers = manifest.offers.iter().map(|contract| format!("offers {contract:?}"));
    answers.chain(hears).chain(stages).chain(offers).collect::<Vec<_>>().join(", ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
