//! Rows normalised in float32, without the ones that cannot have edges.

use super::similarity::LANES;
use super::ties::TieOrder;
use crate::arena::Buffer;
use crate::error::SolveError;
use crate::exec::Exec;
use crate::kernels;
use crate::problem::Problem;
use crate::simd::{Task, Vector};

const PIECE_ROWS: usize = 256;

/// Normalised rows, each padded with zeros to `stride` values.
pub(crate) struct NormalizedRows {
    data: Buffer<f32>,
    stride: usize,
    /// Original index of each row, ascending.
    original: Vec<u32>,
    /// Equal for rows that are equal.
    digests: Vec<u64>,
}

impl NormalizedRows {
    /// Normalises every row of `problem` and leaves out the all-zero ones.
    pub(crate) fn new(problem: &Problem<'_>, exec: Exec<'_>) -> Result<Self, SolveError> {
        let columns = problem.columns();
        let anchors = problem.anchors();
        let original: Vec<u32> = anchors
            .chunks_exact(columns)
            .zip(0_u32..)
            .filter(|(row, _)| row.iter().any(|value| *value != 0.0))
            .map(|(_, index)| index)
            .collect();
        let stride = columns.next_multiple_of(LANES);
        let mut data = Buffer::zeroed(original.len() * stride);
        let mut digests = vec![0; original.len()];
        let mut pieces: Vec<(&mut [f32], &mut [u64], &[u32])> = data
            .chunks_mut(PIECE_ROWS * stride)
            .zip(digests.chunks_mut(PIECE_ROWS))
            .zip(original.chunks(PIECE_ROWS))
            .map(|((rows, digests), original)| (rows, digests, original))
            .collect();
        exec.each(&mut pieces, |_, (rows, digests, original)| {
            exec.check()?;
            exec.level().run(Normalize {
                anchors,
                columns,
                original,
                targets: rows,
                stride,
                digests,
            });
            Ok(())
        })?;
        Ok(Self {
            data,
            stride,
            original,
            digests,
        })
    }

    /// The rows without those that have too many equals to have an edge; `None` if that is none.
    ///
    /// Of a group of equal rows only the first k + 1, by the order of ties, are ever among the k best
    /// of any row: all of the group are as similar to it, and at least k of those first ones are not
    /// the row itself. Edges are mutual, so the others have none; and without them no row's best k
    /// changes.
    pub(crate) fn without_surplus(&self, k: usize, order: &TieOrder<'_>) -> Option<Self> {
        let mut digests = self.digests.clone();
        digests.sort_unstable();
        let crowded = |from: usize| digests.get(from + k + 1) == Some(&digests[from]);
        if !(0..digests.len()).any(crowded) {
            return None;
        }
        let mut by_digest: Vec<(u64, u64, u32)> = self
            .digests
            .iter()
            .zip(0_u32..)
            .map(|(digest, row)| (*digest, 0, row))
            .collect();
        by_digest.sort_unstable();
        let mut surplus = vec![false; self.len()];
        let mut dropped = 0;
        for group in by_digest.chunk_by_mut(|a, b| a.0 == b.0) {
            if group.len() <= k + 1 {
                continue;
            }
            for (_, key, row) in group.iter_mut() {
                *key = order.key(*row);
            }
            group.sort_unstable_by_key(|member| member.1);
            let first = self.row(group[0].2 as usize);
            // Rows that share a digest by chance are kept.
            let equals = group
                .iter()
                .filter(|member| same_bits(self.row(member.2 as usize), first));
            for member in equals.skip(k + 1) {
                surplus[member.2 as usize] = true;
                dropped += 1;
            }
        }
        (dropped > 0).then(|| self.select(&surplus, dropped))
    }

    fn select(&self, left_out: &[bool], dropped: usize) -> Self {
        let count = self.len() - dropped;
        let kept = || (0..self.len()).filter(|row| !left_out[*row]);
        let mut data = Buffer::zeroed(count * self.stride);
        for (target, row) in data.chunks_exact_mut(self.stride).zip(kept()) {
            target.copy_from_slice(self.row(row));
        }
        Self {
            data,
            stride: self.stride,
            original: kept().map(|row| self.original[row]).collect(),
            digests: kept().map(|row| self.digests[row]).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.original.len()
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.stride..(index + 1) * self.stride]
    }

    /// A number for each row, equal for rows that are equal.
    pub(crate) fn digests(&self) -> &[u64] {
        &self.digests
    }

    pub(crate) fn original(&self) -> &[u32] {
        &self.original
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// `y / (|y| + 1e-12)` of some rows, the norm accumulated in double and everything else in float32, and
/// digests of the results.
struct Normalize<'a> {
    anchors: &'a [f32],
    columns: usize,
    original: &'a [u32],
    targets: &'a mut [f32],
    stride: usize,
    digests: &'a mut [u64],
}

impl Task for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let targets = self.targets.chunks_exact_mut(self.stride);
        let slots = targets.zip(self.digests);
        for ((target, slot), &index) in slots.zip(self.original) {
            let start = index as usize * self.columns;
            let row = &self.anchors[start..start + self.columns];
            let length = kernels::norm::<V>(row) as f32 + 1e-12;
            for (value, own) in target.iter_mut().zip(row) {
                *value = own / length;
            }
            *slot = digest(target);
        }
    }
}

/// Sixteen running digests of 32 bits, mixed at the end.
#[inline(always)]
fn digest(row: &[f32]) -> u64 {
    let mut lanes = [0_u32; LANES];
    for chunk in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            lanes[lane] =
                (lanes[lane].rotate_left(5) ^ chunk[lane].to_bits()).wrapping_mul(0x9e37_79b1);
        }
    }
    lanes.iter().fold(0, |mixed: u64, lane| {
        (mixed.rotate_left(23) ^ u64::from(*lane)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}
