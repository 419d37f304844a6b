//! The total order of neighbours: similarity first, then a key that is unique per row.

use std::cmp::Ordering;

/// A possible neighbour and its similarity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) similarity: f32,
    pub(crate) row: u32,
}

impl Candidate {
    /// What fills places without a neighbour.
    pub(crate) const NONE: Self = Self {
        similarity: 0.0,
        row: u32::MAX,
    };
}

/// Orders equally similar rows: by index, or by a seeded shuffle of the indices.
pub(crate) struct TieOrder<'a> {
    seed: Option<i64>,
    original: &'a [u32],
}

impl<'a> TieOrder<'a> {
    /// `original` maps the rows being searched to the rows callers know.
    pub(crate) fn new(seed: Option<i64>, original: &'a [u32]) -> Self {
        Self { seed, original }
    }

    /// What shuffles the indices.
    pub(crate) fn seed(&self) -> Option<i64> {
        self.seed
    }

    /// Key that breaks ties, unique per row: the shuffled index, then the index itself.
    pub(crate) fn key(&self, row: u32) -> u64 {
        match self.seed {
            None => u64::from(row),
            Some(seed) => {
                let index = self.original[row as usize];
                (mix(seed as u64, index) & 0xffff_ffff_0000_0000) | u64::from(row)
            }
        }
    }

    /// Whether ties are broken by ascending index.
    pub(crate) fn by_index(&self) -> bool {
        self.seed.is_none()
    }

    /// Best first.
    pub(crate) fn compare(&self, a: &Candidate, b: &Candidate) -> Ordering {
        b.similarity
            .total_cmp(&a.similarity)
            .then_with(|| self.key(a.row).cmp(&self.key(b.row)))
    }
}

/// Scatters an index by a seed (the finaliser of the SplitMix64 generator).
fn mix(seed: u64, index: u32) -> u64 {
    let mut z = seed.wrapping_add(
        u64::from(index)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15),
    );
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
