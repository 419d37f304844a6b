//! The state machine's rules, one test a rule.

use super::*;
use crate::hash::Sha256Hex;
use crate::id::{JobId, KeyId};
use crate::job::record::{ContentRef, JobKind, QueueName, Signs};
use crate::quota::Reservation;
use crate::tier::{Baseline, Tier};
use crate::units::Units;

const LEASE: i64 = 30_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn content() -> ContentRef {
    ContentRef {
        name: "p".into(),
        sha256: Sha256Hex::of(b"p"),
        len: 1,
        inline: true,
    }
}

fn job() -> Job {
    Job {
        id: JobId::from_random([1; 16]),
        key_id: KeyId::from_random([2; 16]),
        key_hash: Sha256Hex::of(b"k"),
        tier: Tier::Pro,
        kind: JobKind::Settle,
        status: JobStatus::Queued,
        live: true,
        queue: QueueName::Settle,
        n: 2,
        d: 3,
        units: Units::of(2, 3),
        memory_bytes: 0,
        created_at: at(0),
        started_at: None,
        completed_at: None,
        expires_at: at(1_000_000),
        deadline_at: at(900_000),
        due_at: at(60_000),
        attempts: 0,
        generation: 0,
        dispatch: 0,
        lease_until: None,
        worker: None,
        progress: None,
        cancel_requested: false,
        payload: content(),
        result: None,
        result_ttl_ms: 100,
        signs: None,
        error: None,
        history: Vec::new(),
        dead_letter: false,
        reservation: Reservation::default(),
        tag: 0,
        lane_shard: 0,
        request_id: "r".into(),
        traceparent: None,
        custom_id: None,
        callback_url: None,
        callback: None,
    }
}

fn result() -> ResultRef {
    ResultRef {
        answer: content(),
        arrays: Default::default(),
        derived: Default::default(),
    }
}

fn failure() -> Failure {
    Failure {
        code: "x".into(),
        detail: "y".into(),
        field: None,
    }
}

#[test]
fn a_valid_lease_keeps_others_out_and_an_expired_one_does_not() {
    let held = job().claim(at(10), LEASE, "a").unwrap();
    assert_eq!(
        (held.generation, held.attempts, held.due_at),
        (1, 1, at(10 + LEASE))
    );
    assert_eq!(
        held.claim(at(11), LEASE, "b"),
        Err(ClaimRefused::Held(at(10 + LEASE)))
    );
    let taken = held.claim(at(10 + LEASE), LEASE, "b").unwrap();
    assert_eq!((taken.generation, taken.worker.as_deref()), (2, Some("b")));
    assert!(
        taken.complete(1, at(20 + LEASE), result()).is_err(),
        "the first holder is stale"
    );
    assert!(taken.renew(1, at(20 + LEASE), LEASE, None).is_err());
    assert_eq!(
        taken.complete(2, at(20 + LEASE), result()).unwrap().status,
        JobStatus::Done
    );
}

#[test]
fn a_late_heartbeat_of_the_only_holder_still_extends_the_lease() {
    let held = job().claim(at(0), LEASE, "a").unwrap();
    let late = held.renew(1, at(LEASE + 5), LEASE, None).unwrap();
    assert_eq!(late.lease_until, Some(at(2 * LEASE + 5)));
}

#[test]
fn terminal_states_never_change() {
    let done = job()
        .claim(at(0), LEASE, "a")
        .unwrap()
        .complete(1, at(5), result())
        .unwrap();
    assert_eq!(done.expires_at, at(105));
    assert_eq!(
        done.claim(at(9), LEASE, "b"),
        Err(ClaimRefused::Terminal(JobStatus::Done))
    );
    assert_eq!(
        done.request_cancel(at(9)),
        Cancelled::Already(JobStatus::Done)
    );
    assert!(done.complete(1, at(9), result()).is_err());
    assert_eq!(
        done.sweep(Timestamp::FAR_FUTURE, 1, &RetryPolicy::default(), 0),
        Swept::Leave
    );
}

