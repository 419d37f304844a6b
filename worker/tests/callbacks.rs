//! Callbacks as stories: the worker's own routes, an engine in memory, and a receiver on a real socket.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests state expectations as tests do"
)]

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use oscillink_domain::callback::CallbackStatus;
use oscillink_domain::tier::{Baseline, Overrides};
use oscillink_domain::{
    Job, JobKind, JobStatus, KeyRecord, KeyStatus, Limits, QueueName, Tier, Timestamp,
};
use oscillink_engine::{Claim, Computed, Engine, EngineConfig, NewKey, Ports, Submission};
use oscillink_ports::{Delivery, TaskTarget as _, Verdict};
use oscillink_telemetry::Metrics;
use oscillink_testkit::{
    Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, SeededEntropy,
};
use oscillink_worker::{InProcess, Worker, WorkerConfig};
use receiver::{Received, Receiver};
use secrecy::SecretString;
use sha2::Sha256;

struct Shop {
    engine: Engine,
    queue: MemoryQueue,
    clock: ManualClock,
    worker: Worker,
    key: KeyRecord,
}

async fn shop(change: impl FnOnce(&mut WorkerConfig)) -> Shop {
    let none = Faults::none;
    let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
    let queue = MemoryQueue::new(none());
    let ports = Ports {
        store: Arc::new(MemoryStore::new(none())),
        blobs: Arc::new(MemoryBlobs::new(none())),
        queue: Arc::new(queue.clone()),
        bus: Arc::new(MemoryBus::new(none())),
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let config = EngineConfig {
        callback_secret: Some(SecretString::from("the service's own secret")),
        callback_attempts: 3,
        ..EngineConfig::default()
    };
    let engine = Engine::new(ports, config);
    let mut config = WorkerConfig::new("w", 1, 1 << 30);
    config.callback.allow_private = true;
    config.callback.timeout = Duration::from_millis(500);
    change(&mut config);
    let worker = Worker::new(engine.clone(), config, Metrics::new()).unwrap();
    let new = NewKey {
        name: "owner".into(),
        tier: Tier::Pro,
        overrides: Overrides::default(),
    };
    let key = engine.create_key(new).await.unwrap().record;
    Shop {
        engine,
        queue,
        clock,
        worker,
        key,
    }
}

impl Shop {
    /// A job that is done, and its callback's task.
    async fn done(&self, url: &str) -> (Job, Delivery) {
        let job = self.submit(url).await;
        let Claim::Granted(attempt) = self.engine.claim(&job.id, "w").await.unwrap() else {
            panic!("nobody else has it");
        };
        let computed = Computed {
            answer: Bytes::from_static(b"{}"),
            arrays: Default::default(),
            derived: Default::default(),
            duration_ms: 1.0,
        };
        assert!(self.engine.complete(&attempt, computed).await.unwrap());
        (job, self.task().await)
    }

    async fn submit(&self, url: &str) -> Job {
        let submission = Submission {
            key_id: self.key.key_id.clone(),
            key_hash: self.key.secrets[0].hash.clone(),
            tier: Tier::Pro,
            limits: Limits::of(Tier::Pro, &Baseline::default(), &Overrides::default()),
            kind: JobKind::Settle,
            n: 4,
            d: 3,
            memory_bytes: 1,
            payload: Bytes::from_static(b"payload"),
            request_id: "req-1".into(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            idempotency: None,
            custom_id: Some("mine".into()),
            callback_url: Some(url.to_owned()),
        };
        self.engine.submit(submission).await.unwrap().job
    }

    /// The one callback task that is to be made, taken off the queue.
    async fn task(&self) -> Delivery {
        let queue = QueueName::Callback;
        assert_eq!(self.engine.relay_dispatches(queue).await.unwrap(), 1);
        let tasks = self.queue.tasks();
        let task = tasks.iter().find(|task| task.queue == queue).unwrap();
        self.queue.remove(task);
        Delivery {
            queue,
            name: task.name.clone(),
            body: task.body.clone(),
            retry_count: 0,
            traceparent: task.traceparent.clone(),
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Verdict {
        let target = InProcess::new(self.worker.clone());
        target.deliver(delivery.clone()).await
    }

    async fn job(&self, job: &Job) -> Job {
        let found = self.engine.job(&job.key_id, &job.id).await;
        found.unwrap().unwrap()
    }

    async fn letters(&self) -> usize {
        let letters = self.engine.undelivered_callbacks(10, None).await;
        letters.unwrap().items.len()
    }

    async fn secret(&self) -> String {
        let key = self.engine.key(&self.key.key_id).await.unwrap().unwrap();
        self.engine.callback_secret(&key).unwrap().reveal()
    }
}

/// What Standard Webhooks says a signature is, written down once more from its text.
fn expected_signature(secret: &str, received: &Received) -> String {
    let secret = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    assert_eq!(secret.len(), 32);
    let signed = format!(
        "{}.{}.{}",
        received.header("webhook-id"),
        received.header("webhook-timestamp"),
        String::from_utf8(received.body.clone()).unwrap()
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(signed.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn the_end_of_a_job_is_reported_signed_and_once() {
    let shop = shop(|_| {}).await;
    let receiver = Receiver::start(&[204]).await;
    let (job, task) = shop.done(&receiver.url("/hook?a=b")).await;
    assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge);
    let received = receiver.next().await;
    let signature = expected_signature(&shop.secret().await, &received);
    assert_eq!(received.header("webhook-signature"), signature);
    let seconds = shop.engine.now().as_millis() / 1_000;
    assert_eq!(received.header("webhook-timestamp"), seconds.to_string());
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("traceparent").contains("4bf92f35"));
    assert_eq!(received.path, "/hook?a=b");
    let body: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(body["type"], "job.done");
    assert_eq!(body["data"]["job_id"], job.id.as_str());
    assert_eq!(body["data"]["custom_id"], "mine");
    let callback = shop.job(&job).await.callback.unwrap();
    assert_eq!(callback.status, CallbackStatus::Delivered);
    assert_eq!((callback.attempts, callback.last_status), (1, Some(204)));
    assert_eq!(callback.delivered_at, Some(shop.engine.now()));
    // The queue may deliver a task twice; the receiver hears of it once.
    assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn failures_are_tried_again_until_they_are_a_dead_letter_which_can_be_sent_anew() {
    let shop = shop(|_| {}).await;
    // 0 is no answer at all.
    let receiver = Receiver::start(&[500, 0, 429, 200]).await;
    let (job, task) = shop.done(&receiver.url("/")).await;
    assert_eq!(shop.deliver(&task).await, Verdict::Retry);
    let after = shop.job(&job).await.callback.unwrap();
    assert_eq!((after.attempts, after.last_status), (1, Some(500)));
    assert_eq!(shop.deliver(&task).await, Verdict::Retry);
    let after = shop.job(&job).await.callback.unwrap();
    assert_eq!(after.last_status, None);
    assert!(after.last_error.unwrap().contains("no answer within"));
    assert_eq!(shop.letters().await, 0);
    assert_eq!(
        shop.deliver(&task).await,
        Verdict::Acknowledge,
        "the last attempt: the queue is done with it"
    );
    let dead = shop.job(&job).await;
    assert_eq!(dead.callback.unwrap().status, CallbackStatus::Undelivered);
    assert_eq!(dead.status, JobStatus::Done, "the job is what it was");
    assert_eq!(shop.letters().await, 1);

    let redelivered = shop.engine.redeliver_callback(Some(&job.key_id), &job.id);
    redelivered.await.unwrap();
    assert_eq!(shop.letters().await, 0);
    let again = shop.task().await;
    assert_eq!(shop.deliver(&again).await, Verdict::Acknowledge);
    let delivered = shop.job(&job).await.callback.unwrap();
    assert_eq!(
        (delivered.status, delivered.attempts),
        (CallbackStatus::Delivered, 4)
    );
    let first = receiver.next().await;
    for _ in 0..3 {
        let repeat = receiver.next().await;
        assert_eq!(repeat.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(repeat.body, first.body);
    }
    // The task of the first dispatch is stale.
    assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge);
    assert_eq!(receiver.count(), 4);
}

#[tokio::test]
async fn a_crash_between_delivery_and_record_repeats_it_under_the_same_id() {
    let shop = shop(|config| config.callback.timeout = Duration::from_secs(30)).await;
    let receiver = Receiver::start(&[0, 200]).await;
    let (job, task) = shop.done(&receiver.url("/")).await;
    let target = InProcess::new(shop.worker.clone());
    let lost = tokio::spawn({
        let task = task.clone();
        async move { target.deliver(task).await }
    });
    let first = receiver.next().await;
    lost.abort();
    assert!(lost.await.unwrap_err().is_cancelled());
    assert_eq!(shop.job(&job).await.callback.unwrap().attempts, 0);
    assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge);
    let second = receiver.next().await;
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let shop = shop(|_| {}).await;
    let inside = Receiver::start(&[200]).await;
    let receiver = Receiver::redirecting(&inside.url("/secrets")).await;
    let (job, task) = shop.done(&receiver.url("/")).await;
    assert_eq!(shop.deliver(&task).await, Verdict::Retry);
    let callback = shop.job(&job).await.callback.unwrap();
    assert_eq!(callback.last_status, Some(307));
    assert!(callback.last_error.unwrap().contains("not followed"));
    assert_eq!((receiver.count(), inside.count()), (1, 0));
}

#[tokio::test]
async fn private_addresses_are_refused_at_delivery_for_good() {
    let shop = shop(|config| config.callback.allow_private = false).await;
    let receiver = Receiver::start(&[200]).await;
    for url in [
        receiver.url("/"),
        receiver.url("/").replace("http:", "https:"),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "https://[::ffff:127.0.0.1]/".to_owned(),
    ] {
        let (job, task) = shop.done(&url).await;
        assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge, "{url}");
        let callback = shop.job(&job).await.callback.unwrap();
        assert_eq!(callback.status, CallbackStatus::Undelivered, "{url}");
        assert!(callback.last_error.unwrap().contains("must"), "{url}");
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn both_secrets_sign_while_one_follows_the_other() {
    let shop = shop(|_| {}).await;
    let receiver = Receiver::start(&[200, 200]).await;
    let old = shop.secret().await;
    let engine = &shop.engine;
    let rotation = engine.rotate_callback_secret(&shop.key.key_id, 60_000, None);
    let new = rotation.await.unwrap().unwrap().secret.reveal();
    assert_eq!(shop.secret().await, new);
    assert_ne!(old, new);
    let (_, task) = shop.done(&receiver.url("/")).await;
    shop.deliver(&task).await;
    let received = receiver.next().await;
    let both = [&new, &old].map(|secret| expected_signature(secret, &received));
    assert_eq!(received.header("webhook-signature"), both.join(" "));
    shop.clock.advance(60_000);
    let (_, task) = shop.done(&receiver.url("/")).await;
    shop.deliver(&task).await;
    let received = receiver.next().await;
    let signature = expected_signature(&new, &received);
    assert_eq!(received.header("webhook-signature"), signature);
}

#[tokio::test]
async fn a_rotation_with_an_idempotency_key_happens_once() {
    let shop = shop(|_| {}).await;
    let idempotency = oscillink_engine::Idempotency {
        key: "once".into(),
        request_hash: oscillink_domain::Sha256Hex::of(b"rotate"),
    };
    let rotate = || {
        let engine = shop.engine.clone();
        let (key_id, idempotency) = (shop.key.key_id.clone(), idempotency.clone());
        async move {
            let rotation = engine.rotate_callback_secret(&key_id, 1, Some(&idempotency));
            rotation.await.unwrap().unwrap()
        }
    };
    let (first, second) = (rotate().await, rotate().await);
    assert_eq!(first.secret.reveal(), second.secret.reveal());
    assert_eq!((first.replayed, second.replayed), (false, true));
}

#[tokio::test]
async fn the_callbacks_of_a_revoked_key_are_not_sent() {
    let shop = shop(|_| {}).await;
    let receiver = Receiver::start(&[200]).await;
    let (job, task) = shop.done(&receiver.url("/")).await;
    let revoked = shop
        .engine
        .set_key_status(&shop.key.key_id, KeyStatus::Revoked);
    revoked.await.unwrap();
    assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge);
    let callback = shop.job(&job).await.callback.unwrap();
    assert_eq!(callback.status, CallbackStatus::Undelivered);
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn jobs_that_never_ran_are_reported_too() {
    let shop = shop(|_| {}).await;
    let receiver = Receiver::start(&[200]).await;
    let job = shop.submit(&receiver.url("/")).await;
    shop.engine.cancel(&job.key_id, &job.id).await.unwrap();
    let task = shop.task().await;
    shop.deliver(&task).await;
    let body: serde_json::Value = serde_json::from_slice(&receiver.next().await.body).unwrap();
    assert_eq!(body["type"], "job.cancelled");
}

#[tokio::test]
async fn a_slow_receiver_gets_so_many_at_once_and_others_get_theirs() {
    let shop = shop(|config| {
        config.callback.max_per_host = 2;
        config.callback.timeout = Duration::from_millis(300);
    })
    .await;
    let slow = Receiver::start(&[0; 8]).await;
    let other = Receiver::start(&[200]).await;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(shop.done(&slow.url("/")).await.1);
    }
    let target = InProcess::new(shop.worker.clone());
    let held: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            tokio::spawn({
                let target = target.clone();
                async move { target.deliver(task).await }
            })
        })
        .collect();
    slow.next().await;
    slow.next().await;
    let elsewhere = other.url("/").replace("127.0.0.1", "localhost");
    let (_, task) = shop.done(&elsewhere).await;
    assert_eq!(shop.deliver(&task).await, Verdict::Acknowledge);
    assert!(slow.most_at_once() <= 2, "{}", slow.most_at_once());
    for one in held {
        assert_eq!(one.await.unwrap(), Verdict::Retry);
    }
    assert!(slow.most_at_once() <= 2, "{}", slow.most_at_once());
}

#[tokio::test]
async fn shutdown_gives_back_what_is_under_way() {
    let shop = shop(|config| config.callback.timeout = Duration::from_secs(60)).await;
    let receiver = Receiver::start(&[0]).await;
    let (job, task) = shop.done(&receiver.url("/")).await;
    let target = InProcess::new(shop.worker.clone());
    let running = tokio::spawn({
        let task = task.clone();
        async move { target.deliver(task).await }
    });
    receiver.next().await;
    shop.worker.drain(Duration::from_millis(50)).await;
    assert_eq!(running.await.unwrap(), Verdict::Retry);
    assert_eq!(shop.job(&job).await.callback.unwrap().attempts, 0);
    assert_eq!(shop.deliver(&task).await, Verdict::Retry, "draining");
}
