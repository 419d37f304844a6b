//! Usage to the meters, the comparison with Stripe, and the signed files.

use oscillink_domain::billing::DriftKind;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{KeyId, Limits, Sha256Hex, Tier};
use oscillink_engine::{SyncWork, verify_export};
use oscillink_ports::Clock as _;
use oscillink_webhook::UsageError;
use secrecy::SecretString;

use crate::harness::{House, event, key_id, sub};

impl House {
    async fn work(&self, id: &str, units: usize) {
        let tier = Tier::Enterprise;
        let work = SyncWork {
            key_id: key_id(),
            key_hash: Sha256Hex::of(b"k"),
            tier,
            limits: Limits::of(tier, &self.engine.config().baseline, &Overrides::default()),
            row_id: id.into(),
            request_id: id.into(),
            event: "settle".into(),
            n: units,
            d: 1,
            diffusion: false,
        };
        self.engine.charge(&work, 1.0).await.unwrap();
    }

    async fn subscribed() -> Self {
        let house = Self::new();
        house.work("before", 1_000).await;
        house.clock.advance(1);
        let state = sub("active", "price_pro", Some(&key_id()));
        house.stripe.set(&state);
        house
            .deliver(&event("evt_1", "customer.subscription.created", 0, &state))
            .await;
        house.handle_all().await;
        house
    }

    fn metered(&self) -> u64 {
        let remote = self.stripe.remote();
        remote.metered.values().map(|(_, units)| units.get()).sum()
    }

    async fn drift(&self) -> Vec<DriftKind> {
        let report = self.billing.reconcile().await.unwrap();
        report.drift.iter().map(|drift| drift.kind).collect()
    }
}

#[tokio::test]
async fn usage_is_reported_once_whatever_is_lost() {
    let house = House::subscribed().await;
    for row in 0..5 {
        house.work(&format!("r{row}"), 10).await;
        house.clock.advance(1_800_000);
    }
    house.stripe.remote().forgets_to_answer = true;
    assert!(matches!(
        house.billing.report_usage().await,
        Err(UsageError::Api(_))
    ));
    assert!(house.billing.report_usage().await.is_err());
    house.stripe.remote().forgets_to_answer = false;
    let report = house.billing.report_usage().await.unwrap();
    assert_eq!(
        report.units, 50,
        "what was used before the subscription is not reported"
    );
    assert_eq!(house.metered(), 50);
    assert_eq!(house.billing.report_usage().await.unwrap().batches, 0);
    house.work("late", 7).await;
    house.billing.report_usage().await.unwrap();
    assert_eq!(house.metered(), 57);
    {
        // One guard: a second one in the same expression would wait for the first for ever.
        let remote = house.stripe.remote();
        assert!(remote.sends > remote.identifiers.len() as u64);
    }
    assert_eq!(house.drift().await, []);
}

#[tokio::test]
async fn a_batch_of_unknown_outcome_is_not_sent_after_a_day() {
    let house = House::subscribed().await;
    house.work("r1", 10).await;
    house.stripe.remote().down = true;
    assert!(house.billing.report_usage().await.is_err());
    house.stripe.remote().down = false;
    house.clock.advance(24 * 3_600_000);
    house.work("r2", 5).await;
    house.billing.report_usage().await.unwrap();
    assert_eq!(house.metered(), 5);
    assert_eq!(house.drift().await, [DriftKind::SetAside]);
}

#[tokio::test]
async fn a_key_for_stripe_that_does_not_work_sets_nothing_aside() {
    let house = House::subscribed().await;
    house.work("r1", 10).await;
    for status in [401, 403] {
        house.stripe.remote().refuses = Some(status);
        assert!(house.billing.report_usage().await.is_err());
    }
    house.stripe.remote().refuses = None;
    assert_eq!(house.billing.report_usage().await.unwrap().units, 10);
    assert_eq!((house.metered(), house.drift().await), (10, vec![]));
}

#[tokio::test]
async fn one_customer_may_pay_for_two_keys() {
    let house = House::subscribed().await;
    let mut second = sub("active", "price_pro", Some(&KeyId::from_random([6; 16])));
    second["id"] = "sub_2".into();
    house.stripe.set(&second);
    house
        .deliver(&event("evt_2", "customer.subscription.created", 0, &second))
        .await;
    house.handle_all().await;
    house.work("r1", 10).await;
    house.billing.report_usage().await.unwrap();
    assert_eq!(house.drift().await, []);
    house.stripe.remote().metered.clear();
    assert_eq!(house.drift().await, [DriftKind::Meter]);
}

#[tokio::test]
async fn drift_is_found_and_named() {
    let house = House::subscribed().await;
    assert_eq!(house.drift().await, []);
    house
        .stripe
        .set(&sub("past_due", "price_pro", Some(&key_id())));
    assert_eq!(
        house.drift().await,
        [DriftKind::Subscription, DriftKind::Key]
    );
    let mut other = sub("active", "price_pro", Some(&KeyId::from_random([9; 16])));
    other["id"] = "sub_other".into();
    house.stripe.set(&other);
    assert!(
        house
            .drift()
            .await
            .contains(&DriftKind::UnknownSubscription)
    );
    house.stripe.remote().subscriptions.clear();
    assert_eq!(house.drift().await, [DriftKind::MissingSubscription]);
    house.work("r1", 10).await;
    house.clock.advance(2 * 3_600_000);
    assert!(house.drift().await.contains(&DriftKind::UnreportedUsage));
    let report = house.billing.reconcile().await.unwrap();
    assert!(
        serde_json::to_string(&report)
            .unwrap()
            .contains("unreported_usage")
    );
}

