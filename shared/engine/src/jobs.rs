//! The client's side of a job after it was accepted: look, list, cancel.

use std::convert::Infallible;

use oscillink_domain::job::Cancelled;
use oscillink_domain::{Job, JobId, JobKind, JobStatus, KeyId, Timestamp};
use oscillink_ports::{
    Collection, Cursor, DocKey, Op, PortError, Query, QueryPage, StoreExt, Write,
};
use serde::de::DeserializeOwned;

use crate::Engine;
use crate::error::EngineError;
use crate::finish::finish_reads;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

impl<T: DeserializeOwned> Page<T> {
    pub(crate) fn parse(page: QueryPage) -> Result<Self, PortError> {
        let items = page
            .documents
            .into_iter()
            .map(|(id, body)| {
                serde_json::from_value(body).map_err(|e| PortError::Corrupt {
                    detail: format!("{id}: {e}"),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            items,
            next: page.next,
        })
    }
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobFilter {
    /// Only these.
    pub status: Option<JobStatus>,
    /// Only these.
    pub kind: Option<JobKind>,
    /// Accepted at or after this time.
    pub since: Option<Timestamp>,
}

/// What a cancel request led to.
#[derive(Clone, Debug)]
pub enum CancelOutcome {
    /// Cancelled, or asked to stop: the record as it is now.
    Accepted(Box<Job>),
    /// It had already ended.
    AlreadyEnded(Box<Job>),
}

impl Engine {
    /// A job of `key_id`; another key's job does not exist for it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn job(&self, key_id: &KeyId, job_id: &JobId) -> Result<Option<Job>, PortError> {
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        Ok(self
            .store()
            .fetch::<Job>(&key)
            .await?
            .filter(|job| &job.key_id == key_id))
    }

    /// Jobs of `key_id`, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn jobs(
        &self,
        key_id: &KeyId,
        filter: JobFilter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Job>, PortError> {
        let mut query = Query::new(Collection::Jobs, "created_at", limit)
            .descending()
            .after(after);
        query = query.filter("key_id", Op::Eq, key_id.as_str());
        if let Some(status) = filter.status {
            query = query.filter("status", Op::Eq, status.as_str());
        }
        if let Some(kind) = filter.kind {
            query = query.filter("kind", Op::Eq, kind.as_str());
        }
        if let Some(since) = filter.since {
            query = query.filter("created_at", Op::Ge, since.as_millis());
        }
        Page::parse(self.store().query(&query).await?)
    }

    /// Asks a job of `key_id` to stop: a queued one ends at once and gives its reservation back, a
    /// running one stops at its next check point. `None`: no such job.
    ///
    /// # Errors
    /// The store failed.
    pub async fn cancel(
        &self,
        key_id: &KeyId,
        job_id: &JobId,
    ) -> Result<Option<CancelOutcome>, EngineError> {
        let Some(job) = self.job(key_id, job_id).await? else {
            return Ok(None);
        };
        let engine = self.clone();
        let now = self.now();
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        let outcome = self
            .store()
            .transaction::<_, Infallible>(finish_reads(&job), move |snapshot| {
                let Some(job) = snapshot.get::<Job>(&key)? else {
                    return Ok((Vec::new(), None));
                };
                Ok(match job.request_cancel(now) {
                    Cancelled::Now(ended) => (
                        engine.finish_writes(snapshot, &ended, 0.0, now)?,
                        Some(CancelOutcome::Accepted(ended)),
                    ),
                    Cancelled::Requested(asked) => (
                        vec![Write::put(key.clone(), &*asked)?],
                        Some(CancelOutcome::Accepted(asked)),
                    ),
                    Cancelled::Already(_) => {
                        (Vec::new(), Some(CancelOutcome::AlreadyEnded(Box::new(job))))
                    }
                })
            })
            .await?;
        self.inner.outbox_changed.notify();
        if let Some(CancelOutcome::Accepted(job)) = &outcome {
            self.tell_end(job);
        }
        Ok(outcome)
    }
}
