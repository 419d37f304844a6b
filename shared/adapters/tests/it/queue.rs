//! The embedded queue beyond the suite: restarts, the clock, bounds, draining.

use std::time::Duration;

use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::conformance::eventually;
use oscillink_ports::conformance::queue::Target;
use oscillink_ports::{PortError, QueueLimits, Task, TaskQueue, Verdict};

use crate::scene::{Folder, SetClock, start, task};

const QUEUE: QueueName = QueueName::Settle;

async fn create(queue: &dyn TaskQueue, tasks: Vec<Task>) {
    for result in queue.create(tasks).await {
        result.unwrap();
    }
}

async fn empty(queue: &dyn TaskQueue) {
    eventually("the queue is empty", || async {
        (queue.stats(QUEUE).await.unwrap().depth == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_tasks_come_again_after_a_restart() {
    let folder = Folder::new();
    let opened = folder.open();
    let target = Target::acknowledging();
    create(&*opened.queue, vec![task("done")]).await;
    start(&opened, &target);
    target.wait_for_deliveries(1).await;
    empty(&*opened.queue).await;
    target.hold();
    create(&*opened.queue, vec![task("running"), task("other")]).await;
    target.wait_for_deliveries(3).await;
    opened.queue.pause(QueueName::Diffusion).await.unwrap();
    // The target never answers: the process ends with both under way.
    assert!(!opened.queue.drain(Duration::from_millis(10)).await);
    target.answer_held_with(Verdict::Retry);
    assert!(opened.close(Duration::from_secs(30)).await);

    let opened = folder.open();
    let stats = opened.queue.stats(QUEUE).await.unwrap();
    assert_eq!((stats.depth, stats.running), (2, 0));
    let paused = opened.queue.stats(QueueName::Diffusion).await.unwrap();
    assert!(paused.paused, "a pause outlives the process");
    let again = Target::acknowledging();
    start(&opened, &again);
    again.wait_for_deliveries(2).await;
    empty(&*opened.queue).await;
    let mut names: Vec<(String, u32)> = again
        .deliveries()
        .into_iter()
        .map(|d| (d.delivery.name, d.delivery.retry_count))
        .collect();
    names.sort();
    assert_eq!(names, [("other".to_owned(), 1), ("running".to_owned(), 1)]);
    for name in ["done", "running"] {
        let taken = &opened.queue.create(vec![task(name)]).await[0];
        assert!(
            matches!(taken, Err(PortError::AlreadyExists { .. })),
            "{taken:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_is_loaded_and_delivered() {
    const COUNT: usize = 25_000;
    let mut folder = Folder::new();
    // Bodies do not all fit in memory.
    folder.config.queue.body_cache_bytes = 100_000;
    let opened = folder.open();
    let names: Vec<String> = (0..COUNT).map(|n| format!("task-{n}")).collect();
    create(&*opened.queue, names.iter().map(|n| task(n)).collect()).await;
    drop(opened);
    let opened = folder.open();
    let target = Target::acknowledging();
    start(&opened, &target);
    target.wait_for_deliveries(COUNT).await;
    empty(&*opened.queue).await;
    let delivered = target.deliveries();
    assert_eq!(delivered.len(), COUNT);
    for one in delivered {
        assert_eq!(
            one.delivery.body,
            format!("body of {}", one.delivery.name).as_bytes()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_that_was_passed_in_decides() {
    let folder = Folder::new();
    let clock = SetClock::at(1_000_000);
    let opened = folder.open_at(clock.clone());
    let target = Target::acknowledging();
    start(&opened, &target);
    let later = Task {
        not_before: Some(Timestamp::from_millis(1_060_000)),
        ..task("later")
    };
    create(&*opened.queue, vec![later, task("now")]).await;
    target.wait_for_deliveries(1).await;
    assert_eq!(target.deliveries()[0].delivery.name, "now");
    clock.advance(60_000);
    target.wait_for_deliveries(2).await;
    empty(&*opened.queue).await;
    // A clock that goes back holds up only what waits for a time.
    clock.advance(-3_600_000);
    create(
        &*opened.queue,
        vec![task("after the jump".replace(' ', "-").as_str())],
    )
    .await;
    target.wait_for_deliveries(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_free_again_after_an_hour() {
    let folder = Folder::new();
    let clock = SetClock::at(1_000_000);
    let opened = folder.open_at(clock.clone());
    let target = Target::acknowledging();
    start(&opened, &target);
    create(&*opened.queue, vec![task("name")]).await;
    target.wait_for_deliveries(1).await;
    empty(&*opened.queue).await;
    clock.advance(3_599_000);
    assert!(opened.queue.create(vec![task("name")]).await[0].is_err());
    clock.advance(2_000);
    create(&*opened.queue, vec![task("name")]).await;
    target.wait_for_deliveries(2).await;
    empty(&*opened.queue).await;
    // Names whose time is over do not pile up.
    clock.advance(7_200_000);
    let database = folder.database();
    eventually("the name was forgotten", || async {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let sql = "SELECT COUNT(*) FROM task_name_settle";
        let names: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        (names == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so() {
    let mut folder = Folder::new();
    folder.config.queue.max_depth = 10;
    let opened = folder.open();
    let names: Vec<String> = (0..12).map(|n| format!("task-{n}")).collect();
    let results = opened
        .queue
        .create(names.iter().map(|n| task(n)).collect())
        .await;
    let full = |r: &Result<(), PortError>| matches!(r, Err(PortError::Exhausted { .. }));
    assert!(results[..10].iter().all(Result::is_ok), "{results:?}");
    assert!(results[10..].iter().all(full), "{results:?}");
    opened.queue.delete(QUEUE, "task-0").await.unwrap();
    create(&*opened.queue, vec![task("task-11")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_while_it_runs() {
    let mut folder = Folder::new();
    let none = QueueLimits {
        max_concurrent: 0,
        ..QueueLimits::default()
    };
    folder.config.queue.limits = vec![(QUEUE, none)];
    let opened = folder.open();
    let target = Target::acknowledging();
    start(&opened, &target);
    create(&*opened.queue, vec![task("waits")]).await;
    assert_eq!(opened.queue.limits(QUEUE), none);
    assert_eq!(opened.queue.stats(QUEUE).await.unwrap().running, 0);
    opened.queue.set_limits(QUEUE, QueueLimits::default());
    target.wait_for_deliveries(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_target_is_a_failed_delivery() {
    let folder = Folder::new();
    let opened = folder.open();
    let target = Target::new(|delivery, _| {
        assert!(delivery.retry_count > 0, "the first time it panics");
        Verdict::Acknowledge
    });
    start(&opened, &target);
    create(&*opened.queue, vec![task("panics")]).await;
    target.wait_for_deliveries(2).await;
    empty(&*opened.queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_waits_for_what_runs_and_starts_nothing() {
    let mut folder = Folder::new();
    folder.config.queue.limits = vec![(
        QUEUE,
        QueueLimits {
            max_concurrent: 1,
            ..QueueLimits::default()
        },
    )];
    let opened = folder.open();
    let target = Target::acknowledging();
    target.hold();
    start(&opened, &target);
    create(&*opened.queue, vec![task("first"), task("second")]).await;
    target.wait_for_deliveries(1).await;
    // In this order: the queue is draining when the target answers.
    let (drained, ()) = tokio::join!(opened.queue.drain(Duration::from_secs(30)), async {
        target.release();
    });
    assert!(drained);
    assert_eq!(target.deliveries().len(), 1);
    assert_eq!(opened.queue.stats(QUEUE).await.unwrap().depth, 1);
}
