//! What storage counts, for the figures of the server. One process, one set: the writers do not know whose house they are in.

use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// What storage counts.
#[derive(Debug)]
pub struct Figures {
    /// How long a transaction that many writers share took, in seconds.
    pub commit_seconds: Histogram,
    /// Rows that wait for their transaction.
    pub waiting_rows: Gauge,
    /// Rows that were refused.
    pub refused_rows: Counter,
}

static FIGURES: LazyLock<Figures> = LazyLock::new(|| Figures {
    commit_seconds: Histogram::new(exponential_buckets(0.0001, 2.5, 14)),
    waiting_rows: Gauge::default(),
    refused_rows: Counter::default(),
});

/// What storage has counted in this process.
pub fn figures() -> &'static Figures {
    &FIGURES
}

/// A row that waits; counted as long as this lives.
pub(crate) struct WaitingRow(());

impl WaitingRow {
    pub(crate) fn begin() -> WaitingRow {
        FIGURES.waiting_rows.inc();
        WaitingRow(())
    }
}

impl Drop for WaitingRow {
    fn drop(&mut self) {
        FIGURES.waiting_rows.dec();
    }
}
