//! Events over HTTP: who is believed, what is kept, what it does to keys.

use oscillink_domain::billing::EventStatus;
use oscillink_domain::event::Topic;
use oscillink_domain::{Event, KeyId, KeyStatus, Tier};
use oscillink_engine::{EventFilter, Replayed};
use oscillink_ports::Clock as _;
use oscillink_testkit::Faults;
use oscillink_testkit::stripe::sign;
use serde_json::{Value, json};

use crate::harness::{House, OLD_SECRET, SECRET, config, event, key_id, sub};

const UPDATED: &str = "customer.subscription.updated";

impl House {
    async fn stored(&self, id: &str) -> oscillink_domain::billing::WebhookEvent {
        self.engine.webhook_event(id).await.unwrap().unwrap()
    }

    async fn tier(&self) -> (Tier, KeyStatus) {
        let key = self.engine.key(&key_id()).await.unwrap().unwrap();
        (key.tier, key.status)
    }

    /// Stripe's state changes, and an event tells of it.
    async fn happens(&self, id: &str, status: &str, price: &str, seconds: i64) {
        let state = sub(status, price, Some(&key_id()));
        self.stripe.set(&state);
        let answer = self.deliver(&event(id, UPDATED, seconds, &state)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.handle_all().await;
    }
}

#[tokio::test]
async fn only_bodies_signed_by_a_live_secret_in_time_are_believed() {
    let house = House::new();
    let raw = event("evt_1", UPDATED, 0, &sub("active", "price_pro", None));
    let now = house.clock.now().as_millis() / 1_000;
    for secret in [SECRET, OLD_SECRET] {
        let answer = house.deliver_signed(&raw, &sign(&raw, secret, now)).await;
        assert_eq!(answer.status, 200);
    }
    let changed = raw.replace("price_pro", "price_ent");
    for (body, header) in [
        (&changed, sign(&raw, SECRET, now)),
        (&raw, sign(&raw, "whsec_wrong", now)),
        (&raw, sign(&raw, SECRET, now - 301)),
        (&raw, sign(&raw, SECRET, now + 301)),
        (&raw, "t=1".to_owned()),
    ] {
        let answer = house.deliver_signed(body, &header).await;
        assert_eq!(answer.status, 400, "{header}");
        assert_eq!(answer.json()["type"], "urn:oscillink:problem:bad-signature");
    }
    let all = house
        .engine
        .webhook_events(EventFilter::default(), 10, None)
        .await;
    assert_eq!(
        all.unwrap().items.len(),
        1,
        "what is not believed is not kept"
    );
}

#[tokio::test]
async fn an_event_is_kept_as_it_came_before_it_is_understood_and_a_repeat_changes_nothing() {
    let house = House::new();
    let state = sub("active", "price_pro", Some(&key_id()));
    house.stripe.set(&state);
    let raw = format!("  {}\n", event("evt_1", UPDATED, 0, &state));
    assert_eq!(house.deliver(&raw).await.json()["duplicate"], false);
    let kept = house.stored("evt_1").await;
    assert_eq!(
        (kept.raw.as_str(), kept.status),
        (raw.as_str(), EventStatus::Received)
    );
    house.handle_all().await;
    let settled = house.stored("evt_1").await;
    assert_eq!(settled.status, EventStatus::Processed);
    assert_eq!(house.deliver(&raw).await.json()["duplicate"], true);
    house.handle_all().await;
    assert_eq!(house.stored("evt_1").await, settled);
    house.engine.relay_events().await.unwrap();
    assert_eq!(house.bus.published().len(), 1);
    let text = house.get("/metrics").await.text;
    for line in ["received\"} 1", "duplicate\"} 1", "processed\"} 1"] {
        let line = format!("oscillink_stripe_webhook_events_total{{result=\"{line}");
        assert!(text.contains(&line), "missing {line}");
    }
}

#[tokio::test]
async fn live_and_test_mode_do_not_mix_and_bodies_are_bounded() {
    let house = House::new();
    let raw =
        event("evt_1", UPDATED, 0, &json!({})).replace("\"livemode\":false", "\"livemode\":true");
    let answer = house.deliver(&raw).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("test mode")
    );
    let huge = event("evt_2", UPDATED, 0, &json!({ "x": "y".repeat(300_000) }));
    assert_eq!(house.deliver(&huge).await.status, 413);
    assert!(house.engine.webhook_event("evt_1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_life_of_upgrades_lapses_and_an_end() {
    let house = House::new();
    house.happens("evt_1", "incomplete", "price_pro", 0).await;
    assert_eq!(house.tier().await, (Tier::Free, KeyStatus::Active));
    house.happens("evt_2", "active", "price_pro", 1).await;
    assert_eq!(house.tier().await, (Tier::Pro, KeyStatus::Active));
    house.happens("evt_3", "active", "price_ent", 2).await;
    assert_eq!(house.tier().await, (Tier::Enterprise, KeyStatus::Pending));
    let active = KeyStatus::Active;
    house
        .engine
        .set_key_status(&key_id(), active)
        .await
        .unwrap();
    house.happens("evt_4", "past_due", "price_ent", 3).await;
    assert_eq!(house.tier().await, (Tier::Free, KeyStatus::Active));
    house.happens("evt_5", "active", "price_ent", 4).await;
    assert_eq!(house.tier().await, (Tier::Enterprise, KeyStatus::Active));
    house.happens("evt_6", "canceled", "price_ent", 5).await;
    assert_eq!(house.tier().await, (Tier::Free, KeyStatus::Active));
    house.engine.relay_events().await.unwrap();
    let told: Vec<String> = house.bus.published().iter().map(told).collect();
    let enterprise = "enterprise active";
    let wanted = [
        "free active",
        "pro active",
        "enterprise pending",
        enterprise,
        "free active",
        enterprise,
        "free active",
    ];
    assert_eq!(told, wanted, "in the order in which it happened");
}

/// What operators and billing do to one key is told in the order in which it was done, within one
/// millisecond and also where the next process's clock is behind.
#[tokio::test]
async fn events_of_a_key_go_out_in_the_order_of_their_transactions() {
    let house = House::new();
    let status = |status| {
        let engine = &house.engine;
        async move { engine.set_key_status(&key_id(), status).await.unwrap() }
    };
    house.happens("evt_1", "active", "price_ent", 1).await;
    status(KeyStatus::Active).await;
    house.happens("evt_2", "past_due", "price_ent", 2).await;
    status(KeyStatus::Suspended).await;
    house.clock.advance(-500);
    house.happens("evt_3", "active", "price_pro", 3).await;
    status(KeyStatus::Active).await;
    house.happens("evt_4", "canceled", "price_pro", 4).await;
    house.engine.relay_events().await.unwrap();
    let told: Vec<String> = house.bus.published().iter().map(told).collect();
    let wanted = [
        "enterprise pending",
        "enterprise active",
        "free active",
        "free suspended",
        "pro suspended",
        "pro active",
        "free active",
    ];
    assert_eq!(told, wanted);
}

fn told((_, _, event): &(Topic, String, Event)) -> String {
    let text = |field: &str| event.data[field].as_str().unwrap().to_owned();
    format!("{} {}", text("tier"), text("status"))
}

#[tokio::test]
async fn by_configuration_a_key_that_is_not_paid_for_is_suspended() {
    let suspend = config(&[("OSCILLINK_BILLING_DELINQUENCY", "suspend")]);
    let house = House::with(suspend, Faults::none(), 1, true);
    house.happens("evt_1", "active", "price_pro", 1).await;
    house.happens("evt_2", "unpaid", "price_pro", 2).await;
    assert_eq!(house.tier().await, (Tier::Free, KeyStatus::Suspended));
    house.happens("evt_3", "active", "price_pro", 3).await;
    assert_eq!(house.tier().await, (Tier::Pro, KeyStatus::Active));
}

#[tokio::test]
async fn stripe_is_believed_and_not_the_event() {
    let house = House::new();
    house.happens("evt_1", "active", "price_pro", 1).await;
    // An old event comes late: what it says was true once.
    let old = event(
        "evt_0",
        UPDATED,
        0,
        &sub("past_due", "price_pro", Some(&key_id())),
    );
    house.deliver(&old).await;
    house.handle_all().await;
    assert_eq!(house.tier().await.0, Tier::Pro);
}

#[tokio::test]
async fn while_stripe_does_not_answer_nothing_is_granted_and_nothing_is_lost() {
    let house = House::new();
    house.stripe.remote().down = true;
    let state = sub("active", "price_pro", Some(&key_id()));
    house.deliver(&event("evt_1", UPDATED, 1, &state)).await;
    house.handle_all().await;
    let event_1 = house.stored("evt_1").await;
    assert_eq!(
        (event_1.status, event_1.attempts),
        (EventStatus::Received, 1)
    );
    assert!(house.engine.key(&key_id()).await.unwrap().is_none());
    house.stripe.set(&state);
    house.stripe.remote().down = false;
    house.clock.advance(1_000);
    house.handle_all().await;
    assert_eq!(house.tier().await.0, Tier::Pro);
    // What lowers is believed at once.
    house.stripe.remote().down = true;
    house.clock.advance(60_000);
    let ended = sub("canceled", "price_pro", Some(&key_id()));
    house
        .deliver(&event("evt_2", "customer.subscription.deleted", 60, &ended))
        .await;
    house.handle_all().await;
    assert_eq!(house.tier().await.0, Tier::Free);
    assert_eq!(house.stored("evt_2").await.status, EventStatus::Received);
}

#[tokio::test]
async fn without_an_api_key_the_newest_event_counts() {
    let house = House::with(config(&[]), Faults::none(), 1, false);
    let tell = |id: &'static str, status, seconds| {
        let raw = event(
            id,
            UPDATED,
            seconds,
            &sub(status, "price_pro", Some(&key_id())),
        );
        let house = &house;
        async move {
            house.deliver(&raw).await;
            house.handle_all().await;
        }
    };
    tell("evt_2", "active", 2).await;
    tell("evt_1", "past_due", 1).await;
    assert_eq!(house.tier().await.0, Tier::Pro);
    tell("evt_3", "canceled", 3).await;
    tell("evt_4", "active", 4).await;
    assert_eq!(house.tier().await.0, Tier::Free);
}

#[tokio::test]
async fn a_poison_event_is_acknowledged_kept_listed_mended_and_replayed() {
    let house = House::new();
    let state = sub("active", "price_unknown", Some(&key_id()));
    house.stripe.set(&state);
    house.deliver(&event("evt_price", UPDATED, 0, &state)).await;
    house
        .deliver(&event("evt_broken", UPDATED, 0, &json!({"id": 7})))
        .await;
    assert_eq!(house.deliver("not even json").await.status, 200);
    let bytes = b"{\"id\": \"evt_bytes\xff\"}";
    assert_eq!(house.deliver_bytes(bytes).await.status, 200);
    house.handle_all().await;
    let filter = EventFilter {
        status: Some(EventStatus::Failed),
    };
    let failed = house
        .engine
        .webhook_events(filter, 10, None)
        .await
        .unwrap()
        .items;
    assert_eq!(failed.len(), 4);
    let encoded = "not UTF-8, in base64: eyJpZCI6ICJldnRfYnl0ZXP/In0=";
    let kept = failed.iter().find(|event| event.raw == encoded).unwrap();
    assert!(kept.error.as_ref().unwrap().contains("not JSON"));
    let error = |id: &str| {
        failed
            .iter()
            .find(|e| e.id.starts_with(id))
            .unwrap()
            .error
            .clone()
            .unwrap()
    };
    assert!(error("evt_price").contains("price_unknown"));
    assert!(error("evt_broken").contains("data.object"));
    assert!(error("raw_").contains("not JSON"));
    house
        .stripe
        .set(&sub("active", "price_pro", Some(&key_id())));
    let replay = || house.engine.replay_webhook_event("evt_price");
    assert_eq!(replay().await.unwrap(), Replayed::Opened);
    assert_eq!(replay().await.unwrap(), Replayed::AlreadyOpen);
    house.handle_all().await;
    assert_eq!(house.tier().await.0, Tier::Pro);
    assert_eq!(replay().await.unwrap(), Replayed::AlreadyProcessed);
}

#[tokio::test]
async fn unknown_types_are_kept_and_ignored_and_news_goes_out() {
    let house = House::new();
    house.happens("evt_1", "trialing", "price_pro", 0).await;
    house
        .deliver(&event("evt_2", "customer.tax_id.reinvented", 0, &json!({})))
        .await;
    let trial = sub("trialing", "price_pro", Some(&key_id()));
    house
        .deliver(&event(
            "evt_3",
            "customer.subscription.trial_will_end",
            1,
            &trial,
        ))
        .await;
    let invoice = json!({"id": "in_1", "customer": "cus_1", "attempt_count": 2,
        "parent": {"subscription_details": {"subscription": "sub_1"}}});
    house
        .deliver(&event("evt_4", "invoice.payment_failed", 2, &invoice))
        .await;
    house.handle_all().await;
    assert_eq!(house.stored("evt_2").await.status, EventStatus::Ignored);
    house.engine.relay_events().await.unwrap();
    let published = house.bus.published();
    let types: Vec<&str> = published
        .iter()
        .map(|(_, _, e)| e.event_type.as_str())
        .collect();
    assert!(types.contains(&"billing.trial_will_end"), "{types:?}");
    let (topic, tenant, news) = published
        .iter()
        .find(|(_, _, e)| e.event_type == "billing.payment_failed")
        .unwrap();
    assert_eq!(
        (topic.as_str(), tenant.as_str()),
        ("webhook-events", key_id().as_str())
    );
    assert_eq!(news.data["attempt"], 2);
    assert_eq!(news.data["keyId"], key_id().as_str());
}

#[tokio::test]
async fn an_event_that_names_no_key_waits_for_the_checkout_that_does() {
    let house = House::new();
    let state = sub("active", "price_pro", None);
    house.stripe.set(&state);
    house.deliver(&event("evt_1", UPDATED, 0, &state)).await;
    house.handle_all().await;
    assert_eq!(house.stored("evt_1").await.status, EventStatus::Received);
    let session = json!({"id": "cs_1", "customer": "cus_1", "subscription": "sub_1",
        "client_reference_id": key_id()});
    house
        .deliver(&event("evt_2", "checkout.session.completed", 0, &session))
        .await;
    house.handle_all().await;
    assert_eq!(house.tier().await.0, Tier::Pro);
    house.clock.advance(2_000);
    house.handle_all().await;
    assert_eq!(house.stored("evt_1").await.status, EventStatus::Processed);
}

/// A subscription of this id.
fn named(state: &str, id: &str, key: Option<&KeyId>) -> Value {
    let mut state = sub(state, "price_pro", key);
    state["id"] = id.into();
    state
}

async fn tier_of(house: &House, key_id: &KeyId) -> Option<Tier> {
    let key = house.engine.key(key_id).await.unwrap();
    key.map(|key| key.tier)
}

#[tokio::test]
async fn a_subscription_that_moves_to_another_key_takes_its_tier_along() {
    for asks in [true, false] {
        let house = House::with(config(&[]), Faults::none(), 1, asks);
        let (first, second) = (key_id(), KeyId::from_random([6; 16]));
        let tell = async |id: &str, seconds: i64, state: &Value| {
            house.stripe.set(state);
            house.deliver(&event(id, UPDATED, seconds, state)).await;
            house.handle_all().await;
            let tiers = [&first, &second].map(|key_id| tier_of(&house, key_id));
            let [first, second] = tiers;
            (first.await, second.await)
        };
        let (free, pro) = (Some(Tier::Free), Some(Tier::Pro));
        let active = sub("active", "price_pro", Some(&first));
        assert_eq!(tell("evt_1", 0, &active).await, (pro, None), "{asks}");
        let moved = sub("active", "price_pro", Some(&second));
        assert_eq!(tell("evt_2", 10, &moved).await, (free, pro), "{asks}");
        // Late news of before the move.
        house.deliver(&event("evt_3", UPDATED, 5, &active)).await;
        house.handle_all().await;
        assert_eq!(tier_of(&house, &first).await, free, "{asks}");
        assert_eq!(tier_of(&house, &second).await, pro, "{asks}");
        let ended = sub("canceled", "price_pro", Some(&second));
        assert_eq!(tell("evt_4", 20, &ended).await, (free, free), "{asks}");
        house.engine.relay_events().await.unwrap();
        let told = house.bus.published();
        let of = |key_id: &KeyId| {
            told.iter()
                .filter(|(_, tenant, _)| tenant == key_id.as_str())
                .count()
        };
        assert_eq!((of(&first), of(&second)), (2, 2), "{asks}");
    }
}

#[tokio::test]
async fn a_customer_with_two_payment_links_pays_for_two_keys() {
    for asks in [true, false] {
        let house = House::with(config(&[]), Faults::none(), 1, asks);
        let (first, second) = (key_id(), KeyId::from_random([6; 16]));
        for (number, key_id) in [(1, &first), (2, &second)] {
            let id = format!("sub_{number}");
            let state = named("active", &id, None);
            house.stripe.set(&state);
            let session = json!({"id": format!("cs_{number}"), "customer": "cus_1", "subscription": id,
                "client_reference_id": key_id});
            // The second subscription is told of before the checkout that names its key.
            house
                .deliver(&event(&format!("evt_c{number}"), UPDATED, number, &state))
                .await;
            house.handle_all().await;
            let done = event(
                &format!("evt_s{number}"),
                "checkout.session.completed",
                number,
                &session,
            );
            house.deliver(&done).await;
            house.handle_all().await;
            house.clock.advance(600_000);
            house.handle_all().await;
            assert_eq!(
                tier_of(&house, key_id).await,
                Some(Tier::Pro),
                "{number} {asks}"
            );
        }
        assert_eq!(tier_of(&house, &first).await, Some(Tier::Pro), "{asks}");
        let ended = named("canceled", "sub_1", None);
        house.stripe.set(&ended);
        house
            .deliver(&event(
                "evt_d",
                "customer.subscription.deleted",
                900,
                &ended,
            ))
            .await;
        house.handle_all().await;
        assert_eq!(tier_of(&house, &first).await, Some(Tier::Free), "{asks}");
        assert_eq!(tier_of(&house, &second).await, Some(Tier::Pro), "{asks}");
    }
}
