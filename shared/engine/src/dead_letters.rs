//! Dead letters: jobs that failed for good after every attempt, listed and retried by operators.

use oscillink_domain::tier::Overrides;
use oscillink_domain::{Job, JobId, Limits, Sha256Hex};
use oscillink_ports::{Collection, Cursor, DocKey, Op, PortError, Query, StoreExt};

use crate::Engine;
use crate::error::SubmitError;
use crate::jobs::Page;
use crate::submit::{Idempotency, Submission, Submitted};

impl Engine {
    /// Jobs that failed for good after every attempt, newest first, with their history.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dead_letters(
        &self,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Job>, PortError> {
        let query = Query::new(Collection::Jobs, "created_at", limit)
            .filter("dead_letter", Op::Eq, true)
            .descending()
            .after(after);
        Page::parse(self.store().query(&query).await?)
    }

    /// Submits the work of a dead letter anew, for the same key. An ended job never changes, so this
    /// is another job with the same payload; retrying the same dead letter again gives that job.
    /// `None`: there is no such dead letter.
    ///
    /// # Errors
    /// No room in the quota, the payload is gone, or an adapter failed.
    pub async fn retry_dead_letter(
        &self,
        job_id: &JobId,
    ) -> Result<Option<Submitted>, SubmitError> {
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        let Some(job) = self
            .store()
            .fetch::<Job>(&key)
            .await?
            .filter(|job| job.dead_letter)
        else {
            return Ok(None);
        };
        let payload = self.content(&job.payload).await?;
        let overrides = self
            .key(&job.key_id)
            .await?
            .map_or_else(Overrides::default, |record| record.overrides);
        let submission = Submission {
            limits: Limits::of(job.tier, &self.config().baseline, &overrides),
            key_id: job.key_id,
            key_hash: job.key_hash,
            tier: job.tier,
            kind: job.kind,
            n: job.n,
            d: job.d,
            memory_bytes: job.memory_bytes,
            payload,
            request_id: job.request_id,
            traceparent: job.traceparent,
            idempotency: Some(Idempotency {
                key: format!("retry of {job_id}"),
                request_hash: Sha256Hex::of(job_id.as_str().as_bytes()),
            }),
            custom_id: job.custom_id,
            callback_url: job.callback_url,
        };
        self.submit(submission).await.map(Some)
    }
}
