//! Pub/Sub.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Trial;
use oscillink_adapters::gcp::{PubSubBus, PubSubConfig};
use oscillink_domain::event::Topic;
use oscillink_domain::{Event, EventId, Timestamp};
use oscillink_emulators::{
    Emulator,
    http::{get, post},
};
use oscillink_ports::conformance::bus::{self, BusFixture, Handler};
use oscillink_ports::conformance::{eventually, unique_number};
use oscillink_ports::{Bus, DEAD_LETTER_SUBSCRIPTION, EventHandler, PortError, Received};
use serde_json::json;

use super::{Bench, project, trial};
use crate::conformance_trials;

const TOPIC: Topic = Topic::JobEvents;
const KEY: &str = "tenant";
/// Time for a shutdown that has nothing to wait for.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// A bus of the project, as one process has it.
async fn connect(address: &str, project: &str) -> PubSubBus {
    let bus = PubSubBus::connect(PubSubConfig {
        emulator: Some(address.to_owned()),
        max_deliveries: 4,
        min_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(100),
        ..PubSubConfig::new(project)
    });
    let bus = bus.await.unwrap();
    bus.ensure_topics().await.unwrap();
    bus
}

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let mut trials = conformance_trials!(
        bench, bus,
        resource: |bench: &Bench| bench.pubsub(),
        fixture: async |address: String, _: &str| BusFixture {
            bus: Arc::new(connect(&address, &project()).await),
            max_deliveries: 4,
            keep: Box::new(()),
        },
        checks: [
            delivers_what_was_published,
            every_subscription_gets_every_event,
            events_published_together_keep_their_order,
            topics_are_apart,
            a_key_keeps_its_order,
            a_refused_event_comes_again_before_the_next,
            keys_do_not_wait_for_each_other,
            events_without_subscription_are_accepted,
            refused_too_often_is_a_dead_letter,
            a_refused_dead_letter_comes_again,
        ],
    );
    let pubsub = |bench: &Bench| bench.pubsub();
    trials.extend([
        trial(
            bench,
            "bus::an_ephemeral_subscription_goes_with_its_process",
            pubsub,
            an_ephemeral_subscription_goes_with_its_process,
        ),
        trial(
            bench,
            "bus::processes_share_a_subscription",
            pubsub,
            processes_share_a_subscription,
        ),
        trial(
            bench,
            "bus::a_second_handler_is_refused",
            pubsub,
            a_second_handler_is_refused,
        ),
        trial(
            bench,
            "bus::slow_and_panicking_handlers_have_refused",
            pubsub,
            slow_and_panicking_handlers_have_refused,
        ),
        trial(
            bench,
            "bus::what_is_no_event_is_set_aside",
            pubsub,
            what_is_no_event_is_set_aside,
        ),
    ]);
    let own = |_: &Bench| Emulator::pubsub();
    trials.push(trial(
        bench,
        "bus::recovers_from_a_restart",
        own,
        recovers_from_a_restart,
    ));
    trials
}

fn events(count: usize) -> Vec<Event> {
    let event = |n| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&unique_number().to_le_bytes());
        let id = EventId::from_random(id);
        Event::new(
            id,
            "job.completed",
            Timestamp::from_millis(0),
            "test",
            json!({"n": n}),
        )
    };
    (0..count).map(event).collect()
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.event_id.clone()).collect()
}

async fn publish(bus: &PubSubBus, events: &[Event]) {
    for event in events {
        bus.publish(TOPIC, KEY, event).await.unwrap();
    }
}

/// The subscriptions of the emulator's project, as JSON text.
fn subscriptions(address: &str, project: &str) -> String {
    get(
        address,
        &format!("/v1/projects/{project}/subscriptions?pageSize=100"),
    )
    .unwrap()
}

/// It is there while the process subscribes, and not after its shutdown; a durable one stays.
async fn an_ephemeral_subscription_goes_with_its_process(address: String) {
    let project = project();
    let bus = connect(&address, &project).await;
    for (name, ephemeral) in [("passing", true), ("staying", false)] {
        let handler = Handler::accepting(KEY);
        bus.subscribe(TOPIC, name, ephemeral, handler)
            .await
            .unwrap();
    }
    let during = subscriptions(&address, &project);
    assert!(during.contains("job-events.passing.") && during.contains("job-events.staying"));
    assert!(bus.shutdown(SHUTDOWN).await);
    let after = subscriptions(&address, &project);
    assert!(!after.contains("job-events.passing."), "{after}");
    assert!(after.contains("job-events.staying"), "{after}");
}

