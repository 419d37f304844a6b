//! Task queues with the semantics of Cloud Tasks.

use async_trait::async_trait;
use bytes::Bytes;
use oscillink_domain::{QueueName, Timestamp};

use crate::error::PortError;

/// Largest task body, bytes.
pub const MAX_TASK_BYTES: usize = 100 * 1024;

/// A task to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The queue.
    pub queue: QueueName,
    /// Unique in the queue: `[A-Za-z0-9_-]`, at most 500 characters.
    pub name: String,
    /// What is delivered.
    pub body: Bytes,
    /// Not delivered before this time.
    pub not_before: Option<Timestamp>,
    /// W3C trace context to deliver along.
    pub traceparent: Option<String>,
}

/// One delivery of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The queue.
    pub queue: QueueName,
    /// The task's name.
    pub name: String,
    /// The task's body.
    pub body: Bytes,
    /// Deliveries before this one.
    pub retry_count: u32,
    /// W3C trace context given at creation.
    pub traceparent: Option<String>,
}

/// What the target said of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handled; the task is deleted.
    Acknowledge,
    /// Not handled; the task is delivered again after the queue's backoff.
    Retry,
}

/// Where an embedded queue delivers. A cloud queue delivers over HTTP to the same handler.
#[async_trait]
pub trait TaskTarget: Send + Sync + 'static {
    /// Handles one delivery.
    async fn deliver(&self, delivery: Delivery) -> Verdict;
}

/// Rate, concurrency and retry settings of one queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueLimits {
    /// Deliveries per second at the most.
    pub max_per_second: f64,
    /// Deliveries under way at once at the most.
    pub max_concurrent: usize,
    /// Deliveries of one task at the most; 0 is unlimited. A task that has used them is dropped.
    pub max_attempts: u32,
    /// Pause after the first failed delivery, ms.
    pub min_backoff_ms: i64,
    /// Longest pause, ms.
    pub max_backoff_ms: i64,
    /// How often the pause doubles.
    pub max_doublings: u32,
    /// A delivery that takes longer counts as failed, ms.
    pub dispatch_deadline_ms: i64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            max_per_second: 100_000.0,
            max_concurrent: 64,
            max_attempts: 0,
            min_backoff_ms: 100,
            max_backoff_ms: 60_000,
            max_doublings: 10,
            dispatch_deadline_ms: 600_000,
        }
    }
}

impl QueueLimits {
    /// Those of callbacks: strangers' servers, called patiently. The engine counts the attempts and
    /// ends them, so a task is delivered until it is taken.
    pub const CALLBACKS: Self = Self {
        max_per_second: 100.0,
        max_concurrent: 64,
        max_attempts: 0,
        min_backoff_ms: 5_000,
        max_backoff_ms: 3_600_000,
        max_doublings: 10,
        dispatch_deadline_ms: 30_000,
    };
}

/// What an operator sees of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Tasks not yet acknowledged.
    pub depth: u64,
    /// Deliveries under way.
    pub running: u64,
    /// Creation time of the oldest task.
    pub oldest: Option<Timestamp>,
    /// No deliveries start.
    pub paused: bool,
}

/// Creates tasks, which are delivered at least once.
///
/// - A created task is durable. It is delivered until a target acknowledges it or its attempts run out.
/// - Creating a name that exists, or that was deleted or completed within the last hour, fails with
///   `AlreadyExists`: so creating is safe to repeat.
/// - No order is promised beyond `not_before`.
#[async_trait]
pub trait TaskQueue: Send + Sync + 'static {
    /// Creates several tasks; the result has one entry a task, in order.
    async fn create(&self, tasks: Vec<Task>) -> Vec<Result<(), PortError>>;

    /// Deletes a task; an unknown name succeeds. A delivery under way is not stopped.
    async fn delete(&self, queue: QueueName, name: &str) -> Result<(), PortError>;

    /// Starts no further deliveries on `queue`.
    async fn pause(&self, queue: QueueName) -> Result<(), PortError>;

    /// Starts deliveries again.
    async fn resume(&self, queue: QueueName) -> Result<(), PortError>;

    /// The limits in force.
    async fn limits(&self, queue: QueueName) -> Result<QueueLimits, PortError>;

    /// Changes the limits. An embedded queue has them until the process ends, a cloud queue until its
    /// definition is applied again.
    async fn set_limits(&self, queue: QueueName, limits: QueueLimits) -> Result<(), PortError>;

    /// Depth and age.
    async fn stats(&self, queue: QueueName) -> Result<QueueStats, PortError>;
}
