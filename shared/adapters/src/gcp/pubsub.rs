//! The bus on Pub/Sub: a topic each, with ordering keys, and a topic for the dead letters of each.
//!
//! A refused event is not given back but kept and tried again here: that way what follows it in its
//! key waits, and it becomes a dead letter after exactly as many tries as configured, published by
//! this adapter with the name of who refused it. The service's own counting and dead-lettering is
//! the backstop for processes that do not live to refuse.

mod dead_letter;
mod lines;
mod message;
mod publish;
mod receive;
mod setup;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::{
    BasePublisher, Publisher, Subscriber, SubscriptionAdmin, TopicAdmin,
};
use oscillink_domain::Event;
use oscillink_domain::event::Topic;
use oscillink_ports::{Bus, EventHandler, PortError, Publication};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::config::PubSubConfig;
use super::error::{GcpError, connect_error};
use super::gax::{backoff, retry_policy};
use message::Outgoing;

/// How long an event may wait for others to be sent along.
const GATHERING: Duration = Duration::from_millis(1);

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Channel {
    Events(Topic),
    DeadLetters(Topic),
}

impl Channel {
    fn all() -> impl Iterator<Item = Self> {
        Topic::ALL
            .into_iter()
            .flat_map(|topic| [Self::Events(topic), Self::DeadLetters(topic)])
    }

    /// The topic's id.
    fn id(self) -> String {
        match self {
            Self::Events(topic) => topic.as_str().to_owned(),
            Self::DeadLetters(topic) => format!("{}-dead-letter", topic.as_str()),
        }
    }
}

/// The bus of a project. Dropped, or [`shut down`](Self::shutdown), it receives no more and removes
/// its ephemeral subscriptions.
pub struct PubSubBus {
    inner: Arc<Inner>,
    receiving: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

struct Inner {
    config: PubSubConfig,
    publishers: BTreeMap<Channel, Publisher>,
    topics: TopicAdmin,
    subscriptions: SubscriptionAdmin,
    subscriber: Subscriber,
    /// Subscriptions that have their handler in this process.
    attached: Mutex<BTreeSet<String>>,
}

impl PubSubBus {
    /// Clients of the service. Nothing is sent before the first call.
    ///
    /// # Errors
    /// There are no credentials.
    pub async fn connect(config: PubSubConfig) -> Result<Self, GcpError> {
        let tries = config.tries;
        let mut publisher = BasePublisher::builder()
            .with_retry_policy(retry_policy(tries))
            .with_backoff_policy(backoff(tries));
        let mut topics = TopicAdmin::builder();
        let mut subscriptions = SubscriptionAdmin::builder();
        let mut subscriber = Subscriber::builder();
        if let Some(address) = &config.emulator {
            let nobody = || anonymous::Builder::new().build();
            publisher = publisher.with_endpoint(address).with_credentials(nobody());
            topics = topics.with_endpoint(address).with_credentials(nobody());
            subscriptions = subscriptions
                .with_endpoint(address)
                .with_credentials(nobody());
            subscriber = subscriber.with_endpoint(address).with_credentials(nobody());
        }
        let publisher = publisher.build().await.map_err(connect_error("Pub/Sub"))?;
        let publishers = Channel::all().map(|channel| {
            let name = message::topic_name(&config, channel);
            let publisher = publisher.publisher(name).set_delay_threshold(GATHERING);
            (channel, publisher.build())
        });
        let inner = Inner {
            publishers: publishers.collect(),
            topics: topics.build().await.map_err(connect_error("Pub/Sub"))?,
            subscriptions: subscriptions
                .build()
                .await
                .map_err(connect_error("Pub/Sub"))?,
            subscriber: subscriber.build().await.map_err(connect_error("Pub/Sub"))?,
            attached: Mutex::default(),
            config,
        };
        Ok(Self {
            inner: Arc::new(inner),
            receiving: Mutex::default(),
            stop: watch::channel(false).0,
        })
    }

    /// Makes topics, dead-letter topics and the subscriptions that keep dead letters, as far as they
    /// do not exist: for an emulator, which begins empty. In production `infra` does it.
    ///
    /// # Errors
    /// A call failed; what was made stays, and calling again goes on.
    pub async fn ensure_topics(&self) -> Result<(), GcpError> {
        let made = self.inner.ensure_topics().await;
        made.map_err(|source| GcpError::SetUp {
            what: "topics".to_owned(),
            source,
        })
    }

    /// Receives no more, gives back what no handler has begun, waits for the handlers under way and
    /// removes ephemeral subscriptions; `false` when that was not done within `limit`.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        let receiving = {
            let mut receiving = self
                .receiving
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *receiving)
        };
        tokio::time::timeout(limit, receiving.join_all())
            .await
            .is_ok()
    }

    async fn attach(
        &self,
        channel: Channel,
        name: &str,
        ephemeral: bool,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        let subscription = setup::Subscription::new(&self.inner.config, channel, name, ephemeral)?;
        if !self.inner.attached().insert(subscription.id.clone()) {
            return Err(PortError::AlreadyExists {
                detail: format!("a handler of subscription {name} of {}", channel.id()),
            });
        }
        if let Err(error) = self.inner.ensure_subscription(&subscription).await {
            self.inner.attached().remove(&subscription.id);
            return Err(error);
        }
        let inner = Arc::clone(&self.inner);
        let stop = self.stop.subscribe();
        let mut receiving = self
            .receiving
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        receiving.spawn(receive::run(inner, subscription, handler, stop));
        Ok(())
    }
}

impl Drop for PubSubBus {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let mut receiving = self
            .receiving
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        receiving.detach_all();
    }
}

impl Inner {
    fn attached(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Bus for PubSubBus {
    async fn publish(
        &self,
        topic: Topic,
        ordering_key: &str,
        event: &Event,
    ) -> Result<(), PortError> {
        let outgoing = Outgoing::of(event, ordering_key)?;
        self.inner.publish(Channel::Events(topic), &outgoing).await
    }

    async fn publish_all(&self, publications: &[Publication]) -> Vec<Result<(), PortError>> {
        self.inner.publish_all(publications).await
    }

    /// A durable subscription's name is the subscription's in the project, behind the topic's id; it
    /// is made if it does not exist. Processes that subscribe under one name share its events.
    async fn subscribe(
        &self,
        topic: Topic,
        subscription: &str,
        ephemeral: bool,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        self.attach(Channel::Events(topic), subscription, ephemeral, handler)
            .await
    }

    async fn subscribe_dead_letters(
        &self,
        topic: Topic,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        let name = setup::DEAD_LETTERS;
        self.attach(Channel::DeadLetters(topic), name, false, handler)
            .await
    }

    async fn check(&self) -> Result<(), PortError> {
        self.inner.check().await
    }
}
