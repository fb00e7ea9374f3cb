//! What a row has measured, and the table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::database::Engine;
use crate::oracle::{Counts, Verdict};
use crate::rows::Row;

/// How many broken promises are shown of one repetition.
const SHOWN: usize = 12;

/// What was seen of one row on one database.
pub struct Report {
    row: Row,
    engine: Engine,
    seed: u64,
    repetitions: usize,
    counts: Counts,
    broken: Vec<String>,
    /// The worst of each figure.
    worst: BTreeMap<&'static str, Duration>,
    /// Sums of other figures.
    sums: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Nothing was seen yet.
    pub fn new(row: Row, engine: Engine, seed: u64) -> Report {
        let (worst, sums) = Default::default();
        Report { row, engine, seed, repetitions: 0, counts: Counts::default(), broken: Vec::new(), worst, sums }
    }

    /// A time was measured, which must not be longer than the bound.
    pub fn time(&mut self, what: &'static str, took: Duration, bound: Option<Duration>) {
        let worst = self.worst.entry(what).or_default();
        *worst = took.max(*worst);
        if let Some(bound) = bound.filter(|bound| took > *bound) {
            self.broken(format!("{what}: {took:.1?}, allowed are {bound:?}"));
        }
    }

    /// Something was counted.
    pub fn add(&mut self, what: &'static str, count: usize) {
        *self.sums.entry(what).or_default() += count;
    }

    /// A promise was broken.
    pub fn broken(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("    BROKEN {what}");
        self.broken.push(what);
    }

    /// A promise holds or is broken.
    pub fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken(otherwise());
        }
    }

    /// A repetition is over. The oracle has looked at the whole play: what it has said before is not said again.
    pub fn repetition(&mut self, mut verdict: Verdict, note: &str) {
        verdict.broken.retain(|what| !self.broken.contains(what));
        self.repetitions += 1;
        let Counts { sent, acked, refused, shown, caught_up, rows } = verdict.counts;
        self.counts = verdict.counts;
        println!(
            "  {} {} {:2}: {note}; sent {sent} acked {acked} refused {refused} shown {shown} ({caught_up} caught up) \
             rows {rows}; {} broken",
            self.row,
            self.engine,
            self.repetitions,
            verdict.broken.len()
        );
        for what in verdict.broken.iter().take(SHOWN) {
            println!("    BROKEN {what}");
        }
        if verdict.broken.len() > SHOWN {
            println!("    … and {} more", verdict.broken.len() - SHOWN);
        }
        self.broken.extend(verdict.broken);
    }

    /// Whether every promise holds, and something was seen at all.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty() && self.repetitions > 0
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        let Counts { sent, acked, refused, shown, rows, .. } = self.counts;
        let times = self.worst.iter().map(|(what, took)| format!("{what} {took:.1?}"));
        let sums = self.sums.iter().map(|(what, count)| format!("{what} {count}"));
        let figures: Vec<String> = times.chain(sums).collect();
        let state = if self.is_good() { "ok" } else { "not ok" };
        format!(
            "{state} {} {} | {} repetitions, seed {} | sent {sent}, acked {acked}, refused {refused}, shown {shown}, \
             rows {rows} | broken {} | {}",
            self.row,
            self.engine,
            self.repetitions,
            self.seed,
            self.broken.len(),
            figures.join(", ")
        )
    }
}
