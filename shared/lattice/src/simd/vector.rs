//! Sixteen float32 values: what the wide loops over rows and panels are written in.

use super::LANES;

/// Sixteen float32 values of some level. Operations are those of IEEE 754, lane by lane and one at a
/// time, so every implementation gives the same bits.
///
/// Implementations for particular levels are private to this module: only [`super::Level::run`] hands
/// them out, and only where their instructions exist.
pub(crate) trait Vector: Copy {
    /// The same value in every lane.
    fn splat(value: f32) -> Self;

    /// The values of an array.
    fn load(values: &[f32; LANES]) -> Self;

    /// Writes the values to an array.
    fn store(self, values: &mut [f32; LANES]);

    /// `self + other`.
    fn plus(self, other: Self) -> Self;

    /// `self - other`.
    fn minus(self, other: Self) -> Self;

    /// `self * other`.
    fn times(self, other: Self) -> Self;

    /// The larger of each two values; `other` where neither is.
    fn larger(self, other: Self) -> Self;

    /// Which values are at least as large as the other's, the first in the lowest bit.
    fn at_least(self, other: Self) -> u16;

    /// Sixteen running sums in double.
    type Wide: Copy;

    /// Sums of nothing.
    fn wide_zero() -> Self::Wide;

    /// Adds `own * self`, widened, to running sums. Products of float32 values are exact in double,
    /// so it does not matter whether the addition is fused.
    fn add_wide(self, own: f64, sums: Self::Wide) -> Self::Wide;

    /// Adds `self * self`, widened, to running sums; exact products as in [`Vector::add_wide`].
    fn add_square_wide(self, sums: Self::Wide) -> Self::Wide;

    /// The sum of running sums, by [`halved`].
    #[inline(always)]
    fn total_wide(sums: Self::Wide) -> f64 {
        let mut values = [0.0; LANES];
        Self::store_wide(sums, &mut values);
        halved(values)
    }

    /// Running sums rounded to float32.
    #[inline(always)]
    fn narrowed(sums: Self::Wide) -> Self {
        let mut wide = [0.0; LANES];
        Self::store_wide(sums, &mut wide);
        Self::load(&wide.map(|value| value as f32))
    }

    /// Writes running sums to an array.
    fn store_wide(sums: Self::Wide, values: &mut [f64; LANES]);

    /// The sum of the values in double, by [`halved`].
    #[inline(always)]
    fn total(self) -> f64 {
        halved(self.lanes().map(f64::from))
    }

    /// The values as an array.
    #[inline(always)]
    fn lanes(self) -> [f32; LANES] {
        let mut values = [0.0; LANES];
        self.store(&mut values);
        values
    }
}

/// The sum of sixteen values in the one order that all levels share: the upper half is added to the
/// lower until one value is left.
#[inline(always)]
pub(crate) fn halved(mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sixteen values as an array.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Vector for Plain {
    type Wide = [f64; LANES];

    #[inline(always)]
    fn larger(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = if *own > other { *own } else { other };
        }
        self
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        let mut mask = 0;
        for (lane, (own, other)) in self.0.iter().zip(other.0).enumerate() {
            mask |= u16::from(*own >= other) << lane;
        }
        mask
    }

    #[inline(always)]
    fn wide_zero() -> [f64; LANES] {
        [0.0; LANES]
    }

    #[inline(always)]
    fn add_wide(self, own: f64, mut sums: [f64; LANES]) -> [f64; LANES] {
        for (sum, value) in sums.iter_mut().zip(self.0) {
            *sum += own * f64::from(value);
        }
        sums
    }

    #[inline(always)]
    fn add_square_wide(self, mut sums: [f64; LANES]) -> [f64; LANES] {
        for (sum, value) in sums.iter_mut().zip(self.0) {
            *sum += f64::from(value) * f64::from(value);
        }
        sums
    }

    #[inline(always)]
    fn store_wide(sums: [f64; LANES], values: &mut [f64; LANES]) {
        *values = sums;
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        *values = self.0;
    }

    #[inline(always)]
    fn plus(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
        self
    }

    #[inline(always)]
    fn minus(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own -= other;
        }
        self
    }

    #[inline(always)]
    fn times(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own *= other;
        }
        self
    }
}
