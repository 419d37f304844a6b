//! Log output: JSON lines for collectors, human form on a terminal.

mod cloud;
mod fields;
mod human;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use cloud::Cloud;
pub(crate) use human::human;

use crate::TRACE;
use crate::config::Config;
use crate::span::UNRECORDED;

/// `layer` with the lines that the settings' filter lets through, and no spans that are for traces
/// alone. While there are traces, the spans of those that are not recorded exist whatever the level of
/// lines is: their contexts are handed on.
pub(crate) fn only_logs<S, L>(layer: L, config: &Config) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S> + Send + Sync,
{
    // The settings have checked it.
    let wanted = EnvFilter::new(&config.filter);
    let logged = filter_fn(|metadata: &Metadata<'_>| metadata.target() != TRACE);
    let lines = wanted.and(logged);
    if config.traces.is_none() {
        return Box::new(layer.with_filter(lines));
    }
    let unrecorded = filter_fn(|metadata| metadata.is_span() && metadata.target() == UNRECORDED);
    Box::new(layer.with_filter(lines.or(unrecorded.with_max_level_hint(LevelFilter::INFO))))
}

/// Whether a span's field only tells the exporter of traces what kind of span it is.
fn is_for_traces(name: &str) -> bool {
    name.starts_with("otel.")
}
