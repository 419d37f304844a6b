//! The state machine: each function takes the record and the time and gives the next record.

use crate::callback::Callback;
use crate::job::record::{
    AttemptFailure, Failure, FailureClass, Job, JobStatus, Progress, ResultRef,
};
use crate::time::Timestamp;

/// The caller no longer holds the job: its lease ended and someone else moved on, or it is terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stale lease: generation {held} is not the current {current}")]
pub struct StaleLease {
    /// The generation that the caller named.
    pub held: u64,
    /// The generation in force.
    pub current: u64,
}

/// Why a task may not begin the job. In each case the task has nothing left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimRefused {
    /// Already ended.
    #[error("the job is {0}")]
    Terminal(JobStatus),
    /// Another worker holds a valid lease.
    #[error("another worker holds the job until {0}")]
    Held(Timestamp),
}

/// What a cancel request led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Cancelled {
    /// It was queued and is now cancelled.
    Now(Box<Job>),
    /// It is running and will stop at its next check point.
    Requested(Box<Job>),
    /// It had already ended.
    Already(JobStatus),
}

/// What a failed attempt leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Retry {
    /// Queued again, to be dispatched at the given time.
    At(Box<Job>, Timestamp),
    /// Failed for good.
    Final(Box<Job>),
    /// The client had asked to stop, so it is cancelled.
    Cancelled(Box<Job>),
}

/// What the sweeper does with a job that is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Swept {
    /// Not due after all.
    Leave,
    /// Past its deadline: expired.
    Expired(Box<Job>),
    /// Waited too long for a worker: dispatch again under a new task name.
    Redispatch(Box<Job>),
    /// The lease ran out.
    Retry(Retry),
}

/// When and how often attempts are repeated: the queue's retry configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at the most.
    pub max_attempts: u32,
    /// Pause after the first failure, ms.
    pub min_backoff_ms: i64,
    /// Longest pause, ms.
    pub max_backoff_ms: i64,
    /// How often the pause doubles before it stays.
    pub max_doublings: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            min_backoff_ms: 500,
            max_backoff_ms: 60_000,
            max_doublings: 7,
        }
    }
}

impl RetryPolicy {
    /// Pause after `attempt` (from 1) with jitter: half of it fixed, half scaled by `random`.
    #[must_use]
    pub fn backoff_ms(&self, attempt: u32, random: u64) -> i64 {
        let doublings = attempt.saturating_sub(1).min(self.max_doublings).min(30);
        let full = self
            .min_backoff_ms
            .saturating_mul(1 << doublings)
            .min(self.max_backoff_ms)
            .max(1);
        let half = full / 2;
        half + i64::try_from(random % (full - half + 1).unsigned_abs()).unwrap_or(0)
    }
}

impl Job {
    /// A worker takes the job: raises generation and attempts, starts a lease of `lease_ms`.
    ///
    /// # Errors
    /// The job has ended, or another worker holds a lease that is still valid.
    pub fn claim(&self, now: Timestamp, lease_ms: i64, worker: &str) -> Result<Self, ClaimRefused> {
        if self.status.is_terminal() {
            return Err(ClaimRefused::Terminal(self.status));
        }
        if let (JobStatus::Running, Some(until)) = (self.status, self.lease_until)
            && now < until
        {
            return Err(ClaimRefused::Held(until));
        }
        let mut next = self.clone();
        next.status = JobStatus::Running;
        next.generation += 1;
        next.attempts += 1;
        next.started_at = Some(now);
        next.worker = Some(worker.to_owned());
        next.progress = None;
        next.set_lease(now.plus_millis(lease_ms));
        Ok(next)
    }

    /// The holder is alive: extends the lease and notes progress.
    ///
    /// # Errors
    /// The caller is not the holder any more. A lease that ran out but was taken by no one is
    /// extended: slowness is not death.
    pub fn renew(
        &self,
        generation: u64,
        now: Timestamp,
        lease_ms: i64,
        progress: Option<Progress>,
    ) -> Result<Self, StaleLease> {
        self.check_holder(generation)?;
        let mut next = self.clone();
        next.set_lease(now.plus_millis(lease_ms));
        next.progress = progress.or(self.progress);
        Ok(next)
    }

    /// The holder finished. A result outranks a cancel request that came too late to save the work.
    ///
    /// # Errors
    /// The caller is not the holder any more.
    pub fn complete(
        &self,
        generation: u64,
        now: Timestamp,
        result: ResultRef,
    ) -> Result<Self, StaleLease> {
        self.check_holder(generation)?;
        let mut next = self.ended(JobStatus::Done, now);
        next.result = Some(result);
        next.expires_at = now.plus_millis(self.result_ttl_ms);
        Ok(next)
    }

    /// The holder stopped because of a cancel request.
    ///
    /// # Errors
    /// The caller is not the holder any more.
    pub fn stop(&self, generation: u64, now: Timestamp) -> Result<Self, StaleLease> {
        self.check_holder(generation)?;
        Ok(self.ended(JobStatus::Cancelled, now))
    }

