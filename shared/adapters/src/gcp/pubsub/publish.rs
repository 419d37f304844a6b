//! Publishing: one event, or many at once with the order of each key kept.

use std::collections::BTreeSet;

use google_cloud_pubsub::error::PublishError;
use google_cloud_pubsub::publisher::PublishFuture;
use oscillink_ports::{PortError, Publication, held_behind_another};
use tokio::time::Instant;

use super::message::Outgoing;
use super::{Channel, Inner};
use crate::gcp::gax::port_error;

impl Inner {
    pub(super) async fn publish(
        &self,
        channel: Channel,
        outgoing: &Outgoing,
    ) -> Result<(), PortError> {
        match self.publish_once(channel, outgoing).await {
            // An emulator that was restarted has forgotten its topics.
            Err(PortError::NotFound { .. }) if self.config.emulator.is_some() => {
                self.ensure_topics().await?;
                self.publish_once(channel, outgoing).await
            }
            other => other,
        }
    }

    async fn publish_once(&self, channel: Channel, outgoing: &Outgoing) -> Result<(), PortError> {
        let sent = self.send(channel, outgoing);
        let outcome = self.answer(sent, self.deadline()).await;
        if outcome.is_err() {
            self.resume(channel, &outgoing.ordering_key);
        }
        outcome
    }

    /// Publishes all of them without waiting for one before sending the next. The client library
    /// sends the events of a key one batch after the other and none behind one that failed.
    pub(super) async fn publish_all(
        &self,
        publications: &[Publication],
    ) -> Vec<Result<(), PortError>> {
        let outcomes = self.publish_all_once(publications).await;
        let forgotten = |outcome: &Result<(), PortError>| {
            self.config.emulator.is_some() && matches!(outcome, Err(PortError::NotFound { .. }))
        };
        if !outcomes.iter().any(forgotten) {
            return outcomes;
        }
        // An emulator that was restarted has forgotten its topics. What was published meanwhile is
        // published again, which the order needs and subscribers expect.
        if let Err(error) = self.ensure_topics().await {
            return vec![Err(error); publications.len()];
        }
        self.publish_all_once(publications).await
    }

    async fn publish_all_once(&self, publications: &[Publication]) -> Vec<Result<(), PortError>> {
        let mut failed = BTreeSet::new();
        let mut sent = Vec::with_capacity(publications.len());
        for publication in publications {
            let key = publication.ordering_key.as_str();
            let outgoing = if failed.contains(key) {
                Err(held_behind_another(key))
            } else {
                Outgoing::of(&publication.event, key)
            };
            if outgoing.is_err() {
                failed.insert(key);
            }
            let channel = Channel::Events(publication.topic);
            sent.push(outgoing.map(|outgoing| self.send(channel, &outgoing)));
        }
        let deadline = self.deadline();
        let mut failed = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(sent.len());
        for (sent, publication) in sent.into_iter().zip(publications) {
            let key = publication.ordering_key.as_str();
            let outcome = match sent {
                Ok(sent) => self.answer(sent, deadline).await,
                Err(error) => Err(error),
            };
            // Also one that was published, on another topic or after the time was up: the caller
            // tries its key again in order.
            let outcome = if failed.contains(key) {
                Err(held_behind_another(key))
            } else {
                outcome
            };
            if outcome.is_err() {
                failed.insert(key);
            }
            outcomes.push(outcome);
        }
        // Not before every answer is there: what stands behind a failed one must not be sent.
        for (publication, _) in publications
            .iter()
            .zip(&outcomes)
            .filter(|(_, o)| o.is_err())
        {
            self.resume(
                Channel::Events(publication.topic),
                &publication.ordering_key,
            );
        }
        outcomes
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config.tries.max_total + self.config.call_timeout
    }

    /// Hands an event to the client library, which begins to send it.
    fn send(&self, channel: Channel, outgoing: &Outgoing) -> PublishFuture {
        // Invariant: there is a publisher for every channel.
        self.publishers[&channel].publish(outgoing.message())
    }

    async fn answer(&self, answer: PublishFuture, deadline: Instant) -> Result<(), PortError> {
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(PublishError::Rpc(error))) => Err(port_error("publish", &error)),
            Ok(Err(error)) => Err(PortError::unavailable(error)),
            Err(_) => Err(PortError::Unavailable {
                detail: "publish: no answer in time".to_owned(),
            }),
        }
    }

    /// Lets the key go on; the caller decides what comes next in it.
    fn resume(&self, channel: Channel, ordering_key: &str) {
        self.publishers[&channel].resume_publish(ordering_key);
    }
}
