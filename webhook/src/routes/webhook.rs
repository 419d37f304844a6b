//! `POST /stripe/webhook`: the signature is checked over the raw bytes, the event stored as it came,
//! and only then acknowledged. What it means is found out later.

use std::borrow::Cow;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oscillink_engine::Recorded;
use serde_json::{Value, json};

use crate::error::Problem;
use crate::event::Envelope;
use crate::fields::body;
use crate::signature::verify;
use crate::state::Billing;

/// 200: stored, whatever it says. 400: not Stripe's, or of the other mode. 503: not stored, and
/// Stripe sends it again.
pub async fn receive(
    State(billing): State<Billing>,
    request: Request<Body>,
) -> Result<Json<Value>, Problem> {
    let config = billing.config();
    let header = request.headers().get("stripe-signature").cloned();
    let header = header.as_ref().and_then(|value| value.to_str().ok());
    let body = body(request, &billing, config.max_body_bytes).await?;
    let now = billing.engine().now();
    let secrets = &config.webhook_secrets;
    if let Err(error) = verify(header, &body, secrets, now, config.tolerance_ms) {
        billing.count("bad_signature");
        return Err(error.into());
    }
    let raw = text_of(&body);
    let envelope = Envelope::of(&raw);
    if envelope
        .livemode
        .is_some_and(|mode| mode != config.livemode)
    {
        billing.count("wrong_mode");
        let wants = if config.livemode { "live" } else { "test" };
        let detail = format!("this endpoint takes events of {wants} mode only");
        return Err(Problem::field("livemode", detail));
    }
    let recorded = billing
        .engine()
        .record_webhook_event(&envelope.id, &envelope.event_type, &raw)
        .await
        .inspect_err(|_| billing.count("store_failed"))?;
    let known = matches!(recorded, Recorded::Known(_));
    billing.count(if known { "duplicate" } else { "received" });
    billing.arrived().notify_one();
    Ok(Json(
        json!({ "received": true, "id": envelope.id, "duplicate": known }),
    ))
}

/// A body as the text that is kept of it. One that is none is kept in base64, whole; it will be
/// found unreadable as every other that is not JSON.
fn text_of(body: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(body) {
        Ok(text) => text.into(),
        Err(_) => format!("not UTF-8, in base64: {}", BASE64_STANDARD.encode(body)).into(),
    }
}
