//! Whether a trace is recorded, decided before its first span here is made. A span of a trace that is
//! not has its context beside it, for log lines and for whoever is called, and the exporter never hears
//! of it: nine of ten requests would otherwise gather attributes for nobody.

use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _, TraceId};
use opentelemetry_sdk::trace::IdGenerator;
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use crate::config::Sampler;
use crate::context::TraceParent;

static SAMPLER: OnceLock<Sampler> = OnceLock::new();

/// From here on spans are made as this sampler decides.
pub(crate) fn decide_by(sampler: Sampler) {
    // A process sets up its telemetry once.
    let _ = SAMPLER.set(sampler);
}

/// The context of a span that continues `parent`, or begins a trace, if that trace is not recorded.
pub(crate) fn unrecorded(parent: Option<TraceParent>) -> Option<TraceParent> {
    let sampler = SAMPLER.get()?;
    // Only a span that the exporter knows can hide another one from what is below it.
    if Context::map_current(Context::has_active_span) {
        return None;
    }
    let recorded = match parent {
        Some(parent) if sampler.parent_based => parent.sampled,
        Some(parent) => chosen(parent.trace_id) < bound(sampler.ratio),
        None => fastrand::f64() < sampler.ratio,
    };
    (!recorded).then(|| TraceParent {
        trace_id: parent.map_or_else(
            || trace_id(bound(sampler.ratio)..1 << 63),
            |parent| parent.trace_id,
        ),
        span_id: fastrand::u64(1..),
        sampled: false,
    })
}

/// Keeps `context` beside `span`.
pub(crate) fn keep(span: &Span, context: TraceParent) {
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().insert(context);
        }
    });
}

/// What is kept beside the span that this code runs in, or beside one around it.
pub(crate) fn kept() -> Option<TraceParent> {
    let found = Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.scope()
            .find_map(|span| span.extensions().get::<TraceParent>().copied())
    });
    found.flatten()
}

/// Makes ids of traces that the ratio's sampler records, since it is asked for no others.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) ratio: f64,
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let wanted = 0..bound(self.ratio).max(1);
        TraceId::from_bytes(trace_id(wanted).to_be_bytes())
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from_bytes(fastrand::u64(1..).to_be_bytes())
    }
}

/// The bits of a trace's id that decide, as OpenTelemetry's sampler by ratio reads them.
fn chosen(trace_id: u128) -> u64 {
    (trace_id as u64) >> 1
}

/// Ids whose [`chosen`] bits are below are recorded.
fn bound(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64
}

/// A random id whose [`chosen`] bits are in this range.
fn trace_id(range: std::ops::Range<u64>) -> u128 {
    let low = fastrand::u64(range) << 1 | u64::from(fastrand::bool());
    u128::from(fastrand::u64(1..)) << 64 | u128::from(low)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample as _};

    use super::*;

    #[test]
    fn ids_are_what_opentelemetrys_sampler_decides_by() {
        for ratio in [0.001, 0.1, 0.5, 1.0] {
            let sampler = SdkSampler::TraceIdRatioBased(ratio);
            let decision = |id| {
                let decided = sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]);
                decided.decision
            };
            let ids = Ids { ratio };
            for _ in 0..100 {
                let recorded = ids.new_trace_id();
                assert_eq!(decision(recorded), SamplingDecision::RecordAndSample);
                if ratio < 1.0 {
                    let other = trace_id(bound(ratio)..1 << 63);
                    let other = TraceId::from_bytes(other.to_be_bytes());
                    assert_eq!(decision(other), SamplingDecision::Drop, "{ratio} {other}");
                }
            }
        }
    }

    #[test]
    fn a_caller_that_decided_is_followed_and_others_are_recorded_by_the_ratio() {
        decide_by(Sampler {
            parent_based: true,
            ratio: 0.25,
        });
        let parent = |sampled| TraceParent {
            trace_id: 7,
            span_id: 8,
            sampled,
        };
        assert_eq!(unrecorded(Some(parent(true))), None);
        let own = unrecorded(Some(parent(false))).unwrap();
        assert_eq!((own.trace_id, own.sampled), (7, false));
        assert_ne!(own.span_id, 8);
        let recorded = (0..4_000).filter(|_| unrecorded(None).is_none()).count();
        // Six standard deviations to either side.
        assert!((836..1_164).contains(&recorded), "{recorded} of 4,000");
    }
}
