//! Where a test can make a task of the server panic on purpose (faults row F2): a stanza with
//! `<fail xmlns='urn:waxwing:fail-point' at='…'/>`, in a program that was built for development and started with
//! `WAXWING_FAIL_POINTS=1`. A program built for release holds none of it.

use crate::stanza::Stanza;

/// Panics if this is what the stanza asks for.
#[cfg(debug_assertions)]
pub fn reached(place: &str, stanza: &Stanza) {
    static ARMED: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("WAXWING_FAIL_POINTS").is_some_and(|value| value == "1"));
    if !*ARMED {
        return;
    }
    let asks = |payload: &waxwing_xml::Child<'_>| {
        payload.namespace() == "urn:waxwing:fail-point"
            && payload.name() == "fail"
            && payload.attribute("at").is_some_and(|at| at == place)
    };
    assert!(!stanza.payloads().any(|payload| asks(&payload)), "asked to fail at {place}");
}

/// Nothing: this program was built for release.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reached(_: &str, _: &Stanza) {}
