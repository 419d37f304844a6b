//! The relay carries out what transactions intended: it creates the tasks of accepted jobs, in fair
//! order and within a window, and publishes events.
//!
//! An intent is removed after it was carried out. A crash in between repeats it, which does no
//! harm: a task's name and an event's id are made of what they stand for.

use bytes::Bytes;
use oscillink_domain::outbox::{EVENT_LANE, Intent, OutboxEntry, ordered_task_name, task_name};
use oscillink_domain::{JobId, QueueName};
use oscillink_ports::{
    Collection, DocKey, MAX_TRANSACTION_WRITES, Op, PortError, Publication, Query, Store, StoreExt,
    Task, Write,
};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::error::EngineError;
use crate::jobs::Page;

/// The queues whose tasks are jobs.
pub const JOB_QUEUES: [QueueName; 3] =
    [QueueName::Priority, QueueName::Settle, QueueName::Diffusion];

/// Body of a callback's task: which job's, and which of its dispatches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackTask {
    /// The job that has ended.
    pub job_id: JobId,
    /// Number of the dispatch; older ones are stale.
    pub dispatch: u32,
}

/// A task's body: which job, not its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskBody {
    /// The job to work on.
    pub job_id: JobId,
    /// Memory that it needs, bytes.
    pub memory_bytes: u64,
}

impl Engine {
    /// Creates the tasks of the next jobs of `queue` as far as its window allows. Returns how many.
    ///
    /// # Errors
    /// The store or the queue failed; what was not carried out stays in the outbox.
    pub async fn relay_dispatches(&self, queue: QueueName) -> Result<usize, EngineError> {
        let window = self.config().dispatch_window.max(1);
        // Callbacks come in the order of their jobs' ends; the queue itself bounds them.
        let bounded = queue != QueueName::Callback;
        let known = if bounded {
            self.known_place(queue)
        } else {
            Some(window)
        };
        // Also without a place: the head of the line tells the virtual time.
        let limit = known.unwrap_or(window).max(1);
        let waiting =
            Query::new(Collection::Outbox, "tag", limit).filter("lane", Op::Eq, queue.as_str());
        let entries: Page<OutboxEntry> = Page::parse(self.store().query(&waiting).await?)?;
        if entries.items.is_empty() {
            return Ok(0);
        }
        let place = match known {
            Some(place) => place,
            None => self.counted_place(queue).await?,
        };
        let chosen = &entries.items[..place.min(entries.items.len())];
        if let Some(first) = entries.items.first() {
            // The head of the line is where virtual time stands; after a restart this restores it.
            self.advance_virtual_time(queue, first.tag);
        }
        if chosen.is_empty() {
            return Ok(0);
        }
        let tasks = chosen
            .iter()
            .filter_map(|entry| self.task_of(entry))
            .collect::<Vec<_>>();
        let outcomes = self.inner.ports.queue.create(tasks).await;
        let mut removed = Vec::new();
        let mut failure = None;
        for (entry, outcome) in chosen.iter().zip(outcomes) {
            match outcome {
                Ok(()) | Err(PortError::AlreadyExists { .. }) => {
                    self.advance_virtual_time(queue, entry.tag);
                    removed.push(entry.id.clone());
                }
                Err(error) => failure = Some(error),
            }
        }
        let count = removed.len();
        self.inner
            .windows
            .moved(queue, isize::try_from(count).unwrap_or(isize::MAX));
        self.remove(removed).await?;
        failure.map_or(Ok(count), |error| Err(error.into()))
    }

    fn task_of(&self, entry: &OutboxEntry) -> Option<Task> {
        let Intent::Dispatch {
            job_id,
            queue,
            dispatch,
            memory_bytes,
            not_before,
            traceparent,
        } = &entry.intent
        else {
            return None;
        };
        let body = if *queue == QueueName::Callback {
            serde_json::to_vec(&CallbackTask {
                job_id: job_id.clone(),
                dispatch: *dispatch,
            })
        } else {
            serde_json::to_vec(&TaskBody {
                job_id: job_id.clone(),
                memory_bytes: *memory_bytes,
            })
        };
        let body = body.ok()?;
        // Either way the same dispatch has the same name, so that creating it twice makes one task.
        let name = if self.config().time_ordered_ids {
            ordered_task_name(job_id, *dispatch)
        } else {
            task_name(job_id, *dispatch)
        };
        Some(Task {
            queue: *queue,
            name,
            body: Bytes::from(body),
            not_before: Some(*not_before).filter(|at| *at > self.now()),
            traceparent: traceparent.clone(),
        })
    }

    /// Publishes waiting events, oldest first. Returns how many entries were carried out. When one
    /// fails, later ones of its ordering key wait, so that order holds.
    ///
    /// # Errors
    /// The store failed, or the bus did; what was not published stays in the outbox.
    pub async fn relay_events(&self) -> Result<usize, EngineError> {
        let waiting = Query::new(Collection::Outbox, "tag", MAX_TRANSACTION_WRITES).filter(
            "lane",
            Op::Eq,
            EVENT_LANE,
        );
        let entries: Page<OutboxEntry> = Page::parse(self.store().query(&waiting).await?)?;
        let mut publications = Vec::new();
        let mut parts = Vec::with_capacity(entries.items.len());
        for entry in entries.items {
            if let Intent::Publish {
                ordering_key,
                events,
            } = entry.intent
            {
                parts.push((entry.id, events.len()));
                publications.extend(events.into_iter().map(|(topic, event)| Publication {
                    topic,
                    ordering_key: ordering_key.clone(),
                    event,
                }));
            }
        }
        if publications.is_empty() {
            return Ok(0);
        }
        let outcomes = self.inner.ports.bus.publish_all(&publications).await;
        let mut outcomes = outcomes.into_iter();
        let (mut published, mut failure) = (Vec::new(), None);
        for (id, events) in parts {
            // An entry is carried out when all its events are. The outcome of one that was held
            // behind another says less than the first failure.
            let own: Vec<_> = outcomes.by_ref().take(events).collect();
            match own.into_iter().collect::<Result<(), _>>() {
                Ok(()) => published.push(id),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let count = published.len();
        self.remove(published).await?;
        failure.map_or(Ok(count), |error| Err(error.into()))
    }

    async fn remove(&self, ids: Vec<String>) -> Result<(), EngineError> {
        for chunk in ids.chunks(MAX_TRANSACTION_WRITES) {
            let writes: Vec<Write> = chunk
                .iter()
                .map(|id| Write::Delete(DocKey::new(Collection::Outbox, id)))
                .collect();
            delete_all(self.store(), writes).await?;
        }
        Ok(())
    }
}

/// Applies writes that need nothing read.
pub(crate) async fn delete_all(store: &dyn Store, writes: Vec<Write>) -> Result<(), EngineError> {
    if writes.is_empty() {
        return Ok(());
    }
    store
        .transaction::<_, std::convert::Infallible>(Vec::new(), move |_| Ok((writes.clone(), ())))
        .await
        .map_err(EngineError::from)
}
