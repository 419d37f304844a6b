//! A histogram of durations whose buckets name a trace to look at.

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::context::recorded;

/// Durations from a quarter of a millisecond to half a minute, in seconds.
#[derive(Clone, Debug)]
pub struct Durations(HistogramWithExemplars<TraceLabel>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TraceLabel {
    trace_id: String,
}

impl Default for Durations {
    fn default() -> Self {
        Self(HistogramWithExemplars::new(exponential_buckets(
            0.000_25, 2.0, 18,
        )))
    }
}

impl Durations {
    /// Counts one. Inside a sampled trace, its bucket names the trace.
    pub fn observe(&self, duration: Duration) {
        let trace = recorded().filter(|trace| trace.sampled);
        let label = trace.map(|trace| TraceLabel {
            trace_id: format!("{:032x}", trace.trace_id),
        });
        let at = label.as_ref().map(|_| SystemTime::now());
        self.0.observe(duration.as_secs_f64(), label, at);
    }

    /// The same of milliseconds; what is no duration is not counted.
    pub fn observe_ms(&self, ms: f64) {
        if let Ok(duration) = Duration::try_from_secs_f64(ms / 1e3) {
            self.observe(duration);
        }
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
