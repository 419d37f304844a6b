//! Inner loops over one or two rows: fixed order, sixteen running float32 sums.

use crate::simd::{LANES, Task, Vector, halved};

/// Columns after which float32 sums are moved to double, to bound their rounding error.
const SEGMENT: usize = 512;

/// Sums `term` over equal positions of `COUNT` rows. `term` of zeros is zero, which lets the last
/// block be padded.
#[inline(always)]
fn sum<V: Vector, const COUNT: usize>(
    rows: [&[f32]; COUNT],
    term: impl Fn([V; COUNT]) -> V,
) -> f64 {
    let length = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == length));
    let blocks = rows.map(|row| row.as_chunks::<LANES>().0);
    let whole = length / LANES;
    let mut total = 0.0;
    let mut start = 0;
    while start * LANES < length {
        let end = (start + SEGMENT / LANES).min(whole);
        let mut sums = V::splat(0.0);
        for block in start..end {
            sums = sums.plus(term(blocks.map(|blocks| V::load(&blocks[block]))));
        }
        start += SEGMENT / LANES;
        if start > whole && length > whole * LANES {
            let padded = rows.map(|row| {
                let mut last = [0.0; LANES];
                last[..length - whole * LANES].copy_from_slice(&row[whole * LANES..]);
                V::load(&last)
            });
            sums = sums.plus(term(padded));
        }
        total += sums.total();
    }
    total
}

/// `sum (a*scale)(b*scale)`.
#[inline(always)]
pub(crate) fn dot<V: Vector>(a: &[f32], b: &[f32], scale: f32) -> f64 {
    let scale = V::splat(scale);
    sum([a, b], |[x, y]: [V; 2]| {
        x.times(scale).times(y.times(scale))
    })
}

/// `sum ab`, in double: products of float32 values are exact there and cannot overflow.
#[inline(always)]
pub(crate) fn dot_wide(a: &[f32], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0_f64; LANES];
    for (x, y) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let products = a_rest.iter().zip(b_rest);
    let rest: f64 = products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    halved(lanes) + rest
}

/// `|a*left - b*right|^2`.
#[inline(always)]
pub(crate) fn distance<V: Vector>(a: &[f32], left: f32, b: &[f32], right: f32) -> f64 {
    let (left, right) = (V::splat(left), V::splat(right));
    sum([a, b], |[x, y]: [V; 2]| {
        let difference = x.times(left).minus(y.times(right));
        difference.times(difference)
    })
}

/// `|(a-b)*left - (c-d)*right|^2`.
#[inline(always)]
pub(crate) fn difference_distance<V: Vector>(
    [a, b]: [&[f32]; 2],
    left: f32,
    [c, d]: [&[f32]; 2],
    right: f32,
) -> f64 {
    let (left, right) = (V::splat(left), V::splat(right));
    sum([a, b, c, d], |[a, b, c, d]: [V; 4]| {
        let difference = a.minus(b).times(left).minus(c.minus(d).times(right));
        difference.times(difference)
    })
}

/// [`distance`] on its own, for callers outside of a task.
pub(crate) struct Distance<'a> {
    pub(crate) rows: [&'a [f32]; 2],
    pub(crate) factors: [f32; 2],
}

impl Task for Distance<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let ([a, b], [left, right]) = (self.rows, self.factors);
        distance::<V>(a, left, b, right)
    }
}

/// 2-norm of a row, in double.
#[inline(always)]
pub(crate) fn norm<V: Vector>(row: &[f32]) -> f64 {
    let mut sums = V::wide_zero();
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        sums = V::load(block).add_square_wide(sums);
    }
    if !rest.is_empty() {
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        sums = V::load(&last).add_square_wide(sums);
    }
    V::total_wide(sums).sqrt()
}

/// [`norm`] on its own, for callers outside of a task.
pub(crate) struct Norm<'a>(pub(crate) &'a [f32]);

impl Task for Norm<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        norm::<V>(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    struct Sums<'a>([&'a [f32]; 2]);

    impl Task for Sums<'_> {
        type Output = [f64; 5];

        #[inline(always)]
        fn run<V: Vector>(self) -> [f64; 5] {
            let [a, b] = self.0;
            [
                dot::<V>(a, b, 2.0),
                distance::<V>(a, 2.0, b, 1.0),
                difference_distance::<V>([a, b], 0.0, [b, a], 0.0),
                norm::<V>(a),
                dot_wide(a, b),
            ]
        }
    }

    #[test]
    fn every_length_is_summed_whole() {
        for length in [1, 15, 16, 17, 511, 512, 513, 528, 529, 1024, 1039] {
            let a: Vec<f32> = (0..length).map(|k| (k % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..length).map(|k| (k % 5) as f32 * 0.5).collect();
            let pairs = || {
                a.iter()
                    .zip(&b)
                    .map(|(x, y)| (f64::from(*x), f64::from(*y)))
            };
            let products: f64 = pairs().map(|(x, y)| 4.0 * x * y).sum();
            let squares: f64 = pairs().map(|(x, y)| (2.0 * x - y) * (2.0 * x - y)).sum();
            let length: f64 = pairs().map(|(x, _)| x * x).sum::<f64>().sqrt();
            for level in Level::available() {
                assert_eq!(
                    level.run(Sums([&a, &b])),
                    [products, squares, 0.0, length, products / 4.0],
                    "{}",
                    level.name()
                );
            }
        }
    }

    #[test]
    fn every_level_sums_in_the_same_order() {
        // Values whose sums depend on the order they are added in.
        let a: Vec<f32> = (0..700)
            .map(|k| (0.1 + k as f32).sin() * 10_f32.powi(k % 9 - 4))
            .collect();
        let b: Vec<f32> = a.iter().rev().copied().collect();
        let expected = Level::Portable.run(Sums([&a, &b]));
        for level in Level::available() {
            assert_eq!(level.run(Sums([&a, &b])), expected, "{}", level.name());
        }
    }
}
