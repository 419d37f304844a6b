//! Some columns of a conjugate-gradient run: one or two cache lines per row and vector.
//!
//! Columns do not depend on each other, so it changes no bit of any of them how many share a panel. Two
//! lines take fewer instructions for each value, one leaves more rows in the cache.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;

use super::operator::Shifted;
use crate::arena::{Buffer, Pooled};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{Level, Task, Vector};

/// Columns in a cache line.
pub(crate) const WIDTH: usize = 16;

/// Rows whose float32 partial sums are added up before they are moved to double.
const SUM_ROWS: usize = 64;

const ASSEMBLE_ROWS: usize = 512;

/// One row of a panel.
pub(crate) type Line<const LINES: usize> = [[f32; WIDTH]; LINES];

type Sums<const LINES: usize> = [[f64; WIDTH]; LINES];

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

    /// Values of a row from a column on, zero beyond its end.
    #[inline(always)]
    fn line<const LINES: usize>(&self, values: &[f32], first_column: usize) -> Line<LINES> {
        let mut line = [[0.0; WIDTH]; LINES];
        let end = (first_column + LINES * WIDTH).min(values.len());
        let slots = line.as_flattened_mut();
        for (slot, value) in slots.iter_mut().zip(&values[first_column..end]) {
            *slot = value * self.scale;
        }
        line
    }
}

/// State of one panel between iterations. Columns beyond the last are all zero and stay so.
pub(crate) struct Panel<const LINES: usize>
where
    Line<LINES>: Pooled,
{
    state: Buffer<Line<LINES>>,
    residual: Buffer<Line<LINES>>,
    direction: Buffer<Line<LINES>>,
    /// `r^T z` per column.
    energy: Sums<LINES>,
    /// Largest column residual 2-norm after each iteration.
    pub(crate) history: Vec<f64>,
}

impl<const LINES: usize> Default for Panel<LINES>
where
    Line<LINES>: Pooled,
{
    fn default() -> Self {
        Self {
            state: Buffer::default(),
            residual: Buffer::default(),
            direction: Buffer::default(),
            energy: [[0.0; WIDTH]; LINES],
            history: Vec::new(),
        }
    }
}

impl<const LINES: usize> Panel<LINES>
where
    Line<LINES>: Pooled,
{
    /// Columns of a panel.
    pub(crate) const COLUMNS: usize = LINES * WIDTH;

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
        image: &mut Buffer<Line<LINES>>,
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
struct Start<'a, const LINES: usize> {
    shifted: &'a Shifted<'a>,
    input: &'a Input<'a>,
    first_column: usize,
}

