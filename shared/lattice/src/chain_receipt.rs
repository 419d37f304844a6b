//! Chain receipts: does a chain hold together under the graph and under its path prior (contract,
//! section 5).

use std::collections::BTreeMap;

use crate::chain::Chain;
use crate::graph::PathGraph;
use crate::kernels;
use crate::receipt::{EdgeTerms, RowStatistics, Solved};
use crate::simd::Level;
use crate::solution::{ChainEdge, ChainReceipt, WeakestLink};

/// Smallest weight of path residuals, so that they show even without coherence.
const MIN_PATH_WEIGHT: f64 = 1e-6;

/// Relative difference below which two z-scores are the same to float32 arithmetic.
const Z_RESOLUTION: f64 = 1e-6;

/// Examines every step of `chain`.
pub(crate) fn examine(
    solved: &Solved<'_>,
    edges: &EdgeTerms,
    chain: &Chain,
    z_threshold: f64,
) -> ChainReceipt {
    let unweighted;
    let path = match solved.path {
        Some(path) => path,
        None => {
            unweighted = PathGraph::new(&chain.without_weights());
            &unweighted
        }
    };
    let examiner = Examiner {
        solved,
        edges,
        path,
    };
    let mut statistics: BTreeMap<usize, (RowStatistics, RowStatistics)> = BTreeMap::new();
    let mut coherence_gain = 0.0;
    let steps: Vec<ChainEdge> = chain
        .steps()
        .enumerate()
        .map(|(k, (i, j, _))| {
            let (structural, along_path) = *statistics
                .entry(i)
                .or_insert_with(|| examiner.statistics(i));
            let slot = solved.graph.slot(i, j);
            coherence_gain += slot.map_or(0.0, |slot| edges.coherence_at(solved, slot));
            let r_struct = slot.map_or(0.0, |slot| edges.residual(solved, slot));
            let r_path = examiner.path_residual(i, j);
            ChainEdge {
                k,
                edge: [i, j],
                z_struct: structural.z(r_struct),
                z_path: along_path.z(r_path),
                r_struct,
                r_path,
            }
        })
        .collect();
    let weakest_link = weakest(&steps);
    ChainReceipt {
        verdict: steps
            .iter()
            .all(|step| step.z_struct.max(step.z_path) <= z_threshold),
        weakest_link,
        coherence_gain,
        edges: steps,
    }
}

struct Examiner<'a> {
    solved: &'a Solved<'a>,
    edges: &'a EdgeTerms,
    path: &'a PathGraph,
}

impl Examiner<'_> {
    /// Row statistics of the graph residuals and of the path residuals.
    fn statistics(&self, row: usize) -> (RowStatistics, RowStatistics) {
        let length = self.solved.rows();
        let structural = self
            .solved
            .graph
            .slots(row)
            .map(|slot| self.edges.residual(self.solved, slot));
        let along_path = self
            .path
            .row(row)
            .iter()
            .map(|&(column, weight)| self.weighted(row, column, weight));
        (
            RowStatistics::new(structural, length),
            RowStatistics::new(along_path, length),
        )
    }

    fn path_residual(&self, row: usize, column: usize) -> f64 {
        self.weighted(row, column, self.path.weight(row, column))
    }

    /// `max(lamC, 1e-6) p_ij |u*_i/d_i - u*_j/d_j|^2` for a path weight `p_ij`.
    fn weighted(&self, row: usize, column: usize, weight: f32) -> f64 {
        if weight == 0.0 {
            return 0.0;
        }
        let lam_c = self.solved.problem.params().lambdas().c;
        let ends = [row, column];
        let square = Level::get().run(kernels::Distance {
            rows: ends.map(|end| self.solved.stationary(end)),
            factors: ends.map(|end| self.solved.degree_factor(end)),
        });
        let distance = self.solved.scale.unscale_square(square);
        lam_c.max(MIN_PATH_WEIGHT) * f64::from(weight) * distance
    }
}

/// First step whose z is the largest. Steps of unlike chains often tie in exact arithmetic (the
/// only path edge of a row always has `z = sqrt(N-1)`), so values that float32 could not tell apart
/// count as equal.
fn weakest(steps: &[ChainEdge]) -> WeakestLink {
    let zscore = |step: &ChainEdge| step.z_struct.max(step.z_path);
    let largest = steps.iter().map(zscore).fold(f64::NEG_INFINITY, f64::max);
    let nearly = largest - largest.abs() * Z_RESOLUTION;
    let first = steps
        .iter()
        .find(|step| zscore(step) >= nearly)
        .unwrap_or(&steps[0]);
    WeakestLink {
        k: first.k,
        edge: first.edge,
        zscore: zscore(first),
    }
}
