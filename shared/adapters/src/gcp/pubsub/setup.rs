//! Topics and subscriptions as the bus needs them, made if they do not exist.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_pubsub::model;
use google_cloud_pubsub::model::{DeadLetterPolicy, ExpirationPolicy, RetryPolicy};
use oscillink_domain::event::Topic;
use oscillink_ports::PortError;

use super::{Channel, Inner, PubSubConfig, message};
use crate::gcp::gax::{self, code, duration, port_error};

/// The subscription that every topic's dead letters wait in.
pub(super) const DEAD_LETTERS: &str = "dead-letters";
/// Longest name of a subscription in the project.
const MAX_ID_LEN: usize = 255;
/// How long the service keeps what no one took.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The same for an ephemeral subscription: the service's least.
const EPHEMERAL_RETENTION: Duration = Duration::from_secs(600);
/// After this time without a subscriber the service removes an ephemeral subscription that its
/// process did not: the service's least.
const EPHEMERAL_EXPIRES: Duration = Duration::from_secs(24 * 3_600);
/// Deliveries after which the service sets an event aside by itself: its most. Those that this
/// adapter makes within one delivery are not among them.
const SERVICE_MAX_DELIVERIES: i32 = 100;

/// A subscription of this process.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) channel: Channel,
    /// As the caller calls it.
    pub(super) label: String,
    /// Its id in the project.
    pub(super) id: String,
    /// Its full name.
    pub(super) name: String,
    pub(super) ephemeral: bool,
}

impl Subscription {
    /// # Errors
    /// The name is not 3 or more characters of `[A-Za-z0-9._-]`, or too long.
    pub(super) fn new(
        config: &PubSubConfig,
        channel: Channel,
        label: &str,
        ephemeral: bool,
    ) -> Result<Self, PortError> {
        let suffix = if ephemeral {
            let unique = RandomState::new().build_hasher().finish();
            format!(".{unique:016x}")
        } else {
            String::new()
        };
        // Names are a topic's own here and the project's there.
        let id = format!("{}.{label}{suffix}", channel.id());
        let valid = label.len() >= 3
            && id.len() <= MAX_ID_LEN
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !valid {
            let start: String = label.chars().take(80).collect();
            return Err(PortError::Refused {
                detail: format!("{start:?} is not a subscription name"),
            });
        }
        Ok(Self {
            channel,
            label: label.to_owned(),
            name: format!("projects/{}/subscriptions/{id}", config.project),
            id,
            ephemeral,
        })
    }

    fn settings(&self, config: &PubSubConfig) -> model::Subscription {
        let pauses = RetryPolicy::new()
            .set_minimum_backoff(duration(Duration::from_secs(1)))
            .set_maximum_backoff(duration(Duration::from_secs(60)));
        let settings = model::Subscription::new()
            .set_name(&self.name)
            .set_topic(message::topic_name(config, self.channel))
            .set_ack_deadline_seconds(seconds(config.ack_deadline))
            .set_enable_message_ordering(true)
            .set_retry_policy(pauses);
        if self.ephemeral {
            return settings
                .set_message_retention_duration(duration(EPHEMERAL_RETENTION))
                .set_expiration_policy(
                    ExpirationPolicy::new().set_ttl(duration(EPHEMERAL_EXPIRES)),
                );
        }
        let settings = settings
            .set_message_retention_duration(duration(RETENTION))
            // A policy without a time is: never.
            .set_expiration_policy(ExpirationPolicy::new());
        match self.channel {
            // The emulator ends the stream for good when an event with an ordering key gets there.
            Channel::Events(topic) if config.emulator.is_none() => settings.set_dead_letter_policy(
                DeadLetterPolicy::new()
                    .set_dead_letter_topic(message::topic_name(config, Channel::DeadLetters(topic)))
                    .set_max_delivery_attempts(SERVICE_MAX_DELIVERIES),
            ),
            _ => settings,
        }
    }
}

impl Inner {
    fn bounded<B: RequestOptionsBuilder>(&self, call: B) -> B {
        gax::bounded(call, self.config.tries, self.config.call_timeout)
    }

    pub(super) async fn ensure_topics(&self) -> Result<(), PortError> {
        for channel in Channel::all() {
            let name = message::topic_name(&self.config, channel);
            let call = self.topics.create_topic().set_name(name);
            made("create topic", self.bounded(call).send().await)?;
            if matches!(channel, Channel::DeadLetters(_)) {
                let keeping = Subscription::new(&self.config, channel, DEAD_LETTERS, false)?;
                self.ensure_subscription(&keeping).await?;
            }
        }
        Ok(())
    }

    /// Asks for one of the topics.
    pub(super) async fn check(&self) -> Result<(), PortError> {
        let name = message::topic_name(&self.config, Channel::Events(Topic::JobEvents));
        let call = self.bounded(self.topics.get_topic().set_topic(name));
        match call.send().await {
            Ok(_) => Ok(()),
            // An emulator that was restarted has forgotten its topics.
            Err(error)
                if self.config.emulator.is_some() && code(&error) == Some(Code::NotFound) =>
            {
                self.ensure_topics().await
            }
            Err(error) => Err(port_error("get topic", &error)),
        }
    }

    /// Makes the subscription if it does not exist.
    pub(super) async fn ensure_subscription(
        &self,
        subscription: &Subscription,
    ) -> Result<(), PortError> {
        // Looked for first: in production the process may lack the right to make one.
        let call = self.subscriptions.get_subscription();
        let call = self.bounded(call.set_subscription(&subscription.name));
        if !subscription.ephemeral && call.send().await.is_ok() {
            return Ok(());
        }
        let settings = subscription.settings(&self.config);
        let call = self.subscriptions.create_subscription();
        let call = self.bounded(call.with_request(settings));
        made("create subscription", call.send().await)
    }

    pub(super) async fn remove_subscription(&self, subscription: &Subscription) {
        let call = self.subscriptions.delete_subscription();
        let call = self.bounded(call.set_subscription(&subscription.name));
        if let Err(error) = call.send().await {
            tracing::warn!(%error, subscription = subscription.id, "left to expire");
        }
    }
}

/// Whole seconds, within what the service allows.
fn seconds(deadline: Duration) -> i32 {
    i32::try_from(deadline.as_secs()).map_or(600, |seconds| seconds.clamp(10, 600))
}

fn made<T>(what: &str, answer: Result<T, Error>) -> Result<(), PortError> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == Some(Code::AlreadyExists) => Ok(()),
        Err(error) => Err(port_error(what, &error)),
    }
}
