//! The speed targets in one table: `cargo bench -p oscillink-lattice --bench targets`.
//!
//! Ratios within one run are the figures to hold; milliseconds move with the machine. `sgemm` is the
//! `gemm` crate multiplying the N x D anchors with their transpose, tile by tile, on as many threads
//! as the search. Every number is the best of several rounds, and rounds of the two alternate.
//!
//! - `OSCILLINK_BENCH_NPY`: a float32 `.npy` file to take the 5000 x 384 rows from; without it they
//!   are synthetic and clustered.
//! - `OSCILLINK_BENCH_THREADS` (2), `OSCILLINK_BENCH_ROUNDS` (7).
//! - `OSCILLINK_BENCH_LARGE=1` adds 100000 x 128, `OSCILLINK_BENCH_FLOODS=1` the data with many ties.
//! - `OSCILLINK_BENCH_CHECKS=1` adds the longest time between two looks for cancellation in one run of
//!   100000 x 384.
//! - `OSCILLINK_BENCH_ONLY`: only rows of the table whose name holds this text.
//! - `OSCILLINK_SIMD`: the instruction set the search may use, see the crate's `simd` module.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark's table goes to standard output"
)]

mod checks;
mod data;
mod memory;
mod sgemm;

use std::time::Instant;

use data::Case;
use ndarray::Array2;
use oscillink_lattice::{
    DiffusionParams, Lambdas, Observer, Params, Plan, Problem, ReceiptOptions, Solution, Timings,
    Unobserved, solve,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Neighbours per row of every run.
const NEIGHBORS: usize = 8;

fn main() {
    let threads = number("OSCILLINK_BENCH_THREADS", 2);
    let rounds = number("OSCILLINK_BENCH_ROUNDS", 7);
    let only = std::env::var("OSCILLINK_BENCH_ONLY").unwrap_or_default();
    println!("{threads} threads, best of {rounds}, k = {NEIGHBORS}; times in ms");
    println!(
        "{:<26} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}   gates settle  ustar receipt bundle",
        "case", "sgemm", "kNN", "kNN/sgemm", "job", "job/kNN", "peak MB", "edges"
    );
    for case in data::cases()
        .into_iter()
        .filter(|case| case.name.contains(&only))
    {
        measure(&case, threads, rounds);
    }
    if "80x32".contains(&only) {
        small(rounds);
    }
    if data::set("OSCILLINK_BENCH_CHECKS") {
        let y = data::noise(100_000, 384);
        let (longest, total) = pool(threads).install(|| checks::longest_wait(&y));
        println!(
            "{:<26} whole job {total:.0} ms, longest wait between checks {:.0} ms, in stage {:?}",
            "100000x384", longest.0, longest.1
        );
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("the threads can be started")
}

fn everything() -> Plan {
    Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(8),
        diffusion: Some(DiffusionParams::default()),
        ..Plan::default()
    }
}

fn run(y: &Array2<f32>) -> Solution {
    run_observed(y, &Unobserved)
}

fn run_observed(y: &Array2<f32>, observer: &dyn Observer) -> Solution {
    let psi = y.row(0).to_owned();
    let params = Params::new(NEIGHBORS, Lambdas::default()).expect("the parameters are in range");
    let problem =
        Problem::new(y.view(), Some(psi.view()), None, None, params).expect("the rows are finite");
    solve(&problem, &everything(), observer).expect("nothing cancels the run")
}

fn measure(case: &Case, threads: usize, rounds: usize) {
    let y = (case.rows)();
    let pool = pool(threads);
    let mut product = sgemm::Product::new(&y, threads);
    let mut sgemm_ms = f64::INFINITY;
    let mut best = Timings {
        graph_build_ms: f64::INFINITY,
        total_ms: f64::INFINITY,
        ..Timings::default()
    };
    let (mut peak, mut edges) = (0, 0);
    for _ in 0..case.rounds.min(rounds) {
        if case.sgemm {
            sgemm_ms = sgemm_ms.min(product.multiply(&pool));
        }
        let ((timings, stored), over) = pool.install(|| {
            memory::peak_over(|| {
                let solution = run(&y);
                (solution.timings, solution.graph.stored())
            })
        });
        peak = peak.max(over);
        edges = stored / 2;
        let graph_build_ms = best.graph_build_ms.min(timings.graph_build_ms);
        if timings.total_ms < best.total_ms {
            best = timings;
        }
        best.graph_build_ms = graph_build_ms;
    }
    let ratio = best.graph_build_ms / sgemm_ms;
    println!(
        "{:<26} {:>8.1} {:>8.2} {:>9.2} {:>9.2} {:>9.2} {:>9.1} {:>9}   {:>5.2} {:>6.2} {:>6.2} {:>7.2} {:>6.2}",
        case.name,
        sgemm_ms,
        best.graph_build_ms,
        ratio,
        best.total_ms,
        best.total_ms / best.graph_build_ms,
        peak as f64 / 1e6,
        edges,
        best.diffusion_gate_ms,
        best.settle_ms,
        best.ustar_solve_ms,
        best.receipt_ms,
        best.bundle_ms,
    );
}

/// A small job on one thread, in microseconds.
fn small(rounds: usize) {
    let y = data::noise(80, 32);
    let mut micros: Vec<f64> = pool(1).install(|| {
        (0..rounds * 100)
            .map(|_| {
                let started = Instant::now();
                std::hint::black_box(run(&y));
                started.elapsed().as_secs_f64() * 1e6
            })
            .collect()
    });
    micros.sort_by(f64::total_cmp);
    println!(
        "{:<26} one thread, whole job with checks: best {:.0} us, median {:.0} us",
        "80x32",
        micros[0],
        micros[micros.len() / 2]
    );
}
