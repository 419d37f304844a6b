//! Gates by screened diffusion of query similarity over a graph (contract, section 6).

use crate::error::SolveError;
use crate::exec::Exec;
use crate::graph::Graph;
use crate::kernels;
use crate::observer::Stage;
use crate::params::DiffusionParams;
use crate::problem::Problem;
use crate::simd::{Task, Vector};
use crate::solution::DiffusionReport;

/// Residual, relative to the source, at which the solve stops.
const RELATIVE_TOL: f64 = 1e-12;

/// Backward error above which the answer is not trusted.
const MAX_BACKWARD_ERROR: f64 = 1e-10;

/// Bounds the time of a nearly singular system.
const MAX_ITERS: usize = 4000;

/// Spread of the solution below which all gates are one.
const MIN_SPREAD: f64 = 1e-12;

const PIECE_ROWS: usize = 2048;

const FALLBACK: &str = "fallback_uniform";

/// Gates in `[0, 1]` for every row, and how they came about.
pub(crate) fn gates(
    problem: &Problem<'_>,
    graph: &Graph,
    params: &DiffusionParams,
    exec: Exec<'_>,
) -> Result<(Vec<f32>, DiffusionReport), SolveError> {
    let source = sources(problem, params.beta(), exec)?;
    let screened = Screened::new(graph, params.gamma());
    let solved = screened.solve(&source, exec)?;
    let (gates, note) = match solved.and_then(|h| rescale(&h)) {
        Some(gates) => (gates, None),
        None => (vec![1.0; problem.rows()], Some(FALLBACK)),
    };
    let report = DiffusionReport {
        beta: params.beta(),
        gamma: params.gamma(),
        gate_min: fold(&gates, f64::INFINITY, f64::min),
        gate_max: fold(&gates, f64::NEG_INFINITY, f64::max),
        gate_mean: fold(&gates, 0.0, |sum, gate| sum + gate) / gates.len() as f64,
        graph_k: graph.k(),
        note,
    };
    exec.progress(Stage::Diffusion, 1.0);
    Ok((gates, report))
}

fn fold(gates: &[f32], start: f64, step: impl Fn(f64, f64) -> f64) -> f64 {
    gates
        .iter()
        .fold(start, |state, gate| step(state, f64::from(*gate)))
}

/// `s_i = beta max(0, cos(y_i, psi))`.
fn sources(problem: &Problem<'_>, beta: f64, exec: Exec<'_>) -> Result<Vec<f64>, SolveError> {
    let columns = problem.columns();
    let query = problem.query();
    let query_norm = exec.level().run(kernels::Norm(query)) + 1e-12;
    let mut source = vec![0.0; problem.rows()];
    exec.pieces(&mut source, PIECE_ROWS, |first, slots| {
        exec.level().run(Sources {
            rows: &problem.anchors()[first * columns..],
            query,
            query_norm,
            beta,
            slots,
        });
    })?;
    Ok(source)
}

/// Sources of some consecutive rows.
struct Sources<'a> {
    rows: &'a [f32],
    query: &'a [f32],
    query_norm: f64,
    beta: f64,
    slots: &'a mut [f64],
}

impl Task for Sources<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let query = self.query;
        let rows = self.rows.chunks_exact(query.len());
        for (slot, row) in self.slots.iter_mut().zip(rows) {
            // Rows that point the same way must get equal sources: float32 sums would not do.
            let product = kernels::dot_wide(row, query);
            let cosine = product / (kernels::norm::<V>(row) + 1e-12) / self.query_norm;
            *slot = self.beta * cosine.max(0.0);
        }
    }
}

/// `(h - min) / (max - min)`, or `None` when that is not finite.
fn rescale(h: &[f64]) -> Option<Vec<f32>> {
    let low = h.iter().copied().fold(f64::INFINITY, f64::min);
    let high = h.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let spread = high - low;
    if !spread.is_finite() {
        return None;
    }
    if spread < MIN_SPREAD {
        return Some(vec![1.0; h.len()]);
    }
    Some(
        h.iter()
            .map(|value| ((value - low) / spread).clamp(0.0, 1.0) as f32)
            .collect(),
    )
}

