//! Takes an event in: into the tables for durable subscriptions, then in line for all of them.

use std::sync::Arc;

use oscillink_ports::{PortError, Received};

use super::pending::Entry;
use super::subscriptions::{Channel, Shared, Subscription};
use super::tables::{self, Texts};
use crate::embedded::database::{Batch, Database, JobError};

/// An event under its number, and who gets it.
pub(super) struct Accepted {
    seq: i64,
    subscriptions: Vec<Arc<Subscription>>,
}

/// Adds an event for every subscription of the channel.
pub(super) async fn publish(
    database: &Database,
    shared: &Arc<Shared>,
    channel: Channel,
    received: Received,
) -> Result<(), PortError> {
    let texts = Texts::of(&received).map_err(PortError::corrupt)?;
    let received = Arc::new(received);
    let (writing, after) = (Arc::clone(shared), Arc::clone(&received));
    database
        .write_then(
            move |batch| accept(&writing, batch, channel, &received, &texts),
            move |accepted| {
                if let Ok(accepted) = accepted {
                    hand_over(accepted, &after);
                }
            },
        )
        .await
        .map(|_| ())
}

/// Writes the event for the subscriptions that there are.
pub(super) fn accept(
    shared: &Shared,
    batch: &mut Batch<'_>,
    channel: Channel,
    received: &Received,
    texts: &Texts,
) -> Result<Accepted, JobError> {
    let subscriptions = shared.subscriptions(channel);
    for subscription in &subscriptions {
        if subscription.pending().backlog() >= shared.config.max_backlog {
            return Err(JobError::Refused(PortError::Exhausted {
                detail: format!(
                    "subscription {} of {} has {} events waiting",
                    subscription.name,
                    channel.name(),
                    shared.config.max_backlog
                ),
            }));
        }
    }
    let seq = {
        let mut channels = shared.channels();
        let seq = channels.next_seq;
        channels.next_seq += 1;
        seq
    };
    let ids: Vec<i64> = subscriptions.iter().filter_map(|s| s.id).collect();
    if !ids.is_empty() {
        let now = shared.clock.now();
        tables::insert(
            batch.connection,
            seq,
            now,
            &received.ordering_key,
            texts,
            &ids,
        )?;
    }
    Ok(Accepted { seq, subscriptions })
}

/// Puts an accepted event in line.
pub(super) fn hand_over(accepted: &Accepted, received: &Arc<Received>) {
    for subscription in &accepted.subscriptions {
        let entry = Entry {
            // Not in the table for an ephemeral subscription.
            seq: subscription.id.map_or(-accepted.seq, |_| accepted.seq),
            deliveries: 0,
            received: Some(Arc::clone(received)),
        };
        let key = received.ordering_key.clone();
        subscription.pending().push(key, entry);
        subscription.changed.notify_one();
    }
}
