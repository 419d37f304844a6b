//! Firestore.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use oscillink_adapters::gcp::{FirestoreConfig, FirestoreStore};
use oscillink_emulators::{Emulator, http::get};
use oscillink_ports::conformance::store::{self, StoreFixture};
use oscillink_ports::conformance::{eventually, unique, within};
use oscillink_ports::{Collection, DocKey, PortError, Store, StoreExt, TxError, Write};
use serde_json::{Value, json};

use super::{Bench, project, trial};
use crate::conformance_trials;

/// A store in the project, through a connection of its own: another process as far as Firestore
/// can tell.
pub async fn connect(address: &str, project: &str) -> FirestoreStore {
    let config = FirestoreConfig {
        emulator: Some(address.to_owned()),
        // It answers slowly while it warms up.
        call_timeout: Duration::from_secs(30),
        ..FirestoreConfig::new(project)
    };
    FirestoreStore::connect(config).await.unwrap()
}

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let mut trials = conformance_trials!(
        bench, store,
        resource: |bench: &Bench| bench.firestore(),
        fixture: async |address: String, _: &str| StoreFixture {
            store: Arc::new(connect(&address, &project()).await),
            hot_writers: 16,
            keep: Box::new(()),
        },
        checks: [
            documents_read_back_as_written,
            absent_documents_are_none,
            create_refuses_an_existing_document,
            put_creates_and_replaces,
            delete_removes_and_tolerates_absence,
            answers_a_check,
            ids_follow_the_rules,
            documents_follow_the_rules,
            transactions_hold_many_writes,
            transactions_are_all_or_nothing,
            decisions_see_what_they_read,
            refused_decisions_write_nothing,
            concurrent_increments_lose_none,
            write_skew_is_impossible,
            concurrent_transfers_keep_the_sum,
            of_many_creates_one_wins,
            every_composite_index_is_queried,
            ranges_bound_the_order_field,
            documents_without_the_field_do_not_match,
            pages_continue_among_equal_values,
            counts_stop_at_the_limit,
            queries_see_completed_transactions,
            queries_without_an_index_are_refused,
        ],
    );
    let firestore = |bench: &Bench| bench.firestore();
    trials.extend([
        trial(
            bench,
            "store::processes_lose_no_increment",
            firestore,
            processes_lose_no_increment,
        ),
        trial(
            bench,
            "store::processes_see_no_write_skew",
            firestore,
            processes_see_no_write_skew,
        ),
        trial(
            bench,
            "store::what_was_decided_on_absence_holds",
            firestore,
            what_was_decided_on_absence_holds,
        ),
        trial(
            bench,
            "store::a_caller_that_goes_away_blocks_nobody",
            firestore,
            a_caller_that_goes_away_blocks_nobody,
        ),
        trial(
            bench,
            "store::documents_expire_by_a_native_time",
            firestore,
            documents_expire_by_a_native_time,
        ),
    ]);
    let own = |_: &Bench| Emulator::firestore();
    trials.push(trial(
        bench,
        "store::recovers_from_a_restart",
        own,
        recovers_from_a_restart,
    ));
    trials
}

fn key(id: &str) -> DocKey {
    DocKey::new(Collection::Quota, id)
}

async fn add_one(store: &FirestoreStore, target: &DocKey) {
    let target = target.clone();
    let added = store.transaction(vec![target.clone()], move |snapshot| {
        let found: Option<Value> = snapshot.get(&target)?;
        let n = found.and_then(|d| d["n"].as_i64()).unwrap_or(0);
        let write = Write::Put(target.clone(), json!({"n": n + 1}).into());
        Ok::<_, TxError<PortError>>((vec![write], ()))
    });
    added.await.unwrap();
}

/// Processes that change one document: no change is lost.
async fn processes_lose_no_increment(address: String) {
    const PROCESSES: i64 = 4;
    const EACH: i64 = 25;
    let (project, target) = (project(), key(&unique("shared")));
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        let (store, target) = (connect(&address, &project).await, target.clone());
        processes.push(tokio::spawn(async move {
            for _ in 0..EACH {
                add_one(&store, &target).await;
            }
        }));
    }
    for process in processes {
        process.await.unwrap();
    }
    let store = connect(&address, &project).await;
    let found = store.get(&target).await.unwrap();
    assert_eq!(found, Some(json!({"n": PROCESSES * EACH})));
}

