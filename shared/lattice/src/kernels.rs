//! Inner loops over one or two rows: fixed order, sixteen running float32 sums.

use crate::simd::{LANES, Level, Task, Vector};

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
        total += sums
            .lanes()
            .iter()
            .map(|lane| f64::from(*lane))
            .sum::<f64>();
    }
    total
}

/// `sum (a*scale)(b*scale)`.
pub(crate) fn dot(a: &[f32], b: &[f32], scale: f32) -> f64 {
    Level::get().run(Dot {
        rows: [a, b],
        scale,
    })
}

struct Dot<'a> {
    rows: [&'a [f32]; 2],
    scale: f32,
}

impl Task for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let scale = V::splat(self.scale);
        sum(self.rows, |[x, y]: [V; 2]| {
            x.times(scale).times(y.times(scale))
        })
    }
}

/// `|a*left - b*right|^2`.
pub(crate) fn distance(a: &[f32], left: f32, b: &[f32], right: f32) -> f64 {
    Level::get().run(Distance {
        rows: [a, b],
        left,
        right,
    })
}

struct Distance<'a> {
    rows: [&'a [f32]; 2],
    left: f32,
    right: f32,
}

impl Task for Distance<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let (left, right) = (V::splat(self.left), V::splat(self.right));
        sum(self.rows, |[x, y]: [V; 2]| {
            let difference = x.times(left).minus(y.times(right));
            difference.times(difference)
        })
    }
}

/// `|(a-b)*left - (c-d)*right|^2`.
pub(crate) fn difference_distance(
    [a, b]: [&[f32]; 2],
    left: f32,
    [c, d]: [&[f32]; 2],
    right: f32,
) -> f64 {
    Level::get().run(DifferenceDistance {
        rows: [a, b, c, d],
        left,
        right,
    })
}

struct DifferenceDistance<'a> {
    rows: [&'a [f32]; 4],
    left: f32,
    right: f32,
}

impl Task for DifferenceDistance<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let (left, right) = (V::splat(self.left), V::splat(self.right));
        sum(self.rows, |[a, b, c, d]: [V; 4]| {
            let difference = a.minus(b).times(left).minus(c.minus(d).times(right));
            difference.times(difference)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(dot(&a, &b, 2.0), products);
            let squares: f64 = pairs().map(|(x, y)| (2.0 * x - y).powi(2)).sum();
            assert_eq!(distance(&a, 2.0, &b, 1.0), squares);
            assert_eq!(difference_distance([&a, &b], 0.0, [&b, &a], 0.0), 0.0);
        }
    }
}
