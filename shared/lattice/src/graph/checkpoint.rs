//! What searches have found so far, as bytes that a later run over the same rows can go on from.
//!
//! A search is nearly all of a large run's time. Between two tiles its state is small: which tiles are
//! done, and the best neighbours each row has among them, with their exact similarities and in the
//! order that decides. A run that goes on from there ends with the same bits as one that did
//! everything itself.
//!
//! # Layout
//! Little-endian: [`MAGIC`], the number of searches, and for each its fingerprint, the number of tiles,
//! one bit per tile, the number of rows, and for each row how many neighbours it has and which; then
//! SHA-256 of all that. The fingerprint covers everything the state depends on, so that another
//! input's is told apart; it is made of 64-bit digests of rows and guards against mistakes, not
//! against forgery.

use sha2::{Digest as _, Sha256};

use super::neighbors::Neighbors;
use super::rows::NormalizedRows;
use super::schedule::Schedule;
use super::search::BLOCK_ROWS;
use super::ties::{Candidate, TieOrder};
use crate::exec::Exec;

/// Format and version.
const MAGIC: &[u8; 8] = b"OSCLKCK1";

/// Bytes of a SHA-256.
const DIGEST_BYTES: usize = 32;

/// A run's state that [`solve_from`](crate::solve_from) can go on from.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    searches: Vec<SearchState>,
}

/// State of one search.
#[derive(Debug, Clone)]
pub(crate) struct SearchState {
    /// What was searched for among which rows, see [`fingerprint`].
    pub(super) fingerprint: [u8; DIGEST_BYTES],
    /// Which tiles above the diagonal are done. If there are any, those on the diagonal are.
    pub(super) done: Vec<bool>,
    /// The best so far of each row, block by block.
    pub(super) blocks: Vec<BlockState>,
}

/// The best neighbours so far of a block of rows, best first, row after row.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockState {
    pub(super) lengths: Vec<u32>,
    pub(super) found: Vec<Candidate>,
}

impl BlockState {
    /// The neighbours of each row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[Candidate]> {
        self.lengths.iter().scan(0, |end, length| {
            let start = *end;
            *end += *length as usize;
            self.found.get(start..*end)
        })
    }
}

impl Checkpoint {
    /// Reads what an observer was given to keep; `None` when it is cut off, altered, or of another
    /// version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        if Sha256::digest(content).as_slice() != digest {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let count = number(&mut rest)?;
        let searches = (0..count).map(|_| SearchState::read(&mut rest));
        let searches = searches.collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(Self { searches })
    }
}

fn to_bytes<'a>(searches: impl ExactSizeIterator<Item = &'a SearchState>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put(&mut bytes, searches.len());
    for state in searches {
        state.write(&mut bytes);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(digest.as_slice());
    bytes
}

