//! Exact cosine similarity, and how far a float32 product may stray from it.
//!
//! A pair's similarity is the dot product of its float32-normalised rows, accumulated in double
//! and rounded once (contract, 1.1). Products of float32 values are exact in double, so sixteen
//! running sums and one fixed tree give the same bits on every machine, with or without fused
//! multiply-add.

/// Running sums of the exact dot product; rows are padded to a multiple of it.
pub(crate) const LANES: usize = 16;

/// Half a unit in the last place of float32 at 1.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// Dot product of two padded rows in double, in the one order that defines it.
pub(crate) fn dot_wide(a: &[f32], b: &[f32]) -> f64 {
    debug_assert_eq!(a.len() % LANES, 0);
    let mut lanes = [0.0_f64; LANES];
    for (x, y) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            lanes[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The similarity that decides order and weight.
pub(crate) fn exact(a: &[f32], b: &[f32]) -> f32 {
    dot_wide(a, b) as f32
}

/// Largest distance between a float32 product of two rows, summed in any order, and [`exact`].
///
/// With unit roundoff u = 2^-24 and rows no longer than 1 + 4u (a rounded norm, a rounded
/// increment and a rounded division), any order of `terms` multiplications and additions, fused or
/// not, is within `terms*u/(1 - terms*u) * |a||b|` of the true value. Eight more roundings cover
/// partial sums that a blocked product adds or scales, and the rounding of the exact value. The
/// last term covers products that underflow.
pub(crate) fn margin(terms: usize) -> f32 {
    let roundings = (terms + 8) as f64 * UNIT;
    let relative = roundings / (1.0 - roundings);
    let underflow = terms as f64 * f64::from(f32::MIN_POSITIVE);
    (relative * 1.01 + 2.0 * UNIT + underflow) as f32
}

/// Rounds a double-precision product summed in another order to what [`exact`] would give, or
/// `None` when it is too close to a rounding boundary to tell.
///
/// Both sums are within `terms * 2^-53 * |a||b|` of the true value, so within twice that of each
/// other; if both ends of that interval round alike, so does everything in it.
pub(crate) fn rounded_if_certain(value: f64, terms: usize) -> Option<f32> {
    let reach = 4.0 * (terms + 8) as f64 * (f64::EPSILON / 2.0);
    let low = (value - reach) as f32;
    let high = (value + reach) as f32;
    (low == high).then_some(low)
}
