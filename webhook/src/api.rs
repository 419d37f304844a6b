//! The calls to Stripe that billing makes, in billing's own terms.

use std::str::FromStr;

use async_trait::async_trait;
use oscillink_domain::billing::{BillingId, MeterBatch, Subscription};
use oscillink_domain::{KeyId, Timestamp, Units};

/// A call to Stripe failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No answer, or none in time, or Stripe is busy. The call may or may not have taken effect; it
    /// is repeated with the same idempotency key.
    #[error("Stripe does not answer: {0}")]
    Unreachable(String),
    /// Stripe refused the call: repeating it changes nothing.
    #[error("Stripe refused the call ({status}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// Stripe's answer is not understood.
    #[error("Stripe's answer is not understood: {0}")]
    Answer(String),
}

/// A checkout to start.
#[derive(Clone, Debug)]
pub struct NewCheckout {
    /// The same checkout has the same key.
    pub idempotency_key: String,
    /// What is bought.
    pub price: BillingId,
    /// The key that is paid for; becomes the subscription's metadata.
    pub key_id: KeyId,
    /// Who pays, when that is known.
    pub customer: Option<BillingId>,
    /// Where the browser goes when it is paid. Stripe puts the session's id in its place.
    pub success_url: String,
    /// Where the browser goes when the visitor gives up.
    pub cancel_url: String,
}

/// A checkout that was started.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The session.
    pub session: BillingId,
    /// Where it is paid.
    pub url: String,
}

/// When a subscription is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelWhen {
    /// When what was paid for is used up.
    PeriodEnd,
    /// At once.
    Now,
}

impl FromStr for CancelWhen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "period_end" => Ok(Self::PeriodEnd),
            "now" => Ok(Self::Now),
            _ => Err("must be period_end or now"),
        }
    }
}

/// A page of subscriptions.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionPage {
    /// The subscriptions.
    pub items: Vec<Subscription>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// Stripe's API. Each call ends within the client's time limit.
#[async_trait]
pub trait StripeApi: Send + Sync + 'static {
    /// A subscription as it is now; `None` if this Stripe account has no such subscription.
    async fn subscription(&self, id: &BillingId) -> Result<Option<Subscription>, ApiError>;

    /// All subscriptions, ended ones included, behind `after`.
    async fn subscriptions(&self, after: Option<&BillingId>) -> Result<SubscriptionPage, ApiError>;

    /// The subscription that a checkout session led to, once it has.
    async fn subscription_of_session(
        &self,
        session: &BillingId,
    ) -> Result<Option<BillingId>, ApiError>;

    /// Starts a checkout.
    async fn create_checkout(&self, new: &NewCheckout) -> Result<Checkout, ApiError>;

    /// A link to the customer's own page at Stripe.
    async fn create_portal(
        &self,
        customer: &BillingId,
        return_url: &str,
    ) -> Result<String, ApiError>;

    /// Ends a subscription, and gives it as it is then.
    async fn cancel(
        &self,
        id: &BillingId,
        when: CancelWhen,
        idempotency_key: &str,
    ) -> Result<Subscription, ApiError>;

    /// Reports usage. A repeat with the same identifier counts once.
    async fn report_usage(&self, meter_event: &str, batch: &MeterBatch) -> Result<(), ApiError>;

    /// What a meter counted for a customer from `start` to `end`, both whole minutes.
    async fn metered(
        &self,
        meter: &BillingId,
        customer: &BillingId,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Units, ApiError>;
}
