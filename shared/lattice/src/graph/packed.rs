//! Rows as 16-bit fixed point, packed for the strip kernels, and how far their products may stray.
//!
//! # The bound
//! A normalised row `x` is stored as the integers `q = round(S x)` with `S = 32767`; `e = S x - q`
//! is what rounding lost. `|x| <= 1 + 4u` with `u = 2^-24` (a rounded norm, a rounded increment, a
//! rounded division), so every entry fits 16 bits and, by Cauchy and Schwarz, no dot product of two
//! packed rows, nor any part of one, exceeds `(S |x| + |e|)^2 < 2^31`: kernels compute
//! `P = q_i . q_j` exactly, on every machine, whatever the order.
//!
//! `S^2 x_i . x_j - P = (S x_i) . e_j + e_i . q_j`, hence, with `n = |x|` and `d = |e|`,
//!
//! `|S^2 x_i . x_j - P| <= S n_i d_j + d_i (S n_j + d_j)`.
//!
//! `n` and `d` are measured per row in double when the row is packed; a row's margin takes its own
//! and the largest of all others. The similarity that counts is a double-precision sum rounded once
//! to float32, within `u (1 + 2^-20)` of `x_i . x_j`, that is within 65 units of `P`'s scale.

use super::rows::NormalizedRows;
use super::search::BLOCK_ROWS;
use super::similarity;
use crate::arena::Buffer;
use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{LANES, Step, Task, Vector};

/// What a normalised value is multiplied by.
const SCALE: f64 = 32767.0;

/// What a product of packed rows must be divided by to be a similarity.
pub(crate) const SQUARE: f64 = SCALE * SCALE;

/// Adding and subtracting it rounds a small float32 to an integer, ties to even; once added, the low
/// bits are that integer.
const ROUNDER: f32 = 12_582_912.0;

/// Covers the rounding of similarities to float32.
const ROUNDING: f64 = 66.0;

/// Packed rows and what is known of each.
pub(crate) struct PackedRows {
    steps: usize,
    /// Panels of each search block.
    blocks: Vec<Buffer<Step>>,
    facts: Vec<RowFacts>,
    /// Largest length and largest loss of any row.
    most: RowFacts,
}

/// Length of a normalised row and of what packing it lost, the latter in units of the packed scale.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RowFacts {
    pub(crate) length: f64,
    pub(crate) loss: f64,
}

/// How far products of one row with any other may stray from `S^2` times the similarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Margin {
    /// Distance between product and similarity.
    pub(crate) reach: i32,
    /// A smaller product means that the similarity is not positive.
    pub(crate) positive: i32,
}

impl PackedRows {
    /// Packs every row.
    pub(crate) fn new(rows: &NormalizedRows, exec: Exec<'_>) -> Result<Self, SolveError> {
        let steps = rows.stride().div_ceil(2);
        let mut facts = vec![RowFacts::default(); rows.len()];
        let mut blocks: Vec<Buffer<Step>> = Vec::new();
        blocks.resize_with(rows.len().div_ceil(BLOCK_ROWS), Buffer::default);
        let mut pieces: Vec<(&mut Buffer<Step>, &mut [RowFacts])> = blocks
            .iter_mut()
            .zip(facts.chunks_mut(BLOCK_ROWS))
            .collect();
        exec.each(&mut pieces, |block, (panels, facts)| {
            exec.check()?;
            **panels = Buffer::zeroed(facts.len().div_ceil(LANES) * steps);
            exec.level().run(Pack {
                rows,
                first: block * BLOCK_ROWS,
                steps,
                panels,
                facts,
            });
            Ok(())
        })?;
        let most = facts
            .iter()
            .fold(RowFacts::default(), |most, own| RowFacts {
                length: most.length.max(own.length),
                loss: most.loss.max(own.loss),
            });
        Ok(Self {
            steps,
            blocks,
            facts,
            most,
        })
    }

    /// Panels of the search block that starts with row `first`.
    pub(crate) fn panels(&self, first: usize) -> &[Step] {
        &self.blocks[first / BLOCK_ROWS]
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    pub(crate) fn length(&self, row: usize) -> f64 {
        self.facts[row].length
    }

    /// Margin of a row's products.
    pub(crate) fn margin(&self, row: usize) -> Margin {
        let (own, most) = (self.facts[row], self.most);
        let strays = SCALE * own.length * most.loss + own.loss * (SCALE * most.length + most.loss);
        // Rounding of these very sums.
        let strays = strays * (1.0 + 1e-9);
        // Nothing is lost only on rows whose entries are 0, 1 and -1 (S is odd, so no other multiple
        // of 1/S is a binary fraction): their products are exact and a positive one is at least 1.
        // Otherwise the double-precision sum that decides may exceed the true one by `terms * 2^-52`.
        let positive = if strays == 0.0 {
            1
        } else {
            let terms = (2 * self.steps) as f64;
            -(strays + SQUARE * terms * f64::EPSILON).ceil() as i32
        };
        Margin {
            reach: (strays + ROUNDING).ceil() as i32,
            positive,
        }
    }
}

/// Packs the rows of a run of panels.
struct Pack<'a> {
    rows: &'a NormalizedRows,
    first: usize,
    steps: usize,
    panels: &'a mut [Step],
    facts: &'a mut [RowFacts],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (index, facts) in self.facts.iter_mut().enumerate() {
            let row = self.rows.row(self.first + index);
            let (panel, lane) = (index / LANES, index % LANES);
            let panel = &mut self.panels[panel * self.steps..(panel + 1) * self.steps];
            *facts = pack_row(row, panel, lane);
        }
    }
}

/// Packs one row into its lane; rows have an even number of values.
#[inline(always)]
fn pack_row(row: &[f32], panel: &mut [Step], lane: usize) -> RowFacts {
    let (mut squares, mut losses) = ([0.0_f64; similarity::LANES], [0.0_f64; similarity::LANES]);
    let (chunks, _) = row.as_chunks::<{ similarity::LANES }>();
    let (groups, _) = panel.as_chunks_mut::<{ similarity::LANES / 2 }>();
    for (chunk, steps) in chunks.iter().zip(groups) {
        let mut packed = [0_i16; similarity::LANES];
        for k in 0..similarity::LANES {
            let shifted = chunk[k] * SCALE as f32 + ROUNDER;
            packed[k] = shifted.to_bits() as i16;
            let value = f64::from(chunk[k]);
            let lost = value * SCALE - f64::from(shifted - ROUNDER);
            squares[k] += value * value;
            losses[k] += lost * lost;
        }
        for (step, pair) in steps.iter_mut().zip(packed.as_chunks::<2>().0) {
            step.0[2 * lane] = pair[0];
            step.0[2 * lane + 1] = pair[1];
        }
    }
    RowFacts {
        length: squares.iter().sum::<f64>().sqrt(),
        loss: losses.iter().sum::<f64>().sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_and_losses_measured() {
        let mut row = [0.0_f32; 16];
        (row[0], row[1], row[2], row[3]) = (1.0, -1.0, 0.5, -0.000_01);
        let mut panel = [Step::ZERO; 8];
        let facts = pack_row(&row, &mut panel, 3);
        assert_eq!(panel[0].0[6..8], [32767, -32767]);
        // 16383.5 is a tie, -0.32767 rounds to zero.
        assert_eq!(panel[1].0[6..8], [16384, 0]);
        let lost = (0.25 + 0.327_67_f64.powi(2)).sqrt();
        assert!((facts.loss - lost).abs() < 1e-4);
        assert!((facts.length - 1.5).abs() < 1e-6);
    }
}