#[test]
fn transient_failures_back_off_until_the_attempts_run_out() {
    let policy = RetryPolicy {
        max_attempts: 2,
        ..RetryPolicy::default()
    };
    let first = job().claim(at(0), LEASE, "a").unwrap();
    let Retry::At(again, due) = first
        .fail(1, at(5), FailureClass::Transient, failure(), &policy, 7)
        .unwrap()
    else {
        panic!("expected another attempt")
    };
    assert!(due > at(5) && again.due_at > due);
    assert_eq!(
        (again.status, again.dispatch, again.generation),
        (JobStatus::Queued, 1, 2)
    );
    let second = again.claim(due, LEASE, "b").unwrap();
    let Retry::Final(end) = second
        .fail(3, at(900), FailureClass::Transient, failure(), &policy, 7)
        .unwrap()
    else {
        panic!("expected the end")
    };
    assert!(end.dead_letter);
    assert_eq!((end.status, end.history.len()), (JobStatus::Error, 2));
}

#[test]
fn permanent_failures_are_final_and_no_dead_letter() {
    let held = job().claim(at(0), LEASE, "a").unwrap();
    let policy = RetryPolicy::default();
    let Retry::Final(end) = held
        .fail(1, at(5), FailureClass::Permanent, failure(), &policy, 0)
        .unwrap()
    else {
        panic!("expected the end")
    };
    assert!(!end.dead_letter);
    assert_eq!(end.error, Some(failure()));
}

#[test]
fn cancelling_a_running_job_waits_for_its_check_point_or_its_failure() {
    let held = job().claim(at(0), LEASE, "a").unwrap();
    let Cancelled::Requested(asked) = held.request_cancel(at(1)) else {
        panic!("running")
    };
    assert_eq!(asked.stop(1, at(2)).unwrap().status, JobStatus::Cancelled);
    let swept = asked.sweep(at(LEASE), 1, &RetryPolicy::default(), 0);
    assert!(
        matches!(swept, Swept::Retry(Retry::Cancelled(_))),
        "a lost worker must not revive it"
    );
    let Cancelled::Now(now) = job().request_cancel(at(1)) else {
        panic!("queued")
    };
    assert_eq!(now.status, JobStatus::Cancelled);
}

#[test]
fn the_sweeper_redispatches_what_waits_and_expires_what_waited_too_long() {
    let Swept::Redispatch(again) = job().sweep(at(60_000), 10_000, &RetryPolicy::default(), 0)
    else {
        panic!("due")
    };
    assert_eq!((again.dispatch, again.due_at), (1, at(70_000)));
    assert_eq!(
        job().sweep(at(59_999), 1, &RetryPolicy::default(), 0),
        Swept::Leave
    );
    let Swept::Expired(end) = job().sweep(at(900_000), 1, &RetryPolicy::default(), 0) else {
        panic!("past the deadline")
    };
    assert_eq!(end.status, JobStatus::Expired);
}

#[test]
fn handing_back_does_not_count_the_attempt() {
    let held = job().claim(at(0), LEASE, "a").unwrap();
    let Retry::At(back, due) = held.hand_back(1, at(3)).unwrap() else {
        panic!("queued again")
    };
    assert_eq!((back.attempts, due, back.generation), (0, at(3), 2));
}

#[test]
fn backoff_doubles_within_its_bounds() {
    let policy = RetryPolicy {
        max_attempts: 9,
        min_backoff_ms: 100,
        max_backoff_ms: 1_000,
        max_doublings: 3,
    };
    for random in [0, 1, 77, u64::MAX] {
        for (attempt, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (9, 800)] {
            let pause = policy.backoff_ms(attempt, random);
            assert!(
                (full / 2..=full).contains(&pause),
                "attempt {attempt}: {pause}"
            );
        }
    }
}

#[test]
fn a_job_remembers_what_is_signed_and_older_ones_follow_their_tier() {
    let base = Baseline::default();
    let mut stored = serde_json::to_value(job()).unwrap();
    assert_eq!(stored.get("signs"), None);
    let older: Job = serde_json::from_value(stored.clone()).unwrap();
    let tier = Signs {
        receipts: true,
        usage: false,
    };
    assert_eq!(older.signs(&base), tier);
    stored["signs"] = serde_json::json!({"receipts": false, "usage": true});
    let newer: Job = serde_json::from_value(stored).unwrap();
    let own = Signs {
        receipts: false,
        usage: true,
    };
    assert_eq!(newer.signs(&base), own);
}
