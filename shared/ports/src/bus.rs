//! The event bus, with the semantics of Pub/Sub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use oscillink_domain::Event;
use oscillink_domain::event::Topic;

use crate::error::PortError;

/// Attribute of a dead letter: the subscription that refused the event.
pub const DEAD_LETTER_SUBSCRIPTION: &str = "deadLetterSubscription";

/// An event as a subscriber gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The event.
    pub event: Event,
    /// Attributes for filtering: `eventType`, `source`.
    pub attributes: BTreeMap<String, String>,
    /// Events with the same key come in the order of their publication.
    pub ordering_key: String,
}

/// An event on its way to the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// Where it goes.
    pub topic: Topic,
    /// What it is ordered with.
    pub ordering_key: String,
    /// The event.
    pub event: Event,
}

/// Handles events of a subscription; `false` has the event delivered again.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Handles one event.
    async fn handle(&self, received: Received) -> bool;
}

/// Publishes events and delivers them to subscriptions.
///
/// - A published event reaches every subscription that existed then, at least once; repeats carry
///   the same `event_id`.
/// - Events of one ordering key are delivered in the order of publication, and the next one not
///   before the one ahead was handled.
/// - An event that a subscription refuses as often as the bus is configured to try is a dead letter:
///   it leaves that subscription, later events of its key follow, and it waits for the handler of
///   the topic's dead letters, for days if need be.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes an event; durable when it returns.
    async fn publish(
        &self,
        topic: Topic,
        ordering_key: &str,
        event: &Event,
    ) -> Result<(), PortError>;

    /// Whether an event of `topic` published now may reach anyone. A bus that cannot tell says yes.
    /// The engine writes no intent to publish what no one can hear.
    fn may_be_heard(&self, _topic: Topic) -> bool {
        true
    }

    /// Publishes events in their order and gives the outcome of each. Adapters do it in fewer steps
    /// than one each. When one fails, the later ones of its ordering key are not published: what
    /// comes of them is [`PortError::Unavailable`], and the caller tries them again in order.
    async fn publish_all(&self, publications: &[Publication]) -> Vec<Result<(), PortError>> {
        let mut held_back = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(publications.len());
        for Publication {
            topic,
            ordering_key,
            event,
        } in publications
        {
            let outcome = if held_back.contains(ordering_key) {
                Err(held_behind_another(ordering_key))
            } else {
                self.publish(*topic, ordering_key, event).await
            };
            if outcome.is_err() {
                held_back.insert(ordering_key);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Subscribes `handler` under `subscription` for as long as the process runs. With `ephemeral`
    /// the subscription is this process's own and goes with it.
    async fn subscribe(
        &self,
        topic: Topic,
        subscription: &str,
        ephemeral: bool,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError>;

    /// Subscribes `handler` to the dead letters of `topic`, those of the past included. A dead letter
    /// comes with one more attribute, [`DEAD_LETTER_SUBSCRIPTION`]; refused, it is delivered again.
    async fn subscribe_dead_letters(
        &self,
        topic: Topic,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError>;

    /// Answers whether the bus can be reached. One in this process always can.
    async fn check(&self) -> Result<(), PortError> {
        Ok(())
    }
}

/// The outcome of an event that was not published because an earlier one of its key failed.
#[must_use]
pub fn held_behind_another(ordering_key: &str) -> PortError {
    PortError::Unavailable {
        detail: format!("an earlier event of {ordering_key} was not published"),
    }
}
