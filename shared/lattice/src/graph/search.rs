//! Exact k-nearest-neighbour search over all pairs, without ever holding them.
//!
//! Rows are packed as fixed point and cut into blocks; a tile is the product of two blocks. Every
//! tile of the upper triangle feeds the candidate lists of its rows and of its columns. Tiles on the
//! diagonal go first: they give every row a floor that few of the later products reach. Which thread
//! takes which tile changes the order of offers, never the outcome: lists keep a superset of the best
//! k, and the best k are picked from exact values in a total order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::candidates::CandidateLists;
use super::direct;
use super::neighbors::{Neighbors, RowSlots};
use super::packed::PackedRows;
use super::rows::NormalizedRows;
use super::similarity::Exact;
use super::ties::TieOrder;
use super::tile::{Span, Tile};
use super::wide::{WideBuffers, WideTile};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::observer::Stage;
use crate::simd::{LANES, Lanes};

/// Rows per block, whole panels in groups of three: a tile and its two blocks stay in the
/// second-level cache.
pub(crate) const BLOCK_ROWS: usize = 240;

/// Finds the `k` best positive neighbours of each row.
pub(crate) fn nearest(
    rows: &NormalizedRows,
    k: usize,
    order: &TieOrder<'_>,
    exec: Exec<'_>,
) -> Result<Neighbors, SolveError> {
    if k > 0 && rows.len() > k && direct::pays(rows) {
        direct::nearest(rows, k, order, exec)
    } else {
        by_tiles(rows, k, order, exec)
    }
}

/// The same tile by tile, however many rows there are.
pub(super) fn by_tiles(
    rows: &NormalizedRows,
    k: usize,
    order: &TieOrder<'_>,
    exec: Exec<'_>,
) -> Result<Neighbors, SolveError> {
    let total = rows.len();
    let k = k.min(total.saturating_sub(1));
    let spans: Vec<Span> = (0..total)
        .step_by(BLOCK_ROWS)
        .map(|first| Span {
            first,
            count: BLOCK_ROWS.min(total - first),
        })
        .collect();
    if k == 0 {
        return Ok(Neighbors::empty(total, 0));
    }
    let packed = PackedRows::new(rows, exec)?;
    let lists: Vec<Mutex<Option<CandidateLists>>> =
        spans.iter().map(|_| Mutex::new(None)).collect();
    let search = Search {
        packed: &packed,
        exact: Exact::new(rows, exec.level()),
        k,
        order,
        spans: &spans,
        lists: &lists,
        exec,
    };
    search.diagonal()?;
    search.upper()?;
    let mut found = Neighbors::empty(total, k);
    search.finish(&mut found.blocks_mut(BLOCK_ROWS))?;
    Ok(found)
}

/// What one thread needs for a tile.
type Buffers = (Tile, WideBuffers);

struct Search<'a> {
    packed: &'a PackedRows,
    exact: Exact<'a>,
    k: usize,
    order: &'a TieOrder<'a>,
    spans: &'a [Span],
    /// Lists of each block, from its diagonal tile until they are finished.
    lists: &'a [Mutex<Option<CandidateLists>>],
    exec: Exec<'a>,
}

