//! The speed targets in one table: `cargo bench -p oscillink-lattice --features bench --bench targets`.
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

use data::Case;
use oscillink_lattice::bench::{Effort, NEIGHBORS, instructions, measure, noise, pool, small_us};

fn main() {
    let threads = number("OSCILLINK_BENCH_THREADS", 2);
    let rounds = number("OSCILLINK_BENCH_ROUNDS", 7);
    let only = std::env::var("OSCILLINK_BENCH_ONLY").unwrap_or_default();
    let pool = pool(threads).expect("the threads can be started");
    println!(
        "{threads} threads, {}, best of {rounds}, k = {NEIGHBORS}; times in ms",
        instructions()
    );
    println!(
        "{:<26} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}   gates settle  ustar receipt bundle",
        "case", "sgemm", "kNN", "kNN/sgemm", "job", "job/kNN", "peak MB", "edges"
    );
    for case in data::cases()
        .into_iter()
        .filter(|case| case.name.contains(&only))
    {
        line(
            &case,
            &pool,
            Effort {
                threads,
                rounds: case.rounds.min(rounds),
                product: case.sgemm,
            },
        );
    }
    if "80x32".contains(&only) {
        let y = noise(80, 32);
        let (best, median) = small_us(y.view(), rounds * 200).expect("nothing cancels the run");
        println!(
            "{:<26} one thread, whole job with checks: best {best:.0} us, median {median:.0} us",
            "80x32"
        );
    }
    if data::set("OSCILLINK_BENCH_CHECKS") {
        let y = noise(100_000, 384);
        let (longest, total) = pool.install(|| checks::longest_wait(&y));
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

fn line(case: &Case, pool: &rayon::ThreadPool, effort: Effort) {
    let y = (case.rows)();
    let mut peak = |body: &mut (dyn FnMut() + Send)| Some(memory::peak_over(body));
    let measured = measure(y.view(), effort, pool, &mut peak).expect("nothing cancels the run");
    let best = measured.timings;
    println!(
        "{:<26} {:>8.1} {:>8.2} {:>9.2} {:>9.2} {:>9.2} {:>9.1} {:>9}   {:>5.2} {:>6.2} {:>6.2} {:>7.2} {:>6.2}",
        case.name,
        measured.product_ms.unwrap_or(f64::NAN),
        measured.graph_ms,
        measured.graph_to_product().unwrap_or(f64::NAN),
        best.total_ms,
        measured.job_to_graph(),
        measured.peak_bytes.unwrap_or(0) as f64 / 1e6,
        measured.edges,
        best.diffusion_gate_ms,
        best.settle_ms,
        best.ustar_solve_ms,
        best.receipt_ms,
        best.bundle_ms,
    );
}
