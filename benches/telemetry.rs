//! What telemetry costs: synchronous requests over one keep-alive connection, to a server that logs
//! and exports traces at its defaults and to two that do neither, in alternation. The second of those
//! two is the control: what it seems to cost is what two processes of one program differ by.
//!
//! Blocks of requests that follow each other give one ratio; the median of the ratios is the answer, so
//! that whatever else the machine does falls on all. Each round has servers of its own, since where a
//! process happens to lie in memory is good for a per cent or two. Processor time of the servers is
//! compared too: waiting for the disk hides what a request costs. `cargo bench --bench telemetry`, or
//! `make bench-telemetry`.

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
/// Requests before those of a block: the caches are full of what another server did.
const WARM: usize = 15;
const KEY: &str = "bench-key-0123456789";
/// Times that all servers are started.
const ROUNDS: usize = 8;
/// Every order of the three sides: what a server does after a block falls on the next one's.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
    [2, 0, 1],
    [1, 2, 0],
    [0, 2, 1],
];
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
        let mut begun = Instant::now();
        for request in 0..WARM + BLOCK {
            if request == WARM {
                begun = Instant::now();
            }
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

/// What a side was compared with the plain one.
#[derive(Default)]
struct Compared {
    /// Of each pair of blocks.
    latency: Vec<f64>,
    /// Of each round.
    processor: Vec<f64>,
    /// Microseconds a request, of each block.
    times: Vec<f64>,
}

impl Compared {
    fn print(&mut self, name: &str) {
        let time = median(&mut self.times);
        let (low, high) = self
            .processor
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), r| {
                (low.min(*r), high.max(*r))
            });
        let per_cent = |ratio: f64| (ratio - 1.0) * 100.0;
        println!(
            "{name:<10} {time:>6.1} µs a request: latency {:+.2} %, processor {:+.2} % ({:+.2} to {:+.2} by round)",
            per_cent(median(&mut self.latency)),
            per_cent(median(&mut self.processor)),
            per_cent(low),
            per_cent(high),
        );
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pairs: usize = std::env::var("OSCILLINK_BENCH_PAIRS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(42);
    let collector = Collector::start().expect("a collector");
    let endpoint = collector.endpoint();
    let body = body();
    let (mut telemetry, mut control) = (Compared::default(), Compared::default());
    let mut plain_times = Vec::new();
    for _ in 0..ROUNDS {
        let on = start(&[
            ("OSCILLINK_LOG", "info"),
            ("OSCILLINK_LOG_FORMAT", "json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ]);
        let off = || start(&[("OSCILLINK_LOG", "off")]);
        let mut sides = [
            Side::open(on).await,
            Side::open(off()).await,
            Side::open(off()).await,
        ];
        for side in &mut sides {
            side.block(&body).await;
        }
        let mut before = [0.0; 3];
        for (side, cpu) in sides.iter_mut().zip(&mut before) {
            *cpu = side.cpu().await;
        }
        for pair in 0..pairs {
            let mut times = [0.0; 3];
            for at in ORDERS[pair % ORDERS.len()] {
                times[at] = sides[at].block(&body).await;
            }
            let [with, plain, other] = times;
            telemetry.latency.push(with / plain);
            control.latency.push(other / plain);
            let micros = |seconds: f64| seconds / BLOCK as f64 * 1e6;
            telemetry.times.push(micros(with));
            control.times.push(micros(other));
            plain_times.push(micros(plain));
        }
        let mut used = [0.0; 3];
        for ((side, before), used) in sides.iter_mut().zip(before).zip(&mut used) {
            *used = side.cpu().await - before;
        }
        telemetry.processor.push(used[0] / used[1]);
        control.processor.push(used[2] / used[1]);
    }
    println!(
        "POST /v1/settle of {ROWS}×{COLUMNS}, one connection, {ROUNDS} rounds of {pairs} blocks of {BLOCK} requests in alternation"
    );
    println!("plain      {:>6.1} µs a request", median(&mut plain_times));
    telemetry.print("telemetry");
    control.print("control");
    println!(
        "target: telemetry adds less than {TARGET} %; spans that the collector has: {}",
        collector.spans().len()
    );
}
