//! Distances along edges and per row, computed once and shared by everything that reports them.

use super::{PIECE_ROWS, Solved, energy};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::kernels;

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
        let mut blocks: Vec<Vec<EdgeTerm>> = vec![Vec::new(); solved.rows().div_ceil(PIECE_ROWS)];
        exec.each(&mut blocks, |block, terms| {
            exec.check()?;
            let first = block * PIECE_ROWS;
            for row in first..(first + PIECE_ROWS).min(solved.rows()) {
                terms.extend(
                    graph
                        .row(row)
                        .filter(|(column, _)| *column > row)
                        .map(|(column, _)| measure(solved, row, column)),
                );
            }
            Ok(())
        })?;
        let mut measured = blocks.into_iter().flatten();
        let mut slots = vec![EdgeTerm::default(); graph.stored()];
        // Columns ascend, so the lower ends of a row's edges arrive in the order of its slots.
        let mut mirrored: Vec<usize> = (0..graph.rows())
            .map(|row| graph.slots(row).start)
            .collect();
        for row in 0..graph.rows() {
            for slot in graph.slots(row) {
                let column = graph.columns()[slot] as usize;
                if column > row {
                    let term = measured.next().expect("every upper entry was measured");
                    slots[slot] = term;
                    slots[mirrored[column]] = term;
                    mirrored[column] += 1;
                }
            }
        }
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
    pub(crate) fn coherence(&self, solved: &Solved<'_>) -> Vec<f64> {
        (0..solved.rows())
            .map(|row| {
                solved
                    .graph
                    .slots(row)
                    .map(|slot| self.coherence_at(solved, slot))
                    .sum::<f64>()
            })
            .collect()
    }
}

fn measure(solved: &Solved<'_>, row: usize, column: usize) -> EdgeTerm {
    let (left, right) = (solved.degree_factor(row), solved.degree_factor(column));
    let distance = |a: &[f32], b: &[f32]| {
        solved
            .scale
            .unscale_square(kernels::distance(a, left, b, right))
    };
    EdgeTerm {
        anchor: distance(solved.anchor(row), solved.anchor(column)),
        stationary: distance(solved.stationary(row), solved.stationary(column)),
        left: energy::between(solved, row, left, Some((column, right))),
    }
}

/// Terms of one row.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowTerms {
    /// `lamG |u*_i - y_i|^2`.
    pub(crate) anchor: f64,
    /// `lamQ b_i |u*_i - psi|^2`.
    pub(crate) query: f64,
}

impl RowTerms {
    /// Terms of every row.
    pub(crate) fn all(solved: &Solved<'_>, exec: Exec<'_>) -> Result<Vec<Self>, SolveError> {
        let mut rows = vec![Self::default(); solved.rows()];
        exec.pieces(&mut rows, PIECE_ROWS, |first, piece| {
            for (index, terms) in piece.iter_mut().enumerate() {
                *terms = Self::of(solved, first + index);
            }
        })?;
        Ok(rows)
    }

    fn of(solved: &Solved<'_>, row: usize) -> Self {
        let lambdas = solved.problem.params().lambdas();
        let factor = solved.scale.factor;
        let from = |other: &[f32]| {
            let square = kernels::distance(solved.stationary(row), factor, other, factor);
            solved.scale.unscale_square(square)
        };
        Self {
            anchor: lambdas.g * from(solved.anchor(row)),
            query: lambdas.q * f64::from(solved.gates[row]) * from(solved.problem.query()),
        }
    }
}
