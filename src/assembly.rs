//! The only list of modules. Their order here is their order inside a stage.

use waxwing_core::config::KnownModule;
use waxwing_core::module::Plan;

/// Every module there is. A new one is one folder, one line in `Cargo.toml`, and one line here.
pub const MODULES: &[Plan] = &[
    waxwing_streams::PLAN,
    waxwing_streams::FEDERATION,
    // may it leave, is it admitted?
    waxwing_blocking::PLAN,
    waxwing_rates::PLAN,
    // accounts and what belongs to them
    waxwing_accounts::PLAN,
    waxwing_register::PLAN,
    // hears what a client says when it goes, before presence takes it
    waxwing_basics::PLAN,
    waxwing_roster::PLAN,
    // says which picture there is, before presence shows it
    waxwing_vcard::PLAN,
    waxwing_presence::PLAN,
    // what people publish about themselves; a contact's presence has been settled before
    waxwing_pubsub::PLAN,
    waxwing_private::PLAN,
    // takes its part out of a message before that is stored or copied
    waxwing_displayed::PLAN,
    // what was said is stored before anyone sees it
    waxwing_mam::PLAN,
    // several devices of one account, each asleep or awake, here or on its way back
    waxwing_carbons::PLAN,
    waxwing_csi::PLAN,
    waxwing_stream_management::PLAN,
    // what is kept when nobody is there
    waxwing_offline::PLAN,
    // devices that are away are called
    waxwing_push::PLAN,
    // many at once
    waxwing_muc::PLAN,
    // files
    waxwing_upload::PLAN,
    // a client for browsers
    waxwing_web_client::PLAN,
    // other programs with domains of their own
    waxwing_component::PLAN,
    // what people run with their clients
    waxwing_commands::PLAN,
    // the way to devices that sleep
    waxwing_push_gateway::PLAN,
    // questions to the server
    waxwing_disco::PLAN,
];

/// What the configuration may say about modules.
pub fn known_modules() -> Vec<KnownModule> {
    MODULES.iter().map(|plan| KnownModule::from(plan.manifest)).collect()
}
