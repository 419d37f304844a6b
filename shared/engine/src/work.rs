//! A worker's side of a job: claim, heartbeat, and one of complete, fail, stop, hand back.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;
use oscillink_domain::event::Topic;
use oscillink_domain::job::{
    ClaimRefused, Failure, FailureClass, Progress, ResultRef, Retry, StaleLease,
};
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::{Job, JobId, QueueName, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, Snapshot, StoreExt, TxError, Write};
use tracing::Instrument as _;

use crate::error::EngineError;
use crate::finish::{finish_reads, job_key};
use crate::{Engine, TRACE};

/// The right to work on a job: the record as claimed. Valid until its lease ends or another
/// generation begins; every write checks that.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The job as claimed.
    pub job: Job,
    /// W3C trace context of the work, which what follows from it continues.
    pub traceparent: Option<String>,
}

/// What a task delivery leads to.
#[derive(Clone, Debug)]
pub enum Claim {
    /// Go ahead.
    Granted(Box<Attempt>),
    /// Nothing to do: the job has ended, is unknown, or another worker holds it. The task is done with.
    Refused(ClaimRefused),
    /// No such job.
    Unknown,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Carry on.
    Continue,
    /// The client asked for the job to stop.
    Cancel,
    /// The lease is lost: stop, and write nothing.
    Lost,
}

/// What an attempt computed.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The answer as JSON.
    pub answer: Bytes,
    /// Arrays by name, as npy.
    pub arrays: BTreeMap<String, Bytes>,
    /// Arrays that are not kept, since they are quickly computed again.
    pub derived: BTreeSet<String>,
    /// Time of computation, ms.
    pub duration_ms: f64,
}

/// Why a holder's write did not happen.
enum Held {
    Stale(StaleLease),
    /// The write had already happened.
    AlreadySo,
}

