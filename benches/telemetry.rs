//! What telemetry costs: synchronous requests over one keep-alive connection, to a server that logs
//! and exports traces at its defaults and to one that does neither, in alternation.
//!
//! Each pair of short blocks gives one ratio; the median of the ratios is the answer, so that whatever
//! else the machine does falls on both. Processor time of the servers is compared too: waiting for the
//! disk hides what a request costs. `cargo bench --bench telemetry`, or `make bench-telemetry`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod support;

use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use oscillink_emulators::collector::Collector;

use support::{Connection, Server};

const ROWS: usize = 80;
const COLUMNS: usize = 32;
/// Requests of one block, short enough that both blocks of a pair see the same machine.
const BLOCK: usize = 100;
const KEY: &str = "bench-key-0123456789";
/// What telemetry may add, per cent.
const TARGET: f64 = 3.0;

fn start(more: &[(&str, &str)]) -> Server {
    let tiers = format!("{KEY}:pro");
    let mut variables = vec![
        ("OSCILLINK_API_KEYS", KEY),
        ("OSCILLINK_KEY_TIERS", tiers.as_str()),
        ("OSCILLINK_MONTHLY_CAP", "1000000000000"),
    ];
    variables.extend(more);
    Server::start_quiet(&variables)
}

/// An 80×32 matrix as JSON.
fn body() -> Bytes {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let rows: Vec<Vec<f32>> = (0..ROWS)
        .map(|_| (0..COLUMNS).map(|_| next()).collect())
        .collect();
    let body = serde_json::json!({"Y": rows, "psi": rows[0], "options": {"bundle_k": 4}});
    Bytes::from(body.to_string())
}

/// One side of the comparison.
struct Side {
    _server: Server,
    connection: Connection,
}

impl Side {
    async fn open(server: Server) -> Self {
        let connection = Connection::open(&server.address).await;
        Self {
            _server: server,
            connection,
        }
    }

    /// Seconds that a block takes.
    async fn block(&mut self, body: &Bytes) -> f64 {
        let headers = [("x-api-key", KEY), ("content-type", "application/json")];
        let begun = Instant::now();
        for _ in 0..BLOCK {
            let sent = self
                .connection
                .send("POST", "/v1/settle", &headers, body.clone());
            let (status, _) = sent.await;
            assert_eq!(status, StatusCode::OK);
        }
        begun.elapsed().as_secs_f64()
    }

    /// Processor time of the server since its start, seconds.
    async fn cpu(&mut self) -> f64 {
        let seconds = self.connection.metric("process_cpu_seconds_total").await;
        seconds.expect("the processor time")
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    (values[middle] + values[(values.len() - 1) / 2]) / 2.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pairs: usize = std::env::var("OSCILLINK_BENCH_PAIRS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    let collector = Collector::start().expect("a collector");
    let endpoint = collector.endpoint();
    let on = start(&[
        ("OSCILLINK_LOG", "info"),
        ("OSCILLINK_LOG_FORMAT", "json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ]);
    let off = start(&[("OSCILLINK_LOG", "off")]);
    let (mut on, mut off) = (Side::open(on).await, Side::open(off).await);
    let body = body();
    for _ in 0..5 {
        on.block(&body).await;
        off.block(&body).await;
    }
    let cpu = (on.cpu().await, off.cpu().await);
    let (mut ratios, mut times) = (Vec::new(), (Vec::new(), Vec::new()));
    for pair in 0..pairs {
        // Whoever goes first in a pair goes second in the next.
        let (with, without) = if pair % 2 == 0 {
            let with = on.block(&body).await;
            (with, off.block(&body).await)
        } else {
            let without = off.block(&body).await;
            (on.block(&body).await, without)
        };
        ratios.push(with / without);
        times.0.push(with / BLOCK as f64 * 1e6);
        times.1.push(without / BLOCK as f64 * 1e6);
    }
    let requests = (pairs * BLOCK) as f64;
    let cpu = (
        (on.cpu().await - cpu.0) / requests * 1e6,
        (off.cpu().await - cpu.1) / requests * 1e6,
    );
    let overhead = (median(&mut ratios) - 1.0) * 100.0;
    println!(
        "POST /v1/settle of {ROWS}×{COLUMNS}, one connection, {pairs} pairs of {BLOCK} requests in alternation"
    );
    println!(
        "latency   with {:.1} µs, without {:.1} µs (medians of blocks); median ratio of the pairs {:+.2} % (target < {TARGET} %)",
        median(&mut times.0),
        median(&mut times.1),
        overhead,
    );
    println!(
        "processor with {:.1} µs, without {:.1} µs a request: {:+.2} %",
        cpu.0,
        cpu.1,
        (cpu.0 / cpu.1 - 1.0) * 100.0,
    );
    println!("spans that the collector has: {}", collector.spans().len());
}
