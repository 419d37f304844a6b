//! Checks of [`TaskQueue`].

mod limits;
mod target;
mod tasks;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use oscillink_domain::QueueName;

pub use limits::*;
pub use target::Target;
pub use tasks::*;

use super::{Keep, eventually, unique, within};
use crate::{
    Clock, MAX_TASK_BYTES, OsClock, PortError, QueueLimits, QueueStats, Task, TaskQueue,
    TaskTarget, Verdict,
};

/// Makes queues for the checks.
#[async_trait]
pub trait QueueHarness: Send + Sync {
    /// A task queue that is empty, whose queues all have `limits` and deliver to `target`.
    async fn start(&self, limits: QueueLimits, target: Arc<dyn TaskTarget>) -> Arc<dyn TaskQueue>;
}

/// Task queues to check.
pub struct QueueFixture {
    /// Makes the queues.
    pub harness: Box<dyn QueueHarness>,
    /// Deliveries that may start at once in spite of a low rate.
    pub rate_burst: usize,
    /// Shortest dispatch deadline that the queue accepts, ms.
    pub min_deadline_ms: i64,
    /// How much earlier than its time a delivery may come, ms: coarse clocks.
    pub early_ms: i64,
    /// Kept until the check has ended.
    pub keep: Keep,
}

/// Every check of this suite.
pub const CHECKS: &[&str] = &[
    "delivers_what_was_created",
    "names_are_taken_while_and_after",
    "each_task_has_its_own_result",
    "tasks_follow_the_rules",
    "waits_until_not_before",
    "deletes_a_waiting_task",
    "stats_tell_depth_and_age",
    "a_burst_is_delivered_completely",
    "retries_with_growing_pauses",
    "drops_a_task_after_its_attempts",
    "a_delivery_past_its_deadline_failed",
    "starts_no_more_than_the_rate",
    "delivers_no_more_at_once_than_allowed",
    "pauses_and_resumes",
];

const QUEUE: QueueName = QueueName::Settle;

fn task(name: &str) -> Task {
    Task {
        queue: QUEUE,
        name: name.to_owned(),
        body: Bytes::from(format!("body of {name}")),
        not_before: None,
        traceparent: None,
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    let prefix = unique(prefix);
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

async fn create(queue: &Arc<dyn TaskQueue>, tasks: Vec<Task>) {
    for result in queue.create(tasks).await {
        result.unwrap();
    }
}

async fn stats(queue: &Arc<dyn TaskQueue>) -> QueueStats {
    queue.stats(QUEUE).await.unwrap()
}

async fn drained(queue: &Arc<dyn TaskQueue>) {
    eventually("the queue is empty", || async {
        (stats(queue).await.depth == 0).then_some(())
    })
    .await;
}

fn taken(result: &Result<(), PortError>) -> bool {
    matches!(result, Err(PortError::AlreadyExists { .. }))
}
