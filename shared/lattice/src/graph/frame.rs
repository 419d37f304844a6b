//! The frame that rows are measured in before they are rounded: where its origin is and how fine it is.
//!
//! Rows that are nearly alike differ by less than 16 bits of their values can tell. Such rows are
//! measured from a centre `m` near all of them, so that their differences fill the 16 bits. With
//! `r = x - m`,
//!
//! `x_i . x_j = r_i . r_j + t_i + t_j` where `t = x . m - m . m / 2`,
//!
//! so a product of differences and a bias of each row give back the similarity, less an offset `C`
//! which keeps the biases small. Products are in units of `1 / S^2`; `S` is the largest at which
//! entries fit 16 bits and sums of product and biases fit 32.
//!
//! Other rows are measured from zero: no bias, no offset, `S = 32767`.

use super::rows::NormalizedRows;
use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{LANES, Task, Vector};

/// Largest packed value, and `S` without a centre. It is odd, see [`super::packed`].
const LARGEST: f64 = 32767.0;

/// What sums of a product and two biases may reach; the rest of 32 bits is for errors.
const MOST_SUM: f64 = 0.9 * (1_u64 << 31) as f64;

/// Rows whose mean is taken as the centre.
const SAMPLE: usize = 64;

/// Squared length of a mean of unit rows from which they may be nearly alike.
const ALIKE: f64 = 0.9;

/// Squared distance from the centre, of any row, up to which it is worth having.
const NEAR: f64 = 0.1;

/// Largest `S`: a unit in the last place of a similarity is then 2^28 units, and margins fit 32 bits.
const FINEST: f64 = (1_u64 << 26) as f64;

/// Rows per piece of parallel work.
const PIECE_ROWS: usize = 256;

/// Origin and units of packed rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    /// `None` for zero.
    pub(super) centre: Option<Centre>,
    pub(super) units: Units,
}

/// `m`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Centre {
    /// As many values as a padded row has.
    pub(super) values: Vec<f32>,
    /// `m . m`.
    square: f64,
}

/// What products of packed rows count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Units {
    /// `S`, exact in float32.
    pub(super) scale: f64,
    /// `S^2`: units per similarity.
    pub(super) square: f64,
    /// `C`: the similarity of a product of zero.
    pub(super) offset: f64,
}

impl Units {
    /// A similarity in these units; saturates.
    pub(super) fn product(&self, similarity: f64) -> i32 {
        ((similarity - self.offset) * self.square).floor() as i32
    }

    /// The similarity that a product stands for.
    #[inline(always)]
    pub(super) fn similarity(&self, product: f64) -> f64 {
        self.offset + product / self.square
    }
}

impl Frame {
    /// From zero.
    fn plain() -> Self {
        Self {
            centre: None,
            units: Units {
                scale: LARGEST,
                square: LARGEST * LARGEST,
                offset: 0.0,
            },
        }
    }

    /// The frame for some rows.
    pub(super) fn new(rows: &NormalizedRows, exec: Exec<'_>) -> Result<Self, SolveError> {
        let centre = sampled_mean(rows);
        let square: f64 = centre.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        if square < ALIKE {
            return Ok(Self::plain());
        }
        let mut extents = vec![Extent::default(); rows.len().div_ceil(PIECE_ROWS)];
        exec.each(&mut extents, |piece, extent| {
            exec.check()?;
            let first = piece * PIECE_ROWS;
            *extent = exec.level().run(Measure {
                rows,
                centre: &centre,
                first,
                end: (first + PIECE_ROWS).min(rows.len()),
            });
            Ok(())
        })?;
        let extent = extents.into_iter().fold(Extent::default(), Extent::join);
        if extent.square > NEAR {
            return Ok(Self::plain());
        }
        // Biases reach from minus to plus half of the range of `t`.
        let (low, high) = (extent.low - square / 2.0, extent.high - square / 2.0);
        let by_sum = (MOST_SUM / ((high - low) + extent.square)).sqrt();
        let by_entry = (LARGEST - 1.0) / extent.entry;
        let scale = by_sum.min(by_entry).min(FINEST) as f32;
        let scale = f64::from(scale.next_down());
        Ok(Self {
            centre: Some(Centre {
                values: centre,
                square,
            }),
            units: Units {
                scale,
                square: scale * scale,
                offset: low + high,
            },
        })
    }

    /// What `t` of a row with this product with the centre is in excess of half the offset.
    pub(super) fn bias(&self, with_centre: f64, centre: &Centre) -> f64 {
        with_centre - 0.5 * (centre.square + self.units.offset)
    }
}

fn sampled_mean(rows: &NormalizedRows) -> Vec<f32> {
    let every = rows.len().div_ceil(SAMPLE).max(1);
    let mut sums = vec![0.0_f64; rows.stride()];
    let mut count = 0;
    for row in (0..rows.len()).step_by(every) {
        for (sum, value) in sums.iter_mut().zip(rows.row(row)) {
            *sum += f64::from(*value);
        }
        count += 1;
    }
    let count = f64::from(count.max(1));
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

/// How far rows are from a centre.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Largest squared distance.
    square: f64,
    /// Largest difference of any entry.
    entry: f64,
    /// Smallest and largest product with the centre.
    low: f64,
    high: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            square: 0.0,
            entry: 0.0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        }
    }
}

impl Extent {
    #[inline(always)]
    fn join(self, other: Self) -> Self {
        Self {
            square: self.square.max(other.square),
            entry: self.entry.max(other.entry),
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }
}

struct Measure<'a> {
    rows: &'a NormalizedRows,
    centre: &'a [f32],
    first: usize,
    end: usize,
}

impl Task for Measure<'_> {
    type Output = Extent;

    #[inline(always)]
    fn run<V: Vector>(self) -> Extent {
        let mut extent = Extent::default();
        for row in self.first..self.end {
            let chunks = self.rows.row(row).as_chunks::<LANES>().0;
            let centres = self.centre.as_chunks::<LANES>().0;
            let (mut squares, mut products) = ([0.0_f64; LANES], [0.0_f64; LANES]);
            let mut entries = [0.0_f64; LANES];
            for (chunk, centre) in chunks.iter().zip(centres) {
                for k in 0..LANES {
                    let (value, middle) = (f64::from(chunk[k]), f64::from(centre[k]));
                    let difference = value - middle;
                    squares[k] += difference * difference;
                    products[k] += value * middle;
                    entries[k] = entries[k].max(difference.abs());
                }
            }
            let product: f64 = products.iter().sum();
            extent = extent.join(Extent {
                square: squares.iter().sum(),
                entry: entries.iter().copied().fold(0.0, f64::max),
                low: product,
                high: product,
            });
        }
        extent
    }
}
