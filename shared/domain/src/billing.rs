//! Billing: what was paid for and what it opens, without any payment provider's library.
//!
//! A [`Subscription`] is the provider's truth about one plan of one customer. An [`Account`] is what
//! we know of all subscriptions of one key, and decides what the key is entitled to. A
//! [`WebhookEvent`] is a message as it came. Time and what was read come from the caller.

mod account;
mod drift;
mod export;
mod id;
mod meter;
mod pairing;
mod price;
mod record;
mod subscription;

#[cfg(test)]
mod account_tests;

pub use account::{Account, Known, Observed, Reach, Seen};
pub use drift::{Drift, DriftKind, DriftReport};
pub use export::{ExportFooter, ExportHeader, ExportLine, Segment, segments_of};
pub use id::{BillingId, InvalidBillingId};
pub use meter::{METER_MAX_AGE_MS, MeterBatch, MeterProgress, RESEND_WITHIN_MS};
pub use pairing::{Pairing, PairingCode, pairing_id, session_pointer_id};
pub use price::{InvalidPriceMap, PriceMap};
pub use record::{EventStatus, WebhookEvent};
pub use subscription::{
    DelinquencyPolicy, Entitlement, Standing, Subscription, SubscriptionStatus, UnknownPrice,
};
