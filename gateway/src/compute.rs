//! Synchronous computing: a bounded pool, a bounded wait, a bounded time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oscillink_lattice::Observer;
use oscillink_telemetry::TRACE;
use oscillink_wire::{Operation, RunContext, RunError, RunOutput, SolveRequest, run};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::config::Config;
use crate::error::{Kind, Problem};

const MIB: u64 = 1 << 20;

/// Multiply-adds below which a request is computed where it stands: a millisecond or so, less than
/// what handing it over can cost under load.
const DIRECT_WORK: usize = 2_000_000;

/// The pool for synchronous requests.
#[derive(Clone, Debug)]
pub struct Inline {
    pool: Arc<rayon::ThreadPool>,
    slots: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    memory_mib: u32,
    wait: Duration,
    time_limit: Duration,
}

impl Inline {
    /// A pool as configured.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(config: &Config) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.inline_threads)
            .thread_name(|index| format!("inline-{index}"))
            .build()?;
        let memory_mib = mib(config.inline_memory_bytes as u64);
        Ok(Self {
            pool: Arc::new(pool),
            slots: Arc::new(Semaphore::new(config.inline_concurrency)),
            memory: Arc::new(Semaphore::new(memory_mib as usize)),
            memory_mib,
            wait: config.inline_wait,
            time_limit: config.sync_timeout,
        })
    }

    /// Threads of the pool.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Whether the request fits into the memory for synchronous work at all.
    #[must_use]
    pub fn fits(&self, request: &SolveRequest) -> bool {
        mib(request.estimated_memory_bytes(self.threads())) <= self.memory_mib
    }

    /// Computes `request`. Dropping the future stops the computation.
    ///
    /// # Errors
    /// No room in time, too slow, or an input without an answer.
    pub async fn run(
        &self,
        request: SolveRequest,
        operation: Operation,
        context: RunContext,
    ) -> Result<RunOutput, Problem> {
        let permits = self.admit(&request).await?;
        let (n, d) = (request.n(), request.d());
        let direct = n.saturating_mul(n / 2 + 200).saturating_mul(d) <= DIRECT_WORK;
        let stop = Arc::new(Stop::after(self.time_limit));
        let span = tracing::info_span!(target: TRACE, "compute", N = n, D = d);
        let work = move |stop: &Stop| {
            let _inside = span.entered();
            // A panic is a defect of ours; it costs this request only.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                run(&request, operation, &context, stop)
            }));
            drop(permits);
            outcome
        };
        let outcome = if direct {
            work(&stop)
        } else {
            let _stop_when_dropped = StopOnDrop(Arc::clone(&stop));
            let (sender, receiver) = oneshot::channel();
            let observer = Arc::clone(&stop);
            self.pool.spawn(move || {
                // Nobody waits when the client has gone.
                let _ = sender.send(work(&observer));
            });
            receiver.await.map_err(|_| internal())?
        };
        match outcome {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(RunError::Invalid(field))) => Err(Problem::fields(vec![field])),
            Ok(Err(RunError::Cancelled)) => Err(too_slow(self.time_limit)),
            Err(_) => Err(internal()),
        }
    }

    /// Waits for a turn.
    async fn admit(&self, request: &SolveRequest) -> Result<Permits, Problem> {
        let needed = mib(request.estimated_memory_bytes(self.threads())).min(self.memory_mib);
        let (slots, memory) = (Arc::clone(&self.slots), Arc::clone(&self.memory));
        let turn = async move {
            let slot = slots.acquire_owned().await.ok()?;
            let memory = memory.acquire_many_owned(needed).await.ok()?;
            Some(Permits {
                _slot: slot,
                _memory: memory,
            })
        };
        match timeout(self.wait, turn).await {
            Ok(Some(permits)) => Ok(permits),
            _ => {
                let detail = "all computing capacity is in use; try again, or submit a job";
                Err(Problem::new(Kind::Saturated, detail).retry_after(1))
            }
        }
    }
}

struct Permits {
    _slot: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

/// Stops a computation when its client has gone or its time is over.
struct Stop {
    asked: AtomicBool,
    deadline: Instant,
}

impl Stop {
    fn after(limit: Duration) -> Self {
        Self {
            asked: AtomicBool::new(false),
            deadline: Instant::now() + limit,
        }
    }
}

impl Observer for Stop {
    fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

struct StopOnDrop(Arc<Stop>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }
}

fn too_slow(limit: Duration) -> Problem {
    let detail = format!(
        "the computation took longer than the {} s of a synchronous request; submit a job to \
         /v1/jobs/settle",
        limit.as_secs()
    );
    Problem::new(Kind::Saturated, detail).retry_after(1)
}

fn internal() -> Problem {
    tracing::error!("a synchronous computation panicked");
    Problem::new(
        Kind::Internal,
        "the computation failed by a defect; it has been logged",
    )
}

/// Whole MiB, at least one.
fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MIB).max(1)).unwrap_or(u32::MAX)
}
