//! Sets an event aside that a subscription has refused too often.

use super::Channel;
use super::lines::Delivery;
use super::message::Outgoing;
use super::receive::Receiver;

impl Receiver {
    /// Publishes the message to its topic's dead letters, as often as it takes; `false` when the bus
    /// ends before. Only then is it answered, so that it is in one place or the other, or in both.
    pub(super) async fn bury(&self, delivery: &Delivery) -> bool {
        let Channel::Events(topic) = self.subscription.channel else {
            return false;
        };
        let subscription = &self.subscription.label;
        let message = &delivery.message.message_id;
        tracing::warn!(
            message,
            subscription,
            "an event was refused too often: a dead letter"
        );
        let letter = Outgoing::dead_letter(&delivery.message, subscription);
        let mut failures = 0;
        while !self.stopped() {
            let published = self.inner.publish(Channel::DeadLetters(topic), &letter);
            match published.await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::error!(%error, message, "a dead letter could not be set aside");
                    failures += 1;
                    self.rest(self.pause_after(failures)).await;
                }
            }
        }
        false
    }
}
