//! Rows as 16-bit fixed point, packed for the strip kernels, and how far their products may stray.
//!
//! # The bound
//! A row `x`, measured from the centre of its [`Frame`] as `r = x - m`, is stored as the integers
//! `q = round(S r)`; `e = S r - q` is what rounding lost. The frame has `S` such that every entry fits 16
//! bits and, by Cauchy and Schwarz, no dot product of two packed rows, nor its sum with both biases,
//! leaves 32 bits: kernels compute `P = q_i . q_j` exactly, on every machine, whatever the order, since
//! what leaves the range on the way comes back modulo 2^32.
//!
//! `S^2 r_i . r_j - P = (S r_i) . e_j + e_i . q_j`, hence, with `n = |r|` and `d = |e|`,
//!
//! `|S^2 r_i . r_j - P| <= S n_i d_j + d_i (S n_j + d_j)`.
//!
//! `n` and `d` are measured per row in double when the row is packed; a row's margin takes its own
//! and the largest of all others. With a centre, `P` and the two biases together are the product in
//! question; biases are rounded to integers, and the double-precision sums they are made of have the
//! errors that [`bias_error`] bounds.
//!
//! The similarity that counts is a double-precision sum, within `terms * 2^-52` of `x_i . x_j`, rounded
//! once to float32. Rounding keeps order, and similarities are below two.

use super::frame::{Frame, Units};
use super::rows::NormalizedRows;
use super::search::BLOCK_ROWS;
use super::similarity;
use crate::arena::Buffer;
use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{LANES, Lanes, Step, Task, Vector};

/// Adding and subtracting it rounds a small float32 to an integer, ties to even; once added, the low
/// bits are that integer.
const ROUNDER: f32 = 12_582_912.0;

/// Half a unit in the last place of float32 values from one to two, with a little to spare.
const LAST_PLACE: f64 = 1.01 / (1_u64 << 24) as f64;

/// Units that rounding two biases to integers may cost, and as many again for the arithmetic here.
const BIAS_ROUNDING: f64 = 2.0;

/// Packed rows and what is known of each.
pub(crate) struct PackedRows {
    steps: usize,
    /// Panels of each search block.
    blocks: Vec<Buffer<Step>>,
    facts: Vec<RowFacts>,
    /// Largest values of any row.
    most: RowFacts,
    frame: Frame,
    /// Biases of each search block, if there are any.
    biases: Vec<Vec<Lanes>>,
}

/// What is known of a packed row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RowFacts {
    /// Length of the normalised row.
    pub(crate) length: f64,
    /// Its distance from the frame's centre.
    pub(crate) distance: f64,
    /// Length of what packing lost, in units of the packed scale.
    pub(crate) loss: f64,
    /// What is added to its products.
    pub(crate) bias: i32,
}

/// How far products of one row with any other, biases included, may stray from the similarity in the
/// same units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Margin {
    /// Distance between product and the similarity before it is rounded.
    pub(crate) strays: i32,
    /// Products further apart than this belong to similarities that differ, and in the same direction,
    /// as long as the larger similarity is below one.
    pub(crate) apart: i32,
    /// The same for any similarity.
    pub(crate) far_apart: i32,
    /// A smaller product means that the similarity is not positive.
    pub(crate) positive: i32,
}

impl PackedRows {
    /// Packs every row.
    pub(crate) fn new(rows: &NormalizedRows, exec: Exec<'_>) -> Result<Self, SolveError> {
        let frame = Frame::new(rows, exec)?;
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
                frame: &frame,
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
                distance: most.distance.max(own.distance),
                loss: most.loss.max(own.loss),
                bias: most.bias.max(own.bias),
            });
        let biases = facts.chunks(BLOCK_ROWS).map(block_biases);
        Ok(Self {
            biases: biases.filter(|_| frame.centre.is_some()).collect(),
            steps,
            blocks,
            facts,
            most,
            frame,
        })
    }

    pub(crate) fn units(&self) -> Units {
        self.frame.units
    }

    /// Whether products lack the biases of their rows.
    pub(crate) fn biased(&self) -> bool {
        self.frame.centre.is_some()
    }

    /// What the columns of the search block that starts with row `first` add to their products.
    pub(crate) fn biases(&self, first: usize) -> &[Lanes] {
        &self.biases[first / BLOCK_ROWS]
    }

    /// What a row adds to its products.
    pub(crate) fn bias(&self, row: usize) -> i32 {
        self.facts[row].bias
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
        let Units {
            scale,
            square,
            offset,
        } = self.frame.units;
        let strays =
            scale * own.distance * most.loss + own.loss * (scale * most.distance + most.loss);
        let terms = (2 * self.steps) as f64;
        // Rounding of these very sums, and of the biases.
        let mut strays = strays * (1.0 + 1e-9);
        if self.biased() {
            strays += square * bias_error(terms) + BIAS_ROUNDING;
        }
        // Rounding keeps order: what differs by a unit in the last place does not round to the same.
        let apart = |units: f64| {
            let between = 2.0 * (units * LAST_PLACE + terms * f64::EPSILON);
            (2.0 * strays + square * between).ceil() as i32 + 1
        };
        // Nothing is lost only on rows whose entries are 0, 1 and -1 (S is odd, so no other multiple
        // of 1/S is a binary fraction): their products are exact and a positive one is at least 1.
        // Otherwise the double-precision sum that decides may exceed the true one by `terms * 2^-52`.
        let positive = if strays == 0.0 {
            1
        } else {
            let error = strays + square * terms * f64::EPSILON;
            -(error + square * offset).ceil() as i32
        };
        Margin {
            strays: strays.ceil() as i32,
            apart: apart(0.5),
            far_apart: apart(1.0),
            positive,
        }
    }
}

