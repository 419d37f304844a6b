//! One subscription as the provider states it, and what that state is worth.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::billing::{BillingId, PriceMap};
use crate::id::KeyId;
use crate::key::KeyStatus;
use crate::tier::Tier;
use crate::time::Timestamp;

/// The state of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// The first payment has not been made.
    Incomplete,
    /// The first payment was not made in time.
    IncompleteExpired,
    /// In its trial.
    Trialing,
    /// Paid.
    Active,
    /// A payment failed; it is being tried again.
    PastDue,
    /// Ended.
    Canceled,
    /// Payments failed for good, but the subscription goes on.
    Unpaid,
    /// Its trial ended without a way to pay.
    Paused,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a state is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Paid for, or in trial.
    Good,
    /// Nothing was paid yet.
    Waiting,
    /// A payment is owed.
    Delinquent,
    /// Over, for good.
    Ended,
}

impl SubscriptionStatus {
    /// What the state is worth. An unknown state is worth nothing.
    #[must_use]
    pub const fn standing(self) -> Standing {
        match self {
            Self::Active | Self::Trialing => Standing::Good,
            Self::Incomplete | Self::Unknown => Standing::Waiting,
            Self::PastDue | Self::Unpaid | Self::Paused => Standing::Delinquent,
            Self::Canceled | Self::IncompleteExpired => Standing::Ended,
        }
    }
}

/// What becomes of a key whose subscription is not paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DelinquencyPolicy {
    /// It is on the free tier.
    #[default]
    Free,
    /// It does not work.
    Suspend,
}

impl FromStr for DelinquencyPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "free" => Ok(Self::Free),
            "suspend" => Ok(Self::Suspend),
            _ => Err("expected free or suspend"),
        }
    }
}

/// What billing gives a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// The plan.
    pub tier: Tier,
    /// Whether the key works.
    pub status: KeyStatus,
}

/// A subscription is paid for, but by no price that has a tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "subscription {subscription} has no price that OSCILLINK_STRIPE_PRICE_MAP names (it has: {prices})"
)]
pub struct UnknownPrice {
    /// The subscription.
    pub subscription: BillingId,
    /// Its prices.
    pub prices: String,
}

/// A subscription as the provider states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: BillingId,
    /// Who pays.
    pub customer: BillingId,
    /// Its state.
    pub status: SubscriptionStatus,
    /// What is bought.
    pub prices: Vec<BillingId>,
    /// The key that it is for, when its metadata says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// Until when it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_period_end: Option<Timestamp>,
    /// When its trial ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_end: Option<Timestamp>,
    /// It ends with the period.
    #[serde(default)]
    pub cancel_at_period_end: bool,
}

impl Subscription {
    /// The tier that the subscription pays for now, free when it pays for none. The best price
    /// counts: a plan may have others beside it, for metered usage.
    ///
    /// # Errors
    /// It is paid for and none of its prices has a tier.
    pub fn paid_tier(&self, prices: &PriceMap) -> Result<Tier, UnknownPrice> {
        if self.status.standing() != Standing::Good {
            return Ok(Tier::Free);
        }
        let best = self.prices.iter().filter_map(|p| prices.tier(p)).max();
        best.ok_or_else(|| UnknownPrice {
            subscription: self.id.clone(),
            prices: self
                .prices
                .iter()
                .map(BillingId::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}
