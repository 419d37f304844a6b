//! The metrics of all services, in Prometheus' text format. Label sets are bounded: no key, no job
//! and no client-chosen text is ever a label.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::store::{StoreCollector, StoreTotals};

/// Labels of HTTP server metrics.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HttpLabels {
    /// The request's method, of the known ones.
    pub method: &'static str,
    /// The matched route's pattern, never the path itself.
    pub route: String,
    /// The answer's status code.
    pub status: u16,
}

/// `status`: `ok` or `error`, or a status name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StatusLabel {
    /// The outcome.
    pub status: &'static str,
}

/// `result` of a webhook event.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    /// The outcome.
    pub result: &'static str,
}

/// `queue`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct QueueLabel {
    /// The queue's name.
    pub queue: &'static str,
}

/// `kind` and `status` of a job.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindStatus {
    /// The job's kind.
    pub kind: &'static str,
    /// Its terminal status.
    pub status: &'static str,
}

/// `kind` and `stage` of a job's computation.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindStage {
    /// The job's kind.
    pub kind: &'static str,
    /// The stage, or `total`.
    pub stage: &'static str,
}

/// Every metric, registered. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Synchronous settle requests by outcome.
    pub settle_requests: Family<StatusLabel, Counter>,
    /// Time to answer a synchronous settle request.
    pub settle_latency: Histogram,
    /// Rows processed.
    pub usage_nodes: Counter,
    /// N·D units processed.
    pub usage_units: Counter,
    /// Jobs waiting or running by queue.
    pub queue_depth: Family<QueueLabel, Gauge>,
    /// Age of the oldest job by queue.
    pub queue_oldest_age: Family<QueueLabel, Gauge>,
    /// Jobs ended.
    pub jobs: Family<KindStatus, Counter>,
    /// Time of a job's computation by stage.
    pub job_duration: Family<KindStage, Histogram>,
    /// Time to compute diffusion gates, ms.
    pub diffusion_gate: Histogram,
    /// Diffusion requests by outcome.
    pub diffusion_requests: Family<StatusLabel, Counter>,
    /// Stripe events by result.
    pub stripe_events: Family<ResultLabel, Counter>,
    /// Attempts to deliver callbacks by result.
    pub callbacks: Family<ResultLabel, Counter>,
    /// Key look-ups answered from the cache.
    pub key_cache_hits: Counter,
    /// Key look-ups that went to the store.
    pub key_cache_misses: Counter,
    /// Requests counted by this instance alone because Redis was away.
    pub shared_limit_fallbacks: Counter,
    /// HTTP requests.
    pub http_requests: Family<HttpLabels, Counter>,
    /// Time to answer HTTP requests.
    pub http_duration: Histogram,
    /// HTTP requests under way.
    pub http_in_flight: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Registry::with_prefix("oscillink"))
    }

    /// Like [`Self::new`], and those of an embedded store, which `read` gives at each scrape.
    #[must_use]
    pub fn with_store(read: impl Fn() -> StoreTotals + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("oscillink");
        registry.register_collector(Box::new(StoreCollector(Box::new(read))));
        Self::over(registry)
    }

    fn over(registry: Registry) -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            settle_requests: Family::default(),
            settle_latency: seconds(),
            usage_nodes: Counter::default(),
            usage_units: Counter::default(),
            queue_depth: Family::default(),
            queue_oldest_age: Family::default(),
            jobs: Family::default(),
            job_duration: Family::new_with_constructor(seconds),
            diffusion_gate: Histogram::new(exponential_buckets(0.05, 2.0, 18)),
            diffusion_requests: Family::default(),
            stripe_events: Family::default(),
            callbacks: Family::default(),
            key_cache_hits: Counter::default(),
            key_cache_misses: Counter::default(),
            shared_limit_fallbacks: Counter::default(),
            http_requests: Family::default(),
            http_duration: seconds(),
            http_in_flight: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.register(registry));
        metrics
    }

    fn register(&self, mut r: Registry) -> Registry {
        r.register(
            "settle_requests",
            "Synchronous settle requests",
            self.settle_requests.clone(),
        );
        r.register_with_unit(
            "settle_latency",
            "Time to answer a synchronous settle request",
            Unit::Seconds,
            self.settle_latency.clone(),
        );
        r.register("usage_nodes", "Rows processed", self.usage_nodes.clone());
        r.register(
            "usage_node_dim_units",
            "Node-dimension units processed",
            self.usage_units.clone(),
        );
        r.register(
            "job_queue_depth",
            "Jobs waiting or running",
            self.queue_depth.clone(),
        );
        r.register_with_unit(
            "job_oldest_age",
            "Age of the oldest job",
            Unit::Seconds,
            self.queue_oldest_age.clone(),
        );
        r.register("jobs", "Jobs ended", self.jobs.clone());
        r.register_with_unit(
            "job_duration",
            "Time of a job's computation",
            Unit::Seconds,
            self.job_duration.clone(),
        );
        r.register(
            "diffusion_gate_ms",
            "Time to compute diffusion gates, milliseconds",
            self.diffusion_gate.clone(),
        );
        r.register(
            "diffusion_requests",
            "Diffusion requests",
            self.diffusion_requests.clone(),
        );
        r.register(
            "stripe_webhook_events",
            "Stripe events received",
            self.stripe_events.clone(),
        );
        r.register(
            "callbacks",
            "Attempts to deliver callbacks",
            self.callbacks.clone(),
        );
        r.register(
            "key_cache_hits",
            "Key look-ups answered from the cache",
            self.key_cache_hits.clone(),
        );
        r.register(
            "key_cache_misses",
            "Key look-ups that went to the store",
            self.key_cache_misses.clone(),
        );
        r.register(
            "shared_limit_fallbacks",
            "Requests counted by this instance alone because Redis was away",
            self.shared_limit_fallbacks.clone(),
        );
        r.register("http_requests", "HTTP requests", self.http_requests.clone());
        r.register_with_unit(
            "http_request_duration",
            "Time to answer HTTP requests",
            Unit::Seconds,
            self.http_duration.clone(),
        );
        r.register(
            "http_requests_in_flight",
            "HTTP requests under way",
            self.http_in_flight.clone(),
        );
        r
    }

    /// All metrics in OpenMetrics text (content type `application/openmetrics-text`).
    ///
    /// # Errors
    /// Formatting failed.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let metrics = Metrics::new();
        metrics
            .settle_requests
            .get_or_create(&StatusLabel { status: "ok" })
            .inc();
        metrics
            .queue_depth
            .get_or_create(&QueueLabel { queue: "settle" })
            .set(3);
        metrics
            .jobs
            .get_or_create(&KindStatus {
                kind: "settle",
                status: "done",
            })
            .inc();
        metrics
            .queue_oldest_age
            .get_or_create(&QueueLabel { queue: "settle" })
            .set(1);
        let text = metrics.encode().unwrap();
        for line in [
            "oscillink_settle_requests_total{status=\"ok\"} 1",
            "oscillink_settle_latency_seconds_count 0",
            "oscillink_usage_nodes_total 0",
            "oscillink_usage_node_dim_units_total 0",
            "oscillink_job_queue_depth{queue=\"settle\"} 3",
            "oscillink_job_oldest_age_seconds{queue=\"settle\"} 1",
            "oscillink_jobs_total{kind=\"settle\",status=\"done\"} 1",
            "oscillink_diffusion_gate_ms_count 0",
            "oscillink_key_cache_hits_total 0",
        ] {
            assert!(text.contains(line), "missing {line} in\n{text}");
        }
    }
}
