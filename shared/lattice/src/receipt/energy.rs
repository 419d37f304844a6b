//! `deltaH = tr((U - U*)^T M (U - U*))`, summed as squares so that it cannot turn negative.

use super::{EdgeTerms, PIECE_ROWS, Solved};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::kernels;
use crate::simd::{Task, Vector};

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
        exec.pieces(&mut rows, PIECE_ROWS, |first, rows| {
            exec.level().run(Energies {
                solved,
                edges,
                first,
                rows,
            });
        })?;
        Ok(solved.scale.unscale_square(rows.iter().sum()))
    }
}

/// Energies of the rows from `first` on.
struct Energies<'a> {
    solved: &'a Solved<'a>,
    edges: Option<&'a EdgeTerms>,
    first: usize,
    rows: &'a mut [f64],
}

impl Task for Energies<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (index, energy) in self.rows.iter_mut().enumerate() {
            *energy = of_row::<V>(self.solved, self.edges, self.first + index);
        }
    }
}

#[inline(always)]
fn of_row<V: Vector>(solved: &Solved<'_>, measured: Option<&EdgeTerms>, row: usize) -> f64 {
    let lambdas = solved.problem.params().lambdas();
    let own = between::<V>(solved, row, solved.scale.factor, None);
    let mut weight = lambdas.g + lambdas.q * f64::from(solved.gates[row]);
    weight += lambdas.c * solved.graph.diagonal_excess(row);
    let mut edges = 0.0;
    for slot in solved.graph.slots(row) {
        let column = solved.graph.columns()[slot] as usize;
        if column > row {
            let left = match measured {
                Some(edges) => edges.at(slot).left,
                None => {
                    let right = solved.degree_factor(column);
                    let left = solved.degree_factor(row);
                    between::<V>(solved, row, left, Some((column, right)))
                }
            };
            edges += f64::from(solved.graph.weights()[slot]) * left;
        }
    }
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
                f64::from(p) * between::<V>(solved, row, factor / root, Some((column, right)))
            })
            .sum();
        energy += lambdas.p * steps;
    }
    energy + weight * own
}

/// `|v_i left - v_j right|^2`, or `|v_i left|^2` without a second row.
#[inline(always)]
pub(super) fn between<V: Vector>(
    solved: &Solved<'_>,
    row: usize,
    left: f32,
    other: Option<(usize, f32)>,
) -> f64 {
    let [u, ustar] = [solved.settled(row), solved.stationary(row)];
    match other {
        None => kernels::distance::<V>(u, left, ustar, left),
        Some((column, right)) => kernels::difference_distance::<V>(
            [u, ustar],
            left,
            [solved.settled(column), solved.stationary(column)],
            right,
        ),
    }
}
