//! The way to the writer: bounded for those who submit, with timed waiting for the one who takes.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::embedded::error::EmbeddedError;

/// The submitting end.
pub(super) struct Submit<T> {
    sender: Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// The writer's end.
pub(super) struct Submitted<T> {
    receiver: Receiver<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    capacity: usize,
    most: usize,
    /// How many are likely to come together next.
    expected: usize,
    /// Rounds in which not to wait for more, since waiting did not pay.
    impatient: u32,
}

/// Rounds without waiting after one that waited in vain.
const IMPATIENT_ROUNDS: u32 = 16;
/// Longest wait for more.
const MAX_WAIT: Duration = Duration::from_millis(2);

/// A channel that holds `capacity` items at the most and gives up to `most` at a time.
pub(super) fn channel<T>(capacity: usize, most: usize) -> (Submit<T>, Submitted<T>) {
    let (sender, receiver) = mpsc::channel();
    let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(capacity));
    let submit = Submit {
        sender,
        room: Arc::clone(&room),
    };
    let submitted = Submitted {
        receiver,
        room,
        capacity,
        most: most.max(1),
        expected: 1,
        impatient: 0,
    };
    (submit, submitted)
}

impl<T> Submit<T> {
    /// Waits until there is room.
    pub(super) async fn send(&self, item: T) -> Result<(), EmbeddedError> {
        let room = Arc::clone(&self.room);
        let permit = room
            .acquire_owned()
            .await
            .map_err(|_| EmbeddedError::Closed)?;
        self.sender
            .send((item, permit))
            .map_err(|_| EmbeddedError::Closed)
    }
}

impl<T> Submitted<T> {
    /// Waits for an item and takes what else there is; `None` when no more will come.
    ///
    /// Callers who were just answered tend to come back at once. To find them all in one commit,
    /// rather than one half in each of two, it waits for as many as took part last time, but only a
    /// fraction of what that commit took.
    pub(super) fn next(&mut self, last_commit: Duration) -> Option<Vec<T>> {
        let (first, _) = self.receiver.recv().ok()?;
        let mut items = vec![first];
        self.take_waiting(&mut items);
        if items.len() < self.expected.min(self.most) {
            if self.impatient > 0 {
                self.impatient -= 1;
            } else {
                self.wait_for_more(&mut items, last_commit);
            }
        }
        Some(items)
    }

    /// To be called when the items are done, before their callers are told: expects those callers
    /// again, with those who came meanwhile.
    pub(super) fn done_with(&mut self, items: usize) {
        let waiting = self.capacity - self.room.available_permits().min(self.capacity);
        self.expected = items + waiting;
    }

    fn take_waiting(&self, items: &mut Vec<T>) {
        while items.len() < self.most {
            match self.receiver.try_recv() {
                Ok((item, _)) => items.push(item),
                Err(_) => return,
            }
        }
    }

    fn wait_for_more(&mut self, items: &mut Vec<T>, last_commit: Duration) {
        let until = Instant::now() + (last_commit / 4).min(MAX_WAIT);
        while items.len() < self.expected.min(self.most) {
            let left = until.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left) {
                Ok((item, _)) => items.push(item),
                Err(_) => {
                    self.impatient = IMPATIENT_ROUNDS;
                    return;
                }
            }
        }
    }
}
