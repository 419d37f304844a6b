//! One delivery, from task to written outcome.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oscillink_domain::job::{Failure, FailureClass};
use oscillink_domain::tier::Overrides;
use oscillink_domain::{Job, Limits, QueueName};
use oscillink_engine::{Attempt, Claim, Engine, EngineError, TaskBody};
use oscillink_ports::{Delivery, Verdict};
use oscillink_telemetry::metrics::{KindStage, QueueLabel, StatusLabel};
use oscillink_telemetry::{Metrics, current_traceparent, span};
use oscillink_wire::{PayloadDecoder, RunContext};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use crate::admission::{Admission, NotAdmitted};
use crate::callback::Callbacks;
use crate::checkpoint;
use crate::compute::{ComputePool, Finished, Input, Outcome, failure};
use crate::config::WorkerConfig;
use crate::control::{Control, Stop};
use crate::lease;

/// Tries to write an outcome before it is left to the sweeper.
const WRITE_ATTEMPTS: u32 = 5;
/// Pause before the second try; doubles.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// The worker. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    config: WorkerConfig,
    metrics: Metrics,
    pool: ComputePool,
    admission: Admission,
    callbacks: Callbacks,
    draining: AtomicBool,
    next: AtomicU64,
    running: Mutex<HashMap<u64, Arc<Control>>>,
    one_ended: Notify,
}

/// Removes a job from the running ones when its delivery ends, however it ends. A delivery that is cut
/// off (the queue's deadline) leaves a computation that nobody waits for: it is stopped, and the job is
/// taken up again when its lease has ended.
struct Registered<'a> {
    inner: &'a Inner,
    id: u64,
    control: Arc<Control>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.control.stop(Stop::LeaseLost);
        self.inner.running().remove(&self.id);
        self.inner.metrics.worker_jobs.dec();
        self.inner.one_ended.notify_waiters();
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<u64, Arc<Control>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, control: &Arc<Control>) -> Registered<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running().insert(id, Arc::clone(control));
        self.metrics.worker_jobs.inc();
        Registered {
            inner: self,
            id,
            control: Arc::clone(control),
        }
    }
}

