//! Fifty crashes of the real process under load: nothing accepted is lost, nothing billed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, eventually, matrix};

const ROUNDS: u64 = 50;
const CLIENTS: usize = 4;

/// Submits until the server is gone; gives the ids that were accepted.
fn client(server: &Server, number: usize, stop: &AtomicBool) -> Vec<String> {
    let request = json!({"Y": matrix(20 + number, 8), "options": {"bundle_k": 2, "array": []}});
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let path = if number.is_multiple_of(2) {
            "/v1/jobs/settle"
        } else {
            "/v1/jobs/diffusion"
        };
        // The crash cuts requests off: without an answer nothing was promised.
        let Ok(response) = server.post(path).json(&request).send() else {
            continue;
        };
        let status = response.status().as_u16();
        let Ok(job) = response.json::<Value>() else {
            continue;
        };
        assert!(matches!(status, 202 | 429 | 503), "{status}: {job}");
        if status == 202 {
            let id = job["job_id"].as_str().unwrap().to_owned();
            if accepted.len() % 5 == 4 {
                // Cancelled before, during or after its work; the outcome is looked at in the end.
                drop(server.delete(&format!("/v1/jobs/{id}")).send());
            }
            accepted.push(id);
        }
    }
    accepted
}

#[test]
fn fifty_crashes_under_load_lose_and_repeat_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let variables = [
        ("OSCILLINK_JOB_LEASE", "1"),
        ("OSCILLINK_MONTHLY_CAP", "1000000000000"),
    ];
    let mut accepted = BTreeSet::new();
    for round in 0..ROUNDS {
        let server = Server::start_in(&dir, &variables);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| {
                    scope.spawn({
                        let (server, stop) = (&server, &stop);
                        move || client(server, n, stop)
                    })
                })
                .collect();
            // Not synchronisation: the moment of the crash is what varies.
            std::thread::sleep(Duration::from_millis(40 + round * 37 % 160));
            server.kill_now();
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                accepted.extend(client.join().unwrap());
            }
        });
    }
    assert!(
        accepted.len() > 500,
        "hardly any load: {} jobs",
        accepted.len()
    );

    let server = Server::start_in(&dir, &variables);
    eventually("the end of every job", || {
        (server.fetch("/v1/usage")["live_jobs"] == 0).then_some(())
    });
    // Jobs whose answer was cut off may exist besides those known to be accepted.
    let jobs = all_jobs(&server);
    let rows = server.ledger();
    let mut billed: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        *billed.entry(row["job_id"].as_str().unwrap()).or_default() += 1;
    }
    for id in &accepted {
        assert!(jobs.contains_key(id), "{id} was accepted and is lost");
    }
    let mut done_units = 0;
    for (id, job) in &jobs {
        let done = job["status"] == "done";
        assert!(done || job["status"] == "cancelled", "{job}");
        assert_eq!(
            billed.get(id.as_str()).copied().unwrap_or(0),
            usize::from(done),
            "{job}"
        );
        done_units += if done {
            job["units"].as_u64().unwrap()
        } else {
            0
        };
    }
    let ledger_units: u64 = rows.iter().map(|row| row["units"].as_u64().unwrap()).sum();
    assert_eq!(
        ledger_units, done_units,
        "the ledger is the sum of what was done"
    );
    let usage = server.fetch("/v1/usage");
    assert_eq!(usage["month"]["used"], ledger_units, "{usage}");
    assert_eq!(usage["month"]["reserved"], 0, "{usage}");
    println!(
        "{ROUNDS} crashes, {} jobs accepted, {} ended, {} billed",
        accepted.len(),
        jobs.len(),
        rows.len()
    );
}

fn all_jobs(server: &Server) -> BTreeMap<String, Value> {
    let mut jobs = BTreeMap::new();
    let mut path = "/v1/jobs?limit=100".to_owned();
    loop {
        let page = server.fetch(&path);
        for job in page["items"].as_array().unwrap() {
            jobs.insert(job["job_id"].as_str().unwrap().to_owned(), job.clone());
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/jobs?limit=100&cursor={cursor}"),
            None => return jobs,
        }
    }
}
