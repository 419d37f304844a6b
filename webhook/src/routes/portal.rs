//! The customer's page at Stripe, and cancelling, for the holder of a key.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use oscillink_domain::billing::{Account, BillingId, Seen, Standing, SubscriptionStatus};
use oscillink_domain::{KeyId, Sha256Hex};
use oscillink_engine::{Applied, Change};
use serde_json::{Value, json};

use super::caller::caller;
use crate::api::{ApiError, CancelWhen, StripeApi};
use crate::error::Problem;
use crate::fields::JsonFields;
use crate::state::Billing;

/// `POST /billing/portal`: a link to the customer's own page, good for a short time.
pub async fn portal(
    State(billing): State<Billing>,
    headers: HeaderMap,
    JsonFields(fields): JsonFields,
) -> Result<Json<Value>, Problem> {
    fields.finish()?;
    let (account, api) = customer(&billing, &headers).await?;
    let customer = account
        .customer
        .ok_or(Problem::NotFound("this key has no customer at Stripe"))?;
    let config = billing.config();
    let return_url = config
        .public_url
        .as_deref()
        .ok_or(Problem::NotConfigured("OSCILLINK_PUBLIC_URL is not set"))?;
    let url = api.create_portal(&customer, return_url).await?;
    Ok(Json(json!({ "url": url })))
}

/// `POST /billing/cancel`: ends every subscription of the key, at the end of the period or now.
pub async fn cancel(
    State(billing): State<Billing>,
    headers: HeaderMap,
    JsonFields(mut fields): JsonFields,
) -> Result<Json<Value>, Problem> {
    let when = fields.optional("when")?.unwrap_or(CancelWhen::PeriodEnd);
    fields.finish()?;
    let (account, api) = customer(&billing, &headers).await?;
    let mut cancelled = Vec::new();
    for known in account.live() {
        let id = &known.state.id;
        let idempotency_key = Sha256Hex::of_parts([
            b"cancel".as_slice(),
            id.as_str().as_bytes(),
            format!("{when:?} {}", known.as_of).as_bytes(),
        ]);
        match api.cancel(id, when, idempotency_key.as_str()).await {
            // It has ended already: that is what was asked for.
            Ok(_) | Err(ApiError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // What Stripe says now counts; its webhook will say it again.
        if let Applied::Failed(_) = billing.refresh(id, &account.key_id).await?
            && api.subscription(id).await?.is_none()
        {
            forget(&billing, &account.key_id, id).await?;
        }
        cancelled.push(id.clone());
    }
    if cancelled.is_empty() {
        return Err(Problem::NotFound("this key has no subscription"));
    }
    let account = billing.engine().account(&account.key_id).await?;
    let subscriptions: Vec<Value> = account
        .iter()
        .flat_map(|account| account.subscriptions.values())
        .filter(|known| cancelled.contains(&known.state.id))
        .map(|known| {
            let ended = known.state.status.standing() == Standing::Ended;
            json!({
                "subscription": known.state.id,
                "ended": ended,
                "ends": known.state.current_period_end.map(|end| end.to_string()),
            })
        })
        .collect();
    Ok(Json(json!({ "subscriptions": subscriptions })))
}

/// Notes that a subscription has ended which Stripe does not know any more.
async fn forget(billing: &Billing, key_id: &KeyId, id: &BillingId) -> Result<(), Problem> {
    const TRIES: usize = 3;
    let engine = billing.engine();
    for _ in 0..TRIES {
        let at = engine.now();
        let Some(account) = engine.account(key_id).await? else {
            return Ok(());
        };
        let Some(known) = account.subscriptions.get(id.as_str()) else {
            return Ok(());
        };
        let mut state = known.state.clone();
        state.status = SubscriptionStatus::Canceled;
        let change = Change {
            event_id: None,
            key_id: key_id.clone(),
            state,
            seen: Seen::Fetched { at },
            version: account.version,
            announcement: None,
        };
        let rules = &billing.config().rules;
        match engine.apply_subscription(rules, change).await? {
            Applied::Superseded => {}
            _ => return Ok(()),
        }
    }
    let detail = "the subscription is being changed by someone else; try again";
    Err(Problem::Conflict(detail))
}

async fn customer<'a>(
    billing: &'a Billing,
    headers: &HeaderMap,
) -> Result<(Account, &'a dyn StripeApi), Problem> {
    let key = caller(billing, headers).await?;
    let key = key.ok_or(Problem::Unauthorized)?;
    let api = billing
        .api()
        .ok_or(Problem::NotConfigured("STRIPE_API_KEY is not set"))?;
    let account = billing.engine().account(&key.key_id).await?;
    let account = account.ok_or(Problem::NotFound("this key has no subscription"))?;
    Ok((account, api))
}
