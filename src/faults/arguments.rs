//! What a person may ask of the suite.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::database::Engine;
use crate::dice::any_seed;
use crate::rows::Row;

/// Breaks things under load and checks every promise with an oracle (docs/faults.md).
#[derive(Debug, clap::Parser)]
#[command(name = "scripts/faults")]
pub struct Arguments {
    /// Which rows; may be given several times. All when none is given
    #[arg(long = "row", value_enum, ignore_case = true)]
    pub rows: Vec<Row>,

    /// Which database; both when none is given
    #[arg(long, value_enum)]
    pub engine: Option<Engine>,

    /// How often each fault strikes, at times that follow from the seed
    #[arg(long)]
    pub repetitions: Option<usize>,

    /// How many clients are online
    #[arg(long)]
    pub clients: Option<usize>,

    /// How many messages they send in a second, all together
    #[arg(long)]
    pub rate: Option<f64>,

    /// Where the dice begin; printed, so that a run can be had again
    #[arg(long)]
    pub seed: Option<u64>,

    /// Few clients, one repetition, short stalls: what scripts/test runs
    #[arg(long)]
    pub short: bool,

    /// The server
    #[arg(long, default_value = "target/debug/waxwing")]
    pub server: PathBuf,

    /// The folder of PostgreSQL's programs
    #[arg(long, env = "WAXWING_FAULTS_POSTGRES")]
    pub postgres: Option<PathBuf>,

    /// The shared library that is made of clock_skew.c, for row F17
    #[arg(long)]
    pub clock: Option<PathBuf>,

    /// Where diaries, databases and logs of plays with broken promises are kept
    #[arg(long)]
    pub keep: Option<PathBuf>,

    #[clap(skip)]
    any_seed: OnceLock<u64>,
}

impl Arguments {
    /// Where the dice begin.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| *self.any_seed.get_or_init(any_seed))
    }

    /// How often each fault strikes.
    pub fn repetitions(&self) -> usize {
        self.repetitions.unwrap_or(if self.short { 1 } else { 20 })
    }

    /// How many clients are online.
    pub fn clients(&self) -> usize {
        self.clients.unwrap_or(if self.short { 24 } else { 500 })
    }

    /// How many messages are sent in a second.
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or(if self.short { 60.0 } else { 200.0 })
    }

    /// Over how long clients spread their return: the more they are, the longer.
    pub fn jitter(&self) -> Duration {
        Duration::from_millis((self.clients() as u64 * 4).clamp(100, 2000))
    }

    /// The databases to run on.
    pub fn engines(&self) -> Vec<Engine> {
        self.engine.map_or(vec![Engine::Sqlite, Engine::Postgres], |engine| vec![engine])
    }

    /// The rows to run.
    pub fn rows(&self) -> Vec<Row> {
        if self.rows.is_empty() { Row::ALL.to_vec() } else { self.rows.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn what_is_not_asked_for_has_a_value() {
        let asked = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap();
        let full = asked("faults");
        assert_eq!((full.repetitions(), full.clients(), full.engines().len()), (20, 500, 2));
        assert_eq!(full.seed(), full.seed());
        let short = asked("faults --short --row f1 --row F18 --engine sqlite --seed 7");
        assert_eq!((short.repetitions(), short.clients(), short.seed()), (1, 24, 7));
        assert_eq!(short.rows(), [Row::F1, Row::F18]);
        assert_eq!(short.engines(), [Engine::Sqlite]);
    }
}
