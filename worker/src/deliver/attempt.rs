//! One attempt at a job: its payload read, its result computed under a lease, its outcome written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oscillink_domain::Job;
use oscillink_domain::job::{Failure, FailureClass};
use oscillink_engine::{Attempt, EngineError};
use oscillink_ports::{PortError, Verdict};
use oscillink_telemetry::metrics::{KindStage, StatusLabel};
use oscillink_wire::{PayloadDecoder, RunContext};
use tokio::time::sleep;

use super::Worker;
use crate::checkpoint;
use crate::compute::{Finished, Input, Outcome, failure};
use crate::control::{Control, Stop};
use crate::lease;

/// Tries to write an outcome before it is left to the sweeper.
const WRITE_ATTEMPTS: u32 = 5;
/// Pause before the second try; doubles.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

impl Worker {
    /// Computes the job and writes what comes of it.
    pub(super) async fn work(&self, attempt: &Attempt) -> Verdict {
        let job = &attempt.job;
        let control = Arc::new(Control::new(self.inner.config.checkpoint_every));
        let _registered = self.inner.register(&control);
        if self.inner.draining.load(Ordering::SeqCst) {
            control.stop(Stop::Drain);
        }
        let payload = match self.payload(job).await {
            Ok(payload) => payload,
            Err(error) => {
                let (class, code) = if error.is_transient() {
                    (FailureClass::Transient, "unavailable")
                } else {
                    (FailureClass::Permanent, "payload_missing")
                };
                return self
                    .fail(attempt, class, failure(code, error.to_string()))
                    .await;
            }
        };
        let input = Input {
            payload,
            checkpoint: checkpoint::left_before(&self.inner.engine, attempt).await,
        };
        let kept = checkpoint::Keeper::new(&self.inner.engine, attempt);
        let outcome = {
            let heartbeats = lease::keep(
                self.inner.engine.clone(),
                attempt.clone(),
                Arc::clone(&control),
                self.inner.config.heartbeat_every,
            );
            let computation =
                self.inner
                    .pool
                    .compute(job, input, self.context(job), Arc::clone(&control));
            tokio::pin!(computation);
            tokio::select! {
                outcome = &mut computation => outcome,
                // Until the lease is lost; then the computation is about to stop.
                () = kept.all_of(&control, heartbeats) => computation.await,
            }
        };
        let leaves_checkpoint = matches!(outcome, Outcome::Stopped)
            && matches!(control.stopped(), Some(Stop::Drain | Stop::LeaseLost));
        if control.stopped() == Some(Stop::Drain) {
            kept.last_of(&control).await;
        }
        let verdict = self.end(attempt, outcome, &control).await;
        // After a defect too: the checkpoint may be what led to it.
        if verdict == Verdict::Acknowledge && !leaves_checkpoint {
            kept.remove().await;
        }
        verdict
    }

    /// The job's request, read to its end and not yet checked.
    async fn payload(&self, job: &Job) -> Result<PayloadDecoder, PortError> {
        let length = usize::try_from(job.payload.len).unwrap_or(usize::MAX);
        let mut payload = PayloadDecoder::new(length);
        let engine = &self.inner.engine;
        engine
            .content_pieces(&job.payload, |piece| payload.push(piece))
            .await?;
        Ok(payload)
    }

    /// Writes what a computation came to.
    async fn end(&self, attempt: &Attempt, outcome: Outcome, control: &Control) -> Verdict {
        let job = &attempt.job;
        match outcome {
            Outcome::Computed(finished) => self.complete(attempt, *finished).await,
            Outcome::Invalid(reason) => self.fail(attempt, FailureClass::Permanent, reason).await,
            Outcome::Failed(reason) => self.fail(attempt, FailureClass::Transient, reason).await,
            Outcome::Stopped => match control.stopped() {
                Some(Stop::LeaseLost) => Verdict::Acknowledge,
                Some(Stop::Drain) => {
                    self.written(job, || self.inner.engine.hand_back(attempt))
                        .await
                }
                Some(Stop::Cancelled) | None => {
                    self.written(job, || self.inner.engine.stop(attempt)).await
                }
            },
        }
    }

    fn context(&self, job: &Job) -> RunContext {
        let baseline = &self.inner.engine.config().baseline;
        let signs = job.signs(baseline);
        let secret = self.inner.config.receipt_secret.clone();
        RunContext {
            receipt_secret: secret.filter(|_| signs.receipts),
            null_cap: self.inner.config.null_cap,
        }
    }

    async fn complete(&self, attempt: &Attempt, finished: Finished) -> Verdict {
        let job = &attempt.job;
        let verdict = self
            .written(job, || {
                self.inner
                    .engine
                    .complete(attempt, finished.computed.clone())
            })
            .await;
        if verdict == Verdict::Acknowledge {
            let duration_ms = finished.computed.duration_ms;
            tracing::info!(kind = job.kind.as_str(), duration_ms, "job done");
            self.count_work(job, &finished);
        }
        verdict
    }

    /// Writes that the attempt failed.
    pub(super) async fn fail(
        &self,
        attempt: &Attempt,
        class: FailureClass,
        reason: Failure,
    ) -> Verdict {
        let job = &attempt.job;
        tracing::warn!(job_id = %job.id, ?class, code = reason.code, detail = reason.detail, "attempt failed");
        self.written(job, || async {
            let engine = &self.inner.engine;
            engine.fail(attempt, class, reason.clone()).await?;
            Ok(true)
        })
        .await
    }

    /// Writes an outcome, trying again while the store is away. What cannot be written is left to
    /// the sweeper: the lease runs out.
    async fn written<F>(&self, job: &Job, write: impl Fn() -> F) -> Verdict
    where
        F: Future<Output = Result<bool, EngineError>>,
    {
        let mut pause = WRITE_PAUSE;
        for attempt in 1..=WRITE_ATTEMPTS {
            match write().await {
                Ok(_) => return Verdict::Acknowledge,
                Err(error) => {
                    tracing::warn!(job_id = %job.id, attempt, %error, "outcome not written")
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
        Verdict::Retry
    }

    fn count_work(&self, job: &Job, finished: &Finished) {
        let metrics = &self.inner.metrics;
        metrics.usage_nodes.inc_by(job.n as u64);
        metrics.usage_units.inc_by(job.units.get());
        let observe = |stage: &'static str, ms: f64| {
            let labels = KindStage {
                kind: job.kind.as_str(),
                stage,
            };
            metrics.job_duration.get_or_create(&labels).observe_ms(ms);
        };
        observe("total", finished.computed.duration_ms);
        for (name, ms) in &finished.timings_ms {
            observe(name.trim_end_matches("_ms"), *ms);
        }
        if let Some(ms) = finished.timings_ms.get("diffusion_gate_ms") {
            metrics.diffusion_gate_ms.observe(*ms);
            metrics.diffusion_gate.observe_ms(*ms);
            metrics
                .diffusion_requests
                .get_or_create(&StatusLabel { status: "ok" })
                .inc();
        }
    }
}
