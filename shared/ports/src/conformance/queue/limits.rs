//! Checks of limits: retries, attempts, deadline, rate, concurrency, pause.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// A task that is not acknowledged comes again after pauses that grow as the limits say, each time
/// with a higher retry count, until it is.
pub async fn retries_with_growing_pauses(fixture: &QueueFixture) {
    let limits = QueueLimits {
        min_backoff_ms: 100,
        max_backoff_ms: 400,
        max_doublings: 5,
        ..QueueLimits::default()
    };
    let target = Target::new(|delivery, _| match delivery.retry_count {
        0..=3 => Verdict::Retry,
        _ => Verdict::Acknowledge,
    });
    let queue = fixture.harness.start(limits, target.clone()).await;
    let names = names("retry", 3);
    create(&queue, names.iter().map(|name| task(name)).collect()).await;
    target.wait_for_deliveries(names.len() * 5).await;
    drained(&queue).await;
    for name in names {
        let deliveries = target.deliveries_of(&name);
        let counts: Vec<u32> = deliveries.iter().map(|d| d.delivery.retry_count).collect();
        assert_eq!(counts, [0, 1, 2, 3, 4]);
        for (pair, pause) in deliveries.windows(2).zip([100, 200, 400, 400]) {
            let waited = pair[1].at.millis_since(pair[0].at) + fixture.early_ms;
            assert!(waited >= pause, "{waited} ms instead of {pause}");
            assert_eq!(pair[0].delivery.body, pair[1].delivery.body);
        }
    }
}

/// A task is delivered as often as its attempts allow, then dropped; its name stays taken.
pub async fn drops_a_task_after_its_attempts(fixture: &QueueFixture) {
    let limits = QueueLimits {
        max_attempts: 3,
        min_backoff_ms: 100,
        ..QueueLimits::default()
    };
    let target = Target::new(|delivery, _| {
        if delivery.body.starts_with(b"bad") {
            Verdict::Retry
        } else {
            Verdict::Acknowledge
        }
    });
    let queue = fixture.harness.start(limits, target.clone()).await;
    let [dropped, after] = names("drop", 2).try_into().unwrap();
    let mut bad = task(&dropped);
    bad.body = Bytes::from_static(b"bad");
    create(&queue, vec![bad]).await;
    target.wait_for_deliveries(3).await;
    drained(&queue).await;
    create(&queue, vec![task(&after)]).await;
    target.wait_for_deliveries(4).await;
    assert_eq!(target.deliveries_of(&dropped).len(), 3);
    assert!(taken(&queue.create(vec![task(&dropped)]).await[0]));
}

/// A delivery that does not end in time failed: the task comes again.
pub async fn a_delivery_past_its_deadline_failed(fixture: &QueueFixture) {
    let limits = QueueLimits {
        dispatch_deadline_ms: fixture.min_deadline_ms,
        min_backoff_ms: 100,
        ..QueueLimits::default()
    };
    let target = Target::acknowledging();
    let name = unique("slow");
    target.hang_first_delivery_of(&name);
    let queue = fixture.harness.start(limits, target.clone()).await;
    create(&queue, vec![task(&name)]).await;
    target.wait_for_deliveries(2).await;
    drained(&queue).await;
    let deliveries = target.deliveries_of(&name);
    assert_eq!(deliveries[1].delivery.retry_count, 1);
    let waited = deliveries[1].at.millis_since(deliveries[0].at) + fixture.early_ms;
    assert!(waited >= fixture.min_deadline_ms, "{waited} ms");
}

/// No more deliveries start in a second than the rate, but for a burst.
pub async fn starts_no_more_than_the_rate(fixture: &QueueFixture) {
    const RATE: f64 = 40.0;
    let limits = QueueLimits {
        max_per_second: RATE,
        ..QueueLimits::default()
    };
    let target = Target::acknowledging();
    let queue = fixture.harness.start(limits, target.clone()).await;
    let names = names("rate", fixture.rate_burst + 30);
    let start = Instant::now();
    create(&queue, names.iter().map(|name| task(name)).collect()).await;
    target.wait_for_deliveries(names.len()).await;
    let least = Duration::from_secs_f64(29.0 / RATE);
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
}

/// No more deliveries are under way than the limit, and as many as that are.
pub async fn delivers_no_more_at_once_than_allowed(fixture: &QueueFixture) {
    const MOST: usize = 4;
    let limits = QueueLimits {
        max_concurrent: MOST,
        ..QueueLimits::default()
    };
    let target = Target::acknowledging();
    target.hold();
    let queue = fixture.harness.start(limits, target.clone()).await;
    let names = names("many", 30);
    create(&queue, names.iter().map(|name| task(name)).collect()).await;
    target.wait_for_deliveries(MOST).await;
    let held = stats(&queue).await;
    assert_eq!((held.depth, held.running), (30, MOST as u64));
    target.release();
    target.wait_for_deliveries(30).await;
    drained(&queue).await;
    assert_eq!(target.most_at_once(), MOST);
    let delivered: BTreeSet<String> = target
        .deliveries()
        .into_iter()
        .map(|d| d.delivery.name)
        .collect();
    assert_eq!(delivered, names.into_iter().collect());
}

/// A paused queue starts nothing, others go on; resumed, it delivers what has gathered.
pub async fn pauses_and_resumes(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    queue.pause(QUEUE).await.unwrap();
    queue.pause(QUEUE).await.unwrap();
    assert!(stats(&queue).await.paused);
    let gathered = names("gathered", 5);
    create(&queue, gathered.iter().map(|name| task(name)).collect()).await;
    let other = unique("other");
    let elsewhere = Task {
        queue: QueueName::Diffusion,
        ..task(&other)
    };
    create(&queue, vec![elsewhere]).await;
    target.wait_for_deliveries(1).await;
    assert_eq!(target.deliveries_of(&other).len(), 1);
    let paused = stats(&queue).await;
    assert_eq!((paused.depth, paused.running), (5, 0));
    for name in &gathered {
        assert!(target.deliveries_of(name).is_empty(), "{name} was paused");
    }
    queue.resume(QUEUE).await.unwrap();
    queue.resume(QUEUE).await.unwrap();
    target.wait_for_deliveries(6).await;
    drained(&queue).await;
    assert!(!stats(&queue).await.paused);
}
