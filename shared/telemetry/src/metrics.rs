//! The metrics of all services. Label sets are bounded: no key, no job and no client-chosen text is
//! ever a label.

mod durations;
mod labels;
mod process;
mod store;
mod text;

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use oscillink_domain::{JobKind, JobStatus, QueueName};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use durations::Durations;
pub use labels::{
    HttpLabels, KindLabel, KindStage, KindStatus, LimitLabel, PeriodLabel, ProblemLabel,
    QueueLabel, ResultLabel, RouteLabels, StatusLabel,
};
pub use store::StoreTotals;
pub use text::media_type;

/// A value that rises and falls.
pub type Gauge = gauge::Gauge;

use process::ProcessCollector;
use store::StoreCollector;

/// Declares the metrics: the field's documentation is the metric's help.
macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident : $type:ty = $make:expr, $name:literal $($unit:ident)?; )+) => {
        /// Every metric, registered. Cheap to clone.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Arc<Registry>,
            $( #[doc = $help] pub $field: $type, )+
        }

        impl Metrics {
            fn unregistered() -> Self {
                Self { registry: Arc::default(), $( $field: $make, )+ }
            }

            fn register(&self, registry: &mut Registry) {
                $( metrics!(@register registry, $name, $help, self.$field $(, $unit)?); )+
            }
        }
    };
    (@register $registry:ident, $name:literal, $help:literal, $metric:expr) => {
        $registry.register($name, help($help), $metric.clone());
    };
    (@register $registry:ident, $name:literal, $help:literal, $metric:expr, $unit:ident) => {
        $registry.register_with_unit($name, help($help), Unit::$unit, $metric.clone());
    };
}

metrics! {
    /// Synchronous requests to compute, by outcome: ok, rejected (the client's doing) or error.
    settle_requests: Family<StatusLabel, Counter> = Family::default(), "settle_requests";
    /// Time to answer a synchronous request to compute.
    settle_latency: Durations = Durations::default(), "settle_latency" Seconds;
    /// Rows processed.
    usage_nodes: Counter = Counter::default(), "usage_nodes";
    /// Node-dimension units (N·D) processed.
    usage_units: Counter = Counter::default(), "usage_node_dim_units";
    /// Jobs of a queue that have not ended; of callbacks their tasks.
    queue_depth: Family<QueueLabel, Gauge> = Family::default(), "job_queue_depth";
    /// Age of the oldest of them.
    queue_oldest_age: Family<QueueLabel, Gauge> = Family::default(), "job_oldest_age" Seconds;
    /// Jobs ended.
    jobs: Family<KindStatus, Counter> = Family::default(), "jobs";
    /// Jobs given up after their last attempt.
    job_dead_letters: Family<KindLabel, Counter> = Family::default(), "job_dead_letters";
    /// Time from a job's acceptance to its first claim by a worker.
    job_wait: Family<QueueLabel, Durations> = Family::default(), "job_wait" Seconds;
    /// Time of a job's computation by stage.
    job_duration: Family<KindStage, Durations> = Family::default(), "job_duration" Seconds;
    /// Jobs that this worker holds: reads, computes or writes.
    worker_jobs: Gauge = Gauge::default(), "worker_jobs_running";
    /// Jobs that this worker computes.
    worker_computing: Gauge = Gauge::default(), "worker_jobs_computing";
    /// Threads of this worker's compute pool.
    worker_threads: Gauge = Gauge::default(), "worker_threads";
    /// Time to compute diffusion gates, milliseconds.
    diffusion_gate_ms: Histogram = Histogram::new(exponential_buckets(0.05, 2.0, 18)), "diffusion_gate_ms";
    /// Time to compute diffusion gates.
    diffusion_gate: Durations = Durations::default(), "diffusion_gate" Seconds;
    /// Diffusion requests and jobs by outcome: ok, rejected or error.
    diffusion_requests: Family<StatusLabel, Counter> = Family::default(), "diffusion_requests";
    /// Stripe events received by what became of them.
    stripe_events: Family<ResultLabel, Counter> = Family::default(), "stripe_webhook_events";
    /// Attempts to deliver callbacks by what became of them.
    callbacks: Family<ResultLabel, Counter> = Family::default(), "callbacks";
    /// Key look-ups answered from the cache.
    key_cache_hits: Counter = Counter::default(), "key_cache_hits";
    /// Key look-ups that went to the store.
    key_cache_misses: Counter = Counter::default(), "key_cache_misses";
    /// Requests and jobs refused because a key's quota had no room.
    quota_rejections: Family<PeriodLabel, Counter> = Family::default(), "quota_rejections";
    /// Requests refused by a request limit.
    rate_limit_rejections: Family<LimitLabel, Counter> = Family::default(), "rate_limit_rejections";
    /// Requests counted by this instance alone because Redis was away.
    shared_limit_fallbacks: Counter = Counter::default(), "shared_limit_fallbacks";
    /// Answers that are problem documents, by the problem's type.
    problems: Family<ProblemLabel, Counter> = Family::default(), "problems";
    /// HTTP requests answered.
    http_requests: Family<HttpLabels, Counter> = Family::default(), "http_requests";
    /// Time to answer HTTP requests.
    http_duration: Family<RouteLabels, Durations> = Family::default(), "http_request_duration" Seconds;
    /// HTTP requests under way.
    http_in_flight: Gauge = Gauge::default(), "http_requests_in_flight";
}

