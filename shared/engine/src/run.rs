//! The engine's own loops: relay and sweeper, run beside the services until shutdown.

use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{Collection, Op, PortError, Query};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Engine;
use crate::error::EngineError;

/// How long the relay waits for news before it looks by itself: another process may have written
/// to the outbox.
const RELAY_POLL: Duration = Duration::from_millis(200);
/// Pause after a failed pass, so that a failing dependency is not hammered.
const RELAY_PAUSE: Duration = Duration::from_millis(500);
/// Jobs counted at the most; beyond that a backlog is "at least so many".
const BACKLOG_LIMIT: usize = 1_000_000;
/// Sweeps between two searches for orphaned blobs.
const SWEEPS_PER_ORPHAN_SEARCH: u32 = 300;
/// Pause between sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// The jobs of a queue that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub jobs: u64,
    /// When the oldest was accepted.
    pub oldest: Option<Timestamp>,
}

impl Engine {
    /// Relays intents until `shutdown` completes.
    pub async fn run_relay(&self, shutdown: impl Future<Output = ()>) {
        // Apart from each other: a slow bus must not hold up the jobs.
        tokio::select! {
            () = self.dispatch_relay() => {}
            () = self.event_relay() => {}
            () = shutdown => {}
        }
    }

    /// Publishes events until `shutdown` completes, and dispatches nothing: for a process that makes
    /// events but accepts no jobs.
    pub async fn run_event_relay(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.event_relay() => {}
            () = shutdown => {}
        }
    }

    async fn event_relay(&self) {
        loop {
            match self.relay_events().await {
                Ok(0) => {
                    let changed = self.inner.outbox_changed.events.notified();
                    // An elapsed wait is not an error: it is the poll.
                    let _ = timeout(RELAY_POLL, changed).await;
                }
                Ok(_) => {}
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Looks at the queues that something changed for, and now and then at all of them.
    async fn dispatch_relay(&self) {
        let changed = &self.inner.outbox_changed;
        let mut queues = Queues::ALL;
        loop {
            match self.relay_pass(queues).await {
                Ok(moved) if moved.is_empty() => {
                    let news = timeout(RELAY_POLL, changed.dispatches.notified()).await;
                    queues = news.map_or(Queues::ALL, |()| changed.take());
                }
                Ok(moved) => queues = moved.with(changed.take()),
                Err(error) => {
                    queues = Queues::ALL;
                    pause_after(&error).await;
                }
            }
        }
    }

    /// The queues of these that had something to dispatch.
    async fn relay_pass(&self, queues: Queues) -> Result<Queues, EngineError> {
        let mut moved = Queues::default();
        for queue in QueueName::ALL.iter().copied() {
            if queues.contains(queue) && self.relay_dispatches(queue).await? > 0 {
                moved = moved.with(Queues::one(queue));
            }
        }
        Ok(moved)
    }

    /// Sweeps until `shutdown` completes.
    pub async fn run_sweeper(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            let mut next = Instant::now();
            let mut sweeps: u32 = 0;
            loop {
                if sweeps.is_multiple_of(SWEEPS_PER_ORPHAN_SEARCH)
                    && let Err(error) = self.remove_orphans().await
                {
                    tracing::warn!(%error, "search for orphaned blobs failed; the next one goes on");
                }
                sweeps = sweeps.wrapping_add(1);
                match self.sweep().await {
                    Ok(report) if report != crate::SweepReport::default() => {
                        tracing::info!(?report, "sweep");
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "sweep failed; the next one goes on"),
                }
                next += SWEEP_EVERY;
                sleep_until(next).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown => {}
        }
    }

    /// How many jobs of `queue` have not ended, and since when the oldest waits.
    ///
    /// # Errors
    /// The store failed.
    pub async fn backlog(&self, queue: QueueName) -> Result<Backlog, PortError> {
        let live = Query::new(Collection::Jobs, "created_at", BACKLOG_LIMIT)
            .filter("queue", Op::Eq, queue.as_str())
            .filter("live", Op::Eq, true);
        let jobs = self.store().count(&live).await?;
        let first = self.store().query(&Query { limit: 1, ..live }).await?;
        let oldest = first
            .documents
            .first()
            .and_then(|(_, body)| body.get("created_at")?.as_i64());
        Ok(Backlog {
            jobs,
            oldest: oldest.map(Timestamp::from_millis),
        })
    }

    /// Wakes the relay: a place in the dispatch window may have come free.
    pub fn nudge_relay(&self) {
        self.inner.outbox_changed.notify();
    }
}

async fn pause_after(error: &EngineError) {
    tracing::warn!(%error, "relay pass failed; intents stay in the outbox");
    sleep(RELAY_PAUSE).await;
}

/// Something was written to the outbox, or a place in the dispatch window came free.
#[derive(Debug, Default)]
pub(crate) struct OutboxChanged {
    dispatches: Notify,
    /// The queues concerned, as [`Queues`].
    queues: AtomicU8,
    events: Notify,
}

impl OutboxChanged {
    /// Has both relays look at everything.
    pub(crate) fn notify(&self) {
        self.mark(Queues::ALL);
        self.notify_events();
    }

    /// Has the relay look at `queue`.
    pub(crate) fn notify_queue(&self, queue: QueueName) {
        self.mark(Queues::one(queue));
    }

    /// Has the relay of events look.
    pub(crate) fn notify_events(&self) {
        self.events.notify_one();
    }

    fn mark(&self, queues: Queues) {
        // Before the wake-up, which is what orders it.
        self.queues.fetch_or(queues.0, Ordering::Relaxed);
        self.dispatches.notify_one();
    }

    fn take(&self) -> Queues {
        Queues(self.queues.swap(0, Ordering::Relaxed))
    }
}

/// A set of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Queues(u8);

impl Queues {
    const ALL: Self = Self(u8::MAX);

    const fn one(queue: QueueName) -> Self {
        Self(1 << queue as u8)
    }

    const fn contains(self, queue: QueueName) -> bool {
        self.0 & Self::one(queue).0 != 0
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_is_apart_and_all_hold_each() {
        for &one in QueueName::ALL {
            assert!(Queues::ALL.contains(one));
            for &other in QueueName::ALL {
                assert_eq!(Queues::one(one).contains(other), one == other);
            }
        }
        let changed = OutboxChanged::default();
        changed.notify_queue(QueueName::Settle);
        changed.notify_queue(QueueName::Callback);
        let both = Queues::one(QueueName::Settle).with(Queues::one(QueueName::Callback));
        assert_eq!(changed.take(), both);
        assert!(changed.take().is_empty());
    }
}
