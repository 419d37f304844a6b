//! The graph of mutual nearest neighbours, from all pairs.

/// Edges with their weights, and degrees.
pub(super) struct Graph {
    pub rows: usize,
    /// Capped weights, N×N, zero where there is no edge.
    pub weights: Vec<f64>,
    /// Which pairs are edges: a capped weight could round to zero.
    pub edges: Vec<bool>,
    /// Roots of the degrees.
    pub scale: Vec<f64>,
}

impl Graph {
    pub(super) fn of(y: &[f32], dims: usize, neighbors: usize) -> Self {
        let rows = y.len() / dims;
        let cosines = cosines(y, dims);
        let best: Vec<Vec<usize>> = (0..rows)
            .map(|row| nearest(&cosines[row * rows..][..rows], row, neighbors))
            .collect();
        let mut weights = vec![0.0; rows * rows];
        let mut edges = vec![false; rows * rows];
        for row in 0..rows {
            for &other in &best[row] {
                let cosine = cosines[row * rows + other];
                if cosine > 0.0 && best[other].contains(&row) {
                    weights[row * rows + other] = f64::from(cosine);
                    edges[row * rows + other] = true;
                }
            }
        }
        cap_rows(&mut weights, rows);
        let scale = weights
            .chunks(rows)
            .map(|row| row.iter().sum::<f64>().max(1e-12).sqrt())
            .collect();
        Self {
            rows,
            weights,
            edges,
            scale,
        }
    }

    /// Entry of the normalised Laplacian.
    pub(super) fn laplacian(&self, i: usize, j: usize) -> f64 {
        let tie = self.weights[i * self.rows + j] / (self.scale[i] * self.scale[j]);
        f64::from(u8::from(i == j)) - tie
    }
}

/// Cosines of all pairs, rounded to single precision: that value decides order and weight.
fn cosines(y: &[f32], dims: usize) -> Vec<f32> {
    let units: Vec<f32> = y
        .chunks(dims)
        .flat_map(|row| {
            let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            let length = squares.sqrt() as f32 + 1e-12;
            row.iter().map(move |value| value / length)
        })
        .collect();
    let dot = |a: &[f32], b: &[f32]| -> f32 {
        let pairs = a.iter().zip(b);
        pairs
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>() as f32
    };
    let rows: Vec<&[f32]> = units.chunks(dims).collect();
    rows.iter()
        .flat_map(|a| rows.iter().map(|b| dot(a, b)).collect::<Vec<_>>())
        .collect()
}

/// The `neighbors` most similar others: similarity first, then the smaller index.
fn nearest(cosines: &[f32], row: usize, neighbors: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..cosines.len()).filter(|other| *other != row).collect();
    others.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b)));
    others.truncate(neighbors.clamp(1, (cosines.len() - 1).max(1)));
    others
}

fn cap_rows(weights: &mut [f64], rows: usize) {
    let caps: Vec<f64> = weights
        .chunks(rows)
        .map(|row| (1.0 / (row.iter().sum::<f64>() + 1e-12)).min(1.0))
        .collect();
    for i in 0..rows {
        for j in 0..rows {
            weights[i * rows + j] *= (caps[i] * caps[j]).sqrt();
        }
    }
}
