//! Sixteen columns of a conjugate-gradient run: one cache line per row and vector.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;

use super::operator::Shifted;
use crate::arena::Buffer;
use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{Level, Task, Vector};

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

    #[inline(always)]
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
    state: Buffer<Line>,
    residual: Buffer<Line>,
    direction: Buffer<Line>,
    /// `r^T z` per column.
    energy: Sums,
    /// Largest column residual 2-norm after each iteration.
    pub(crate) history: Vec<f64>,
}

impl Panel {
    /// Starts at the anchors.
    pub(crate) fn start(
        shifted: &Shifted<'_>,
        input: &Input<'_>,
        first_column: usize,
        level: Level,
    ) -> Self {
        level.run(Start {
            shifted,
            input,
            first_column,
        })
    }

    /// Iterations done.
    pub(crate) fn iters(&self) -> usize {
        self.history.len()
    }

    /// Forgets everything but the state.
    pub(crate) fn release(&mut self) {
        self.residual = Buffer::default();
        self.direction = Buffer::default();
    }

    /// One iteration; `image` is scratch for the matrix times the direction.
    pub(crate) fn iterate(
        &mut self,
        shifted: &Shifted<'_>,
        image: &mut Buffer<Line>,
        level: Level,
    ) {
        if image.len() != self.state.len() {
            *image = Buffer::zeroed(self.state.len());
        }
        level.run(Iterate {
            panel: self,
            shifted,
            image,
        });
    }
}

/// The initial state, residual and direction of a panel.
struct Start<'a> {
    shifted: &'a Shifted<'a>,
    input: &'a Input<'a>,
    first_column: usize,
}

impl Task for Start<'_> {
    type Output = Panel;

    #[inline(always)]
    fn run<V: Vector>(self) -> Panel {
        let Self {
            shifted,
            input,
            first_column,
        } = self;
        let query = input.line(input.query, first_column);
        let rows = input.anchors.chunks_exact(input.columns);
        let state = Buffer::collect(input.rows(), rows.map(|row| input.line(row, first_column)));
        let mut residual: Buffer<Line> = Buffer::zeroed(input.rows());
        let mut direction: Buffer<Line> = Buffer::zeroed(input.rows());
        let query = V::load(&query);
        let mut energy = Accumulator::<V>::new();
        let slots = residual.iter_mut().zip(direction.iter_mut());
        for (row, (own, (r_slot, z_slot))) in state.iter().zip(slots).enumerate() {
            let (anchor, pull) = shifted.start(row);
            let r = V::splat(anchor)
                .times(V::load(own))
                .plus(V::splat(pull).times(query))
                .plus(gather(shifted, &state, row));
            let z = r.times(V::splat(shifted.inverse_preconditioner(row)));
            r.store(r_slot);
            z.store(z_slot);
            energy.add(r, z);
            energy.end_row(row);
        }
        Panel {
            state,
            residual,
            direction,
            energy: energy.finish(),
            history: Vec::new(),
        }
    }
}

/// One iteration in three passes over the rows: the matrix times the direction, the residual with its
/// sums, and state and direction together.
struct Iterate<'a> {
    panel: &'a mut Panel,
    shifted: &'a Shifted<'a>,
    image: &'a mut [Line],
}

impl Task for Iterate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self {
            panel,
            shifted,
            image,
        } = self;
        let curvature = apply::<V>(shifted, &panel.direction, image);
        let mut step = ZERO;
        for lane in 0..WIDTH {
            step[lane] = ratio(panel.energy[lane], curvature[lane]);
        }
        let step = V::load(&step);
        let mut energy = Accumulator::<V>::new();
        let mut square = Accumulator::<V>::new();
        for (row, (slot, q)) in panel.residual.iter_mut().zip(&*image).enumerate() {
            let r = V::load(slot).minus(step.times(V::load(q)));
            r.store(slot);
            energy.add(r, r.times(V::splat(shifted.inverse_preconditioner(row))));
            square.add(r, r);
            energy.end_row(row);
            square.end_row(row);
        }
        let next = energy.finish();
        let squares = square.finish();
        panel
            .history
            .push(squares.iter().copied().fold(0.0, larger).sqrt());
        let mut turn = ZERO;
        for lane in 0..WIDTH {
            turn[lane] = ratio(next[lane], panel.energy[lane]);
        }
        let turn = V::load(&turn);
        panel.energy = next;
        let rows = panel
            .state
            .iter_mut()
            .zip(panel.direction.iter_mut())
            .zip(&*panel.residual);
        for (row, ((x, p_slot), r)) in rows.enumerate() {
            let p = V::load(p_slot);
            V::load(x).plus(step.times(p)).store(x);
            let z = V::load(r).times(V::splat(shifted.inverse_preconditioner(row)));
            z.plus(turn.times(p)).store(p_slot);
        }
    }
}

