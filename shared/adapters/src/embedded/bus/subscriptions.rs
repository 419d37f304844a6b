//! Channels and their subscriptions, as the bus, its deliveries and the writer's thread share them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oscillink_domain::event::Topic;
use oscillink_ports::Clock;
use tokio::sync::Notify;

use super::pending::Pending;
use crate::embedded::config::BusConfig;

/// What the bus, its deliveries and its steps on the writer's thread share. It does not hold the
/// database: what that thread keeps of it after a commit must not be what keeps the database open.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: BusConfig,
    pub(super) channels: Mutex<Channels>,
}

/// The subscriptions of each channel: a topic, or the dead letters of one.
pub(super) struct Channels {
    pub(super) by_name: BTreeMap<Channel, Vec<Arc<Subscription>>>,
    pub(super) next_seq: i64,
    /// Something looks for events that no one took.
    pub(super) expiring: bool,
    pub(super) ended: bool,
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Events(Topic),
    DeadLetters(Topic),
}

/// One subscription.
pub(super) struct Subscription {
    pub(super) channel: Channel,
    pub(super) name: String,
    /// Its row; `None` when it is ephemeral.
    pub(super) id: Option<i64>,
    pub(super) pending: Mutex<Pending>,
    /// Something changed that the dispatcher should look at.
    pub(super) changed: Notify,
    /// A delivery has ended.
    pub(super) settled: Notify,
}

impl Channel {
    /// Every channel.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Topic::ALL
            .into_iter()
            .flat_map(|topic| [Self::Events(topic), Self::DeadLetters(topic)])
    }

    /// The name in the tables.
    pub(super) fn name(self) -> String {
        match self {
            Self::Events(topic) => topic.as_str().to_owned(),
            Self::DeadLetters(topic) => format!("{}-dead-letter", topic.as_str()),
        }
    }
}

impl Subscription {
    /// One that has nothing to handle.
    pub(super) fn new(channel: Channel, name: &str, id: Option<i64>) -> Self {
        Self {
            channel,
            name: name.to_owned(),
            id,
            pending: Mutex::default(),
            changed: Notify::new(),
            settled: Notify::new(),
        }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub(super) fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel's subscriptions at this moment.
    pub(super) fn subscriptions(&self, channel: Channel) -> Vec<Arc<Subscription>> {
        let channels = self.channels();
        channels.by_name.get(&channel).cloned().unwrap_or_default()
    }

    pub(super) fn has_subscriptions(&self, channel: Channel) -> bool {
        let channels = self.channels();
        channels
            .by_name
            .get(&channel)
            .is_some_and(|s| !s.is_empty())
    }

    pub(super) fn all_subscriptions(&self) -> Vec<Arc<Subscription>> {
        let channels = self.channels();
        channels.by_name.values().flatten().cloned().collect()
    }
}
