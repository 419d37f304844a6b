//! Stripe in, entitlements out: the billing service of Oscillink Cloud.
//!
//! Events are verified, stored as they came and acknowledged ([`router`]); then [`Billing::run`]
//! handles what is stored. What an event does to a key is decided by the engine. The service also
//! starts checkouts and hands out the keys they pay for, and reports usage to Stripe's meters. The
//! real client for Stripe's API is behind the cargo feature `stripe`.

mod api;
mod config;
mod error;
mod event;
mod fields;
mod layers;
mod process;
mod router;
mod routes;
mod run;
mod signature;
mod state;
#[cfg(feature = "stripe")]
mod stripe;
mod usage;

pub use api::{ApiError, CancelWhen, Checkout, NewCheckout, StripeApi, SubscriptionPage};
pub use config::Config;
pub use error::Problem;
pub use event::{Envelope, KEY_METADATA, Look, Notice, Unreadable, subscription};
pub use process::Outcome;
pub use router::{router, routes};
pub use signature::{SignatureError, verify};
pub use state::Billing;
#[cfg(feature = "stripe")]
pub use stripe::{NoClient, Stripe};
pub use usage::{UsageError, UsageReport};
