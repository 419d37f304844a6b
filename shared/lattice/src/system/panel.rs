//! Sixteen columns of a conjugate-gradient run: one cache line per row and vector.

use ndarray::Array2;

use super::operator::Shifted;
use crate::error::SolveError;
use crate::exec::Exec;

/// Columns per panel.
pub(crate) const WIDTH: usize = 16;

/// Rows whose float32 partial sums are added up before they are moved to double.
const SUM_ROWS: usize = 64;

const ASSEMBLE_ROWS: usize = 512;

/// One row of a panel.
pub(crate) type Line = [f32; WIDTH];

type Sums = [f64; WIDTH];

const ZERO: Line = [0.0; WIDTH];

/// What a run starts from.
pub(crate) struct Input<'a> {
    pub(crate) anchors: &'a [f32],
    pub(crate) query: &'a [f32],
    pub(crate) gates: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) scale: f32,
}

impl Input<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.gates.len()
    }

    fn line(&self, values: &[f32], first_column: usize) -> Line {
        let mut line = ZERO;
        let end = (first_column + WIDTH).min(values.len());
        for (slot, value) in line.iter_mut().zip(&values[first_column..end]) {
            *slot = value * self.scale;
        }
        line
    }
}

/// State of one panel between iterations. Columns beyond the last are all zero and stay so.
#[derive(Default)]
pub(crate) struct Panel {
    state: Vec<Line>,
    residual: Vec<Line>,
    direction: Vec<Line>,
    /// `r^T z` per column.
    energy: Sums,
    /// Largest column residual 2-norm after each iteration.
    pub(crate) history: Vec<f64>,
}

impl Panel {
    /// Starts at the anchors.
    pub(crate) fn start(shifted: &Shifted<'_>, input: &Input<'_>, first_column: usize) -> Self {
        let query = input.line(input.query, first_column);
        let state: Vec<Line> = input
            .anchors
            .chunks_exact(input.columns)
            .map(|row| input.line(row, first_column))
            .collect();
        let mut residual = Vec::with_capacity(state.len());
        let mut direction = Vec::with_capacity(state.len());
        let mut energy = Accumulator::new();
        for (row, own) in state.iter().enumerate() {
            let (anchor, pull) = shifted.start(row);
            let gathered = gather(shifted, &state, row);
            let inverse = shifted.inverse_preconditioner(row);
            let (mut r, mut z) = (ZERO, ZERO);
            for lane in 0..WIDTH {
                r[lane] = anchor * own[lane] + pull * query[lane] + gathered[lane];
                z[lane] = r[lane] * inverse;
            }
            energy.add(&r, &z);
            energy.end_row(row);
            residual.push(r);
            direction.push(z);
        }
        Self {
            state,
            residual,
            direction,
            energy: energy.finish(),
            history: Vec::new(),
        }
    }

    /// Iterations done.
    pub(crate) fn iters(&self) -> usize {
        self.history.len()
    }

    /// Forgets everything but the state.
    pub(crate) fn release(&mut self) {
        self.residual = Vec::new();
        self.direction = Vec::new();
    }

    /// One iteration; `image` is scratch for the matrix times the direction.
    pub(crate) fn iterate(&mut self, shifted: &Shifted<'_>, image: &mut Vec<Line>) {
        let curvature = self.apply(shifted, image);
        let mut step = ZERO;
        for lane in 0..WIDTH {
            step[lane] = ratio(self.energy[lane], curvature[lane]);
        }
        let mut energy = Accumulator::new();
        let mut square = Accumulator::new();
        let rows = self
            .state
            .iter_mut()
            .zip(&mut self.residual)
            .zip(&self.direction)
            .zip(&*image);
        for (row, (((x, r), p), q)) in rows.enumerate() {
            let inverse = shifted.inverse_preconditioner(row);
            let mut z = ZERO;
            for lane in 0..WIDTH {
                x[lane] += step[lane] * p[lane];
                r[lane] -= step[lane] * q[lane];
                z[lane] = r[lane] * inverse;
            }
            energy.add(r, &z);
            square.add(r, r);
            energy.end_row(row);
            square.end_row(row);
        }
        let next = energy.finish();
        let squares = square.finish();
        self.history
            .push(squares.iter().copied().fold(0.0, larger).sqrt());
        let mut turn = ZERO;
        for lane in 0..WIDTH {
            turn[lane] = ratio(next[lane], self.energy[lane]);
        }
        self.energy = next;
        for (row, (p, r)) in self.direction.iter_mut().zip(&self.residual).enumerate() {
            let inverse = shifted.inverse_preconditioner(row);
            for lane in 0..WIDTH {
                p[lane] = r[lane] * inverse + turn[lane] * p[lane];
            }
        }
    }

