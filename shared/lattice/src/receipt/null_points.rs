//! Edges whose residual stands out among their row's N entries.

use super::{EdgeTerms, PIECE_ROWS, Solved};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::solution::{NullPoint, NullPointsSummary};

/// z-score above which an edge is a null point.
const Z_THRESHOLD: f64 = 3.0;

/// Mean and standard deviation of a row with a few non-zeros among many zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowStatistics {
    mean: f64,
    deviation: f64,
}

impl RowStatistics {
    /// Statistics of `length` entries of which only `values` are not zero.
    pub(crate) fn new(values: impl Iterator<Item = f64> + Clone, length: usize) -> Self {
        let entries = length as f64;
        let mean = values.clone().sum::<f64>() / entries;
        let mut stored = 0;
        let mut squares = 0.0;
        for value in values {
            stored += 1;
            squares += (value - mean) * (value - mean);
        }
        squares += (length - stored) as f64 * mean * mean;
        Self {
            mean,
            deviation: (squares / entries).sqrt() + 1e-12,
        }
    }

    pub(crate) fn z(&self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }
}

/// The null points of all rows, by ascending row.
pub(crate) fn find(
    solved: &Solved<'_>,
    edges: &EdgeTerms,
    exec: Exec<'_>,
) -> Result<Vec<NullPoint>, SolveError> {
    let mut rows: Vec<Option<NullPoint>> = vec![None; solved.rows()];
    exec.pieces(&mut rows, PIECE_ROWS, |first, piece| {
        for (index, point) in piece.iter_mut().enumerate() {
            *point = of_row(solved, edges, first + index);
        }
    })?;
    Ok(rows.into_iter().flatten().collect())
}

fn of_row(solved: &Solved<'_>, edges: &EdgeTerms, row: usize) -> Option<NullPoint> {
    let slots = solved.graph.slots(row);
    let residuals = slots.clone().map(|slot| edges.residual(solved, slot));
    let statistics = RowStatistics::new(residuals, solved.rows());
    let mut worst: Option<(usize, f64)> = None;
    for slot in slots {
        let residual = edges.residual(solved, slot);
        if worst.is_none_or(|(_, most)| residual > most) {
            worst = Some((solved.graph.columns()[slot] as usize, residual));
        }
    }
    let (column, residual) = worst?;
    let z = statistics.z(residual);
    (residual > 0.0 && z > Z_THRESHOLD).then_some(NullPoint {
        edge: [row, column],
        z,
        residual,
    })
}

/// Applies a cap: the highest z first, rows with equal z in ascending order.
pub(crate) fn cap(
    mut points: Vec<NullPoint>,
    null_cap: Option<usize>,
) -> (Vec<NullPoint>, NullPointsSummary) {
    let total = points.len();
    let cap = null_cap.filter(|cap| *cap > 0 && *cap < total);
    if let Some(cap) = cap {
        points.sort_by(|a, b| b.z.total_cmp(&a.z));
        points.truncate(cap);
    }
    let summary = NullPointsSummary {
        total_null_points: total,
        returned_null_points: points.len(),
        null_cap_applied: cap.is_some(),
    };
    (points, summary)
}
