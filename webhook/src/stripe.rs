//! Stripe's API over the network, on async-stripe's types.

use std::collections::HashMap;
use std::future::Future;

use async_trait::async_trait;
use oscillink_domain::billing::{BillingId, MeterBatch, Subscription, SubscriptionStatus};
use oscillink_domain::{Timestamp, Units};
use secrecy::ExposeSecret;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_billing::billing_meter_event::CreateBillingMeterEvent;
use stripe_billing::billing_meter_event_summary::ListIdBillingMeterEventSummary;
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_billing::subscription::{
    CancelSubscription, ListSubscription, ListSubscriptionStatus, RetrieveSubscription,
    UpdateSubscription,
};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
    RetrieveCheckoutSession,
};
use stripe_shared::CheckoutSessionMode;

use crate::api::{ApiError, CancelWhen, Checkout, NewCheckout, StripeApi, SubscriptionPage};
use crate::config::Config;
use crate::event::KEY_METADATA;

/// Tries of a call that only reads.
const READ_TRIES: u32 = 2;
/// Tries of a call with an idempotency key, when there was no answer.
const WRITE_TRIES: u32 = 2;
const PAGE: i64 = 100;

/// Stripe's API.
#[derive(Clone, Debug)]
pub struct Stripe {
    client: Client,
}

/// There is no client with these settings.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// No key.
    #[error("STRIPE_API_KEY must be set")]
    NoKey,
    /// Key or address cannot be used.
    #[error("STRIPE_API_KEY or OSCILLINK_STRIPE_API_BASE cannot be used")]
    Settings(#[source] StripeError),
}

impl Stripe {
    /// A client with the service's settings.
    ///
    /// # Errors
    /// There is no key, or the settings cannot be used.
    pub fn new(config: &Config) -> Result<Self, NoClient> {
        let key = config.api_key.as_ref().ok_or(NoClient::NoKey)?;
        let mut builder = ClientBuilder::new(key.expose_secret())
            .timeout(config.api_timeout)
            .request_strategy(RequestStrategy::Retry(READ_TRIES))
            .app_info(
                "oscillink",
                Some(env!("CARGO_PKG_VERSION").to_owned()),
                None,
            );
        if let Some(base) = &config.api_base {
            builder = builder.url(format!("{base}/"));
        }
        let client = builder.build().map_err(NoClient::Settings)?;
        Ok(Self { client })
    }

    /// Makes a call that changes something: with its key, and again when there was no answer.
    async fn write<T, F>(
        &self,
        idempotency_key: &str,
        send: impl Fn(RequestStrategy) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, StripeError>>,
    {
        let key = IdempotencyKey::new(idempotency_key)
            .map_err(|error| ApiError::Answer(error.to_string()))?;
        let mut tries = 1;
        loop {
            match send(RequestStrategy::Idempotent(key.clone())).await {
                Err(StripeError::ClientError(_) | StripeError::Timeout) if tries < WRITE_TRIES => {
                    tries += 1;
                }
                answer => return answer.map_err(meaning),
            }
        }
    }
}

#[async_trait]
impl StripeApi for Stripe {
    async fn subscription(&self, id: &BillingId) -> Result<Option<Subscription>, ApiError> {
        let request = RetrieveSubscription::new(id.as_str());
        found(request.send(&self.client).await)?
            .map(|found| domain(&found))
            .transpose()
    }