impl Engine {
    /// Claims a job for `worker`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn claim(&self, job_id: &JobId, worker: &str) -> Result<Claim, EngineError> {
        let (now, lease_ms) = (self.now(), self.config().lease_ms);
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        let worker = worker.to_owned();
        let claim = self
            .store()
            .transaction::<_, Infallible>(vec![key.clone()], move |snapshot| {
                let Some(job) = snapshot.get::<Job>(&key)? else {
                    return Ok((Vec::new(), Claim::Unknown));
                };
                Ok(match job.claim(now, lease_ms, &worker) {
                    Ok(job) => (
                        vec![Write::put(key.clone(), &job)?],
                        Claim::Granted(Box::new(Attempt {
                            job,
                            traceparent: None,
                        })),
                    ),
                    Err(refused) => (Vec::new(), Claim::Refused(refused)),
                })
            })
            .instrument(tracing::info_span!(target: TRACE, "store claim", otel.kind = "client"))
            .await?;
        Ok(claim)
    }

    /// Extends the lease and notes progress.
    ///
    /// # Errors
    /// The store failed; the lease may or may not be extended.
    pub async fn heartbeat(
        &self,
        attempt: &Attempt,
        progress: Option<Progress>,
    ) -> Result<Heartbeat, EngineError> {
        let (now, lease_ms) = (self.now(), self.config().lease_ms);
        let key = job_key(&attempt.job);
        let generation = attempt.job.generation;
        let answer = self
            .store()
            .transaction::<_, Infallible>(vec![key.clone()], move |snapshot| {
                let Some(job) = snapshot.get::<Job>(&key)? else {
                    return Ok((Vec::new(), Heartbeat::Lost));
                };
                Ok(match job.renew(generation, now, lease_ms, progress) {
                    Ok(job) => {
                        let answer = if job.cancel_requested {
                            Heartbeat::Cancel
                        } else {
                            Heartbeat::Continue
                        };
                        (vec![Write::put(key.clone(), &job)?], answer)
                    }
                    Err(_) => (Vec::new(), Heartbeat::Lost),
                })
            })
            .await?;
        Ok(answer)
    }

    /// Finishes the job with a result. `false`: the lease was lost and nothing was written.
    ///
    /// # Errors
    /// An adapter failed; trying again is safe.
    pub async fn complete(
        &self,
        attempt: &Attempt,
        computed: Computed,
    ) -> Result<bool, EngineError> {
        let job = &attempt.job;
        let expires_at = self.now().plus_millis(job.result_ttl_ms);
        let mut contents = Vec::new();
        // Blobs are write-once, and an attempt whose lease ran out may have written its own: the
        // generation keeps them apart.
        let generation = job.generation;
        let answer = self
            .stage(
                &job.id,
                &format!("answer.{generation}"),
                computed.answer,
                expires_at,
            )
            .await?;
        let mut arrays = BTreeMap::new();
        for (name, bytes) in computed.arrays {
            let staged = self
                .stage(&job.id, &format!("{name}.{generation}"), bytes, expires_at)
                .await?;
            contents.extend(staged.write);
            arrays.insert(name, staged.reference);
        }
        contents.extend(answer.write);
        let result = ResultRef {
            answer: answer.reference,
            arrays,
            derived: computed.derived,
        };
        let duration_ms = computed.duration_ms;
        let now = self.now();
        let outcome = self
            .as_holder(attempt, move |engine, snapshot, job| {
                let ended = job
                    .complete(generation, now, result.clone())
                    .map_err(Held::Stale)?;
                let mut writes = engine.finish_writes(snapshot, &ended, duration_ms, now)?;
                writes.extend(contents.iter().cloned());
                Ok((writes, ended))
            })
            .instrument(tracing::info_span!(target: TRACE, "store complete", otel.kind = "client"))
            .await?;
        if let Some(ended) = &outcome {
            self.notify_ended(ended);
            self.tell_end(ended);
        }
        Ok(outcome.is_some())
    }

    /// Has the relays look at what the end of `job` may have left for them.
    fn notify_ended(&self, job: &Job) {
        let changed = &self.inner.outbox_changed;
        changed.notify_queue(job.queue);
        if job.callback_url.is_some() {
            changed.notify_queue(QueueName::Callback);
        }
        let bus = &self.inner.ports.bus;
        if bus.may_be_heard(Topic::JobEvents) || bus.may_be_heard(Topic::UsageEvents) {
            changed.notify_events();
        }
    }

    /// Reports a failed attempt: the job is queued again, or ends. Gives the record as it is then,
    /// `None` if the lease was lost.
    ///
    /// # Errors
    /// The store failed; trying again is safe.
    pub async fn fail(
        &self,
        attempt: &Attempt,
        class: FailureClass,
        failure: Failure,
    ) -> Result<Option<Job>, EngineError> {
        let (now, random) = (self.now(), self.inner.ports.entropy.next_u64());
        let generation = attempt.job.generation;
        self.end_attempt(attempt, now, move |engine, job| {
            job.fail(
                generation,
                now,
                class,
                failure.clone(),
                &engine.config().retry,
                random,
            )
        })
        .await
    }

    /// Stops a job whose client asked for it. `false`: the lease was lost.
    ///
    /// # Errors
    /// The store failed; trying again is safe.
    pub async fn stop(&self, attempt: &Attempt) -> Result<bool, EngineError> {
        let now = self.now();
        let generation = attempt.job.generation;
        let stopped = self
            .end_attempt(attempt, now, move |_, job| {
                job.stop(generation, now)
                    .map(|ended| Retry::Cancelled(Box::new(ended)))
            })
            .await?;
        Ok(stopped.is_some())
    }

    /// Gives an unfinished job back to the queue (shutdown). `false`: the lease was lost.
    ///
    /// # Errors
    /// The store failed; the lease will run out and the sweeper takes over.
    pub async fn hand_back(&self, attempt: &Attempt) -> Result<bool, EngineError> {
        let now = self.now();
        let generation = attempt.job.generation;
        let given = self
            .end_attempt(attempt, now, move |_, job| job.hand_back(generation, now))
            .await?;
        Ok(given.is_some())
    }

    async fn end_attempt(
        &self,
        attempt: &Attempt,
        now: Timestamp,
        step: impl Fn(&Self, &Job) -> Result<Retry, StaleLease> + Send + Sync + 'static,
    ) -> Result<Option<Job>, EngineError> {
        let outcome = self
            .as_holder(attempt, move |engine, snapshot, job| {
                let retry = step(engine, job).map_err(Held::Stale)?;
                engine
                    .retry_writes(snapshot, retry, now)
                    .map_err(TxError::Port)
            })
            .instrument(
                tracing::info_span!(target: TRACE, "store end attempt", otel.kind = "client"),
            )
            .await?;
        self.inner.outbox_changed.notify();
        if let Some(job) = &outcome {
            self.tell_end(job);
        }
        Ok(outcome)
    }

    /// The writes of a retry decision, and the record they lead to.
    pub(crate) fn retry_writes(
        &self,
        snapshot: &Snapshot,
        retry: Retry,
        now: Timestamp,
    ) -> Result<(Vec<Write>, Job), PortError> {
        match retry {
            Retry::At(job, not_before) => {
                let entry = OutboxEntry::dispatch(&job, not_before, now);
                let writes = vec![
                    Write::put(job_key(&job), &*job)?,
                    Write::put(DocKey::new(Collection::Outbox, &entry.id), &entry)?,
                ];
                Ok((writes, *job))
            }
            Retry::Final(job) | Retry::Cancelled(job) => {
                Ok((self.finish_writes(snapshot, &job, 0.0, now)?, *job))
            }
        }
    }

    /// Runs `step` on the job's present record as the holder of `attempt`. `None`: the lease was lost.
    async fn as_holder<T: Send + 'static>(
        &self,
        attempt: &Attempt,
        step: impl Fn(&Self, &Snapshot, &Job) -> Result<(Vec<Write>, T), TxError<Held>>
        + Send
        + Sync
        + 'static,
    ) -> Result<Option<T>, EngineError> {
        let engine = self.clone();
        let key = job_key(&attempt.job);
        let traceparent = attempt.traceparent.clone();
        let outcome = self
            .store()
            .transaction(finish_reads(&attempt.job), move |snapshot| {
                let mut job = snapshot
                    .get::<Job>(&key)?
                    .ok_or(TxError::Refused(Held::AlreadySo))?;
                // Its events, its callback and its next attempt come from this work.
                if traceparent.is_some() {
                    job.traceparent.clone_from(&traceparent);
                }
                step(&engine, snapshot, &job)
            })
            .await;
        match outcome {
            Ok(value) => {
                // Whatever the step was, the job has left this worker's hands.
                self.inner.windows.moved(attempt.job.queue, -1);
                Ok(Some(value))
            }
            Err(TxError::Refused(Held::Stale(stale))) => {
                tracing::warn!(job_id = %attempt.job.id, %stale, "a stale lease's write was refused");
                Ok(None)
            }
            Err(TxError::Refused(Held::AlreadySo)) => Ok(None),
            Err(TxError::Port(error)) => Err(error.into()),
        }
    }
}

impl From<Held> for TxError<Held> {
    fn from(held: Held) -> Self {
        Self::Refused(held)
    }
}