    /// The holder's attempt failed.
    ///
    /// # Errors
    /// The caller is not the holder any more.
    pub fn fail(
        &self,
        generation: u64,
        now: Timestamp,
        class: FailureClass,
        failure: Failure,
        policy: &RetryPolicy,
        random: u64,
    ) -> Result<Retry, StaleLease> {
        self.check_holder(generation)?;
        Ok(self.after_failure(now, class, failure, policy, random))
    }

    /// The holder gives the job back unfinished (shutdown): queued again at once, the attempt not counted.
    ///
    /// # Errors
    /// The caller is not the holder any more.
    pub fn hand_back(&self, generation: u64, now: Timestamp) -> Result<Retry, StaleLease> {
        self.check_holder(generation)?;
        if self.cancel_requested {
            return Ok(Retry::Cancelled(Box::new(
                self.ended(JobStatus::Cancelled, now),
            )));
        }
        let mut next = self.queued_again(now);
        next.attempts = self.attempts.saturating_sub(1);
        Ok(Retry::At(Box::new(next), now))
    }

    /// The client wants it to stop.
    #[must_use]
    pub fn request_cancel(&self, now: Timestamp) -> Cancelled {
        match self.status {
            JobStatus::Queued => Cancelled::Now(Box::new(self.ended(JobStatus::Cancelled, now))),
            JobStatus::Running => {
                let mut next = self.clone();
                next.cancel_requested = true;
                Cancelled::Requested(Box::new(next))
            }
            other => Cancelled::Already(other),
        }
    }

    /// What to do with a live job whose `due_at` may have passed. `redispatch_ms` is how long a
    /// queued job may wait for its task before it is sent another.
    #[must_use]
    pub fn sweep(
        &self,
        now: Timestamp,
        redispatch_ms: i64,
        policy: &RetryPolicy,
        random: u64,
    ) -> Swept {
        if self.status.is_terminal() || now < self.due_at {
            return Swept::Leave;
        }
        match self.status {
            JobStatus::Running => {
                let failure = Failure {
                    code: "worker_lost".into(),
                    detail: "the worker's lease ran out without a heartbeat".into(),
                    field: None,
                };
                Swept::Retry(self.after_failure(
                    now,
                    FailureClass::Transient,
                    failure,
                    policy,
                    random,
                ))
            }
            _ if now >= self.deadline_at => {
                let mut next = self.ended(JobStatus::Expired, now);
                next.error = Some(Failure {
                    code: "expired".into(),
                    detail: "the job waited longer than a job may".into(),
                    field: None,
                });
                Swept::Expired(Box::new(next))
            }
            _ => {
                let mut next = self.clone();
                next.dispatch += 1;
                next.set_due(now.plus_millis(redispatch_ms));
                Swept::Redispatch(Box::new(next))
            }
        }
    }

    /// Sets when the sweeper looks at a queued job again.
    pub fn set_due(&mut self, due: Timestamp) {
        self.due_at = due.min(self.deadline_at);
    }

    fn after_failure(
        &self,
        now: Timestamp,
        class: FailureClass,
        failure: Failure,
        policy: &RetryPolicy,
        random: u64,
    ) -> Retry {
        if self.cancel_requested {
            return Retry::Cancelled(Box::new(self.ended(JobStatus::Cancelled, now)));
        }
        let entry = AttemptFailure {
            at: now,
            attempt: self.attempts,
            worker: self.worker.clone().unwrap_or_default(),
            failure: failure.clone(),
        };
        if class == FailureClass::Permanent
            || self.attempts >= policy.max_attempts
            || now >= self.deadline_at
        {
            let mut next = self.ended(JobStatus::Error, now);
            next.history.push(entry);
            next.error = Some(failure);
            next.dead_letter = class == FailureClass::Transient;
            return Retry::Final(Box::new(next));
        }
        let at = now.plus_millis(policy.backoff_ms(self.attempts, random));
        let mut next = self.queued_again(at);
        next.history.push(entry);
        Retry::At(Box::new(next), at)
    }

    /// Back to the queue under a new generation and task name. The sweeper looks again a good while
    /// after the task is due.
    fn queued_again(&self, at: Timestamp) -> Self {
        const GRACE_MS: i64 = 60_000;
        let mut next = self.clone();
        next.status = JobStatus::Queued;
        next.generation += 1;
        next.dispatch += 1;
        next.lease_until = None;
        next.worker = None;
        next.progress = None;
        next.set_due(at.plus_millis(GRACE_MS));
        next
    }

    fn ended(&self, status: JobStatus, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.status = status;
        next.live = false;
        next.completed_at = Some(now);
        next.lease_until = None;
        next.progress = None;
        next.due_at = Timestamp::FAR_FUTURE;
        next.callback = self.callback_url.as_ref().map(|_| Callback::default());
        next
    }

    fn set_lease(&mut self, until: Timestamp) {
        self.lease_until = Some(until);
        self.due_at = until;
    }

    fn check_holder(&self, generation: u64) -> Result<(), StaleLease> {
        if self.status == JobStatus::Running && self.generation == generation {
            Ok(())
        } else {
            Err(StaleLease {
                held: generation,
                current: self.generation,
            })
        }
    }
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
