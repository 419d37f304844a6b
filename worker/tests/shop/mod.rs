//! What the stories about deliveries share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oscillink_domain::tier::{Baseline, Overrides};
use oscillink_domain::{Job, JobKind, KeyId, Limits, QueueName, Sha256Hex, Tier, Timestamp};
use oscillink_engine::{Engine, EngineConfig, Ports, Submission, TaskBody};
use oscillink_ports::Delivery;
use oscillink_telemetry::Metrics;
use oscillink_testkit::{
    Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, SeededEntropy,
};
use oscillink_wire::{Format, Parameters, SizeLimits, encode_payload, parse};
use oscillink_worker::{Worker, WorkerConfig};

/// An engine in memory and a worker over it.
pub(crate) struct Shop {
    pub(crate) engine: Engine,
    pub(crate) worker: Worker,
}

/// With the worker's settings changed.
pub(crate) fn shop(change: impl FnOnce(&mut WorkerConfig)) -> Shop {
    let none = Faults::none;
    let ports = Ports {
        store: Arc::new(MemoryStore::new(none())),
        blobs: Arc::new(MemoryBlobs::new(none())),
        queue: Arc::new(MemoryQueue::new(none())),
        bus: Arc::new(MemoryBus::new(none())),
        clock: Arc::new(ManualClock::at(Timestamp::from_millis(1_790_000_000_000))),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let engine = Engine::new(ports, EngineConfig::default());
    let worker = worker(&engine, change);
    Shop { engine, worker }
}

/// Another worker over the same engine.
pub(crate) fn worker(engine: &Engine, change: impl FnOnce(&mut WorkerConfig)) -> Worker {
    let mut config = WorkerConfig::new("w", 2, 1 << 30);
    config.heartbeat_every = Duration::from_millis(10);
    change(&mut config);
    Worker::new(engine.clone(), config, Metrics::new()).unwrap()
}

/// Rows without equals.
pub(crate) fn rows(rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let value = |i: usize, j: usize| ((i * 7 + j * 3 + i * j * j) % 1009) as f64 - 504.0;
    (0..rows)
        .map(|i| (0..columns).map(|j| value(i, j)).collect())
        .collect()
}

/// A request that iterates at most `max_iters` times.
pub(crate) fn payload(rows: usize, columns: usize, max_iters: usize) -> Bytes {
    encoded(&serde_json::json!({
        "Y": self::rows(rows, columns),
        "options": {"max_iters": max_iters, "tol": 1e-30, "bundle_k": 2},
    }))
}

/// A request's body as it is stored with its job.
pub(crate) fn encoded(body: &serde_json::Value) -> Bytes {
    let bytes = serde_json::to_vec(body).unwrap();
    let none = Parameters::default();
    let body = parse(Format::Json, &bytes, none, &SizeLimits::NONE).unwrap();
    encode_payload(&body.request)
}

impl Shop {
    pub(crate) async fn submit(&self, payload: Bytes, memory_bytes: u64) -> Job {
        let none = Overrides::default();
        self.submit_with(payload, memory_bytes, &none).await
    }

    /// As a pro key with overrides submits it.
    pub(crate) async fn submit_with(
        &self,
        payload: Bytes,
        memory_bytes: u64,
        overrides: &Overrides,
    ) -> Job {
        let submission = Submission {
            key_id: KeyId::from_random([1; 16]),
            key_hash: Sha256Hex::of(b"k"),
            tier: Tier::Pro,
            limits: Limits::of(Tier::Pro, &Baseline::default(), overrides),
            kind: JobKind::Settle,
            n: 4,
            d: 3,
            memory_bytes,
            payload,
            request_id: "req-1".into(),
            traceparent: None,
            idempotency: None,
            custom_id: None,
            callback_url: None,
        };
        self.engine.submit(submission).await.unwrap().job
    }

    pub(crate) async fn job(&self, job: &Job) -> Job {
        self.engine
            .job(&job.key_id, &job.id)
            .await
            .unwrap()
            .unwrap()
    }

    /// The answer of a job that is done.
    pub(crate) async fn answer(&self, job: &Job) -> serde_json::Value {
        let result = self.job(job).await.result.unwrap();
        let answer = self.engine.content(&result.answer).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Ledger rows of the job's key.
    pub(crate) async fn rows(&self, job: &Job) -> usize {
        self.engine
            .ledger(&job.key_id, 10, None)
            .await
            .unwrap()
            .items
            .len()
    }
}

/// The delivery of a job's task.
pub(crate) fn delivery(job: &Job) -> Delivery {
    let body = TaskBody {
        job_id: job.id.clone(),
        memory_bytes: job.memory_bytes,
    };
    Delivery {
        queue: QueueName::Settle,
        name: "t".into(),
        body: Bytes::from(serde_json::to_vec(&body).unwrap()),
        retry_count: 0,
        traceparent: None,
    }
}
