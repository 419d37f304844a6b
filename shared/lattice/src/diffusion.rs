//! Gates by screened diffusion of query similarity over a graph (contract, section 6).

use crate::error::SolveError;
use crate::exec::Exec;
use crate::graph::{Graph, norm};
use crate::kernels;
use crate::observer::Stage;
use crate::params::DiffusionParams;
use crate::problem::Problem;
use crate::scale::Scale;
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
    scale: Scale,
    exec: Exec<'_>,
) -> Result<(Vec<f32>, DiffusionReport), SolveError> {
    let source = sources(problem, params.beta(), scale, exec)?;
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
fn sources(
    problem: &Problem<'_>,
    beta: f64,
    scale: Scale,
    exec: Exec<'_>,
) -> Result<Vec<f64>, SolveError> {
    let columns = problem.columns();
    let query = problem.query();
    let query_norm = norm(query) + 1e-12;
    let mut source = vec![0.0; problem.rows()];
    exec.pieces(&mut source, PIECE_ROWS, |first, piece| {
        let rows = problem.anchors()[first * columns..].chunks_exact(columns);
        for (slot, row) in piece.iter_mut().zip(rows) {
            let product = scale.unscale_square(kernels::dot(row, query, scale.factor));
            *slot = beta * (product / (norm(row) + 1e-12) / query_norm).max(0.0);
        }
    })?;
    Ok(source)
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
    inverse_roots: Vec<f64>,
    gamma: f64,
}

impl<'a> Screened<'a> {
    fn new(graph: &'a Graph, gamma: f64) -> Self {
        let inverse_roots = graph
            .sqrt_degrees()
            .iter()
            .map(|root| 1.0 / f64::from(*root))
            .collect();
        Self {
            graph,
            inverse_roots,
            gamma,
        }
    }

    /// `out = (L + gamma I) x`; `spread` is scratch for `D^-1 x`.
    fn apply(
        &self,
        x: &[f64],
        spread: &mut [f64],
        out: &mut [f64],
        exec: Exec<'_>,
    ) -> Result<(), SolveError> {
        for ((slot, value), inverse) in spread.iter_mut().zip(x).zip(&self.inverse_roots) {
            *slot = value * inverse;
        }
        let spread = &*spread;
        exec.pieces(out, PIECE_ROWS, |first, piece| {
            for (index, slot) in piece.iter_mut().enumerate() {
                let row = first + index;
                let near: f64 = self
                    .graph
                    .row(row)
                    .map(|(column, a)| f64::from(a) * spread[column])
                    .sum();
                *slot = (1.0 + self.gamma) * x[row] - near * self.inverse_roots[row];
            }
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
        let (mut spread, mut image) = (vec![0.0; count], vec![0.0; count]);
        let mut energy = dot(&residual, &residual);
        for _ in 0..MAX_ITERS {
            if energy.sqrt() <= target {
                break;
            }
            exec.check()?;
            self.apply(&direction, &mut spread, &mut image, exec)?;
            let step = energy / dot(&direction, &image);
            if !step.is_finite() || step < 0.0 {
                break;
            }
            for index in 0..count {
                h[index] += step * direction[index];
                residual[index] -= step * image[index];
            }
            let next = dot(&residual, &residual);
            let turn = next / energy;
            energy = next;
            for (slot, value) in direction.iter_mut().zip(&residual) {
                *slot = value + turn * *slot;
            }
        }
        self.apply(&h, &mut spread, &mut image, exec)?;
        for (slot, value) in image.iter_mut().zip(source) {
            *slot -= value;
        }
        let reach = dot(source, source).sqrt() + (2.0 + self.gamma) * dot(&h, &h).sqrt();
        let trusted = dot(&image, &image).sqrt() <= MAX_BACKWARD_ERROR * reach;
        Ok(trusted.then_some(h))
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
