//! Completion callbacks: intended with the job's end, handed to the worker that delivers them, and
//! what came of it recorded in the job. A callback is delivered at least once, always under the id of
//! the job's completion event, so that the receiver can tell a repeat.

mod letters;
mod message;
mod secret;

use std::convert::Infallible;

use oscillink_domain::callback::{Attempted, Callback, CallbackStatus};
use oscillink_domain::outbox::{OutboxEntry, undelivered_entry_id};
use oscillink_domain::{Job, KeyStatus, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, StoreExt, Write};
use tracing::Instrument as _;

pub use letters::RedeliverError;
pub use message::PendingCallback;
pub use secret::{CallbackSecret, SecretRotation};

use crate::error::EngineError;
use crate::finish::job_key;
use crate::relay::CallbackTask;
use crate::{Engine, TRACE};

/// What became of a recorded attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedCallback {
    /// Nothing is left to do.
    Ended(CallbackStatus),
    /// It is to be tried again, after the queue's pause.
    Again,
    /// The task was stale: the callback was ended or asked for again meanwhile.
    Stale,
}

impl Engine {
    /// The callback that a task stands for; `None`: nothing is left to do for it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn callback(
        &self,
        task: &CallbackTask,
    ) -> Result<Option<PendingCallback>, EngineError> {
        let key = DocKey::new(Collection::Jobs, task.job_id.as_str());
        let job = self.store().fetch::<Job>(&key).await?;
        let Some(job) = job.filter(|job| awaits(job, task)) else {
            return Ok(None);
        };
        let owner = self.key(&job.key_id).await?;
        // Whoever had a revoked key's secret may also have chosen its callbacks' addresses.
        let secrets = owner
            .filter(|owner| owner.status != KeyStatus::Revoked)
            .map(|owner| self.callback_secrets(&owner))
            .unwrap_or_default();
        Ok(message::pending(&job, secrets))
    }

    /// Records what an attempt came to.
    ///
    /// # Errors
    /// The store failed; the task is delivered again and the callback with it, under the same id.
    pub async fn record_callback(
        &self,
        task: &CallbackTask,
        attempted: Attempted,
    ) -> Result<RecordedCallback, EngineError> {
        let now = self.now();
        let most = self.config().callback_attempts.max(1);
        let key = DocKey::new(Collection::Jobs, task.job_id.as_str());
        let task = task.clone();
        let recorded = self
            .store()
            .transaction::<_, Infallible>(vec![key.clone()], move |snapshot| {
                let job = snapshot.get::<Job>(&key)?;
                let Some(mut job) = job.filter(|job| awaits(job, &task)) else {
                    return Ok((Vec::new(), RecordedCallback::Stale));
                };
                let callback = job.callback.unwrap_or_default();
                let callback = callback.after(&attempted, now, most);
                let status = callback.status;
                job.callback = Some(callback);
                let mut writes = vec![Write::put(job_key(&job), &job)?];
                if status == CallbackStatus::Undelivered {
                    let letter = OutboxEntry::undelivered(&job, task.dispatch, now);
                    writes.push(Write::put(
                        DocKey::new(Collection::Outbox, &letter.id),
                        &letter,
                    )?);
                }
                let recorded = match status {
                    CallbackStatus::Pending => RecordedCallback::Again,
                    ended => RecordedCallback::Ended(ended),
                };
                Ok((writes, recorded))
            })
            .instrument(
                tracing::info_span!(target: TRACE, "store record callback", otel.kind = "client"),
            )
            .await?;
        Ok(recorded)
    }
}

fn awaits(job: &Job, task: &CallbackTask) -> bool {
    job.callback
        .as_ref()
        .is_some_and(|callback| callback.awaits(task.dispatch))
}

/// The intent to report the end of `ended`, if it wants that.
pub(crate) fn callback_write(ended: &Job, now: Timestamp) -> Result<Option<Write>, PortError> {
    let Some(callback) = &ended.callback else {
        return Ok(None);
    };
    dispatch_write(ended, callback, now).map(Some)
}

fn dispatch_write(job: &Job, callback: &Callback, now: Timestamp) -> Result<Write, PortError> {
    let entry = OutboxEntry::callback(job, callback.dispatch, now);
    Write::put(DocKey::new(Collection::Outbox, &entry.id), &entry)
}

/// The write that removes a callback's dead letter, if there can be one.
pub(crate) fn undelivered_delete(job: &Job) -> Option<Write> {
    job.callback
        .as_ref()
        .filter(|callback| callback.status == CallbackStatus::Undelivered)
        .map(|_| {
            Write::Delete(DocKey::new(
                Collection::Outbox,
                undelivered_entry_id(&job.id),
            ))
        })
}
