//! Products of one block of rows with another: approximate, or exact where floods of ties ask.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::rows::NormalizedRows;
use super::similarity;

/// A run of consecutive rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Single-pair products one tile may ask for, as a fraction of its size, before all of the tile's
/// pairs are multiplied in double: that costs about as much as this many pairs one by one.
const FLOOD_FRACTION: usize = 16;

/// Buffers of one thread, reused from tile to tile.
#[derive(Default)]
pub(crate) struct Tile {
    approximate: Vec<f32>,
    wide: Vec<f64>,
    wide_left: Vec<f64>,
    wide_right: Vec<f64>,
}

impl Tile {
    /// Float32 products of `left` rows with `right` rows, row-major.
    pub(crate) fn multiply(&mut self, rows: &NormalizedRows, left: Span, right: Span) -> &[f32] {
        self.approximate.resize(left.count * right.count, 0.0);
        general_mat_mul(
            1.0,
            &matrix(rows.rows(left.first, left.count), left.count),
            &matrix(rows.rows(right.first, right.count), right.count).t(),
            0.0,
            &mut matrix_mut(&mut self.approximate, left.count),
        );
        &self.approximate
    }

    /// The products computed last, and a source of exact similarities for the same pair of spans.
    pub(crate) fn split<'t>(
        &'t mut self,
        rows: &'t NormalizedRows,
        left: Span,
        right: Span,
    ) -> (&'t [f32], ExactSource<'t>) {
        let source = ExactSource {
            rows,
            left,
            right,
            asked: 0,
            flooded: false,
            wide: &mut self.wide,
            wide_left: &mut self.wide_left,
            wide_right: &mut self.wide_right,
        };
        (&self.approximate, source)
    }
}

/// Exact similarities of the pairs of a tile.
pub(crate) struct ExactSource<'t> {
    rows: &'t NormalizedRows,
    left: Span,
    right: Span,
    asked: usize,
    flooded: bool,
    wide: &'t mut Vec<f64>,
    wide_left: &'t mut Vec<f64>,
    wide_right: &'t mut Vec<f64>,
}

impl ExactSource<'_> {
    /// Exact similarity of two rows, which may or may not both be in the tile.
    pub(crate) fn similarity(&mut self, a: usize, b: usize) -> f32 {
        let pair = self.place(a, b).or_else(|| self.place(b, a));
        if let Some(place) = pair {
            self.asked += 1;
            if !self.flooded && self.asked > self.left.count * self.right.count / FLOOD_FRACTION {
                self.multiply_wide();
            }
            if self.flooded {
                let certain = similarity::rounded_if_certain(self.wide[place], self.rows.stride());
                if let Some(similarity) = certain {
                    return similarity;
                }
            }
        }
        similarity::exact(self.rows.row(a), self.rows.row(b))
    }

    fn place(&self, left: usize, right: usize) -> Option<usize> {
        let i = left
            .checked_sub(self.left.first)
            .filter(|i| *i < self.left.count)?;
        let j = right
            .checked_sub(self.right.first)
            .filter(|j| *j < self.right.count)?;
        Some(i * self.right.count + j)
    }

    fn multiply_wide(&mut self) {
        widen(
            self.rows.rows(self.left.first, self.left.count),
            self.wide_left,
        );
        widen(
            self.rows.rows(self.right.first, self.right.count),
            self.wide_right,
        );
        self.wide.resize(self.left.count * self.right.count, 0.0);
        general_mat_mul(
            1.0,
            &matrix(self.wide_left, self.left.count),
            &matrix(self.wide_right, self.right.count).t(),
            0.0,
            &mut matrix_mut(self.wide, self.left.count),
        );
        self.flooded = true;
    }
}

fn widen(narrow: &[f32], wide: &mut Vec<f64>) {
    wide.clear();
    wide.extend(narrow.iter().map(|value| f64::from(*value)));
}

fn matrix<T>(values: &[T], rows: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, values.len() / rows), values).expect("a span holds whole rows")
}

fn matrix_mut<T>(values: &mut [T], rows: usize) -> ArrayViewMut2<'_, T> {
    let columns = values.len() / rows;
    ArrayViewMut2::from_shape((rows, columns), values).expect("a tile is a full rectangle")
}
