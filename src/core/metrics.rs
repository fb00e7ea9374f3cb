//! Figures of a running server, in the text format of OpenMetrics: what core counts, and what modules count through their
//! `Context`. Counting costs one addition; only what is asked for by label is looked up.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::registry::{Registry, Unit};

use crate::stanza::{Kind, Stanza};

/// Names and values of labels. The values are of our making, never a peer's: each makes a line of its own for ever.
type Labels = Vec<(&'static str, String)>;

/// The media type of what [`Metrics::written`] gives.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Stanzas of one direction by their kind.
#[derive(Default)]
struct Stanzas([Counter<u64, AtomicU64>; 3]);

const KINDS: [(Kind, &str); 3] = [(Kind::Message, "message"), (Kind::Presence, "presence"), (Kind::Iq, "iq")];

impl Stanzas {
    fn count(&self, stanza: &Stanza) {
        let kind = stanza.what.kind();
        if let Some(index) = KINDS.iter().position(|(of, _)| *of == kind) {
            self.0[index].inc();
        }
    }
}

/// What a module has asked for, by its name.
enum Kept {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, Gauge>),
    Histogram(Family<Labels, Histogram, fn() -> Histogram>),
}

/// The figures of one house.
pub struct Metrics {
    registry: Mutex<Registry>,
    of_modules: Mutex<HashMap<&'static str, Kept>>,
    sessions: Family<Labels, Gauge>,
    received: Stanzas,
    delivered: Stanzas,
    limits: Family<Labels, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("waxwing");
        let (sessions, limits) = (Family::<Labels, Gauge>::default(), Family::<Labels, Counter>::default());
        registry.register("sessions", "Sessions by the transport they were bound on", sessions.clone());
        registry.register("limits_hit", "How often a peer has reached a limit", limits.clone());
        let stanzas = Family::<Labels, Counter>::default();
        registry.register("stanzas", "Stanzas from and to clients of this server by their kind", stanzas.clone());
        let of = |direction: &str| {
            let counter = |kind: &str| {
                let labels = vec![("direction", direction.to_owned()), ("kind", kind.to_owned())];
                stanzas.get_or_create_owned(&labels)
            };
            Stanzas(KINDS.map(|(_, kind)| counter(kind)))
        };
        let (received, delivered) = (of("in"), of("out"));
        let of_storage = waxwing_storage::figures();
        registry.register_with_unit(
            "storage_commit",
            "How long transactions that many writers share took to commit",
            Unit::Seconds,
            of_storage.commit_seconds.clone(),
        );
        registry.register(
            "storage_waiting_rows",
            "Rows that wait to be written to archives and queues",
            of_storage.waiting_rows.clone(),
        );
        registry.register(
            "storage_refused_rows",
            "Rows that could not be written; their senders were told",
            of_storage.refused_rows.clone(),
        );
        let build = Family::<Labels, Gauge>::default();
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        registry.register("build", "The version that runs", build);
        Metrics { registry: Mutex::new(registry), of_modules: Mutex::default(), sessions, received, delivered, limits }
    }
}

impl Metrics {
    /// Everything, in the text format of OpenMetrics.
    pub fn written(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }

    /// A peer has reached a limit; the name is that of the key in the configuration.
    pub fn limit_hit(&self, limit: &'static str) {
        self.limits.get_or_create(&vec![("limit", limit.to_owned())]).inc();
    }

    /// How many sessions were bound on this kind of transport.
    pub(crate) fn sessions(&self, transport: &'static str) -> Gauge {
        self.sessions.get_or_create_owned(&vec![("transport", transport.to_owned())])
    }

    /// A client's stanza has departed.
    pub(crate) fn received(&self, stanza: &Stanza) {
        self.received.count(stanza);
    }

    /// A stanza goes to a client.
    pub(crate) fn delivered(&self, stanza: &Stanza) {
        self.delivered.count(stanza);
    }

    /// A counter of this name with these labels; the same one each time. `about` is one sentence without a full stop.
    /// Keep it: asking again looks it up.
    pub fn counter(&self, name: &'static str, about: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        let mut kept = self.of_modules.lock();
        let kept = kept.entry(name).or_insert_with(|| {
            let family = Family::default();
            self.registry.lock().register(name, about, family.clone());
            Kept::Counter(family)
        });
        match kept {
            Kept::Counter(family) => family.get_or_create_owned(&owned(labels)),
            // Another kind of figure has the name: this one is counted and not shown.
            _ => Counter::default(),
        }
    }

    /// As [`Metrics::counter`], a figure that goes up and down.
    pub fn gauge(&self, name: &'static str, about: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        let mut kept = self.of_modules.lock();
        let kept = kept.entry(name).or_insert_with(|| {
            let family = Family::default();
            self.registry.lock().register(name, about, family.clone());
            Kept::Gauge(family)
        });
        match kept {
            Kept::Gauge(family) => family.get_or_create_owned(&owned(labels)),
            _ => Gauge::default(),
        }
    }

    /// As [`Metrics::counter`], how long something takes, in seconds, from 0.1 ms to 26 s.
    pub fn seconds(&self, name: &'static str, about: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        fn histogram() -> Histogram {
            Histogram::new(exponential_buckets(0.0001, 4.0, 10))
        }
        let mut kept = self.of_modules.lock();
        let kept = kept.entry(name).or_insert_with(|| {
            let family = Family::new_with_constructor(histogram as fn() -> Histogram);
            self.registry.lock().register_with_unit(name, about, Unit::Seconds, family.clone());
            Kept::Histogram(family)
        });
        match kept {
            Kept::Histogram(family) => family.get_or_create_owned(&owned(labels)),
            _ => histogram(),
        }
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_written() {
        let metrics = Metrics::default();
        let labels = [("host", "capulet.lit")];
        metrics.counter("pies", "Pies that were baked", &labels).inc();
        metrics.counter("pies", "Pies that were baked", &labels).inc();
        metrics.gauge("guests", "Guests at the feast", &[]).set(3);
        metrics.seconds("dances", "How long dances last", &[]).observe(0.5);
        metrics.limit_hit("stanza_bytes");
        metrics.sessions("tls").inc();
        let text = metrics.written().replace("{}", "");
        for line in [
            "waxwing_pies_total{host=\"capulet.lit\"} 2",
            "waxwing_guests 3",
            "waxwing_dances_seconds_count 1",
            "waxwing_limits_hit_total{limit=\"stanza_bytes\"} 1",
            "waxwing_sessions{transport=\"tls\"} 1",
            "waxwing_stanzas_total{direction=\"in\",kind=\"message\"} 0",
            "waxwing_storage_waiting_rows",
            "# EOF",
        ] {
            assert!(text.lines().any(|written| written.starts_with(line)), "{line}\n{text}");
        }
        assert_eq!(text.matches("# TYPE waxwing_pies ").count(), 1);
    }

    #[test]
    fn a_name_has_one_kind() {
        let metrics = Metrics::default();
        metrics.counter("pies", "Pies that were baked", &[]).inc();
        metrics.gauge("pies", "Pies that are left", &[]).set(7);
        assert!(!metrics.written().contains(" 7"));
    }
}
