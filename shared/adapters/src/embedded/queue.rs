//! Task queues in the same SQLite file as the documents, delivering to targets in this process.

mod backoff;
mod bucket;
mod dispatch;
mod pending;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use oscillink_domain::QueueName;
use oscillink_ports::{
    Clock, MAX_TASK_BYTES, PortError, QueueLimits, QueueStats, Task, TaskQueue, TaskTarget,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub(crate) use tables::create_tables;

use super::config::QueueConfig;
use super::database::Database;
use super::error::EmbeddedError;
use pending::{AT_ONCE, Content, Pending, Waiting};
use tables::{NewTask, Tables};

/// Longest task name.
const MAX_NAME_LEN: usize = 500;
/// Tasks created in one step of the writer.
const CREATE_PORTION: usize = 500;

/// The task queues of a data folder.
///
/// Tasks are created at any time; deliveries begin with [`SqliteQueue::start`]. After a restart
/// every task that was not finished is delivered again.
pub struct SqliteQueue {
    lanes: BTreeMap<QueueName, Arc<Lane>>,
}

/// One queue.
struct Lane {
    name: QueueName,
    tables: Tables,
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    name_retention_ms: i64,
    max_depth: usize,
    pending: Mutex<Pending>,
    /// Something changed that the dispatcher should look at.
    changed: Notify,
    /// A delivery has been settled.
    settled: Notify,
}

impl Lane {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteQueue {
    pub(crate) fn open(
        database: Arc<Database>,
        config: &QueueConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EmbeddedError> {
        let lanes = QueueName::ALL.iter().map(|&name| {
            let tables = Tables::of(name);
            let found = database.read_now(move |connection| tables.summary(connection))?;
            let pending = Pending::new(config.limits_of(name), config.body_cache_bytes, found);
            let lane = Lane {
                name,
                tables,
                database: Arc::clone(&database),
                clock: Arc::clone(&clock),
                name_retention_ms: config.name_retention_ms,
                max_depth: config.max_depth,
                pending: Mutex::new(pending),
                changed: Notify::new(),
                settled: Notify::new(),
            };
            Ok((name, Arc::new(lane)))
        });
        Ok(Self {
            lanes: lanes.collect::<Result<_, EmbeddedError>>()?,
        })
    }

    /// Begins deliveries on every queue for which `targets` names a target. A queue that was begun
    /// before keeps its target. To be called inside a tokio runtime.
    pub fn start(&self, targets: impl Fn(QueueName) -> Option<Arc<dyn TaskTarget>>) {
        for (name, lane) in &self.lanes {
            if let Some(target) = targets(*name)
                && lane.pending().begin()
            {
                tokio::spawn(dispatch::load(Arc::clone(lane)));
                tokio::spawn(dispatch::run(Arc::clone(lane), target));
                tokio::spawn(dispatch::sweep(Arc::downgrade(lane)));
            }
        }
    }

    /// The limits in force on `queue`.
    #[must_use]
    pub fn limits(&self, queue: QueueName) -> QueueLimits {
        self.lane(queue).pending().limits()
    }

    /// Changes the limits of `queue` until the process ends.
    pub fn set_limits(&self, queue: QueueName, limits: QueueLimits) {
        let lane = self.lane(queue);
        lane.pending().set_limits(limits);
        lane.changed.notify_one();
    }

    /// Starts no further deliveries on any queue and waits for those under way, up to `limit`;
    /// `false` when some were still running then.
    pub async fn drain(&self, limit: Duration) -> bool {
        let mut waits = JoinSet::new();
        for lane in self.lanes.values() {
            lane.pending().end();
            lane.changed.notify_one();
            waits.spawn(dispatch::idle(Arc::clone(lane)));
        }
        tokio::time::timeout(limit, waits.join_all()).await.is_ok()
    }

    fn lane(&self, queue: QueueName) -> &Arc<Lane> {
        // Invariant: there is a lane for every name in `QueueName::ALL`.
        &self.lanes[&queue]
    }
}

impl Drop for SqliteQueue {
    fn drop(&mut self) {
        for lane in self.lanes.values() {
            lane.pending().end();
            lane.changed.notify_one();
        }
    }
}

#[async_trait]
impl TaskQueue for SqliteQueue {
    async fn create(&self, tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
        let mut results: Vec<Result<(), PortError>> = tasks.iter().map(check).collect();
        let mut by_lane: BTreeMap<QueueName, Vec<(usize, Task)>> = BTreeMap::new();
        for (place, task) in tasks.into_iter().enumerate() {
            if results[place].is_ok() {
                by_lane.entry(task.queue).or_default().push((place, task));
            }
        }
        for (queue, mut tasks) in by_lane {
            let lane = self.lane(queue);
            while !tasks.is_empty() {
                let rest = tasks.split_off(tasks.len().min(CREATE_PORTION));
                let (places, portion): (Vec<usize>, Vec<Task>) =
                    std::mem::replace(&mut tasks, rest).into_iter().unzip();
                for (place, result) in places.into_iter().zip(lane.create(portion).await) {
                    results[place] = result;
                }
            }
        }
        results
    }

    async fn delete(&self, queue: QueueName, name: &str) -> Result<(), PortError> {
        let lane = Arc::clone(self.lane(queue));
        let (name, until) = (name.to_owned(), lane.name_until());
        let (tables, after) = (lane.tables, Arc::clone(&lane));
        lane.database
            .write_then(
                move |batch| Ok(tables.delete_by_name(batch.connection, &name, until)?),
                move |removed| {
                    if let Ok(Some(seq)) = removed {
                        after.pending().removed(*seq);
                    }
                },
            )
            .await
            .map(|_| ())
    }

    async fn pause(&self, queue: QueueName) -> Result<(), PortError> {
        self.lane(queue).set_paused(true).await
    }

    async fn resume(&self, queue: QueueName) -> Result<(), PortError> {
        self.lane(queue).set_paused(false).await
    }

    async fn stats(&self, queue: QueueName) -> Result<QueueStats, PortError> {
        let lane = self.lane(queue);
        let tables = lane.tables;
        let oldest = lane
            .database
            .read(move |connection| tables.oldest(connection))
            .await?;
        let pending = lane.pending();
        Ok(QueueStats {
            depth: pending.depth(),
            running: pending.running() as u64,
            oldest,
            paused: pending.paused(),
        })
    }
}

impl Lane {
    /// Until when the name of a task that ends now is taken.
    fn name_until(&self) -> i64 {
        let now = self.clock.now();
        now.plus_millis(self.name_retention_ms).as_millis()
    }

    async fn create(self: &Arc<Self>, tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
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
        let created = self
            .database
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

    async fn set_paused(self: &Arc<Self>, paused: bool) -> Result<(), PortError> {
        let (tables, after) = (self.tables, Arc::clone(self));
        self.database
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

fn check(task: &Task) -> Result<(), PortError> {
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
