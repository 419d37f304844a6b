//! The engine's own loops: relay and sweeper, run beside the services until shutdown.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::Engine;
use crate::relay::JOB_QUEUES;

/// How long the relay waits for news before it looks by itself: another process may have written
/// to the outbox.
const RELAY_POLL: Duration = Duration::from_millis(200);
/// Pause after a failed pass, so that a failing dependency is not hammered.
const RELAY_PAUSE: Duration = Duration::from_millis(500);
/// Pause between sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

impl Engine {
    /// Relays intents until `shutdown` completes.
    pub async fn run_relay(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            loop {
                match self.relay_pass().await {
                    Ok(0) => {
                        // An elapsed wait is not an error: it is the poll.
                        let _ = timeout(RELAY_POLL, self.inner.outbox_changed.notified()).await;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "relay pass failed; intents stay in the outbox");
                        tokio::time::sleep(RELAY_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown => {}
        }
    }

    async fn relay_pass(&self) -> Result<usize, crate::EngineError> {
        let mut moved = 0;
        for queue in JOB_QUEUES {
            moved += self.relay_dispatches(queue).await?;
        }
        Ok(moved + self.relay_events().await?)
    }

    /// Sweeps until `shutdown` completes.
    pub async fn run_sweeper(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            let mut next = Instant::now();
            loop {
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

    /// Wakes the relay: a place in the dispatch window may have come free.
    pub fn nudge_relay(&self) {
        self.inner.outbox_changed.notify_one();
    }
}
