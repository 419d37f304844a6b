//! What a search finds.

use super::ties::Candidate;

/// The best neighbours of every row, best first.
pub(crate) struct Neighbors {
    block_rows: usize,
    blocks: Vec<BlockNeighbors>,
}

/// Neighbours of a block of consecutive rows, one list after the other.
#[derive(Default)]
pub(crate) struct BlockNeighbors {
    ends: Vec<u32>,
    found: Vec<Candidate>,
}

impl Neighbors {
    /// Joins blocks of `block_rows` rows, the last of which may be shorter.
    pub(crate) fn new(block_rows: usize, blocks: Vec<BlockNeighbors>) -> Self {
        Self { block_rows, blocks }
    }

    pub(crate) fn row(&self, row: usize) -> &[Candidate] {
        self.blocks[row / self.block_rows].row(row % self.block_rows)
    }
}

impl BlockNeighbors {
    /// Room for `rows` lists of up to `k`.
    pub(crate) fn with_capacity(rows: usize, k: usize) -> Self {
        Self {
            ends: Vec::with_capacity(rows),
            found: Vec::with_capacity(rows.saturating_mul(k)),
        }
    }

    /// Adds the next row's list: `list` appends it to what it is given.
    pub(crate) fn push(&mut self, list: impl FnOnce(&mut Vec<Candidate>)) {
        list(&mut self.found);
        self.ends.push(self.found.len() as u32);
    }

    fn row(&self, row: usize) -> &[Candidate] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.found[start as usize..self.ends[row] as usize]
    }
}
