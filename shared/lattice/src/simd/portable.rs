//! The kernels in safe code: what every other level must equal, and what Miri runs.

use super::{LANES, Lanes, ROWS, Step, Strip};

/// Takes panels apart into rows again: dot products of consecutive 16-bit values are the one form of
/// this loop that compilers turn into wide multiply-adds on any processor.
pub(super) fn multiply(strip: &Strip<'_>, products: &mut [Lanes]) {
    let (panels, length) = (strip.panels(), 2 * strip.steps());
    let left: Vec<i16> = rows(strip.left(), strip.first(), ROWS);
    for (panel, right) in strip.right().chunks_exact(strip.steps()).enumerate() {
        let right: Vec<i16> = rows(right, 0, LANES);
        for (row, own) in left.chunks_exact(length).enumerate() {
            let target = &mut products[row * panels + panel];
            for (slot, other) in target.0.iter_mut().zip(right.chunks_exact(length)) {
                *slot = dot(own, other);
            }
        }
    }
}

/// `count` rows of a panel from lane `first` on, one after the other.
fn rows(panel: &[Step], first: usize, count: usize) -> Vec<i16> {
    let mut rows = vec![0; count * 2 * panel.len()];
    for (lane, row) in rows.chunks_exact_mut(2 * panel.len()).enumerate() {
        let place = 2 * (first + lane);
        for (pair, step) in row.as_chunks_mut::<2>().0.iter_mut().zip(panel) {
            *pair = [step.0[place], step.0[place + 1]];
        }
    }
    rows
}

fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0_i32, |sum, (x, y)| {
        sum.wrapping_add(i32::from(*x) * i32::from(*y))
    })
}

pub(super) fn mark(products: &[Lanes], row_floor: i32, column_floors: &[Lanes], marks: &mut [u16]) {
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
