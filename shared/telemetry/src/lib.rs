//! Logs, metrics and the shutdown signal, shared by the services.

mod logs;
mod metrics;
mod shutdown;
mod store;

pub use logs::{LogFormat, init_logs};
pub use metrics::{
    HttpLabels, KindStage, KindStatus, Metrics, QueueLabel, ResultLabel, StatusLabel,
};
pub use shutdown::{Shutdown, ShutdownHandle, on_signal};
pub use store::StoreTotals;
