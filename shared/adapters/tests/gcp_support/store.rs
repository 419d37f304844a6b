//! Firestore.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use oscillink_adapters::gcp::{FirestoreConfig, FirestoreStore};
use oscillink_ports::conformance::store::{self, StoreFixture};
use oscillink_ports::conformance::{unique, within};
use oscillink_ports::{Collection, DocKey, PortError, Store, StoreExt, TxError, Write};
use serde_json::{Value, json};

use super::{Bench, project, trial};
use crate::conformance_trials;

/// A store in the project, through a connection of its own: another process as far as Firestore
/// can tell.
pub async fn connect(address: &str, project: &str) -> FirestoreStore {
    let config = FirestoreConfig {
        emulator: Some(address.to_owned()),
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
    let mut own = |name, test: fn(String) -> _| {
        trials.push(trial(bench, name, |bench| bench.firestore(), test));
    };
    own("store::processes_lose_no_increment", |address| {
        Box::pin(processes_lose_no_increment(address))
    });
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
        let write = Write::Put(target.clone(), json!({"n": n + 1}));
        Ok::<_, TxError<PortError>>((vec![write], ()))
    });
    added.await.unwrap();
}

/// Processes that change one document: the server decides, and no change is lost.
async fn processes_lose_no_increment(address: String) {
    const PROCESSES: i64 = 3;
    const EACH: i64 = 5;
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
    let began = std::time::Instant::now();
    for process in processes {
        process.await.unwrap();
    }
    eprintln!(
        "{} increments by {PROCESSES} processes: {:?}",
        PROCESSES * EACH,
        began.elapsed()
    );
    let store = connect(&address, &project).await;
    let found = store.get(&target).await.unwrap();
    assert_eq!(found, Some(json!({"n": PROCESSES * EACH})));
}
