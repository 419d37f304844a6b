//! One queue: what it shares with its deliveries, and how tasks get into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oscillink_domain::QueueName;
use oscillink_ports::{Clock, MAX_TASK_BYTES, PortError, Task};
use tokio::sync::Notify;

use super::pending::{AT_ONCE, Content, Pending, Waiting};
use super::tables::{NewTask, Tables};
use crate::embedded::database::Database;

/// Longest task name.
const MAX_NAME_LEN: usize = 500;

/// One queue. It does not hold the database: what the writer's thread keeps of it after a commit must
/// not be what keeps the database open.
pub(super) struct Lane {
    pub(super) name: QueueName,
    pub(super) tables: Tables,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) name_retention_ms: i64,
    pub(super) max_depth: usize,
    pub(super) pending: Mutex<Pending>,
    /// Something changed that the dispatcher should look at.
    pub(super) changed: Notify,
    /// A delivery has been settled.
    pub(super) settled: Notify,
}

/// A queue and the database that it is in.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) lane: Arc<Lane>,
    pub(super) database: Arc<Database>,
}

impl Lane {
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when the name of a task that ends now is taken.
    pub(super) fn name_until(&self) -> i64 {
        let now = self.clock.now();
        now.plus_millis(self.name_retention_ms).as_millis()
    }

    /// Creates tasks and has them delivered.
    pub(super) async fn create(
        self: &Arc<Self>,
        database: &Database,
        tasks: Vec<Task>,
    ) -> Vec<Result<(), PortError>> {
        let count = tasks.len();
        let room = self
            .max_depth
            .saturating_sub(self.pending().depth() as usize);
        let now = self.clock.now();
        let tasks: Vec<NewTask> = tasks
            .into_iter()
            .map(|task| NewTask {
                due_at: task.not_before.map_or(AT_ONCE, |at| at.as_millis()),
                content: Arc::new(Content {
                    name: task.name,
                    body: task.body,
                    traceparent: task.traceparent,
                }),
            })
            .collect();
        let (lane, after) = (Arc::clone(self), Arc::clone(self));
        let created = database
            .write_then(
                move |batch| {
                    let mut created = Vec::with_capacity(tasks.len());
                    for (n, task) in tasks.iter().enumerate() {
                        if n >= room {
                            created.push(None);
                            continue;
                        }
                        let seq = lane.pending().next_seq();
                        let new = lane.tables.create(batch.connection, seq, task, now)?;
                        created.push(Some(new.then(|| (seq, task.clone()))));
                    }
                    Ok(created)
                },
                move |created| {
                    let Ok(created) = created else { return };
                    let mut pending = after.pending();
                    for (seq, task) in created.iter().flatten().flatten() {
                        pending.created(*seq, Waiting::new(task.due_at, &task.content));
                    }
                    drop(pending);
                    after.changed.notify_one();
                },
            )
            .await;
        match created {
            Ok(created) => created.iter().map(|one| self.outcome(one)).collect(),
            Err(error) => vec![Err(error); count],
        }
    }

    fn outcome(&self, created: &Option<Option<(i64, NewTask)>>) -> Result<(), PortError> {
        match created {
            Some(Some(_)) => Ok(()),
            Some(None) => Err(PortError::AlreadyExists {
                detail: format!("a task of that name on queue {}", self.name),
            }),
            None => Err(PortError::Exhausted {
                detail: format!("queue {} holds {} tasks", self.name, self.max_depth),
            }),
        }
    }

    /// Stops or continues deliveries, also after a restart.
    pub(super) async fn set_paused(
        self: &Arc<Self>,
        database: &Database,
        paused: bool,
    ) -> Result<(), PortError> {
        let (tables, after) = (self.tables, Arc::clone(self));
        database
            .write_then(
                move |batch| Ok(tables.set_paused(batch.connection, paused)?),
                move |result| {
                    if result.is_ok() {
                        after.pending().set_paused(paused);
                        after.changed.notify_one();
                    }
                },
            )
            .await
    }
}

/// The port's rules for a task.
pub(super) fn check(task: &Task) -> Result<(), PortError> {
    let valid_name = (1..=MAX_NAME_LEN).contains(&task.name.len())
        && task
            .name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if !valid_name {
        let start: String = task.name.chars().take(40).collect();
        return Err(PortError::Refused {
            detail: format!("{start:?} is not a task name"),
        });
    }
    if task.body.len() > MAX_TASK_BYTES {
        return Err(PortError::Refused {
            detail: format!(
                "task {}: {} bytes are more than the {MAX_TASK_BYTES} of a task",
                task.name,
                task.body.len()
            ),
        });
    }
    Ok(())
}