/// `L + gamma I`.
struct Screened<'a> {
    graph: &'a Graph,
    /// `a_ij / (d_i d_j)` of every stored entry.
    weights: Vec<f64>,
    gamma: f64,
}

impl<'a> Screened<'a> {
    fn new(graph: &'a Graph, gamma: f64) -> Self {
        let inverse_roots: Vec<f64> = graph
            .sqrt_degrees()
            .iter()
            .map(|root| 1.0 / f64::from(*root))
            .collect();
        let mut weights = Vec::with_capacity(graph.stored());
        for (row, own) in inverse_roots.iter().enumerate() {
            let entries = graph.row(row);
            weights.extend(entries.map(|(column, a)| f64::from(a) * own * inverse_roots[column]));
        }
        Self {
            graph,
            weights,
            gamma,
        }
    }

    /// `out = (L + gamma I) x`.
    fn apply(&self, x: &[f64], out: &mut [f64], exec: Exec<'_>) -> Result<(), SolveError> {
        exec.pieces(out, PIECE_ROWS, |first, out| {
            exec.level().run(Apply {
                screened: self,
                x,
                first,
                out,
            });
        })
    }

    /// Conjugate gradients in double from zero; the diagonal is constant, so it would not help as
    /// a preconditioner. `None` when the system is too close to singular.
    fn solve(&self, source: &[f64], exec: Exec<'_>) -> Result<Option<Vec<f64>>, SolveError> {
        let count = source.len();
        let target = RELATIVE_TOL * dot(source, source).sqrt();
        let mut h = vec![0.0; count];
        let mut residual = source.to_vec();
        let mut direction = source.to_vec();
        let mut image = vec![0.0; count];
        let mut energy = dot(&residual, &residual);
        for _ in 0..MAX_ITERS {
            if energy.sqrt() <= target {
                break;
            }
            exec.check()?;
            self.apply(&direction, &mut image, exec)?;
            let step = energy / dot(&direction, &image);
            if !step.is_finite() || step < 0.0 {
                break;
            }
            let moved = h.iter_mut().zip(&direction);
            moved.for_each(|(slot, value)| *slot += step * value);
            let moved = residual.iter_mut().zip(&image);
            moved.for_each(|(slot, value)| *slot -= step * value);
            let next = dot(&residual, &residual);
            let turn = next / energy;
            energy = next;
            for (slot, value) in direction.iter_mut().zip(&residual) {
                *slot = value + turn * *slot;
            }
        }
        self.apply(&h, &mut image, exec)?;
        for (slot, value) in image.iter_mut().zip(source) {
            *slot -= value;
        }
        let reach = dot(source, source).sqrt() + (2.0 + self.gamma) * dot(&h, &h).sqrt();
        let trusted = dot(&image, &image).sqrt() <= MAX_BACKWARD_ERROR * reach;
        Ok(trusted.then_some(h))
    }
}

/// The rows from `first` on of [`Screened::apply`].
struct Apply<'a> {
    screened: &'a Screened<'a>,
    x: &'a [f64],
    first: usize,
    out: &'a mut [f64],
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { screened, x, .. } = self;
        let graph = screened.graph;
        for (index, slot) in self.out.iter_mut().enumerate() {
            let row = self.first + index;
            let slots = graph.slots(row);
            let entries = graph.columns()[slots.clone()].iter();
            let mut near = 0.0;
            for (&column, weight) in entries.zip(&screened.weights[slots]) {
                near += weight * x[column as usize];
            }
            *slot = (1.0 + screened.gamma) * x[row] - near;
        }
    }
}

/// Dot product with eight running sums.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}
