//! `oscillink bench`: how fast this machine settles, stage by stage, beside a matrix product.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use oscillink_lattice::bench::{self, Effort, Measured};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output::{Output, note};

/// Most values of a matrix: 4 GiB.
const MOST_VALUES: usize = 1 << 30;

const HELP: &str = "\
Each size is a whole job over random rows: diffusion gates, graph, settled state, stationary state, \
full receipt, bundle of 8, with 8 neighbours a row. Beside it, in the same run and on as many \
threads, the gemm crate multiplies the rows with their transpose: the ratio to that holds on any \
machine, milliseconds do not. Best of several rounds.

Peak memory is resident memory beyond what the process held before (Linux only). OSCILLINK_SIMD \
(portable, avx2, avx512, avx512vnni, neon) asks for lesser instructions.

Examples:
  oscillink bench
  oscillink bench 20000x128 100000x128 --rounds 2 --json > bench.json";

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Rows and columns
    #[arg(value_name = "NxD", default_values = ["80x32", "1000x128", "5000x128", "5000x384", "20000x128"])]
    sizes: Vec<Size>,
    /// Take the rows of this float32 matrix instead
    #[arg(long, value_name = "FILE.npy", conflicts_with = "sizes")]
    npy: Option<PathBuf>,
    /// Threads; all of the machine unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Rounds, of which the best counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    rows: usize,
    columns: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = text.split_once('x').and_then(|(rows, columns)| {
            let rows: usize = rows.parse().ok()?;
            let columns: usize = columns.parse().ok()?;
            (1..=MOST_VALUES)
                .contains(&rows.checked_mul(columns)?)
                .then_some(Self { rows, columns })
        });
        sizes.ok_or_else(|| {
            format!("not rows and columns like 5000x128, at most {MOST_VALUES} values")
        })
    }
}

/// Measures and prints.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let pool = bench::pool(threads).context("the threads cannot be started")?;
    let effort = Effort {
        threads,
        rounds: usize::from(args.rounds),
        product: true,
    };
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let mut measured = Vec::new();
    if let Some(path) = &args.npy {
        let file = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let y = bench::from_npy(&file).map_err(|error| wrong(&error))?;
        drop(file);
        measured.push(bench::measure(y.view(), effort, &pool, &mut peak_bytes));
    } else {
        for size in &args.sizes {
            let y = bench::noise(size.rows, size.columns);
            measured.push(bench::measure(y.view(), effort, &pool, &mut peak_bytes));
        }
    }
    let measured: Vec<Measured> = measured
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    if output.json() {
        return output.print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "instructions": bench::instructions(),
            "threads": threads,
            "rounds": args.rounds,
            "neighbors": bench::NEIGHBORS,
            "bundle": bench::BUNDLE,
            "cases": measured.iter().map(as_json).collect::<Vec<_>>(),
        }));
    }
    note(format!(
        "{threads} threads, {}, best of {}; milliseconds",
        bench::instructions(),
        args.rounds
    ));
    let headers = [
        "N x D",
        "sgemm",
        "GFLOP/s",
        "kNN",
        "kNN/sgemm",
        "gates",
        "settle",
        "stationary",
        "receipt",
        "bundle",
        "job",
        "job/kNN",
        "peak MB",
    ];
    output.table(&headers, measured.iter().map(cells))
}

fn as_json(case: &Measured) -> Value {
    let stages = case.timings;
    json!({
        "rows": case.rows,
        "columns": case.columns,
        "edges": case.edges,
        "sgemm_ms": case.product_ms,
        "sgemm_gflops": case.product_gflops(),
        "knn_ms": case.graph_ms,
        "knn_gflops_equivalent": case.graph_gflops(),
        "knn_to_sgemm": case.graph_to_product(),
        "gates_ms": stages.diffusion_gate_ms,
        "settle_ms": stages.settle_ms,
        "stationary_ms": stages.ustar_solve_ms,
        "receipt_ms": stages.receipt_ms,
        "bundle_ms": stages.bundle_ms,
        "job_ms": stages.total_ms,
        "job_to_knn": case.job_to_graph(),
        "peak_bytes": case.peak_bytes,
    })
}

fn cells(case: &Measured) -> Vec<String> {
    let stages = case.timings;
    let number = |value: f64| {
        if value < 10.0 {
            format!("{value:.3}")
        } else {
            format!("{value:.1}")
        }
    };
    let known = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    vec![
        format!("{}x{}", case.rows, case.columns),
        known(case.product_ms),
        known(case.product_gflops()),
        number(case.graph_ms),
        known(case.graph_to_product()),
        number(stages.diffusion_gate_ms),
        number(stages.settle_ms),
        number(stages.ustar_solve_ms),
        number(stages.receipt_ms),
        number(stages.bundle_ms),
        number(stages.total_ms),
        number(case.job_to_graph()),
        known(case.peak_bytes.map(|bytes| bytes as f64 / 1e6)),
    ]
}

/// Runs `body` and tells how far resident memory rose above what it was; `None` where the system does
/// not tell.
fn peak_bytes(body: &mut (dyn FnMut() + Send)) -> Option<u64> {
    // Makes the kernel forget the peak so far.
    let forgotten = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = forgotten.then(|| status_bytes("VmRSS:")).flatten();
    body();
    status_bytes("VmHWM:")?.checked_sub(before?)
}

/// A line of the process's status that gives kilobytes.
fn status_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::{Size, peak_bytes};

    #[test]
    fn sizes_are_rows_and_columns() {
        let size: Size = "5000x128".parse().expect("a size");
        assert_eq!((size.rows, size.columns), (5000, 128));
        for wrong in [
            "",
            "5",
            "5x",
            "x5",
            "0x5",
            "5x0",
            "-1x5",
            "99999999999x99999999999",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_touched_counts() {
        let bytes = 64 << 20;
        let peak = peak_bytes(&mut || {
            std::hint::black_box(vec![1_u8; bytes]);
        });
        assert!(
            peak.is_some_and(|peak| peak >= bytes as u64 * 9 / 10),
            "{peak:?}"
        );
    }
}
