//! The engine on Firestore: a limit holds however many ask at once.

#[path = "../it/room.rs"]
mod room;

use std::sync::Arc;

use libtest_mimic::Trial;
use oscillink_ports::Store;

use super::store::connect;
use super::{Bench, project, trial};

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let on = |name, shards: u32, processes: usize| {
        let firestore = |bench: &Bench| bench.firestore();
        trial(bench, name, firestore, move |address| {
            on_firestore(address, shards, processes)
        })
    };
    vec![
        on("quota::exactly_ten_of_64_with_one_shard", 1, 1),
        on("quota::exactly_ten_of_64_with_four_shards", 4, 1),
        on("quota::exactly_ten_of_64_over_four_processes", 1, 4),
        on(
            "quota::exactly_ten_of_64_over_four_processes_with_four_shards",
            4,
            4,
        ),
    ]
}

async fn on_firestore(address: String, shards: u32, processes: usize) {
    let project = project();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..processes {
        stores.push(Arc::new(connect(&address, &project).await));
    }
    room::exactly_ten_are_accepted(stores, shards).await;
}
