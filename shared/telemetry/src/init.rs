//! Puts the process's log lines and spans where its settings say.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};

use crate::config::{Config, LogFormat};
use crate::logs::{self, Cloud};
#[cfg(feature = "otlp")]
use crate::otlp::{self, Exporter};

/// What is to be ended in order: spans may still wait for their export.
#[derive(Debug, Default)]
#[must_use = "spans that wait for export are lost unless it is flushed"]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    exporter: Option<Exporter>,
}

/// Why logs and traces could not be set up.
#[derive(Debug)]
pub enum InitError {
    /// A subscriber is set already.
    Subscriber(TryInitError),
    /// The exporter of traces cannot be made; the text names the setting.
    Traces(String),
}

impl std::fmt::Display for InitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Subscriber(error) => write!(f, "{error}"),
            Self::Traces(detail) => write!(f, "traces: {detail}"),
        }
    }
}

impl std::error::Error for InitError {}

/// Sends log lines to standard error and spans to the collector, if there is one. Call it inside the
/// runtime, which carries the exporter's connection.
///
/// # Errors
/// See [`InitError`].
pub fn init(config: &Config) -> Result<Telemetry, InitError> {
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        let cloud = Cloud::new(config.project.clone(), io::stderr);
        logs::only_logs(cloud, config)
    } else {
        logs::only_logs(logs::human(), config)
    };
    let registry = tracing_subscriber::registry().with(lines);

    #[cfg(feature = "otlp")]
    {
        let exporter = config.traces.as_ref().map(Exporter::new).transpose();
        let exporter = exporter.map_err(InitError::Traces)?;
        let layer = exporter.as_ref().map(Exporter::layer);
        registry
            .with(layer)
            .try_init()
            .map_err(InitError::Subscriber)?;
        if let Some(traces) = &config.traces {
            otlp::decide_by(traces.sampler);
        }
        Ok(Telemetry { exporter })
    }
    #[cfg(not(feature = "otlp"))]
    {
        registry.try_init().map_err(InitError::Subscriber)?;
        if config.traces.is_some() {
            tracing::warn!(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without the feature \
                 `otlp`: no traces are exported"
            );
        }
        Ok(Telemetry::default())
    }
}

impl Telemetry {
    /// Exports what waits, for at most `limit`. The rest is lost.
    pub async fn flush(self, limit: Duration) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.shutdown(limit).await;
        }
        #[cfg(not(feature = "otlp"))]
        let _ = limit;
    }
}
