//! Bounded candidate lists: what survives the fast pass, row by row.
//!
//! A list starts with approximate similarities, each within a margin of the exact one. Whenever it
//! is full it is compacted: a candidate more than two margins below the k-th best approximation is
//! strictly worse than k others whatever the rounding, so it can go. If too many are too close for
//! that (duplicated rows, say), the list turns exact: it then holds the best k so far in the total
//! order, and stays at k. Either way its size never exceeds its capacity.

use super::ties::{Candidate, TieOrder};

/// Free places beyond k, so that compaction is rare.
const SLACK: usize = 56;

/// Candidates of a block of consecutive rows.
pub(crate) struct CandidateLists {
    k: usize,
    capacity: usize,
    margin: f32,
    entries: Vec<Candidate>,
    lengths: Vec<u32>,
    /// A candidate whose approximate similarity is below its row's floor cannot become an edge.
    floors: Vec<f32>,
    exact: Vec<bool>,
}

/// Places per row for the best `k` of `rows`.
pub(crate) fn capacity(k: usize, rows: usize) -> usize {
    k.saturating_add(SLACK.max(k / 2))
        .min(rows.saturating_sub(1))
        .max(1)
}

impl CandidateLists {
    /// Empty lists for `rows` of the `total` rows being searched.
    pub(crate) fn new(rows: usize, total: usize, k: usize, margin: f32) -> Self {
        let capacity = capacity(k, total);
        Self {
            k,
            capacity,
            margin,
            entries: vec![
                Candidate {
                    similarity: 0.0,
                    row: 0
                };
                rows * capacity
            ],
            lengths: vec![0; rows],
            // Similarities of zero or less never make an edge.
            floors: vec![-margin; rows],
            exact: vec![false; rows],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Floors of all rows.
    pub(crate) fn floors(&self) -> &[f32] {
        &self.floors
    }

    /// Candidates of a row; after [`Self::finish`], its neighbours, best first.
    pub(crate) fn row(&self, row: usize) -> &[Candidate] {
        let start = row * self.capacity;
        &self.entries[start..start + self.lengths[row] as usize]
    }

    /// Considers a candidate at or above the row's floor; `exact` gives exact similarities to the
    /// row.
    pub(crate) fn offer(
        &mut self,
        row: usize,
        candidate: Candidate,
        order: &TieOrder<'_>,
        exact: &mut dyn FnMut(u32) -> f32,
    ) {
        if !self.exact[row] {
            if (self.lengths[row] as usize) < self.capacity {
                self.push(row, candidate);
                return;
            }
            self.compact(row);
            // Compaction that frees little would soon be needed again, at every few candidates.
            if self.lengths[row] as usize
                <= self.capacity - self.capacity.div_ceil(4).min(SLACK / 2)
                && candidate.similarity >= self.floors[row]
            {
                self.push(row, candidate);
                return;
            }
            if candidate.similarity < self.floors[row] {
                return;
            }
            self.make_exact(row, order, exact);
        }
        let candidate = Candidate {
            similarity: exact(candidate.row),
            ..candidate
        };
        self.insert_exact(row, candidate, order);
    }

    /// Leaves each row with its best k positive similarities, exact and best first.
    pub(crate) fn finish(
        &mut self,
        row: usize,
        order: &TieOrder<'_>,
        exact: &mut dyn FnMut(u32) -> f32,
    ) {
        if !self.exact[row] {
            self.compact(row);
            self.make_exact(row, order, exact);
        }
    }

    fn push(&mut self, row: usize, candidate: Candidate) {
        let length = self.lengths[row] as usize;
        self.entries[row * self.capacity + length] = candidate;
        self.lengths[row] += 1;
    }

    /// Drops what is certainly not among the best k and raises the floor accordingly.
    fn compact(&mut self, row: usize) {
        let start = row * self.capacity;
        let length = self.lengths[row] as usize;
        if length < self.k || self.k == 0 {
            return;
        }
        let entries = &mut self.entries[start..start + length];
        let (_, kth, _) = entries
            .select_nth_unstable_by(self.k - 1, |a, b| b.similarity.total_cmp(&a.similarity));
        let floor = self.floors[row].max(kth.similarity - 2.0 * self.margin);
        let mut kept = 0;
        for index in 0..length {
            if entries[index].similarity >= floor {
                entries[kept] = entries[index];
                kept += 1;
            }
        }
        self.floors[row] = floor;
        self.lengths[row] = kept as u32;
    }

    /// Replaces approximations by exact similarities and keeps the best k positive ones.
    fn make_exact(&mut self, row: usize, order: &TieOrder<'_>, exact: &mut dyn FnMut(u32) -> f32) {
        let start = row * self.capacity;
        let length = self.lengths[row] as usize;
        let entries = &mut self.entries[start..start + length];
        for entry in entries.iter_mut() {
            entry.similarity = exact(entry.row);
        }
        entries.sort_unstable_by(|a, b| order.compare(a, b));
        let positive = entries.partition_point(|entry| entry.similarity > 0.0);
        self.lengths[row] = positive.min(self.k) as u32;
        self.exact[row] = true;
        self.raise_exact_floor(row);
    }

    fn insert_exact(&mut self, row: usize, candidate: Candidate, order: &TieOrder<'_>) {
        if candidate.similarity <= 0.0 {
            return;
        }
        let start = row * self.capacity;
        let length = self.lengths[row] as usize;
        let kept = &self.entries[start..start + length];
        // Most late candidates lose to the last one: one comparison instead of a search.
        if length == self.k && order.compare(&kept[length - 1], &candidate).is_lt() {
            return;
        }
        let place = kept.partition_point(|entry| order.compare(entry, &candidate).is_lt());
        let end = if length < self.k { length } else { length - 1 };
        self.entries
            .copy_within(start + place..start + end, start + place + 1);
        self.entries[start + place] = candidate;
        self.lengths[row] = (end + 1) as u32;
        self.raise_exact_floor(row);
    }

    fn raise_exact_floor(&mut self, row: usize) {
        let length = self.lengths[row] as usize;
        if length == self.k {
            let worst = self.entries[row * self.capacity + length - 1].similarity;
            self.floors[row] = self.floors[row].max(worst - self.margin);
        }
    }
}
