//! The embedded bus beyond the suite: restarts, bounds, retention.

use std::sync::Arc;
use std::time::Duration;

use oscillink_domain::event::Topic;
use oscillink_domain::{Event, EventId, Timestamp};
use oscillink_ports::conformance::bus::Handler;
use oscillink_ports::conformance::eventually;
use oscillink_ports::{Bus, PortError};
use serde_json::json;

use crate::scene::{Folder, SetClock};

const TOPIC: Topic = Topic::JobEvents;

fn event(n: u8) -> Event {
    let id = EventId::from_random([n; 16]);
    let now = Timestamp::from_millis(0);
    Event::new(id, "job.completed", now, "test", json!({"n": n}))
}

async fn publish(bus: &dyn Bus, numbers: std::ops::Range<u8>) {
    for n in numbers {
        bus.publish(TOPIC, "key", &event(n)).await.unwrap();
    }
}

fn ids(numbers: std::ops::Range<u8>) -> Vec<EventId> {
    numbers.map(|n| EventId::from_random([n; 16])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_their_subscription_through_a_restart() {
    let folder = Folder::new();
    let opened = folder.open();
    let first = Handler::accepting("key");
    let subscribed = opened.bus.subscribe(TOPIC, "durable", false, first.clone());
    subscribed.await.unwrap();
    let passing = Handler::accepting("key");
    let subscribed = opened
        .bus
        .subscribe(TOPIC, "passing", true, passing.clone());
    subscribed.await.unwrap();
    publish(&*opened.bus, 0..5).await;
    first.wait_for_accepted(5).await;
    passing.wait_for_accepted(5).await;
    first.hold("key");
    publish(&*opened.bus, 5..10).await;
    first.wait_for_received(6).await;
    passing.wait_for_accepted(10).await;
    // The handler never answers: the process ends with one event under way and four behind it.
    assert!(!opened.bus.drain(Duration::from_millis(10)).await);
    drop(opened);
    first.release();

    let opened = eventually("the folder is free", || async {
        oscillink_adapters::embedded::open(&folder.config, Arc::new(oscillink_ports::OsClock)).ok()
    })
    .await;
    // Published before the handler is back.
    publish(&*opened.bus, 10..12).await;
    let second = Handler::accepting("key");
    let subscribed = opened
        .bus
        .subscribe(TOPIC, "durable", false, second.clone());
    subscribed.await.unwrap();
    second.wait_for_accepted(6).await;
    let expected = ids(5..12);
    let accepted = eventually("the last one came", || async {
        let accepted = second.accepted();
        (accepted.last() == expected.last()).then_some(accepted)
    })
    .await;
    // The one under way may have been taken at the very end of the first process.
    let first_missing = usize::from(accepted.len() < expected.len());
    assert_eq!(accepted, expected[first_missing..]);
    assert!(opened.bus.drain(Duration::from_secs(30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_has_one_handler() {
    let folder = Folder::new();
    let opened = folder.open();
    let handler = Handler::accepting("key");
    for (ephemeral, name) in [(false, "durable"), (true, "passing")] {
        let subscribe = |ephemeral| {
            opened
                .bus
                .subscribe(TOPIC, name, ephemeral, handler.clone())
        };
        subscribe(ephemeral).await.unwrap();
        for again in [false, true] {
            let refused = subscribe(again).await;
            assert!(
                matches!(refused, Err(PortError::AlreadyExists { .. })),
                "{refused:?}"
            );
        }
    }
    for bad in ["", "ab", "a b c", "a/b"] {
        let refused = opened
            .bus
            .subscribe(TOPIC, bad, true, handler.clone())
            .await;
        assert!(
            matches!(refused, Err(PortError::Refused { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_subscription_says_so() {
    let mut folder = Folder::new();
    folder.config.bus.max_backlog = 3;
    let opened = folder.open();
    let handler = Handler::accepting("key");
    handler.hold("key");
    let subscribed = opened.bus.subscribe(TOPIC, "slow", false, handler.clone());
    subscribed.await.unwrap();
    publish(&*opened.bus, 0..3).await;
    let full = opened.bus.publish(TOPIC, "key", &event(3)).await;
    assert!(matches!(full, Err(PortError::Exhausted { .. })), "{full:?}");
    handler.release();
    handler.wait_for_accepted(3).await;
    eventually("there is room again", || async {
        opened.bus.publish(TOPIC, "key", &event(3)).await.ok()
    })
    .await;
    handler.wait_for_accepted(4).await;
    assert_eq!(handler.accepted(), ids(0..4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_panicking_handler_has_refused() {
    let mut folder = Folder::new();
    folder.config.bus.handle_deadline_ms = 50;
    folder.config.bus.min_backoff_ms = 1;
    folder.config.bus.max_deliveries = 3;
    let opened = folder.open();
    let panicking = Handler::new("key", |_, before| {
        assert!(before > 1, "twice it panics");
        true
    });
    let slow = Handler::accepting("key");
    slow.hold("key");
    let dead = Handler::accepting("key");
    let bus = &opened.bus;
    bus.subscribe(TOPIC, "panicking", false, panicking.clone())
        .await
        .unwrap();
    bus.subscribe(TOPIC, "slow", true, slow.clone())
        .await
        .unwrap();
    bus.subscribe_dead_letters(TOPIC, dead.clone())
        .await
        .unwrap();
    publish(&**bus, 0..1).await;
    panicking.wait_for_accepted(1).await;
    dead.wait_for_accepted(1).await;
    assert_eq!(slow.received().len(), 3);
    assert_eq!(
        dead.received()[0].attributes["deadLetterSubscription"],
        "slow"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_wait_through_a_restart_but_not_for_ever() {
    let mut folder = Folder::new();
    folder.config.bus.min_backoff_ms = 1;
    folder.config.bus.max_deliveries = 2;
    let clock = SetClock::at(1_000_000);
    let opened = folder.open_at(clock.clone());
    let refusing = Handler::new("key", |_, _| false);
    let subscribed = opened
        .bus
        .subscribe(TOPIC, "refusing", false, refusing.clone());
    subscribed.await.unwrap();
    publish(&*opened.bus, 0..1).await;
    let waiting = |wanted: i64| {
        let database = folder.database();
        eventually("dead letters in the database", move || {
            let connection = rusqlite::Connection::open(&database).unwrap();
            let sql = "SELECT COUNT(*) FROM bus_event WHERE attributes LIKE '%deadLetter%'";
            let count: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
            std::future::ready((count == wanted).then_some(()))
        })
    };
    waiting(1).await;
    assert!(opened.close(Duration::from_secs(30)).await);

    clock.advance(3_600_000);
    let opened = folder.open_at(clock.clone());
    let dead = Handler::accepting("key");
    opened
        .bus
        .subscribe_dead_letters(TOPIC, dead.clone())
        .await
        .unwrap();
    dead.wait_for_accepted(1).await;
    waiting(0).await;
    // Another one that nobody takes is dropped in the end.
    let subscribed = opened
        .bus
        .subscribe(TOPIC, "refusing", false, refusing.clone());
    subscribed.await.unwrap();
    dead.hold("key");
    publish(&*opened.bus, 1..2).await;
    waiting(1).await;
    assert!(!opened.bus.drain(Duration::from_millis(10)).await);
    drop(opened);
    dead.release();
    clock.advance(8 * 24 * 3_600_000);
    let opened = eventually("the folder is free", || async {
        oscillink_adapters::embedded::open(&folder.config, clock.clone()).ok()
    })
    .await;
    let other = Handler::accepting("key");
    let subscribed = opened.bus.subscribe(TOPIC, "other", true, other);
    subscribed.await.unwrap();
    waiting(0).await;
}
