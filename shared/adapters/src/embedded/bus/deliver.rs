//! Delivers events to the handler of one subscription and writes down what came of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use oscillink_ports::{DEAD_LETTER_SUBSCRIPTION, EventHandler, PortError, Received};
use tokio::time::Instant;

use super::pending::{Entry, Next};
use super::publish::{accept, hand_over};
use super::subscriptions::{Channel, Shared, Subscription};
use super::tables::{self, Texts};
use crate::embedded::config::BusConfig;
use crate::embedded::database::Database;

/// Delivers to `handler` until the bus ends.
pub(super) async fn run(
    database: Arc<Database>,
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    handler: Arc<dyn EventHandler>,
) {
    loop {
        let most = shared.config.max_concurrent.max(1);
        let next = subscription.pending().next(Instant::now(), most);
        match next {
            Next::Start(key, entry) => {
                let delivery = Delivery {
                    database: Arc::clone(&database),
                    shared: Arc::clone(&shared),
                    subscription: Arc::clone(&subscription),
                    key,
                    entry,
                };
                tokio::spawn(delivery.run(Arc::clone(&handler)));
            }
            Next::Sleep(time) => {
                // Either way it looks again.
                let _ = tokio::time::timeout(time, subscription.changed.notified()).await;
            }
            Next::Wait => subscription.changed.notified().await,
            Next::End => return,
        }
    }
}

/// Waits until no delivery is under way.
pub(super) async fn idle(subscription: Arc<Subscription>) {
    loop {
        let settled = subscription.settled.notified();
        tokio::pin!(settled);
        settled.as_mut().enable();
        if subscription.pending().idle() {
            return;
        }
        settled.await;
    }
}

/// One delivery under way.
struct Delivery {
    database: Arc<Database>,
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    key: String,
    entry: Entry,
}

impl Delivery {
    async fn run(self, handler: Arc<dyn EventHandler>) {
        let seq = self.entry.seq;
        let received = match &self.entry.received {
            Some(received) => Ok(Some(Arc::clone(received))),
            None => {
                self.database
                    .read(move |connection| tables::event(connection, seq))
                    .await
            }
        };
        match received {
            Ok(Some(received)) => {
                if self.ask(handler.as_ref(), &received).await {
                    self.handled().await;
                } else {
                    self.refused(&received).await;
                }
            }
            // Expired while it waited.
            Ok(None) => self.subscription.pending().done(&self.key),
            Err(error) => {
                tracing::error!(%error, "could not read an event");
                self.rest(self.entry.deliveries);
            }
        }
        self.subscription.changed.notify_one();
        self.subscription.settled.notify_waiters();
    }

    async fn ask(&self, handler: &dyn EventHandler, received: &Received) -> bool {
        let handling = AssertUnwindSafe(handler.handle(received.clone())).catch_unwind();
        let deadline_ms = self.shared.config.handle_deadline_ms.max(0).unsigned_abs();
        let answer = tokio::time::timeout(Duration::from_millis(deadline_ms), handling).await;
        let event = received.event.event_id.as_str();
        match answer {
            Ok(Ok(handled)) => handled,
            Ok(Err(_)) => {
                tracing::error!(
                    event,
                    subscription = self.subscription.name,
                    "a handler panicked"
                );
                false
            }
            Err(_) => {
                tracing::warn!(
                    event,
                    subscription = self.subscription.name,
                    "a handler took too long"
                );
                false
            }
        }
    }

    /// The handler took it. The next of its key need not wait until that is written: it is written in
    /// order, so after a crash the line begins again with an event that was not passed over. If it
    /// cannot be written, the event is delivered again after a restart.
    async fn handled(&self) {
        if let Some(id) = self.subscription.id {
            let seq = self.entry.seq;
            self.subscription.pending().writing();
            let after = Arc::clone(&self.subscription);
            let submitted = self
                .database
                .submit(
                    move |batch| Ok(tables::handled(batch.connection, seq, id)?),
                    move |written| {
                        if let Err(error) = written {
                            tracing::error!(%error, "could not remove a handled event");
                        }
                        after.pending().written();
                        after.settled.notify_waiters();
                    },
                )
                .await;
            if submitted.is_err() {
                self.subscription.pending().written();
            }
        }
        self.subscription.pending().done(&self.key);
    }

    async fn refused(&self, received: &Arc<Received>) {
        let deliveries = self.entry.deliveries.saturating_add(1);
        if let Channel::Events(topic) = self.subscription.channel
            && deliveries >= self.shared.config.max_deliveries
        {
            match self.bury(Channel::DeadLetters(topic), received).await {
                Ok(()) => self.subscription.pending().done(&self.key),
                Err(error) => {
                    tracing::error!(%error, "could not set a dead letter aside");
                    self.rest(deliveries);
                }
            }
            return;
        }
        if let Some(id) = self.subscription.id {
            let seq = self.entry.seq;
            let written = self
                .database
                .write(move |batch| Ok(tables::refused(batch.connection, seq, id, deliveries)?))
                .await;
            if let Err(error) = written {
                tracing::error!(%error, "could not note a refused event");
            }
        }
        self.rest(deliveries);
    }

    /// Moves the event to the dead letters, in one transaction.
    async fn bury(&self, channel: Channel, received: &Received) -> Result<(), PortError> {
        let mut letter = received.clone();
        letter.attributes.insert(
            DEAD_LETTER_SUBSCRIPTION.to_owned(),
            self.subscription.name.clone(),
        );
        tracing::warn!(
            event = letter.event.event_id.as_str(),
            subscription = self.subscription.name,
            "an event was refused too often and is now a dead letter"
        );
        let texts = Texts::of(&letter).map_err(PortError::corrupt)?;
        let letter = Arc::new(letter);
        let (shared, after) = (Arc::clone(&self.shared), Arc::clone(&letter));
        let (seq, id) = (self.entry.seq, self.subscription.id);
        self.database
            .write_then(
                move |batch| {
                    let accepted = accept(&shared, batch, channel, &letter, &texts)?;
                    if let Some(id) = id {
                        tables::handled(batch.connection, seq, id)?;
                    }
                    Ok(accepted)
                },
                move |accepted| {
                    if let Ok(accepted) = accepted {
                        hand_over(accepted, &after);
                    }
                },
            )
            .await
            .map(|_| ())
    }

    fn rest(&self, deliveries: u32) {
        let pause = pause(&self.shared.config, deliveries);
        let mut pending = self.subscription.pending();
        pending.rest(&self.key, deliveries, pause);
    }
}

/// Pause after that many refusals.
fn pause(config: &BusConfig, deliveries: u32) -> Duration {
    let doublings = deliveries.saturating_sub(1).min(30);
    let ms = config
        .min_backoff_ms
        .max(1)
        .saturating_mul(1 << doublings)
        .min(config.max_backoff_ms.max(1));
    Duration::from_millis(ms.unsigned_abs())
}
