//! Task queues in the same SQLite file as the documents, delivering to targets in this process.

mod backoff;
mod bucket;
mod dispatch;
mod lane;
mod pending;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use oscillink_domain::QueueName;
use oscillink_ports::{Clock, PortError, QueueLimits, QueueStats, Task, TaskQueue, TaskTarget};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub(crate) use tables::create_tables;

use super::config::QueueConfig;
use super::database::Database;
use super::error::EmbeddedError;
use lane::{Access, Lane};
use pending::Pending;
use tables::Tables;

/// Tasks created in one step of the writer.
const CREATE_PORTION: usize = 500;

/// The task queues of a data folder.
///
/// Tasks are created at any time; deliveries begin with [`SqliteQueue::start`]. After a restart
/// every task that was not finished is delivered again.
pub struct SqliteQueue {
    database: Arc<Database>,
    lanes: BTreeMap<QueueName, Arc<Lane>>,
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
                clock: Arc::clone(&clock),
                name_retention_ms: config.name_retention_ms,
                max_depth: config.max_depth,
                pending: Mutex::new(pending),
                changed: Notify::new(),
                settled: Notify::new(),
            };
            Ok((name, Arc::new(lane)))
        });
        let lanes = lanes.collect::<Result<_, EmbeddedError>>()?;
        Ok(Self { database, lanes })
    }

    /// Begins deliveries on every queue for which `targets` names a target. A queue that was begun
    /// before keeps its target. To be called inside a tokio runtime.
    pub fn start(&self, targets: impl Fn(QueueName) -> Option<Arc<dyn TaskTarget>>) {
        for (name, lane) in &self.lanes {
            if let Some(target) = targets(*name)
                && lane.pending().begin()
            {
                let access = Access {
                    lane: Arc::clone(lane),
                    database: Arc::clone(&self.database),
                };
                tokio::spawn(dispatch::load(access.clone()));
                tokio::spawn(dispatch::run(access, target));
                let database = Arc::downgrade(&self.database);
                tokio::spawn(dispatch::sweep(database, Arc::clone(lane)));
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
        let mut results: Vec<Result<(), PortError>> = tasks.iter().map(lane::check).collect();
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
                for (place, result) in places
                    .into_iter()
                    .zip(lane.create(&self.database, portion).await)
                {
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
        self.database
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
        self.lane(queue).set_paused(&self.database, true).await
    }

    async fn resume(&self, queue: QueueName) -> Result<(), PortError> {
        self.lane(queue).set_paused(&self.database, false).await
    }

    async fn limits(&self, queue: QueueName) -> Result<QueueLimits, PortError> {
        Ok(Self::limits(self, queue))
    }

    async fn set_limits(&self, queue: QueueName, limits: QueueLimits) -> Result<(), PortError> {
        Self::set_limits(self, queue, limits);
        Ok(())
    }

    async fn stats(&self, queue: QueueName) -> Result<QueueStats, PortError> {
        let lane = self.lane(queue);
        let tables = lane.tables;
        let oldest = self
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
