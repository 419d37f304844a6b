//! The shape all kernels share: eight rows against panels of sixteen, two values at a time.

/// Rows of a panel, one per 32-bit lane.
pub(crate) const LANES: usize = 16;

/// Rows one strip multiplies at once: half a panel.
pub(crate) const ROWS: usize = 8;

/// Two consecutive values of each of the sixteen rows of a panel: lane `l` holds `[2l]`, `[2l + 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Step(pub(crate) [i16; 2 * LANES]);

impl Step {
    /// All zero.
    pub(crate) const ZERO: Self = Self([0; 2 * LANES]);
}

/// One 32-bit integer per row of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; LANES]);

impl Lanes {
    /// The same value in every lane.
    pub(crate) const fn splat(value: i32) -> Self {
        Self([value; LANES])
    }
}

/// Half a panel of left rows and whole panels of right rows.
///
/// Values must be such that no dot product of a left and a right row leaves the range of i32.
/// Kernels add products in any order and grouping modulo 2^32, which then gives the exact integer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strip<'a> {
    left: &'a [Step],
    /// First of the eight lanes of `left` that are multiplied: 0 or 8.
    first: usize,
    right: &'a [Step],
}

impl<'a> Strip<'a> {
    /// `left` is one panel, `half` which of its halves; `right` is any number of panels just as long.
    pub(crate) fn new(left: &'a [Step], half: usize, right: &'a [Step]) -> Self {
        assert!(half < LANES / ROWS, "a panel has two halves");
        assert!(
            !left.is_empty() && right.len().is_multiple_of(left.len()),
            "the right side holds whole panels"
        );
        Self {
            left,
            first: half * ROWS,
            right,
        }
    }

    /// Steps of a panel.
    pub(super) fn steps(&self) -> usize {
        self.left.len()
    }

    /// Panels on the right.
    pub(super) fn panels(&self) -> usize {
        self.right.len() / self.left.len()
    }

    pub(super) fn left(&self) -> &'a [Step] {
        self.left
    }

    pub(super) fn first(&self) -> usize {
        self.first
    }

    pub(super) fn right(&self) -> &'a [Step] {
        self.right
    }

    /// Products go to `products[row * panels + panel]`.
    pub(super) fn check_products(&self, products: &[Lanes]) {
        assert_eq!(
            products.len(),
            ROWS * self.panels(),
            "a strip gives eight rows of products"
        );
    }
}
