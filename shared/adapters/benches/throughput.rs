//! What the embedded backends carry: durable transactions with and without group commit, task and
//! event round trips.
//!
//! `cargo bench -p oscillink-adapters --bench throughput [-- SECONDS] [transactions] [single] [tasks] [events]`
//!
//! `BENCH_DIR` names the folder to work in; on a memory file system the disk's part falls away.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use oscillink_adapters::embedded::{self, EmbeddedConfig};
use oscillink_domain::event::Topic;
use oscillink_domain::{Event, EventId, QueueName, Sha256Hex, Timestamp};
use oscillink_ports::{
    Bus, Collection, Delivery, DocKey, EventHandler, OsClock, Received, Store, Task, TaskQueue,
    TaskTarget, Verdict, Write,
};
use serde_json::{Value, json};

const CALLERS: u64 = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.iter().filter_map(|arg| arg.parse().ok()).next();
    let time = Duration::from_secs(seconds.unwrap_or(5));
    let parts = ["transactions", "single", "tasks", "events"];
    let named = arguments.iter().any(|arg| parts.contains(&arg.as_str()));
    let wanted = |part: &str| !named || arguments.iter().any(|arg| arg == part);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if wanted("transactions") {
            let grouped = transactions(time, true).await;
            if wanted("single") {
                let single = transactions(time, false).await;
                println!("group commit: {:.1} times as many", grouped / single);
            }
        }
        if wanted("tasks") {
            tasks(time).await;
        }
        if wanted("events") {
            events(time).await;
        }
    });
}

fn folder() -> tempfile::TempDir {
    let base = std::env::var_os("BENCH_DIR").unwrap_or_else(|| std::env::temp_dir().into());
    tempfile::tempdir_in(base).unwrap()
}

/// One accepted job: its record, its payload, the idempotency record, the dispatch intent and the
/// caller's meter.
fn accept(caller: u64, n: u64, meter: &Value) -> Vec<Write> {
    let id = Sha256Hex::of_parts([&caller.to_le_bytes()[..], &n.to_le_bytes()]);
    let id = &id.as_str()[..26];
    let now = 1_767_225_599_123 + n as i64;
    let padding = "p".repeat(650);
    let key_id = format!("key_{caller:022}");
    let job = json!({
        "id": id, "key_id": key_id, "status": "queued", "kind": "settle", "live": true,
        "queue": "settle", "created_at": now, "due_at": now + 60_000, "expires_at": now + 86_400_000,
        "dead_letter": false, "attempts": 0, "generation": 0, "tag": n, "padding": padding,
    });
    let content = json!({"expires_at": now + 86_400_000, "bytes": "A".repeat(14_000)});
    let record = json!({"key_id": key_id, "job_id": id, "expires_at": now, "padding": padding});
    let intent = json!({
        "id": id, "lane": "settle", "tag": n, "created_at": now, "intent": {"padding": padding},
    });
    vec![
        Write::Create(DocKey::new(Collection::Jobs, id), job.into()),
        Write::Create(DocKey::new(Collection::Contents, id), content.into()),
        Write::Create(DocKey::new(Collection::Idempotency, id), record.into()),
        Write::Create(DocKey::new(Collection::Outbox, id), intent.into()),
        Write::Put(DocKey::new(Collection::Quota, key_id), meter.clone().into()),
    ]
}

async fn transactions(time: Duration, group_commit: bool) -> f64 {
    let folder = folder();
    let mut config = EmbeddedConfig::new(folder.path());
    config.database.group_commit = group_commit;
    let opened = embedded::open(&config, Arc::new(OsClock)).unwrap();
    let started = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = Arc::clone(&opened.store);
            tokio::spawn(async move {
                let meter_key = DocKey::new(Collection::Quota, format!("key_{caller:022}"));
                let mut slowest = Duration::ZERO;
                let mut n = 0;
                while started.elapsed() < time {
                    let begun = Instant::now();
                    let key = meter_key.clone();
                    let decide = move |snapshot: &oscillink_ports::Snapshot| {
                        let meter: Option<Value> = snapshot.get(&key).unwrap();
                        let used = meter.and_then(|m| m["used"].as_u64()).unwrap_or(0);
                        let meter = json!({
                            "key_id": key.id, "used": used + 1, "padding": "p".repeat(800),
                        });
                        accept(caller, n, &meter)
                    };
                    store
                        .transact(vec![meter_key.clone()], Arc::new(decide))
                        .await
                        .unwrap();
                    slowest = slowest.max(begun.elapsed());
                    n += 1;
                }
                (n, slowest)
            })
        })
        .collect();
    let (mut total, mut slowest) = (0, Duration::ZERO);
    for caller in callers {
        let (n, slow) = caller.await.unwrap();
        total += n;
        slowest = slowest.max(slow);
    }
    let rate = total as f64 / started.elapsed().as_secs_f64();
    let counts = opened.store.counts();
    let log = std::fs::metadata(folder.path().join("oscillink.db-wal")).unwrap();
    println!(
        "transactions, {}: {rate:.0}/s, {:.1} a commit, slowest {slowest:?}, waited {} ms for {} checkpoints, log {} MiB",
        if group_commit {
            "grouped"
        } else {
            "one by one"
        },
        counts.transactions as f64 / counts.commits as f64,
        counts.checkpoint_us / 1_000,
        counts.checkpoints,
        log.len() >> 20,
    );
    rate
}

