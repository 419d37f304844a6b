//! The callback pool: delivers completion callbacks to their receivers, each a bounded number at a time.
//!
//! The queue paces the attempts, the engine counts them and decides when they end. A crash between a
//! delivery and its record repeats the delivery under the same id.

mod config;
mod hosts;
mod resolve;
mod send;

use std::sync::Arc;

use oscillink_domain::callback::{Attempted, CallbackStatus, check_url};
use oscillink_engine::{CallbackTask, Engine, PendingCallback, RecordedCallback};
use oscillink_ports::{Delivery, Verdict};
use oscillink_telemetry::Metrics;
use oscillink_telemetry::metrics::ResultLabel;
use tokio::sync::{Semaphore, watch};

pub use config::CallbackConfig;

use hosts::Hosts;
use send::Sender;

/// Delivers callbacks.
pub(crate) struct Callbacks {
    engine: Engine,
    config: CallbackConfig,
    metrics: Metrics,
    sender: Sender,
    hosts: Hosts,
    places: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Callbacks {
    pub(crate) fn new(engine: Engine, config: CallbackConfig, metrics: Metrics) -> Self {
        Self {
            sender: Sender::new(&config),
            hosts: Hosts::new(config.max_per_host),
            places: Arc::new(Semaphore::new(config.places())),
            stopping: watch::Sender::new(false),
            engine,
            config,
            metrics,
        }
    }

    /// Handles one task.
    pub(crate) async fn handle(&self, delivery: &Delivery) -> Verdict {
        let task: CallbackTask = match serde_json::from_slice(&delivery.body) {
            Ok(task) => task,
            Err(error) => {
                // It will not become readable by repeating it.
                tracing::error!(%error, "a callback task's body is not one of ours");
                return Verdict::Acknowledge;
            }
        };
        let Ok(_place) = self.places.try_acquire() else {
            return Verdict::Retry;
        };
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            verdict = self.deliver(&task) => verdict,
            // What was under way is repeated, under the same id.
            _ = stopping.wait_for(|stop| *stop) => Verdict::Retry,
        }
    }

    async fn deliver(&self, task: &CallbackTask) -> Verdict {
        tracing::Span::current().record("job_id", task.job_id.as_str());
        let callback = match self.engine.callback(task).await {
            Ok(Some(callback)) => callback,
            Ok(None) => return Verdict::Acknowledge,
            Err(error) => {
                tracing::warn!(job_id = %task.job_id, %error, "a callback could not be read");
                return Verdict::Retry;
            }
        };
        let attempted = match self.attempt(&callback).await {
            Some(attempted) => attempted,
            // The receiver has as many as it may have; this was no attempt.
            None => return Verdict::Retry,
        };
        self.record(task, attempted).await
    }

    /// `None`: there was no room.
    async fn attempt(&self, callback: &PendingCallback) -> Option<Attempted> {
        let refused = |detail: &str| Attempted {
            status: None,
            error: Some(detail.to_owned()),
            is_final: true,
        };
        if !callback.can_be_signed() {
            return Some(refused(
                "there is no secret to sign it with: the key is revoked",
            ));
        }
        let url = match check_url(&callback.url, self.config.allow_private) {
            Ok(url) => url,
            Err(detail) => return Some(refused(&format!("callback_url {detail}"))),
        };
        let wait = self.config.timeout / 2;
        let _turn = self.hosts.turn(url.host_str()?, wait).await?;
        Some(self.sender.send(url, callback, self.engine.now()).await)
    }

    async fn record(&self, task: &CallbackTask, attempted: Attempted) -> Verdict {
        let (status, error) = (attempted.status, attempted.error.clone());
        let recorded = match self.engine.record_callback(task, attempted).await {
            Ok(recorded) => recorded,
            Err(failure) => {
                tracing::warn!(job_id = %task.job_id, error = %failure, "a callback's attempt was not recorded");
                return Verdict::Retry;
            }
        };
        let (result, verdict) = match recorded {
            RecordedCallback::Again => ("failed", Verdict::Retry),
            RecordedCallback::Ended(CallbackStatus::Delivered) => {
                ("delivered", Verdict::Acknowledge)
            }
            RecordedCallback::Ended(_) => ("undelivered", Verdict::Acknowledge),
            RecordedCallback::Stale => ("stale", Verdict::Acknowledge),
        };
        self.metrics
            .callbacks
            .get_or_create(&ResultLabel { result })
            .inc();
        match error {
            Some(error) => {
                tracing::warn!(job_id = %task.job_id, result, status, error, "callback attempt");
            }
            None => tracing::debug!(job_id = %task.job_id, result, status, "callback attempt"),
        }
        verdict
    }

    /// Ends what is under way; it is repeated later.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Completes when none is under way.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(self.config.places()).unwrap_or(u32::MAX);
        // Never closed.
        let _ = self.places.acquire_many(all).await;
    }
}
