//! What a crash, a restart and a shutdown must not lose or repeat.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, eventually, matrix, npy};

/// A short lease, so that the crashed worker's jobs are taken over soon.
const LEASE: (&str, &str) = ("OSCILLINK_JOB_LEASE", "2");

fn status(server: &Server, id: &str) -> String {
    server.fetch(&format!("/v1/jobs/{id}"))["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// How many ledger rows each job has.
fn rows_by_job(server: &Server) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in server.ledger() {
        *counts
            .entry(row["job_id"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts
}

#[test]
fn a_crash_loses_nothing_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let variables = [LEASE, ("OSCILLINK_WORKER_CONCURRENCY", "1")];
    let server = Server::start_in(&dir, &variables);
    let large = npy(&matrix(4_000, 256));
    let small = json!({"Y": matrix(40, 8), "options": {"bundle_k": 2}});
    let mut ids: Vec<String> = (0..3).map(|_| server.submit_npy(&large)).collect();
    ids.extend((0..9).map(|_| server.submit("diffusion", &small)));
    eventually("a job at work with others waiting", || {
        let states: Vec<_> = ids.iter().map(|id| status(&server, id)).collect();
        let has = |wanted: &str| states.iter().any(|state| state == wanted);
        (has("running") && has("queued")).then_some(())
    });
    let key = server.key.clone();
    server.kill();

    let server = Server::start_in(&dir, &variables);
    assert_eq!(server.key, key, "the development key survives");
    for id in &ids {
        let job = server.ended(id);
        assert_eq!(job["status"], "done", "{job}");
        assert!(job["result"]["state_sig"].is_string());
    }
    let rows = rows_by_job(&server);
    assert_eq!(rows.len(), ids.len());
    for id in &ids {
        assert_eq!(rows[id], 1, "job {id} has one ledger row");
    }
    let usage = server.fetch("/v1/usage");
    let units: u64 = server
        .ledger()
        .iter()
        .map(|row| row["units"].as_u64().unwrap())
        .sum();
    assert_eq!(units, 3 * 4_000 * 256 + 9 * 40 * 8);
    assert!(
        usage.to_string().contains(&units.to_string()),
        "the quota has settled: {usage}"
    );
}

#[test]
fn repeated_crashes_at_random_moments() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let request = json!({"Y": matrix(400, 64), "options": {"bundle_k": 4}});
    let mut ids = Vec::new();
    for round in 0..4_u64 {
        let server = Server::start_in(&dir, &[LEASE]);
        ids.extend((0..6).map(|_| server.submit("settle", &request)));
        // Not synchronisation: the moment of the crash is what varies.
        std::thread::sleep(Duration::from_millis(7 * round * round));
        server.kill();
    }
    let server = Server::start_in(&dir, &[LEASE]);
    for id in &ids {
        assert_eq!(server.ended(id)["status"], "done");
    }
    let rows = rows_by_job(&server);
    assert_eq!(rows.len(), ids.len());
    assert!(rows.values().all(|count| *count == 1), "{rows:?}");
}

#[test]
fn shutdown_is_quick_and_work_goes_on_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let server = Server::start_in(&dir, &[]);
    let large = npy(&matrix(6_000, 256));
    let ids: Vec<String> = (0..4).map(|_| server.submit_npy(&large)).collect();
    eventually("a job at work", || {
        (status(&server, &ids[0]) != "queued").then_some(())
    });
    let asked = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );

    let server = Server::start_in(&dir, &[]);
    for id in &ids {
        let job = server.ended(id);
        assert_eq!(job["status"], "done");
        assert_eq!(job["attempts"], 1, "an attempt handed back does not count");
    }
    assert!(rows_by_job(&server).values().all(|count| *count == 1));
}

#[test]
fn one_folder_has_one_server() {
    let server = Server::start();
    let second = crate::support::run(|c| {
        c.args(["serve", "--port", "0"])
            .env("OSCILLINK_DATA_DIR", &server.dir);
    });
    assert_ne!(second.status.code(), Some(0));
    let text = crate::support::stderr(&second);
    assert!(text.contains("another process"), "{text}");
    let usage: Value = server.fetch("/v1/usage");
    assert!(usage.is_object(), "the first goes on");
}