impl<const LINES: usize> Task for Start<'_, LINES>
where
    Line<LINES>: Pooled,
{
    type Output = Panel<LINES>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Panel<LINES> {
        let Self {
            shifted,
            input,
            first_column,
        } = self;
        let query = input.line::<LINES>(input.query, first_column);
        let rows = input.anchors.chunks_exact(input.columns);
        let state = Buffer::collect(input.rows(), rows.map(|row| input.line(row, first_column)));
        let mut residual: Buffer<Line<LINES>> = Buffer::zeroed(input.rows());
        let mut direction: Buffer<Line<LINES>> = Buffer::zeroed(input.rows());
        let mut energy = Accumulator::<V, LINES>::new();
        let slots = residual.iter_mut().zip(direction.iter_mut());
        for (row, (own, (r_slot, z_slot))) in state.iter().zip(slots).enumerate() {
            let (anchor, pull) = shifted.start(row);
            let near = gather::<V, LINES>(shifted, &state, row);
            let inverse = V::splat(shifted.inverse_preconditioner(row));
            for line in 0..LINES {
                let r = V::splat(anchor)
                    .times(V::load(&own[line]))
                    .plus(V::splat(pull).times(V::load(&query[line])))
                    .plus(near[line]);
                let z = r.times(inverse);
                r.store(&mut r_slot[line]);
                z.store(&mut z_slot[line]);
                energy.add(line, r, z);
            }
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
struct Iterate<'a, const LINES: usize>
where
    Line<LINES>: Pooled,
{
    panel: &'a mut Panel<LINES>,
    shifted: &'a Shifted<'a>,
    image: &'a mut [Line<LINES>],
}

impl<const LINES: usize> Task for Iterate<'_, LINES>
where
    Line<LINES>: Pooled,
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self {
            panel,
            shifted,
            image,
        } = self;
        let curvature = apply::<V, LINES>(shifted, &panel.direction, image);
        let step = ratios::<V, LINES>(&panel.energy, &curvature);
        let mut energy = Accumulator::<V, LINES>::new();
        let mut square = Accumulator::<V, LINES>::new();
        for (row, (slot, q)) in panel.residual.iter_mut().zip(&*image).enumerate() {
            let inverse = V::splat(shifted.inverse_preconditioner(row));
            for line in 0..LINES {
                let r = V::load(&slot[line]).minus(step[line].times(V::load(&q[line])));
                r.store(&mut slot[line]);
                energy.add(line, r, r.times(inverse));
                square.add(line, r, r);
            }
            energy.end_row(row);
            square.end_row(row);
        }
        let next = energy.finish();
        let squares = square.finish();
        let largest = squares.as_flattened().iter().copied().fold(0.0, larger);
        panel.history.push(largest.sqrt());
        let turn = ratios::<V, LINES>(&next, &panel.energy);
        panel.energy = next;
        let rows = panel
            .state
            .iter_mut()
            .zip(panel.direction.iter_mut())
            .zip(&*panel.residual);
        for (row, ((x, p_slot), r)) in rows.enumerate() {
            let inverse = V::splat(shifted.inverse_preconditioner(row));
            for line in 0..LINES {
                let p = V::load(&p_slot[line]);
                V::load(&x[line])
                    .plus(step[line].times(p))
                    .store(&mut x[line]);
                let z = V::load(&r[line]).times(inverse);
                z.plus(turn[line].times(p)).store(&mut p_slot[line]);
            }
        }
    }
}

/// `image = A p`; returns `p^T A p` per column.
#[inline(always)]
fn apply<V: Vector, const LINES: usize>(
    shifted: &Shifted<'_>,
    direction: &[Line<LINES>],
    image: &mut [Line<LINES>],
) -> Sums<LINES> {
    let mut curvature = Accumulator::<V, LINES>::new();
    for (row, (slot, p)) in image.iter_mut().zip(direction).enumerate() {
        let near = gather::<V, LINES>(shifted, direction, row);
        let diagonal = V::splat(shifted.diagonal(row));
        for line in 0..LINES {
            let p = V::load(&p[line]);
            let q = diagonal.times(p).minus(near[line]);
            q.store(&mut slot[line]);
            curvature.add(line, p, q);
        }
        curvature.end_row(row);
    }
    curvature.finish()
}

/// `sum_j w_ij x_j`.
#[inline(always)]
fn gather<V: Vector, const LINES: usize>(
    shifted: &Shifted<'_>,
    lines: &[Line<LINES>],
    row: usize,
) -> [V; LINES] {
    let mut sums = [V::splat(0.0); LINES];
    let (columns, weights) = shifted.row(row);
    for (&column, &weight) in columns.iter().zip(weights) {
        let other = &lines[column as usize];
        let weight = V::splat(weight);
        for line in 0..LINES {
            sums[line] = sums[line].plus(weight.times(V::load(&other[line])));
        }
    }
    let factor = V::splat(shifted.weight_factor());
    for sum in &mut sums {
        *sum = sum.times(factor);
    }
    sums
}

/// Column sums of products: float32 within a run of rows, double across runs.
struct Accumulator<V, const LINES: usize> {
    partial: [V; LINES],
    total: Sums<LINES>,
}

impl<V: Vector, const LINES: usize> Accumulator<V, LINES> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            partial: [V::splat(0.0); LINES],
            total: [[0.0; WIDTH]; LINES],
        }
    }

    #[inline(always)]
    fn add(&mut self, line: usize, a: V, b: V) {
        self.partial[line] = self.partial[line].plus(a.times(b));
    }

    #[inline(always)]
    fn end_row(&mut self, row: usize) {
        if row % SUM_ROWS == SUM_ROWS - 1 {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        for (total, partial) in self.total.iter_mut().zip(&mut self.partial) {
            for (total, partial) in total.iter_mut().zip(partial.lanes()) {
                *total += f64::from(partial);
            }
            *partial = V::splat(0.0);
        }
    }

    #[inline(always)]
    fn finish(mut self) -> Sums<LINES> {
        self.flush();
        self.total
    }
}

/// Quotients of sums, column by column.
#[inline(always)]
fn ratios<V: Vector, const LINES: usize>(
    numerators: &Sums<LINES>,
    denominators: &Sums<LINES>,
) -> [V; LINES] {
    let mut quotients = [V::splat(0.0); LINES];
    for line in 0..LINES {
        let mut lanes = [0.0; WIDTH];
        for (lane, slot) in lanes.iter_mut().enumerate() {
            *slot = ratio(numerators[line][lane], denominators[line][lane]);
        }
        quotients[line] = V::load(&lanes);
    }
    quotients
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
pub(crate) fn assemble<const LINES: usize>(
    panels: &[Panel<LINES>],
    input: &Input<'_>,
    inverse_scale: f32,
    exec: Exec<'_>,
) -> Result<Option<Array2<f32>>, SolveError>
where
    Line<LINES>: Pooled,
{
    let columns = input.columns;
    let finite = AtomicBool::new(true);
    let mut flat = vec![0.0_f32; input.rows() * columns];
    exec.pieces(&mut flat, ASSEMBLE_ROWS * columns, |offset, piece| {
        let first = offset / columns;
        let mut largest = [[0.0_f32; WIDTH]; LINES];
        for (row, values) in piece.chunks_exact_mut(columns).enumerate() {
            for (slots, panel) in values.chunks_mut(LINES * WIDTH).zip(panels) {
                let line = panel.state[first + row].as_flattened();
                let largest = largest.as_flattened_mut();
                for ((slot, value), largest) in slots.iter_mut().zip(line).zip(largest) {
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
        if largest
            .as_flattened()
            .iter()
            .any(|value| value.is_infinite())
        {
            finite.store(false, Ordering::Relaxed);
        }
    })?;
    let state = Array2::from_shape_vec((input.rows(), columns), flat)
        .expect("the buffer was sized for this shape");
    Ok(finite.into_inner().then_some(state))
}
