//! What a search finds.

use super::ties::Candidate;

/// The best neighbours of every row, best first.
pub(crate) struct Neighbors {
    /// Places per row.
    k: usize,
    lengths: Vec<u32>,
    found: Vec<Candidate>,
}

/// Room for the neighbours of some consecutive rows.
pub(crate) struct RowSlots<'a> {
    k: usize,
    lengths: &'a mut [u32],
    found: &'a mut [Candidate],
}

impl Neighbors {
    /// No neighbours yet, and room for up to `k` of each row.
    pub(crate) fn empty(rows: usize, k: usize) -> Self {
        Self {
            k,
            lengths: vec![0; rows],
            found: vec![Candidate::NONE; rows.saturating_mul(k)],
        }
    }

    /// Room for the neighbours of each `rows` rows; the last run of them may be shorter.
    pub(crate) fn blocks_mut(&mut self, rows: usize) -> Vec<RowSlots<'_>> {
        let k = self.k.max(1);
        self.lengths
            .chunks_mut(rows)
            .zip(self.found.chunks_mut(rows * k))
            .map(|(lengths, found)| RowSlots { k, lengths, found })
            .collect()
    }

    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[Candidate] {
        let start = row * self.k;
        &self.found[start..start + self.lengths[row] as usize]
    }
}

impl RowSlots<'_> {
    /// Fills a row: `list` puts its neighbours into the places it is given and tells their number.
    #[inline(always)]
    pub(crate) fn put(&mut self, row: usize, list: impl FnOnce(&mut [Candidate]) -> usize) {
        let places = &mut self.found[row * self.k..(row + 1) * self.k];
        self.lengths[row] = list(places) as u32;
    }
}
