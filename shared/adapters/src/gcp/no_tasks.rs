//! The task queues of a process that has none: billing makes and serves no tasks.

use async_trait::async_trait;
use oscillink_domain::QueueName;
use oscillink_ports::{PortError, QueueLimits, QueueStats, Task, TaskQueue};

/// Refuses everything.
pub(super) struct NoTasks;

fn refused() -> PortError {
    PortError::Refused {
        detail: "this process is configured without task queues".to_owned(),
    }
}

#[async_trait]
impl TaskQueue for NoTasks {
    async fn create(&self, tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
        tasks.iter().map(|_| Err(refused())).collect()
    }

    async fn delete(&self, _: QueueName, _: &str) -> Result<(), PortError> {
        Err(refused())
    }

    async fn pause(&self, _: QueueName) -> Result<(), PortError> {
        Err(refused())
    }

    async fn resume(&self, _: QueueName) -> Result<(), PortError> {
        Err(refused())
    }

    async fn limits(&self, _: QueueName) -> Result<QueueLimits, PortError> {
        Err(refused())
    }

    async fn set_limits(&self, _: QueueName, _: QueueLimits) -> Result<(), PortError> {
        Err(refused())
    }

    async fn stats(&self, _: QueueName) -> Result<QueueStats, PortError> {
        Err(refused())
    }
}
