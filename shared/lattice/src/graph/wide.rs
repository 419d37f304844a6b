//! All similarities of a tile in double: cheaper than one by one when many are asked for.

use super::rows::NormalizedRows;
use super::similarity::Exact;
use super::tile::Span;
use crate::simd::{LANES, Level, Task, Vector};

/// Left rows multiplied at once.
pub(super) const GROUP: usize = 8;

/// Similarities one tile may ask for one by one, as a fraction of its size.
const FLOOD_FRACTION: usize = 32;

/// Buffers of one thread, reused from tile to tile.
#[derive(Default)]
pub(crate) struct WideBuffers {
    /// Dot products in double, row by row; columns padded to whole panels.
    products: Vec<[f64; LANES]>,
    /// The right rows, panel by panel and column by column.
    transposed: Vec<[f32; LANES]>,
    /// Some left rows, column by column.
    widened: Vec<[f64; GROUP]>,
}

/// A source of exact similarities for the pairs of one tile.
pub(crate) struct WideTile<'a> {
    exact: &'a Exact<'a>,
    level: Level,
    left: Span,
    right: Span,
    asked: usize,
    filled: bool,
    /// How far products may be from those that define the similarity, see [`reach`].
    reach: f64,
    buffers: &'a mut WideBuffers,
}

impl<'a> WideTile<'a> {
    pub(crate) fn new(
        exact: &'a Exact<'a>,
        level: Level,
        left: Span,
        right: Span,
        buffers: &'a mut WideBuffers,
    ) -> Self {
        Self {
            exact,
            level,
            left,
            right,
            asked: 0,
            filled: false,
            reach: reach(exact.terms()),
            buffers,
        }
    }

    /// What the similarity of a left row and a right row, both counted within the tile, cannot exceed
    /// before it is rounded; `None` as long as the tile has not been multiplied.
    #[inline(always)]
    pub(crate) fn at_most(&self, row: usize, column: usize) -> Option<f64> {
        Some(self.product(row, column)? + self.reach)
    }

    /// Dot product in double, within `reach` of the one that defines the similarity.
    #[inline(always)]
    fn product(&self, row: usize, column: usize) -> Option<f64> {
        let panels = self.right.count.div_ceil(LANES);
        self.filled
            .then(|| self.buffers.products[row * panels + column / LANES][column % LANES])
    }

    /// Exact similarity of the row `own`, which is in the tile, to any other.
    pub(crate) fn similarity(&mut self, own: usize, other: u32) -> f32 {
        let Some((row, column)) = self
            .place(own, other as usize)
            .or_else(|| self.place(other as usize, own))
        else {
            return self.exact.similarity(own, other);
        };
        self.asked += 1;
        if !self.filled && self.asked > self.left.count * self.right.count / FLOOD_FRACTION {
            self.fill();
        }
        self.product(row, column)
            .and_then(|product| rounded_if_certain(product, self.reach))
            .unwrap_or_else(|| self.exact.similarity(own, other))
    }

    fn place(&self, left: usize, right: usize) -> Option<(usize, usize)> {
        let row = left.checked_sub(self.left.first)?;
        let column = right.checked_sub(self.right.first)?;
        (row < self.left.count && column < self.right.count).then_some((row, column))
    }

    fn fill(&mut self) {
        let panels = self.right.count.div_ceil(LANES);
        self.buffers
            .products
            .resize(self.left.count * panels, [0.0; LANES]);
        self.level.run(Fill {
            rows: self.exact.matrix(),
            left: self.left,
            right: self.right,
            buffers: self.buffers,
        });
        self.filled = true;
    }
}

struct Fill<'a> {
    rows: &'a NormalizedRows,
    left: Span,
    right: Span,
    buffers: &'a mut WideBuffers,
}

impl Task for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self {
            rows,
            left,
            right,
            buffers,
        } = self;
        let panels = right.count.div_ceil(LANES);
        let WideBuffers {
            products,
            transposed,
            widened,
        } = buffers;
        transpose(rows, right, transposed);
        for group in (0..left.count).step_by(GROUP) {
            let span = Span {
                first: left.first + group,
                count: GROUP.min(left.count - group),
            };
            multiply_group::<V>(rows, span, widened, transposed, |index, panel, sums| {
                V::store_wide(sums, &mut products[(group + index) * panels + panel]);
            });
        }
    }
}

/// The rows of a span, panel by panel and column by column.
#[inline(always)]
pub(super) fn transpose(rows: &NormalizedRows, span: Span, transposed: &mut Vec<[f32; LANES]>) {
    let stride = rows.stride();
    transposed.clear();
    transposed.resize(span.count.div_ceil(LANES) * stride, [0.0; LANES]);
    for place in 0..span.count {
        let (panel, lane) = (place / LANES, place % LANES);
        let steps = &mut transposed[panel * stride..(panel + 1) * stride];
        for (step, value) in steps.iter_mut().zip(rows.row(span.first + place)) {
            step[lane] = *value;
        }
    }
}

/// Dot products of up to [`GROUP`] rows with transposed ones; `put` gets the place of a row in the
/// group, a panel and their sums.
#[inline(always)]
pub(super) fn multiply_group<V: Vector>(
    rows: &NormalizedRows,
    group: Span,
    widened: &mut Vec<[f64; GROUP]>,
    transposed: &[[f32; LANES]],
    mut put: impl FnMut(usize, usize, V::Wide),
) {
    widened.resize(rows.stride(), [0.0; GROUP]);
    // A group with too few rows repeats the last one.
    for index in 0..GROUP {
        let own = rows.row(group.first + index.min(group.count - 1));
        for (slot, value) in widened.iter_mut().zip(own) {
            slot[index] = f64::from(*value);
        }
    }
    for (panel, others) in transposed.chunks_exact(rows.stride()).enumerate() {
        let mut sums = [V::wide_zero(); GROUP];
        for (own, other) in widened.iter().zip(others) {
            let other = V::load(other);
            for (sum, own) in sums.iter_mut().zip(own) {
                *sum = other.add_wide(*own, *sum);
            }
        }
        for (index, sum) in sums.into_iter().enumerate().take(group.count) {
            put(index, panel, sum);
        }
    }
}

/// Distance of two sums of the same products in different orders: each is within
/// `terms * 2^-53 * |a||b|` of the true value, so within twice that of the other.
#[inline(always)]
pub(super) fn reach(terms: usize) -> f64 {
    4.0 * (terms + 8) as f64 * (f64::EPSILON / 2.0)
}

/// Rounds a double that is within `reach` of the defining sum to what that sum rounds to, or `None`
/// when it is too close to a rounding boundary to tell: if both ends of the interval round alike, so
/// does everything in it.
#[inline(always)]
pub(super) fn rounded_if_certain(value: f64, reach: f64) -> Option<f32> {
    let low = (value - reach) as f32;
    let high = (value + reach) as f32;
    (low == high).then_some(low)
}
