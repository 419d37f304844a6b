//! Receipts: the energy removed, who paid for it, and which edges stand out (contract, section 3).

mod energy;
mod null_points;
mod terms;

pub(crate) use energy::Drop;
pub(crate) use null_points::{RowStatistics, cap as cap_null_points, find as find_null_points};
pub(crate) use terms::{EdgeTerms, RowTerms};

use ndarray::Array2;

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
    pub(crate) u: &'a Array2<f32>,
    pub(crate) ustar: &'a Array2<f32>,
}

impl Solved<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.problem.rows()
    }

    pub(crate) fn anchor(&self, row: usize) -> &[f32] {
        let columns = self.problem.columns();
        &self.problem.anchors()[row * columns..(row + 1) * columns]
    }

    pub(crate) fn settled(&self, row: usize) -> &[f32] {
        row_of(self.u, row)
    }

    pub(crate) fn stationary(&self, row: usize) -> &[f32] {
        row_of(self.ustar, row)
    }

    /// `s / d_i`: scales a row and divides it by the root of its degree in one multiplication.
    pub(crate) fn degree_factor(&self, row: usize) -> f32 {
        self.scale.factor / self.graph.sqrt_degrees()[row]
    }
}

fn row_of(matrix: &Array2<f32>, row: usize) -> &[f32] {
    let columns = matrix.ncols();
    let flat = matrix
        .as_slice()
        .expect("states are assembled in standard layout");
    &flat[row * columns..(row + 1) * columns]
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
    rows: &[RowTerms],
    null_cap: Option<usize>,
    exec: Exec<'_>,
) -> Result<Details, SolveError> {
    let found = find_null_points(solved, edges, exec)?;
    let (null_points, summary) = cap_null_points(found, null_cap);
    let per_node = PerNode {
        coh_drop: edges.coherence(solved),
        anchor_pen: rows.iter().map(|row| row.anchor).collect(),
        query_term: rows.iter().map(|row| row.query).collect(),
    };
    Ok(Details {
        per_node,
        null_points,
        summary,
    })
}
