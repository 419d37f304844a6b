//! Makes queues and gives them their settings: for an emulator, which begins empty. In production
//! the definitions under `infra/queues` do it.

use std::time::Duration;

use google_cloud_gax::error::rpc::Code;
use google_cloud_tasks_v2::model::{Queue, RateLimits, RetryConfig};
use google_cloud_wkt::FieldMask;
use oscillink_domain::QueueName;
use oscillink_ports::QueueLimits;

use super::{CloudTasksQueue, Failure, Inner};
use crate::gcp::error::GcpError;
use crate::gcp::gax;

/// Deliveries per second that the service allows a queue.
const MAX_PER_SECOND: f64 = 500.0;
/// Deliveries under way at once that the service allows a queue.
const MAX_CONCURRENT: usize = 5_000;

/// The limits of a queue in production, as `infra/queues` declares them.
///
/// The engine retries jobs and decides when they end, so a task is delivered until it is taken; the
/// pauses are long enough for a pool that is full to empty, and short enough for a job that waits.
#[must_use]
pub fn queue_limits(queue: QueueName) -> QueueLimits {
    let jobs = |max_per_second: f64, max_concurrent: usize| QueueLimits {
        max_per_second,
        max_concurrent,
        max_attempts: 0,
        min_backoff_ms: 1_000,
        max_backoff_ms: 60_000,
        max_doublings: 5,
        dispatch_deadline_ms: 600_000,
    };
    match queue {
        QueueName::Settle => jobs(500.0, 256),
        QueueName::Diffusion => jobs(100.0, 64),
        QueueName::Priority => jobs(500.0, 128),
        // Strangers' servers: patient, and not for ever.
        QueueName::Callback => QueueLimits {
            max_per_second: 100.0,
            max_concurrent: 64,
            max_attempts: 12,
            min_backoff_ms: 5_000,
            max_backoff_ms: 3_600_000,
            max_doublings: 10,
            dispatch_deadline_ms: 30_000,
        },
    }
}

impl CloudTasksQueue {
    /// Makes the queues that do not exist and gives all of them these limits; the service's own
    /// bounds apply. The deadline of deliveries is not a queue's but each task's: see
    /// [`TasksConfig::dispatch_deadline`](crate::gcp::TasksConfig::dispatch_deadline).
    ///
    /// # Errors
    /// A call failed; what was made stays, and calling again goes on.
    pub async fn ensure_queues(&self, queues: &[(QueueName, QueueLimits)]) -> Result<(), GcpError> {
        for (queue, limits) in queues {
            let made = ensure(&self.inner, *queue, *limits).await;
            made.map_err(|failure| GcpError::SetUp {
                what: format!("queue {queue}"),
                source: failure.into(),
            })?;
        }
        Ok(())
    }
}

async fn ensure(inner: &Inner, queue: QueueName, limits: QueueLimits) -> Result<(), Failure> {
    let name = inner.queue_name(queue);
    let settings = settings(&name, limits);
    let parent = name
        .rsplit_once("/queues/")
        .map_or("", |(parent, _)| parent);
    let create = inner.client.create_queue().set_parent(parent);
    let call = inner.bounded(create.set_queue(settings.clone()));
    match inner.run("create queue", call.send()).await {
        Ok(_) => Ok(()),
        Err(Failure(Some(Code::AlreadyExists), _)) => {
            let update = inner.client.update_queue().set_queue(settings);
            let fields = FieldMask::default().set_paths(["rate_limits", "retry_config"]);
            let call = inner.bounded(update.set_update_mask(fields));
            inner.run("update queue", call.send()).await.map(|_| ())
        }
        Err(failure) => Err(failure),
    }
}

fn settings(name: &str, limits: QueueLimits) -> Queue {
    let ms = |ms: i64| gax::duration(Duration::from_millis(ms.max(0).unsigned_abs()));
    let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let rate = RateLimits::new()
        .set_max_dispatches_per_second(limits.max_per_second.clamp(0.001, MAX_PER_SECOND))
        .set_max_concurrent_dispatches(
            i32::try_from(limits.max_concurrent.clamp(1, MAX_CONCURRENT)).unwrap_or(i32::MAX),
        );
    let retry = RetryConfig::new()
        // Without a limit the service keeps trying as long as it keeps the task.
        .set_max_attempts(if limits.max_attempts == 0 {
            -1
        } else {
            whole(limits.max_attempts)
        })
        .set_min_backoff(ms(limits.min_backoff_ms))
        .set_max_backoff(ms(limits.max_backoff_ms))
        .set_max_doublings(whole(limits.max_doublings));
    Queue::new()
        .set_name(name)
        .set_rate_limits(rate)
        .set_retry_config(retry)
}
