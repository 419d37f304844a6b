//! The engine's rules as stories, over adapters in memory without faults.

use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::job::{Failure, FailureClass, RetryPolicy};
use oscillink_domain::key::KeyStatus;
use oscillink_domain::tier::{Baseline, Overrides};
use oscillink_domain::{
    ApiKey, Job, JobKind, JobStatus, KeyId, Limits, QueueName, Sha256Hex, Tier, Timestamp, Units,
};
use oscillink_engine::{
    Attempt, Claim, Computed, Engine, EngineConfig, Idempotency, NewKey, Ports, Submission,
    SubmitError, SyncWork, TaskBody,
};
use oscillink_ports::{BlobStore as _, Clock as _, PortError};
use oscillink_testkit::{
    Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, SeededEntropy, run,
};

struct House {
    engine: Engine,
    queue: MemoryQueue,
    blobs: MemoryBlobs,
    bus: MemoryBus,
    clock: ManualClock,
}

fn house(config: EngineConfig) -> House {
    let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
    let (queue, blobs) = (
        MemoryQueue::new(Faults::none()),
        MemoryBlobs::new(Faults::none()),
    );
    let bus = MemoryBus::new(Faults::none());
    let ports = Ports {
        store: Arc::new(MemoryStore::new(Faults::none())),
        blobs: Arc::new(blobs.clone()),
        queue: Arc::new(queue.clone()),
        bus: Arc::new(bus.clone()),
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    House {
        engine: Engine::new(ports, config),
        queue,
        blobs,
        bus,
        clock,
    }
}

fn submission(key: u8, units: usize) -> Submission {
    Submission {
        key_id: KeyId::from_random([key; 16]),
        key_hash: Sha256Hex::of(&[key]),
        tier: Tier::Pro,
        limits: Limits::of(Tier::Pro, &Baseline::default(), &Overrides::default()),
        kind: JobKind::Settle,
        n: 1,
        d: units,
        memory_bytes: 1,
        payload: Bytes::from_static(b"payload"),
        request_id: "req".into(),
        traceparent: None,
        idempotency: None,
        custom_id: None,
        callback_url: None,
    }
}

fn limited(key: u8, units: usize, window: u64) -> Submission {
    let overrides = Overrides {
        window_units: Some(Units::new(window)),
        ..Overrides::default()
    };
    Submission {
        limits: Limits::of(Tier::Pro, &Baseline::default(), &overrides),
        ..submission(key, units)
    }
}

impl House {
    fn submit(&self, submission: Submission) -> Job {
        run(self.engine.submit(submission)).expect("accepted").job
    }

    fn claim(&self, job: &Job) -> Attempt {
        match run(self.engine.claim(&job.id, "w")).expect("a store") {
            Claim::Granted(attempt) => *attempt,
            other => panic!("not granted: {other:?}"),
        }
    }

    fn complete(&self, attempt: &Attempt) -> bool {
        let computed = Computed {
            answer: Bytes::from_static(b"{}"),
            arrays: Default::default(),
            derived: Default::default(),
            duration_ms: 1.0,
        };
        run(self.engine.complete(attempt, computed)).expect("a store")
    }

    fn job(&self, job: &Job) -> Job {
        run(self.engine.job(&job.key_id, &job.id))
            .expect("a store")
            .expect("a job")
    }

    /// Relays once and gives the jobs whose tasks were made, taking the tasks off the queue.
    fn dispatched(&self) -> Vec<String> {
        run(self.engine.relay_dispatches(QueueName::Settle)).expect("a relay");
        let tasks = self.queue.tasks();
        tasks.iter().for_each(|task| self.queue.remove(task));
        tasks
            .iter()
            .map(|task| {
                serde_json::from_slice::<TaskBody>(&task.body)
                    .expect("a body")
                    .job_id
                    .to_string()
            })
            .collect()
    }
}

#[test]
fn one_keys_backlog_does_not_delay_anothers_job() {
    let house = house(EngineConfig {
        dispatch_window: 4,
        ..EngineConfig::default()
    });
    let heavy: Vec<Job> = (0..50).map(|_| house.submit(submission(1, 10))).collect();
    assert_eq!(house.dispatched().len(), 4, "the window is full");
    let light = house.submit(submission(2, 10));
    assert!(house.dispatched().is_empty(), "the window is still full");
    let first = house.claim(&heavy[0]);
    assert!(house.complete(&first));
    assert_eq!(
        house.dispatched(),
        [light.id.to_string()],
        "46 jobs of the other key wait behind it"
    );
}

#[test]
fn two_backlogs_take_turns_in_proportion_to_cost() {
    let house = house(EngineConfig {
        dispatch_window: 30,
        ..EngineConfig::default()
    });
    for _ in 0..40 {
        house.submit(submission(1, 30));
    }
    let cheap: Vec<String> = (0..40)
        .map(|_| house.submit(submission(2, 10)).id.to_string())
        .collect();
    let served = house.dispatched();
    let cheap_served = served.iter().filter(|id| cheap.contains(id)).count();
    assert!(
        (21..=24).contains(&cheap_served),
        "three cheap jobs for each dear one, got {cheap_served} of 30"
    );
}

#[test]
fn a_dead_letter_keeps_its_history_and_is_retried_once() {
    let retry = RetryPolicy {
        max_attempts: 2,
        ..RetryPolicy::default()
    };
    let house = house(EngineConfig {
        retry,
        ..EngineConfig::default()
    });
    let job = house.submit(submission(1, 10));
    for attempt in 1..=2 {
        let held = house.claim(&job);
        let failure = Failure {
            code: "unavailable".into(),
            detail: format!("try {attempt}"),
            field: None,
        };
        run(house.engine.fail(&held, FailureClass::Transient, failure)).unwrap();
    }
    let letters = run(house.engine.dead_letters(10, None)).unwrap().items;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].status, letters[0].history.len()),
        (JobStatus::Error, 2)
    );
    let retried = run(house.engine.retry_dead_letter(&job.id))
        .unwrap()
        .unwrap();
    let again = run(house.engine.retry_dead_letter(&job.id))
        .unwrap()
        .unwrap();
    assert!(!retried.replayed && again.replayed);
    assert_eq!(retried.job.id, again.job.id);
    assert!(house.complete(&house.claim(&retried.job)));
    assert_eq!(
        house.job(&job).status,
        JobStatus::Error,
        "an ended job never changes"
    );
}

