//! Which tiles above the diagonal there are, and which are done.

use std::sync::atomic::{AtomicBool, Ordering};

/// The tiles of a search, numbered row after row.
pub(super) struct Schedule {
    blocks: usize,
    done: Vec<AtomicBool>,
}

impl Schedule {
    /// Tiles above the diagonal of `blocks` blocks.
    pub(super) fn tiles(blocks: usize) -> usize {
        blocks * blocks.saturating_sub(1) / 2
    }

    /// All tiles of `blocks` blocks; `done` tells which are, or none.
    pub(super) fn new(blocks: usize, done: Option<&[bool]>) -> Self {
        let done = match done {
            Some(done) => done.iter().copied().map(AtomicBool::new).collect(),
            None => (0..Self::tiles(blocks))
                .map(|_| AtomicBool::default())
                .collect(),
        };
        Self { blocks, done }
    }

    /// Number of tiles, done or not.
    pub(super) fn total(&self) -> usize {
        self.done.len()
    }

    /// What is left to do, lowest rows first: where many are equally similar these win, and what comes
    /// later can be told to lose at a glance.
    pub(super) fn open(&self) -> Vec<(u32, u32)> {
        let blocks = self.blocks as u32;
        let all = (0..blocks).flat_map(|left| (left + 1..blocks).map(move |right| (left, right)));
        all.zip(&self.done)
            .filter(|(_, done)| !done.load(Ordering::Acquire))
            .map(|(tile, _)| tile)
            .collect()
    }

    /// Notes that the tile of two blocks is done.
    pub(super) fn finish(&self, left: usize, right: usize) {
        // Tiles of the rows above, then those of this row.
        let above = left * (2 * self.blocks - left - 1) / 2;
        self.done[above + right - left - 1].store(true, Ordering::Release);
    }

    /// Which tiles are done.
    pub(super) fn done(&self) -> Vec<bool> {
        let done = self.done.iter();
        done.map(|done| done.load(Ordering::Acquire)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn every_tile_has_its_own_number() {
        for blocks in [0, 1, 2, 3, 7] {
            let schedule = Schedule::new(blocks, None);
            let open = schedule.open();
            assert_eq!(open.len(), schedule.total());
            for (index, (left, right)) in open.iter().enumerate() {
                schedule.finish(*left as usize, *right as usize);
                assert_eq!(schedule.open(), open[index + 1..]);
            }
            assert!(
                Schedule::new(blocks, Some(&schedule.done()))
                    .open()
                    .is_empty()
            );
        }
    }
}
