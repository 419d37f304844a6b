//! An event as a message, and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use google_cloud_pubsub::model::Message;
use oscillink_domain::Event;
use oscillink_ports::{DEAD_LETTER_SUBSCRIPTION, PortError, Received};

use super::{Channel, PubSubConfig};

/// Longest ordering key, bytes; the service's limit.
const MAX_ORDERING_KEY_LEN: usize = 1_024;
/// Largest message, bytes; the service's limit less room for attributes.
const MAX_MESSAGE_BYTES: usize = 9_000_000;
/// The attribute under which the service's own dead-lettering names the subscription.
const SERVICE_DEAD_LETTER: &str = "CloudPubSubDeadLetterSourceSubscription";

pub(super) fn topic_name(config: &PubSubConfig, channel: Channel) -> String {
    format!("projects/{}/topics/{}", config.project, channel.id())
}

/// A message to publish.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    data: Bytes,
    attributes: BTreeMap<String, String>,
    pub(super) ordering_key: String,
}

impl Outgoing {
    /// The message of an event.
    pub(super) fn of(event: &Event, ordering_key: &str) -> Result<Self, PortError> {
        let attributes = BTreeMap::from([
            ("eventType".to_owned(), event.event_type.clone()),
            ("source".to_owned(), event.metadata.source.clone()),
        ]);
        let data = serde_json::to_vec(event).map_err(PortError::corrupt)?;
        if data.len() > MAX_MESSAGE_BYTES || ordering_key.len() > MAX_ORDERING_KEY_LEN {
            return Err(PortError::Refused {
                detail: format!("event {} or its ordering key is too large", event.event_id),
            });
        }
        Ok(Self {
            data: data.into(),
            attributes,
            ordering_key: ordering_key.to_owned(),
        })
    }

    /// A received message as a dead letter of `subscription`: as it came, whether or not it could be
    /// read.
    pub(super) fn dead_letter(message: &Message, subscription: &str) -> Self {
        let mut attributes: BTreeMap<String, String> = message
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        attributes.insert(DEAD_LETTER_SUBSCRIPTION.to_owned(), subscription.to_owned());
        Self {
            data: message.data.clone(),
            attributes,
            ordering_key: message.ordering_key.clone(),
        }
    }

    pub(super) fn message(&self) -> Message {
        Message::new()
            .set_data(self.data.clone())
            .set_attributes(self.attributes.clone())
            .set_ordering_key(&self.ordering_key)
    }
}

/// The event of a message that came on `channel`.
pub(super) fn read(channel: Channel, message: &Message) -> Result<Received, serde_json::Error> {
    let mut attributes: BTreeMap<String, String> = message
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // What the service set aside by itself names a subscription as it is called there.
    if let Channel::DeadLetters(topic) = channel
        && !attributes.contains_key(DEAD_LETTER_SUBSCRIPTION)
        && let Some(id) = attributes.get(SERVICE_DEAD_LETTER)
    {
        let name = id
            .strip_prefix(topic.as_str())
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(id)
            .to_owned();
        attributes.insert(DEAD_LETTER_SUBSCRIPTION.to_owned(), name);
    }
    Ok(Received {
        event: serde_json::from_slice(&message.data)?,
        attributes,
        ordering_key: message.ordering_key.clone(),
    })
}
