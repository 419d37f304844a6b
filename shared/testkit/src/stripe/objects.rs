//! Stripe's objects as its API gives them, every field that is always there included.

use serde_json::{Value, json};

const CREATED: i64 = 1_790_000_000;
const MONTH: i64 = 30 * 86_400;

/// A subscription to one price.
#[must_use]
pub fn subscription(
    id: &str,
    customer: &str,
    status: &str,
    price: &str,
    metadata: &Value,
) -> Value {
    let plan = json!({
        "id": price, "object": "plan", "active": true, "amount": 2900, "billing_scheme": "per_unit",
        "created": CREATED, "currency": "usd", "interval": "month", "interval_count": 1,
        "livemode": false, "metadata": {}, "product": "prod_1", "usage_type": "licensed",
    });
    let price_object = json!({
        "id": price, "object": "price", "active": true, "billing_scheme": "per_unit",
        "created": CREATED, "currency": "usd", "livemode": false, "metadata": {},
        "product": "prod_1", "type": "recurring", "unit_amount": 2900, "unit_amount_decimal": "2900",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
    });
    let item = json!({
        "id": format!("si_{id}"), "object": "subscription_item", "created": CREATED,
        "current_period_start": CREATED, "current_period_end": CREATED + MONTH, "discounts": [],
        "metadata": {}, "plan": plan, "price": price_object, "quantity": 1, "subscription": id,
        "tax_rates": [],
    });
    json!({
        "id": id, "object": "subscription", "automatic_tax": {"enabled": false},
        "billing_cycle_anchor": CREATED, "billing_mode": {"type": "flexible"},
        "billing_schedules": [], "cancel_at_period_end": false,
        "collection_method": "charge_automatically", "created": CREATED, "currency": "usd",
        "customer": customer, "default_tax_rates": [], "discounts": [],
        "invoice_settings": {"issuer": {"type": "self"}},
        "items": {"object": "list", "data": [item], "has_more": false,
            "url": format!("/v1/subscription_items?subscription={id}")},
        "livemode": false, "metadata": metadata, "start_date": CREATED, "status": status,
    })
}

/// An event in test mode, of an API version that no library knows yet, made at `created` (seconds
/// since 1970).
#[must_use]
pub fn event(id: &str, kind: &str, created: i64, object: &Value) -> String {
    json!({
        "id": id, "object": "event", "type": kind, "created": created, "livemode": false,
        "api_version": "2030-01-01.unknown", "pending_webhooks": 1, "data": {"object": object},
        "request": null, "unheard_of": {"a": [1]},
    })
    .to_string()
}

/// An open checkout session. Fields that begin with an underscore are the server's own.
pub(super) fn session(id: &str, form: &super::Form, url: &str) -> Value {
    let nested = |prefix: &str| -> Value {
        let inside = form.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?.strip_suffix(']')?;
            Some((name.to_owned(), Value::from(value.clone())))
        });
        Value::Object(inside.collect())
    };
    let field = |name: &str| form.get(name).cloned();
    json!({
        "id": id, "object": "checkout.session", "automatic_tax": {"enabled": false},
        "created": CREATED, "expires_at": CREATED + 86_400, "custom_fields": [], "custom_text": {},
        "livemode": false, "mode": "subscription", "payment_method_types": ["card"],
        "payment_status": "unpaid", "shipping_options": [], "status": "open", "url": url,
        "client_reference_id": field("client_reference_id"), "customer": field("customer"),
        "metadata": nested("metadata["), "subscription": null,
        "success_url": field("success_url"), "cancel_url": field("cancel_url"),
        "_price": field("line_items[0][price]"),
        "_subscription_metadata": nested("subscription_data[metadata]["),
    })
}

/// A session of the customer's own page.
pub(super) fn portal(id: &str, form: &super::Form) -> Value {
    json!({
        "id": id, "object": "billing_portal.session", "configuration": "bpc_1", "created": CREATED,
        "customer": form.get("customer"), "livemode": false, "return_url": form.get("return_url"),
        "url": format!("https://billing.stripe.example/session/{id}"),
    })
}
