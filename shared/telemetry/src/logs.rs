//! Log output: JSON lines for collectors, human form on a terminal.

mod cloud;
mod fields;
mod human;

use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use cloud::Cloud;
pub(crate) use human::human;

use crate::TRACE;

/// `layer` with the lines that `filter` lets through, and no spans that are for traces alone.
pub(crate) fn only_logs<S, L>(layer: L, filter: &str) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S> + Send + Sync,
{
    // The settings have checked it.
    let wanted = EnvFilter::new(filter);
    let logged = filter_fn(|metadata: &Metadata<'_>| metadata.target() != TRACE);
    Box::new(layer.with_filter(wanted.and(logged)))
}

/// Whether a span's field only tells the exporter of traces what kind of span it is.
fn is_for_traces(name: &str) -> bool {
    name.starts_with("otel.")
}