    /// `image = A p`; returns `p^T A p` per column.
    fn apply(&self, shifted: &Shifted<'_>, image: &mut Vec<Line>) -> Sums {
        let mut curvature = Accumulator::new();
        image.resize(self.direction.len(), ZERO);
        for (row, (q, p)) in image.iter_mut().zip(&self.direction).enumerate() {
            let diagonal = shifted.diagonal(row);
            let gathered = gather(shifted, &self.direction, row);
            for lane in 0..WIDTH {
                q[lane] = diagonal * p[lane] - gathered[lane];
            }
            curvature.add(p, q);
            curvature.end_row(row);
        }
        curvature.finish()
    }
}

/// `sum_j w_ij x_j`.
#[inline(always)]
fn gather(shifted: &Shifted<'_>, lines: &[Line], row: usize) -> Line {
    let mut sum = ZERO;
    let (columns, weights) = shifted.row(row);
    for (&column, &weight) in columns.iter().zip(weights) {
        let line = &lines[column as usize];
        for lane in 0..WIDTH {
            sum[lane] += weight * line[lane];
        }
    }
    let factor = shifted.weight_factor();
    for value in &mut sum {
        *value *= factor;
    }
    sum
}

/// Column sums of products: float32 within a run of rows, double across runs.
struct Accumulator {
    partial: Line,
    total: Sums,
}

impl Accumulator {
    fn new() -> Self {
        Self {
            partial: ZERO,
            total: [0.0; WIDTH],
        }
    }

    #[inline(always)]
    fn add(&mut self, a: &Line, b: &Line) {
        for lane in 0..WIDTH {
            self.partial[lane] += a[lane] * b[lane];
        }
    }

    #[inline(always)]
    fn end_row(&mut self, row: usize) {
        if row % SUM_ROWS == SUM_ROWS - 1 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for lane in 0..WIDTH {
            self.total[lane] += f64::from(self.partial[lane]);
        }
        self.partial = ZERO;
    }

    fn finish(mut self) -> Sums {
        self.flush();
        self.total
    }
}

/// Quotient of two sums, zero where the column has nothing left to do.
fn ratio(numerator: f64, denominator: f64) -> f32 {
    let quotient = (numerator / denominator) as f32;
    if denominator > 0.0 && quotient.is_finite() {
        quotient
    } else {
        0.0
    }
}

/// Maximum that keeps a NaN instead of hiding it.
fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// Puts the panels' states side by side, undoing the scale.
pub(crate) fn assemble(
    panels: &[Panel],
    input: &Input<'_>,
    inverse_scale: f32,
    exec: Exec<'_>,
) -> Result<Array2<f32>, SolveError> {
    let columns = input.columns;
    let mut flat = vec![0.0_f32; input.rows() * columns];
    exec.pieces(&mut flat, ASSEMBLE_ROWS * columns, |offset, piece| {
        let first = offset / columns;
        for (row, values) in piece.chunks_exact_mut(columns).enumerate() {
            for (slots, panel) in values.chunks_mut(WIDTH).zip(panels) {
                for (slot, value) in slots.iter_mut().zip(&panel.state[first + row]) {
                    *slot = value * inverse_scale;
                }
            }
        }
    })?;
    Ok(Array2::from_shape_vec((input.rows(), columns), flat)
        .expect("the buffer was sized for this shape"))
}
