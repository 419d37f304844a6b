//! An event handler that writes down what it gets and answers as a check tells it to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oscillink_domain::EventId;
use tokio::sync::{Notify, watch};

use crate::conformance::within;
use crate::{EventHandler, Received};

type Answer = dyn Fn(&Received, usize) -> bool + Send + Sync;

#[derive(Default)]
struct State {
    received: Vec<Received>,
    accepted: Vec<EventId>,
}

/// Records the events of its keys and takes those of others without a word.
pub struct Handler {
    keys: Vec<String>,
    answer: Box<Answer>,
    state: Mutex<State>,
    held: watch::Sender<Option<String>>,
    changed: Notify,
}

impl Handler {
    /// Answers with `answer`, which sees the event and how many came before it.
    pub fn of_keys(
        keys: &[&str],
        answer: impl Fn(&Received, usize) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            answer: Box::new(answer),
            state: Mutex::default(),
            held: watch::channel(None).0,
            changed: Notify::new(),
        })
    }

    /// A handler of one key.
    pub fn new(
        key: &str,
        answer: impl Fn(&Received, usize) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::of_keys(&[key], answer)
    }

    /// Takes everything.
    pub fn accepting(key: &str) -> Arc<Self> {
        Self::new(key, |_, _| true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does not answer for events of that key until [`Self::release`].
    pub fn hold(&self, key: &str) {
        self.held.send_replace(Some(key.to_owned()));
    }

    /// Answers for all.
    pub fn release(&self) {
        self.held.send_replace(None);
    }

    /// Everything that came, repeats included, in order.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// What was taken, in order, repeats of what was taken before left out.
    pub fn accepted(&self) -> Vec<EventId> {
        self.state().accepted.clone()
    }

    /// Waits until that many deliveries came.
    pub async fn wait_for_received(&self, count: usize) {
        self.wait("deliveries", count, |state| state.received.len())
            .await;
    }

    /// Waits until that many events were taken.
    pub async fn wait_for_accepted(&self, count: usize) {
        self.wait("events taken", count, |state| state.accepted.len())
            .await;
    }

    async fn wait(&self, what: &str, count: usize, number: impl Fn(&State) -> usize) {
        within(&format!("{count} {what}"), async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if number(&self.state()) >= count {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn handle(&self, received: Received) -> bool {
        if !self.keys.contains(&received.ordering_key) {
            return true;
        }
        let before = {
            let mut state = self.state();
            state.received.push(received.clone());
            state.received.len() - 1
        };
        self.changed.notify_waiters();
        let mut held = self.held.subscribe();
        // The sender lives as long as this handler.
        let _ = held
            .wait_for(|held| held.as_ref() != Some(&received.ordering_key))
            .await;
        let taken = (self.answer)(&received, before);
        if taken {
            let mut state = self.state();
            if !state.accepted.contains(&received.event.event_id) {
                state.accepted.push(received.event.event_id);
            }
        }
        self.changed.notify_waiters();
        taken
    }
}
