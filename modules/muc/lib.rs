//! Group chat: rooms (XEP-0045).

mod affiliation;
mod assemble;
mod configuration;
mod configuration_form;
mod effects;
mod form;
mod ghosts;
mod hats;
mod history;
mod mentions;
mod moment;
mod nickname;
mod occupants;
mod privileges;
mod protocol;
mod records;
mod room;
mod settings;
mod shield;
mod store;
