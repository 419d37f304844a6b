//! Power-of-two scaling that keeps float32 intermediates away from overflow and underflow.
//!
//! The system is linear in anchors and query, so it is solved for `s*Y`, `s*psi` with a tolerance
//! of `s*tol` and divided by `s` at the end. With `s` a power of two this changes no bit of any
//! value that neither overflows nor underflows.

use crate::error::SolveError;
use crate::exec::Exec;
use crate::simd::{LANES, Task, Vector};

/// Scale factor and its inverse, both exact powers of two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) factor: f32,
    pub(crate) inverse: f32,
}

impl Scale {
    /// Brings the largest magnitude into `[1, 2)`, as far as float32 exponents allow.
    pub(crate) fn for_largest(largest: f32) -> Self {
        let exponent = floor_log2(f64::from(largest)).clamp(-120, 120);
        Self {
            factor: power_of_two(-exponent) as f32,
            inverse: power_of_two(exponent) as f32,
        }
    }

    /// Turns a sum of squares of scaled values into one of unscaled values.
    #[inline(always)]
    pub(crate) fn unscale_square(&self, value: f64) -> f64 {
        value * f64::from(self.inverse) * f64::from(self.inverse)
    }
}

/// Values looked at between two checks.
const PIECE: usize = 1 << 18;

/// Largest magnitude in `values`, zero when empty.
pub(crate) fn largest_magnitude(values: &[f32], exec: Exec<'_>) -> Result<f32, SolveError> {
    let mut pieces: Vec<(&[f32], f32)> = values.chunks(PIECE).map(|piece| (piece, 0.0)).collect();
    exec.each(&mut pieces, |_, (values, largest)| {
        exec.check()?;
        *largest = exec.level().run(Largest(values));
        Ok(())
    })?;
    Ok(pieces
        .iter()
        .fold(0.0, |most, (_, largest)| most.max(*largest)))
}

struct Largest<'a>(&'a [f32]);

impl Task for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<V: Vector>(self) -> f32 {
        let (blocks, rest) = self.0.as_chunks::<LANES>();
        let zero = V::splat(0.0);
        let mut most = zero;
        for block in blocks {
            let values = V::load(block);
            most = most.larger(values).larger(zero.minus(values));
        }
        let lanes = most.lanes();
        let all = lanes.iter().chain(rest);
        all.fold(0.0, |most: f32, value| most.max(value.abs()))
    }
}

/// Exponent of the largest power of two not above `value`; zero for zero.
pub(crate) fn floor_log2(value: f64) -> i32 {
    if value <= 0.0 {
        return 0;
    }
    let biased = ((value.to_bits() >> 52) & 0x7ff) as i32;
    // Doubles that come from float32 values are never subnormal.
    (biased - 1023).max(-1022)
}

/// `2^exponent` for exponents of normal doubles.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}