/// `image = A p`; returns `p^T A p` per column.
#[inline(always)]
fn apply<V: Vector>(shifted: &Shifted<'_>, direction: &[Line], image: &mut [Line]) -> Sums {
    let mut curvature = Accumulator::<V>::new();
    for (row, (slot, p)) in image.iter_mut().zip(direction).enumerate() {
        let p = V::load(p);
        let own = V::splat(shifted.diagonal(row)).times(p);
        let q = own.minus(gather(shifted, direction, row));
        q.store(slot);
        curvature.add(p, q);
        curvature.end_row(row);
    }
    curvature.finish()
}

/// `sum_j w_ij x_j`.
#[inline(always)]
fn gather<V: Vector>(shifted: &Shifted<'_>, lines: &[Line], row: usize) -> V {
    let mut sum = V::splat(0.0);
    let (columns, weights) = shifted.row(row);
    for (&column, &weight) in columns.iter().zip(weights) {
        sum = sum.plus(V::splat(weight).times(V::load(&lines[column as usize])));
    }
    sum.times(V::splat(shifted.weight_factor()))
}

/// Column sums of products: float32 within a run of rows, double across runs.
struct Accumulator<V> {
    partial: V,
    total: Sums,
}

impl<V: Vector> Accumulator<V> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            partial: V::splat(0.0),
            total: [0.0; WIDTH],
        }
    }

    #[inline(always)]
    fn add(&mut self, a: V, b: V) {
        self.partial = self.partial.plus(a.times(b));
    }

    #[inline(always)]
    fn end_row(&mut self, row: usize) {
        if row % SUM_ROWS == SUM_ROWS - 1 {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        for (total, partial) in self.total.iter_mut().zip(self.partial.lanes()) {
            *total += f64::from(partial);
        }
        self.partial = V::splat(0.0);
    }

    #[inline(always)]
    fn finish(mut self) -> Sums {
        self.flush();
        self.total
    }
}

/// Quotient of two sums, zero where the column has nothing left to do.
#[inline(always)]
fn ratio(numerator: f64, denominator: f64) -> f32 {
    let quotient = (numerator / denominator) as f32;
    if denominator > 0.0 && quotient.is_finite() {
        quotient
    } else {
        0.0
    }
}

/// Maximum that keeps a NaN instead of hiding it.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// Puts the panels' states side by side, undoing the scale; `None` if a value is not finite.
pub(crate) fn assemble(
    panels: &[Panel],
    input: &Input<'_>,
    inverse_scale: f32,
    exec: Exec<'_>,
) -> Result<Option<Array2<f32>>, SolveError> {
    let columns = input.columns;
    let finite = AtomicBool::new(true);
    let mut flat = vec![0.0_f32; input.rows() * columns];
    exec.pieces(&mut flat, ASSEMBLE_ROWS * columns, |offset, piece| {
        let first = offset / columns;
        let mut largest = [0.0_f32; WIDTH];
        for (row, values) in piece.chunks_exact_mut(columns).enumerate() {
            for (slots, panel) in values.chunks_mut(WIDTH).zip(panels) {
                let line = &panel.state[first + row];
                for ((slot, value), largest) in slots.iter_mut().zip(line).zip(&mut largest) {
                    *slot = value * inverse_scale;
                    // Keeps infinities, and turns NaN into one.
                    *largest = if slot.abs() <= *largest {
                        *largest
                    } else if slot.is_nan() {
                        f32::INFINITY
                    } else {
                        slot.abs()
                    };
                }
            }
        }
        if largest.iter().any(|value| value.is_infinite()) {
            finite.store(false, Ordering::Relaxed);
        }
    })?;
    let state = Array2::from_shape_vec((input.rows(), columns), flat)
        .expect("the buffer was sized for this shape");
    Ok(finite.into_inner().then_some(state))
}
