//! Products of one block of packed rows with another, and which of them are worth a look.

use super::packed::PackedRows;
use crate::simd::{LANES, Lanes, Level, ROWS, Strip, Task, Vector};

/// A run of consecutive rows that starts a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Buffers of one thread, reused from tile to tile.
#[derive(Default)]
pub(crate) struct Tile {
    panels: usize,
    products: Vec<Lanes>,
    marks: Vec<u16>,
    row_floors: Vec<i32>,
    column_floors: Vec<Lanes>,
}

impl Tile {
    /// Remembers the floors in force; lists may raise theirs while the tile is computed.
    pub(crate) fn note_floors(&mut self, left: &[Lanes], right: &[Lanes]) {
        self.row_floors.clear();
        self.row_floors
            .extend(left.iter().flat_map(|lanes| lanes.0));
        self.column_floors.clear();
        self.column_floors.extend_from_slice(right);
    }

    /// Multiplies `left` rows with `right` rows and marks what reaches a noted floor.
    pub(crate) fn fill(&mut self, packed: &PackedRows, left: Span, right: Span, level: Level) {
        self.multiply(packed, left, right, level, |tile, row| {
            let line = row * tile.panels..(row + 1) * tile.panels;
            level.mark(
                &tile.products[line.clone()],
                tile.row_floors[row],
                &tile.column_floors,
                &mut tile.marks[line],
            );
        });
    }

    /// Multiplies the rows of a block with each other. `seed` gets the products of each row, its own
    /// taken out, and gives the floor to mark them by.
    pub(crate) fn fill_diagonal(
        &mut self,
        packed: &PackedRows,
        span: Span,
        level: Level,
        mut seed: impl FnMut(usize, &[Lanes]) -> i32,
    ) {
        self.column_floors.clear();
        self.column_floors
            .resize(span.count.div_ceil(LANES), Lanes::splat(i32::MAX));
        let rest = span.count % LANES;
        self.multiply(packed, span, span, level, |tile, row| {
            if row >= span.count {
                return;
            }
            let line = row * tile.panels..(row + 1) * tile.panels;
            let products = &mut tile.products[line.clone()];
            products[row / LANES].0[row % LANES] = i32::MIN;
            if rest > 0 {
                products[tile.panels - 1].0[rest..].fill(i32::MIN);
            }
            let floor = seed(row, products);
            level.mark(products, floor, &tile.column_floors, &mut tile.marks[line]);
        });
    }

    fn multiply(
        &mut self,
        packed: &PackedRows,
        left: Span,
        right: Span,
        level: Level,
        mut row_done: impl FnMut(&mut Self, usize),
    ) {
        let steps = packed.steps();
        let others = packed.panels(right.first);
        self.panels = right.count.div_ceil(LANES);
        let rows = left.count.next_multiple_of(ROWS);
        self.products.resize(rows * self.panels, Lanes::splat(0));
        self.marks.clear();
        self.marks.resize(rows * self.panels, 0);
        let own = packed.panels(left.first);
        for first in (0..rows).step_by(ROWS) {
            let panel = first / LANES;
            let strip = Strip::new(
                &own[panel * steps..(panel + 1) * steps],
                first % LANES / ROWS,
                others,
            );
            let range = first * self.panels..(first + ROWS) * self.panels;
            let products = &mut self.products[range];
            level.multiply(&strip, products);
            if packed.biased() {
                level.run(AddBiases {
                    packed,
                    rows: Span {
                        first: left.first + first,
                        count: ROWS.min(left.count.saturating_sub(first)),
                    },
                    columns: right,
                    products,
                });
            }
            for row in first..first + ROWS {
                row_done(self, row);
            }
        }
    }

    /// Calls `body` with every panel of a row that has marks: its number, products and marks. Rows
    /// beyond the spans are never marked.
    #[inline(always)]
    pub(crate) fn marked(&self, row: usize, mut body: impl FnMut(usize, &Lanes, u16)) {
        let line = row * self.panels..(row + 1) * self.panels;
        for (panel, mark) in self.marks[line.clone()].iter().enumerate() {
            if *mark != 0 {
                body(panel, &self.products[line.start + panel], *mark);
            }
        }
    }

    /// Clears marks of columns from `count` on, which are padding.
    pub(crate) fn clip(&mut self, count: usize) {
        let rest = count % LANES;
        if rest > 0 {
            for marks in self.marks.chunks_exact_mut(self.panels) {
                marks[self.panels - 1] &= (1 << rest) - 1;
            }
        }
    }
}

/// Adds the biases of rows and columns to the products of a strip.
struct AddBiases<'a> {
    packed: &'a PackedRows,
    rows: Span,
    columns: Span,
    products: &'a mut [Lanes],
}

impl Task for AddBiases<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let biases = self.packed.biases(self.columns.first);
        for row in 0..self.rows.count {
            let own = self.packed.bias(self.rows.first + row);
            let line = &mut self.products[row * biases.len()..(row + 1) * biases.len()];
            for (products, biases) in line.iter_mut().zip(biases) {
                for (product, bias) in products.0.iter_mut().zip(biases.0) {
                    // The sum is in range, what leads to it need not be.
                    *product = product.wrapping_add(bias).wrapping_add(own);
                }
            }
        }
    }
}

/// A product that at least `k` of `products` reach: the k-th largest of the lanes' maxima.
#[inline(always)]
pub(super) fn surely_reached(products: &[Lanes], k: usize) -> Option<i32> {
    if k > LANES {
        return None;
    }
    let mut most = Lanes::splat(i32::MIN);
    for lanes in products {
        for lane in 0..LANES {
            most.0[lane] = most.0[lane].max(lanes.0[lane]);
        }
    }
    // How many maxima reach each of them.
    let mut reached = [0_u32; LANES];
    for other in most.0 {
        for (count, own) in reached.iter_mut().zip(most.0) {
            *count += u32::from(other >= own);
        }
    }
    let mut kth = i32::MIN;
    for (own, count) in most.0.into_iter().zip(reached) {
        if count as usize >= k {
            kth = kth.max(own);
        }
    }
    (kth > i32::MIN).then_some(kth)
}
