//! Delivers the tasks of one queue and writes down what came of it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use oscillink_ports::{Delivery, PortError, TaskTarget, Verdict};
use tokio::time::Instant;

use super::backoff;
use super::lane::{Access, Lane};
use super::pending::{Content, Next, Waiting};
use crate::embedded::database::Database;

/// Tasks read at a time at start.
const LOAD_PORTION: usize = 10_000;
/// Names freed in one step of the writer.
const SWEEP_PORTION: usize = 1_000;
/// Pause between looking for names to free.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Pause after the database failed, ms.
const TROUBLE_MS: i64 = 1_000;

/// Starts deliveries until the queue ends.
pub(super) async fn run(access: Access, target: Arc<dyn TaskTarget>) {
    let lane = Arc::clone(&access.lane);
    loop {
        let next = lane.pending().next(lane.clock.now(), Instant::now());
        match next {
            Next::Start(seq, task) => {
                tokio::spawn(deliver(access.clone(), Arc::clone(&target), seq, task));
            }
            Next::Sleep(time) => {
                // Either way it looks again.
                let _ = tokio::time::timeout(time, lane.changed.notified()).await;
            }
            Next::Wait => lane.changed.notified().await,
            Next::End => return,
        }
    }
}

/// Reads the tasks that an earlier process left.
pub(super) async fn load(Access { lane, database }: Access) {
    let last = lane.pending().newest_at_start();
    let mut after = 0;
    loop {
        let tables = lane.tables;
        let portion = database
            .read(move |connection| tables.portion(connection, after, last, LOAD_PORTION))
            .await;
        let tasks = match portion {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::error!(%error, queue = %lane.name, "could not read waiting tasks");
                tokio::time::sleep(Duration::from_millis(TROUBLE_MS.unsigned_abs())).await;
                continue;
            }
        };
        let Some(newest) = tasks.last() else { return };
        after = newest.seq;
        let mut pending = lane.pending();
        if pending.ended() {
            return;
        }
        for task in tasks {
            let waiting = Waiting {
                due_at: task.due_at,
                retry_count: task.retry_count,
                content: None,
            };
            pending.wait(task.seq, waiting);
        }
        drop(pending);
        lane.changed.notify_one();
    }
}

/// Frees names whose time is over, for as long as the queue is there.
pub(super) async fn sweep(database: Weak<Database>, lane: Arc<Lane>) {
    while let Some(database) = database.upgrade().filter(|_| !lane.pending().ended()) {
        let (tables, now) = (lane.tables, lane.clock.now());
        let freed = database
            .write(move |batch| Ok(tables.free_names(batch.connection, now, SWEEP_PORTION)?))
            .await;
        drop(database);
        if !freed.is_ok_and(|freed| freed >= SWEEP_PORTION) {
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }
}

/// Waits until no delivery is under way.
pub(super) async fn idle(lane: Arc<Lane>) {
    loop {
        let settled = lane.settled.notified();
        tokio::pin!(settled);
        settled.as_mut().enable();
        if lane.pending().idle() {
            return;
        }
        settled.await;
    }
}

async fn deliver(access: Access, target: Arc<dyn TaskTarget>, seq: i64, task: Waiting) {
    let lane = Arc::clone(&access.lane);
    let tables = lane.tables;
    let content = match &task.content {
        Some(content) => Ok(Some(Arc::clone(content))),
        None => {
            let reading = access
                .database
                .read(move |connection| tables.content(connection, seq));
            reading.await
        }
    };
    match content {
        Ok(Some(content)) => {
            let verdict = ask(&lane, target.as_ref(), &content, task.retry_count).await;
            settle(access, seq, task.retry_count, content, verdict).await;
        }
        // Deleted while it waited.
        Ok(None) => settled(&lane, None, true),
        Err(error) => {
            tracing::error!(%error, queue = %lane.name, "could not read a task");
            let due_at = lane.clock.now().plus_millis(TROUBLE_MS).as_millis();
            settled(&lane, Some((seq, Waiting { due_at, ..task })), true);
        }
    }
}

async fn ask(lane: &Lane, target: &dyn TaskTarget, content: &Content, retry_count: u32) -> Verdict {
    let deadline_ms = lane.pending().limits().dispatch_deadline_ms.max(0);
    let delivery = Delivery {
        queue: lane.name,
        name: content.name.clone(),
        body: content.body.clone(),
        retry_count,
        traceparent: content.traceparent.clone(),
    };
    let handling = AssertUnwindSafe(target.deliver(delivery)).catch_unwind();
    let deadline = Duration::from_millis(deadline_ms.unsigned_abs());
    match tokio::time::timeout(deadline, handling).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => {
            tracing::error!(queue = %lane.name, task = content.name, "a task's target panicked");
            Verdict::Retry
        }
        Err(_) => {
            tracing::warn!(queue = %lane.name, task = content.name, "a delivery took too long");
            Verdict::Retry
        }
    }
}

/// Writes what a delivery led to. The next delivery may start once the writer has accepted it.
async fn settle(
    Access { lane, database }: Access,
    seq: i64,
    retry_count: u32,
    content: Arc<Content>,
    verdict: Verdict,
) {
    let (tables, limits) = (lane.tables, lane.pending().limits());
    let failures = retry_count.saturating_add(1);
    let used_up = limits.max_attempts > 0 && failures >= limits.max_attempts;
    if verdict == Verdict::Retry && used_up {
        tracing::warn!(queue = %lane.name, task = content.name, failures, "task dropped");
    }
    let now = lane.clock.now();
    let after = Arc::clone(&lane);
    let submitted = if verdict == Verdict::Acknowledge || used_up {
        let (name, until) = (Arc::clone(&content), lane.name_until());
        database
            .submit(
                move |batch| Ok(tables.finish(batch.connection, seq, &name.name, until)?),
                move |removed| match removed {
                    Ok(removed) => {
                        if removed {
                            after.pending().removed(seq);
                        }
                        settled(&after, None, false);
                    }
                    Err(error) => {
                        let again = Waiting {
                            due_at: now.plus_millis(TROUBLE_MS).as_millis(),
                            retry_count,
                            content: Some(content),
                        };
                        tracing::error!(%error, queue = %after.name, "could not finish a task");
                        settled(&after, Some((seq, again)), false);
                    }
                },
            )
            .await
    } else {
        let due_at = now
            .plus_millis(backoff::pause_ms(&limits, failures))
            .as_millis();
        let again = Waiting {
            due_at,
            retry_count: failures,
            content: Some(content),
        };
        database
            .submit(
                move |batch| Ok(tables.postpone(batch.connection, seq, due_at, failures)?),
                move |kept: Result<bool, PortError>| {
                    // If it could not be written, it is still to be delivered again.
                    let again = kept.unwrap_or(true).then_some((seq, again));
                    settled(&after, again, false);
                },
            )
            .await
    };
    lane.pending().delivered();
    if submitted.is_err() {
        settled(&lane, None, false);
    }
    lane.changed.notify_one();
}

fn settled(lane: &Lane, again: Option<(i64, Waiting)>, delivered: bool) {
    let mut pending = lane.pending();
    if let Some((seq, task)) = again {
        pending.wait(seq, task);
    }
    if delivered {
        pending.delivered();
    }
    pending.settled();
    drop(pending);
    lane.changed.notify_one();
    lane.settled.notify_waiters();
}
