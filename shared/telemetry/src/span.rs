//! The spans that a trace can begin with in this process. They are around log lines too.

use tracing::Span;
use tracing::field::Empty;

use crate::context::{continue_trace, keep, unrecorded};

/// Target of these spans.
pub(crate) const ROOT: &str = "oscillink::span";
/// Target of the same spans of traces that are not recorded: the exporter does not know them.
pub(crate) const UNRECORDED: &str = "oscillink::span::unrecorded";

/// Makes a span that begins a trace here, or continues a caller's.
macro_rules! begin {
    ($traceparent:expr, $name:literal, $($fields:tt)+) => {
        match unrecorded($traceparent) {
            None => continued(
                tracing::info_span!(target: ROOT, $name, $($fields)+ traceparent = Empty),
                $traceparent,
            ),
            Some(context) => {
                let span = tracing::info_span!(target: UNRECORDED, $name, $($fields)+);
                keep(&span, context);
                span
            }
        }
    };
}

/// Around the answer to an HTTP request. `key_hash`, `N`, `D` and `quota_remaining` are recorded as
/// they become known.
#[must_use]
pub fn request(
    method: &'static str,
    route: &str,
    request_id: &str,
    traceparent: Option<&str>,
) -> Span {
    begin!(
        traceparent,
        "request",
        otel.kind = "server",
        otel.name = format_args!("{method} {route}"),
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request_id,
        key_hash = Empty,
        N = Empty,
        D = Empty,
        quota_remaining = Empty,
    )
}

/// Around the handling of a delivered task. `job_id`, `request_id`, `key_hash`, `N` and `D` are
/// recorded as they become known.
#[must_use]
pub fn task(queue: &str, name: &str, retries: u32, traceparent: Option<&str>) -> Span {
    begin!(
        traceparent,
        "task",
        otel.kind = "consumer",
        otel.name = format_args!("process {queue}"),
        otel.status_code = Empty,
        messaging.operation.name = "process",
        messaging.destination.name = queue,
        messaging.message.id = name,
        messaging.message.delivery_count = u64::from(retries) + 1,
        job_id = Empty,
        request_id = Empty,
        key_hash = Empty,
        N = Empty,
        D = Empty,
    )
}

/// Around the hand-over of a message, a task or an event, to what carries it on.
#[must_use]
pub fn send(destination: &str, id: &str, traceparent: Option<&str>) -> Span {
    begin!(
        traceparent,
        "send",
        otel.kind = "producer",
        otel.name = format_args!("send {destination}"),
        otel.status_code = Empty,
        messaging.operation.name = "send",
        messaging.destination.name = destination,
        messaging.message.id = id,
    )
}

fn continued(span: Span, traceparent: Option<&str>) -> Span {
    // Without traces of its own the process names the caller's in its log lines.
    if !continue_trace(&span, traceparent)
        && let Some(text) = traceparent
    {
        span.record("traceparent", text);
    }
    span
}
