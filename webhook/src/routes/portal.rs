//! The customer's page at Stripe, and cancelling, for the holder of a key.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use oscillink_domain::Sha256Hex;
use oscillink_domain::billing::{Account, Standing};
use serde_json::{Value, json};

use super::pairing::caller;
use crate::api::{CancelWhen, StripeApi};
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
        api.cancel(id, when, idempotency_key.as_str()).await?;
        // What Stripe says now counts; its webhook will say it again.
        billing.refresh(id, &account.key_id).await?;
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
