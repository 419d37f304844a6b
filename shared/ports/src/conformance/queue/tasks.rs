//! Checks of what becomes of a task: named once, delivered whole, at its time, or deleted.

use std::collections::BTreeMap;

use super::*;

/// A delivery carries queue, name, body and trace context of its task, and counts no retries.
pub async fn delivers_what_was_created(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    let names = names("whole", QueueName::ALL.len());
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut tasks = Vec::new();
    for (name, &on) in names.iter().zip(QueueName::ALL) {
        let mut one = task(name);
        one.queue = on;
        one.body = (0..=255u8).collect();
        one.traceparent = (on == QUEUE).then(|| traceparent.to_owned());
        tasks.push(one);
    }
    create(&queue, tasks.clone()).await;
    target.wait_for_deliveries(tasks.len()).await;
    for task in tasks {
        let delivered = target.deliveries_of(&task.name);
        assert_eq!(delivered.len(), 1);
        let delivery = &delivered[0].delivery;
        assert_eq!(delivery.queue, task.queue);
        assert_eq!(delivery.body, task.body);
        assert_eq!(delivery.traceparent, task.traceparent);
        assert_eq!(delivery.retry_count, 0);
    }
    drained(&queue).await;
}

/// A name cannot be used again while its task waits, after it was handled, or after it was deleted;
/// the same name on another queue is another task.
pub async fn names_are_taken_while_and_after(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    let [handled, deleted, waiting] = names("name", 3).try_into().unwrap();
    let later = Some(OsClock.now().plus_millis(3_600_000));
    let postponed = |name: &str| Task {
        not_before: later,
        ..task(name)
    };

    create(&queue, vec![postponed(&waiting)]).await;
    assert!(taken(&queue.create(vec![task(&waiting)]).await[0]));

    create(&queue, vec![task(&handled)]).await;
    target.wait_for_deliveries(1).await;
    eventually("one task is left", || async {
        (stats(&queue).await.depth == 1).then_some(())
    })
    .await;
    assert!(taken(&queue.create(vec![task(&handled)]).await[0]));

    create(&queue, vec![postponed(&deleted)]).await;
    queue.delete(QUEUE, &deleted).await.unwrap();
    assert!(taken(&queue.create(vec![task(&deleted)]).await[0]));

    let mut elsewhere = task(&handled);
    elsewhere.queue = QueueName::Callback;
    create(&queue, vec![elsewhere]).await;
    target.wait_for_deliveries(2).await;
    assert_eq!(target.deliveries_of(&handled).len(), 2);
    assert!(target.deliveries_of(&deleted).is_empty());
    assert!(target.deliveries_of(&waiting).is_empty());
    queue.delete(QUEUE, &waiting).await.unwrap();
}

/// Of tasks created together each has its own result, in order; one of two with the same name wins.
pub async fn each_task_has_its_own_result(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    let names = names("each", 4);
    let results = queue
        .create(vec![
            task(&names[0]),
            task("not a name"),
            task(&names[1]),
            task(&names[0]),
            task(&names[2]),
        ])
        .await;
    assert_eq!(results.len(), 5);
    assert!(results[2].is_ok() && results[4].is_ok(), "{results:?}");
    assert!(
        matches!(results[1], Err(PortError::Refused { .. })),
        "{results:?}"
    );
    let twins = [&results[0], &results[3]];
    assert_eq!(twins.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
    assert_eq!(twins.iter().filter(|r| taken(r)).count(), 1, "{results:?}");
    assert!(queue.create(Vec::new()).await.is_empty());

    // Many at once creating the same name: one of them made it.
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (queue, name) = (Arc::clone(&queue), names[3].clone());
            tokio::spawn(async move { queue.create(vec![task(&name)]).await.remove(0) })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        let result = task.await.unwrap();
        assert!(result.is_ok() || taken(&result), "{result:?}");
        made += usize::from(result.is_ok());
    }
    assert_eq!(made, 1);
    target.wait_for_deliveries(4).await;
    drained(&queue).await;
    assert_eq!(target.deliveries().len(), 4);
}

/// Names and bodies as far as the port allows work; others are refused.
pub async fn tasks_follow_the_rules(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    let mut longest = unique("Long_name");
    longest.push_str(&"x".repeat(500 - longest.len()));
    let mut largest = task(&unique("large"));
    largest.body = Bytes::from(vec![b'x'; MAX_TASK_BYTES]);
    let mut empty = task(&unique("empty"));
    empty.body = Bytes::new();
    create(&queue, vec![task(&longest), largest.clone(), empty]).await;
    target.wait_for_deliveries(3).await;
    assert_eq!(
        target.deliveries_of(&largest.name)[0].delivery.body,
        largest.body
    );

    let mut too_large = task(&unique("large"));
    too_large.body = Bytes::from(vec![b'x'; MAX_TASK_BYTES + 1]);
    let mut bad = vec![too_large];
    bad.extend(["", "a b", "a/b", "a.b", "ä", &format!("{longest}x")].map(task));
    for (n, result) in queue.create(bad).await.iter().enumerate() {
        assert!(
            matches!(result, Err(PortError::Refused { .. })),
            "{n}: {result:?}"
        );
    }
}

