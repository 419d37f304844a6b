//! A cheap test that most candidates of a row with many near-identical neighbours fail.
//!
//! By Cauchy and Schwarz a similarity is at most the product of the rows' lengths, which float32
//! normalisation leaves within a few units of its precision around 1. When neighbours are so alike
//! that similarities are as large as lengths allow, lengths alone decide nearly every comparison
//! with the worst neighbour kept, at one multiplication per pair. Where a whole tile has been
//! multiplied in double, that product is the better bound.

use super::ties::{Candidate, TieOrder};

/// Rounding of lengths, of sixteen running sums and of this test itself, in double: far above
/// `terms * 2^-52` for any row that fits in memory, far below the spacing of float32.
const NEARLY: f64 = 1.0 - 1e-10;

/// Product of lengths a candidate must reach to beat the worst neighbour kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    /// To be more similar.
    above: f64,
    /// To be as similar.
    equal: f64,
    /// Rows from this one on lose against the worst neighbour when as similar.
    worst: u32,
}

impl Bar {
    /// Everything reaches it.
    pub(crate) const NONE: Self = Self {
        above: f64::NEG_INFINITY,
        equal: f64::NEG_INFINITY,
        worst: u32::MAX,
    };

    /// The bar that `worst` sets.
    ///
    /// A double rounds to a float32 above `w` only from halfway to the next float32 on, and to `w`
    /// only from halfway to the previous one on.
    pub(crate) fn above(worst: &Candidate, order: &TieOrder<'_>) -> Self {
        let own = f64::from(worst.similarity);
        let halfway = |other: f32| 0.5 * (own + f64::from(other)) * NEARLY;
        Self {
            above: halfway(worst.similarity.next_up()),
            equal: halfway(worst.similarity.next_down()),
            worst: if order.by_index() {
                worst.row
            } else {
                u32::MAX
            },
        }
    }

    /// What every candidate that may beat the worst neighbour reaches.
    pub(crate) fn lowest(&self) -> f64 {
        self.equal
    }

    /// Whether the row `other`, whose similarity is at most `product`, may beat the worst neighbour.
    #[inline(always)]
    pub(crate) fn lets_pass(&self, product: f64, other: u32) -> bool {
        let needed = if other < self.worst {
            self.equal
        } else {
            self.above
        };
        product >= needed
    }
}
