//! The files under `infra` say the same as the code. `OSCILLINK_UPDATE_INFRA=1` writes the indexes.

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use oscillink_adapters::gcp;
use oscillink_domain::QueueName;
use oscillink_domain::event::Topic;
use oscillink_ports::Collection;
use serde_json::{Map, Value, json};

pub fn trials() -> Vec<Trial> {
    let test = |name, check: fn()| {
        Trial::test(name, move || {
            check();
            Ok(())
        })
    };
    vec![
        test(
            "infra::firestore_serves_every_query",
            firestore_serves_every_query,
        ),
        test(
            "infra::queues_have_the_limits_of_the_code",
            queues_have_the_limits_of_the_code,
        ),
        test("infra::every_topic_is_declared", every_topic_is_declared),
    ]
}

fn infra(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../infra")
        .join(file)
}

fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(infra(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Collections whose documents may have `expires_at`.
const EXPIRING: [Collection; 3] = [
    Collection::Jobs,
    Collection::Idempotency,
    Collection::Contents,
];

/// A composite index for each direction of each combination of several fields; an index of its own
/// for a field that is queried alone, and for no other: indexes cost with every write.
fn firestore_serves_every_query() {
    let mut indexes = Vec::new();
    let mut overrides = Vec::new();
    for collection in Collection::ALL {
        let name = collection.as_str();
        overrides.push(json!({"collectionGroup": name, "fieldPath": "*", "indexes": []}));
        for fields in collection.composite_indexes() {
            let (order, equal) = fields.split_last().unwrap();
            if equal.is_empty() {
                let both = ["ASCENDING", "DESCENDING"]
                    .map(|order| json!({"order": order, "queryScope": "COLLECTION"}));
                overrides.push(json!({
                    "collectionGroup": name, "fieldPath": order, "indexes": both,
                }));
                continue;
            }
            for direction in ["ASCENDING", "DESCENDING"] {
                let mut fields: Vec<Value> = equal
                    .iter()
                    .map(|field| json!({"fieldPath": field, "order": "ASCENDING"}))
                    .collect();
                fields.push(json!({"fieldPath": order, "order": direction}));
                indexes.push(json!({
                    "collectionGroup": name, "queryScope": "COLLECTION", "fields": fields,
                }));
            }
        }
        assert_eq!(
            collection.indexed_fields().contains(&"expires_at"),
            EXPIRING.contains(&collection),
            "{name}: does it need a TTL policy?"
        );
        if EXPIRING.contains(&collection) {
            overrides.push(json!({
                "collectionGroup": name, "fieldPath": "ttl", "ttl": true, "indexes": [],
            }));
        }
    }
    let expected = json!({"indexes": indexes, "fieldOverrides": overrides});
    let file = "firestore/firestore.indexes.json";
    if std::env::var("OSCILLINK_UPDATE_INFRA").is_ok_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(&expected).unwrap();
        std::fs::write(infra(file), text + "\n").unwrap();
    }
    assert_eq!(read(file), expected);
}

fn queues_have_the_limits_of_the_code() {
    let mut expected = Map::new();
    for queue in QueueName::ALL.iter().copied() {
        let limits = gcp::queue_limits(queue);
        let seconds = |ms: i64| format!("{}s", ms as f64 / 1e3);
        let attempts = match limits.max_attempts {
            0 => -1,
            attempts => i64::from(attempts),
        };
        let settings = json!({
            "max_dispatches_per_second": limits.max_per_second as u64,
            "max_concurrent_dispatches": limits.max_concurrent,
            "max_attempts": attempts,
            "min_backoff": seconds(limits.min_backoff_ms),
            "max_backoff": seconds(limits.max_backoff_ms),
            "max_doublings": limits.max_doublings,
        });
        expected.insert(queue.as_str().to_owned(), settings);
    }
    assert_eq!(read("queues/queues.json"), Value::Object(expected));
}

/// Job and usage events also go to BigQuery.
fn every_topic_is_declared() {
    let expected = Topic::ALL.iter().map(|topic| {
        let bigquery = matches!(topic, Topic::JobEvents | Topic::UsageEvents);
        (topic.as_str().to_owned(), json!({"bigquery": bigquery}))
    });
    assert_eq!(
        read("pubsub/topics.json"),
        Value::Object(expected.collect())
    );
}
