//! Takes an event in: into the tables for durable subscriptions, then in line for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use oscillink_ports::{PortError, Received, held_behind_another};

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

/// Adds events in their order, with one step of the writer. Those that no subscription wants need
/// none: a subscription that is made meanwhile is made after them.
pub(super) async fn publish_all(
    database: &Database,
    shared: &Arc<Shared>,
    publications: Vec<(Channel, Received)>,
) -> Result<Vec<Result<(), PortError>>, PortError> {
    let mut wanted = Vec::new();
    let mut outcomes = vec![Ok(()); publications.len()];
    for (place, (channel, received)) in publications.into_iter().enumerate() {
        if shared.has_subscriptions(channel) {
            let texts = Texts::of(&received).map_err(PortError::corrupt)?;
            wanted.push((place, channel, Arc::new(received), texts));
        }
    }
    if wanted.is_empty() {
        return Ok(outcomes);
    }
    let wanted = Arc::new(wanted);
    let (writing, writer_wanted, after) =
        (Arc::clone(shared), Arc::clone(&wanted), Arc::clone(&wanted));
    let accepted = database
        .write_then(
            move |batch| {
                let mut held_back = BTreeSet::new();
                let mut accepted = Vec::with_capacity(writer_wanted.len());
                for (_, channel, received, texts) in writer_wanted.iter() {
                    let key = &received.ordering_key;
                    let outcome = if held_back.contains(key.as_str()) {
                        Err(held_behind_another(key))
                    } else {
                        match accept(&writing, batch, *channel, received, texts) {
                            Ok(event) => Ok(event),
                            Err(JobError::Refused(error)) => Err(error),
                            Err(broken @ JobError::Broken(_)) => return Err(broken),
                        }
                    };
                    if outcome.is_err() {
                        held_back.insert(key.as_str());
                    }
                    accepted.push(outcome);
                }
                Ok(accepted)
            },
            move |accepted| {
                let all = accepted.iter().flatten().zip(after.iter());
                for (outcome, (_, _, received, _)) in all {
                    if let Ok(event) = outcome {
                        hand_over(event, received);
                    }
                }
            },
        )
        .await?;
    for (outcome, (place, ..)) in accepted.into_iter().zip(wanted.iter()) {
        outcomes[*place] = outcome.map(|_| ());
    }
    Ok(outcomes)
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