    async fn subscriptions(&self, after: Option<&BillingId>) -> Result<SubscriptionPage, ApiError> {
        let mut request = ListSubscription::new()
            .status(ListSubscriptionStatus::All)
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after.as_str());
        }
        let page = request.send(&self.client).await.map_err(meaning)?;
        Ok(SubscriptionPage {
            items: page.data.iter().map(domain).collect::<Result<_, _>>()?,
            more: page.has_more,
        })
    }

    async fn subscription_of_session(
        &self,
        session: &BillingId,
    ) -> Result<Option<BillingId>, ApiError> {
        let request = RetrieveCheckoutSession::new(session.as_str());
        let session = found(request.send(&self.client).await)?;
        let subscription = session.and_then(|session| session.subscription);
        subscription.map(|it| id(it.id().as_str())).transpose()
    }

    async fn create_checkout(&self, new: &NewCheckout) -> Result<Checkout, ApiError> {
        let metadata: HashMap<String, String> =
            HashMap::from([(KEY_METADATA.to_owned(), new.key_id.as_str().to_owned())]);
        let mut item = CreateCheckoutSessionLineItems::new();
        item.price = Some(new.price.as_str().to_owned());
        item.quantity = Some(1);
        // The subscription itself names the key: messages about it need no other to be understood.
        let mut subscription = CreateCheckoutSessionSubscriptionData::new();
        subscription.metadata = Some(metadata.clone());
        let mut request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Subscription)
            .line_items(vec![item])
            .client_reference_id(new.key_id.as_str())
            .metadata(metadata)
            .subscription_data(subscription)
            .success_url(&new.success_url)
            .cancel_url(&new.cancel_url);
        if let Some(customer) = &new.customer {
            request = request.customer(customer.as_str());
        }
        let send = |strategy| {
            let request = request.customize().request_strategy(strategy);
            request.send(&self.client)
        };
        let session = self.write(&new.idempotency_key, send).await?;
        let url = session.url;
        Ok(Checkout {
            session: id(session.id.as_str())?,
            url: url.ok_or_else(|| ApiError::Answer("a session without an address".to_owned()))?,
        })
    }

    async fn create_portal(
        &self,
        customer: &BillingId,
        return_url: &str,
    ) -> Result<String, ApiError> {
        // A link is good for minutes and opens nothing twice: no key, no repeat.
        let request = CreateBillingPortalSession::new()
            .customer(customer.as_str())
            .return_url(return_url);
        let strategy = RequestStrategy::Once;
        let sent = request.customize().request_strategy(strategy);
        let session = sent.send(&self.client).await.map_err(meaning)?;
        Ok(session.url)
    }

    async fn cancel(
        &self,
        id: &BillingId,
        when: CancelWhen,
        idempotency_key: &str,
    ) -> Result<Subscription, ApiError> {
        let ended = match when {
            CancelWhen::PeriodEnd => {
                let request = UpdateSubscription::new(id.as_str()).cancel_at_period_end(true);
                let send = |strategy| {
                    let request = request.customize().request_strategy(strategy);
                    request.send(&self.client)
                };
                self.write(idempotency_key, send).await?
            }
            CancelWhen::Now => {
                let request = CancelSubscription::new(id.as_str());
                let send = |strategy| {
                    let request = request.customize().request_strategy(strategy);
                    request.send(&self.client)
                };
                self.write(idempotency_key, send).await?
            }
        };
        domain(&ended)
    }

    async fn report_usage(&self, meter_event: &str, batch: &MeterBatch) -> Result<(), ApiError> {
        let payload = HashMap::from([
            ("stripe_customer_id".to_owned(), batch.customer.to_string()),
            ("value".to_owned(), batch.units.to_string()),
        ]);
        let request = CreateBillingMeterEvent::new(meter_event, payload)
            .identifier(&batch.identifier)
            .timestamp(batch.at.as_millis().div_euclid(1_000));
        let send = |strategy| {
            let request = request.customize().request_strategy(strategy);
            request.send(&self.client)
        };
        match self.write(&batch.identifier, send).await {
            Ok(_) => Ok(()),
            // The identifier is known: an earlier try was taken, its answer lost.
            Err(ApiError::Refused { detail, .. })
                if detail.contains(&batch.identifier) && detail.contains("already exists") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn metered(
        &self,
        meter: &BillingId,
        customer: &BillingId,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Units, ApiError> {
        let seconds = |at: Timestamp| at.as_millis().div_euclid(1_000);
        let request = ListIdBillingMeterEventSummary::new(
            meter.as_str(),
            customer.as_str(),
            seconds(end),
            seconds(start),
        );
        // Without a grouping window the whole time is one summary.
        let page = request
            .limit(PAGE)
            .send(&self.client)
            .await
            .map_err(meaning)?;
        let total: f64 = page
            .data
            .iter()
            .map(|summary| summary.aggregated_value)
            .sum();
        Ok(Units::new(total.max(0.0).round() as u64))
    }
}

/// A thing that may not be there.
fn found<T>(answer: Result<T, StripeError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(StripeError::Stripe(_, 404)) => Ok(None),
        Err(error) => Err(meaning(error)),
    }
}

/// What an error of the client means for billing. Stripe's error objects can name customers: only
/// their message is kept.
fn meaning(error: StripeError) -> ApiError {
    match error {
        StripeError::Stripe(body, status) => {
            let detail = body.message.unwrap_or_else(|| "no message".to_owned());
            match status {
                409 | 424 | 429 | 500..=599 => {
                    ApiError::Unreachable(format!("status {status}: {detail}"))
                }
                _ => ApiError::Refused { status, detail },
            }
        }
        StripeError::ClientError(detail) => ApiError::Unreachable(detail),
        StripeError::Timeout => ApiError::Unreachable("no answer in time".to_owned()),
        StripeError::JSONDeserialize(detail) | StripeError::ConfigError(detail) => {
            ApiError::Answer(detail)
        }
    }
}

fn id(text: &str) -> Result<BillingId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::Answer(format!("an id that cannot be one: {text:?}")))
}

/// A subscription in billing's terms.
fn domain(found: &stripe_shared::Subscription) -> Result<Subscription, ApiError> {
    let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
    let status = serde_json::Value::from(found.status.as_str());
    let items = &found.items.data;
    let key = found.metadata.get(KEY_METADATA);
    Ok(Subscription {
        id: id(found.id.as_str())?,
        customer: id(found.customer.id().as_str())?,
        // A status that is not known is worth nothing.
        status: serde_json::from_value(status).unwrap_or(SubscriptionStatus::Unknown),
        prices: items
            .iter()
            .map(|item| id(item.price.id.as_str()))
            .collect::<Result<_, _>>()?,
        key_id: key.and_then(|key| key.parse().ok()),
        current_period_end: items.iter().map(|item| at(item.current_period_end)).max(),
        trial_end: found.trial_end.map(at),
        cancel_at_period_end: found.cancel_at_period_end,
    })
}
