//! The sweeper finds what fell through: lost tasks, dead workers, jobs past their deadline,
//! expired results, forgotten idempotency records.

use std::convert::Infallible;

use oscillink_domain::job::{ContentRef, Retry, Swept};
use oscillink_domain::outbox::{OutboxEntry, dispatch_entry_id};
use oscillink_domain::{Job, JobStatus, Timestamp};
use oscillink_ports::{Collection, DocKey, MAX_TRANSACTION_WRITES, Op, Query, StoreExt, Write};

use crate::Engine;
use crate::callback::undelivered_delete;
use crate::content::content_delete;
use crate::error::EngineError;
use crate::finish::{finish_reads, job_key};
use crate::jobs::Page;
use crate::relay::delete_all;

/// Jobs looked at in one sweep.
const BATCH: usize = 200;

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Jobs sent another task.
    pub redispatched: usize,
    /// Jobs taken from workers whose lease ran out.
    pub leases_lost: usize,
    /// Jobs past their deadline.
    pub expired: usize,
    /// Ended jobs removed with their contents.
    pub removed: usize,
    /// Idempotency records removed.
    pub forgotten: usize,
}

impl Engine {
    /// One pass over everything that is due, bounded in size; call it again while it finds work.
    ///
    /// # Errors
    /// An adapter failed; what was not done is found by the next sweep.
    pub async fn sweep(&self) -> Result<SweepReport, EngineError> {
        let now = self.now();
        let mut report = SweepReport::default();
        let due = Query::new(Collection::Jobs, "due_at", BATCH)
            .filter("live", Op::Eq, true)
            .filter("due_at", Op::Le, now.as_millis());
        let jobs: Page<Job> = Page::parse(self.store().query(&due).await?)?;
        for job in jobs.items {
            match self.sweep_job(job, now).await? {
                Swept::Leave => {}
                Swept::Expired(_) => report.expired += 1,
                Swept::Redispatch(_) => report.redispatched += 1,
                Swept::Retry(_) => report.leases_lost += 1,
            }
        }
        report.removed = self.remove_ended(now).await?;
        report.forgotten = self.forget_replays(now).await?;
        self.inner.outbox_changed.notify();
        Ok(report)
    }

    async fn sweep_job(&self, job: Job, now: Timestamp) -> Result<Swept, EngineError> {
        let engine = self.clone();
        let random = self.inner.ports.entropy.next_u64();
        let redispatch_ms = self.config().redispatch_ms;
        let pending_key = DocKey::new(Collection::Outbox, dispatch_entry_id(&job.id, job.dispatch));
        let mut reads = finish_reads(&job);
        reads.push(pending_key.clone());
        let key = job_key(&job);
        let swept = self
            .store()
            .transaction::<_, Infallible>(reads, move |snapshot| {
                let Some(mut job) = snapshot.get::<Job>(&key)? else {
                    return Ok((Vec::new(), Swept::Leave));
                };
                let pending = snapshot.get::<OutboxEntry>(&pending_key)?.is_some();
                let waits_in_outbox =
                    pending && job.status == JobStatus::Queued && now < job.deadline_at;
                if waits_in_outbox && now >= job.due_at {
                    // It waits its turn in the fair order; its task is not lost but not made yet.
                    job.set_due(now.plus_millis(redispatch_ms));
                    return Ok((vec![Write::put(key.clone(), &job)?], Swept::Leave));
                }
                let swept = job.sweep(now, redispatch_ms, &engine.config().retry, random);
                let writes = match &swept {
                    Swept::Leave => Vec::new(),
                    Swept::Expired(ended) => {
                        let mut writes = engine.finish_writes(snapshot, ended, 0.0, now)?;
                        writes.push(Write::Delete(pending_key.clone()));
                        writes
                    }
                    Swept::Redispatch(job) => {
                        engine
                            .retry_writes(snapshot, Retry::At(job.clone(), now), now)?
                            .0
                    }
                    Swept::Retry(retry) => engine.retry_writes(snapshot, retry.clone(), now)?.0,
                };
                Ok((writes, swept))
            })
            .await?;
        match &swept {
            Swept::Expired(job) | Swept::Retry(Retry::Final(job) | Retry::Cancelled(job)) => {
                self.tell_end(job);
            }
            Swept::Leave | Swept::Redispatch(_) | Swept::Retry(Retry::At(..)) => {}
        }
        Ok(swept)
    }

    /// Removes ended jobs whose results have expired. Blobs go first: a crash in between leaves a
    /// record without contents, which the next sweep removes.
    async fn remove_ended(&self, now: Timestamp) -> Result<usize, EngineError> {
        let ended = Query::new(Collection::Jobs, "expires_at", BATCH)
            .filter("live", Op::Eq, false)
            .filter("expires_at", Op::Le, now.as_millis());
        let jobs: Page<Job> = Page::parse(self.store().query(&ended).await?)?;
        for job in &jobs.items {
            let mut writes = vec![Write::Delete(job_key(job))];
            writes.extend(undelivered_delete(job));
            for content in contents_of(job) {
                self.delete_blob(content).await?;
                writes.extend(content_delete(content));
            }
            delete_all(self.store(), writes).await?;
        }
        Ok(jobs.items.len())
    }

    async fn forget_replays(&self, now: Timestamp) -> Result<usize, EngineError> {
        let mut forgotten = 0;
        for collection in [Collection::Idempotency, Collection::Contents] {
            let expired = Query::new(collection, "expires_at", MAX_TRANSACTION_WRITES).filter(
                "expires_at",
                Op::Le,
                now.as_millis(),
            );
            let page = self.store().query(&expired).await?;
            let writes: Vec<Write> = page
                .documents
                .iter()
                .map(|(id, _)| Write::Delete(DocKey::new(collection, id)))
                .collect();
            forgotten += writes.len();
            delete_all(self.store(), writes).await?;
        }
        Ok(forgotten)
    }
}

/// Everything that a job refers to.
pub(crate) fn contents_of(job: &Job) -> impl Iterator<Item = &ContentRef> {
    let results = job
        .result
        .iter()
        .flat_map(|r| std::iter::once(&r.answer).chain(r.arrays.values()));
    std::iter::once(&job.payload).chain(results)
}
