//! A task target that writes down what it gets and answers as a check tells it to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oscillink_domain::Timestamp;
use tokio::sync::{Notify, watch};

use crate::conformance::within;
use crate::{Clock, Delivery, OsClock, TaskTarget, Verdict};

/// A delivery that came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What came.
    pub delivery: Delivery,
    /// When.
    pub at: Timestamp,
}

type Answer = dyn Fn(&Delivery, usize) -> Verdict + Send + Sync;

/// What deliveries do before they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Held,
    /// Those that were held answer this.
    Answered(Verdict),
}

#[derive(Default)]
struct State {
    deliveries: Vec<Recorded>,
    hanging: BTreeSet<String>,
    running: usize,
    most_at_once: usize,
}

/// Records deliveries.
pub struct Target {
    answer: Box<Answer>,
    state: Mutex<State>,
    gate: watch::Sender<Gate>,
    changed: Notify,
}

/// Counts a delivery as running until it ends or is given up.
struct Running<'a>(&'a Target);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

impl Target {
    /// Answers with `answer`, which sees the delivery and how many came before it.
    pub fn new(answer: impl Fn(&Delivery, usize) -> Verdict + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            state: Mutex::default(),
            gate: watch::channel(Gate::Open).0,
            changed: Notify::new(),
        })
    }

    /// Acknowledges everything.
    pub fn acknowledging() -> Arc<Self> {
        Self::new(|_, _| Verdict::Acknowledge)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deliveries are recorded but not answered until [`Self::release`].
    pub fn hold(&self) {
        self.gate.send_replace(Gate::Held);
    }

    /// Answers those held and those that come.
    pub fn release(&self) {
        self.gate.send_replace(Gate::Open);
    }

    /// Gives those held, and those that come, this answer.
    pub fn answer_held_with(&self, verdict: Verdict) {
        self.gate.send_replace(Gate::Answered(verdict));
    }

    /// The first delivery of that task is never answered.
    pub fn hang_first_delivery_of(&self, name: &str) {
        self.state().hanging.insert(name.to_owned());
    }

    /// Everything that came, in order.
    pub fn deliveries(&self) -> Vec<Recorded> {
        self.state().deliveries.clone()
    }

    /// What came of one task, in order.
    pub fn deliveries_of(&self, name: &str) -> Vec<Recorded> {
        let mut deliveries = self.deliveries();
        deliveries.retain(|recorded| recorded.delivery.name == name);
        deliveries
    }

    /// Most deliveries that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// Waits until that many deliveries came.
    pub async fn wait_for_deliveries(&self, count: usize) {
        within(&format!("{count} deliveries"), async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.state().deliveries.len() >= count {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }
}

#[async_trait]
impl TaskTarget for Target {
    async fn deliver(&self, delivery: Delivery) -> Verdict {
        let (before, hang) = {
            let mut state = self.state();
            state.deliveries.push(Recorded {
                delivery: delivery.clone(),
                at: OsClock.now(),
            });
            state.running += 1;
            state.most_at_once = state.most_at_once.max(state.running);
            let hang = state.hanging.remove(&delivery.name);
            (state.deliveries.len() - 1, hang)
        };
        let _running = Running(self);
        self.changed.notify_waiters();
        if hang {
            std::future::pending::<()>().await;
        }
        let mut gate = self.gate.subscribe();
        // The sender lives as long as this target.
        let opened = gate.wait_for(|gate| *gate != Gate::Held).await;
        match opened.map(|gate| *gate) {
            Ok(Gate::Answered(verdict)) => verdict,
            _ => (self.answer)(&delivery, before),
        }
    }
}
