//! Receives the messages of one subscription until the bus ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use google_cloud_pubsub::subscriber::MessageStream;
use oscillink_ports::{EventHandler, Received};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::lines::{Delivery, Lines};
use super::message;
use super::setup::Subscription;
use super::{Channel, Inner};

/// Pause before a stream that has failed is opened again; doubles up to the other.
const MIN_REOPEN_PAUSE: Duration = Duration::from_millis(100);
const MAX_REOPEN_PAUSE: Duration = Duration::from_secs(10);
/// Messages on loan from the service: those waiting in line behind one of their key included.
const MAX_ON_LOAN: i64 = 1_000;
/// Their bytes.
const MAX_ON_LOAN_BYTES: i64 = 64 << 20;
/// Tries of a dead letter before it is given back to the service, which delivers it again.
const DEAD_LETTER_TRIES: u32 = 20;

/// What the deliveries of a subscription share.
pub(super) struct Receiver {
    pub(super) inner: Arc<Inner>,
    pub(super) subscription: Subscription,
    handler: Arc<dyn EventHandler>,
    lines: Lines,
    slots: Semaphore,
    stop: watch::Receiver<bool>,
}

/// Receives until `stop`, then removes the subscription if it is ephemeral.
pub(super) async fn run(
    inner: Arc<Inner>,
    subscription: Subscription,
    handler: Arc<dyn EventHandler>,
    stop: watch::Receiver<bool>,
) {
    let receiver = Arc::new(Receiver {
        slots: Semaphore::new(inner.config.max_concurrent.max(1)),
        lines: Lines::default(),
        inner,
        subscription,
        handler,
        stop,
    });
    let mut pause = MIN_REOPEN_PAUSE;
    while !receiver.stopped() {
        let mut stream = receiver.open();
        let received = receiver.drain(&mut stream).await;
        let rest = stream.shutdown_token();
        // Closed first: what is given back would otherwise come again on it, where nobody reads any
        // more, and be on loan until its deadline.
        drop(stream);
        receiver.lines.give_back_all();
        // Waits for the handlers under way, so that their answers still count.
        rest.shutdown().await;
        if receiver.stopped() {
            break;
        }
        pause = if received {
            MIN_REOPEN_PAUSE
        } else {
            (pause * 2).min(MAX_REOPEN_PAUSE)
        };
        receiver.rest(pause).await;
        // It may have expired, or a restarted emulator forgotten it.
        receiver.set_up_again().await;
    }
    if receiver.subscription.ephemeral {
        receiver
            .inner
            .remove_subscription(&receiver.subscription)
            .await;
    }
    receiver.inner.attached().remove(&receiver.subscription.id);
}

impl Receiver {
    pub(super) fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Sleeps, but not beyond the end.
    pub(super) async fn rest(&self, pause: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep(pause) => {}
            // An error is the end too.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn open(&self) -> MessageStream {
        let inner = &self.inner;
        let subscribe = inner.subscriber.subscribe(&self.subscription.name);
        subscribe
            .set_max_lease_extension(inner.config.ack_deadline)
            .set_max_outstanding_messages(MAX_ON_LOAN)
            .set_max_outstanding_bytes(MAX_ON_LOAN_BYTES)
            .build()
    }

    async fn set_up_again(&self) {
        let inner = &self.inner;
        if inner.config.emulator.is_some()
            && let Err(error) = inner.ensure_topics().await
        {
            tracing::warn!(%error, "topics cannot be made");
        }
        if let Err(error) = inner.ensure_subscription(&self.subscription).await {
            tracing::warn!(%error, subscription = self.subscription.id, "cannot subscribe");
        }
    }

    /// Takes messages until the stream fails or the bus ends; whether any came.
    async fn drain(self: &Arc<Self>, stream: &mut MessageStream) -> bool {
        let mut stop = self.stop.clone();
        let mut received = false;
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                _ = stop.wait_for(|stop| *stop) => return received,
            };
            match next {
                Some(Ok((message, answer))) => {
                    received = true;
                    if let Some(first) = self.lines.join(Delivery { message, answer }) {
                        let receiver = Arc::clone(self);
                        tokio::spawn(async move { receiver.handle_line(first).await });
                    }
                }
                Some(Err(error)) => {
                    let subscription = &self.subscription.id;
                    tracing::warn!(%error, subscription, "the stream ended and is opened again");
                    return received;
                }
                None => return received,
            }
        }
    }

    /// Handles a message and those of its key that came behind it.
    async fn handle_line(&self, first: Delivery) {
        let key = first.message.ordering_key.clone();
        let mut next = Some(first);
        while let Some(delivery) = next {
            if !self.handle(&delivery).await {
                // Given back; what is behind it must not overtake it.
                self.lines.give_back(&key);
            } else {
                delivery.answer.ack();
            }
            next = self.lines.next(&key);
        }
    }

    /// Tries until the event is taken or set aside; `false` gives it back.
    async fn handle(&self, delivery: &Delivery) -> bool {
        let channel = self.subscription.channel;
        let received = match message::read(channel, &delivery.message) {
            Ok(received) => received,
            Err(error) => {
                let message = &delivery.message.message_id;
                tracing::error!(%error, message, "a message is not an event");
                // A dead letter that cannot be read has nowhere further to go.
                return matches!(channel, Channel::DeadLetters(_)) || self.bury(delivery).await;
            }
        };
        let mut refusals = 0;
        while !self.stopped() {
            if self.ask(&received).await {
                return true;
            }
            refusals += 1;
            match channel {
                Channel::Events(_) if refusals >= self.inner.config.max_deliveries => {
                    return self.bury(delivery).await;
                }
                Channel::DeadLetters(_) if refusals >= DEAD_LETTER_TRIES => return false,
                _ => self.rest(self.pause_after(refusals)).await,
            }
        }
        false
    }

    async fn ask(&self, received: &Received) -> bool {
        let Ok(_slot) = self.slots.acquire().await else {
            return false;
        };
        let handling = AssertUnwindSafe(self.handler.handle(received.clone())).catch_unwind();
        let deadline = self.inner.config.handle_deadline;
        let event = received.event.event_id.as_str();
        let subscription = &self.subscription.id;
        match tokio::time::timeout(deadline, handling).await {
            Ok(Ok(handled)) => handled,
            Ok(Err(_)) => {
                tracing::error!(event, subscription, "a handler panicked");
                false
            }
            Err(_) => {
                tracing::warn!(event, subscription, "a handler took too long");
                false
            }
        }
    }

    /// Pause after that many refusals.
    pub(super) fn pause_after(&self, refusals: u32) -> Duration {
        let config = &self.inner.config;
        let doublings = refusals.saturating_sub(1).min(20);
        let full = config.min_backoff.saturating_mul(1 << doublings);
        full.min(config.max_backoff)
    }
}