#[test]
fn an_idempotency_key_names_one_request() {
    let house = house(EngineConfig::default());
    let with = |key: &str, body: &[u8]| Submission {
        idempotency: Some(Idempotency {
            key: key.into(),
            request_hash: Sha256Hex::of(body),
        }),
        ..submission(1, 10)
    };
    let first = house.submit(with("a", b"x"));
    let repeat = run(house.engine.submit(with("a", b"x"))).unwrap();
    assert!(repeat.replayed);
    assert_eq!(repeat.job.id, first.id);
    assert!(matches!(
        run(house.engine.submit(with("a", b"y"))),
        Err(SubmitError::IdempotencyMismatch)
    ));
    assert_ne!(
        house
            .submit(Submission {
                key_id: KeyId::from_random([2; 16]),
                ..with("a", b"x")
            })
            .id,
        first.id
    );
    // A job may go before its key does: it is not done again.
    let short = Submission {
        limits: Limits {
            result_ttl_ms: 1_000,
            ..submission(1, 10).limits
        },
        ..with("short", b"x")
    };
    let job = house.submit(short.clone());
    house.complete(&house.claim(&job));
    house.clock.advance(5_000);
    run(house.engine.sweep()).unwrap();
    assert!(matches!(
        run(house.engine.submit(short)),
        Err(SubmitError::JobGone)
    ));
    house.clock.advance(25 * 3_600_000);
    assert_ne!(
        house.submit(with("a", b"y")).id,
        first.id,
        "forgotten after a day"
    );
}

#[test]
fn a_refused_job_leaves_nothing_behind() {
    let house = house(EngineConfig {
        inline_content_bytes: 0,
        ..EngineConfig::default()
    });
    house.submit(limited(1, 8, 10));
    let Err(SubmitError::Quota(refused)) = run(house.engine.submit(limited(1, 3, 10))) else {
        panic!("there is room for 2")
    };
    assert!(
        refused
            .to_string()
            .contains("needs 3 units but the quota window has 2 of 10 left"),
        "{refused}"
    );
    assert_eq!(
        house.blobs.names().len(),
        1,
        "the refused job's payload is gone"
    );
}

