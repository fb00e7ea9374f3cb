//! The rows of the fault checklist: how each fault is made, and what must be seen.

mod clocks;
mod databases;
mod networks;
mod panics;
mod restarts;

use std::fmt;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::database::{Cluster, Engine};
use crate::dice::Dice;
use crate::play::{Play, Scenery};
use crate::program::Settings;
use crate::report::Report;

/// A row of the checklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Row {
    /// kill -9 of the server.
    F1,
    /// A panic in a task of the server.
    F2,
    /// kill -9 of PostgreSQL.
    F3,
    /// PostgreSQL stands still.
    F4,
    /// The volume of the database is full.
    F8,
    /// A client does not read.
    F12,
    /// Connections lead nowhere.
    F14,
    /// Two resumptions at once.
    F16,
    /// The clock jumps.
    F17,
    /// SIGTERM of the server.
    F18,
}

impl Row {
    /// All rows, in the order in which they run.
    pub const ALL: &[Row] =
        &[Row::F1, Row::F2, Row::F3, Row::F4, Row::F8, Row::F12, Row::F14, Row::F16, Row::F17, Row::F18];

    /// What happens.
    pub fn what(self) -> &'static str {
        match self {
            Row::F1 => "the server is killed under load and started again at once",
            Row::F2 => "a task of one session panics",
            Row::F3 => "processes of PostgreSQL are killed under load",
            Row::F4 => "PostgreSQL stands still under load",
            Row::F8 => "the volume of the database is full for a while",
            Row::F12 => "a client does not read while many write to it",
            Row::F14 => "connections stay open and lead nowhere",
            Row::F16 => "two connections resume the same session at once",
            Row::F17 => "the clock jumps by an hour, forth and back",
            Row::F18 => "the server is asked to stop under load and started again",
        }
    }

    /// Whether it says something on this database.
    pub fn runs_on(self, engine: Engine) -> bool {
        engine == Engine::Postgres || !matches!(self, Row::F3 | Row::F4)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A row on one database.
pub struct Act<'a> {
    /// What was asked for.
    pub arguments: &'a Arguments,
    /// The database.
    pub engine: Engine,
    /// The PostgreSQL, where that is the engine.
    pub cluster: Option<&'a Cluster>,
    /// The row.
    pub row: Row,
    /// What is seen.
    pub report: &'a mut Report,
}

impl Act<'_> {
    /// Runs the row to its end.
    ///
    /// # Errors
    /// What has kept it from its end. Broken promises are in the report.
    pub async fn run(mut self) -> anyhow::Result<()> {
        match self.row {
            Row::F1 => restarts::killed(&mut self).await,
            Row::F2 => panics::one_session(&mut self).await,
            Row::F3 => databases::killed(&mut self).await,
            Row::F4 => databases::stalled(&mut self).await,
            Row::F8 => databases::full(&mut self).await,
            Row::F12 => networks::slow_reader(&mut self).await,
            Row::F14 => networks::half_open(&mut self).await,
            Row::F16 => networks::two_at_once(&mut self).await,
            Row::F17 => clocks::jumps(&mut self).await,
            Row::F18 => restarts::stopped(&mut self).await,
        }
    }

    /// The dice of a repetition.
    fn dice(&self, repetition: usize) -> Dice {
        Dice::new(self.arguments.seed(), (self.row as u64) << 32 | repetition as u64)
    }

    /// A server and its clients.
    async fn play(&self, settings: Settings) -> anyhow::Result<Play> {
        self.play_with(self.arguments.clients(), settings, Vec::new()).await
    }

    async fn play_with(
        &self,
        clients: usize,
        settings: Settings,
        environment: Vec<(String, String)>,
    ) -> anyhow::Result<Play> {
        let (arguments, engine, cluster) = (self.arguments, self.engine, self.cluster);
        let row = <&'static str>::from(self.row);
        let url = None;
        Play::begin(Scenery { arguments, engine, cluster, url, row, clients, settings, environment }).await
    }

    /// A server and its clients, with the data at this URL.
    async fn play_at(&self, url: String) -> anyhow::Result<Play> {
        let (arguments, engine, clients) = (self.arguments, self.engine, self.arguments.clients());
        let row = <&'static str>::from(self.row);
        let (url, environment) = (Some(url), Vec::new());
        let scenery =
            Scenery { arguments, engine, cluster: None, url, row, clients, settings: Settings::default(), environment };
        Play::begin(scenery).await
    }

    /// For how long there is load before a fault strikes.
    fn before(&self, dice: &mut Dice) -> Duration {
        let longest = if self.arguments.short { 1500 } else { 4000 };
        dice.between(Duration::from_millis(500), Duration::from_millis(longest))
    }
}

impl From<Row> for &'static str {
    fn from(row: Row) -> &'static str {
        match row {
            Row::F1 => "F1",
            Row::F2 => "F2",
            Row::F3 => "F3",
            Row::F4 => "F4",
            Row::F8 => "F8",
            Row::F12 => "F12",
            Row::F14 => "F14",
            Row::F16 => "F16",
            Row::F17 => "F17",
            Row::F18 => "F18",
        }
    }
}
