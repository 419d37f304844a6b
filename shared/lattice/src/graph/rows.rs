//! Rows normalised in float32, without the ones that cannot have edges.

use super::similarity::LANES;
use crate::error::SolveError;
use crate::exec::Exec;
use crate::problem::Problem;

const PIECE_ROWS: usize = 256;

/// Normalised rows, each padded with zeros to `stride` values.
pub(crate) struct NormalizedRows {
    data: Vec<f32>,
    stride: usize,
    /// Original index of each row, ascending.
    original: Vec<u32>,
}

impl NormalizedRows {
    /// Normalises every row of `problem` and leaves out the all-zero ones.
    pub(crate) fn new(problem: &Problem<'_>, exec: Exec<'_>) -> Result<Self, SolveError> {
        let columns = problem.columns();
        let anchors = problem.anchors();
        let original: Vec<u32> = anchors
            .chunks_exact(columns)
            .zip(0_u32..)
            .filter(|(row, _)| row.iter().any(|value| *value != 0.0))
            .map(|(_, index)| index)
            .collect();
        let stride = columns.next_multiple_of(LANES);
        let mut data = vec![0.0_f32; original.len() * stride];
        exec.pieces(&mut data, PIECE_ROWS * stride, |offset, piece| {
            let first = offset / stride;
            for (target, &index) in piece.chunks_exact_mut(stride).zip(&original[first..]) {
                let start = index as usize * columns;
                normalize(&anchors[start..start + columns], target);
            }
        })?;
        Ok(Self {
            data,
            stride,
            original,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.original.len()
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.stride..(index + 1) * self.stride]
    }

    /// Rows `first..first + count`, one after the other.
    pub(crate) fn rows(&self, first: usize, count: usize) -> &[f32] {
        &self.data[first * self.stride..(first + count) * self.stride]
    }

    pub(crate) fn original(&self) -> &[u32] {
        &self.original
    }
}

/// `y / (|y| + 1e-12)`, the norm accumulated in double and everything else in float32.
fn normalize(row: &[f32], target: &mut [f32]) {
    let norm = norm(row) as f32 + 1e-12;
    for (slot, value) in target.iter_mut().zip(row) {
        *slot = value / norm;
    }
}

/// 2-norm of a row, in double.
pub(crate) fn norm(row: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] += f64::from(block[lane]) * f64::from(block[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(*value) * f64::from(*value);
    }
    lanes.iter().sum::<f64>().sqrt()
}
