//! Durable throughput of the all-in-one server: jobs over HTTP, from POST to done.
//!
//! Starts the real binary in a temporary folder, submits many tiny jobs over keep-alive connections
//! and prints jobs per second, the disk syncs used, and the ratio to a server that commits each
//! transaction by itself; before that, how many a server takes that does not work on them.
//! `cargo bench --bench jobs`, or `make bench-jobs`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::Value;

use support::{Connection, Server};

const CONNECTIONS: usize = 48;
const ROWS: usize = 80;
const COLUMNS: usize = 32;
const KEY: &str = "bench-key-0123456789";

/// The queues whose tasks are worked on, when it is not all: none that settle jobs go to.
const IDLE: (&str, &str) = ("OSCILLINK_WORKER_QUEUES", "callback");

fn start(group_commit: bool, more: &[(&str, &str)]) -> Server {
    let (tiers, grouped) = (format!("{KEY}:pro"), group_commit.to_string());
    let mut variables = vec![
        ("OSCILLINK_API_KEYS", KEY),
        ("OSCILLINK_KEY_TIERS", tiers.as_str()),
        ("OSCILLINK_MONTHLY_CAP", "1000000000000"),
        ("OSCILLINK_GROUP_COMMIT", grouped.as_str()),
    ];
    variables.extend(more);
    Server::start(&variables)
}

async fn post(connection: &mut Connection, path: &str, body: Bytes) -> (StatusCode, Bytes) {
    let headers = [("x-api-key", KEY), ("content-type", "application/x-npy")];
    connection.send("POST", path, &headers, body).await
}

async fn get(connection: &mut Connection, path: &str) -> Value {
    let headers = [("x-api-key", KEY)];
    let (status, body) = connection.send("GET", path, &headers, Bytes::new()).await;
    let text = String::from_utf8_lossy(&body);
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_slice(&body).expect("JSON")
}

/// An 80×32 matrix as npy, different for each `seed`.
fn npy(seed: usize) -> Bytes {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({ROWS}, {COLUMNS}), }}");
    let padded = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    let mut state = seed as u32 + 1;
    for _ in 0..ROWS * COLUMNS {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(((state >> 8) as f32 / (1 << 23) as f32 - 1.0).to_le_bytes());
    }
    Bytes::from(bytes)
}

/// What one run measured.
struct Measured {
    submit_per_second: f64,
    done_per_second: f64,
    syncs: f64,
}

/// Submits `jobs` jobs over all connections and gives the time it took.
async fn submit(server: &Server, jobs: usize) -> Duration {
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (address, next) = (server.address.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        return;
                    }
                    let path = "/v1/jobs/settle?bundle_k=4&psi_row=0";
                    let (status, body) = post(&mut connection, path, npy(number)).await;
                    assert_eq!(
                        status,
                        StatusCode::ACCEPTED,
                        "{}",
                        String::from_utf8_lossy(&body)
                    );
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    begun.elapsed()
}

/// Submits `jobs` jobs and waits until all are done.
async fn run(server: &Server, jobs: usize) -> Measured {
    let mut control = Connection::open(&server.address).await;
    let done = "oscillink_jobs_total{kind=\"settle\",status=\"done\"}";
    let done_before = control.metric(done).await.unwrap_or(0.0);
    let syncs_before = control
        .metric("oscillink_store_commits_total")
        .await
        .unwrap_or(f64::NAN);
    let begun = Instant::now();
    let submitted = submit(server, jobs).await;
    while control.metric(done).await.unwrap_or(0.0) - done_before < jobs as f64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let finished = begun.elapsed();
    Measured {
        submit_per_second: jobs as f64 / submitted.as_secs_f64(),
        done_per_second: jobs as f64 / finished.as_secs_f64(),
        syncs: control
            .metric("oscillink_store_commits_total")
            .await
            .unwrap_or(f64::NAN)
            - syncs_before,
    }
}

/// Latency from POST to done of single jobs, one after the other.
async fn latencies(server: &Server, jobs: usize) -> Vec<f64> {
    let mut connection = Connection::open(&server.address).await;
    let mut times = Vec::with_capacity(jobs);
    for number in 0..jobs {
        let begun = Instant::now();
        let path = "/v1/jobs/settle?bundle_k=4";
        let (_, body) = post(&mut connection, path, npy(number)).await;
        let job: Value = serde_json::from_slice(&body).expect("JSON");
        let path = format!("/v1/jobs/{}", job["job_id"].as_str().expect("an id"));
        while get(&mut connection, &path).await["status"] != "done" {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let jobs: usize = std::env::var("OSCILLINK_BENCH_JOBS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    println!(
        "{ROWS}×{COLUMNS} jobs over HTTP, {CONNECTIONS} connections, all-in-one server, durable before 202"
    );
    let idle = start(true, &[IDLE]);
    submit(&idle, jobs / 10).await;
    let alone = jobs as f64 / submit(&idle, jobs).await.as_secs_f64();
    println!("submit alone     {jobs:>6} jobs: submit {alone:>6.0}/s");
    drop(idle);
    let mut rates = Vec::new();
    for (name, grouped, jobs) in [
        ("group commit", true, jobs),
        ("single commits", false, jobs / 5),
    ] {
        let server = start(grouped, &[]);
        run(&server, jobs / 10).await;
        let measured = run(&server, jobs).await;
        println!(
            "{name:<16} {jobs:>6} jobs: submit {:>6.0}/s, done {:>6.0}/s, {:>7.0} disk syncs ({:.2} a job)",
            measured.submit_per_second,
            measured.done_per_second,
            measured.syncs,
            measured.syncs / jobs as f64,
        );
        rates.push(measured.done_per_second);
        if grouped {
            let times = latencies(&server, 300).await;
            let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
            println!(
                "{:<16} one job from POST to done: p50 {:.2} ms, p99 {:.2} ms",
                "",
                at(0.5),
                at(0.99)
            );
        }
    }
    println!("group commit / single commits: {:.1}×", rates[0] / rates[1]);
}