#[test]
fn cancelling_returns_the_reservation() {
    let house = house(EngineConfig::default());
    let job = house.submit(limited(1, 10, 10));
    assert!(run(house.engine.submit(limited(1, 1, 10))).is_err());
    run(house.engine.cancel(&job.key_id, &job.id))
        .unwrap()
        .unwrap();
    house.submit(limited(1, 10, 10));
    let other = KeyId::from_random([9; 16]);
    assert!(
        run(house.engine.cancel(&other, &job.id)).unwrap().is_none(),
        "another key's job does not exist"
    );
}

#[test]
fn results_expire_and_the_ledger_does_not() {
    let house = house(EngineConfig {
        inline_content_bytes: 1,
        ..EngineConfig::default()
    });
    let job = house.submit(submission(1, 10));
    assert!(house.complete(&house.claim(&job)));
    house.clock.advance(25 * 3_600_000);
    assert_eq!(run(house.engine.sweep()).unwrap().removed, 1);
    assert!(
        run(house.engine.job(&job.key_id, &job.id))
            .unwrap()
            .is_none()
    );
    assert!(house.blobs.names().is_empty());
    let ledger = run(house.engine.ledger(&job.key_id, 10, None))
        .unwrap()
        .items;
    assert_eq!(ledger.len(), 1);
}

#[test]
fn orphaned_blobs_go_and_referenced_ones_stay() {
    let house = house(EngineConfig {
        inline_content_bytes: 0,
        ..EngineConfig::default()
    });
    let job = house.submit(submission(1, 10));
    let day = house.clock.now().day();
    let orphan = format!("jobs/{day}/job_{}/payload", "0".repeat(22));
    run(house.blobs.create(&orphan, Bytes::from_static(b"x"))).unwrap();
    run(house.blobs.create("other/thing", Bytes::from_static(b"x"))).unwrap();
    assert_eq!(
        run(house.engine.remove_orphans()).unwrap(),
        0,
        "today's may still be on their way"
    );
    house.clock.advance(2 * 24 * 3_600_000);
    assert_eq!(run(house.engine.remove_orphans()).unwrap(), 1);
    assert_eq!(
        house.blobs.names(),
        [house.job(&job).payload.name.as_str(), "other/thing"]
    );
}

#[test]
fn a_large_content_is_read_in_pieces_and_checked_as_a_whole() {
    run(async {
        let house = house(EngineConfig::default());
        let bytes: Vec<u8> = (0..9_500_000_u32).map(|i| (i % 251) as u8).collect();
        let sent = Submission {
            payload: Bytes::from(bytes.clone()),
            ..submission(1, 10)
        };
        let job = house.engine.submit(sent).await.unwrap().job;
        let (mut read, mut pieces) = (Vec::new(), 0);
        let reading = house.engine.content_pieces(&job.payload, |piece| {
            read.extend_from_slice(piece);
            pieces += 1;
        });
        reading.await.unwrap();
        assert!(read == bytes && pieces == 3, "{pieces} pieces");
        let mut other = job.payload.clone();
        other.sha256 = Sha256Hex::of(b"something else");
        let refused = house.engine.content_pieces(&other, |_| {}).await;
        assert!(matches!(refused, Err(PortError::Corrupt { .. })));
        let mut longer = job.payload.clone();
        longer.len += 1;
        let refused = house.engine.content_pieces(&longer, |_| {}).await;
        assert!(matches!(refused, Err(PortError::Corrupt { .. })));
    });
}

#[test]
fn keys_rotate_with_an_overlap_and_revocation_is_final() {
    let house = house(EngineConfig::default());
    let new = NewKey {
        name: "k".into(),
        tier: Tier::Pro,
        overrides: Overrides::default(),
    };
    let issued = run(house.engine.create_key(new)).unwrap();
    let key_id = issued.record.key_id.clone();
    let opens = |secret: &ApiKey| {
        run(house.engine.find_key(&secret.hash()))
            .unwrap()
            .map(|r| r.key_id)
    };
    let rotated = run(house.engine.rotate_key(&key_id, 60_000)).unwrap();
    assert_eq!(opens(&issued.secret), Some(key_id.clone()));
    assert_eq!(opens(&rotated.secret), Some(key_id.clone()));
    house.clock.advance(60_000);
    assert_eq!(opens(&issued.secret), None, "the overlap is over");
    run(house.engine.set_key_status(&key_id, KeyStatus::Revoked)).unwrap();
    assert!(run(house.engine.set_key_status(&key_id, KeyStatus::Active)).is_err());
    run(house.engine.relay_events()).unwrap();
    assert_eq!(
        house.bus.published().len(),
        2,
        "rotation and revocation were announced"
    );
}

