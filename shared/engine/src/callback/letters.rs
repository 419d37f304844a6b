//! Callbacks asked for again, and the dead letters among them.

use oscillink_domain::callback::{MAX_REDELIVERIES, Redelivered};
use oscillink_domain::outbox::{Intent, OutboxEntry, UNDELIVERED_LANE};
use oscillink_domain::{Job, JobId, JobStatus, KeyId};
use oscillink_ports::{Collection, Cursor, DocKey, Op, PortError, Query, StoreExt, TxError, Write};

use super::{dispatch_write, undelivered_delete};
use crate::Engine;
use crate::finish::job_key;
use crate::jobs::Page;

/// Why a callback is not delivered again.
#[derive(Debug, thiserror::Error)]
pub enum RedeliverError {
    /// No such job, or someone else's.
    #[error("there is no such job")]
    NotFound,
    /// The job was submitted without one.
    #[error("the job has no callback_url")]
    NoCallback,
    /// Its callback follows its end.
    #[error("the job is {0}; its callback is sent when it has ended")]
    NotEnded(JobStatus),
    /// Its receiver had enough of them.
    #[error("the callback was asked for again {MAX_REDELIVERIES} times, which is the most")]
    TooOften,
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<TxError<Self>> for RedeliverError {
    fn from(error: TxError<Self>) -> Self {
        match error {
            TxError::Refused(refused) => refused,
            TxError::Port(port) => Self::Port(port),
        }
    }
}

impl Engine {
    /// Has a job's callback delivered once more, whatever became of it; `key_id` limits it to that
    /// key's jobs. Gives the job as it is then.
    ///
    /// # Errors
    /// There is nothing to deliver, it was asked for too often, or the store failed.
    pub async fn redeliver_callback(
        &self,
        key_id: Option<&KeyId>,
        job_id: &JobId,
    ) -> Result<Job, RedeliverError> {
        let now = self.now();
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        let key_id = key_id.cloned();
        let job = self
            .store()
            .transaction(vec![key.clone()], move |snapshot| {
                let job = snapshot.get::<Job>(&key)?;
                let job = job.filter(|job| key_id.as_ref().is_none_or(|id| *id == job.key_id));
                let mut job = job.ok_or(TxError::Refused(RedeliverError::NotFound))?;
                if job.callback_url.is_none() {
                    return Err(TxError::Refused(RedeliverError::NoCallback));
                }
                let callback = job
                    .callback
                    .as_ref()
                    .ok_or(TxError::Refused(RedeliverError::NotEnded(job.status)))?;
                let Redelivered::Again(again) = callback.again() else {
                    return Err(TxError::Refused(RedeliverError::TooOften));
                };
                let mut writes = Vec::from_iter(undelivered_delete(&job));
                writes.push(dispatch_write(&job, &again, now)?);
                job.callback = Some(again);
                writes.push(Write::put(job_key(&job), &job)?);
                Ok((writes, job))
            })
            .await
            .map_err(RedeliverError::from)?;
        self.nudge_relay();
        Ok(job)
    }

    /// Jobs whose callbacks could not be delivered, latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn undelivered_callbacks(
        &self,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Job>, PortError> {
        let query = Query::new(Collection::Outbox, "tag", limit)
            .filter("lane", Op::Eq, UNDELIVERED_LANE)
            .descending()
            .after(after);
        let letters: Page<OutboxEntry> = Page::parse(self.store().query(&query).await?)?;
        let mut items = Vec::new();
        for letter in letters.items {
            let Intent::Dispatch { job_id, .. } = &letter.intent else {
                continue;
            };
            // One that was removed or delivered meanwhile is none any more.
            items.extend(
                self.any_job(job_id)
                    .await?
                    .filter(|job| undelivered_delete(job).is_some()),
            );
        }
        Ok(Page {
            items,
            next: letters.next,
        })
    }
}