impl Search<'_> {
    fn diagonal(&self) -> Result<(), SolveError> {
        let mut blocks: Vec<usize> = (0..self.spans.len()).collect();
        self.exec.each_with(
            &mut blocks,
            Buffers::default,
            |(tile, wide), _, &mut block| {
                self.exec.check()?;
                let span = self.spans[block];
                let total = self.exact.rows();
                let mut lists = CandidateLists::new(span, total, self.k, self.packed);
                tile.fill_diagonal(self.packed, span, self.exec.level(), |row, products| {
                    if let Some(product) = surely_reached(products, self.k) {
                        lists.expect(row, product);
                    }
                    lists.floor(row)
                });
                self.offer_diagonal(&mut lists, span, tile, wide);
                *self.lock(block) = Some(lists);
                Ok(())
            },
        )
    }

    fn offer_diagonal(
        &self,
        lists: &mut CandidateLists,
        span: Span,
        tile: &Tile,
        buffers: &mut WideBuffers,
    ) {
        let mut wide = WideTile::new(&self.exact, self.exec.level(), span, span, buffers);
        for row in 0..span.count {
            let own = span.first + row;
            tile.marked(row, |panel, products, marks| {
                for lane in bits(marks) {
                    let column = panel * LANES + lane;
                    let other = span.first + column;
                    if products.0[lane] >= lists.floor(row)
                        && (!lists.flooded()
                            || lists.bar(row).lets_pass(
                                self.at_most(&wide, (row, own), (column, other)),
                                other as u32,
                            ))
                    {
                        let mut exact = |other| wide.similarity(own, other);
                        let offered = (products.0[lane], other as u32);
                        lists.offer(row, offered, self.order, &mut exact);
                    }
                }
            });
        }
    }

    /// What the similarity of two rows, given by place in the tile and number, cannot exceed.
    #[inline(always)]
    fn at_most(
        &self,
        wide: &WideTile<'_>,
        (row, own): (usize, usize),
        (column, other): (usize, usize),
    ) -> f64 {
        wide.at_most(row, column)
            .unwrap_or_else(|| self.packed.length(own) * self.packed.length(other))
    }

    /// Tiles above the diagonal, lowest rows first: where many are equally similar these win, and what
    /// comes later can be told to lose at a glance. Threads start far apart, so they rarely want the
    /// same lists.
    fn upper(&self) -> Result<(), SolveError> {
        let count = self.spans.len() as u32;
        let mut tiles: Vec<(u32, u32)> = (0..count)
            .flat_map(|left| (left + 1..count).map(move |right| (left, right)))
            .collect();
        let total = tiles.len();
        let done = AtomicUsize::new(0);
        self.exec.each_with(
            &mut tiles,
            Buffers::default,
            |buffers, _, &mut (left, right)| {
                self.exec.check()?;
                self.offer_tile(left as usize, right as usize, buffers);
                let finished = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.exec
                    .progress(Stage::Graph, finished as f32 / total as f32);
                Ok(())
            },
        )
    }

    fn offer_tile(&self, left: usize, right: usize, (tile, wide): &mut Buffers) {
        let (left_span, right_span) = (self.spans[left], self.spans[right]);
        if let (Some(rows), Some(columns)) = (&*self.lock(left), &*self.lock(right)) {
            tile.note_floors(rows.floors(), columns.floors());
        }
        tile.fill(self.packed, left_span, right_span, self.exec.level());
        tile.clip(right_span.count);
        // Always in ascending block order, so two threads never wait for each other.
        let (mut rows, mut columns) = (self.lock(left), self.lock(right));
        if let (Some(rows), Some(columns)) = (rows.as_mut(), columns.as_mut()) {
            let level = self.exec.level();
            let mut pair = Pair {
                search: self,
                wide: WideTile::new(&self.exact, level, left_span, right_span, wide),
                rows,
                columns,
                left: left_span,
                right: right_span,
            };
            for row in 0..left_span.count {
                tile.marked(row, |panel, products, marks| {
                    let marks = pair.still_wanted(row, panel, products, marks);
                    for lane in bits(marks) {
                        pair.offer(row, panel * LANES + lane, products.0[lane]);
                    }
                });
            }
        }
    }

    fn finish(&self, found: &mut [RowSlots<'_>]) -> Result<(), SolveError> {
        self.exec.each(found, |block, found| {
            self.exec.check()?;
            let Some(mut lists) = self.lock(block).take() else {
                return Ok(());
            };
            let span = self.spans[block];
            for row in 0..span.count {
                let mut exact = |other| self.exact.similarity(span.first + row, other);
                found.put(row, |places| {
                    lists.finish(row, self.order, &mut exact, places)
                });
            }
            Ok(())
        })
    }

    fn lock(&self, block: usize) -> MutexGuard<'_, Option<CandidateLists>> {
        self.lists[block]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two blocks about to be offered each other's rows.
struct Pair<'a> {
    search: &'a Search<'a>,
    wide: WideTile<'a>,
    rows: &'a mut CandidateLists,
    columns: &'a mut CandidateLists,
    left: Span,
    right: Span,
}

impl Pair<'_> {
    /// Takes away marks that lists have outgrown since they were made. Worth its time only when rows
    /// are nearly alike and everything is marked.
    #[inline(always)]
    fn still_wanted(&self, row: usize, panel: usize, products: &Lanes, marks: u16) -> u16 {
        if !(self.rows.flooded() || self.columns.flooded()) || marks.count_ones() < 3 {
            return marks;
        }
        let own = self.left.first + row;
        let (row_floor, row_bar) = (self.rows.floor(row), self.rows.bar(row));
        let column_floors = &self.columns.floors()[panel];
        let mut wanted = 0;
        for lane in bits(marks) {
            let column = panel * LANES + lane;
            let other = self.right.first + column;
            let most = self.search.at_most(&self.wide, (row, own), (column, other));
            let product = products.0[lane];
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
        let search = self.search;
        if product >= self.rows.floor(row) {
            let mut exact = |other| self.wide.similarity(own, other);
            self.rows
                .offer(row, (product, other as u32), search.order, &mut exact);
        }
        if product >= self.columns.floor(column) {
            let mut exact = |own| self.wide.similarity(other, own);
            self.columns
                .offer(column, (product, own as u32), search.order, &mut exact);
        }
    }
}

/// A product that at least `k` of `products` reach: the k-th largest of the lanes' maxima.
#[inline(always)]
fn surely_reached(products: &[Lanes], k: usize) -> Option<i32> {
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

/// Positions of the bits that are set, ascending.
#[inline(always)]
fn bits(mut marks: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = marks.trailing_zeros() as usize;
        (marks != 0).then(|| {
            marks &= marks - 1;
            lane
        })
    })
}