#[test]
fn enterprise_keys_start_pending_and_go_first() {
    let house = house(EngineConfig::default());
    let new = NewKey {
        name: "e".into(),
        tier: Tier::Enterprise,
        overrides: Overrides::default(),
    };
    let issued = run(house.engine.create_key(new)).unwrap();
    assert_eq!(issued.record.status, KeyStatus::Pending);
    let limits = Limits::of(
        Tier::Enterprise,
        &Baseline::default(),
        &Overrides::default(),
    );
    let job = house.submit(Submission {
        limits,
        tier: Tier::Enterprise,
        ..submission(1, 1)
    });
    assert_eq!(job.queue, QueueName::Priority);
}

fn sync_work(row: &str, units: usize) -> SyncWork {
    let Submission {
        key_id,
        key_hash,
        tier,
        limits,
        ..
    } = limited(1, units, 1_000);
    SyncWork {
        key_id,
        key_hash,
        tier,
        limits,
        row_id: row.to_owned(),
        request_id: "req".into(),
        event: "settle".into(),
        n: 1,
        d: units,
        diffusion: false,
    }
}

#[test]
fn a_keys_usage_is_the_sum_of_its_meters() {
    for quota_shards in [1, 4] {
        let h = house(EngineConfig {
            quota_shards,
            ..EngineConfig::default()
        });
        for n in 1..=20_u64 {
            let work = sync_work(&format!("row-{n}"), 7);
            let told = run(h.engine.charge(&work, 1.0)).unwrap();
            let left = told.window.remaining().unwrap();
            assert_eq!(left, Units::new(1_000 - 7 * n), "{quota_shards} meters");
        }
        let submitted = run(h.engine.submit(limited(1, 60, 1_000))).unwrap();
        if let Some(told) = submitted.usage {
            assert_eq!(
                quota_shards, 1,
                "one of four meters says nothing of the key"
            );
            assert_eq!(told.window.remaining(), Some(Units::new(800)));
        }
        let all = run(h
            .engine
            .usage(&submitted.job.key_id, &sync_work("", 1).limits))
        .unwrap();
        assert_eq!(all.window.remaining(), Some(Units::new(800)));
    }
}

#[test]
fn what_nobody_can_hear_is_not_written_down() {
    for heard in [true, false] {
        let h = house(EngineConfig::default());
        h.bus.set_heard(heard);
        let job = h.submit(submission(1, 1));
        h.complete(&h.claim(&job));
        run(h.engine.charge(&sync_work("row", 1), 1.0)).unwrap();
        // Someone who listens from now on has missed it.
        h.bus.set_heard(true);
        run(h.engine.relay_events()).unwrap();
        let published = h.bus.published();
        let types: Vec<&str> = published
            .iter()
            .map(|(.., e)| e.event_type.as_str())
            .collect();
        let expected = ["job.done", "usage.recorded", "usage.recorded"];
        assert_eq!(types, if heard { &expected[..] } else { &[] });
    }
}

#[test]
fn ordered_ids_and_task_names_keep_the_order_of_time() {
    let h = house(EngineConfig {
        time_ordered_ids: true,
        ..EngineConfig::default()
    });
    let mut last = None;
    for n in 0..5 {
        h.clock.advance(1);
        let job = h.submit(submission(1, 1));
        run(h.engine.relay_dispatches(job.queue)).unwrap();
        let names = h.queue.tasks().into_iter().map(|task| task.name);
        let name = names.last().unwrap();
        assert!(name.starts_with(job.id.as_str()), "{name}");
        assert!(last.as_ref() < Some(&name), "task {n}");
        last = Some(name);
    }
}
