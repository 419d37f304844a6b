//! Pairing: a command line starts a checkout, shows its address, and asks until it has the key.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Redirect;
use oscillink_domain::billing::{BillingId, Pairing, PairingCode};
use oscillink_domain::{KeyRecord, Tier};
use oscillink_engine::Claimed;
use serde_json::{Value, json};

use super::caller::caller;
use crate::api::{Checkout, NewCheckout};
use crate::error::Problem;
use crate::fields::{Fields, FormFields, JsonFields};
use crate::state::Billing;

/// How often a command line should ask, seconds.
const POLL_SECONDS: u64 = 2;
/// How long the webhook has before Stripe is asked about a checkout, ms.
const WEBHOOK_TIME_MS: i64 = 5_000;

/// What to buy.
#[derive(Debug)]
struct Start {
    tier: Tier,
    /// One of several prices for the tier.
    price: Option<BillingId>,
}

impl Start {
    fn of(mut fields: Fields) -> Result<Self, Problem> {
        let start = Self {
            tier: fields.optional("tier")?.unwrap_or(Tier::Pro),
            price: fields.optional("price")?,
        };
        fields.finish()?;
        Ok(start)
    }
}

/// `POST /billing/cli/start`: a code and the address of a checkout. With the caller's key in
/// `X-API-Key` or `Authorization: Bearer` the checkout is for that key, without for a new one.
pub async fn start(
    State(billing): State<Billing>,
    headers: HeaderMap,
    JsonFields(fields): JsonFields,
) -> Result<Json<Value>, Problem> {
    let start = Start::of(fields)?;
    let caller = caller(&billing, &headers).await?;
    let (code, pairing, checkout) = begin(&billing, &start, caller, true).await?;
    Ok(Json(json!({
        "code": code.reveal(),
        "checkout_url": checkout.url,
        "tier": pairing.tier,
        "poll": "/billing/cli/poll",
        "poll_interval_seconds": POLL_SECONDS,
        "expires": pairing.expires_at.to_string(),
    })))
}

/// `POST /billing/checkout`: a form for browsers; goes to the checkout at once.
pub async fn checkout(
    State(billing): State<Billing>,
    FormFields(fields): FormFields,
) -> Result<Redirect, Problem> {
    let start = Start::of(fields)?;
    let (_, _, checkout) = begin(&billing, &start, None, false).await?;
    Ok(Redirect::to(&checkout.url))
}

/// `POST /billing/cli/poll`: `pending` until it is paid, then the key, once.
pub async fn poll(
    State(billing): State<Billing>,
    JsonFields(mut fields): JsonFields,
) -> Result<Json<Value>, Problem> {
    // In the body, so that it is in nobody's log of addresses.
    let code = fields.required("code")?;
    fields.finish()?;
    let unknown = || Problem::Unknown {
        field: "code",
        detail: "no such code, or it has expired",
    };
    let code = PairingCode::parse(&code).ok_or_else(unknown)?;
    let pairing = billing.engine().pairing(&code).await?;
    let pairing = pairing.ok_or_else(unknown)?;
    Ok(Json(match claim(&billing, &pairing).await? {
        Claimed::Waiting => json!({
            "status": "pending",
            "poll_interval_seconds": POLL_SECONDS,
        }),
        Claimed::Key(issued) => {
            let mut answer = described("ready", &issued.record);
            answer["api_key"] = json!(issued.secret.reveal());
            answer
        }
        Claimed::Upgraded(record) => described("upgraded", &record),
        Claimed::AlreadyShown => json!({ "status": "claimed" }),
        Claimed::Unknown => return Err(unknown()),
    }))
}

/// The key of a pairing, if it is paid. When the webhook is late, Stripe is asked.
pub async fn claim(billing: &Billing, pairing: &Pairing) -> Result<Claimed, Problem> {
    let engine = billing.engine();
    let claimed = engine.claim_pairing(pairing).await?;
    let age_ms = engine.now().millis_since(pairing.created_at);
    if !matches!(claimed, Claimed::Waiting) || age_ms < WEBHOOK_TIME_MS {
        return Ok(claimed);
    }
    let (Some(api), Some(session)) = (billing.api(), &pairing.session) else {
        return Ok(claimed);
    };
    if !billing.may_look_up() {
        return Ok(claimed);
    }
    match api.subscription_of_session(session).await {
        Ok(Some(subscription)) => {
            billing.refresh(&subscription, &pairing.key_id).await?;
            Ok(engine.claim_pairing(pairing).await?)
        }
        Ok(None) => Ok(claimed),
        Err(error) => {
            tracing::debug!(%error, "a checkout could not be looked up; its webhook will tell");
            Ok(claimed)
        }
    }
}

async fn begin(
    billing: &Billing,
    start: &Start,
    caller: Option<KeyRecord>,
    for_cli: bool,
) -> Result<(PairingCode, Pairing, Checkout), Problem> {
    let config = billing.config();
    let api = billing.api().ok_or(Problem::NotConfigured(
        "STRIPE_API_KEY is not set: nothing can be bought here",
    ))?;
    let public_url = config
        .public_url
        .as_deref()
        .ok_or(Problem::NotConfigured("OSCILLINK_PUBLIC_URL is not set"))?;
    let prices = &config.rules.prices;
    let price = match &start.price {
        Some(price) => Some(price).filter(|p| prices.tier(p) == Some(start.tier)),
        None => prices.price_of(start.tier),
    };
    let price = price.ok_or_else(|| match &start.price {
        Some(_) => Problem::field("price", format!("does not buy tier {}", start.tier)),
        None => Problem::field("tier", format!("{} is not for sale", start.tier)),
    })?;
    if !billing.may_start_checkout() {
        return Err(Problem::RateLimited);
    }
    let engine = billing.engine();
    let customer = match &caller {
        Some(key) => {
            let account = engine.account(&key.key_id).await?;
            if account.as_ref().is_some_and(|account| account.pays()) {
                let detail = "this key has a subscription; change it on the customer page";
                return Err(Problem::Conflict(detail));
            }
            account.and_then(|account| account.customer)
        }
        None => None,
    };
    let key_id = caller.map(|key| key.key_id);
    let (code, mut pairing) = engine.new_pairing(key_id, for_cli, start.tier);
    let new = NewCheckout {
        idempotency_key: pairing.id.clone(),
        price: price.clone(),
        key_id: pairing.key_id.clone(),
        customer,
        success_url: format!("{public_url}/billing/success?session_id={{CHECKOUT_SESSION_ID}}"),
        cancel_url: format!("{public_url}/billing/given-up"),
    };
    let checkout = api.create_checkout(&new).await?;
    pairing.session = Some(checkout.session.clone());
    engine
        .save_pairing(pairing.clone(), checkout.session.as_str())
        .await?;
    Ok((code, pairing, checkout))
}

fn described(status: &str, record: &KeyRecord) -> Value {
    json!({
        "status": status,
        "key_id": record.key_id,
        "tier": record.tier,
        "key_status": record.status,
    })
}
