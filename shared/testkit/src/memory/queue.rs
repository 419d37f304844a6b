//! A task queue in memory whose deliveries the test makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{PortError, QueueLimits, QueueStats, Task, TaskQueue};

use crate::faults::Faults;

#[derive(Default)]
struct State {
    tasks: BTreeMap<(QueueName, String), Task>,
    used: BTreeSet<(QueueName, String)>,
    paused: BTreeSet<QueueName>,
    limits: BTreeMap<QueueName, QueueLimits>,
}

/// Tasks in memory. The test picks what is delivered, when and how often. Clones share the tasks.
#[derive(Clone)]
pub struct MemoryQueue {
    state: Arc<Mutex<State>>,
    faults: Faults,
}

impl MemoryQueue {
    /// No tasks.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            state: Arc::default(),
            faults,
        }
    }

    /// Tasks that may be delivered at `now`.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<Task> {
        let state = self.state();
        let due = |task: &&Task| {
            !state.paused.contains(&task.queue) && task.not_before.is_none_or(|at| at <= now)
        };
        state.tasks.values().filter(due).cloned().collect()
    }

    /// All tasks.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        self.state().tasks.values().cloned().collect()
    }

    /// The target acknowledged the task, or the queue lost it.
    pub fn remove(&self, task: &Task) {
        self.state().tasks.remove(&(task.queue, task.name.clone()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TaskQueue for MemoryQueue {
    async fn create(&self, tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
        let mut outcomes = Vec::new();
        for task in tasks {
            let outcome = self
                .faults
                .call(|| {
                    let mut state = self.state();
                    let key = (task.queue, task.name.clone());
                    if !state.used.insert(key.clone()) {
                        return Err(PortError::AlreadyExists {
                            detail: task.name.clone(),
                        });
                    }
                    state.tasks.insert(key, task);
                    Ok(())
                })
                .await;
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn delete(&self, queue: QueueName, name: &str) -> Result<(), PortError> {
        self.faults
            .call(|| {
                self.state().tasks.remove(&(queue, name.to_owned()));
                Ok(())
            })
            .await
    }

    async fn pause(&self, queue: QueueName) -> Result<(), PortError> {
        self.state().paused.insert(queue);
        Ok(())
    }

    async fn resume(&self, queue: QueueName) -> Result<(), PortError> {
        self.state().paused.remove(&queue);
        Ok(())
    }

    async fn limits(&self, queue: QueueName) -> Result<QueueLimits, PortError> {
        Ok(self.state().limits.get(&queue).copied().unwrap_or_default())
    }

    async fn set_limits(&self, queue: QueueName, limits: QueueLimits) -> Result<(), PortError> {
        self.state().limits.insert(queue, limits);
        Ok(())
    }

    async fn stats(&self, queue: QueueName) -> Result<QueueStats, PortError> {
        let state = self.state();
        let depth = state.tasks.keys().filter(|(q, _)| *q == queue).count() as u64;
        Ok(QueueStats {
            depth,
            running: 0,
            oldest: None,
            paused: state.paused.contains(&queue),
        })
    }
}
