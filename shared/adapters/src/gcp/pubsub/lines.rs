//! Messages of one subscription by ordering key: each key is a line of its own, handled one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use google_cloud_pubsub::model::Message;
use google_cloud_pubsub::subscriber::handler::Handler;

/// A message and the means to answer it. Dropped unanswered, it is given back.
pub(super) struct Delivery {
    pub(super) message: Message,
    pub(super) answer: Handler,
}

/// The lines. A key has one while its messages are being handled.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<String, VecDeque<Delivery>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Delivery>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in its key's line; gives it back if it is the first, for the caller to handle
    /// the line from there. A message without a key is always the first.
    pub(super) fn join(&self, delivery: Delivery) -> Option<Delivery> {
        if delivery.message.ordering_key.is_empty() {
            return Some(delivery);
        }
        let mut lines = self.lock();
        match lines.get_mut(&delivery.message.ordering_key) {
            Some(line) => {
                line.push_back(delivery);
                None
            }
            None => {
                lines.insert(delivery.message.ordering_key.clone(), VecDeque::new());
                Some(delivery)
            }
        }
    }

    /// The next message of `key`; `None` ends the line.
    pub(super) fn next(&self, key: &str) -> Option<Delivery> {
        let mut lines = self.lock();
        let next = lines.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            lines.remove(key);
        }
        next
    }

    /// Gives back what waits behind a message of `key` that is given back: it comes again after it.
    pub(super) fn give_back(&self, key: &str) {
        let line = self.lock().get_mut(key).map(std::mem::take);
        drop(line);
    }

    /// Gives back everything that waits: its stream has ended.
    pub(super) fn give_back_all(&self) {
        let lines: Vec<_> = self.lock().values_mut().map(std::mem::take).collect();
        drop(lines);
    }
}