/// A task with a time is not delivered before it; others need not wait for it.
pub async fn waits_until_not_before(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    let [later, sooner, now, past] = names("time", 4).try_into().unwrap();
    let start = OsClock.now();
    let at = |name: &str, ms: i64| Task {
        not_before: Some(start.plus_millis(ms)),
        ..task(name)
    };
    let tasks = vec![
        at(&later, 1_500),
        at(&sooner, 700),
        task(&now),
        at(&past, -60_000),
    ];
    create(&queue, tasks).await;
    target.wait_for_deliveries(4).await;
    let waited = |name: &str| {
        let delivered = target.deliveries_of(name)[0].at;
        delivered.millis_since(start) + fixture.early_ms
    };
    assert!(waited(&later) >= 1_500, "{} ms", waited(&later));
    assert!(waited(&sooner) >= 700, "{} ms", waited(&sooner));
}

/// A deleted task is not delivered; an unknown name can be deleted too.
pub async fn deletes_a_waiting_task(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    queue.delete(QUEUE, &unique("unknown")).await.unwrap();
    let [deleted, later] = names("delete", 2).try_into().unwrap();
    let start = OsClock.now();
    let at = |name: &str, ms: i64| Task {
        not_before: Some(start.plus_millis(ms)),
        ..task(name)
    };
    create(&queue, vec![at(&deleted, 2_000), at(&later, 2_500)]).await;
    assert_eq!(stats(&queue).await.depth, 2);
    queue.delete(QUEUE, &deleted).await.unwrap();
    queue.delete(QUEUE, &deleted).await.unwrap();
    assert_eq!(stats(&queue).await.depth, 1);
    target.wait_for_deliveries(1).await;
    assert!(target.deliveries_of(&deleted).is_empty());
    assert_eq!(target.deliveries_of(&later).len(), 1);

    // A delivery under way is not stopped, and the task does not come again. What came before must
    // have been answered, or it would be held as well.
    drained(&queue).await;
    target.hold();
    let running = unique("running");
    create(&queue, vec![task(&running)]).await;
    target.wait_for_deliveries(2).await;
    queue.delete(QUEUE, &running).await.unwrap();
    target.answer_held_with(Verdict::Retry);
    drained(&queue).await;
    // By then it would have come again.
    let last = Task {
        not_before: Some(OsClock.now().plus_millis(1_000)),
        ..task(&unique("last"))
    };
    create(&queue, vec![last]).await;
    target.wait_for_deliveries(3).await;
    assert_eq!(target.deliveries_of(&running).len(), 1);
}

/// Depth counts what is not acknowledged, also while it is delivered; age is that of the oldest.
pub async fn stats_tell_depth_and_age(fixture: &QueueFixture) {
    let target = Target::acknowledging();
    target.hold();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    assert_eq!(stats(&queue).await, QueueStats::default());
    let before = OsClock.now();
    let names = names("stats", 3);
    create(&queue, vec![task(&names[0])]).await;
    let between = OsClock.now();
    create(&queue, vec![task(&names[1]), task(&names[2])]).await;
    target.wait_for_deliveries(3).await;
    let held = stats(&queue).await;
    assert_eq!((held.depth, held.running), (3, 3));
    let oldest = held.oldest.expect("there are tasks");
    let slack = fixture.early_ms;
    assert!(before.plus_millis(-slack) <= oldest && oldest <= between.plus_millis(slack));
    target.release();
    drained(&queue).await;
    let empty = stats(&queue).await;
    assert_eq!((empty.running, empty.oldest), (0, None));
}

/// Many tasks created by many callers are all delivered, each once when all is well.
pub async fn a_burst_is_delivered_completely(fixture: &QueueFixture) {
    const CALLERS: usize = 8;
    const EACH: usize = 50;
    let target = Target::acknowledging();
    let queue = fixture
        .harness
        .start(QueueLimits::default(), target.clone())
        .await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let names = names("burst", EACH);
                for pair in names.chunks(2) {
                    create(&queue, pair.iter().map(|name| task(name)).collect()).await;
                }
                names
            })
        })
        .collect();
    let mut expected = BTreeMap::new();
    for caller in callers {
        for name in within("tasks are created", caller).await.unwrap() {
            expected.insert(name, 1);
        }
    }
    target.wait_for_deliveries(CALLERS * EACH).await;
    drained(&queue).await;
    let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
    for one in target.deliveries() {
        *delivered.entry(one.delivery.name).or_default() += 1;
    }
    assert_eq!(delivered, expected);
}