fn block_biases(facts: &[RowFacts]) -> Vec<Lanes> {
    let panels = facts.chunks(LANES).map(|panel| {
        let mut lanes = Lanes::splat(0);
        for (lane, facts) in lanes.0.iter_mut().zip(panel) {
            *lane = facts.bias;
        }
        lanes
    });
    panels.collect()
}

/// How far the sums that the biases of two rows are made of may be from the true ones, as a similarity:
/// each is of `terms` products of two vectors no longer than 1.01, and half as many of the centre's own.
fn bias_error(terms: f64) -> f64 {
    2.0 * 1.5 * 1.1 * (terms + 16.0) * f64::EPSILON
}

/// Packs the rows of a run of panels.
struct Pack<'a> {
    rows: &'a NormalizedRows,
    frame: &'a Frame,
    first: usize,
    steps: usize,
    panels: &'a mut [Step],
    facts: &'a mut [RowFacts],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Units { scale, .. } = self.frame.units;
        for (index, facts) in self.facts.iter_mut().enumerate() {
            let row = self.rows.row(self.first + index);
            let (panel, lane) = (index / LANES, index % LANES);
            let panel = &mut self.panels[panel * self.steps..(panel + 1) * self.steps];
            *facts = match &self.frame.centre {
                None => pack_row::<false>((row, row), scale, panel, lane).0,
                Some(centre) => {
                    let (facts, with_centre) =
                        pack_row::<true>((row, &centre.values), scale, panel, lane);
                    let bias = self.frame.units.square * self.frame.bias(with_centre, centre);
                    RowFacts {
                        bias: bias.round() as i32,
                        ..facts
                    }
                }
            };
        }
    }
}

/// Packs one row into its lane, its difference from the centre if there is one; rows have an even number
/// of values. Gives the product with the centre too.
#[inline(always)]
fn pack_row<const CENTRED: bool>(
    (row, centre): (&[f32], &[f32]),
    scale: f64,
    panel: &mut [Step],
    lane: usize,
) -> (RowFacts, f64) {
    const WIDTH: usize = similarity::LANES;
    let zero = || [0.0_f64; WIDTH];
    let (mut squares, mut losses) = (zero(), zero());
    let (mut distances, mut products) = (zero(), zero());
    let (chunks, _) = row.as_chunks::<WIDTH>();
    let (centres, _) = centre.as_chunks::<WIDTH>();
    let (groups, _) = panel.as_chunks_mut::<{ WIDTH / 2 }>();
    for ((chunk, centre), steps) in chunks.iter().zip(centres).zip(groups) {
        let mut packed = [0_i16; WIDTH];
        for k in 0..WIDTH {
            let value = f64::from(chunk[k]);
            let mut difference = value;
            let mut narrow = chunk[k];
            if CENTRED {
                difference -= f64::from(centre[k]);
                narrow -= centre[k];
                distances[k] += difference * difference;
                products[k] += value * f64::from(centre[k]);
            }
            // However the value is rounded here, the loss is what is left.
            let shifted = narrow * scale as f32 + ROUNDER;
            packed[k] = shifted.to_bits() as i16;
            let lost = difference * scale - f64::from(shifted - ROUNDER);
            squares[k] += value * value;
            losses[k] += lost * lost;
        }
        for (step, pair) in steps.iter_mut().zip(packed.as_chunks::<2>().0) {
            step.0[2 * lane] = pair[0];
            step.0[2 * lane + 1] = pair[1];
        }
    }
    let length = |squares: [f64; WIDTH]| squares.iter().sum::<f64>().sqrt();
    let facts = RowFacts {
        length: length(squares),
        distance: length(if CENTRED { distances } else { squares }),
        loss: length(losses),
        bias: 0,
    };
    (facts, products.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_and_losses_measured() {
        let mut row = [0.0_f32; 16];
        (row[0], row[1], row[2], row[3]) = (1.0, -1.0, 0.5, -0.000_01);
        let mut panel = [Step::ZERO; 8];
        let (facts, _) = pack_row::<false>((&row, &row), 32767.0, &mut panel, 3);
        assert_eq!(panel[0].0[6..8], [32767, -32767]);
        // 16383.5 is a tie, -0.32767 rounds to zero.
        assert_eq!(panel[1].0[6..8], [16384, 0]);
        let lost = (0.25 + 0.327_67_f64.powi(2)).sqrt();
        assert!((facts.loss - lost).abs() < 1e-4);
        assert!((facts.length - 1.5).abs() < 1e-6);
        let centre = [0.25_f32; 16];
        let (facts, with_centre) = pack_row::<true>((&row, &centre), 100.0, &mut panel, 3);
        assert_eq!(panel[0].0[6..8], [75, -125]);
        assert_eq!((panel[1].0[6], panel[2].0[6]), (25, -25));
        assert!((with_centre - 0.125).abs() < 1e-5);
        assert!(
            (facts.distance - (0.75_f64.powi(2) + 1.25_f64.powi(2) + 14.0 / 16.0).sqrt()).abs()
                < 1e-4
        );
    }
}