struct Counting(AtomicU64);

#[async_trait]
impl TaskTarget for Counting {
    async fn deliver(&self, _: Delivery) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Acknowledge
    }
}

struct Releasing(AtomicU64, Arc<tokio::sync::Semaphore>);

#[async_trait]
impl EventHandler for Releasing {
    async fn handle(&self, _: Received) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.add_permits(1);
        true
    }
}

async fn tasks(time: Duration) {
    let folder = folder();
    let opened = embedded::open(&EmbeddedConfig::new(folder.path()), Arc::new(OsClock)).unwrap();
    let target = Arc::new(Counting(AtomicU64::new(0)));
    let delivering: Arc<dyn TaskTarget> = target.clone();
    opened.queue.start(|_| Some(Arc::clone(&delivering)));
    let started = Instant::now();
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let queue = Arc::clone(&opened.queue);
            tokio::spawn(async move {
                let mut n = 0;
                while started.elapsed() < time {
                    let portion = (0..16)
                        .map(|_| {
                            n += 1;
                            let name = Sha256Hex::of_parts([
                                &u64::to_le_bytes(caller)[..],
                                &u64::to_le_bytes(n),
                            ]);
                            Task {
                                queue: QueueName::Settle,
                                name: name.as_str()[..40].to_owned(),
                                body: Bytes::from(vec![b'b'; 200]),
                                not_before: None,
                                traceparent: None,
                            }
                        })
                        .collect();
                    for result in queue.create(portion).await {
                        result.unwrap();
                    }
                }
                n
            })
        })
        .collect();
    let mut created = 0;
    for caller in callers {
        created += caller.await.unwrap();
    }
    while opened.queue.stats(QueueName::Settle).await.unwrap().depth > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = created as f64 / started.elapsed().as_secs_f64();
    assert_eq!(target.0.load(Ordering::Relaxed), created);
    println!("tasks created, delivered and acknowledged: {rate:.0}/s");
}

async fn events(time: Duration) {
    let folder = folder();
    let opened = embedded::open(&EmbeddedConfig::new(folder.path()), Arc::new(OsClock)).unwrap();
    // Each publisher stays a little ahead of the handler, as a relay would.
    let ahead = Arc::new(tokio::sync::Semaphore::new(10_000));
    let handler = Arc::new(Releasing(AtomicU64::new(0), Arc::clone(&ahead)));
    let handling: Arc<dyn EventHandler> = handler.clone();
    let subscribed = opened
        .bus
        .subscribe(Topic::JobEvents, "bench", false, handling);
    subscribed.await.unwrap();
    let started = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let ahead = Arc::clone(&ahead);
            let bus = Arc::clone(&opened.bus);
            tokio::spawn(async move {
                let mut n = 0u64;
                while started.elapsed() < time {
                    let digest = Sha256Hex::of_parts([&caller.to_le_bytes()[..], &n.to_le_bytes()]);
                    let event = Event::new(
                        EventId::from_digest(&digest),
                        "job.completed",
                        Timestamp::from_millis(0),
                        "bench",
                        json!({"n": n}),
                    );
                    let key = format!("tenant-{caller}");
                    ahead.acquire().await.unwrap().forget();
                    bus.publish(Topic::JobEvents, &key, &event).await.unwrap();
                    n += 1;
                }
                n
            })
        })
        .collect();
    let mut published = 0;
    for caller in callers {
        published += caller.await.unwrap();
    }
    while handler.0.load(Ordering::Relaxed) < published {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = published as f64 / started.elapsed().as_secs_f64();
    println!("events published and handled: {rate:.0}/s");
}
