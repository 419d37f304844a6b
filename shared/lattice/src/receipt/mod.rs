//! Receipts: the energy removed, who paid for it, and which edges stand out (contract, section 3).

mod energy;
mod null_points;
mod terms;

pub(crate) use energy::Drop;
pub(crate) use null_points::{RowStatistics, cap as cap_null_points, find as find_null_points};
pub(crate) use terms::EdgeTerms;
use terms::RowTerms;

use crate::error::SolveError;
use crate::exec::Exec;
use crate::graph::{Graph, PathGraph};
use crate::problem::Problem;
use crate::scale::Scale;
use crate::solution::{NullPoint, NullPointsSummary, PerNode};

/// Rows per piece of parallel work.
pub(crate) const PIECE_ROWS: usize = 128;

/// A solved problem, as receipts, bundles and chain receipts see it.
pub(crate) struct Solved<'a> {
    pub(crate) problem: &'a Problem<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) path: Option<&'a PathGraph>,
    pub(crate) gates: &'a [f32],
    pub(crate) scale: Scale,
    /// Settled state, row after row.
    pub(crate) u: &'a [f32],
    /// Stationary state, row after row.
    pub(crate) ustar: &'a [f32],
}

impl Solved<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.problem.rows()
    }

    #[inline(always)]
    pub(crate) fn anchor(&self, row: usize) -> &[f32] {
        self.row_of(self.problem.anchors(), row)
    }

    #[inline(always)]
    pub(crate) fn settled(&self, row: usize) -> &[f32] {
        self.row_of(self.u, row)
    }

    #[inline(always)]
    pub(crate) fn stationary(&self, row: usize) -> &[f32] {
        self.row_of(self.ustar, row)
    }

    #[inline(always)]
    fn row_of<'m>(&self, matrix: &'m [f32], row: usize) -> &'m [f32] {
        let columns = self.problem.columns();
        &matrix[row * columns..(row + 1) * columns]
    }

    /// `s / d_i`: scales a row and divides it by the root of its degree in one multiplication.
    #[inline(always)]
    pub(crate) fn degree_factor(&self, row: usize) -> f32 {
        self.scale.factor / self.graph.sqrt_degrees()[row]
    }
}

/// The full part of a receipt: sums, per-node terms and null points.
pub(crate) struct Details {
    pub(crate) per_node: PerNode,
    pub(crate) null_points: Vec<NullPoint>,
    pub(crate) summary: NullPointsSummary,
}

/// Collects per-node terms and null points.
pub(crate) fn details(
    solved: &Solved<'_>,
    edges: &EdgeTerms,
    coherence: &[f64],
    null_cap: Option<usize>,
    exec: Exec<'_>,
) -> Result<Details, SolveError> {
    let found = find_null_points(solved, edges, exec)?;
    let (null_points, summary) = cap_null_points(found, null_cap);
    let rows = RowTerms::all(solved, exec)?;
    let per_node = PerNode {
        coh_drop: coherence.to_vec(),
        anchor_pen: rows.iter().map(|row| row.anchor).collect(),
        query_term: rows.iter().map(|row| row.query).collect(),
    };
    Ok(Details {
        per_node,
        null_points,
        summary,
    })
}
