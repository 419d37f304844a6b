//! Checks of [`Bus`](crate::Bus).

mod handler;

use std::sync::Arc;

use oscillink_domain::event::Topic;
use oscillink_domain::{Event, EventId, Timestamp};
use serde_json::json;

pub use handler::Handler;

use super::{Keep, unique, unique_number};
use crate::{Bus, DEAD_LETTER_SUBSCRIPTION, Publication};

/// A bus to check.
pub struct BusFixture {
    /// The bus; it may carry other events.
    pub bus: Arc<dyn Bus>,
    /// After how many refusals an event is a dead letter.
    pub max_deliveries: u32,
    /// Kept until the check has ended.
    pub keep: Keep,
}

/// Every check of this suite.
pub const CHECKS: &[&str] = &[
    "delivers_what_was_published",
    "every_subscription_gets_every_event",
    "events_published_together_keep_their_order",
    "topics_are_apart",
    "a_key_keeps_its_order",
    "a_refused_event_comes_again_before_the_next",
    "keys_do_not_wait_for_each_other",
    "events_without_subscription_are_accepted",
    "refused_too_often_is_a_dead_letter",
    "a_refused_dead_letter_comes_again",
];

const TOPIC: Topic = Topic::JobEvents;

fn event(n: usize) -> Event {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&unique_number().to_le_bytes());
    bytes[8..].copy_from_slice(&unique_number().to_le_bytes());
    Event::new(
        EventId::from_random(bytes),
        "job.completed",
        Timestamp::from_millis(1_767_225_599_123),
        "conformance",
        json!({"n": n, "nested": {"text": "ünïcode", "float": 0.1}}),
    )
}

async fn subscribe(fixture: &BusFixture, topic: Topic, ephemeral: bool, handler: &Arc<Handler>) {
    let name = unique("check");
    fixture
        .bus
        .subscribe(topic, &name, ephemeral, handler.clone())
        .await
        .unwrap();
}

async fn publish(fixture: &BusFixture, key: &str, count: usize) -> Vec<Event> {
    let events: Vec<Event> = (0..count).map(event).collect();
    for event in &events {
        fixture.bus.publish(TOPIC, key, event).await.unwrap();
    }
    events
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.event_id.clone()).collect()
}

/// A subscriber gets the event as it was published, with its attributes and its key.
pub async fn delivers_what_was_published(fixture: &BusFixture) {
    let key = unique("key");
    let handler = Handler::accepting(&key);
    subscribe(fixture, TOPIC, false, &handler).await;
    let events = publish(fixture, &key, 1).await;
    handler.wait_for_accepted(1).await;
    let received = &handler.received()[0];
    assert_eq!(received.event, events[0]);
    assert_eq!(received.ordering_key, key);
    assert_eq!(received.attributes["eventType"], "job.completed");
    assert_eq!(received.attributes["source"], "conformance");
    assert!(!received.attributes.contains_key(DEAD_LETTER_SUBSCRIPTION));
}

/// Each subscription, durable or not, gets each event.
pub async fn every_subscription_gets_every_event(fixture: &BusFixture) {
    let key = unique("key");
    let handlers: Vec<_> = (0..4).map(|_| Handler::accepting(&key)).collect();
    for (n, handler) in handlers.iter().enumerate() {
        subscribe(fixture, TOPIC, n % 2 == 0, handler).await;
    }
    let events = publish(fixture, &key, 20).await;
    for handler in &handlers {
        handler.wait_for_accepted(20).await;
        assert_eq!(handler.accepted(), ids(&events));
    }
}

/// Events published together come in their order, each key's as if published one by one.
pub async fn events_published_together_keep_their_order(fixture: &BusFixture) {
    let keys = [unique("key"), unique("key")];
    let handlers = keys.each_ref().map(|key| Handler::accepting(key));
    for handler in &handlers {
        subscribe(fixture, TOPIC, false, handler).await;
    }
    let together: Vec<Publication> = (0..60)
        .map(|n| Publication {
            topic: TOPIC,
            ordering_key: keys[n % 2].clone(),
            event: event(n),
        })
        .collect();
    let outcomes = fixture.bus.publish_all(&together).await;
    assert_eq!(outcomes.len(), together.len());
    for outcome in outcomes {
        outcome.unwrap();
    }
    for (key, handler) in keys.iter().zip(&handlers) {
        handler.wait_for_accepted(30).await;
        let own = together.iter().filter(|p| p.ordering_key == *key);
        let expected: Vec<_> = own.map(|p| p.event.event_id.clone()).collect();
        assert_eq!(handler.accepted(), expected);
    }
}

/// A subscription of one topic gets nothing of another.
pub async fn topics_are_apart(fixture: &BusFixture) {
    let key = unique("key");
    let handlers: Vec<_> = Topic::ALL
        .iter()
        .map(|_| Handler::accepting(&key))
        .collect();
    for (topic, handler) in Topic::ALL.into_iter().zip(&handlers) {
        subscribe(fixture, topic, true, handler).await;
    }
    let events: Vec<Event> = (0..Topic::ALL.len()).map(event).collect();
    for (topic, event) in Topic::ALL.into_iter().zip(&events) {
        fixture.bus.publish(topic, &key, event).await.unwrap();
    }
    for (handler, event) in handlers.iter().zip(&events) {
        handler.wait_for_accepted(1).await;
        assert_eq!(handler.accepted(), ids(std::slice::from_ref(event)));
    }
}

