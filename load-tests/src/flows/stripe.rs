//! An event as Stripe sends it, signed here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use http_body_util::Full;
use sha2::Sha256;

use super::{Done, refused};
use crate::record::Outcome;
use crate::world::{Arrival, StripeTarget, World};

/// Different customers that events are about.
const CUSTOMERS: u64 = 100;
const TYPES: [&str; 4] = [
    "customer.subscription.updated",
    "invoice.payment_succeeded",
    "customer.subscription.created",
    "charge.succeeded",
];

/// The header `Stripe-Signature` for a body at a time (seconds since the epoch).
#[must_use]
pub fn signature(secret: &str, seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .expect("an HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={seconds},v1={hex}")
}

pub(super) async fn run(world: &World, arrival: Arrival) -> Done {
    let Some(stripe) = &world.stripe else {
        return Done::now(Outcome::Error("no webhook service given".into()));
    };
    let body = event(world.books.borrow().run(), arrival.number);
    let mut done = Done::now(Outcome::Ok);
    for _ in 0..world.flow(arrival).copies {
        done = send(world, stripe, arrival, &body).await;
        if done.outcome != Outcome::Ok {
            break;
        }
    }
    done
}

async fn send(world: &World, stripe: &StripeTarget, arrival: Arrival, body: &str) -> Done {
    let signature = signature(&stripe.secret, seconds(), body.as_bytes());
    let request = stripe
        .client
        .request(Method::POST, &stripe.path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .header("stripe-signature", signature)
        .body(Full::new(Bytes::from(body.to_owned())))
        .expect("path and headers were checked before the run");
    let sent = Instant::now();
    match stripe.client.call(request).await {
        Ok(answer) if answer.status.is_success() => {
            world.request_took("stripe event", sent);
            Done::now(Outcome::Ok)
        }
        Ok(answer) => Done::now(refused(world, arrival, &answer)),
        Err(error) => Done::failed(&error),
    }
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// An event of a kind that has no price to be looked up, about one of a hundred customers.
fn event(run: &str, number: u64) -> String {
    let kind = TYPES[number as usize % TYPES.len()];
    let customer = number % CUSTOMERS;
    let object = if kind.starts_with("customer.subscription") {
        "subscription"
    } else {
        "invoice"
    };
    serde_json::json!({
        "id": format!("evt_{run}_{number}"),
        "object": "event",
        "type": kind,
        "created": seconds(),
        "livemode": false,
        "api_version": "2025-03-31.basil",
        "pending_webhooks": 1,
        "request": null,
        "data": {"object": {
            "id": format!("sub_load{customer}"),
            "object": object,
            "customer": format!("cus_load{customer}"),
            "subscription": format!("sub_load{customer}"),
            "status": "active",
            "metadata": {},
        }},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn events_are_signed_as_stripe_signs_them() {
        // Computed with Python's hmac over "1700000000.{}" and the secret "whsec_test".
        let header = super::signature("whsec_test", 1_700_000_000, b"{}");
        assert_eq!(header, include_str!("stripe_signature.txt").trim_end());
    }
}
