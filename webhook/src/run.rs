//! The loops beside the router: handling of stored events, reporting of usage.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::state::Billing;

/// How long to wait for news before looking anyway: events may be due again, or stored by another
/// instance that is gone.
const POLL: Duration = Duration::from_millis(500);
/// Pause after the store failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Events taken up at once.
const BATCH: usize = 256;
/// Pause between two reports of usage.
const REPORT_EVERY: Duration = Duration::from_secs(300);

impl Billing {
    /// Handles events until `shutdown` completes. One that is being handled then stays open.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.handle_events() => {}
            () = self.report_forever() => {}
            () = shutdown => {}
        }
    }

    async fn handle_events(&self) {
        loop {
            match self.handle_due().await {
                // An elapsed wait is not an error: it is the poll.
                Ok(0) => drop(timeout(POLL, self.arrived().notified()).await),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "open billing events could not be read");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Handles every event that is due now, several at once. Returns how many there were.
    ///
    /// # Errors
    /// The store failed.
    pub async fn handle_due(&self) -> Result<usize, oscillink_ports::PortError> {
        let due = self.engine().due_webhook_events(BATCH).await?;
        let places = Arc::new(Semaphore::new(self.config().concurrency.max(1)));
        let count = due.len();
        let mut running = JoinSet::new();
        for id in due {
            let (billing, places) = (self.clone(), Arc::clone(&places));
            running.spawn(async move {
                let _place = places.acquire().await;
                match billing.handle(&id).await {
                    Ok(outcome) => billing.count(outcome.as_str()),
                    Err(error) => {
                        billing.count("store_failed");
                        tracing::warn!(%error, event = id, "a billing event stays open");
                        sleep(PAUSE).await;
                    }
                }
            });
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "handling of a billing event broke; it stays open");
            }
        }
        Ok(count)
    }

    async fn report_forever(&self) {
        loop {
            if self.config().meter_event.is_some() {
                match self.report_usage().await {
                    Ok(report) if report.batches > 0 => tracing::info!(?report, "usage reported"),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "usage was not reported; the next report goes on");
                    }
                }
            }
            sleep(REPORT_EVERY).await;
        }
    }
}
