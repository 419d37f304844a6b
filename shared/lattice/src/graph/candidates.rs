//! Bounded candidate lists: what survives the fast pass, row by row.
//!
//! A list starts with products of packed rows, each within the row's margin of the exact similarity.
//! The k best products so far give a floor: a product too far below the k-th best belongs to a
//! similarity strictly smaller than k others, so it can go. If a list is full of
//! products above the floor (rows nearly alike), it turns exact: it then holds the best k so far in
//! the total order, and stays at k. Either way its size never exceeds its capacity.

use super::bar::Bar;
use super::frame::Units;
use super::packed::{Margin, PackedRows};
use super::ties::{Candidate, TieOrder};
use super::tile::Span;
use crate::simd::{LANES, Lanes};

/// Free places beyond k, so that lists are rarely full.
const SLACK: usize = 40;

/// A similarity below this one, in double, is below one whatever rounding has done to it.
const BELOW_ONE: f64 = 1.0 - 1e-9;

/// A possible neighbour of a row and its product with it or, in an exact list, the bits of its
/// similarity: those of positive floats order like the floats.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    score: i32,
    row: u32,
}

/// Candidates of a block of consecutive rows.
pub(crate) struct CandidateLists {
    k: usize,
    capacity: usize,
    entries: Vec<Entry>,
    lengths: Vec<u32>,
    /// The k best products of each row, best first, as long as its list is not exact.
    best: Vec<i32>,
    /// A candidate whose product is below its row's floor cannot become an edge.
    floors: Vec<Lanes>,
    margins: Vec<Margin>,
    units: Units,
    exact: Vec<bool>,
    /// What else a candidate must reach once a row's list is exact.
    bars: Vec<Bar>,
    /// Whether any list had to turn exact.
    flooded: bool,
}

/// Places per row for the best `k` of `rows`.
pub(crate) fn capacity(k: usize, rows: usize) -> usize {
    k.saturating_add(SLACK.max(k / 2))
        .min(rows.saturating_sub(1))
        .max(1)
}

impl CandidateLists {
    /// Empty lists for the rows of `span`, which are among `total`.
    pub(crate) fn new(span: Span, total: usize, k: usize, packed: &PackedRows) -> Self {
        let capacity = capacity(k, total);
        let margins: Vec<Margin> = (span.first..span.first + span.count)
            .map(|row| packed.margin(row))
            .collect();
        // Places beyond the last row are never reached.
        let mut floors = vec![Lanes::splat(i32::MAX); span.count.div_ceil(LANES)];
        for (row, margin) in margins.iter().enumerate() {
            floors[row / LANES].0[row % LANES] = margin.positive;
        }
        Self {
            k,
            capacity,
            entries: vec![Entry::default(); span.count * capacity],
            lengths: vec![0; span.count],
            best: vec![i32::MIN; span.count * k],
            floors,
            margins,
            units: packed.units(),
            exact: vec![false; span.count],
            bars: vec![Bar::NONE; span.count],
            flooded: false,
        }
    }

    /// Floors of all rows, sixteen at a time.
    pub(crate) fn floors(&self) -> &[Lanes] {
        &self.floors
    }

    pub(crate) fn floor(&self, row: usize) -> i32 {
        self.floors[row / LANES].0[row % LANES]
    }

    /// Whether any list had to turn exact for want of room, so that bars are worth asking.
    pub(crate) fn flooded(&self) -> bool {
        self.flooded
    }

    /// What the similarity of a pair with this product cannot exceed before it is rounded.
    #[inline(always)]
    pub(crate) fn at_most(&self, row: usize, product: i32) -> f64 {
        let most = f64::from(product) + f64::from(self.margins[row].strays);
        self.units.similarity(most)
    }

    pub(crate) fn bar(&self, row: usize) -> &Bar {
        &self.bars[row]
    }

    /// Tells that at least k candidates, not offered yet, have products of `product` or more.
    pub(crate) fn expect(&mut self, row: usize, product: i32) {
        self.raise_to(row, product);
    }

