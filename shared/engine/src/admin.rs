//! Operators' use cases over jobs of all keys: look, and cancel or retry whatever matches a filter.

use oscillink_domain::{Job, JobId, JobKind, JobStatus, KeyId, QueueName, Timestamp};
use oscillink_ports::{Collection, Cursor, DocKey, Op, PortError, Query, StoreExt};

use crate::Engine;
use crate::error::{EngineError, SubmitError};
use crate::jobs::{CancelOutcome, Page};
use crate::relay::JOB_QUEUES;

/// Jobs looked at for each job that may be acted on: a filter that matches little must still end.
const LOOKS_PER_ACTION: usize = 20;
/// Jobs of one query.
const PAGE: usize = 100;

/// Which jobs, of all keys. Fields that are not given match every job.
#[derive(Clone, Debug, Default)]
pub struct JobsMatching {
    /// Of this key.
    pub key_id: Option<KeyId>,
    /// On this queue.
    pub queue: Option<QueueName>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// In this state.
    pub status: Option<JobStatus>,
    /// Accepted before this time.
    pub created_before: Option<Timestamp>,
}

impl JobsMatching {
    fn takes(&self, job: &Job) -> bool {
        self.key_id
            .as_ref()
            .is_none_or(|key_id| *key_id == job.key_id)
            && self.queue.is_none_or(|queue| queue == job.queue)
            && self.kind.is_none_or(|kind| kind == job.kind)
            && self.status.is_none_or(|status| status == job.status)
            && self.created_before.is_none_or(|time| job.created_at < time)
    }
}

/// What a bulk action did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bulk {
    /// Jobs acted on.
    pub done: usize,
    /// Of these, how many ended at once; the others end at their next check point.
    pub ended: usize,
    /// Jobs that matched but could not be acted on, and why.
    pub failed: Vec<(JobId, String)>,
    /// Jobs may remain that were not looked at.
    pub more: bool,
}

impl Engine {
    /// A job of any key.
    ///
    /// # Errors
    /// The store failed.
    pub async fn any_job(&self, job_id: &JobId) -> Result<Option<Job>, PortError> {
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        self.store().fetch(&key).await
    }

    /// Cancels up to `limit` jobs that match and have not ended, oldest first.
    ///
    /// # Errors
    /// The store failed; what was cancelled before stays so.
    pub async fn cancel_matching(
        &self,
        matching: &JobsMatching,
        limit: usize,
    ) -> Result<Bulk, EngineError> {
        let mut bulk = Bulk::default();
        let mut looks = limit.saturating_mul(LOOKS_PER_ACTION);
        let queues = JOB_QUEUES.into_iter();
        for queue in queues.filter(|queue| matching.queue.is_none_or(|only| only == *queue)) {
            let mut after = None;
            loop {
                if bulk.done >= limit || looks == 0 {
                    bulk.more = true;
                    return Ok(bulk);
                }
                let page = self.live_jobs(queue, PAGE.min(looks), after).await?;
                for job in page.items {
                    if bulk.done >= limit {
                        bulk.more = true;
                        return Ok(bulk);
                    }
                    looks = looks.saturating_sub(1);
                    // Those that were asked already end by themselves.
                    if !matching.takes(&job) || job.cancel_requested {
                        continue;
                    }
                    if let Some(CancelOutcome::Accepted(job)) =
                        self.cancel(&job.key_id, &job.id).await?
                    {
                        bulk.done += 1;
                        bulk.ended += usize::from(job.status.is_terminal());
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(bulk)
    }

    /// Submits up to `limit` dead letters that match anew, newest first. One that was retried before
    /// gives the job of then, so a repeat of the whole does no harm. `after` continues behind the
    /// place that an earlier call gave.
    ///
    /// # Errors
    /// The store failed; what was retried before stays so.
    pub async fn retry_matching(
        &self,
        matching: &JobsMatching,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<(Bulk, Option<Cursor>), EngineError> {
        let mut bulk = Bulk::default();
        let page = self.dead_letters(limit, after).await?;
        for job in page.items.iter().filter(|job| matching.takes(job)) {
            match self.retry_dead_letter(&job.id).await {
                Ok(Some(_)) => bulk.done += 1,
                // Removed meanwhile.
                Ok(None) => {}
                Err(SubmitError::Port(error)) if error.is_transient() => return Err(error.into()),
                Err(error) => bulk.failed.push((job.id.clone(), error.to_string())),
            }
        }
        bulk.more = page.next.is_some();
        Ok((bulk, page.next))
    }

    /// Jobs of a queue that have not ended, of all keys, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn live_jobs(
        &self,
        queue: QueueName,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Job>, PortError> {
        let query = Query::new(Collection::Jobs, "created_at", limit)
            .filter("queue", Op::Eq, queue.as_str())
            .filter("live", Op::Eq, true)
            .after(after);
        Page::parse(self.store().query(&query).await?)
    }
}
