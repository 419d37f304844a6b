//! The strip kernel for NEON: 4 rows by one panel of sums stay in registers.

use std::arch::aarch64::*;

use super::{LANES, Lanes, ROWS, Strip};

const QUARTER: usize = 4;

/// Dot products of a strip; widening multiply-adds of deinterleaved pairs.
#[target_feature(enable = "neon")]
pub(super) fn multiply(strip: &Strip<'_>, products: &mut [Lanes]) {
    let (steps, panels) = (strip.steps(), strip.panels());
    for panel in 0..panels {
        let right = &strip.right()[panel * steps..(panel + 1) * steps];
        for quarter in 0..ROWS / QUARTER {
            let first = 2 * (strip.first() + quarter * QUARTER);
            let mut sums = [[vdupq_n_s32(0); 4]; QUARTER];
            for (own, other) in strip.left().iter().zip(right) {
                // SAFETY: a step is 32 values, read as two runs of sixteen.
                let halves = unsafe {
                    let other = other.0.as_ptr();
                    [vld2q_s16(other), vld2q_s16(other.add(16))]
                };
                for (row, sums) in sums.iter_mut().enumerate() {
                    let (a, b) = (own.0[first + 2 * row], own.0[first + 2 * row + 1]);
                    for (half, int16x8x2_t(even, odd)) in halves.into_iter().enumerate() {
                        let low = vmlal_n_s16(sums[2 * half], vget_low_s16(even), a);
                        sums[2 * half] = vmlal_n_s16(low, vget_low_s16(odd), b);
                        let high = vmlal_n_s16(sums[2 * half + 1], vget_high_s16(even), a);
                        sums[2 * half + 1] = vmlal_n_s16(high, vget_high_s16(odd), b);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                let target = &mut products[(quarter * QUARTER + row) * panels + panel];
                for (index, sum) in sums.into_iter().enumerate() {
                    debug_assert!(4 * index + 4 <= LANES);
                    // SAFETY: lanes are sixteen integers; index is below four.
                    unsafe { vst1q_s32(target.0.as_mut_ptr().add(4 * index), sum) };
                }
            }
        }
    }
}
