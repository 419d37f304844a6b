//! Traces to an OpenTelemetry collector: OTLP over gRPC, in batches, from a thread of its own.

mod exporter;
mod filter;
mod sampling;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub(crate) use exporter::Exporter;
pub(crate) use sampling::{decide_by, keep, kept, unrecorded};

use crate::context::TraceParent;

/// Makes `span` a child of a span elsewhere. `false`: traces are off, or the span is not for them.
pub(crate) fn set_parent(span: &tracing::Span, parent: TraceParent) -> bool {
    let flags = if parent.sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let remote = SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_be_bytes()),
        SpanId::from_bytes(parent.span_id.to_be_bytes()),
        flags,
        true,
        TraceState::default(),
    );
    let context = Context::new().with_remote_span_context(remote);
    span.set_parent(context).is_ok()
}

/// The context of the span that this thread is in.
pub(crate) fn current() -> Option<TraceParent> {
    Context::map_current(|context| {
        let span = context.span();
        let own = span.span_context();
        own.is_valid().then(|| TraceParent {
            trace_id: u128::from_be_bytes(own.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(own.span_id().to_bytes()),
            sampled: own.is_sampled(),
        })
    })
}