    /// Considers a candidate whose product is at or above the row's floor; `exact` gives the exact
    /// similarity of the row to another.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        row: usize,
        (product, other): (i32, u32),
        order: &TieOrder<'_>,
        exact: &mut impl FnMut(u32) -> f32,
    ) {
        if !self.exact[row] {
            if (self.lengths[row] as usize) < self.capacity || self.make_room(row) {
                self.push(row, product, other);
                return;
            }
            if product < self.floor(row) {
                return;
            }
            self.make_exact(row, order, exact);
            self.flooded = true;
        }
        let similarity = exact(other);
        self.insert_exact(row, (similarity, other), order);
    }

    fn push(&mut self, row: usize, product: i32, other: u32) {
        let length = self.lengths[row] as usize;
        self.entries[row * self.capacity + length] = Entry {
            score: product,
            row: other,
        };
        self.lengths[row] += 1;
        let best = &mut self.best[row * self.k..(row + 1) * self.k];
        let last = best.len() - 1;
        if product > best[last] {
            let place = best[..last].partition_point(|known| *known >= product);
            best.copy_within(place..last, place + 1);
            best[place] = product;
            let kth = best[last];
            if kth > i32::MIN {
                self.raise_to(row, kth);
            }
        }
    }

    /// Raises the floor to what k products of at least `kth` imply.
    fn raise_to(&mut self, row: usize, kth: i32) {
        let margin = self.margins[row];
        let most = self.at_most(row, kth);
        let apart = if most < BELOW_ONE {
            margin.apart
        } else {
            margin.far_apart
        };
        let floor = &mut self.floors[row / LANES].0[row % LANES];
        *floor = (*floor).max(kth.saturating_sub(apart));
    }

    /// Drops what has fallen below the floor. Freeing little does not count as room: it would soon be
    /// needed again, at every few candidates.
    #[cold]
    fn make_room(&mut self, row: usize) -> bool {
        let kept = self.compact(row);
        kept <= self.capacity - self.capacity.div_ceil(4).min(SLACK / 2)
    }

    fn compact(&mut self, row: usize) -> usize {
        let floor = self.floor(row);
        let start = row * self.capacity;
        let entries = &mut self.entries[start..start + self.lengths[row] as usize];
        let mut kept = 0;
        for index in 0..entries.len() {
            let entry = entries[index];
            entries[kept] = entry;
            kept += usize::from(entry.score >= floor);
        }
        self.lengths[row] = kept as u32;
        kept
    }

    /// Replaces products by exact similarities and keeps the best k positive ones.
    fn make_exact(&mut self, row: usize, order: &TieOrder<'_>, exact: &mut impl FnMut(u32) -> f32) {
        let start = row * self.capacity;
        let entries = &mut self.entries[start..start + self.lengths[row] as usize];
        let mut positive = 0;
        for index in 0..entries.len() {
            let other = entries[index].row;
            let similarity = exact(other);
            if similarity > 0.0 {
                entries[positive] = Entry::exact(similarity, other);
                positive += 1;
            }
        }
        entries[..positive].sort_unstable_by(|a, b| order.compare(&a.candidate(), &b.candidate()));
        self.lengths[row] = positive.min(self.k) as u32;
        self.exact[row] = true;
        self.raise_exact(row, order);
    }

    /// Takes up an empty list where it has been finished before: `known` is what it then gave.
    pub(crate) fn restore(&mut self, row: usize, known: &[Candidate], order: &TieOrder<'_>) {
        let start = row * self.capacity;
        for (entry, candidate) in self.entries[start..].iter_mut().zip(known) {
            *entry = Entry::exact(candidate.similarity, candidate.row);
        }
        self.lengths[row] = known.len() as u32;
        self.exact[row] = true;
        self.raise_exact(row, order);
    }

    fn insert_exact(&mut self, row: usize, (similarity, other): (f32, u32), order: &TieOrder<'_>) {
        if similarity <= 0.0 {
            return;
        }
        let candidate = Candidate {
            similarity,
            row: other,
        };
        let start = row * self.capacity;
        let length = self.lengths[row] as usize;
        let kept = &self.entries[start..start + length];
        let place =
            kept.partition_point(|entry| order.compare(&entry.candidate(), &candidate).is_lt());
        if place == self.k {
            return;
        }
        let end = length.min(self.k - 1);
        self.entries
            .copy_within(start + place..start + end, start + place + 1);
        self.entries[start + place] = Entry::exact(similarity, other);
        self.lengths[row] = (end + 1) as u32;
        self.raise_exact(row, order);
    }

    fn raise_exact(&mut self, row: usize, order: &TieOrder<'_>) {
        let length = self.lengths[row] as usize;
        if length < self.k {
            return;
        }
        let worst = self.entries[row * self.capacity + length - 1].candidate();
        let bar = Bar::above(&worst, order);
        let product = self.units.product(bar.lowest());
        let strays = self.margins[row].strays;
        let floor = &mut self.floors[row / LANES].0[row % LANES];
        *floor = (*floor).max(product.saturating_sub(strays));
        self.bars[row] = bar;
    }

    /// Puts the best k positive similarities of a row into `places`, exact and best first; gives their
    /// number.
    pub(crate) fn finish(
        &mut self,
        row: usize,
        order: &TieOrder<'_>,
        exact: &mut impl FnMut(u32) -> f32,
        places: &mut [Candidate],
    ) -> usize {
        if !self.exact[row] {
            self.compact(row);
            self.make_exact(row, order, exact);
        }
        let start = row * self.capacity;
        let entries = &self.entries[start..start + self.lengths[row] as usize];
        for (place, entry) in places.iter_mut().zip(entries) {
            *place = entry.candidate();
        }
        entries.len()
    }
}

impl Entry {
    fn exact(similarity: f32, row: u32) -> Self {
        Self {
            score: similarity.to_bits() as i32,
            row,
        }
    }

    /// The entry of an exact list as what it stands for.
    fn candidate(&self) -> Candidate {
        Candidate {
            similarity: f32::from_bits(self.score as u32),
            row: self.row,
        }
    }
}
