//! What must hold, during the storm and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use oscillink_domain::event::Topic;
use oscillink_domain::ledger::verify_chains;
use oscillink_domain::quota::{Meter, Slice};
use oscillink_domain::{Job, JobStatus, LedgerRow, Timestamp, Units};
use oscillink_ports::{Collection, DocKey};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::world::Shared;

fn typed<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).expect("a document of our own making")
}

fn all<T: DeserializeOwned>(world: &Shared, collection: Collection) -> Vec<T> {
    world
        .store
        .all(collection)
        .iter()
        .map(|(_, value)| typed(value))
        .collect()
}

/// Checks each write as it happens.
pub fn watch(world: &Rc<Shared>, shards: u32) {
    let limits: BTreeMap<String, _> = world
        .keys
        .iter()
        .map(|(id, limits)| (id.as_str().to_owned(), limits.clone()))
        .collect();
    world
        .store
        .watch(move |key, old, new| match key.collection {
            Collection::Jobs => job_write(key, old, new),
            Collection::UsageLedger => assert!(
                old.is_none() && new.is_some(),
                "ledger row {key} was rewritten"
            ),
            Collection::Quota => {
                let meter: Meter = typed(new.expect("meters are never deleted"));
                let limits = &limits[meter.key_id.as_str()];
                let slice = Slice::of(
                    limits.window_units,
                    limits.monthly_units,
                    meter.shard,
                    shards,
                );
                assert!(
                    meter.current.total() <= slice.window_units.unwrap_or(Units::new(u64::MAX)),
                    "over the window"
                );
                for tally in meter.months.values() {
                    assert!(
                        tally.total() <= slice.monthly_units.unwrap_or(Units::new(u64::MAX)),
                        "over the month"
                    );
                }
            }
            _ => {}
        });
}

fn job_write(key: &DocKey, old: Option<&Value>, new: Option<&Value>) {
    let (Some(old), Some(new)) = (old.map(typed::<Job>), new.map(typed::<Job>)) else {
        return;
    };
    assert!(
        !old.status.is_terminal(),
        "{key}: {} became {}",
        old.status,
        new.status
    );
    assert!(
        new.generation >= old.generation,
        "{key}: a stale lease wrote"
    );
    if old.status == JobStatus::Queued {
        assert!(
            !matches!(new.status, JobStatus::Done | JobStatus::Error),
            "{key}: {} without a worker",
            new.status
        );
    }
    if let Some(result) = &new.result {
        // A result carries the generation of the lease under which it was computed.
        let own = format!("answer.{}", old.generation);
        assert!(
            result.answer.name.ends_with(&own),
            "{key}: a stale lease's result was taken"
        );
    }
    assert_eq!(new.live, !new.status.is_terminal());
}

/// At any moment: a live job is due for something, in the outbox, in the queue or by the sweeper.
pub fn live_jobs_have_a_future(world: &Shared) {
    for job in all::<Job>(world, Collection::Jobs)
        .iter()
        .filter(|job| job.live)
    {
        assert!(
            job.due_at < Timestamp::FAR_FUTURE,
            "{} waits for nothing",
            job.id
        );
    }
}

/// Whether the world has come to rest.
pub fn nothing_left(world: &Shared) -> bool {
    all::<Job>(world, Collection::Jobs)
        .iter()
        .all(|job| !job.live)
        && world.store.all(Collection::Outbox).is_empty()
}

/// The books after the end.
pub fn check_end(world: &Shared) {
    let jobs: Vec<Job> = all(world, Collection::Jobs);
    let rows: Vec<LedgerRow> = all(world, Collection::UsageLedger);
    let stored: BTreeSet<_> = jobs.iter().map(|job| job.id.clone()).collect();
    for id in world.accepted.borrow().iter() {
        assert!(stored.contains(id), "{id} was accepted and is lost");
    }
    for job in &jobs {
        assert!(
            job.status.is_terminal(),
            "{} is {} after everything ended",
            job.id,
            job.status
        );
        let billed = rows.iter().filter(|row| row.id == job.id.as_str()).count();
        assert_eq!(
            billed,
            usize::from(job.status == JobStatus::Done),
            "{} is {}",
            job.id,
            job.status
        );
        let mut tally = world.tally.borrow_mut();
        match job.status {
            JobStatus::Done => tally.note("done", 1),
            JobStatus::Error => tally.note("failed for good", 1),
            _ => {}
        }
        tally.note("dead letters", u64::from(job.dead_letter));
    }
    for request in world.charged.borrow().iter() {
        assert!(
            rows.iter().any(|row| &row.id == request),
            "{request} was charged and is not in the ledger"
        );
    }
    meters_balance(world, &rows);
    verify_chains(&rows).expect("whole chains");
    each_end_was_announced(world, &jobs);
}

/// Everything reserved was settled or returned, and what was used is what the ledger says.
fn meters_balance(world: &Shared, rows: &[LedgerRow]) {
    let meters: Vec<Meter> = all(world, Collection::Quota);
    for (key_id, _) in &world.keys {
        let own: Vec<&Meter> = meters
            .iter()
            .filter(|meter| &meter.key_id == key_id)
            .collect();
        let used: Units = own
            .iter()
            .flat_map(|m| m.months.values())
            .map(|t| t.used)
            .sum();
        let reserved: Units = own
            .iter()
            .flat_map(|m| m.months.values())
            .map(|t| t.reserved)
            .sum();
        let billed: Units = rows
            .iter()
            .filter(|row| &row.key_id == key_id)
            .map(|row| row.units)
            .sum();
        assert_eq!(reserved, Units::ZERO, "units still reserved");
        assert_eq!(used, billed, "used is not what was billed");
        let live: u64 = own
            .iter()
            .flat_map(|m| m.lanes.values())
            .map(|lane| lane.live_jobs)
            .sum();
        assert_eq!(live, 0, "the fair order still counts jobs");
    }
}

/// Each ended job has one completion event id, published at least once.
fn each_end_was_announced(world: &Shared, jobs: &[Job]) {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut deliveries = 0;
    for (topic, _, event) in world.bus.published() {
        if topic == Topic::JobEvents {
            deliveries += 1;
            let job = event.data["jobId"].as_str().expect("a job id").to_owned();
            ids.entry(job)
                .or_default()
                .insert(event.event_id.as_str().to_owned());
        }
    }
    for job in jobs {
        assert_eq!(
            ids.get(job.id.as_str()).map(BTreeSet::len),
            Some(1),
            "events of {}",
            job.id
        );
    }
    let repeats = deliveries - ids.len() as u64;
    world.tally.borrow_mut().note("events repeated", repeats);
}
