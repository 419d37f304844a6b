//! The engine on Firestore: a limit holds however many ask at once.

use std::sync::Arc;

use bytes::Bytes;
use libtest_mimic::Trial;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{JobKind, KeyId, Limits, Sha256Hex, Tier, Units};
use oscillink_engine::{Engine, EngineConfig, Ports, Submission, SubmitError};
use oscillink_ports::OsClock;
use oscillink_ports::conformance::unique_number;
use oscillink_testkit::{FaultRates, Faults, MemoryBlobs, MemoryBus, MemoryQueue, SeededEntropy};

use super::store::connect;
use super::{Bench, project, trial};

/// Submissions at once.
const CALLERS: usize = 64;
/// Those that the quota has room for.
const ROOM: usize = 10;
const N: usize = 80;
const D: usize = 32;

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let on = |name, shards: u32, processes: usize| {
        let firestore = |bench: &Bench| bench.firestore();
        trial(bench, name, firestore, move |address| {
            exactly_as_many_as_there_is_room_for(address, shards, processes)
        })
    };
    vec![
        on("quota::exactly_ten_of_64_with_one_shard", 1, 1),
        on("quota::exactly_ten_of_64_with_four_shards", 4, 1),
        on("quota::exactly_ten_of_64_over_four_processes", 1, 4),
        on(
            "quota::exactly_ten_of_64_over_four_processes_with_four_shards",
            4,
            4,
        ),
    ]
}

async fn engine(address: &str, project: &str, shards: u32) -> Engine {
    let faults = Faults::new(0, FaultRates::default());
    let ports = Ports {
        store: Arc::new(connect(address, project).await),
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

async fn exactly_as_many_as_there_is_room_for(address: String, shards: u32, processes: usize) {
    let project = project();
    let mut engines = Vec::new();
    for _ in 0..processes {
        engines.push(engine(&address, &project, shards).await);
    }
    let key_id = KeyId::from_random([7; 16]);
    let overrides = Overrides {
        window_units: Some(Units::new((ROOM * N * D) as u64)),
        ..Overrides::default()
    };
    let limits = Limits::of(Tier::Pro, &engines[0].config().baseline, &overrides);
    let began = std::time::Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let engine = engines[n % processes].clone();
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
    eprintln!(
        "{CALLERS} submits, {shards} shards, {processes} processes: {:?}",
        began.elapsed()
    );
    assert_eq!(accepted, ROOM);
    let usage = engines[0].usage(&key_id, &limits).await.unwrap();
    assert_eq!(
        usage.window.tally.reserved,
        Units::new((ROOM * N * D) as u64)
    );
    assert_eq!(usage.live_jobs, ROOM as u64);
}
