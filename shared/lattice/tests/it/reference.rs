//! The contract written down plainly, with dense matrices in double: what the fast path must match.

use ndarray::{Array1, Array2};
use oscillink_lattice::{Chain, Lambdas};

/// Dense graph.
pub(crate) struct DenseGraph {
    pub(crate) adjacency: Array2<f64>,
    pub(crate) sqrt_degrees: Array1<f64>,
}

/// Section 1, steps 1 to 5.
pub(crate) fn graph(y: &Array2<f32>, kneighbors: usize) -> DenseGraph {
    let n = y.nrows();
    let k = kneighbors.clamp(1, n.saturating_sub(1).max(1));
    let similarity = similarities(y);
    let mut best = vec![Vec::new(); n];
    for (i, best) in best.iter_mut().enumerate() {
        let mut others: Vec<usize> = (0..n).filter(|j| *j != i).collect();
        others.sort_by(|&a, &b| {
            similarity[[i, b]]
                .total_cmp(&similarity[[i, a]])
                .then(a.cmp(&b))
        });
        others.truncate(k);
        *best = others;
    }
    let mut adjacency = Array2::zeros((n, n));
    for i in 0..n {
        for &j in &best[i] {
            if best[j].contains(&i) && similarity[[i, j]] > 0.0 {
                adjacency[[i, j]] = f64::from(similarity[[i, j]].max(similarity[[j, i]]));
            }
        }
    }
    let caps: Vec<f64> = adjacency
        .outer_iter()
        .map(|row| (1.0 / (row.sum() + 1e-12)).min(1.0))
        .collect();
    let adjacency = Array2::from_shape_fn((n, n), |(i, j)| {
        adjacency[[i, j]] * (caps[i] * caps[j]).sqrt()
    });
    let sqrt_degrees = sqrt_degrees(&adjacency);
    DenseGraph {
        adjacency,
        sqrt_degrees,
    }
}

fn sqrt_degrees(adjacency: &Array2<f64>) -> Array1<f64> {
    adjacency
        .outer_iter()
        .map(|row| row.sum().max(1e-12).sqrt())
        .collect()
}

/// Dot products of float32-normalised rows in double, in sixteen running sums joined by halving,
/// rounded once.
fn similarities(y: &Array2<f32>) -> Array2<f32> {
    let normalized: Vec<Vec<f32>> = y
        .outer_iter()
        .map(|row| {
            let square = halving_sum(row.iter().map(|v| f64::from(*v) * f64::from(*v)));
            let norm = square.sqrt() as f32 + 1e-12;
            row.iter().map(|v| v / norm).collect()
        })
        .collect();
    Array2::from_shape_fn((y.nrows(), y.nrows()), |(i, j)| {
        let products = normalized[i].iter().zip(&normalized[j]);
        halving_sum(products.map(|(a, b)| f64::from(*a) * f64::from(*b))) as f32
    })
}

fn halving_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sums = vec![0.0; 16];
    for (index, term) in terms.enumerate() {
        sums[index % 16] += term;
    }
    while sums.len() > 1 {
        let upper = sums.split_off(sums.len() / 2);
        for (sum, other) in sums.iter_mut().zip(upper) {
            *sum += other;
        }
    }
    sums[0]
}

/// `I - D^-1 A D^-1`.
pub(crate) fn laplacian(graph: &DenseGraph) -> Array2<f64> {
    let roots = &graph.sqrt_degrees;
    Array2::from_shape_fn(graph.adjacency.dim(), |(i, j)| {
        let identity = if i == j { 1.0 } else { 0.0 };
        identity - graph.adjacency[[i, j]] / (roots[i] * roots[j])
    })
}

