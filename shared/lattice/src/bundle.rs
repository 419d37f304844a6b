//! Bundles: relevant rows that differ from each other (contract, section 4).

use crate::error::SolveError;
use crate::exec::Exec;
use crate::kernels;
use crate::receipt::{PIECE_ROWS, Solved};
use crate::simd::{Task, Vector};
use crate::solution::BundleItem;

/// Share of the coherence drop in a score; the rest is alignment with the query.
const COHERENCE_SHARE: f64 = 0.5;

/// Share of the score against similarity to what is already chosen.
const RELEVANCE_SHARE: f64 = 0.5;

/// Picks up to `size` rows greedily by maximal marginal relevance.
pub(crate) fn select(
    solved: &Solved<'_>,
    coherence: &[f64],
    size: usize,
    exec: Exec<'_>,
) -> Result<Vec<BundleItem>, SolveError> {
    let mut rows = rate(solved, coherence, exec)?;
    let mut chosen = Vec::with_capacity(size.min(rows.len()));
    while chosen.len() < size {
        let Some(best) = best(&rows) else { break };
        rows[best].taken = true;
        chosen.push(BundleItem {
            id: best,
            score: rows[best].score,
            align: rows[best].align,
        });
        if chosen.len() < size {
            compare_with(solved, &mut rows, best, exec)?;
        }
    }
    Ok(chosen)
}

#[derive(Clone, Copy, Default)]
struct Rated {
    score: f64,
    align: f64,
    /// Reciprocal of the anchor's norm.
    inverse_norm: f64,
    /// Largest cosine with a chosen row; none before the first choice.
    nearest: Option<f64>,
    taken: bool,
}

fn rate(solved: &Solved<'_>, coherence: &[f64], exec: Exec<'_>) -> Result<Vec<Rated>, SolveError> {
    let count = coherence.len() as f64;
    let mean = coherence.iter().sum::<f64>() / count;
    let variance = coherence
        .iter()
        .map(|c| (c - mean) * (c - mean))
        .sum::<f64>()
        / count;
    let deviation = variance.sqrt() + 1e-12;
    let query_norm = exec.level().run(kernels::Norm(solved.problem.query()));
    let mut rows = vec![Rated::default(); coherence.len()];
    exec.pieces(&mut rows, PIECE_ROWS, |first, rows| {
        exec.level().run(Rate {
            solved,
            coherence: &coherence[first..],
            spread: (mean, deviation),
            query_inverse: inverse(query_norm),
            first,
            rows,
        });
    })?;
    Ok(rows)
}

/// Rates the rows from `first` on.
struct Rate<'a> {
    solved: &'a Solved<'a>,
    /// Coherence drops from the first row on, and mean and deviation of all of them.
    coherence: &'a [f64],
    spread: (f64, f64),
    query_inverse: f64,
    first: usize,
    rows: &'a mut [Rated],
}

impl Task for Rate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { solved, .. } = self;
        let (mean, deviation) = self.spread;
        for (index, (rated, drop)) in self.rows.iter_mut().zip(self.coherence).enumerate() {
            let row = self.first + index;
            let state = solved.stationary(row);
            let product = dot::<V>(solved, state, solved.problem.query());
            rated.align = product * inverse(kernels::norm::<V>(state)) * self.query_inverse;
            let z = (drop - mean) / deviation;
            rated.score = COHERENCE_SHARE * z + (1.0 - COHERENCE_SHARE) * rated.align;
            rated.inverse_norm = inverse(kernels::norm::<V>(solved.anchor(row)));
        }
    }
}

/// First row with the largest marginal relevance.
fn best(rows: &[Rated]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (row, rated) in rows.iter().enumerate().filter(|(_, rated)| !rated.taken) {
        let value =
            RELEVANCE_SHARE * rated.score - (1.0 - RELEVANCE_SHARE) * rated.nearest.unwrap_or(0.0);
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((row, value));
        }
    }
    best.map(|(row, _)| row)
}

/// Raises every row's running maximum by its cosine with the row chosen last.
fn compare_with(
    solved: &Solved<'_>,
    rows: &mut [Rated],
    chosen: usize,
    exec: Exec<'_>,
) -> Result<(), SolveError> {
    let anchor = solved.anchor(chosen);
    let anchor_inverse = rows[chosen].inverse_norm;
    exec.pieces(rows, PIECE_ROWS, |first, rows| {
        exec.level().run(Compare {
            solved,
            anchor,
            anchor_inverse,
            first,
            rows,
        });
    })
}

/// Compares the rows from `first` on with a chosen one.
struct Compare<'a> {
    solved: &'a Solved<'a>,
    anchor: &'a [f32],
    anchor_inverse: f64,
    first: usize,
    rows: &'a mut [Rated],
}

impl Task for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (index, rated) in self.rows.iter_mut().enumerate() {
            let own = self.solved.anchor(self.first + index);
            let product = dot::<V>(self.solved, own, self.anchor);
            let cosine = product * rated.inverse_norm * self.anchor_inverse;
            rated.nearest = Some(match rated.nearest {
                Some(known) if known >= cosine => known,
                _ => cosine,
            });
        }
    }
}

#[inline(always)]
fn dot<V: Vector>(solved: &Solved<'_>, a: &[f32], b: &[f32]) -> f64 {
    solved
        .scale
        .unscale_square(kernels::dot::<V>(a, b, solved.scale.factor))
}

#[inline(always)]
fn inverse(norm: f64) -> f64 {
    1.0 / (norm + 1e-12)
}
