//! What a key's overrides change about its work, whatever its tier says.

use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::tier::{Baseline, Overrides};
use oscillink_domain::{JobKind, KeyId, Limits, QueueName, Sha256Hex, Tier, Timestamp};
use oscillink_engine::{Claim, Computed, Engine, EngineConfig, Ports, Submission, SyncWork};
use oscillink_testkit::{
    Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, SeededEntropy, run,
};

fn engine() -> Engine {
    let none = Faults::none;
    let ports = Ports {
        store: Arc::new(MemoryStore::new(none())),
        blobs: Arc::new(MemoryBlobs::new(none())),
        queue: Arc::new(MemoryQueue::new(none())),
        bus: Arc::new(MemoryBus::new(none())),
        clock: Arc::new(ManualClock::at(Timestamp::from_millis(1_790_000_000_000))),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let config = EngineConfig {
        ledger_secret: Some("a secret".into()),
        ..EngineConfig::default()
    };
    Engine::new(ports, config)
}

fn limits(tier: Tier, overrides: &str) -> Limits {
    let overrides: Overrides = serde_json::from_str(overrides).expect("overrides");
    Limits::of(tier, &Baseline::default(), &overrides)
}

fn submission(tier: Tier, overrides: &str) -> Submission {
    Submission {
        key_id: KeyId::from_random([1; 16]),
        key_hash: Sha256Hex::of(b"k"),
        tier,
        limits: limits(tier, overrides),
        kind: JobKind::Settle,
        n: 1,
        d: 2,
        memory_bytes: 1,
        payload: Bytes::from_static(b"payload"),
        request_id: "req".into(),
        traceparent: None,
        idempotency: None,
        custom_id: None,
        callback_url: None,
    }
}

/// Whether the key's only ledger row is signed.
fn row_is_signed(engine: &Engine) -> bool {
    let page = run(engine.ledger(&KeyId::from_random([1; 16]), 10, None)).expect("a ledger");
    assert_eq!(page.items.len(), 1);
    page.items[0].signature.is_some()
}

#[test]
fn rows_of_synchronous_work_are_signed_as_the_key_says() {
    for (tier, overrides, signed) in [
        (Tier::Pro, "{}", false),
        (Tier::Pro, r#"{"signed_usage": true}"#, true),
        (Tier::Enterprise, "{}", true),
        (Tier::Enterprise, r#"{"signed_usage": false}"#, false),
    ] {
        let engine = engine();
        let work = SyncWork {
            key_id: KeyId::from_random([1; 16]),
            key_hash: Sha256Hex::of(b"k"),
            tier,
            limits: limits(tier, overrides),
            row_id: "row".into(),
            request_id: "req".into(),
            event: "settle".into(),
            n: 1,
            d: 2,
            diffusion: false,
        };
        run(engine.charge(&work, 1.0)).unwrap();
        assert_eq!(row_is_signed(&engine), signed, "{tier} {overrides}");
    }
}

#[test]
fn rows_of_jobs_are_signed_as_the_key_said_at_submission() {
    for (tier, overrides, signed) in [
        (Tier::Pro, r#"{"signed_usage": true}"#, true),
        (Tier::Enterprise, r#"{"signed_usage": false}"#, false),
    ] {
        let engine = engine();
        let job = run(engine.submit(submission(tier, overrides))).unwrap().job;
        let Claim::Granted(attempt) = run(engine.claim(&job.id, "w")).unwrap() else {
            panic!("not granted");
        };
        let computed = Computed {
            answer: Bytes::from_static(b"{}"),
            arrays: Default::default(),
            derived: Default::default(),
            duration_ms: 1.0,
        };
        assert!(run(engine.complete(&attempt, computed)).unwrap());
        assert_eq!(row_is_signed(&engine), signed, "{tier} {overrides}");
    }
}

#[test]
fn a_job_has_its_keys_priority_and_time_for_results() {
    let engine = engine();
    let given = r#"{"priority": true, "result_ttl_s": 90}"#;
    let job = run(engine.submit(submission(Tier::Pro, given)))
        .unwrap()
        .job;
    assert_eq!(
        (job.queue, job.result_ttl_ms),
        (QueueName::Priority, 90_000)
    );
    let given = r#"{"priority": false}"#;
    let job = run(engine.submit(submission(Tier::Enterprise, given)));
    assert_eq!(job.unwrap().job.queue, QueueName::Settle);
}
