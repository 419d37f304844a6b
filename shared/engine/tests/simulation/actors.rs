//! The actors: clients, relay, sweeper, workers.

use std::rc::Rc;

use bytes::Bytes;
use oscillink_domain::job::{Failure, FailureClass};
use oscillink_domain::{JobKind, Sha256Hex, Tier};
use oscillink_engine::{
    Attempt, CancelOutcome, ChargeError, Claim, Computed, Heartbeat, Idempotency, JOB_QUEUES,
    Submission, SubmitError, SyncWork, TaskBody,
};
use oscillink_ports::Task;
use oscillink_testkit::give_way;

use crate::world::{Shared, key_hash};

/// Submits a few jobs, some of them again, cancels some, and settles some work synchronously.
pub async fn client(world: Rc<Shared>, client: usize) {
    for round in 0..4 {
        let submission = submission(&world, client, round);
        let mut attempts = 0;
        let job = loop {
            attempts += 1;
            match world.engine.submit(submission.clone()).await {
                Ok(submitted) => {
                    world.note(if submitted.replayed {
                        "replayed"
                    } else {
                        "accepted"
                    });
                    if submitted.job.reservation.parts.len() > 1 {
                        world.note("reserved over several shards");
                    }
                    world.accepted.borrow_mut().insert(submitted.job.id.clone());
                    break Some(submitted.job);
                }
                Err(SubmitError::Quota(_)) => {
                    world.note("refused by quota");
                    break None;
                }
                Err(SubmitError::IdempotencyMismatch) => {
                    panic!("the same request was called another")
                }
                Err(SubmitError::JobGone) => {
                    world.note("submitted again after the job was removed");
                    break None;
                }
                Err(SubmitError::Port(_)) => {
                    world.note("submit outcome unknown");
                    if attempts > 3 {
                        break None;
                    }
                }
            }
        };
        if let Some(job) = job
            && world.once_in(4)
        {
            for _ in 0..world.below(30) {
                give_way().await;
            }
            match world.engine.cancel(&job.key_id, &job.id).await {
                Ok(Some(CancelOutcome::Accepted(job))) if job.cancel_requested => {
                    world.note("cancel requested while running");
                }
                Ok(Some(CancelOutcome::Accepted(_))) => world.note("cancelled while queued"),
                _ => {}
            }
        }
        charge(&world, client, round).await;
    }
}

async fn charge(world: &Shared, client: usize, round: usize) {
    let (key_id, limits) = world.keys[client % 2].clone();
    let work = SyncWork {
        key_id,
        key_hash: key_hash(),
        tier: Tier::Pro,
        limits,
        row_id: format!("sync-{client}-{round}"),
        request_id: format!("sync-{client}-{round}"),
        event: "settle".into(),
        n: 1,
        d: 1 + world.below(4),
        diffusion: false,
    };
    for _ in 0..3 {
        match world.engine.charge(&work, 0.25).await {
            Ok(_) => {
                world.note("synchronous charges");
                world.charged.borrow_mut().insert(work.row_id.clone());
                return;
            }
            Err(ChargeError::Quota(_)) => return,
            Err(ChargeError::Port(_)) => {}
        }
    }
}

fn submission(world: &Shared, client: usize, round: usize) -> Submission {
    let (key_id, limits) = world.keys[client % 2].clone();
    // Clients in pairs use the same idempotency keys, as a client does that tries again.
    let name = format!("{}-{round}", client / 4 * 4 + client % 2);
    let kind = if round.is_multiple_of(2) {
        JobKind::Settle
    } else {
        JobKind::Diffusion
    };
    Submission {
        key_id,
        key_hash: key_hash(),
        tier: Tier::Pro,
        limits,
        kind,
        n: 1 + world.below(3),
        d: 1 + world.below(6),
        memory_bytes: 1,
        payload: Bytes::from(vec![7; 10 + 15 * (round % 2)]),
        request_id: format!("req-{client}-{round}"),
        traceparent: None,
        idempotency: Some(Idempotency {
            request_hash: Sha256Hex::of(name.as_bytes()),
            key: name,
        }),
        custom_id: None,
        callback_url: None,
    }
}

/// One pass of the relay. Failures leave the work for the next pass.
pub async fn relay(world: Rc<Shared>) {
    for queue in JOB_QUEUES {
        drop(world.engine.relay_dispatches(queue).await);
    }
    drop(world.engine.relay_events().await);
}

/// One pass of the sweeper.
pub async fn sweeper(world: Rc<Shared>) {
    if let Ok(report) = world.engine.sweep().await {
        let mut tally = world.tally.borrow_mut();
        tally.note("expired", report.expired as u64);
        tally.note("leases lost", report.leases_lost as u64);
        tally.note("redispatched", report.redispatched as u64);
    }
}

/// One delivery of a task. Only an acknowledged task is removed from the queue.
pub async fn worker(world: Rc<Shared>, task: Task, name: &'static str) {
    let body: TaskBody = serde_json::from_slice(&task.body).expect("a task body of our own making");
    match world.engine.claim(&body.job_id, name).await {
        Ok(Claim::Granted(attempt)) => {
            if work(&world, &attempt).await {
                world.queue.remove(&task);
            }
        }
        Ok(Claim::Refused(_) | Claim::Unknown) => {
            world.note("deliveries refused");
            world.queue.remove(&task);
        }
        Err(_) => {}
    }
}

/// Works on a claimed job. Returns whether the outcome is written, by this worker or another.
async fn work(world: &Shared, attempt: &Attempt) -> bool {
    let mut cancel = false;
    for _ in 0..world.below(6) {
        give_way().await;
        if world.once_in(8) {
            // Slower than its lease.
            world.clock.advance(6_000);
        }
        match world.engine.heartbeat(attempt, None).await {
            Ok(Heartbeat::Lost) => return true,
            Ok(Heartbeat::Cancel) => cancel = true,
            Ok(Heartbeat::Continue) | Err(_) => {}
        }
    }
    if cancel {
        return world.engine.stop(attempt).await.is_ok();
    }
    if world.engine.content(&attempt.job.payload).await.is_err() && !world.calm.get() {
        return give_up(world, attempt, FailureClass::Transient).await;
    }
    let fate = if world.calm.get() { 9 } else { world.below(10) };
    match fate {
        0 => give_up(world, attempt, FailureClass::Permanent).await,
        1..=3 => give_up(world, attempt, FailureClass::Transient).await,
        4 => match world.engine.hand_back(attempt).await {
            Ok(true) => {
                world.note("handed back");
                true
            }
            Ok(false) => true,
            Err(_) => false,
        },
        _ => {
            let computed = Computed {
                answer: Bytes::from_static(b"{\"answer\":\"longer than inline\"}"),
                arrays: [("u".to_owned(), Bytes::from_static(b"short"))].into(),
                derived: Default::default(),
                duration_ms: 1.5,
            };
            let mut outcome = world.engine.complete(attempt, computed.clone()).await;
            if outcome.is_err() {
                // As the worker does: the outcome is the same, so writing it again is safe.
                outcome = world.engine.complete(attempt, computed).await;
            }
            match outcome {
                Ok(true) => true,
                Ok(false) => {
                    world.note("stale writes refused");
                    true
                }
                Err(_) => false,
            }
        }
    }
}

async fn give_up(world: &Shared, attempt: &Attempt, class: FailureClass) -> bool {
    let failure = Failure {
        code: "simulated".into(),
        detail: "simulated".into(),
        field: None,
    };
    world.engine.fail(attempt, class, failure).await.is_ok()
}
