//! Many submissions at once against room for few, on any store.

use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{JobKind, KeyId, Limits, Sha256Hex, Tier, Units};
use oscillink_engine::{Engine, EngineConfig, Ports, Submission, SubmitError};
use oscillink_ports::conformance::unique_number;
use oscillink_ports::{OsClock, Store};
use oscillink_testkit::{FaultRates, Faults, MemoryBlobs, MemoryBus, MemoryQueue, SeededEntropy};

/// Submissions at once.
const CALLERS: usize = 64;
/// Those that the quota has room for.
const ROOM: usize = 10;
const N: usize = 80;
const D: usize = 32;

fn engine(store: Arc<dyn Store>, shards: u32) -> Engine {
    let faults = Faults::new(0, FaultRates::default());
    let ports = Ports {
        store,
        // Accepting a small job uses none of these.
        blobs: Arc::new(MemoryBlobs::new(faults.clone())),
        queue: Arc::new(MemoryQueue::new(faults.clone())),
        bus: Arc::new(MemoryBus::new(faults)),
        clock: Arc::new(OsClock),
        entropy: Arc::new(SeededEntropy::new(unique_number())),
    };
    let config = EngineConfig {
        quota_shards: shards,
        // One window, whenever the test runs.
        window_ms: i64::MAX,
        ..EngineConfig::default()
    };
    Engine::new(ports, config)
}

fn submission(key_id: &KeyId, limits: &Limits) -> Submission {
    Submission {
        key_id: key_id.clone(),
        key_hash: Sha256Hex::of(b"secret"),
        tier: Tier::Pro,
        limits: limits.clone(),
        kind: JobKind::Settle,
        n: N,
        d: D,
        memory_bytes: 1 << 20,
        payload: Bytes::from_static(b"payload"),
        request_id: "request".to_owned(),
        traceparent: None,
        idempotency: None,
        custom_id: None,
        callback_url: None,
    }
}

/// Exactly as many are accepted as there is room for; each store stands for a process of its own.
pub(crate) async fn exactly_ten_are_accepted(stores: Vec<Arc<dyn Store>>, shards: u32) {
    let engines: Vec<_> = stores
        .into_iter()
        .map(|store| engine(store, shards))
        .collect();
    let key_id = KeyId::from_random([7; 16]);
    let room = Units::new((ROOM * N * D) as u64);
    let overrides = Overrides {
        window_units: Some(room),
        ..Overrides::default()
    };
    let limits = Limits::of(Tier::Pro, &engines[0].config().baseline, &overrides);
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let engine = engines[n % engines.len()].clone();
            let submission = submission(&key_id, &limits);
            tokio::spawn(async move { engine.submit(submission).await })
        })
        .collect();
    let mut accepted = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(SubmitError::Quota(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(accepted, ROOM);
    let usage = engines[0].usage(&key_id, &limits).await.unwrap();
    assert_eq!(usage.window.tally.reserved, room);
    assert_eq!(usage.live_jobs, ROOM as u64);
}