/// Section 1, step 6.
pub(crate) fn path(n: usize, chain: &Chain) -> DenseGraph {
    let mut adjacency = Array2::<f64>::zeros((n, n));
    for (k, step) in chain.nodes().windows(2).enumerate() {
        let weight = f64::from(chain.weights().map_or(1.0, |weights| weights[k]));
        for (i, j) in [(step[0], step[1]), (step[1], step[0])] {
            adjacency[[i, j]] = adjacency[[i, j]].max(weight);
        }
    }
    let sqrt_degrees = sqrt_degrees(&adjacency);
    DenseGraph {
        adjacency,
        sqrt_degrees,
    }
}

/// `M` of section 2.
pub(crate) fn system(
    graph: &DenseGraph,
    path: Option<&DenseGraph>,
    gates: &[f32],
    lambdas: Lambdas,
) -> Array2<f64> {
    let mut m = laplacian(graph) * lambdas.c;
    for (i, gate) in gates.iter().enumerate() {
        m[[i, i]] += lambdas.g + lambdas.q * f64::from(*gate);
    }
    if let Some(path) = path {
        m = m + laplacian(path) * lambdas.p;
    }
    m
}

/// `F = lamG Y + lamQ b psi^T`.
pub(crate) fn force(
    y: &Array2<f32>,
    psi: &Array1<f32>,
    gates: &[f32],
    lambdas: Lambdas,
) -> Array2<f64> {
    Array2::from_shape_fn(y.dim(), |(i, j)| {
        lambdas.g * f64::from(y[[i, j]]) + lambdas.q * f64::from(gates[i]) * f64::from(psi[j])
    })
}

/// Gaussian elimination with partial pivoting.
pub(crate) fn eliminate(matrix: &Array2<f64>, right: &Array2<f64>) -> Array2<f64> {
    let (mut m, mut x) = (matrix.clone(), right.clone());
    let n = m.nrows();
    for pivot in 0..n {
        let best = (pivot..n)
            .max_by(|&a, &b| m[[a, pivot]].abs().total_cmp(&m[[b, pivot]].abs()))
            .unwrap();
        for j in 0..n {
            m.swap([pivot, j], [best, j]);
        }
        for j in 0..x.ncols() {
            x.swap([pivot, j], [best, j]);
        }
        for i in pivot + 1..n {
            let factor = m[[i, pivot]] / m[[pivot, pivot]];
            if factor == 0.0 {
                continue;
            }
            for j in pivot..n {
                m[[i, j]] -= factor * m[[pivot, j]];
            }
            for j in 0..x.ncols() {
                x[[i, j]] -= factor * x[[pivot, j]];
            }
        }
    }
    for i in (0..n).rev() {
        for j in 0..x.ncols() {
            let known: f64 = (i + 1..n).map(|l| m[[i, l]] * x[[l, j]]).sum();
            x[[i, j]] = (x[[i, j]] - known) / m[[i, i]];
        }
    }
    x
}

/// `tr((U - U*)^T M (U - U*))`.
pub(crate) fn delta_h(m: &Array2<f64>, u: &Array2<f64>, ustar: &Array2<f64>) -> f64 {
    let difference = u - ustar;
    (&difference * &m.dot(&difference)).sum()
}

/// `R` and its row z-scores, section 3.
pub(crate) fn residuals(
    weights: &Array2<f64>,
    roots: &Array1<f64>,
    ustar: &Array2<f64>,
    lam_c: f64,
) -> (Array2<f64>, Array2<f64>) {
    let n = weights.nrows();
    let r = Array2::from_shape_fn((n, n), |(i, j)| {
        lam_c * weights[[i, j]] * distance(ustar, roots, i, j)
    });
    let mut z = r.clone();
    for mut row in z.outer_iter_mut() {
        let mean = row.sum() / n as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        row.mapv_inplace(|v| (v - mean) / (variance.sqrt() + 1e-12));
    }
    (r, z)
}

/// `|x_i/d_i - x_j/d_j|^2`.
pub(crate) fn distance(x: &Array2<f64>, roots: &Array1<f64>, i: usize, j: usize) -> f64 {
    x.row(i)
        .iter()
        .zip(x.row(j))
        .map(|(a, b)| (a / roots[i] - b / roots[j]).powi(2))
        .sum()
}
