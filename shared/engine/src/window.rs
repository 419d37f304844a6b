//! The dispatch window: how many tasks of a queue are under way, so that the rest can wait in the
//! outbox in fair order.
//!
//! Counting asks the store, so it is done now and then; in between the count moves with what this
//! process dispatches and ends. Other processes' doings show at the next count.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{Collection, Op, PortError, Query};

use crate::Engine;

/// A count older than this is not trusted, ms.
const TRUST_MS: i64 = 1_000;
/// A count that says the window is full is not trusted for as long, ms.
const TRUST_FULL_MS: i64 = 100;

#[derive(Clone, Copy, Debug)]
struct Count {
    tasks: usize,
    counted_at: Timestamp,
}

/// Tasks under way by queue, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<BTreeMap<QueueName, Count>>);

impl Windows {
    /// A task of `queue` was made (positive) or its job left the hands of its worker (negative).
    pub(crate) fn moved(&self, queue: QueueName, by: isize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&queue) {
            count.tasks = count.tasks.saturating_add_signed(by);
        }
    }

    fn trusted(&self, queue: QueueName, window: usize, now: Timestamp) -> Option<usize> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&queue)?;
        let trust = if count.tasks >= window {
            TRUST_FULL_MS
        } else {
            TRUST_MS
        };
        // A clock set back makes an age negative, which is no age to trust.
        (0..trust)
            .contains(&now.millis_since(count.counted_at))
            .then_some(count.tasks)
    }

    fn counted(&self, queue: QueueName, tasks: usize, counted_at: Timestamp) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert(queue, Count { tasks, counted_at });
    }
}

impl Engine {
    /// How many more tasks of `queue` may be made now, if that was counted lately.
    pub(crate) fn known_place(&self, queue: QueueName) -> Option<usize> {
        let window = self.config().dispatch_window.max(1);
        let tasks = self.inner.windows.trusted(queue, window, self.now())?;
        Some(window.saturating_sub(tasks))
    }

    /// The same, counted now.
    pub(crate) async fn counted_place(&self, queue: QueueName) -> Result<usize, PortError> {
        let window = self.config().dispatch_window.max(1);
        let now = self.now();
        let tasks = self.count_dispatched(queue, window).await?;
        self.inner.windows.counted(queue, tasks, now);
        Ok(window.saturating_sub(tasks))
    }

    /// How many jobs of `queue` have a task: those that are live, less those still in the outbox.
    /// Counts no further than it must to see that the window is full.
    async fn count_dispatched(&self, queue: QueueName, window: usize) -> Result<usize, PortError> {
        let as_usize = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let waiting = Query::new(Collection::Outbox, "tag", usize::MAX).filter(
            "lane",
            Op::Eq,
            queue.as_str(),
        );
        let waiting = as_usize(self.store().count(&waiting).await?);
        let live = Query::new(
            Collection::Jobs,
            "created_at",
            waiting.saturating_add(window),
        )
        .filter("queue", Op::Eq, queue.as_str())
        .filter("live", Op::Eq, true);
        let live = as_usize(self.store().count(&live).await?);
        Ok(live.saturating_sub(waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_trusted_for_a_while_and_moves_meanwhile() {
        let windows = Windows::default();
        let (queue, at) = (QueueName::Settle, Timestamp::from_millis);
        assert_eq!(windows.trusted(queue, 4, at(0)), None);
        windows.counted(queue, 3, at(0));
        windows.moved(queue, 1);
        assert_eq!(windows.trusted(queue, 5, at(999)), Some(4));
        assert_eq!(windows.trusted(queue, 5, at(1_000)), None);
        assert_eq!(
            windows.trusted(queue, 4, at(100)),
            None,
            "full is soon doubted"
        );
        assert_eq!(
            windows.trusted(queue, 5, at(-1)),
            None,
            "the clock was set back"
        );
        windows.moved(queue, -9);
        assert_eq!(windows.trusted(queue, 5, at(1)), Some(0));
    }
}
