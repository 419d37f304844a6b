//! The real client against a server that answers like Stripe.

use std::time::Duration;

use oscillink_domain::billing::{BillingId, MeterBatch, SubscriptionStatus};
use oscillink_domain::{Timestamp, Units};
use oscillink_testkit::stripe::{FakeStripe, subscription};
use oscillink_webhook::{
    ApiError, CancelWhen, Config, NewCheckout, Notice, Stripe, StripeApi as _, verify,
};
use serde_json::json;
use stripe_webhook::{EventObject, Webhook};

use crate::harness::{START, config, event, key_id};

fn client(server: &FakeStripe) -> Stripe {
    Stripe::new(&settings(server)).unwrap()
}

fn settings(server: &FakeStripe) -> Config {
    let base = server.url();
    config(&[
        ("OSCILLINK_STRIPE_API_BASE", &base),
        ("OSCILLINK_STRIPE_TIMEOUT_MS", "400"),
    ])
}

fn id(text: &str) -> BillingId {
    text.parse().unwrap()
}

fn checkout() -> NewCheckout {
    NewCheckout {
        idempotency_key: "pairing-1".into(),
        price: id("price_pro"),
        key_id: key_id(),
        customer: None,
        success_url: "https://billing.example/s?session_id={CHECKOUT_SESSION_ID}".into(),
        cancel_url: "https://billing.example/c".into(),
    }
}

fn batch(identifier: &str, units: u64) -> MeterBatch {
    MeterBatch {
        identifier: identifier.into(),
        customer: id("cus_1"),
        from_seq: 1,
        to_seq: 2,
        units: Units::new(units),
        at: Timestamp::from_millis(START),
        reserved_at: Timestamp::from_millis(START),
        problem: None,
    }
}

#[tokio::test]
async fn a_checkout_becomes_a_subscription_that_names_its_key() {
    let server = FakeStripe::start().await.unwrap();
    let stripe = client(&server);
    let started = stripe.create_checkout(&checkout()).await.unwrap();
    let again = stripe.create_checkout(&checkout()).await.unwrap();
    assert_eq!(
        started.session, again.session,
        "the same key makes one session"
    );
    let other = NewCheckout {
        price: id("price_ent"),
        ..checkout()
    };
    let refused = stripe.create_checkout(&other).await;
    assert!(
        matches!(refused, Err(ApiError::Refused { status: 400, .. })),
        "{refused:?}"
    );
    let session = &started.session;
    assert_eq!(stripe.subscription_of_session(session).await.unwrap(), None);
    server.pay(session.as_str());
    let made = stripe
        .subscription_of_session(session)
        .await
        .unwrap()
        .unwrap();
    let found = stripe.subscription(&made).await.unwrap().unwrap();
    assert_eq!(found.status, SubscriptionStatus::Active);
    assert_eq!(
        (found.key_id, found.prices),
        (Some(key_id()), vec![id("price_pro")])
    );
    assert!(found.current_period_end.is_some());
    assert_eq!(stripe.subscription(&id("sub_none")).await.unwrap(), None);
    let portal = stripe
        .create_portal(&found.customer, "https://back.example")
        .await
        .unwrap();
    assert!(portal.starts_with("https://billing.stripe.example/"));
}

#[tokio::test]
async fn cancelling_and_metering_bring_their_idempotency_keys() {
    let server = FakeStripe::start().await.unwrap();
    let stripe = client(&server);
    server.put_subscription(subscription(
        "sub_1",
        "cus_1",
        "active",
        "price_pro",
        &json!({}),
    ));
    let later = stripe
        .cancel(&id("sub_1"), CancelWhen::PeriodEnd, "cancel-1")
        .await
        .unwrap();
    assert!(later.cancel_at_period_end && later.status == SubscriptionStatus::Active);
    let now = stripe
        .cancel(&id("sub_1"), CancelWhen::Now, "cancel-2")
        .await
        .unwrap();
    assert_eq!(now.status, SubscriptionStatus::Canceled);
    for _ in 0..2 {
        stripe
            .report_usage("units", &batch("batch-1", 40))
            .await
            .unwrap();
    }
    // The key is forgotten after a day; the identifier is not.
    server
        .state()
        .meter_events
        .insert("batch-2".into(), ("cus_1".into(), 2));
    stripe
        .report_usage("units", &batch("batch-2", 2))
        .await
        .unwrap();
    let at = Timestamp::from_millis(START);
    let total = stripe
        .metered(&id("mtr_1"), &id("cus_1"), at, at.plus_millis(60_000))
        .await;
    assert_eq!(total.unwrap(), Units::new(42));
    let state = server.state();
    let writes = state
        .calls
        .iter()
        .filter(|call| !call.what.starts_with("GET"));
    assert!(writes.clone().all(|call| call.idempotency_key.is_some()));
    assert_eq!(writes.filter(|call| call.repeated).count(), 1);
}

