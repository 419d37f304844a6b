//! The bus in the same SQLite file as the documents, delivering to handlers in this process.

mod deliver;
mod expire;
mod pending;
mod publish;
mod subscriptions;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use oscillink_domain::Event;
use oscillink_domain::event::Topic;
use oscillink_ports::{Bus, Clock, EventHandler, PortError, Publication, Received};
use tokio::task::JoinSet;

pub(crate) use tables::CREATE_TABLES;

use super::config::BusConfig;
use super::database::Database;
use super::error::EmbeddedError;
use pending::Entry;
use subscriptions::{Channel, Channels, Shared, Subscription};

/// The subscription that every topic's dead letters wait in.
const DEAD_LETTERS: &str = "dead-letters";

/// The bus of a data folder.
///
/// Events for named subscriptions are durable; after a restart those that were not handled are
/// delivered again, once their subscription has its handler. Events for ephemeral subscriptions are
/// kept in memory. An event that no subscription wants is not kept.
pub struct LocalBus {
    database: Arc<Database>,
    shared: Arc<Shared>,
}

impl LocalBus {
    pub(crate) fn open(
        database: Arc<Database>,
        config: BusConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EmbeddedError> {
        let found = database.read_now(tables::load)?;
        let mut by_id = BTreeMap::new();
        let mut by_name: BTreeMap<Channel, Vec<Arc<Subscription>>> = BTreeMap::new();
        for (id, topic, name) in found.subscriptions {
            let Some(channel) = Channel::all().find(|channel| channel.name() == topic) else {
                tracing::warn!(
                    topic,
                    name,
                    "a subscription of an unknown topic is left alone"
                );
                continue;
            };
            let subscription = Arc::new(Subscription::new(channel, &name, Some(id)));
            by_id.insert(id, Arc::clone(&subscription));
            by_name.entry(channel).or_default().push(subscription);
        }
        for waiting in found.waiting {
            if let Some(subscription) = by_id.get(&waiting.subscription) {
                let entry = Entry::stored(waiting.seq, waiting.deliveries);
                subscription.pending().push(waiting.ordering_key, entry);
            }
        }
        let channels = Channels {
            by_name,
            next_seq: found.newest + 1,
            expiring: false,
            ended: false,
        };
        Ok(Self {
            database,
            shared: Arc::new(Shared {
                clock,
                config,
                channels: Mutex::new(channels),
            }),
        })
    }

    /// Starts no further deliveries and waits for those under way, up to `limit`; `false` when some
    /// were still running then.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.end();
        let mut waits = JoinSet::new();
        for subscription in self.shared.all_subscriptions() {
            waits.spawn(deliver::idle(subscription));
        }
        tokio::time::timeout(limit, waits.join_all()).await.is_ok()
    }

    fn end(&self) {
        self.shared.channels().ended = true;
        for subscription in self.shared.all_subscriptions() {
            subscription.pending().end();
            subscription.changed.notify_one();
        }
    }

    async fn attach(
        &self,
        channel: Channel,
        name: &str,
        ephemeral: bool,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        let taken = || PortError::AlreadyExists {
            detail: format!("subscription {name} of {}", channel.name()),
        };
        let known = self.shared.subscriptions(channel);
        if known
            .iter()
            .any(|other| other.name == name && (ephemeral || other.id.is_none()))
        {
            return Err(taken());
        }
        let subscription = if ephemeral {
            Arc::new(Subscription::new(channel, name, None))
        } else {
            self.durable(channel, name).await?
        };
        if !subscription.pending().begin() {
            return Err(taken());
        }
        let expire = {
            let mut channels = self.shared.channels();
            if channels.ended {
                return Err(EmbeddedError::Closed.into());
            }
            if ephemeral {
                let known = channels.by_name.entry(channel).or_default();
                // Another call may have been quicker.
                if known.iter().any(|other| other.name == name) {
                    return Err(taken());
                }
                known.push(Arc::clone(&subscription));
            }
            !std::mem::replace(&mut channels.expiring, true)
        };
        if expire {
            let database = Arc::downgrade(&self.database);
            tokio::spawn(expire::run(database, Arc::clone(&self.shared)));
        }
        let (database, shared) = (Arc::clone(&self.database), Arc::clone(&self.shared));
        tokio::spawn(deliver::run(database, shared, subscription, handler));
        Ok(())
    }

    /// The durable subscription of that name, made if there is none.
    async fn durable(&self, channel: Channel, name: &str) -> Result<Arc<Subscription>, PortError> {
        let shared = Arc::clone(&self.shared);
        let owned = name.to_owned();
        // Made on the writer's thread, so that an event is either before the subscription or for it.
        self.database
            .write_then(
                {
                    let owned = owned.clone();
                    move |batch| {
                        Ok(tables::subscribe(
                            batch.connection,
                            &channel.name(),
                            &owned,
                        )?)
                    }
                },
                {
                    let shared = Arc::clone(&shared);
                    move |id| {
                        let Ok(id) = id else { return };
                        let mut channels = shared.channels();
                        let known = channels.by_name.entry(channel).or_default();
                        if !known.iter().any(|other| other.name == owned) {
                            let new = Subscription::new(channel, &owned, Some(*id));
                            known.push(Arc::new(new));
                        }
                    }
                },
            )
            .await?;
        shared
            .subscriptions(channel)
            .into_iter()
            .find(|subscription| subscription.name == name)
            .ok_or_else(|| EmbeddedError::Closed.into())
    }
}

impl Drop for LocalBus {
    fn drop(&mut self) {
        self.end();
    }
}

/// The event as subscribers get it.
fn received(ordering_key: &str, event: &Event) -> Received {
    let attributes = [
        ("eventType".to_owned(), event.event_type.clone()),
        ("source".to_owned(), event.metadata.source.clone()),
    ];
    Received {
        event: event.clone(),
        attributes: attributes.into(),
        ordering_key: ordering_key.to_owned(),
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(
        &self,
        topic: Topic,
        ordering_key: &str,
        event: &Event,
    ) -> Result<(), PortError> {
        let received = received(ordering_key, event);
        let channel = Channel::Events(topic);
        publish::publish(&self.database, &self.shared, channel, received).await
    }

    fn may_be_heard(&self, topic: Topic) -> bool {
        self.shared.has_subscriptions(Channel::Events(topic))
    }

    async fn publish_all(&self, publications: &[Publication]) -> Vec<Result<(), PortError>> {
        let all = publications.iter().map(|publication| {
            let received = received(&publication.ordering_key, &publication.event);
            (Channel::Events(publication.topic), received)
        });
        publish::publish_all(&self.database, &self.shared, all.collect())
            .await
            .unwrap_or_else(|error| vec![Err(error); publications.len()])
    }

    async fn subscribe(
        &self,
        topic: Topic,
        subscription: &str,
        ephemeral: bool,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        let valid = (3..=255).contains(&subscription.len())
            && subscription
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !valid {
            return Err(PortError::Refused {
                detail: format!("{subscription:?} is not a subscription name"),
            });
        }
        self.attach(Channel::Events(topic), subscription, ephemeral, handler)
            .await
    }

    async fn subscribe_dead_letters(
        &self,
        topic: Topic,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        self.attach(Channel::DeadLetters(topic), DEAD_LETTERS, false, handler)
            .await
    }
}
