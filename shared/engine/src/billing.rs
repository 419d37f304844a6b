//! Billing: what messages of the payment provider do to keys.
//!
//! A message is stored as it came before anything is read from it ([`events`]). What it leads to is
//! one transaction over message, account and key, with the outgoing events ([`apply`]). Pairing hands
//! out the key that was paid for ([`pairing`]). Usage goes back to the provider from the ledger
//! ([`meter`]), to customers as signed files ([`export`]), and everything is compared with what the
//! provider says ([`reconcile`]).

mod apply;
mod events;
mod export;
mod meter;
mod pairing;
mod reconcile;

use oscillink_domain::KeyId;
use oscillink_domain::billing::{BillingId, DelinquencyPolicy, PriceMap};
use oscillink_ports::{Collection, DocKey, PortError, TxError};

pub use apply::{Announcement, Applied, Change};
pub use events::{EventFilter, Recorded, Replayed};
pub use export::{ExportError, ExportReport, ExportSummary, verify_export};
pub use pairing::Claimed;
pub use reconcile::ProviderView;

/// What is sold, and what becomes of keys that are not paid for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BillingRules {
    /// Which price buys which tier.
    pub prices: PriceMap,
    /// What becomes of a key whose subscription is not paid.
    pub delinquency: DelinquencyPolicy,
}

/// A billing use case failed.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// No such message.
    #[error("no such event")]
    NoSuchEvent,
    /// An adapter failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<TxError<Self>> for BillingError {
    fn from(error: TxError<Self>) -> Self {
        match error {
            TxError::Refused(refused) => refused,
            TxError::Port(port) => Self::Port(port),
        }
    }
}

fn event_key(id: &str) -> DocKey {
    DocKey::new(Collection::WebhookEvents, id)
}

fn account_key(key_id: &KeyId) -> DocKey {
    DocKey::new(Collection::Customers, key_id.as_str())
}

fn customer_key(customer: &BillingId) -> DocKey {
    DocKey::new(Collection::Customers, customer.as_str())
}

/// Where it is noted which key a subscription is for.
fn subscription_key(subscription: &BillingId) -> DocKey {
    DocKey::new(Collection::Customers, format!("holder.{subscription}"))
}
