//! Exact cosine similarity.
//!
//! A pair's similarity is the dot product of its float32-normalised rows, accumulated in double
//! and rounded once (contract, 1.1). Products of float32 values are exact in double, so sixteen
//! running sums and one fixed tree give the same bits on every machine, with or without fused
//! multiply-add.

use super::rows::NormalizedRows;
use crate::simd::{Level, Task, Vector, halved};

/// Running sums of the exact dot product; rows are padded to a multiple of it.
pub(crate) const LANES: usize = 16;

/// Exact similarities of the rows of a matrix.
pub(crate) struct Exact<'a> {
    rows: &'a NormalizedRows,
    level: Level,
}

impl<'a> Exact<'a> {
    pub(crate) fn new(rows: &'a NormalizedRows, level: Level) -> Self {
        Self { rows, level }
    }

    /// Rows of the matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The matrix.
    pub(crate) fn matrix(&self) -> &'a NormalizedRows {
        self.rows
    }

    /// Terms of a dot product.
    pub(crate) fn terms(&self) -> usize {
        self.rows.stride()
    }

    /// The similarity that decides order and weight.
    pub(crate) fn similarity(&self, row: usize, other: u32) -> f32 {
        self.level
            .run(DotWide(self.rows.row(row), self.rows.row(other as usize))) as f32
    }
}

/// Dot product of two padded rows in double, in the one order that defines it.
struct DotWide<'a>(&'a [f32], &'a [f32]);

impl Task for DotWide<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let Self(a, b) = self;
        debug_assert_eq!(a.len() % LANES, 0);
        let mut lanes = [0.0_f64; LANES];
        for (x, y) in a
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(b.as_chunks::<LANES>().0)
        {
            for lane in 0..LANES {
                lanes[lane] += f64::from(x[lane]) * f64::from(y[lane]);
            }
        }
        halved(lanes)
    }
}