impl Worker {
    /// A worker with its own compute pool.
    ///
    /// # Errors
    /// The pool's threads cannot be started.
    pub fn new(
        engine: Engine,
        config: WorkerConfig,
        metrics: Metrics,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        metrics
            .worker_threads
            .set(i64::try_from(config.threads).unwrap_or(i64::MAX));
        let computing = metrics.worker_computing.clone();
        let inner = Inner {
            pool: ComputePool::new(config.threads, config.max_concurrent, computing)?,
            admission: Admission::new(
                config.memory_bytes,
                config.max_concurrent,
                config.max_held,
                config.admission_wait,
            ),
            callbacks: Callbacks::new(engine.clone(), config.callback.clone(), metrics.clone()),
            engine,
            config,
            metrics,
            draining: AtomicBool::new(false),
            next: AtomicU64::new(0),
            running: Mutex::default(),
            one_ended: Notify::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Handles one task. [`Verdict::Acknowledge`] once nothing is left to do for it: the outcome is
    /// written, or the job is someone else's.
    pub async fn handle(&self, delivery: &Delivery) -> Verdict {
        let span = span::task(
            delivery.queue.as_str(),
            &delivery.name,
            delivery.retry_count,
            delivery.traceparent.as_deref(),
        );
        let verdict = self.take(delivery).instrument(span.clone()).await;
        if verdict == Verdict::Retry {
            span.record("otel.status_code", "error");
        }
        verdict
    }

    async fn take(&self, delivery: &Delivery) -> Verdict {
        if delivery.queue == QueueName::Callback {
            return self.callback(delivery).await;
        }
        let task: TaskBody = match serde_json::from_slice(&delivery.body) {
            Ok(task) => task,
            Err(error) => {
                // It will not become readable by repeating it.
                tracing::error!(%error, "a task's body is not one of ours");
                return Verdict::Acknowledge;
            }
        };
        if self.inner.draining.load(Ordering::SeqCst) {
            return Verdict::Retry;
        }
        let place = self.inner.admission.admit(task.memory_bytes).await;
        if matches!(place, Err(NotAdmitted::Busy)) {
            return Verdict::Retry;
        }
        let mut attempt = match self
            .inner
            .engine
            .claim(&task.job_id, &self.inner.config.name)
            .await
        {
            Ok(Claim::Granted(attempt)) => attempt,
            Ok(Claim::Refused(refused)) => {
                tracing::debug!(job_id = %task.job_id, %refused, "nothing to do for this task");
                return Verdict::Acknowledge;
            }
            Ok(Claim::Unknown) => {
                tracing::warn!(job_id = %task.job_id, "a task names a job that does not exist");
                return Verdict::Acknowledge;
            }
            Err(error) => {
                tracing::warn!(job_id = %task.job_id, %error, "claim failed");
                return Verdict::Retry;
            }
        };
        attempt.traceparent = current_traceparent(delivery.traceparent.as_deref());
        self.begun(&attempt.job);
        if let Err(error @ NotAdmitted::TooLarge { .. }) = &place {
            let reason = failure("too_large", error.to_string());
            return self.fail(&attempt, FailureClass::Permanent, reason).await;
        }
        self.work(&attempt).await
    }

    /// Names the job in logs and traces, and measures how long it waited.
    fn begun(&self, job: &Job) {
        tracing::Span::current()
            .record("job_id", job.id.as_str())
            .record("request_id", &job.request_id)
            .record("key_hash", job.key_hash.prefix())
            .record("N", job.n)
            .record("D", job.d);
        if job.attempts == 1 {
            let waited = self.inner.engine.now().millis_since(job.created_at);
            let queue = job.queue.as_str();
            self.inner
                .metrics
                .job_wait
                .get_or_create(&QueueLabel { queue })
                .observe_ms(waited as f64);
        }
    }

    async fn callback(&self, delivery: &Delivery) -> Verdict {
        if self.inner.draining.load(Ordering::SeqCst) {
            return Verdict::Retry;
        }
        self.inner.callbacks.handle(delivery).await
    }

    async fn work(&self, attempt: &Attempt) -> Verdict {
        let job = &attempt.job;
        let control = Arc::new(Control::new(self.inner.config.checkpoint_every));
        let _registered = self.inner.register(&control);
        if self.inner.draining.load(Ordering::SeqCst) {
            control.stop(Stop::Drain);
        }
        let length = usize::try_from(job.payload.len).unwrap_or(usize::MAX);
        let mut payload = PayloadDecoder::new(length);
        let pieces = self
            .inner
            .engine
            .content_pieces(&job.payload, |piece| payload.push(piece));
        match pieces.await {
            Ok(()) => {}
            Err(error) if error.is_transient() => {
                return self
                    .fail(
                        attempt,
                        FailureClass::Transient,
                        failure("unavailable", error.to_string()),
                    )
                    .await;
            }
            Err(error) => {
                return self
                    .fail(
                        attempt,
                        FailureClass::Permanent,
                        failure("payload_missing", error.to_string()),
                    )
                    .await;
            }
        }
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
        let signs = Limits::of(job.tier, baseline, &Overrides::default()).signed_receipts;
        RunContext {
            receipt_secret: self.inner.config.receipt_secret.clone().filter(|_| signs),
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

    async fn fail(&self, attempt: &Attempt, class: FailureClass, reason: Failure) -> Verdict {
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

    /// Begins shutdown: takes nothing new, lets running jobs finish for `grace`, then has them
    /// stop and be handed back. Returns when none runs, or after twice `grace`.
    pub async fn drain(&self, grace: Duration) {
        self.inner.draining.store(true, Ordering::SeqCst);
        self.inner.admission.close();
        if timeout(grace, self.idle()).await.is_ok() {
            return;
        }
        for control in self.inner.running().values() {
            control.stop(Stop::Drain);
        }
        self.inner.callbacks.stop();
        if timeout(grace, self.idle()).await.is_err() {
            tracing::warn!(
                jobs = self.inner.running().len(),
                "left running; their leases will run out"
            );
        }
    }

    async fn idle(&self) {
        tokio::join!(self.jobs_idle(), self.inner.callbacks.idle());
    }

    async fn jobs_idle(&self) {
        loop {
            let ended = self.inner.one_ended.notified();
            if self.inner.running().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Whether this worker can work now: it is not draining, and its store and blobs answer.
    ///
    /// # Errors
    /// What is missing.
    pub async fn check(&self) -> Result<(), String> {
        if self.inner.draining.load(Ordering::SeqCst) {
            return Err("draining".to_owned());
        }
        let ports = self.inner.engine.ports();
        ports
            .store
            .check()
            .await
            .map_err(|error| format!("store: {error}"))?;
        ports
            .blobs
            .check()
            .await
            .map_err(|error| format!("blobs: {error}"))
    }

    /// The worker's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Jobs being computed.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.running().len()
    }

    /// The worker's settings.
    #[must_use]
    pub fn config(&self) -> &WorkerConfig {
        &self.inner.config
    }
}
