//! Exact k-nearest-neighbour search over all pairs, without ever holding them.
//!
//! Rows are cut into blocks; a tile is the product of two blocks. Every tile of the upper triangle
//! feeds the candidate lists of its rows and of its columns. Tiles on the diagonal go first: they
//! give every row a floor that few of the later products reach. Which thread takes which tile
//! changes the order of offers, never the outcome: lists keep a superset of the best k, and the
//! best k are picked from exact values in a total order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::candidates::CandidateLists;
use super::rows::NormalizedRows;
use super::similarity;
use super::ties::{Candidate, TieOrder};
use super::tile::{ExactSource, Span, Tile};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::observer::Stage;

/// Rows per block: a float32 tile of 256 x 256 stays in the second-level cache.
pub(crate) const BLOCK_ROWS: usize = 256;

/// Products compared with the floors at once.
const SCAN: usize = 16;

/// The k best neighbours of every row, best first.
pub(crate) struct Neighbors {
    blocks: Vec<CandidateLists>,
}

impl Neighbors {
    pub(crate) fn row(&self, row: usize) -> &[Candidate] {
        self.blocks[row / BLOCK_ROWS].row(row % BLOCK_ROWS)
    }
}

/// Finds the `k` best positive neighbours of each row.
pub(crate) fn nearest(
    rows: &NormalizedRows,
    k: usize,
    order: &TieOrder<'_>,
    exec: Exec<'_>,
) -> Result<Neighbors, SolveError> {
    let total = rows.len();
    let k = k.min(total.saturating_sub(1));
    let margin = similarity::margin(rows.stride());
    let spans: Vec<Span> = (0..total)
        .step_by(BLOCK_ROWS)
        .map(|first| Span {
            first,
            count: BLOCK_ROWS.min(total - first),
        })
        .collect();
    let lists: Vec<Mutex<CandidateLists>> = spans
        .iter()
        .map(|span| Mutex::new(CandidateLists::new(span.count, total, k, margin)))
        .collect();
    let search = Search {
        rows,
        order,
        spans: &spans,
        lists: &lists,
        exec,
    };
    if k > 0 {
        search.diagonal()?;
        search.upper()?;
        search.finish()?;
    }
    let blocks = lists
        .into_iter()
        .map(|block| block.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect();
    Ok(Neighbors { blocks })
}

struct Search<'a> {
    rows: &'a NormalizedRows,
    order: &'a TieOrder<'a>,
    spans: &'a [Span],
    lists: &'a [Mutex<CandidateLists>],
    exec: Exec<'a>,
}

impl Search<'_> {
    fn diagonal(&self) -> Result<(), SolveError> {
        let mut blocks: Vec<usize> = (0..self.spans.len()).collect();
        self.exec
            .each_with(&mut blocks, Tile::default, |tile, _, &mut block| {
                self.exec.check()?;
                let span = self.spans[block];
                tile.multiply(self.rows, span, span);
                let (products, mut source) = tile.split(self.rows, span, span);
                self.scan_diagonal(&mut self.lock(block), span, products, &mut source);
                Ok(())
            })
    }

    /// Tiles above the diagonal, nearest first, so that threads rarely want the same lists.
    fn upper(&self) -> Result<(), SolveError> {
        let count = self.spans.len();
        let mut tiles: Vec<(usize, usize)> = (1..count)
            .flat_map(|gap| (gap..count).map(move |right| (right - gap, right)))
            .collect();
        let total = tiles.len();
        let done = AtomicUsize::new(0);
        self.exec
            .each_with(&mut tiles, Tile::default, |tile, _, &mut (left, right)| {
                self.exec.check()?;
                let (left_span, right_span) = (self.spans[left], self.spans[right]);
                tile.multiply(self.rows, left_span, right_span);
                let (products, mut source) = tile.split(self.rows, left_span, right_span);
                // Always in ascending block order, so two threads never wait for each other.
                let mut left_lists = self.lock(left);
                let mut right_lists = self.lock(right);
                self.scan(
                    (&mut left_lists, left_span),
                    (&mut right_lists, right_span),
                    products,
                    &mut source,
                );
                let finished = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.exec
                    .progress(Stage::Graph, finished as f32 / total as f32);
                Ok(())
            })
    }

    fn finish(&self) -> Result<(), SolveError> {
        let mut blocks: Vec<usize> = (0..self.spans.len()).collect();
        self.exec.each(&mut blocks, |_, &mut block| {
            self.exec.check()?;
            let first = self.spans[block].first;
            let mut lists = self.lock(block);
            for row in 0..lists.len() {
                let own = self.rows.row(first + row);
                lists.finish(row, self.order, &mut |other| {
                    similarity::exact(own, self.rows.row(other as usize))
                });
            }
            Ok(())
        })
    }

    fn scan_diagonal(
        &self,
        lists: &mut CandidateLists,
        span: Span,
        products: &[f32],
        source: &mut ExactSource<'_>,
    ) {
        for (i, line) in products.chunks_exact(span.count).enumerate() {
            for (j, &product) in line.iter().enumerate() {
                if product >= lists.floors()[i] && i != j {
                    let candidate = candidate(product, span.first + j);
                    lists.offer(i, candidate, self.order, &mut |other| {
                        source.similarity(span.first + i, other as usize)
                    });
                }
            }
        }
    }

    fn scan(
        &self,
        (left, left_span): (&mut CandidateLists, Span),
        (right, right_span): (&mut CandidateLists, Span),
        products: &[f32],
        source: &mut ExactSource<'_>,
    ) {
        for (i, line) in products.chunks_exact(right_span.count).enumerate() {
            let row = left_span.first + i;
            for start in (0..line.len()).step_by(SCAN) {
                let end = (start + SCAN).min(line.len());
                if !reaches(
                    &line[start..end],
                    left.floors()[i],
                    &right.floors()[start..end],
                ) {
                    continue;
                }
                for (j, &product) in line.iter().enumerate().take(end).skip(start) {
                    let column = right_span.first + j;
                    if product >= left.floors()[i] {
                        left.offer(i, candidate(product, column), self.order, &mut |other| {
                            source.similarity(row, other as usize)
                        });
                    }
                    if product >= right.floors()[j] {
                        right.offer(j, candidate(product, row), self.order, &mut |other| {
                            source.similarity(column, other as usize)
                        });
                    }
                }
            }
        }
    }

    fn lock(&self, block: usize) -> MutexGuard<'_, CandidateLists> {
        self.lists[block]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether any product reaches the floor of its row or of its column.
fn reaches(products: &[f32], row_floor: f32, column_floors: &[f32]) -> bool {
    if let (Ok(products), Ok(floors)) = (
        <&[f32; SCAN]>::try_from(products),
        <&[f32; SCAN]>::try_from(column_floors),
    ) {
        let mut any = false;
        for lane in 0..SCAN {
            any |= products[lane] >= row_floor.min(floors[lane]);
        }
        return any;
    }
    products
        .iter()
        .zip(column_floors)
        .any(|(product, floor)| *product >= row_floor.min(*floor))
}

fn candidate(similarity: f32, row: usize) -> Candidate {
    Candidate {
        similarity,
        row: row as u32,
    }
}
