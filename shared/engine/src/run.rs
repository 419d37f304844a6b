//! The engine's own loops: relay and sweeper, run beside the services until shutdown.

use std::future::Future;
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
        let changed = &self.inner.outbox_changed;
        // Apart from each other: a slow bus must not hold up the jobs.
        tokio::select! {
            () = self.relay(&changed.dispatches, Intents::Dispatches) => {}
            () = self.relay(&changed.events, Intents::Events) => {}
            () = shutdown => {}
        }
    }

    /// Publishes events until `shutdown` completes, and dispatches nothing: for a process that makes
    /// events but accepts no jobs.
    pub async fn run_event_relay(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.relay(&self.inner.outbox_changed.events, Intents::Events) => {}
            () = shutdown => {}
        }
    }

    /// Relays intents of one sort, for ever.
    async fn relay(&self, changed: &Notify, sort: Intents) {
        loop {
            match self.relay_pass(sort).await {
                Ok(0) => {
                    // An elapsed wait is not an error: it is the poll.
                    let _ = timeout(RELAY_POLL, changed.notified()).await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "relay pass failed; intents stay in the outbox");
                    sleep(RELAY_PAUSE).await;
                }
            }
        }
    }

    async fn relay_pass(&self, sort: Intents) -> Result<usize, EngineError> {
        match sort {
            Intents::Events => self.relay_events().await,
            Intents::Dispatches => {
                let mut moved = 0;
                for queue in QueueName::ALL.iter().copied() {
                    moved += self.relay_dispatches(queue).await?;
                }
                Ok(moved)
            }
        }
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

/// Something was written to the outbox, or a place in the dispatch window came free.
#[derive(Debug, Default)]
pub(crate) struct OutboxChanged {
    dispatches: Notify,
    events: Notify,
}

impl OutboxChanged {
    /// Has both relays look.
    pub(crate) fn notify(&self) {
        self.dispatches.notify_one();
        self.events.notify_one();
    }
}

/// The sorts of intents, each with a relay of its own.
#[derive(Clone, Copy, Debug)]
enum Intents {
    Dispatches,
    Events,
}
