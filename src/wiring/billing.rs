//! The billing service over an engine, with the client for Stripe where the program has one.

use std::sync::Arc;

use anyhow::Result;
use oscillink_engine::Engine;
use oscillink_telemetry::{Metrics, Shutdown};
use oscillink_webhook::{Billing, Config, StripeApi};
use tokio::task::JoinSet;

/// The service. Nothing runs before [`run`].
pub fn billing(engine: Engine, config: Config, metrics: Metrics) -> Result<Billing> {
    let api = client(&config)?;
    Ok(Billing::new(engine, config, api, metrics))
}

/// Handles events and does billing's regular work until shutdown.
pub fn run(billing: &Billing, tasks: &mut JoinSet<()>, signal: &Shutdown) {
    if billing.api().is_none() {
        tracing::warn!(
            "STRIPE_API_KEY is not set: billing events are taken at their word, and nothing can be \
             sold here"
        );
    }
    let (billing, signal) = (billing.clone(), signal.clone());
    tasks.spawn(async move { billing.run(async move { signal.wait().await }).await });
}

#[cfg(feature = "stripe")]
fn client(config: &Config) -> Result<Option<Arc<dyn StripeApi>>> {
    if config.api_key.is_none() {
        return Ok(None);
    }
    let client = oscillink_webhook::Stripe::new(config)
        .map_err(|error| crate::exit::Failure::usage(error.to_string()))?;
    Ok(Some(Arc::new(client)))
}

/// The settings have refused a key for Stripe's API.
#[cfg(not(feature = "stripe"))]
fn client(_: &Config) -> Result<Option<Arc<dyn StripeApi>>> {
    Ok(None)
}
