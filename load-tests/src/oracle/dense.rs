//! Symmetric positive definite systems, solved directly.

/// The lower factor of a matrix.
pub(super) struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors a matrix given by its entries. It must be positive definite, which the systems of
    /// the method are because of their identity part.
    pub(super) fn of(size: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        let mut lower = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let (row_i, row_j) = (&lower[i * size..][..j], &lower[j * size..][..j]);
                let known: f64 = row_i.iter().zip(row_j).map(|(a, b)| a * b).sum();
                let rest = entry(i, j) - known;
                lower[i * size + j] = if i == j {
                    rest.sqrt()
                } else {
                    rest / lower[j * size + j]
                };
            }
        }
        Self { size, lower }
    }

    /// Solves for `columns` right-hand sides, stored row by row.
    pub(super) fn solve(&self, mut right: Vec<f64>, columns: usize) -> Vec<f64> {
        for i in 0..self.size {
            for j in 0..i {
                let factor = self.lower[i * self.size + j];
                subtract(&mut right, columns, (i, j), factor);
            }
            divide(
                &mut right[i * columns..][..columns],
                self.lower[i * self.size + i],
            );
        }
        for i in (0..self.size).rev() {
            for j in i + 1..self.size {
                let factor = self.lower[j * self.size + i];
                subtract(&mut right, columns, (i, j), factor);
            }
            divide(
                &mut right[i * columns..][..columns],
                self.lower[i * self.size + i],
            );
        }
        right
    }
}

/// Row `to` minus `factor` times row `from`.
fn subtract(rows: &mut [f64], columns: usize, (to, from): (usize, usize), factor: f64) {
    if factor != 0.0 {
        for column in 0..columns {
            rows[to * columns + column] -= factor * rows[from * columns + column];
        }
    }
}

fn divide(row: &mut [f64], by: f64) {
    for value in row {
        *value /= by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_system_is_solved() {
        // [[4, 2], [2, 3]] · [[1, -1], [2, 0]] = [[8, -4], [8, -2]]
        let matrix = [4.0, 2.0, 2.0, 3.0];
        let factor = Cholesky::of(2, |i, j| matrix[i * 2 + j]);
        let solution = factor.solve(vec![8.0, -4.0, 8.0, -2.0], 2);
        for (value, expected) in solution.iter().zip([1.0, -1.0, 2.0, 0.0]) {
            assert!((value - expected).abs() < 1e-12);
        }
    }
}
