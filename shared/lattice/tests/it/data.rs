//! Matrices to test with, the same in every run.

use ndarray::{Array1, Array2};
use oscillink_lattice::{Lambdas, Params, Plan, Problem, Solution, Unobserved, solve};

/// A small generator (SplitMix64), so that tests do not depend on a crate's stream of numbers.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Roughly normal: twelve uniforms, centred.
    pub(crate) fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.uniform()).sum::<f64>() - 6.0) as f32
    }
}

pub(crate) fn gaussian(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    let mut numbers = Numbers::new(seed);
    Array2::from_shape_fn((rows, columns), |_| numbers.normal())
}

/// Rows around a few centres, so close that float32 can hardly order them.
pub(crate) fn near_ties(rows: usize, columns: usize, spread: f32, seed: u64) -> Array2<f32> {
    let centres = gaussian(3, columns, seed);
    let noise = gaussian(rows, columns, seed + 1);
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        centres[[i % 3, j]] + spread * noise[[i, j]]
    })
}

/// Each row is there `copies` times.
pub(crate) fn duplicated(rows: usize, columns: usize, copies: usize, seed: u64) -> Array2<f32> {
    let distinct = gaussian(rows.div_ceil(copies), columns, seed);
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        distinct[[i % distinct.nrows(), j]]
    })
}

pub(crate) fn query(y: &Array2<f32>) -> Array1<f32> {
    &y.row(0) + &y.row(y.nrows() / 2)
}

pub(crate) fn params(kneighbors: usize) -> Params {
    Params::new(kneighbors, Lambdas::default()).unwrap()
}

/// Solves with a query and no gates or chain.
pub(crate) fn solve_with(y: &Array2<f32>, params: Params, plan: &Plan) -> Solution {
    let psi = query(y);
    let problem = Problem::new(y.view(), Some(psi.view()), None, None, params).unwrap();
    solve(&problem, plan, &Unobserved).unwrap()
}
