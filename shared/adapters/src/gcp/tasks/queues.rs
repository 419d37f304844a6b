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
        QueueName::Callback => QueueLimits::CALLBACKS,
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

/// Changes the limits of a queue that exists.
pub(super) async fn set(
    inner: &Inner,
    queue: QueueName,
    limits: QueueLimits,
) -> Result<(), Failure> {
    let update = inner.client.update_queue();
    let update = update.set_queue(settings(&inner.queue_name(queue), limits));
    let fields = FieldMask::default().set_paths(["rate_limits", "retry_config"]);
    let call = inner.bounded(update.set_update_mask(fields));
    inner.run("update queue", call.send()).await.map(|_| ())
}

/// The limits of a queue as the service has them. What the service leaves out is its default, and
/// unlimited attempts are 0 here.
pub(super) async fn get(inner: &Inner, queue: QueueName) -> Result<QueueLimits, Failure> {
    let call = inner.client.get_queue().set_name(inner.queue_name(queue));
    let found = inner.run("get queue", inner.bounded(call).send()).await?;
    let rate = found.rate_limits.unwrap_or_default();
    let retry = found.retry_config.unwrap_or_default();
    let ms = |time: Option<google_cloud_wkt::Duration>| {
        time.map_or(0, |time| {
            time.seconds() * 1_000 + i64::from(time.nanos()) / 1_000_000
        })
    };
    let deadline = inner.config.dispatch_deadline.as_millis();
    Ok(QueueLimits {
        max_per_second: rate.max_dispatches_per_second,
        max_concurrent: usize::try_from(rate.max_concurrent_dispatches).unwrap_or(0),
        max_attempts: u32::try_from(retry.max_attempts).unwrap_or(0),
        min_backoff_ms: ms(retry.min_backoff),
        max_backoff_ms: ms(retry.max_backoff),
        max_doublings: u32::try_from(retry.max_doublings).unwrap_or(0),
        dispatch_deadline_ms: i64::try_from(deadline).unwrap_or(i64::MAX),
    })
}

async fn ensure(inner: &Inner, queue: QueueName, limits: QueueLimits) -> Result<(), Failure> {
    let name = inner.queue_name(queue);
    let parent = name
        .rsplit_once("/queues/")
        .map_or("", |(parent, _)| parent);
    let create = inner.client.create_queue().set_parent(parent);
    let call = inner.bounded(create.set_queue(settings(&name, limits)));
    match inner.run("create queue", call.send()).await {
        Ok(_) => Ok(()),
        Err(Failure(Some(Code::AlreadyExists), _)) => set(inner, queue, limits).await,
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
