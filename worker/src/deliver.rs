//! One delivery, from task to written outcome.

mod attempt;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oscillink_domain::job::FailureClass;
use oscillink_domain::{Job, QueueName};
use oscillink_engine::{Claim, Engine, TaskBody};
use oscillink_ports::{Delivery, Verdict};
use oscillink_telemetry::metrics::QueueLabel;
use oscillink_telemetry::{Metrics, current_traceparent, span};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::admission::{Admission, NotAdmitted};
use crate::callback::Callbacks;
use crate::compute::{ComputePool, failure};
use crate::config::WorkerConfig;
use crate::control::{Control, Stop};

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
