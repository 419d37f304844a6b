//! W3C trace context: read from a header, continued by a span, handed on.

use std::fmt;

#[cfg(feature = "otlp")]
use crate::otlp;

/// A `traceparent` that has its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: u128,
    /// The span that calls.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceParent {
    /// `None` for anything that is not of the form, or that names nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = number(parts.next()?, 2)?;
        let trace_id = number(parts.next()?, 32)?;
        let span_id = u64::try_from(number(parts.next()?, 16)?).ok()?;
        let flags = number(parts.next()?, 2)?;
        // Later versions may have more parts; ff is no version.
        let ends = version > 0 || parts.next().is_none();
        (ends && version != 0xff && trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// As a `traceparent` header.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            sampled,
        } = self;
        write!(
            f,
            "00-{trace_id:032x}-{span_id:016x}-{:02x}",
            u8::from(*sampled)
        )
    }
}

/// A number of exactly `digits` lower-case hexadecimal digits.
fn number(text: &str, digits: usize) -> Option<u128> {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// Makes `span`, which has not been entered, part of the trace that a caller's `traceparent` names.
/// `false` if it is not: the header is malformed, or traces are off.
pub(crate) fn continue_trace(span: &tracing::Span, traceparent: Option<&str>) -> bool {
    #[cfg(feature = "otlp")]
    return traceparent
        .and_then(TraceParent::parse)
        .is_some_and(|parent| otlp::set_parent(span, parent));
    #[cfg(not(feature = "otlp"))]
    {
        let _ = (span, traceparent);
        false
    }
}

/// The context of a span that continues a caller's trace, or begins one, if that trace is not recorded.
/// `None` while traces are off.
pub(crate) fn unrecorded(traceparent: Option<&str>) -> Option<TraceParent> {
    #[cfg(feature = "otlp")]
    return otlp::unrecorded(traceparent.and_then(TraceParent::parse));
    #[cfg(not(feature = "otlp"))]
    {
        let _ = traceparent;
        None
    }
}

/// Keeps the context of a span that is not recorded beside it.
pub(crate) fn keep(span: &tracing::Span, context: TraceParent) {
    #[cfg(feature = "otlp")]
    otlp::keep(span, context);
    #[cfg(not(feature = "otlp"))]
    let _ = (span, context);
}

/// The context of the span that this code runs in, if the exporter has it.
pub(crate) fn recorded() -> Option<TraceParent> {
    #[cfg(feature = "otlp")]
    return otlp::current();
    #[cfg(not(feature = "otlp"))]
    None
}

/// The context of the span that this code runs in. `None` while traces are off.
#[must_use]
pub(crate) fn current() -> Option<TraceParent> {
    #[cfg(feature = "otlp")]
    return otlp::current().or_else(otlp::kept);
    #[cfg(not(feature = "otlp"))]
    None
}

/// What to hand on as `traceparent`: that of the span that this code runs in, or while traces are
/// off the caller's own.
#[must_use]
pub fn current_traceparent(callers: Option<&str>) -> Option<String> {
    current()
        .or_else(|| callers.and_then(TraceParent::parse))
        .map(|context| context.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_context_of_its_form_is_read() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let good = format!("00-{trace}-{span}-01");
        let parsed = TraceParent::parse(&good).unwrap();
        assert!(parsed.sampled);
        assert_eq!(parsed.to_string(), good);
        let newer = format!("01-{trace}-{span}-03-more");
        assert_eq!(TraceParent::parse(&newer), Some(parsed));
        for bad in [
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{span}-+1"),
            good.to_uppercase(),
            good.replace("-01", ""),
            format!("{good}-x"),
            String::new(),
        ] {
            assert_eq!(TraceParent::parse(&bad), None, "{bad}");
        }
    }
}
