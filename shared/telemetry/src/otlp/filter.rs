//! Which spans become spans of traces.

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::TraceContextExt as _;
use tracing::subscriber::Interest;
use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::layer::{Context, Filter};

use crate::TRACE;
use crate::span;

/// Lets through what a trace can begin with, and below it, in a trace that is sampled, the spans for
/// traces.
pub(super) struct OnlyTraces;

#[derive(PartialEq)]
enum Role {
    Root,
    Child,
    Other,
}

fn role(metadata: &Metadata<'_>) -> Role {
    if !metadata.is_span() {
        Role::Other
    } else if metadata.target() == TRACE {
        Role::Child
    } else if metadata.target() == span::ROOT {
        Role::Root
    } else {
        Role::Other
    }
}

impl<S> Filter<S> for OnlyTraces {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        match role(metadata) {
            Role::Root => true,
            Role::Child => {
                OtelContext::map_current(|context| context.span().span_context().is_sampled())
            }
            Role::Other => false,
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match role(metadata) {
            Role::Root => Interest::always(),
            Role::Child => Interest::sometimes(),
            Role::Other => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}
