//! The product of the anchors with their transpose by the `gemm` crate, never held whole.

use std::time::Instant;

use gemm::{Parallelism, gemm};
use ndarray::ArrayView2;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Rows and columns of a tile: large enough for the crate's full speed.
const TILE: usize = 2048;

/// The operands, and one tile per thread that stays warm.
pub(super) struct Product<'a> {
    y: ArrayView2<'a, f32>,
    tiles: Vec<Vec<f32>>,
}

impl<'a> Product<'a> {
    pub(super) fn new(y: ArrayView2<'a, f32>, threads: usize) -> Self {
        Self {
            y,
            tiles: vec![vec![0.0; TILE * TILE]; threads],
        }
    }

    /// Milliseconds of one full product: each thread takes an equal run of rows.
    pub(super) fn multiply(&mut self, pool: &ThreadPool) -> f64 {
        let n = self.y.nrows();
        let share = n.div_ceil(self.tiles.len());
        let y = self.y;
        let started = Instant::now();
        pool.install(|| {
            self.tiles
                .par_iter_mut()
                .enumerate()
                .for_each(|(thread, tile)| {
                    let end = ((thread + 1) * share).min(n);
                    for row in (thread * share..end).step_by(TILE) {
                        for column in (0..n).step_by(TILE) {
                            let (rows, columns) = (TILE.min(end - row), TILE.min(n - column));
                            one(y, (row, rows), (column, columns), tile);
                        }
                    }
                });
        });
        started.elapsed().as_secs_f64() * 1e3
    }
}

fn one(y: ArrayView2<'_, f32>, left: (usize, usize), right: (usize, usize), tile: &mut [f32]) {
    let d = y.ncols();
    let values = y.to_slice().expect("the anchors are in standard layout");
    let a = &values[left.0 * d..(left.0 + left.1) * d];
    let b = &values[right.0 * d..(right.0 + right.1) * d];
    let tile = &mut tile[..left.1 * right.1];
    // SAFETY: `a` holds `left.1` rows of `d` values, `b` holds `right.1` of them and `tile` has room
    // for `left.1 * right.1`; the strides below walk exactly those.
    #[allow(unsafe_code, reason = "the crate takes pointers")]
    unsafe {
        gemm(
            left.1,
            right.1,
            d,
            tile.as_mut_ptr(),
            1,
            right.1 as isize,
            false,
            a.as_ptr(),
            1,
            d as isize,
            b.as_ptr(),
            d as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    std::hint::black_box(tile);
}
