//! Billing events accepted by the all-in-one server, each durable before its 200.
//!
//! Starts the real binary in a temporary folder and posts signed events of Stripe's form over
//! keep-alive connections. Prints events per second, also of handling them, and the ratio to a server
//! that commits each transaction by itself; then ends the server as a crash would and counts what its
//! folder holds. `cargo bench --bench webhook`, or `make bench-webhook`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use oscillink_testkit::stripe::{event, sign, subscription};
use serde_json::{Value, json};

use support::{Connection, Server};

const CONNECTIONS: usize = 64;
/// Subscriptions that the events are about, one key each.
const SUBSCRIPTIONS: usize = 500;
const SECRET: &str = "whsec_benchmark";
/// Longest wait for the handling of everything.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(group_commit: bool) -> Server {
    Server::start(&[
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("OSCILLINK_STRIPE_PRICE_MAP", "price_pro:pro"),
        ("OSCILLINK_STRIPE_LIVEMODE", "false"),
        ("OSCILLINK_GROUP_COMMIT", &group_commit.to_string()),
    ])
}

/// The events of one run with their signatures, made beforehand.
fn events(run: &str, count: usize) -> Vec<(Bytes, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock").as_secs() as i64;
    let one = |number: usize| {
        let which = number % SUBSCRIPTIONS;
        let metadata = json!({"oscillink_key_id": format!("key_{which:022}")});
        let (id, customer) = (format!("sub_{which}"), format!("cus_{which}"));
        let object = subscription(&id, &customer, "active", "price_pro", &metadata);
        let id = format!("evt_{run}_{number}");
        let raw = event(&id, "customer.subscription.updated", now, &object);
        let header = sign(&raw, SECRET, now);
        (Bytes::from(raw), header)
    };
    (0..count).map(one).collect()
}

/// Events accepted and handled in a second.
struct Measured {
    accepted: f64,
    handled: f64,
}

async fn run(server: &Server, events: Vec<(Bytes, String)>) -> Measured {
    let mut control = Connection::open(&server.address).await;
    let processed = "oscillink_stripe_webhook_events_total{result=\"processed\"}";
    let before = control.metric(processed).await.unwrap_or(0.0);
    let (events, next) = (Arc::new(events), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (events, next) = (Arc::clone(&events), Arc::clone(&next));
            let address = server.address.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                while let Some((raw, header)) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let headers = [("stripe-signature", header.as_str())];
                    let sent = connection.send("POST", "/stripe/webhook", &headers, raw.clone());
                    let (status, body) = sent.await;
                    let text = String::from_utf8_lossy(&body);
                    assert_eq!(status, StatusCode::OK, "{text}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    let accepted = begun.elapsed();
    let count = events.len() as f64;
    while control.metric(processed).await.unwrap_or(0.0) - before < count {
        assert!(begun.elapsed() < PATIENCE, "events are not handled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Measured {
        accepted: count / accepted.as_secs_f64(),
        handled: count / begun.elapsed().as_secs_f64(),
    }
}

/// Ends the server right after its last 200 and gives how many events its folder holds.
async fn kept_after_crash(mut server: Server, count: usize) -> usize {
    let mut connection = Connection::open(&server.address).await;
    for (raw, header) in events("crash", count) {
        let headers = [("stripe-signature", header.as_str())];
        let (status, _) = connection
            .send("POST", "/stripe/webhook", &headers, raw)
            .await;
        assert_eq!(status, StatusCode::OK);
    }
    server.kill();
    let config = oscillink_adapters::embedded::EmbeddedConfig::new(server.folder());
    let store = oscillink_adapters::embedded::open_store_only(&config).expect("the folder opens");
    let mut kept = 0;
    for number in 0..count {
        let collection = oscillink_ports::Collection::WebhookEvents;
        let key = oscillink_ports::DocKey::new(collection, format!("evt_crash_{number}"));
        let found: Option<Value> = oscillink_ports::Store::get(&store, &key)
            .await
            .expect("a store");
        kept += usize::from(found.is_some());
    }
    kept
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count = std::env::var("OSCILLINK_BENCH_EVENTS").ok();
    let count: usize = count.and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let bytes = events("size", 1)[0].0.len();
    println!(
        "signed events of {bytes} bytes over HTTP, {CONNECTIONS} connections, all-in-one server, durable \
         before 200, handled meanwhile"
    );
    let mut rates = Vec::new();
    for (name, grouped, count) in [
        ("group commit", true, count),
        ("single commits", false, count / 5),
    ] {
        let server = start(grouped);
        run(&server, events("warm", count / 10)).await;
        let measured = run(&server, events("run", count)).await;
        println!(
            "{name:<16} {count:>6} events: accepted {:>6.0}/s, accepted and handled {:>6.0}/s",
            measured.accepted, measured.handled,
        );
        rates.push(measured.accepted);
        if grouped {
            let kept = kept_after_crash(server, 500).await;
            println!(
                "{:<16} after a crash right behind the last 200: {kept} of 500 kept",
                ""
            );
            assert_eq!(kept, 500, "an accepted event was lost");
        }
    }
    println!("group commit / single commits: {:.1}×", rates[0] / rates[1]);
    assert!(rates[0] >= 1_000.0, "less than 1,000 events a second");
}
