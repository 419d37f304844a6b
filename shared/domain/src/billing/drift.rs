//! Where the provider, the keys, the ledger and the meters disagree.

use serde::{Deserialize, Serialize};

use crate::id::KeyId;
use crate::time::Timestamp;

/// What disagrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The provider has a subscription that no account knows.
    UnknownSubscription,
    /// An account has a subscription that the provider does not have.
    MissingSubscription,
    /// The state of a subscription.
    Subscription,
    /// A price without a tier.
    Price,
    /// A key has another tier or status than its subscriptions give it.
    Key,
    /// An account without a key.
    MissingKey,
    /// A message of the provider that was not handled.
    Event,
    /// Rows of the ledger that were not reported.
    UnreportedUsage,
    /// A batch of usage that was set aside.
    SetAside,
    /// The provider's meter has another total than was reported.
    Meter,
}

impl DriftKind {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSubscription => "unknown_subscription",
            Self::MissingSubscription => "missing_subscription",
            Self::Subscription => "subscription",
            Self::Price => "price",
            Self::Key => "key",
            Self::MissingKey => "missing_key",
            Self::Event => "event",
            Self::UnreportedUsage => "unreported_usage",
            Self::SetAside => "set_aside",
            Self::Meter => "meter",
        }
    }
}

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What disagrees.
    pub kind: DriftKind,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// Subscription, event, batch or month.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// When it was made.
    pub checked_at: Timestamp,
    /// Keys compared.
    pub keys: u64,
    /// Subscriptions compared.
    pub subscriptions: u64,
    /// What was found.
    pub drift: Vec<Drift>,
}

impl DriftReport {
    /// Whether everything agrees.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.drift.is_empty()
    }
}