/// Two processes each read two documents and give up one, if both are held: one of them stays.
async fn processes_see_no_write_skew(address: String) {
    async fn give_up(store: FirestoreStore, own: DocKey, other: DocKey) {
        let reads = vec![own.clone(), other.clone()];
        let given = store.transaction(reads, move |snapshot| {
            let held = |key: &DocKey| {
                snapshot
                    .get::<Value>(key)
                    .map(|d| d == Some(json!({"held": true})))
            };
            let mut writes = Vec::new();
            if held(&own)? && held(&other)? {
                writes.push(Write::Put(own.clone(), json!({"held": false}).into()));
            }
            Ok::<_, TxError<PortError>>((writes, ()))
        });
        given.await.unwrap();
    }
    let project = project();
    let stores = [
        connect(&address, &project).await,
        connect(&address, &project).await,
    ];
    for _ in 0..4 {
        let (a, b) = (key(&unique("a")), key(&unique("b")));
        for target in [&a, &b] {
            let write = Write::Put(target.clone(), json!({"held": true}).into());
            stores[0]
                .transact(Vec::new(), Arc::new(move |_| vec![write.clone()]))
                .await
                .unwrap();
        }
        let first = tokio::spawn(give_up(stores[0].clone(), a.clone(), b.clone()));
        let second = tokio::spawn(give_up(stores[1].clone(), b.clone(), a.clone()));
        first.await.unwrap();
        second.await.unwrap();
        let mut held = 0;
        for target in [&a, &b] {
            let found = stores[0].get(target).await.unwrap();
            held += usize::from(found == Some(json!({"held": true})));
        }
        assert_eq!(held, 1);
    }
}

/// Processes that each make a document if it is not there, by `Put`: the first one's stays.
async fn what_was_decided_on_absence_holds(address: String) {
    let (project, target) = (project(), key(&unique("first")));
    let mut processes = Vec::new();
    for n in 0..8 {
        let (store, target) = (connect(&address, &project).await, target.clone());
        processes.push(tokio::spawn(async move {
            let made = store.transaction(vec![target.clone()], move |snapshot| {
                let writes = match snapshot.get::<Value>(&target)? {
                    Some(_) => Vec::new(),
                    None => vec![Write::Put(target.clone(), json!({"n": n}).into())],
                };
                let wrote = !writes.is_empty();
                Ok::<_, TxError<PortError>>((writes, wrote))
            });
            made.await.unwrap().then_some(n)
        }));
    }
    let mut makers = Vec::new();
    for process in processes {
        makers.extend(process.await.unwrap());
    }
    assert_eq!(makers.len(), 1);
    let store = connect(&address, &project).await;
    let found = store.get(&target).await.unwrap();
    assert_eq!(found, Some(json!({"n": makers[0]})));
}

/// Callers dropped in the middle of their transactions leave nothing behind that others wait for.
async fn a_caller_that_goes_away_blocks_nobody(address: String) {
    let store = connect(&address, &project()).await;
    let target = key(&unique("left"));
    for wait_ms in 0..20u64 {
        let (store, target) = (store.clone(), target.clone());
        let caller = tokio::spawn(async move { add_one(&store, &target).await });
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        caller.abort();
    }
    within("an increment", add_one(&store, &target)).await;
    let found = store.get(&target).await.unwrap().unwrap();
    assert!((1..=21).contains(&found["n"].as_i64().unwrap()), "{found}");
}

/// The field that a TTL policy goes by is a timestamp of Firestore's, and no field of ours.
async fn documents_expire_by_a_native_time(address: String) {
    let project = project();
    let store = connect(&address, &project).await;
    let record = DocKey::new(Collection::Idempotency, "record");
    let body = json!({"expires_at": 1_767_225_600_000_i64, "ttl": "mine"});
    let write = Write::Create(record.clone(), body.clone().into());
    store
        .transact(Vec::new(), Arc::new(move |_| vec![write.clone()]))
        .await
        .unwrap();
    assert_eq!(store.get(&record).await.unwrap(), Some(body));
    let path = format!("/v1/projects/{project}/databases/(default)/documents/idempotency/record");
    let stored = get(&address, &path).unwrap();
    let stored: String = stored.split_whitespace().collect();
    // A day later than `expires_at`.
    assert!(
        stored.contains(r#""ttl":{"timestampValue":"2026-01-02T00:00:00Z"}"#),
        "{stored}"
    );
    assert!(
        stored.contains(r#""expires_at":{"integerValue":"1767225600000"}"#),
        "{stored}"
    );
}

/// An emulator that comes back, empty: the same store works again by itself.
async fn recovers_from_a_restart(mut emulator: Emulator) {
    let store = connect(&emulator.address(), &project()).await;
    let target = key("survivor");
    add_one(&store, &target).await;
    tokio::task::block_in_place(|| emulator.restart()).unwrap();
    eventually("the store answers", || async { store.check().await.ok() }).await;
    add_one(&store, &target).await;
    assert_eq!(store.get(&target).await.unwrap(), Some(json!({"n": 1})));
}