/// Sizes are numbers of rows, tiles or neighbours, all of which fit 32 bits.
fn put(bytes: &mut Vec<u8>, size: usize) {
    bytes.extend_from_slice(&(size as u32).to_le_bytes());
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let bytes = rest.split_off(..4)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

impl SearchState {
    fn write(&self, bytes: &mut Vec<u8>) {
        let found: usize = self.blocks.iter().map(|block| block.found.len()).sum();
        let rows: usize = self.blocks.iter().map(|block| block.lengths.len()).sum();
        bytes.reserve(8 * found + 4 * rows + self.done.len() / 8 + 128);
        bytes.extend_from_slice(&self.fingerprint);
        put(bytes, self.done.len());
        bytes.extend(self.done.chunks(8).map(|tiles| {
            let tiles = tiles.iter().enumerate();
            tiles.fold(0, |byte, (bit, done)| byte | u8::from(*done) << bit)
        }));
        put(bytes, rows);
        for row in self.blocks.iter().flat_map(BlockState::rows) {
            put(bytes, row.len());
            for candidate in row {
                bytes.extend_from_slice(&candidate.similarity.to_le_bytes());
                bytes.extend_from_slice(&candidate.row.to_le_bytes());
            }
        }
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let fingerprint = *rest.split_off(..DIGEST_BYTES)?.first_chunk()?;
        let tiles = number(rest)?;
        let bits = rest.split_off(..tiles.div_ceil(8))?;
        let done = (0..tiles).map(|tile| bits[tile / 8] >> (tile % 8) & 1 == 1);
        let mut blocks: Vec<BlockState> = Vec::new();
        for row in 0..number(rest)? {
            if row % BLOCK_ROWS == 0 {
                blocks.push(BlockState::default());
            }
            let length = number(rest)?;
            let own = rest.split_off(..length.checked_mul(8)?)?;
            let block = blocks.last_mut()?;
            block.lengths.push(length as u32);
            block.found.extend(own.as_chunks::<8>().0.iter().map(read));
        }
        Some(Self {
            fingerprint,
            done: done.collect(),
            blocks,
        })
    }

    /// Whether it can be what a search for the best `k` among `rows` has found.
    fn fits(&self, rows: usize, k: usize, tiles: usize, order: &TieOrder<'_>) -> bool {
        let lengths = self.blocks.iter().map(|block| block.lengths.len());
        let wanted = (0..rows).step_by(BLOCK_ROWS);
        let neighbors = self.blocks.iter().flat_map(BlockState::rows);
        self.done.len() == tiles
            && lengths.eq(wanted.map(|first| BLOCK_ROWS.min(rows - first)))
            && neighbors.enumerate().all(|(own, list)| {
                let usable = |candidate: &Candidate| {
                    (candidate.row as usize) < rows
                        && candidate.row as usize != own
                        && candidate.similarity > 0.0
                        && candidate.similarity < 2.0
                };
                list.len() <= k
                    && list.iter().all(usable)
                    && list.is_sorted_by(|a, b| order.compare(a, b).is_lt())
            })
    }
}

fn read(bytes: &[u8; 8]) -> Candidate {
    let [a, b, c, d, e, f, g, h] = *bytes;
    Candidate {
        similarity: f32::from_le_bytes([a, b, c, d]),
        row: u32::from_le_bytes([e, f, g, h]),
    }
}

/// Tells searches apart by their rows, what they ask for, and how they number tiles.
fn fingerprint(rows: &NormalizedRows, k: usize, order: &TieOrder<'_>) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    let sizes = [BLOCK_ROWS, rows.len(), rows.stride(), k];
    let seed = order.seed();
    for size in sizes {
        hash.update((size as u64).to_le_bytes());
    }
    hash.update([u8::from(seed.is_some())]);
    hash.update(seed.unwrap_or_default().to_le_bytes());
    for (original, digest) in rows.original().iter().zip(rows.digests()) {
        hash.update(original.to_le_bytes());
        hash.update(digest.to_le_bytes());
    }
    hash.finalize().into()
}

/// Where a run's searches go on from, and where their state goes.
pub(crate) struct Keeper<'a> {
    resumed: Option<&'a Checkpoint>,
    /// Searches of this run that are done.
    earlier: Vec<SearchState>,
}

impl<'a> Keeper<'a> {
    /// Searches go on from `resumed` where it holds their state.
    pub(crate) fn new(resumed: Option<&'a Checkpoint>) -> Self {
        Self {
            resumed,
            earlier: Vec::new(),
        }
    }

    /// The state that a search of `tiles` tiles can go on from.
    pub(super) fn state(
        &self,
        rows: &NormalizedRows,
        k: usize,
        tiles: usize,
        order: &TieOrder<'_>,
    ) -> Option<&'a SearchState> {
        let checkpoint = self.resumed?;
        let own = fingerprint(rows, k, order);
        let mut searches = checkpoint.searches.iter();
        searches.find(|state| state.fingerprint == own && state.fits(rows.len(), k, tiles, order))
    }

    /// Remembers a search that is done, if others follow.
    pub(super) fn finished(
        &mut self,
        rows: &NormalizedRows,
        k: usize,
        order: &TieOrder<'_>,
        neighbors: &Neighbors,
    ) {
        let all: Vec<usize> = (0..rows.len()).collect();
        let blocks = all.chunks(BLOCK_ROWS).map(|block| {
            let lists = block.iter().map(|row| neighbors.row(*row));
            BlockState {
                lengths: lists.clone().map(|list| list.len() as u32).collect(),
                found: lists.flatten().copied().collect(),
            }
        });
        let blocks: Vec<BlockState> = blocks.collect();
        self.earlier.push(SearchState {
            fingerprint: fingerprint(rows, k, order),
            done: vec![true; Schedule::tiles(blocks.len())],
            blocks,
        });
    }

    /// Gives a search's state to the observer, with the searches done before.
    pub(super) fn keep(
        &self,
        rows: &NormalizedRows,
        k: usize,
        order: &TieOrder<'_>,
        (done, blocks): (Vec<bool>, Vec<BlockState>),
        exec: Exec<'_>,
    ) {
        let state = SearchState {
            fingerprint: fingerprint(rows, k, order),
            done,
            blocks,
        };
        let searches: Vec<&SearchState> = self.earlier.iter().chain([&state]).collect();
        exec.keep_checkpoint(to_bytes(searches.into_iter()));
    }
}
