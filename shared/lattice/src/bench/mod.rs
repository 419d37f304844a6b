//! What the speed of the core is measured with: data, a whole job, and the product to compare with.
//!
//! Ratios within one run are the figures to hold; milliseconds move with the machine. The product is
//! the `gemm` crate's of the N x D anchors with their transpose, on as many threads as the job, and
//! rounds of the two alternate.

mod data;
mod sgemm;

pub use data::{around, from_npy, noise, one_hot};

use std::time::Instant;

use ndarray::{ArrayView2, s};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::error::{FieldError, SolveError};
use crate::observer::Observer;
use crate::params::{DiffusionParams, Lambdas, Params};
use crate::plan::{Plan, ReceiptOptions};
use crate::problem::Problem;
use crate::simd::Level;
use crate::solution::{Solution, Timings};
use crate::solve::solve;

/// Neighbours per row of every job.
pub const NEIGHBORS: usize = 8;

/// Rows of every job's bundle.
pub const BUNDLE: usize = 8;

/// How often and on how many threads.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Threads of the job and of the product.
    pub threads: usize,
    /// Rounds, of which the best counts.
    pub rounds: usize,
    /// Whether to time the product too.
    pub product: bool,
}

/// The best of all rounds.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Rows, N.
    pub rows: usize,
    /// Columns, D.
    pub columns: usize,
    /// Undirected edges of the graph.
    pub edges: usize,
    /// Milliseconds of the product, if it was timed.
    pub product_ms: Option<f64>,
    /// Shortest graph construction, in milliseconds.
    pub graph_ms: f64,
    /// Stages of the shortest job.
    pub timings: Timings,
    /// What `peak` told, at most.
    pub peak_bytes: Option<u64>,
}

impl Measured {
    /// Time of the graph over that of the product.
    pub fn graph_to_product(&self) -> Option<f64> {
        Some(self.graph_ms / self.product_ms?)
    }

    /// Time of the whole job over that of the graph.
    pub fn job_to_graph(&self) -> f64 {
        self.timings.total_ms / self.graph_ms
    }

    /// Additions and multiplications a second of the product, in units of 10^9.
    pub fn product_gflops(&self) -> Option<f64> {
        Some(self.operations() / self.product_ms? * 1e-6)
    }

    /// What a product would have to reach to compare all pairs in the time of the graph, in units of
    /// 10^9 additions and multiplications a second.
    pub fn graph_gflops(&self) -> f64 {
        self.operations() / self.graph_ms * 1e-6
    }

    fn operations(&self) -> f64 {
        2.0 * (self.rows as f64).powi(2) * self.columns as f64
    }
}

/// Everything a job can do but a chain: gates, graph, settle, stationary state, full receipt, bundle.
pub fn everything() -> Plan {
    Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(BUNDLE),
        diffusion: Some(DiffusionParams::default()),
        ..Plan::default()
    }
}

/// One whole job that asks for the first row.
///
/// # Errors
/// As [`solve`], and for anchors that no problem can be made of.
pub fn run(y: ArrayView2<'_, f32>, observer: &dyn Observer) -> Result<Solution, SolveError> {
    if y.is_empty() {
        return Err(FieldError::new("Y", "must not be empty").into());
    }
    let params = Params::new(NEIGHBORS, Lambdas::default())?;
    let psi = y.slice(s![0, ..]);
    let problem = Problem::new(y, Some(psi), None, None, params)?;
    solve(&problem, &everything(), observer)
}

/// A pool of `threads`.
///
/// # Errors
/// When they cannot be started.
pub fn pool(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(threads).build()
}

/// The instructions in force, by the name that `OSCILLINK_SIMD` uses.
pub fn instructions() -> &'static str {
    Level::get().name()
}

/// Jobs and products over `y`, in standard layout. `peak` runs what it is given and tells how many
/// bytes that took at its peak beyond what was taken before.
///
/// # Errors
/// As [`run`].
pub fn measure(
    y: ArrayView2<'_, f32>,
    effort: Effort,
    pool: &ThreadPool,
    peak: &mut dyn FnMut(&mut (dyn FnMut() + Send)) -> Option<u64>,
) -> Result<Measured, SolveError> {
    let mut product = effort
        .product
        .then(|| sgemm::Product::new(y, effort.threads));
    let (rows, columns) = y.dim();
    let mut best = Measured {
        rows,
        columns,
        edges: 0,
        product_ms: None,
        graph_ms: f64::INFINITY,
        timings: Timings {
            total_ms: f64::INFINITY,
            ..Timings::default()
        },
        peak_bytes: None,
    };
    for _ in 0..effort.rounds.max(1) {
        if let Some(product) = &mut product {
            let took = product.multiply(pool);
            best.product_ms = Some(best.product_ms.map_or(took, |known| known.min(took)));
        }
        let mut outcome = None;
        let over = peak(&mut || {
            outcome = Some(pool.install(|| run(y, &crate::observer::Unobserved)));
        });
        best.peak_bytes = best.peak_bytes.max(over);
        let Some(solution) = outcome.transpose()? else {
            continue;
        };
        best.edges = solution.graph.stored() / 2;
        best.graph_ms = best.graph_ms.min(solution.timings.graph_build_ms);
        if solution.timings.total_ms < best.timings.total_ms {
            best.timings = solution.timings;
        }
    }
    Ok(best)
}

/// Shortest and median time of `rounds` small jobs on the calling thread, in microseconds. Building
/// the problem counts.
///
/// # Errors
/// As [`run`].
pub fn small_us(y: ArrayView2<'_, f32>, rounds: usize) -> Result<(f64, f64), SolveError> {
    let mut times = Vec::with_capacity(rounds.max(1));
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        std::hint::black_box(run(y, &crate::observer::Unobserved)?);
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}
