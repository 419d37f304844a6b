//! The kernels in safe code: what every other level must equal, and what Miri runs.

use super::{LANES, Lanes, ROWS, Strip};

pub(super) fn multiply(strip: &Strip<'_>, products: &mut [Lanes]) {
    let panels = strip.panels();
    for (panel, right) in strip.right().chunks_exact(strip.steps()).enumerate() {
        for half in 0..ROWS / 4 {
            let mut sums = [[0_i32; LANES]; 4];
            let first = 2 * (strip.first() + 4 * half);
            for (own, other) in strip.left().iter().zip(right) {
                let own = &own.0[first..first + 8];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let (a, b) = (i32::from(own[2 * row]), i32::from(own[2 * row + 1]));
                    for lane in 0..LANES {
                        let pair = a.wrapping_mul(i32::from(other.0[2 * lane])).wrapping_add(
                            b.wrapping_mul(i32::from(other.0[2 * lane + 1])),
                        );
                        sums[lane] = sums[lane].wrapping_add(pair);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                products[(4 * half + row) * panels + panel] = Lanes(sums);
            }
        }
    }
}

pub(super) fn mark(
    products: &[Lanes],
    row_floor: i32,
    column_floors: &[Lanes],
    marks: &mut [u16],
) {
    for ((product, floors), mark) in products.iter().zip(column_floors).zip(marks) {
        let mut any = false;
        for lane in 0..LANES {
            any |= product.0[lane] >= floors.0[lane].min(row_floor);
        }
        *mark = 0;
        if any {
            for lane in 0..LANES {
                let reached = product.0[lane] >= floors.0[lane].min(row_floor);
                *mark |= u16::from(reached) << lane;
            }
        }
    }
}
