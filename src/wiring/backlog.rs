//! The backlog of each queue as metrics.

use std::time::Duration;

use oscillink_domain::{QueueName, Timestamp};
use oscillink_engine::{Backlog, Engine, JOB_QUEUES};
use oscillink_ports::PortError;
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
        for queue in QueueName::ALL.iter().copied() {
            match look(&engine, queue).await {
                Ok(backlog) => show(&metrics, queue, backlog, engine.now()),
                Err(error) => tracing::warn!(%queue, %error, "backlog not counted"),
            }
        }
        if timeout(every, shutdown.wait()).await.is_ok() {
            return;
        }
    }
}

/// The jobs of a queue; of callbacks, which are no jobs, the tasks.
async fn look(engine: &Engine, queue: QueueName) -> Result<Backlog, PortError> {
    if JOB_QUEUES.contains(&queue) {
        return engine.backlog(queue).await;
    }
    let stats = engine.ports().queue.stats(queue).await?;
    Ok(Backlog {
        jobs: stats.depth,
        oldest: stats.oldest,
    })
}

fn show(metrics: &Metrics, queue: QueueName, backlog: Backlog, now: Timestamp) {
    let label = QueueLabel {
        queue: queue.as_str(),
    };
    let age_ms = backlog
        .oldest
        .map_or(0, |oldest| now.millis_since(oldest).max(0));
    let jobs = i64::try_from(backlog.jobs).unwrap_or(i64::MAX);
    metrics.queue_depth.get_or_create(&label).set(jobs);
    metrics
        .queue_oldest_age
        .get_or_create(&label)
        .set(age_ms / 1_000);
}