/// Each event goes to one of the processes that subscribe under the same name.
async fn processes_share_a_subscription(address: String) {
    let project = project();
    let mut processes = Vec::new();
    for _ in 0..2 {
        let bus = connect(&address, &project).await;
        let handler = Handler::accepting(KEY);
        bus.subscribe(TOPIC, "shared", false, handler.clone())
            .await
            .unwrap();
        processes.push((bus, handler));
    }
    let events = events(20);
    publish(&processes[0].0, &events).await;
    let handled = || async {
        let lists = processes.iter().map(|(_, handler)| handler.accepted());
        let all: Vec<EventId> = lists.flatten().collect();
        (all.len() >= events.len()).then_some(all)
    };
    let mut handled = eventually("all are handled", handled).await;
    let mut expected = ids(&events);
    handled.sort_unstable();
    expected.sort_unstable();
    assert_eq!(handled, expected);
}

async fn a_second_handler_is_refused(address: String) {
    let bus = connect(&address, &project()).await;
    let subscribe = || bus.subscribe(TOPIC, "mine", false, Handler::accepting(KEY));
    subscribe().await.unwrap();
    let second = subscribe().await;
    assert!(
        matches!(second, Err(PortError::AlreadyExists { .. })),
        "{second:?}"
    );
    let named = bus
        .subscribe(TOPIC, "a b c", false, Handler::accepting(KEY))
        .await;
    assert!(matches!(named, Err(PortError::Refused { .. })), "{named:?}");
}

/// Hangs, then panics, then takes what it gets.
struct Troubled(Arc<Handler>);

#[async_trait]
impl EventHandler for Troubled {
    async fn handle(&self, received: Received) -> bool {
        let before = self.0.received().len();
        self.0.handle(received).await;
        match before {
            0 => std::future::pending().await,
            1 => panic!("for the test"),
            _ => true,
        }
    }
}

async fn slow_and_panicking_handlers_have_refused(address: String) {
    let project = project();
    connect(&address, &project).await;
    let bus = PubSubBus::connect(PubSubConfig {
        emulator: Some(address),
        handle_deadline: Duration::from_millis(200),
        ..PubSubConfig::new(&project)
    });
    let bus = bus.await.unwrap();
    let handler = Handler::accepting(KEY);
    let troubled = Arc::new(Troubled(handler.clone()));
    bus.subscribe(TOPIC, "troubled", false, troubled)
        .await
        .unwrap();
    let events = events(1);
    publish(&bus, &events).await;
    handler.wait_for_received(3).await;
    assert_eq!(handler.accepted(), ids(&events));
}

/// A message that someone else put on the topic does not hold up the events behind it.
async fn what_is_no_event_is_set_aside(address: String) {
    let project = project();
    let bus = connect(&address, &project).await;
    let handler = Handler::accepting(KEY);
    bus.subscribe(TOPIC, "reader", false, handler.clone())
        .await
        .unwrap();
    let path = format!("/v1/projects/{project}/topics/job-events:publish");
    let foreign = format!(r#"{{"messages":[{{"data":"e30=","orderingKey":"{KEY}"}}]}}"#);
    let published = post(&address, &path, &foreign).unwrap();
    assert!(published.contains("messageIds"), "{published}");
    let events = events(2);
    publish(&bus, &events).await;
    handler.wait_for_accepted(2).await;
    assert_eq!(handler.accepted(), ids(&events));
    // What is left of it is in the dead letters, as it came.
    let pull =
        format!("/v1/projects/{project}/subscriptions/job-events-dead-letter.dead-letters:pull");
    let letter = eventually("a dead letter", || async {
        let pulled = post(&address, &pull, r#"{"maxMessages":1}"#).unwrap();
        pulled.contains("ackId").then_some(pulled)
    });
    let letter = letter.await;
    assert!(
        letter.contains("e30=") && letter.contains(DEAD_LETTER_SUBSCRIPTION),
        "{letter}"
    );
}

/// An emulator that comes back empty: what is published from then on arrives, with the same bus.
async fn recovers_from_a_restart(mut emulator: Emulator) {
    let bus = connect(&emulator.address(), &project()).await;
    let handler = Handler::accepting(KEY);
    bus.subscribe(TOPIC, "steady", false, handler.clone())
        .await
        .unwrap();
    let before = events(1);
    publish(&bus, &before).await;
    handler.wait_for_accepted(1).await;
    tokio::task::block_in_place(|| emulator.restart()).unwrap();
    // Until the subscription is there again, events reach nobody.
    let arrived = || async {
        let event = events(1);
        let published = bus.publish(TOPIC, KEY, &event[0]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        (published.is_ok() && handler.accepted().contains(&event[0].event_id)).then_some(())
    };
    eventually("events arrive again", arrived).await;
    assert!(bus.shutdown(SHUTDOWN).await);
}
