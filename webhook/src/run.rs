//! The loops beside the router: handling of stored events, reporting of usage, daily usage files.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use oscillink_engine::ExportError;
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
/// Pause between two looks whether a day is over.
const EXPORT_LOOK: Duration = Duration::from_secs(60);
/// How long after a day's end its files are written: rows of its last moments arrive first.
const EXPORT_AFTER_MS: i64 = 10 * 60_000;
/// Days looked at after a start, in case no process ran when they ended.
const EXPORT_CATCH_UP_DAYS: u32 = 7;
/// Days looked at each day: rows of the day before may have come late.
const EXPORT_DAYS: u32 = 2;
const DAY_MS: i64 = 24 * 3_600_000;

impl Billing {
    /// Handles events until `shutdown` completes. One that is being handled then stays open.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.handle_events() => {}
            () = self.report_forever() => {}
            () = self.export_forever() => {}
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

    /// Writes the usage files of every day once it is over. `done` is the day that was exported last.
    /// Returns the day that is exported now, when that was due and went well.
    ///
    /// Any number of processes may do so: a file is created once and never written again.
    ///
    /// # Errors
    /// An adapter failed; the next look goes on.
    pub async fn export_when_due(&self, done: Option<&str>) -> Result<Option<String>, ExportError> {
        let engine = self.engine();
        let settled = engine.now().plus_millis(-EXPORT_AFTER_MS - DAY_MS).day();
        if done == Some(settled.as_str()) {
            return Ok(None);
        }
        let days = if done.is_some() {
            EXPORT_DAYS
        } else {
            EXPORT_CATCH_UP_DAYS
        };
        let report = engine.export_days(&settled, days).await?;
        for (key_id, why) in &report.failed {
            tracing::error!(%key_id, why, "a usage file is not what it says; none was added");
        }
        if !report.files.is_empty() {
            let (files, rows) = (report.files.len(), report.rows);
            tracing::info!(day = settled, files, rows, "usage files written");
        }
        Ok(Some(settled))
    }

    async fn export_forever(&self) {
        if !self.config().usage_export {
            return std::future::pending().await;
        }
        if self.engine().config().ledger_secret.is_none() {
            tracing::warn!("RECEIPT_HMAC_SECRET is not set: no usage files are written");
            return std::future::pending().await;
        }
        let mut done = None;
        loop {
            match self.export_when_due(done.as_deref()).await {
                Ok(Some(day)) => done = Some(day),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "usage files were not written; the next look goes on");
                }
            }
            sleep(EXPORT_LOOK).await;
        }
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
