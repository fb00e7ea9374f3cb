//! The security checklist over real sockets: what an attacker sends, and what must come of it.
//!
//! Some rows bound memory or processor time. Those tests run the program itself in a process of its own
//! ([`program`]), with bounds that a busy machine with two cores keeps; exact figures are the benchmarks' business.

#[path = "../common/mod.rs"]
mod common;

mod aliases;
mod defaults;
mod dice;
mod enumeration;
mod floods;
mod fuzzing;
mod identity;
mod injection;
mod log;
mod negotiation;
mod program;
mod registration;
mod renegotiation;
mod slow_reader;
mod smuggling;
mod spoofing;
mod strangers;
mod tokens;
mod xml;