#[tokio::test]
async fn silence_is_told_from_refusal_and_lost_answers_are_fetched_again() {
    let server = FakeStripe::start().await.unwrap();
    let stripe = client(&server);
    server.put_subscription(subscription(
        "sub_1",
        "cus_1",
        "active",
        "price_pro",
        &json!({}),
    ));
    server.state().failing = Some((1, 503));
    assert!(
        stripe.subscription(&id("sub_1")).await.unwrap().is_some(),
        "asked again"
    );
    server.state().failing = Some((9, 503));
    let silent = stripe.subscription(&id("sub_1")).await;
    assert!(
        matches!(silent, Err(ApiError::Unreachable(_))),
        "{silent:?}"
    );
    server.state().failing = None;
    server.state().late = Some((1, Duration::from_millis(900)));
    stripe
        .report_usage("units", &batch("batch-1", 5))
        .await
        .unwrap();
    {
        let state = server.state();
        let tries: Vec<bool> = state
            .calls
            .iter()
            .filter(|c| c.what.contains("meter_events"))
            .map(|c| c.repeated)
            .collect();
        assert_eq!(
            tries,
            [false, true],
            "taken, the answer lost, and asked for again"
        );
    }
    let gone = settings(&server);
    drop(server);
    tokio::task::yield_now().await;
    let silent = Stripe::new(&gone).unwrap().subscription(&id("sub_1")).await;
    assert!(
        matches!(silent, Err(ApiError::Unreachable(_))),
        "{silent:?}"
    );
}

#[tokio::test]
async fn all_subscriptions_come_page_by_page() {
    let server = FakeStripe::start().await.unwrap();
    let stripe = client(&server);
    for number in 0..130 {
        let name = format!("sub_{number:03}");
        server.put_subscription(subscription(
            &name,
            "cus_1",
            "active",
            "price_pro",
            &json!({}),
        ));
    }
    let first = stripe.subscriptions(None).await.unwrap();
    assert!(first.more && first.items.len() == 100);
    let second = stripe
        .subscriptions(first.items.last().map(|item| &item.id))
        .await
        .unwrap();
    assert!(!second.more && second.items.len() == 30);
}

#[test]
fn our_reading_of_events_agrees_with_the_typed_one() {
    let metadata = json!({"oscillink_key_id": key_id()});
    let object = subscription("sub_1", "cus_1", "past_due", "price_pro", &metadata);
    let raw = event("evt_1", "customer.subscription.updated", 5, &object);
    let typed = Webhook::insecure(&raw).unwrap();
    let EventObject::CustomerSubscriptionUpdated(typed) = typed.data.object else {
        panic!("another object");
    };
    let Ok(Notice::Look(look)) = Notice::read(&raw) else {
        panic!("not read");
    };
    let stated = look.stated.unwrap();
    assert_eq!(stated.id.as_str(), typed.id.as_str());
    assert_eq!(stated.customer.as_str(), typed.customer.id().as_str());
    assert_eq!(typed.status.as_str(), "past_due");
    assert_eq!(stated.status, SubscriptionStatus::PastDue);
    assert_eq!(
        stated.prices[0].as_str(),
        typed.items.data[0].price.id.as_str()
    );
    let end = typed.items.data[0].current_period_end;
    assert_eq!(stated.current_period_end.unwrap().as_millis(), end * 1_000);

    let secret = "whsec_typed";
    let seconds = START / 1_000;
    let header = Webhook::generate_test_header(&raw, secret, Some(seconds));
    let secrets = [secret.to_owned().into()];
    let now = Timestamp::from_millis(START);
    assert_eq!(
        verify(Some(&header), raw.as_bytes(), &secrets, now, 1_000),
        Ok(())
    );
}
