//! Jobs that are cut off and go on, as stories over an engine in memory.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests state expectations as tests do"
)]

mod shop;

use std::time::Duration;

use bytes::Bytes;
use oscillink_domain::{Job, JobStatus};
use oscillink_ports::{TaskTarget as _, Verdict};
use oscillink_worker::{InProcess, WorkerConfig};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use shop::{Shop, delivery, encoded, payload, rows, shop, worker};

/// Rows of the jobs: enough for several tiles.
const ROWS: usize = 3_000;

fn eager(config: &mut WorkerConfig) {
    config.checkpoint_every = Duration::ZERO;
}

/// A job that iterates for long after its search: its system hardly converges.
fn stubborn() -> Bytes {
    encoded(&json!({
        "Y": rows(ROWS, 32),
        "params": {"lamG": 1e-3, "lamC": 1e3, "lamQ": 0.0},
        "options": {"max_iters": 10_000, "tol": 1e-30, "dt": 1e3, "bundle_k": 2},
    }))
}

async fn checkpoints(shop: &Shop) -> Vec<String> {
    let names = shop.engine.ports().blobs.list("jobs/", None, 100).await;
    let names = names.unwrap().into_iter();
    names.filter(|name| name.contains("checkpoint")).collect()
}

/// Starts a job and waits until it has left a checkpoint.
async fn started(shop: &Shop) -> (Job, JoinHandle<Verdict>) {
    let job = shop.submit(stubborn(), 1).await;
    let target = InProcess::new(shop.worker.clone());
    let delivery = delivery(&job);
    let running = tokio::spawn(async move { target.deliver(delivery).await });
    while checkpoints(shop).await.is_empty() {
        assert!(!running.is_finished(), "it never left a checkpoint");
        yield_now().await;
    }
    (job, running)
}

/// A job that a draining worker has handed back, with what it has left.
async fn handed_back() -> (Shop, Job) {
    let shop = shop(eager);
    let (job, running) = started(&shop).await;
    shop.worker.drain(Duration::ZERO).await;
    running.await.unwrap();
    let back = shop.job(&job).await;
    assert_eq!(back.status, JobStatus::Queued);
    (shop, back)
}

/// The answer after another worker has finished the job.
async fn finished(shop: &Shop, job: &Job) -> Value {
    let target = InProcess::new(worker(&shop.engine, |_| {}));
    let verdict = target.deliver(delivery(job)).await;
    assert_eq!(verdict, Verdict::Acknowledge);
    let answer = shop.answer(job).await;
    assert_eq!(
        checkpoints(shop).await,
        Vec::<String>::new(),
        "nothing is left"
    );
    answer
}

/// What must not depend on how often a job was cut off.
fn lasting(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("timings_ms");
    let receipt = answer["receipt"].as_object_mut().unwrap();
    receipt.remove("t_ms");
    let meta = receipt["meta"].as_object_mut().unwrap();
    meta.retain(|name, _| !name.ends_with("_ms"));
    answer
}

async fn undisturbed() -> Value {
    let shop = shop(|_| {});
    let job = shop.submit(stubborn(), 1).await;
    finished(&shop, &job).await
}

async fn replace(shop: &Shop, change: impl Fn(Bytes) -> Vec<u8>) {
    for name in checkpoints(shop).await {
        let blobs = &shop.engine.ports().blobs;
        let bytes = blobs.get(&name).await.unwrap();
        blobs.delete(&name).await.unwrap();
        blobs.create(&name, change(bytes).into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_job_that_goes_on_has_the_answer_of_one_that_was_never_cut_off() {
    let (shop, job) = handed_back().await;
    assert_eq!(checkpoints(&shop).await.len(), 1, "older ones are replaced");
    let answer = finished(&shop, &job).await;
    assert_eq!(lasting(answer), lasting(undisturbed().await));
    assert_eq!(shop.rows(&job).await, 1, "billed once");
}

/// Proves that checkpoints are used at all: this one claims that no row has a neighbour.
#[tokio::test]
async fn a_job_goes_on_from_what_its_checkpoint_says() {
    let (shop, job) = handed_back().await;
    replace(&shop, |bytes| {
        // Magic, count, fingerprint, tiles and their bits, rows; see the core's layout.
        let tiles = u32::from_le_bytes(*bytes[44..].first_chunk().unwrap()) as usize;
        let rows_end = 48 + tiles.div_ceil(8) + 4;
        let mut forged = bytes[..rows_end].to_vec();
        forged.resize(rows_end + 4 * ROWS, 0);
        let digest = Sha256::digest(&forged);
        forged.extend_from_slice(&digest);
        forged
    })
    .await;
    let answer = finished(&shop, &job).await;
    assert_eq!(answer["receipt"]["meta"]["avg_degree"], 0.0);
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_is_ignored() {
    for change in [
        |bytes: Bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes: Bytes| {
            let mut altered = bytes.to_vec();
            altered[100] ^= 1;
            altered
        },
        |_: Bytes| Vec::new(),
    ] {
        let (shop, job) = handed_back().await;
        replace(&shop, change).await;
        let answer = finished(&shop, &job).await;
        assert_eq!(lasting(answer), lasting(undisturbed().await));
    }
}

#[tokio::test]
async fn a_cancelled_job_leaves_no_checkpoint() {
    let shop = shop(eager);
    let (job, running) = started(&shop).await;
    shop.engine.cancel(&job.key_id, &job.id).await.unwrap();
    assert_eq!(running.await.unwrap(), Verdict::Acknowledge);
    assert_eq!(shop.job(&job).await.status, JobStatus::Cancelled);
    assert_eq!(checkpoints(&shop).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_job_that_ends_soon_leaves_none_to_begin_with() {
    let shop = shop(|_| {});
    let job = shop.submit(payload(ROWS, 32, 12), 1).await;
    InProcess::new(shop.worker.clone())
        .deliver(delivery(&job))
        .await;
    assert_eq!(shop.job(&job).await.status, JobStatus::Done);
    assert_eq!(checkpoints(&shop).await, Vec::<String>::new());
}

/// The queue's deadline ends the request, and with it the delivery.
#[tokio::test]
async fn a_delivery_that_is_cut_off_frees_its_thread_and_leaves_its_checkpoint() {
    let shop = shop(|config| {
        eager(config);
        config.threads = 1;
    });
    let (_, running) = started(&shop).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    let small = shop.submit(payload(4, 3, 12), 1).await;
    let target = InProcess::new(shop.worker.clone());
    let served = timeout(Duration::from_secs(60), target.deliver(delivery(&small)));
    assert_eq!(served.await, Ok(Verdict::Acknowledge));
    assert_eq!(shop.job(&small).await.status, JobStatus::Done);
    assert_eq!(checkpoints(&shop).await.len(), 1);
}
