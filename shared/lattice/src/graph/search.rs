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
use super::checkpoint::{BlockState, Keeper, SearchState};
use super::direct;
use super::neighbors::{Neighbors, RowSlots};
use super::packed::PackedRows;
use super::pair::{Pair, at_most, bits};
use super::rows::NormalizedRows;
use super::schedule::Schedule;
use super::similarity::Exact;
use super::ties::{Candidate, TieOrder};
use super::tile::{Span, Tile, surely_reached};
use super::wide::{WideBuffers, WideTile};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::observer::Stage;
use crate::simd::LANES;

/// Rows per block, whole panels in groups of three: a tile and its two blocks stay in the
/// second-level cache.
pub(crate) const BLOCK_ROWS: usize = 240;

/// Multiply-adds after which the observer is asked whether it wants a checkpoint: under a second on
/// two threads without wide instructions.
const BAND_WORK: usize = 50_000_000_000;

/// Finds the `k` best positive neighbours of each row.
pub(crate) fn nearest(
    rows: &NormalizedRows,
    k: usize,
    order: &TieOrder<'_>,
    keeper: &Keeper<'_>,
    exec: Exec<'_>,
) -> Result<Neighbors, SolveError> {
    if k > 0 && rows.len() > k && direct::pays(rows) {
        direct::nearest(rows, k, order, exec)
    } else {
        by_tiles(rows, k, order, keeper, exec)
    }
}

/// The same tile by tile, however many rows there are.
pub(super) fn by_tiles(
    rows: &NormalizedRows,
    k: usize,
    order: &TieOrder<'_>,
    keeper: &Keeper<'_>,
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
    let known = keeper.state(rows, k, Schedule::tiles(spans.len()), order);
    let schedule = Schedule::new(spans.len(), known.map(|state| state.done.as_slice()));
    match known {
        Some(state) => search.restore(state)?,
        None => search.diagonal()?,
    }
    search.upper(&schedule, keeper)?;
    let mut found = Neighbors::empty(total, k);
    search.finish(&mut found.blocks_mut(BLOCK_ROWS))?;
    Ok(found)
}

/// Neighbours, found or not, up to which searches leave checkpoints: these are held in memory.
pub(crate) const MOST_KEPT: usize = 1 << 24;

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
                                at_most(self.packed, &wide, (row, own), (column, other))
                                    .min(lists.at_most(row, products.0[lane])),
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

    /// Takes up lists where another run left them.
    fn restore(&self, state: &SearchState) -> Result<(), SolveError> {
        let mut blocks: Vec<(&Span, &BlockState)> = self.spans.iter().zip(&state.blocks).collect();
        self.exec.each(&mut blocks, |block, (span, state)| {
            self.exec.check()?;
            let mut lists = CandidateLists::new(**span, self.exact.rows(), self.k, self.packed);
            for (row, known) in state.rows().enumerate() {
                lists.restore(row, known, self.order);
            }
            *self.lock(block) = Some(lists);
            Ok(())
        })
    }

    /// Tiles above the diagonal. Threads start far apart, so they rarely want the same lists.
    fn upper(&self, schedule: &Schedule, keeper: &Keeper<'_>) -> Result<(), SolveError> {
        let mut tiles = schedule.open();
        let total = schedule.total();
        let done = AtomicUsize::new(total - tiles.len());
        let tile_work = BLOCK_ROWS * BLOCK_ROWS * self.exact.terms();
        for band in tiles.chunks_mut((BAND_WORK / tile_work).max(1)) {
            let outcome =
                self.exec
                    .each_with(band, Buffers::default, |buffers, _, &mut (left, right)| {
                        self.exec.check()?;
                        self.offer_tile(left as usize, right as usize, buffers);
                        schedule.finish(left as usize, right as usize);
                        let finished = done.fetch_add(1, Ordering::Relaxed) + 1;
                        self.exec
                            .progress(Stage::Graph, finished as f32 / total as f32);
                        Ok(())
                    });
            if self.exact.rows().saturating_mul(self.k) <= MOST_KEPT && self.exec.wants_checkpoint()
            {
                let state = (schedule.done(), self.so_far()?);
                keeper.keep(self.exact.matrix(), self.k, self.order, state, self.exec);
            }
            outcome?;
        }
        Ok(())
    }

    /// The best neighbours of every row among the tiles that are done.
    fn so_far(&self) -> Result<Vec<BlockState>, SolveError> {
        let mut blocks = vec![BlockState::default(); self.spans.len()];
        self.exec.each(&mut blocks, |block, state| {
            let Some(lists) = &mut *self.lock(block) else {
                return Ok(());
            };
            let mut places = vec![Candidate::NONE; self.k];
            state.found.reserve_exact(self.spans[block].count * self.k);
            for row in 0..self.spans[block].count {
                let length = self.finish_row(lists, block, row, &mut places);
                state.lengths.push(length as u32);
                state.found.extend_from_slice(&places[..length]);
            }
            Ok(())
        })?;
        Ok(blocks)
    }

    /// Puts the best of a list into `places`; gives their number.
    fn finish_row(
        &self,
        lists: &mut CandidateLists,
        block: usize,
        row: usize,
        places: &mut [Candidate],
    ) -> usize {
        let own = self.spans[block].first + row;
        let mut exact = |other| self.exact.similarity(own, other);
        lists.finish(row, self.order, &mut exact, places)
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
                packed: self.packed,
                order: self.order,
                wide: WideTile::new(&self.exact, level, left_span, right_span, wide),
                rows,
                columns,
                left: left_span,
                right: right_span,
            };
            for row in 0..left_span.count {
                tile.marked(row, |panel, products, marks| {
                    pair.offer_marked(row, panel, products, marks);
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
            for row in 0..self.spans[block].count {
                found.put(row, |places| {
                    self.finish_row(&mut lists, block, row, places)
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
