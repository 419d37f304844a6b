//! The exporter: a bounded queue, failures counted and told once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::filter::OnlyTraces;
use super::sampling::Ids;
use crate::config::TraceConfig;
use crate::metrics::{EXPORTS, ResultLabel};

/// The pipeline from spans to the collector.
#[derive(Debug)]
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// As configured. Nothing is connected yet.
    pub(crate) fn new(config: &TraceConfig) -> Result<Self, String> {
        let otlp = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(config.endpoint.as_str())
            .with_timeout(config.timeout)
            .build()
            .map_err(|error| error.to_string())?;
        let watched = Watched {
            inner: otlp,
            failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(config.max_queue)
            .with_max_export_batch_size(config.max_batch)
            .with_scheduled_delay(config.delay)
            .build();
        let processor = BatchSpanProcessor::builder(watched)
            .with_batch_config(batches)
            .build();
        let ratio = Sampler::TraceIdRatioBased(config.sampler.ratio);
        let builder = SdkTracerProvider::builder()
            .with_resource(resource(&config.service_name))
            .with_id_generator(Ids {
                ratio: config.sampler.ratio,
            })
            .with_span_processor(Counted(processor));
        let builder = if config.sampler.parent_based {
            builder.with_sampler(Sampler::ParentBased(Box::new(ratio)))
        } else {
            builder.with_sampler(ratio)
        };
        Ok(Self(builder.build()))
    }

    /// The layer that turns spans into spans of traces.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("oscillink"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(OnlyTraces)
    }

    /// Exports what waits, for at most `limit`.
    pub(crate) async fn shutdown(self, limit: Duration) {
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(limit));
        match ended.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not exported"),
            Err(error) => tracing::error!(%error, "the exporter of traces broke"),
        }
    }
}

/// Who exports: the name, and what `OTEL_RESOURCE_ATTRIBUTES` adds.
fn resource(service_name: &str) -> Resource {
    Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Counts spans that are recorded: those of them that are neither exported nor failed were dropped,
/// because the queue was full.
#[derive(Debug)]
struct Counted(BatchSpanProcessor);

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        EXPORTS.recorded.inc();
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Counts exports, and tells when they begin to fail and when they work again.
#[derive(Debug)]
struct Watched<E> {
    inner: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let outcome = self.inner.export(batch).await;
        let result = if outcome.is_ok() { "ok" } else { "failed" };
        EXPORTS
            .exported
            .get_or_create(&ResultLabel { result })
            .inc_by(spans);
        let failing = outcome.is_err();
        if self.failing.swap(failing, Ordering::Relaxed) != failing {
            match &outcome {
                Ok(()) => tracing::info!("traces are exported again"),
                Err(error) => tracing::warn!(
                    %error,
                    "traces cannot be exported; they are dropped, and this is not said again until \
                     it works"
                ),
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
