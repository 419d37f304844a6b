//! A problem's answer, by the definitions.

use super::dense::Cholesky;
use super::graph::Graph;
use super::signature::state_signature;
use crate::problem::Problem;

const LAM_G: f64 = 1.0;
const LAM_C: f64 = 0.5;
const LAM_Q: f64 = 4.0;
const STEP: f64 = 1.0;
const BETA: f64 = 1.0;
const GAMMA: f64 = 0.15;

/// What an answer must say.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The signature; none with diffusion, whose gates are rounded results of a solver.
    pub state_sig: Option<String>,
    /// ΔH.
    pub delta_h: f64,
    /// How far ΔH may be off.
    pub delta_h_tolerance: f64,
    /// Rows of the bundle in order.
    pub bundle: Vec<usize>,
}

/// Solves a problem of at most [`super::MAX_ROWS`] rows with the service's default parameters.
#[must_use]
pub fn expect(problem: &Problem) -> Expected {
    let graph = Graph::of(&problem.y, problem.dims, problem.neighbors);
    let y: Vec<f64> = problem.y.iter().map(|value| f64::from(*value)).collect();
    let psi: Vec<f64> = problem.psi.iter().map(|value| f64::from(*value)).collect();
    let gates = if problem.diffusion {
        diffusion_gates(&graph, &y, &psi)
    } else {
        vec![1.0; graph.rows]
    };
    let system = System {
        graph: &graph,
        gates,
        y: &y,
        psi: &psi,
    };
    let settled = system.settled();
    let stationary = system.stationary();
    let delta_h = system.energy_between(&settled, &stationary);
    let squares: f64 = y.iter().map(|value| value * value).sum();
    Expected {
        state_sig: (!problem.diffusion).then(|| state_signature(problem, &graph)),
        delta_h,
        // 1e-3 relative, with a floor of 1e-6 of the squared norm of Y.
        delta_h_tolerance: 1e-3 * delta_h.abs() + 1e-6 * squares,
        bundle: system.bundle(&stationary, problem.bundle),
    }
}

struct System<'a> {
    graph: &'a Graph,
    gates: Vec<f64>,
    y: &'a [f64],
    psi: &'a [f64],
}

impl System<'_> {
    fn entry(&self, i: usize, j: usize) -> f64 {
        let own = if i == j {
            LAM_G + LAM_Q * self.gates[i]
        } else {
            0.0
        };
        own + LAM_C * self.graph.laplacian(i, j)
    }

    fn force(&self) -> Vec<f64> {
        let dims = self.psi.len();
        let at = |place: usize| {
            LAM_G * self.y[place] + LAM_Q * self.gates[place / dims] * self.psi[place % dims]
        };
        (0..self.y.len()).map(at).collect()
    }

    /// One implicit step from Y.
    fn settled(&self) -> Vec<f64> {
        let matrix = |i, j| f64::from(u8::from(i == j)) + STEP * self.entry(i, j);
        let right = self.y.iter().zip(self.force()).map(|(y, f)| y + STEP * f);
        Cholesky::of(self.graph.rows, matrix).solve(right.collect(), self.psi.len())
    }

    /// Where the energy is least.
    fn stationary(&self) -> Vec<f64> {
        let factor = Cholesky::of(self.graph.rows, |i, j| self.entry(i, j));
        factor.solve(self.force(), self.psi.len())
    }

    fn energy_between(&self, a: &[f64], b: &[f64]) -> f64 {
        let dims = self.psi.len();
        let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let rows: Vec<&[f64]> = apart.chunks(dims).collect();
        let mut energy = 0.0;
        for (i, row) in rows.iter().enumerate() {
            for (j, other) in rows.iter().enumerate() {
                let weight = self.entry(i, j);
                if weight != 0.0 {
                    energy += weight * dot(row, other);
                }
            }
        }
        energy
    }

    /// Drop of incoherence of each row, from Y to the stationary state.
    fn coherence(&self, stationary: &[f64]) -> Vec<f64> {
        let dims = self.psi.len();
        let distance = |x: &[f64], i: usize, j: usize| -> f64 {
            let (di, dj) = (self.graph.scale[i], self.graph.scale[j]);
            let pairs = x[i * dims..][..dims].iter().zip(&x[j * dims..][..dims]);
            pairs.map(|(a, b)| (a / di - b / dj).powi(2)).sum()
        };
        let rows = self.graph.rows;
        let mut drops = vec![0.0; rows];
        for (place, weight) in self.graph.weights.iter().enumerate() {
            if self.graph.edges[place] {
                let (i, j) = (place / rows, place % rows);
                let change = distance(self.y, i, j) - distance(stationary, i, j);
                drops[i] += 0.5 * LAM_C * weight * change;
            }
        }
        drops
    }

    /// Greedy choice of rows that fit the query and are unlike those chosen before.
    fn bundle(&self, stationary: &[f64], count: usize) -> Vec<usize> {
        let dims = self.psi.len();
        let z = standardised(&self.coherence(stationary));
        let scores: Vec<f64> = stationary
            .chunks(dims)
            .zip(z)
            .map(|(row, z)| 0.5 * z + 0.5 * cosine(row, self.psi))
            .collect();
        let rows: Vec<&[f64]> = self.y.chunks(dims).collect();
        let mut likeness: Vec<Option<f64>> = vec![None; rows.len()];
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < count.min(rows.len()) {
            let value = |row: usize| 0.5 * scores[row] - 0.5 * likeness[row].unwrap_or(0.0);
            let left = (0..rows.len()).filter(|row| !chosen.contains(row));
            let best = left.reduce(|best, row| if value(row) > value(best) { row } else { best });
            let Some(best) = best else { break };
            chosen.push(best);
            for (row, likeness) in rows.iter().zip(&mut likeness) {
                let new = cosine(row, rows[best]);
                *likeness = Some(likeness.map_or(new, |old| old.max(new)));
            }
        }
        chosen
    }
}

fn diffusion_gates(graph: &Graph, y: &[f64], psi: &[f64]) -> Vec<f64> {
    let sources = y
        .chunks(psi.len())
        .map(|row| BETA * cosine(row, psi).max(0.0))
        .collect();
    let shift = |i, j| if i == j { GAMMA } else { 0.0 };
    let factor = Cholesky::of(graph.rows, |i, j| graph.laplacian(i, j) + shift(i, j));
    let heat = factor.solve(sources, 1);
    let least = heat.iter().copied().fold(f64::INFINITY, f64::min);
    let most = heat.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most - least < 1e-12 {
        return vec![1.0; heat.len()];
    }
    let scaled = |value: f64| ((value - least) / (most - least)).clamp(0.0, 1.0);
    heat.into_iter().map(scaled).collect()
}

fn standardised(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt() + 1e-12;
    values
        .iter()
        .map(|value| (value - mean) / deviation)
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt() + 1e-12)
}
