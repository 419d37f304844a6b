//! The backlog of each queue as metrics.

use std::time::Duration;

use oscillink_engine::{Engine, JOB_QUEUES};
use oscillink_telemetry::{Metrics, QueueLabel, Shutdown};
use tokio::time::timeout;

/// Pause between looks. Counting reads an index of the live jobs, which may be many.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps the gauges up to date until shutdown.
pub async fn watch(engine: Engine, metrics: Metrics, shutdown: Shutdown) {
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
        if timeout(EVERY, shutdown.wait()).await.is_ok() {
            return;
        }
    }
}
