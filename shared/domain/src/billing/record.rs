//! A message of the payment provider as it came, and what became of it.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventStatus {
    /// Stored; not handled yet, or to be tried again.
    Received,
    /// Its effects are in place.
    Processed,
    /// Nothing to do.
    Ignored,
    /// Cannot be handled as things are; an operator mends the cause and replays it.
    Failed,
}

impl EventStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Received, Self::Processed, Self::Ignored, Self::Failed];

    /// The name in storage and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        }
    }
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEvent {
    /// The provider's id of the message, or one made of its content when it has none.
    pub id: String,
    /// What became of it.
    pub status: EventStatus,
    /// When it came.
    pub received_at: Timestamp,
    /// Not tried before this time.
    pub due_at: Timestamp,
    /// What it says it is about, for lists.
    pub event_type: String,
    /// Tries that did not succeed.
    #[serde(default)]
    pub attempts: u32,
    /// Why it is not processed, or what to know about how it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it got its present status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// The message, byte for byte.
    pub raw: String,
}

impl WebhookEvent {
    /// A message that came now.
    #[must_use]
    pub fn received(id: String, event_type: String, raw: String, now: Timestamp) -> Self {
        Self {
            id,
            status: EventStatus::Received,
            received_at: now,
            due_at: now,
            event_type,
            attempts: 0,
            error: None,
            settled_at: None,
            raw,
        }
    }

    /// Whether something is still to be done about it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == EventStatus::Received
    }

    /// Closes it.
    pub fn settle(&mut self, status: EventStatus, error: Option<String>, now: Timestamp) {
        self.status = status;
        self.error = error;
        self.settled_at = Some(now);
    }

    /// Puts it off after a try that did not succeed: 1 s, 2 s, 4 s, … up to five minutes.
    pub fn put_off(&mut self, error: String, now: Timestamp) {
        let pause_ms = 1_000_i64 << self.attempts.min(9);
        self.attempts = self.attempts.saturating_add(1);
        self.due_at = now.plus_millis(pause_ms.min(300_000));
        self.error = Some(error);
    }
}
