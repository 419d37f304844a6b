//! Events as they go out on the bus.

use serde::{Deserialize, Serialize};

use crate::id::EventId;
use crate::time::Timestamp;

/// Topics of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// A key's tier or status changed.
    EntitlementEvents,
    /// A job reached a terminal state.
    JobEvents,
    /// Work was metered.
    UsageEvents,
    /// A billing webhook arrived.
    WebhookEvents,
    /// Operations: dead letters, sweeps.
    SystemEvents,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 5] = [
        Self::EntitlementEvents,
        Self::JobEvents,
        Self::UsageEvents,
        Self::WebhookEvents,
        Self::SystemEvents,
    ];

    /// The topic's id.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntitlementEvents => "entitlement-events",
            Self::JobEvents => "job-events",
            Self::UsageEvents => "usage-events",
            Self::WebhookEvents => "webhook-events",
            Self::SystemEvents => "system-events",
        }
    }
}

/// Who wrote the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The service.
    pub source: String,
    /// Version of the event's form.
    pub version: String,
    /// W3C trace context of what the event tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// The envelope of every event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Identity; the same event delivered twice has the same id.
    pub event_id: EventId,
    /// For example `job.completed`.
    pub event_type: String,
    /// RFC 3339.
    pub timestamp: String,
    /// The event's own content.
    pub data: serde_json::Value,
    /// Who wrote it.
    pub metadata: Metadata,
}

impl Event {
    /// An event of `source` at `now`.
    #[must_use]
    pub fn new(
        event_id: EventId,
        event_type: &str,
        now: Timestamp,
        source: &str,
        data: serde_json::Value,
    ) -> Self {
        Self {
            event_id,
            event_type: event_type.to_owned(),
            timestamp: now.to_string(),
            data,
            metadata: Metadata {
                source: source.to_owned(),
                version: "1".to_owned(),
                traceparent: None,
            },
        }
    }

    /// The same as part of a trace.
    #[must_use]
    pub fn traced(mut self, traceparent: Option<&str>) -> Self {
        self.metadata.traceparent = traceparent.map(str::to_owned);
        self
    }
}
