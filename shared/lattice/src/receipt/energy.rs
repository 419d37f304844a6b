//! `deltaH = tr((U - U*)^T M (U - U*))`, summed as squares so that it cannot turn negative.

use super::{EdgeTerms, PIECE_ROWS, Solved};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::kernels;

/// The energy between the settled and the stationary state.
///
/// With `v = U - U*`, `v^T L v` is half the sum over stored entries of
/// `a_ij |v_i/d_i - v_j/d_j|^2`, plus `|v_i|^2` for rows whose diagonal the edges do not account
/// for; the path term likewise.
pub(crate) struct Drop;

impl Drop {
    /// `deltaH_total`; `edges`, when measured already, spares a second pass over them.
    pub(crate) fn total(
        solved: &Solved<'_>,
        edges: Option<&EdgeTerms>,
        exec: Exec<'_>,
    ) -> Result<f64, SolveError> {
        let mut rows = vec![0.0_f64; solved.rows()];
        exec.pieces(&mut rows, PIECE_ROWS, |first, piece| {
            for (index, energy) in piece.iter_mut().enumerate() {
                *energy = of_row(solved, edges, first + index);
            }
        })?;
        Ok(solved.scale.unscale_square(rows.iter().sum()))
    }
}

fn of_row(solved: &Solved<'_>, measured: Option<&EdgeTerms>, row: usize) -> f64 {
    let lambdas = solved.problem.params().lambdas();
    let own = between(solved, row, solved.scale.factor, None);
    let mut weight = lambdas.g + lambdas.q * f64::from(solved.gates[row]);
    weight += lambdas.c * solved.graph.diagonal_excess(row);
    let edges: f64 = solved
        .graph
        .slots(row)
        .map(|slot| (slot, solved.graph.columns()[slot] as usize))
        .filter(|(_, column)| *column > row)
        .map(|(slot, column)| {
            let left = match measured {
                Some(edges) => edges.at(slot).left,
                None => {
                    let right = solved.degree_factor(column);
                    between(
                        solved,
                        row,
                        solved.degree_factor(row),
                        Some((column, right)),
                    )
                }
            };
            f64::from(solved.graph.weights()[slot]) * left
        })
        .sum();
    let mut energy = lambdas.c * edges;
    if let Some(path) = solved.path {
        let root = path.sqrt_degree(row);
        let factor = solved.scale.factor;
        let degree: f64 = path.row(row).iter().map(|(_, p)| f64::from(*p)).sum();
        weight += lambdas.p * (1.0 - degree / f64::from(root).powi(2)).max(0.0);
        let steps: f64 = path
            .row(row)
            .iter()
            .filter(|(column, _)| *column > row)
            .map(|&(column, p)| {
                let right = factor / path.sqrt_degree(column);
                f64::from(p) * between(solved, row, factor / root, Some((column, right)))
            })
            .sum();
        energy += lambdas.p * steps;
    }
    energy + weight * own
}

/// `|v_i left - v_j right|^2`, or `|v_i left|^2` without a second row.
pub(super) fn between(
    solved: &Solved<'_>,
    row: usize,
    left: f32,
    other: Option<(usize, f32)>,
) -> f64 {
    let [u, ustar] = [solved.settled(row), solved.stationary(row)];
    match other {
        None => kernels::distance(u, left, ustar, left),
        Some((column, right)) => kernels::difference_distance(
            [u, ustar],
            left,
            [solved.settled(column), solved.stationary(column)],
            right,
        ),
    }
}
