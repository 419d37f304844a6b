//! The outbox: what a transaction decided must happen outside the store, kept until it has happened.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Topic};
use crate::hash::Sha256Hex;
use crate::id::JobId;
use crate::job::QueueName;
use crate::time::Timestamp;

/// The lane of events in [`OutboxEntry::lane`].
pub const EVENT_LANE: &str = "event";
/// The lane of callbacks that could not be delivered. Nothing relays it: it is the dead letters.
pub const UNDELIVERED_LANE: &str = "undelivered";

/// One intent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Document id; repeats of the same intent have the same id.
    pub id: String,
    /// What is relayed together and in order: a queue's name for dispatches, `event` for events.
    pub lane: String,
    /// Order within the lane.
    pub tag: u64,
    /// When it was written.
    pub created_at: Timestamp,
    /// What is to happen.
    pub intent: Intent,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Intent {
    /// Create the task of a job.
    Dispatch {
        /// The job.
        job_id: JobId,
        /// Its queue.
        queue: QueueName,
        /// Number of the dispatch.
        dispatch: u32,
        /// Memory that the job needs, for the worker's admission.
        memory_bytes: u64,
        /// Not before this time.
        not_before: Timestamp,
        /// W3C trace context of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// Publish events.
    Publish {
        /// Events with the same key are delivered in order.
        ordering_key: String,
        /// The events and where they go.
        events: Vec<(Topic, Event)>,
    },
}

impl OutboxEntry {
    /// The intent to create a job's task.
    #[must_use]
    pub fn dispatch(job: &crate::job::Job, not_before: Timestamp, now: Timestamp) -> Self {
        Self {
            id: dispatch_entry_id(&job.id, job.dispatch),
            lane: job.queue.as_str().to_owned(),
            tag: job.tag,
            created_at: now,
            intent: Intent::Dispatch {
                job_id: job.id.clone(),
                queue: job.queue,
                dispatch: job.dispatch,
                memory_bytes: job.memory_bytes,
                not_before,
                traceparent: job.traceparent.clone(),
            },
        }
    }

    /// The intent to publish events about a key. `id` names the occurrence; `tag` is the key's, so
    /// that its events keep the order of their transactions.
    #[must_use]
    pub fn announce(
        id: String,
        ordering_key: &str,
        events: Vec<(Topic, Event)>,
        tag: u64,
        now: Timestamp,
    ) -> Self {
        Self {
            tag,
            ..Self::publish(id, ordering_key, events, now)
        }
    }

    /// The intent to create the task of an ended job's callback.
    #[must_use]
    pub fn callback(job: &crate::job::Job, dispatch: u32, now: Timestamp) -> Self {
        Self {
            id: format!("{}.callback.{dispatch}", job.id),
            lane: QueueName::Callback.as_str().to_owned(),
            tag: u64::try_from(now.as_millis()).unwrap_or(0),
            created_at: now,
            intent: Intent::Dispatch {
                job_id: job.id.clone(),
                queue: QueueName::Callback,
                dispatch,
                memory_bytes: 0,
                not_before: now,
                traceparent: job.traceparent.clone(),
            },
        }
    }

    /// What remains of a callback that could not be delivered, for operators to find.
    #[must_use]
    pub fn undelivered(job: &crate::job::Job, dispatch: u32, now: Timestamp) -> Self {
        Self {
            id: undelivered_entry_id(&job.id),
            lane: UNDELIVERED_LANE.to_owned(),
            ..Self::callback(job, dispatch, now)
        }
    }

    /// The intent to publish events of one occurrence. `id` names the occurrence.
    #[must_use]
    pub fn publish(
        id: String,
        ordering_key: &str,
        events: Vec<(Topic, Event)>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            lane: EVENT_LANE.to_owned(),
            tag: u64::try_from(now.as_millis()).unwrap_or(0),
            created_at: now,
            intent: Intent::Publish {
                ordering_key: ordering_key.to_owned(),
                events,
            },
        }
    }
}

/// Document id of the intent to dispatch a job for the given time.
#[must_use]
pub fn dispatch_entry_id(job_id: &JobId, dispatch: u32) -> String {
    format!("{job_id}.{dispatch}")
}

/// Document id of a callback's dead letter.
#[must_use]
pub fn undelivered_entry_id(job_id: &JobId) -> String {
    format!("{job_id}.undelivered")
}

/// The task's name where ids are ordered by time: next to those made with it.
#[must_use]
pub fn ordered_task_name(job_id: &JobId, dispatch: u32) -> String {
    format!("{job_id}-{dispatch}")
}

/// The task's name: a digest, because a distributed queue spreads load by name and sequential or
/// shared prefixes would concentrate it.
#[must_use]
pub fn task_name(job_id: &JobId, dispatch: u32) -> String {
    let digest = Sha256Hex::of_parts([job_id.as_str().as_bytes(), &dispatch.to_le_bytes()]);
    digest.as_str().chars().take(40).collect()
}
