//! The compute pool, and one job's computation on it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::Job;
use oscillink_domain::job::{Failure, Progress, Stage};
use oscillink_engine::Computed;
use oscillink_lattice::Checkpoint;
use oscillink_telemetry::TRACE;
use oscillink_telemetry::metrics::Gauge;
use oscillink_wire::{Operation, PayloadDecoder, RunContext, RunError, WireError, npy, run_from};
use rayon::ThreadPool;
use tokio::sync::{Semaphore, oneshot};

use crate::admission::SMALL_BYTES;
use crate::control::Control;

/// What a computation came to.
#[derive(Debug)]
pub enum Outcome {
    /// It has a result.
    Computed(Box<Finished>),
    /// The input has none; trying again cannot help.
    Invalid(Failure),
    /// It stopped because its control said so.
    Stopped,
    /// It failed by a defect or for want of resources.
    Failed(Failure),
}

/// What a job is computed from.
#[derive(Debug)]
pub struct Input {
    /// The request, read to its end.
    pub payload: PayloadDecoder,
    /// What an earlier attempt has left.
    pub checkpoint: Option<Bytes>,
}

/// A finished computation.
#[derive(Debug)]
pub struct Finished {
    /// What goes to the engine.
    pub computed: Computed,
    /// Milliseconds by stage.
    pub timings_ms: BTreeMap<&'static str, f64>,
}

/// The threads that compute, shared by all jobs of the worker.
#[derive(Clone, Debug)]
pub struct ComputePool {
    threads: Arc<ThreadPool>,
    /// Small jobs computed at once: more would only take turns on the same threads. Large ones have
    /// been counted when they were admitted.
    places: Arc<Semaphore>,
    /// Jobs computed now.
    computing: Gauge,
}

impl ComputePool {
    /// A pool of `threads` threads that computes `max_concurrent` jobs at once.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(
        threads: usize,
        max_concurrent: usize,
        computing: Gauge,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .build()?;
        Ok(Self {
            threads: Arc::new(pool),
            places: Arc::new(Semaphore::new(max_concurrent.max(1))),
            computing,
        })
    }

    /// Computes `job`.
    pub async fn compute(
        &self,
        job: &Job,
        input: Input,
        context: RunContext,
        control: Arc<Control>,
    ) -> Outcome {
        let _place = if job.memory_bytes <= SMALL_BYTES {
            // Never closed; without a place the job would just not be counted.
            self.places.acquire().await.ok()
        } else {
            None
        };
        let (sender, receiver) = oneshot::channel();
        let operation = Operation::from(job.kind);
        let request_id = job.request_id.clone();
        let span = tracing::info_span!(target: TRACE, "compute", N = job.n, D = job.d);
        let computing = self.computing.clone();
        self.threads.spawn(move || {
            let _inside = span.entered();
            computing.inc();
            // A panic is a defect of ours: the job fails, the worker lives.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                solve(input, operation, &context, request_id, &control)
            }));
            let outcome = outcome.unwrap_or_else(|_| {
                Outcome::Failed(failure("internal", "the computation panicked".into()))
            });
            computing.dec();
            // The receiver is gone only when the delivery itself was dropped.
            let _ = sender.send(outcome);
        });
        receiver.await.unwrap_or_else(|_| {
            Outcome::Failed(failure("internal", "the compute pool is gone".into()))
        })
    }
}

fn solve(
    input: Input,
    operation: Operation,
    context: &RunContext,
    request_id: String,
    control: &Control,
) -> Outcome {
    control.set_progress(Progress {
        stage: Stage::Load,
        fraction: 0.0,
    });
    let request = match input.payload.finish() {
        Ok(request) => request,
        Err(error) => return Outcome::Invalid(wire_failure(&error)),
    };
    let checkpoint = input.checkpoint.as_deref().and_then(|bytes| {
        let checkpoint = Checkpoint::from_bytes(bytes);
        if checkpoint.is_none() {
            tracing::warn!(request_id, "a checkpoint cannot be read and is ignored");
        }
        checkpoint
    });
    let output = match run_from(checkpoint.as_ref(), &request, operation, context, control) {
        Ok(output) => output,
        Err(RunError::Cancelled) => return Outcome::Stopped,
        Err(RunError::Invalid(field)) => {
            return Outcome::Invalid(Failure {
                code: "invalid_input".into(),
                detail: field.detail,
                field: Some(field.field),
            });
        }
    };
    let small = request.is_quickly_repeated();
    drop(request);
    control.set_progress(Progress {
        stage: Stage::Store,
        fraction: 0.0,
    });
    let mut answer = output.answer;
    answer.meta.request_id = Some(request_id);
    let timings_ms = answer.timings_ms.clone();
    let answer = match answer.to_json() {
        Ok(json) => Bytes::from(json),
        Err(error) => return Outcome::Failed(failure("internal", error.to_string())),
    };
    let mut arrays = BTreeMap::new();
    let mut derived = BTreeSet::new();
    for (name, array) in output.arrays {
        let name = name.as_str().to_owned();
        if small {
            derived.insert(name);
        } else {
            arrays.insert(name, Bytes::from(npy::write(&array)));
        }
    }
    let computed = Computed {
        answer,
        arrays,
        derived,
        duration_ms: output.duration_ms,
    };
    Outcome::Computed(Box::new(Finished {
        computed,
        timings_ms,
    }))
}

/// A failure without a field.
pub fn failure(code: &str, detail: String) -> Failure {
    Failure {
        code: code.to_owned(),
        detail,
        field: None,
    }
}

fn wire_failure(error: &WireError) -> Failure {
    let field = match error {
        WireError::BadRequest { errors } => errors.first().map(|e| e.field.clone()),
        _ => None,
    };
    Failure {
        code: "invalid_input".into(),
        detail: error.to_string(),
        field,
    }
}
