//! The search where rows are few: every similarity at once, then the best of each row.
//!
//! Similarities come from the same sums in double as in [`super::wide`], with the same test of whether
//! they round as the defining ones do, applied to what may be among the best; what is in doubt is
//! computed one by one.

use super::neighbors::{Neighbors, RowSlots};
use super::rows::NormalizedRows;
use super::similarity::Exact;
use super::ties::{Candidate, TieOrder};
use super::tile::Span;
use super::wide::{self, GROUP};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{LANES, Task, Vector};

/// Multiply-adds up to which this is the faster way.
const MOST_WORK: usize = 1 << 20;

/// Candidates up to which counting those before each is the faster way to sort.
const FEW: usize = 48;

/// Less than any product: a similarity that does not count.
const NEVER: f64 = -2.0;

/// Whether rows are few enough.
pub(super) fn pays(rows: &NormalizedRows) -> bool {
    let pairs = rows.len().saturating_mul(rows.len());
    pairs.saturating_mul(rows.stride()) <= MOST_WORK
}

/// Finds the `k` best positive neighbours of each row; `k` is at least one and below their number.
pub(super) fn nearest(
    rows: &NormalizedRows,
    k: usize,
    order: &TieOrder<'_>,
    exec: Exec<'_>,
) -> Result<Neighbors, SolveError> {
    exec.check()?;
    let total = rows.len();
    let mut neighbors = Neighbors::empty(total, k);
    for mut found in neighbors.blocks_mut(total) {
        exec.level().run(Direct {
            exact: Exact::new(rows, exec.level()),
            k,
            order,
            found: &mut found,
        });
    }
    Ok(neighbors)
}

struct Direct<'a, 'f> {
    exact: Exact<'a>,
    k: usize,
    order: &'a TieOrder<'a>,
    found: &'a mut RowSlots<'f>,
}

impl Task for Direct<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let rows = self.exact.matrix();
        let total = rows.len();
        let panels = total.div_ceil(LANES);
        let (mut transposed, mut widened) = (Vec::new(), Vec::new());
        let reach = wide::reach(self.exact.terms());
        let everything = Span {
            first: 0,
            count: total,
        };
        wide::transpose(rows, everything, &mut transposed);
        let mut products = vec![[0.0_f64; LANES]; GROUP * panels];
        let mut rounded = vec![[0.0_f32; LANES]; GROUP * panels];
        let mut row = Row {
            marks: vec![0; panels],
            keys: Vec::with_capacity(FEW),
        };
        for first in (0..total).step_by(GROUP) {
            let count = GROUP.min(total - first);
            let group = Span { first, count };
            wide::multiply_group::<V>(
                rows,
                group,
                &mut widened,
                &transposed,
                |index, panel, sums| {
                    let place = index * panels + panel;
                    V::store_wide(sums, &mut products[place]);
                    V::narrowed(sums).store(&mut rounded[place]);
                },
            );
            let lines = products
                .chunks_exact_mut(panels)
                .zip(rounded.chunks_exact_mut(panels));
            for (index, (products, rounded)) in lines.take(count).enumerate() {
                let own = first + index;
                leave_out(own, total, products, rounded);
                row.mark::<V>(rounded, self.k, reach);
                let similarity = |product, other| {
                    wide::rounded_if_certain(product, reach)
                        .unwrap_or_else(|| self.exact.similarity(own, other))
                };
                self.found.put(own, |places| {
                    row.pick(products, self.order, similarity, places)
                });
            }
        }
    }
}

/// Takes the row itself and the columns beyond the last out of its products.
#[inline(always)]
fn leave_out(
    own: usize,
    total: usize,
    products: &mut [[f64; LANES]],
    rounded: &mut [[f32; LANES]],
) {
    let rest = (total - 1) % LANES + 1;
    products[own / LANES][own % LANES] = NEVER;
    rounded[own / LANES][own % LANES] = NEVER as f32;
    if let (Some(products), Some(rounded)) = (products.last_mut(), rounded.last_mut()) {
        products[rest..].fill(NEVER);
        rounded[rest..].fill(NEVER as f32);
    }
}

/// A value that at least `k` of `rounded` reach: the k-th largest of the lanes' maxima.
#[inline(always)]
fn surely_reached<V: Vector>(rounded: &[[f32; LANES]], k: usize) -> f32 {
    let mut most = V::splat(NEVER as f32);
    for line in rounded {
        most = most.larger(V::load(line));
    }
    let mut kth = NEVER as f32;
    for own in most.lanes() {
        let reached = most.at_least(V::splat(own)).count_ones() as usize;
        if reached >= k && own > kth {
            kth = own;
        }
    }
    kth
}

/// Scratch for one row.
struct Row {
    /// Which of its products are worth a look.
    marks: Vec<u16>,
    keys: Vec<u64>,
}

impl Row {
    /// Marks what may be among the `k` best.
    ///
    /// The defining sum is within `reach` of the product, and rounding either changes it by less than
    /// a part in 2^23. So `k` rows have a similarity of at least `kth (1 - 2^-23) - reach`, and
    /// products of others with that similarity are not far below.
    #[inline(always)]
    fn mark<V: Vector>(&mut self, rounded: &[[f32; LANES]], k: usize, reach: f64) {
        let kth = surely_reached::<V>(rounded, k);
        let lowest = f64::from(kth) - f64::from(kth.abs()) * 3e-7 - 4.0 * reach;
        let floor = V::splat(lowest as f32);
        for (marks, line) in self.marks.iter_mut().zip(rounded) {
            *marks = V::load(line).at_least(floor);
        }
    }

    /// Puts the best of what is marked into `places`, best first; gives their number.
    #[inline(always)]
    fn pick(
        &mut self,
        products: &[[f64; LANES]],
        order: &TieOrder<'_>,
        similarity: impl Fn(f64, u32) -> f32,
        places: &mut [Candidate],
    ) -> usize {
        self.keys.clear();
        for (panel, (line, marks)) in products.iter().zip(&self.marks).enumerate() {
            let mut marks = *marks;
            while marks != 0 {
                let lane = marks.trailing_zeros() as usize;
                marks &= marks - 1;
                let row = (panel * LANES + lane) as u32;
                if line[lane] > NEVER {
                    let similarity = similarity(line[lane], row);
                    if similarity > 0.0 {
                        self.keys.push(key(similarity, row));
                    }
                }
            }
        }
        let kept = self.keys.len().min(places.len());
        if order.by_index() && self.keys.len() <= FEW {
            for own in &self.keys {
                let before: usize = self.keys.iter().map(|key| usize::from(key > own)).sum();
                if let Some(slot) = places.get_mut(before) {
                    *slot = candidate(*own);
                }
            }
        } else {
            let mut all: Vec<Candidate> = self.keys.iter().map(|key| candidate(*key)).collect();
            all.sort_unstable_by(|a, b| order.compare(a, b));
            places[..kept].copy_from_slice(&all[..kept]);
        }
        kept
    }
}

/// One number that is larger for the better of two candidates when ties are broken by index.
#[inline(always)]
fn key(similarity: f32, row: u32) -> u64 {
    (u64::from(similarity.to_bits()) << 32) | u64::from(!row)
}

/// What a key was made of.
#[inline(always)]
fn candidate(key: u64) -> Candidate {
    Candidate {
        similarity: f32::from_bits((key >> 32) as u32),
        row: !(key as u32),
    }
}