/// Spans on their way to the collector. The exporter is the process's, so its counters are too.
pub(crate) struct Exports {
    /// Spans recorded.
    pub(crate) recorded: Counter,
    /// Spans whose export was tried.
    pub(crate) exported: Family<ResultLabel, Counter>,
}

pub(crate) static EXPORTS: LazyLock<Exports> = LazyLock::new(|| Exports {
    recorded: Counter::default(),
    exported: Family::default(),
});

/// A field's documentation as help: the registry adds the full stop.
fn help(documentation: &str) -> &str {
    documentation.trim().trim_end_matches('.')
}

/// Makes a series.
fn begin<L, M, C>(family: &Family<L, M, C>, labels: L)
where
    L: Clone + Hash + Eq,
    C: MetricConstructor<M>,
{
    drop(family.get_or_create(&labels));
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Registry::default())
    }

    /// Like [`Self::new`], and those of an embedded store, which `read` gives at each scrape.
    #[must_use]
    pub fn with_store(read: impl Fn() -> StoreTotals + Send + Sync + 'static) -> Self {
        let mut registry = Registry::default();
        registry
            .sub_registry_with_prefix("oscillink")
            .register_collector(Box::new(StoreCollector(Box::new(read))));
        Self::over(registry)
    }

    fn over(mut registry: Registry) -> Self {
        let mut metrics = Self::unregistered();
        // Every program's process metrics have the same names.
        registry.register_collector(Box::new(ProcessCollector));
        let ours = registry.sub_registry_with_prefix("oscillink");
        ours.register(
            "build",
            "The program",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        ours.register(
            "trace_spans_recorded",
            "Spans of sampled traces; those neither exported nor failed were dropped",
            EXPORTS.recorded.clone(),
        );
        ours.register(
            "trace_spans_exported",
            "Spans whose export to the collector was tried",
            EXPORTS.exported.clone(),
        );
        metrics.register(ours);
        metrics.begin_at_zero();
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// Makes the series whose labels are known before anything happens: what has not been counted yet
    /// is zero, and not missing, for whoever asks how much it grew.
    fn begin_at_zero(&self) {
        for status in ["ok", "rejected", "error"] {
            let label = StatusLabel { status };
            begin(&self.settle_requests, label.clone());
            begin(&self.diffusion_requests, label);
        }
        for queue in QueueName::ALL.iter().map(|queue| queue.as_str()) {
            let label = QueueLabel { queue };
            begin(&self.queue_depth, label.clone());
            begin(&self.queue_oldest_age, label.clone());
            if queue != QueueName::Callback.as_str() {
                begin(&self.job_wait, label);
            }
        }
        for kind in JobKind::ALL.iter().map(|kind| kind.as_str()) {
            begin(&self.job_dead_letters, KindLabel { kind });
            let statuses = JobStatus::ALL.iter().filter(|status| status.is_terminal());
            for status in statuses.map(|status| status.as_str()) {
                begin(&self.jobs, KindStatus { kind, status });
            }
            let stage = "total";
            begin(&self.job_duration, KindStage { kind, stage });
        }
        for result in ["processed", "ignored", "failed", "bad_signature"] {
            begin(&self.stripe_events, ResultLabel { result });
        }
        for result in ["delivered", "failed", "undelivered"] {
            begin(&self.callbacks, ResultLabel { result });
        }
        for result in ["ok", "failed"] {
            begin(&EXPORTS.exported, ResultLabel { result });
        }
        for period in ["window", "month"] {
            begin(&self.quota_rejections, PeriodLabel { period });
        }
        for limit in ["address", "global"] {
            begin(&self.rate_limit_rejections, LimitLabel { limit });
        }
    }

    /// All metrics as text: OpenMetrics, with exemplars, where `accept` asks for it, else Prometheus'
    /// own form. [`media_type`] names which.
    ///
    /// # Errors
    /// Formatting failed.
    pub fn encode(&self, accept: Option<&str>) -> Result<String, fmt::Error> {
        text::encode(&self.registry, accept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let metrics = Metrics::new();
        let queue = QueueLabel { queue: "settle" };
        metrics
            .settle_requests
            .get_or_create(&StatusLabel { status: "ok" })
            .inc();
        metrics.queue_depth.get_or_create(&queue).set(3);
        metrics
            .jobs
            .get_or_create(&KindStatus {
                kind: "settle",
                status: "done",
            })
            .inc();
        metrics.queue_oldest_age.get_or_create(&queue).set(1);
        for accept in [None, Some("application/openmetrics-text; version=1.0.0")] {
            let text = metrics.encode(accept).unwrap();
            for line in [
                "oscillink_settle_requests_total{status=\"ok\"} 1",
                "oscillink_settle_latency_seconds_count 0",
                "oscillink_usage_nodes_total 0",
                "oscillink_usage_node_dim_units_total 0",
                "oscillink_job_queue_depth{queue=\"settle\"} 3",
                "oscillink_job_oldest_age_seconds{queue=\"settle\"} 1",
                "oscillink_jobs_total{kind=\"settle\",status=\"done\"} 1",
                "oscillink_diffusion_gate_ms_count 0",
                "oscillink_diffusion_gate_seconds_count 0",
                "oscillink_key_cache_hits_total 0",
                "oscillink_build_info{version=",
            ] {
                assert!(text.contains(line), "missing {line} in\n{text}");
            }
        }
    }
}