/// Events of a key come in the order of publication, whatever other keys do.
pub async fn a_key_keeps_its_order(fixture: &BusFixture) {
    const KEYS: usize = 5;
    const EACH: usize = 40;
    let keys: Vec<String> = (0..KEYS).map(|_| unique("key")).collect();
    let handlers: Vec<_> = keys.iter().map(|key| Handler::accepting(key)).collect();
    for handler in &handlers {
        subscribe(fixture, TOPIC, false, handler).await;
    }
    let events: Vec<Vec<Event>> = keys
        .iter()
        .map(|_| (0..EACH).map(event).collect())
        .collect();
    for n in 0..EACH {
        for (key, events) in keys.iter().zip(&events) {
            fixture.bus.publish(TOPIC, key, &events[n]).await.unwrap();
        }
    }
    for (handler, events) in handlers.iter().zip(&events) {
        handler.wait_for_accepted(EACH).await;
        assert_eq!(handler.accepted(), ids(events));
    }
}

/// A refused event is delivered again, and what follows it in its key waits until it is taken.
pub async fn a_refused_event_comes_again_before_the_next(fixture: &BusFixture) {
    let key = unique("key");
    // Each second delivery is refused, whichever event it is.
    let handler = Handler::new(&key, |_, before| before % 2 == 1);
    handler.hold(&key);
    subscribe(fixture, TOPIC, false, &handler).await;
    let events = publish(fixture, &key, 6).await;
    handler.release();
    handler.wait_for_accepted(6).await;
    assert_eq!(handler.accepted(), ids(&events));
    let received: Vec<EventId> = handler
        .received()
        .into_iter()
        .map(|r| r.event.event_id)
        .collect();
    let twice: Vec<EventId> = ids(&events)
        .into_iter()
        .flat_map(|id| [id.clone(), id])
        .collect();
    assert_eq!(received, twice);
}

/// An event that is not taken holds up its own key only.
pub async fn keys_do_not_wait_for_each_other(fixture: &BusFixture) {
    let (stuck, free) = (unique("stuck"), unique("free"));
    let handler = Handler::of_keys(&[&stuck, &free], |_, _| true);
    handler.hold(&stuck);
    subscribe(fixture, TOPIC, false, &handler).await;
    let held = publish(fixture, &stuck, 2).await;
    handler.wait_for_received(1).await;
    let passed = publish(fixture, &free, 10).await;
    handler.wait_for_accepted(10).await;
    assert_eq!(handler.accepted(), ids(&passed));
    handler.release();
    handler.wait_for_accepted(12).await;
    assert_eq!(handler.accepted()[10..], ids(&held));
}

/// Publishing needs no subscriber.
pub async fn events_without_subscription_are_accepted(fixture: &BusFixture) {
    let lonely = event(0);
    fixture
        .bus
        .publish(Topic::SystemEvents, &unique("key"), &lonely)
        .await
        .unwrap();
}

/// An event refused as often as allowed goes to the dead letters, naming who refused it; the next of
/// its key follows, and other subscriptions are not concerned.
pub async fn refused_too_often_is_a_dead_letter(fixture: &BusFixture) {
    let key = unique("key");
    let events: Vec<Event> = (0..3).map(event).collect();
    let bad = events[1].event_id.clone();
    let refusing = {
        let bad = bad.clone();
        Handler::new(&key, move |received, _| received.event.event_id != bad)
    };
    let accepting = Handler::accepting(&key);
    let dead = Handler::accepting(&key);
    let name = unique("refusing");
    fixture
        .bus
        .subscribe(TOPIC, &name, false, refusing.clone())
        .await
        .unwrap();
    subscribe(fixture, TOPIC, false, &accepting).await;
    fixture
        .bus
        .subscribe_dead_letters(TOPIC, dead.clone())
        .await
        .unwrap();
    for event in &events {
        fixture.bus.publish(TOPIC, &key, event).await.unwrap();
    }
    dead.wait_for_accepted(1).await;
    refusing.wait_for_accepted(2).await;
    accepting.wait_for_accepted(3).await;
    let letter = &dead.received()[0];
    assert_eq!(letter.event, events[1]);
    assert_eq!(letter.ordering_key, key);
    assert_eq!(letter.attributes["eventType"], "job.completed");
    assert_eq!(letter.attributes[DEAD_LETTER_SUBSCRIPTION], name);
    let tries = refusing
        .received()
        .iter()
        .filter(|r| r.event.event_id == bad)
        .count();
    assert_eq!(tries, fixture.max_deliveries as usize);
    assert_eq!(
        refusing.accepted(),
        [events[0].event_id.clone(), events[2].event_id.clone()]
    );
}

/// A dead letter that its handler refuses is delivered to it again.
pub async fn a_refused_dead_letter_comes_again(fixture: &BusFixture) {
    let key = unique("key");
    let refusing = Handler::new(&key, |_, _| false);
    let tries = fixture.max_deliveries as usize + 2;
    let dead = Handler::new(&key, move |_, before| before + 1 >= tries);
    let topic = Topic::UsageEvents;
    subscribe(fixture, topic, false, &refusing).await;
    let lost = event(0);
    fixture.bus.publish(topic, &key, &lost).await.unwrap();
    refusing
        .wait_for_received(fixture.max_deliveries as usize)
        .await;
    fixture
        .bus
        .subscribe_dead_letters(topic, dead.clone())
        .await
        .unwrap();
    dead.wait_for_accepted(1).await;
    assert_eq!(dead.received().len(), tries);
    assert_eq!(dead.accepted(), [lost.event_id]);
}
