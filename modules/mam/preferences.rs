//! Whose messages an account wants archived (XEP-0441).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::Jid;
use waxwing_core::refusal::Refusal;
use xmpp_parsers::mam_prefs::{DefaultPrefs, Prefs};

/// What holds for addresses that are on neither list (§2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Everybody's messages are archived.
    Always,
    /// Those of contacts on the roster are.
    Roster,
    /// Nobody's are.
    Never,
}

impl Fallback {
    /// How it is written on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Fallback::Always => "always",
            Fallback::Roster => "roster",
            Fallback::Never => "never",
        }
    }

    /// Reads what [`Fallback::name`] has written.
    pub fn read(name: &str) -> Option<Fallback> {
        [Fallback::Always, Fallback::Roster, Fallback::Never].into_iter().find(|fallback| fallback.name() == name)
    }
}

/// What an account has chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences {
    /// For addresses on neither list; `None` is what the host says.
    pub fallback: Option<Fallback>,
    /// Addresses whose messages are archived.
    pub always: Vec<Jid>,
    /// Addresses whose messages are not.
    pub never: Vec<Jid>,
}

/// Whether messages of somebody are archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Keep,
    /// They are not.
    Pass,
    /// They are if the roster shows him.
    AskRoster,
}

impl Preferences {
    /// Decides about a message from or for `peer` (§2.3). Who is on both lists is not archived: what was stored against
    /// somebody's will cannot be made good.
    pub fn verdict(&self, otherwise: Fallback, peer: &Jid) -> Verdict {
        if self.never.iter().any(|listed| matches(listed, peer)) {
            return Verdict::Pass;
        }
        if self.always.iter().any(|listed| matches(listed, peer)) {
            return Verdict::Keep;
        }
        match self.fallback.unwrap_or(otherwise) {
            Fallback::Always => Verdict::Keep,
            Fallback::Never => Verdict::Pass,
            Fallback::Roster => Verdict::AskRoster,
        }
    }

    /// Takes what an account asks for.
    ///
    /// # Errors
    /// `not-acceptable` when it lists more than `most` addresses.
    pub fn of(asked: Prefs, most: usize) -> Result<Preferences, Refusal> {
        let mut preferences = Preferences {
            fallback: Some(match asked.default_ {
                DefaultPrefs::Always => Fallback::Always,
                DefaultPrefs::Never => Fallback::Never,
                DefaultPrefs::Roster => Fallback::Roster,
            }),
            always: asked.always,
            never: asked.never,
        };
        for list in [&mut preferences.always, &mut preferences.never] {
            list.sort();
            list.dedup();
        }
        if preferences.always.len() + preferences.never.len() > most {
            return Err(Refusal::not_acceptable().saying(format!("more than {most} addresses are listed")));
        }
        Ok(preferences)
    }

    /// How an account is told what holds.
    pub fn shown(&self, otherwise: Fallback) -> Prefs {
        Prefs {
            default_: match self.fallback.unwrap_or(otherwise) {
                Fallback::Always => DefaultPrefs::Always,
                Fallback::Never => DefaultPrefs::Never,
                Fallback::Roster => DefaultPrefs::Roster,
            },
            always: self.always.clone(),
            never: self.never.clone(),
        }
    }
}

/// A list as a column of a table. No address holds a line feed.
pub fn to_lines(list: &[Jid]) -> String {
    list.iter().map(Jid::as_str).collect::<Vec<_>>().join("\n")
}

/// Reads what [`to_lines`] has written.
pub fn from_lines(lines: &str) -> Vec<Jid> {
    lines.lines().filter_map(|line| Jid::new(line).ok()).collect()
}

/// §2.3.1: a listed full address means itself, a bare one every resource of it.
fn matches(listed: &Jid, peer: &Jid) -> bool {
    listed.node() == peer.node()
        && listed.domain() == peer.domain()
        && (listed.resource().is_none() || listed.resource() == peer.resource())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jids(list: &[&str]) -> Vec<Jid> {
        list.iter().map(|text| Jid::new(text).unwrap()).collect()
    }

    #[test]
    fn a_bare_address_means_all_its_resources() {
        let preferences = Preferences {
            fallback: Some(Fallback::Never),
            always: jids(&["romeo@montague.lit", "juliet@capulet.lit/balcony", "montague.lit"]),
            never: jids(&["romeo@montague.lit/tomb"]),
        };
        let verdict = |peer: &str| preferences.verdict(Fallback::Always, &Jid::new(peer).unwrap());
        assert_eq!(verdict("romeo@montague.lit"), Verdict::Keep);
        assert_eq!(verdict("romeo@montague.lit/orchard"), Verdict::Keep);
        assert_eq!(verdict("romeo@montague.lit/tomb"), Verdict::Pass);
        assert_eq!(verdict("juliet@capulet.lit/balcony"), Verdict::Keep);
        assert_eq!(verdict("juliet@capulet.lit"), Verdict::Pass);
        assert_eq!(verdict("montague.lit"), Verdict::Keep);
        assert_eq!(verdict("mercutio@montague.lit"), Verdict::Pass);
    }

    #[test]
    fn the_host_decides_for_who_has_not_chosen() {
        let peer = Jid::new("a@b").unwrap();
        let none = Preferences::default();
        assert_eq!(none.verdict(Fallback::Roster, &peer), Verdict::AskRoster);
        assert_eq!(none.verdict(Fallback::Always, &peer), Verdict::Keep);
        let chosen = Preferences { fallback: Some(Fallback::Roster), ..Preferences::default() };
        assert_eq!(chosen.verdict(Fallback::Always, &peer), Verdict::AskRoster);
    }

    #[test]
    fn lists_are_bounded_and_survive_the_database() {
        let asked = |always: &[&str]| Prefs { default_: DefaultPrefs::Roster, always: jids(always), never: vec![] };
        assert!(Preferences::of(asked(&["a@b", "c@d", "a@b"]), 2).is_ok());
        assert_eq!(Preferences::of(asked(&["a@b", "c@d", "e@f"]), 2).unwrap_err(), {
            Refusal::not_acceptable().saying("more than 2 addresses are listed")
        });
        let list = jids(&["a@b/c d", "e@f"]);
        assert_eq!(from_lines(&to_lines(&list)), list);
        assert!(from_lines("").is_empty());
    }
}