#[tokio::test]
async fn a_day_is_exported_signed_and_checked() {
    let house = House::subscribed().await;
    house.work("r1", 10).await;
    house.work("r2", 20).await;
    let day = house.clock.now().day();
    assert!(
        house.engine.export_usage(&day).await.is_err(),
        "the day is not over"
    );
    assert!(house.engine.export_usage("yesterday").await.is_err());
    house.clock.advance(24 * 3_600_000);
    let report = house.engine.export_usage(&day).await.unwrap();
    assert_eq!((report.files.len(), report.rows), (1, 3));
    assert_eq!(house.engine.export_usage(&day).await.unwrap().rows, 0);

    let file = house
        .engine
        .ports()
        .blobs
        .get(&report.files[0])
        .await
        .unwrap();
    let secret = SecretString::from("ledger secret");
    let summary = verify_export(&file, std::slice::from_ref(&secret)).unwrap();
    assert!(summary.signed);
    assert_eq!(
        (summary.rows, summary.units.get(), summary.segments.len()),
        (3, 1_030, 1)
    );
    let text = String::from_utf8(file.to_vec()).unwrap();
    let cut: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("\"r1\""))
        .collect();
    let other = SecretString::from("another");
    for (file, secrets) in [
        (text.replace("\"units\":10,", "\"units\":11,"), vec![]),
        (cut, vec![]),
        (text.lines().next().unwrap().to_owned() + "\n", vec![]),
        (text.replace("\"rows\":3", "\"rows\":4"), vec![]),
        (text.clone(), vec![other]),
        (
            text.replace("\"part\":1", "\"part\":2"),
            vec![secret.clone()],
        ),
        (
            text.replace("\"signature\":\"", "\"signature\":\"00"),
            vec![secret],
        ),
    ] {
        assert!(verify_export(file.as_bytes(), &secrets).is_err());
    }
    assert_eq!(house.blobs.names().len(), 1);
}

#[tokio::test]
async fn each_day_is_exported_when_it_is_over_once_and_late_rows_follow_in_a_further_file() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let house = House::subscribed().await;
    house.work("r1", 10).await;
    let day = house.clock.now().day();
    let before = house.billing.export_when_due(None).await.unwrap();
    assert!(
        before.is_some() && house.blobs.names().is_empty(),
        "today is not over"
    );
    let nothing_due = house.billing.export_when_due(before.as_deref()).await;
    assert_eq!(nothing_due.unwrap(), None);

    house.clock.advance(DAY_MS);
    let exported = house.billing.export_when_due(before.as_deref()).await;
    assert_eq!(exported.unwrap(), Some(day.clone()));
    let names = house.blobs.names();
    assert_eq!(names.len(), 1);
    let blobs = house.engine.ports().blobs.clone();
    let first = blobs.get(&names[0]).await.unwrap();
    // Another process, or the same one after a restart.
    assert_eq!(
        house.billing.export_when_due(None).await.unwrap(),
        Some(day)
    );
    assert_eq!(house.blobs.names(), names);

    // A row of that day arrives after its export.
    house.clock.advance(-DAY_MS);
    house.work("late", 5).await;
    house.clock.advance(2 * DAY_MS);
    let (one, two) = tokio::join!(
        house.billing.export_when_due(before.as_deref()),
        house.billing.export_when_due(before.as_deref())
    );
    assert!(one.is_ok() && two.is_ok());
    let all = house.blobs.names();
    assert_eq!((all.len(), &all[0]), (2, &names[0]), "{all:?}");
    assert_eq!(
        blobs.get(&names[0]).await.unwrap(),
        first,
        "what is written stays"
    );
    let late = verify_export(&blobs.get(&all[1]).await.unwrap(), &[]).unwrap();
    assert_eq!((late.header.part, late.rows, late.units.get()), (2, 1, 5));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_says_does_not_keep_other_keys_from_theirs() {
    let house = House::subscribed().await;
    house.work("r1", 10).await;
    let day = house.clock.now().day();
    let other = oscillink_engine::NewKey {
        name: "bad".into(),
        tier: Tier::Free,
        overrides: Overrides::default(),
    };
    let other = house.engine.create_key(other).await.unwrap().record.key_id;
    let name = format!("exports/usage/{day}/{other}/000001.ndjson");
    let blobs = &house.engine.ports().blobs;
    blobs
        .create(&name, "not a file of ours".into())
        .await
        .unwrap();
    house.clock.advance(24 * 3_600_000);
    let report = house.engine.export_usage(&day).await.unwrap();
    assert_eq!((report.files.len(), report.failed.len()), (1, 1));
    assert_eq!(report.failed[0].0, other);
}
