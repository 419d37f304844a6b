//! The backlog of each queue as metrics.

use std::time::Duration;

use oscillink_engine::{Engine, JOB_QUEUES};
use oscillink_telemetry::metrics::QueueLabel;
use oscillink_telemetry::{Metrics, Shutdown};
use tokio::time::timeout;

/// Pause between looks at a store in this process. Counting reads an index of the live jobs, which may
/// be many.
pub const EVERY: Duration = Duration::from_secs(5);
/// The same of a store that charges for it.
#[cfg(feature = "gcp")]
pub const EVERY_REMOTE: Duration = Duration::from_secs(30);

/// Keeps the gauges up to date until shutdown.
pub async fn watch(engine: Engine, metrics: Metrics, shutdown: Shutdown, every: Duration) {
    loop {
        for queue in JOB_QUEUES {
            let backlog = match engine.backlog(queue).await {
                Ok(backlog) => backlog,
                Err(error) => {
                    tracing::warn!(%queue, %error, "backlog not counted");
                    continue;
                }
            };
            let label = QueueLabel {
                queue: queue.as_str(),
            };
            let age_ms = backlog
                .oldest
                .map_or(0, |oldest| engine.now().millis_since(oldest).max(0));
            let jobs = i64::try_from(backlog.jobs).unwrap_or(i64::MAX);
            metrics.queue_depth.get_or_create(&label).set(jobs);
            metrics
                .queue_oldest_age
                .get_or_create(&label)
                .set(age_ms / 1_000);
        }
        if timeout(every, shutdown.wait()).await.is_ok() {
            return;
        }
    }
}
