//! Distances along edges and per row, computed once and shared by everything that reports them.

use std::ops::Range;

use super::{PIECE_ROWS, Solved, energy};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::graph::Graph;
use crate::kernels;
use crate::simd::{Task, Vector};

/// Squared distances across each stored entry of the graph, in unscaled units.
pub(crate) struct EdgeTerms {
    slots: Vec<EdgeTerm>,
}

/// Squared degree-normalised distances across one edge.
#[derive(Clone, Copy, Default)]
pub(crate) struct EdgeTerm {
    /// `|y_i/d_i - y_j/d_j|^2`.
    pub(crate) anchor: f64,
    /// `|u*_i/d_i - u*_j/d_j|^2`.
    pub(crate) stationary: f64,
    /// `|v_i/d_i - v_j/d_j|^2` of `v = U - U*`, in scaled units.
    pub(crate) left: f64,
}

impl EdgeTerms {
    /// Each edge is measured once, in the row of its lower end, and copied to the other.
    pub(crate) fn new(solved: &Solved<'_>, exec: Exec<'_>) -> Result<Self, SolveError> {
        let graph = solved.graph;
        let mut slots = vec![EdgeTerm::default(); graph.stored()];
        let mut pieces: Vec<(Range<usize>, &mut [EdgeTerm])> = Vec::new();
        let mut rest = slots.as_mut_slice();
        for first in (0..solved.rows()).step_by(PIECE_ROWS) {
            let rows = first..(first + PIECE_ROWS).min(solved.rows());
            let stored = graph.slots(rows.end - 1).end - graph.slots(rows.start).start;
            let (own, others) = rest.split_at_mut(stored);
            pieces.push((rows, own));
            rest = others;
        }
        exec.each(&mut pieces, |_, (rows, slots)| {
            exec.check()?;
            exec.level().run(MeasureEdges {
                solved,
                rows: rows.clone(),
                slots,
            });
            Ok(())
        })?;
        mirror(graph, &mut slots);
        Ok(Self { slots })
    }

    /// Distances across the stored entry at `slot`.
    pub(crate) fn at(&self, slot: usize) -> EdgeTerm {
        self.slots[slot]
    }

    /// `R_ij = lamC a_ij |u*_i/d_i - u*_j/d_j|^2` for the stored entry at `slot`.
    pub(crate) fn residual(&self, solved: &Solved<'_>, slot: usize) -> f64 {
        let lam_c = solved.problem.params().lambdas().c;
        lam_c * f64::from(solved.graph.weights()[slot]) * self.slots[slot].stationary
    }

    /// `1/2 lamC a_ij (|y_i/d_i - y_j/d_j|^2 - |u*_i/d_i - u*_j/d_j|^2)`.
    pub(crate) fn coherence_at(&self, solved: &Solved<'_>, slot: usize) -> f64 {
        let lam_c = solved.problem.params().lambdas().c;
        let term = self.at(slot);
        0.5 * lam_c * f64::from(solved.graph.weights()[slot]) * (term.anchor - term.stationary)
    }

    /// Coherence drop of every row.
    pub(crate) fn coherence(
        &self,
        solved: &Solved<'_>,
        exec: Exec<'_>,
    ) -> Result<Vec<f64>, SolveError> {
        let mut rows = vec![0.0; solved.rows()];
        exec.pieces(&mut rows, PIECE_ROWS, |first, piece| {
            for (index, drop) in piece.iter_mut().enumerate() {
                let slots = solved.graph.slots(first + index);
                *drop = slots.map(|slot| self.coherence_at(solved, slot)).sum();
            }
        })?;
        Ok(rows)
    }
}

/// Measures the edges whose lower ends are `rows`; `slots` are the stored entries of these rows.
struct MeasureEdges<'a> {
    solved: &'a Solved<'a>,
    rows: Range<usize>,
    slots: &'a mut [EdgeTerm],
}

impl Task for MeasureEdges<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self {
            solved,
            rows,
            slots,
        } = self;
        let graph = solved.graph;
        let first = graph.slots(rows.start).start;
        for row in rows {
            let own = graph.slots(row);
            let columns = &graph.columns()[own.clone()];
            let terms = &mut slots[own.start - first..own.end - first];
            for (term, &column) in terms.iter_mut().zip(columns) {
                if column as usize > row {
                    *term = measure::<V>(solved, row, column as usize);
                }
            }
        }
    }
}

/// Copies every measured edge to the row of its upper end. Columns ascend, so the lower ends of a
/// row's edges arrive in the order of its slots.
fn mirror(graph: &Graph, slots: &mut [EdgeTerm]) {
    let mut mirrored: Vec<usize> = (0..graph.rows())
        .map(|row| graph.slots(row).start)
        .collect();
    for row in 0..graph.rows() {
        for slot in graph.slots(row) {
            let column = graph.columns()[slot] as usize;
            if column > row {
                slots[mirrored[column]] = slots[slot];
                mirrored[column] += 1;
            }
        }
    }
}

#[inline(always)]
fn measure<V: Vector>(solved: &Solved<'_>, row: usize, column: usize) -> EdgeTerm {
    let (left, right) = (solved.degree_factor(row), solved.degree_factor(column));
    let scale = solved.scale;
    let [y, other_y] = [solved.anchor(row), solved.anchor(column)];
    let [ustar, other_ustar] = [solved.stationary(row), solved.stationary(column)];
    EdgeTerm {
        anchor: scale.unscale_square(kernels::distance::<V>(y, left, other_y, right)),
        stationary: scale.unscale_square(kernels::distance::<V>(ustar, left, other_ustar, right)),
        left: energy::between::<V>(solved, row, left, Some((column, right))),
    }
}

/// Terms of one row.
#[derive(Clone, Copy, Default)]
pub(super) struct RowTerms {
    /// `lamG |u*_i - y_i|^2`.
    pub(super) anchor: f64,
    /// `lamQ b_i |u*_i - psi|^2`.
    pub(super) query: f64,
}

impl RowTerms {
    /// Terms of every row.
    pub(super) fn all(solved: &Solved<'_>, exec: Exec<'_>) -> Result<Vec<Self>, SolveError> {
        let mut rows = vec![Self::default(); solved.rows()];
        exec.pieces(&mut rows, PIECE_ROWS, |first, rows| {
            exec.level().run(MeasureRows {
                solved,
                first,
                rows,
            });
        })?;
        Ok(rows)
    }
}

/// Measures the rows from `first` on.
struct MeasureRows<'a> {
    solved: &'a Solved<'a>,
    first: usize,
    rows: &'a mut [RowTerms],
}

impl Task for MeasureRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self {
            solved,
            first,
            rows,
        } = self;
        let lambdas = solved.problem.params().lambdas();
        let factor = solved.scale.factor;
        let query = solved.problem.query();
        for (index, terms) in rows.iter_mut().enumerate() {
            let row = first + index;
            let ustar = solved.stationary(row);
            let to_anchor = kernels::distance::<V>(ustar, factor, solved.anchor(row), factor);
            let to_query = kernels::distance::<V>(ustar, factor, query, factor);
            let pull = lambdas.q * f64::from(solved.gates[row]);
            *terms = RowTerms {
                anchor: lambdas.g * solved.scale.unscale_square(to_anchor),
                query: pull * solved.scale.unscale_square(to_query),
            };
        }
    }
}
