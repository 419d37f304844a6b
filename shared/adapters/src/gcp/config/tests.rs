//! Variables as an operator sets them.

use std::collections::HashMap;

use super::*;

const EMULATED: &[(&str, &str)] = &[
    ("FIRESTORE_PROJECT", "demo-oscillink"),
    ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8080"),
    ("PUBSUB_EMULATOR_HOST", "http://127.0.0.1:8085/"),
    ("OSCILLINK_TASKS_ENDPOINT", "http://127.0.0.1:8123"),
    ("OSCILLINK_TASKS_LOCATION", "local"),
    (
        "OSCILLINK_TASKS_SERVICE_ACCOUNT",
        "tasks@demo.iam.gserviceaccount.com",
    ),
    ("OSCILLINK_OIDC_JWKS_URL", "http://127.0.0.1:8123/jwks"),
    ("OSCILLINK_WORKER_URL", "http://127.0.0.1:9001/"),
    (
        "OSCILLINK_WORKER_URL_DIFFUSION",
        "http://127.0.0.1:9002/pool",
    ),
    ("OSCILLINK_BLOB_URL", "gs://results/v1/"),
    ("OSCILLINK_BLOB_ENDPOINT", "http://127.0.0.1:4443"),
];

/// What `base` with `changes` gives; an empty value removes a variable.
fn read(changes: &[(&str, &str)]) -> Result<GcpConfig, ConfigError> {
    let mut variables: HashMap<&str, &str> = EMULATED.iter().copied().collect();
    variables.extend(changes.iter().copied());
    GcpConfig::from_lookup(&|name| variables.get(name).map(|text| (*text).to_owned()))
}

fn refusal(changes: &[(&str, &str)]) -> String {
    read(changes).unwrap_err().to_string()
}

#[test]
fn a_rehearsal_has_every_address() {
    let config = read(&[]).unwrap();
    assert_eq!(
        config.firestore.emulator.as_deref(),
        Some("http://127.0.0.1:8080")
    );
    assert_eq!(config.firestore.database, "(default)");
    assert_eq!(
        config.pubsub.emulator.as_deref(),
        Some("http://127.0.0.1:8085")
    );
    let tasks = config.tasks.unwrap();
    assert_eq!(tasks.workers[&QueueName::Settle], "http://127.0.0.1:9001");
    assert_eq!(
        tasks.workers[&QueueName::Diffusion],
        "http://127.0.0.1:9002/pool"
    );
    assert_eq!(
        tasks.audience_of(QueueName::Diffusion).as_deref(),
        Some("http://127.0.0.1:9002")
    );
    assert_eq!(
        config.blobs.place,
        BlobPlace::Bucket {
            bucket: "results".to_owned(),
            prefix: "v1/".to_owned(),
        }
    );
}

#[test]
fn production_needs_no_emulator() {
    let config = read(&[
        ("FIRESTORE_EMULATOR_HOST", ""),
        ("PUBSUB_EMULATOR_HOST", ""),
        ("OSCILLINK_TASKS_ENDPOINT", ""),
        ("OSCILLINK_OIDC_JWKS_URL", ""),
        ("OSCILLINK_BLOB_ENDPOINT", ""),
        ("OSCILLINK_WORKER_URL", "https://worker-abc.a.run.app"),
        ("OSCILLINK_WORKER_URL_DIFFUSION", ""),
        ("OSCILLINK_TASKS_AUDIENCE", "oscillink-worker"),
    ])
    .unwrap();
    assert_eq!(config.firestore.emulator, None);
    assert_eq!(
        config
            .tasks
            .unwrap()
            .audience_of(QueueName::Callback)
            .as_deref(),
        Some("oscillink-worker")
    );
}

#[test]
fn every_missing_variable_is_named() {
    let text = GcpConfig::from_lookup(&|_| None).unwrap_err().to_string();
    for name in [
        "FIRESTORE_PROJECT",
        "OSCILLINK_TASKS_LOCATION",
        "OSCILLINK_TASKS_SERVICE_ACCOUNT",
        "OSCILLINK_WORKER_URL_SETTLE",
        "OSCILLINK_WORKER_URL_CALLBACK",
        "OSCILLINK_BLOB_URL",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

#[test]
fn a_process_without_tasks_is_not_asked_for_their_variables() {
    let config = GcpConfig::without_tasks(&|name| match name {
        "FIRESTORE_PROJECT" => Some("demo-oscillink".to_owned()),
        "OSCILLINK_BLOB_URL" => Some("gs://results".to_owned()),
        _ => None,
    });
    let config = config.unwrap();
    assert_eq!(config.tasks, None);
    assert!(config.oidc(&[QueueName::Settle]).audiences.is_empty());
    let text = GcpConfig::without_tasks(&|_| None).unwrap_err().to_string();
    assert!(text.contains("OSCILLINK_BLOB_URL"), "{text}");
    assert!(
        !text.contains("TASKS") && !text.contains("WORKER"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_used_is_named() {
    for (name, value) in [
        ("FIRESTORE_PROJECT", "Has Spaces"),
        ("FIRESTORE_DATABASE", "a/b"),
        ("FIRESTORE_EMULATOR_HOST", "127.0.0.1"),
        ("PUBSUB_EMULATOR_HOST", "https://127.0.0.1:1"),
        ("OSCILLINK_TASKS_ENDPOINT", "127.0.0.1:8123"),
        ("OSCILLINK_TASKS_LOCATION", "Europe West"),
        ("OSCILLINK_TASKS_QUEUE_PREFIX", "a_b"),
        ("OSCILLINK_TASKS_SERVICE_ACCOUNT", "nobody"),
        ("OSCILLINK_WORKER_URL", "worker"),
        ("OSCILLINK_WORKER_URL_DIFFUSION", "ftp://worker"),
        ("OSCILLINK_BLOB_URL", "s3://bucket"),
        ("OSCILLINK_BLOB_URL", "gs://B"),
        ("OSCILLINK_BLOB_URL", "gs://bucket/../x"),
        ("OSCILLINK_BLOB_URL", "file://relative"),
        ("OSCILLINK_BLOB_ENDPOINT", "localhost"),
    ] {
        assert!(refusal(&[(name, value)]).contains(name), "{name}={value}");
    }
}

#[test]
fn tokens_are_not_weakened_outside_an_emulator() {
    let text = refusal(&[("OSCILLINK_TASKS_ENDPOINT", "")]);
    assert!(text.contains("OSCILLINK_OIDC_JWKS_URL"), "{text}");
    assert!(
        text.contains("OSCILLINK_WORKER_URL must be an https"),
        "{text}"
    );
    assert!(
        text.contains("OSCILLINK_WORKER_URL_DIFFUSION must be an https"),
        "{text}"
    );
}
