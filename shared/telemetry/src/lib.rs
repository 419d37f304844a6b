//! Logs, traces, metrics and the shutdown signal, shared by the services.
//!
//! [`init`] puts the process's log lines and spans where [`Config`] says. Spans of the target
//! [`TRACE`] exist only in sampled traces; spans that a trace can begin with are made by [`span`].

mod config;
mod context;
pub mod http;
mod init;
mod logs;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod shutdown;
pub mod span;

pub use config::{Config, LogFormat, Sampler, TraceConfig};
pub use context::{TraceParent, current_traceparent};
pub use init::{Telemetry, init};
pub use metrics::{Metrics, StoreTotals};
pub use shutdown::{Shutdown, ShutdownHandle, on_signal};

/// Target of spans that exist only in sampled traces and never in logs.
pub const TRACE: &str = "oscillink::trace";
