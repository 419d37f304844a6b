//! The rows of two blocks, offered to each other.

use super::candidates::CandidateLists;
use super::packed::PackedRows;
use super::ties::TieOrder;
use super::tile::Span;
use super::wide::WideTile;
use crate::simd::{LANES, Lanes};

/// Two blocks about to be offered each other's rows.
pub(super) struct Pair<'a> {
    pub(super) packed: &'a PackedRows,
    pub(super) order: &'a TieOrder<'a>,
    pub(super) wide: WideTile<'a>,
    pub(super) rows: &'a mut CandidateLists,
    pub(super) columns: &'a mut CandidateLists,
    pub(super) left: Span,
    pub(super) right: Span,
}

impl Pair<'_> {
    /// Offers what a tile has marked of a row in one panel.
    #[inline(always)]
    pub(super) fn offer_marked(&mut self, row: usize, panel: usize, products: &Lanes, marks: u16) {
        let marks = self.still_wanted(row, panel, products, marks);
        for lane in bits(marks) {
            self.offer(row, panel * LANES + lane, products.0[lane]);
        }
    }

    /// Takes away marks that lists have outgrown since they were made, and those of rows that ties turn
    /// away. Worth its time only when rows are nearly alike and much is marked, or when products are
    /// fine enough to tell.
    #[inline(always)]
    fn still_wanted(&self, row: usize, panel: usize, products: &Lanes, marks: u16) -> u16 {
        let flooded = self.rows.flooded() || self.columns.flooded();
        if !flooded || (marks.count_ones() < 3 && !self.packed.biased()) {
            return marks;
        }
        let own = self.left.first + row;
        let (row_floor, row_bar) = (self.rows.floor(row), self.rows.bar(row));
        let column_floors = &self.columns.floors()[panel];
        let mut wanted = 0;
        for lane in bits(marks) {
            let column = panel * LANES + lane;
            let other = self.right.first + column;
            let product = products.0[lane];
            let most = at_most(self.packed, &self.wide, (row, own), (column, other))
                .min(self.rows.at_most(row, product));
            let by_row = product >= row_floor && row_bar.lets_pass(most, other as u32);
            let by_column = product >= column_floors.0[lane]
                && self.columns.bar(column).lets_pass(most, own as u32);
            wanted |= u16::from(by_row | by_column) << lane;
        }
        wanted
    }

    #[inline(always)]
    fn offer(&mut self, row: usize, column: usize, product: i32) {
        let (own, other) = (self.left.first + row, self.right.first + column);
        if product >= self.rows.floor(row) {
            let mut exact = |other| self.wide.similarity(own, other);
            self.rows
                .offer(row, (product, other as u32), self.order, &mut exact);
        }
        if product >= self.columns.floor(column) {
            let mut exact = |own| self.wide.similarity(other, own);
            self.columns
                .offer(column, (product, own as u32), self.order, &mut exact);
        }
    }
}

/// What the similarity of two rows, given by place in the tile and number, cannot exceed.
#[inline(always)]
pub(super) fn at_most(
    packed: &PackedRows,
    wide: &WideTile<'_>,
    (row, own): (usize, usize),
    (column, other): (usize, usize),
) -> f64 {
    wide.at_most(row, column)
        .unwrap_or_else(|| packed.length(own) * packed.length(other))
}

/// Positions of the bits that are set, ascending.
#[inline(always)]
pub(super) fn bits(mut marks: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = marks.trailing_zeros() as usize;
        (marks != 0).then(|| {
            marks &= marks - 1;
            lane
        })
    })
}
