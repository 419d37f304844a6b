//! Kernels for AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{LANES, Lanes, ROWS, Strip, Task};

mod vectors;

use vectors::{Avx2Vector, Avx512Vector};

/// Runs a task compiled for AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<T: Task>(task: T) -> T::Output {
    task.run::<Avx2Vector>()
}

/// Runs a task compiled for AVX-512.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn run_avx512<T: Task>(task: T) -> T::Output {
    task.run::<Avx512Vector>()
}

/// The strip kernel of one AVX-512 flavour: 8 rows by up to 3 panels of sums stay in registers.
macro_rules! avx512_kernel {
    ($multiply:ident, $group:ident, $features:literal, $add_products:expr) => {
        #[target_feature(enable = $features)]
        pub(super) fn $multiply(strip: &Strip<'_>, products: &mut [Lanes]) {
            let panels = strip.panels();
            let mut panel = 0;
            while panel < panels {
                panel += match panels - panel {
                    1 => $group::<1>(strip, panel, products),
                    2 | 4 => $group::<2>(strip, panel, products),
                    _ => $group::<3>(strip, panel, products),
                };
            }
        }

        /// `COUNT` panels from `panel` on; returns `COUNT`.
        #[target_feature(enable = $features)]
        fn $group<const COUNT: usize>(
            strip: &Strip<'_>,
            panel: usize,
            products: &mut [Lanes],
        ) -> usize {
            let (steps, panels) = (strip.steps(), strip.panels());
            let right = &strip.right()[panel * steps..(panel + COUNT) * steps];
            assert!(strip.left().len() == steps && strip.first() + ROWS <= LANES);
            let left = strip.left().as_ptr().cast::<i32>();
            let right = right.as_ptr().cast::<__m512i>();
            let mut sums = [[_mm512_setzero_si512(); COUNT]; ROWS];
            for step in 0..steps {
                let mut others = [_mm512_setzero_si512(); COUNT];
                for (index, other) in others.iter_mut().enumerate() {
                    // SAFETY: `right` is a slice of COUNT * steps steps of 64 aligned bytes each.
                    *other = unsafe { right.add(index * steps + step).read() };
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `left` is `steps` steps of 16 lanes; first + row is below 16.
                    let own = unsafe { left.add(step * LANES + strip.first() + row).read() };
                    let own = _mm512_set1_epi32(own);
                    for (sum, other) in sums.iter_mut().zip(&others) {
                        *sum = $add_products(*sum, own, *other);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (index, sum) in sums.iter().enumerate() {
                    let target = &mut products[row * panels + panel + index];
                    // SAFETY: both are 64 bytes of plain integers, aligned to 64.
                    unsafe { std::ptr::from_mut(target).cast::<__m512i>().write(*sum) };
                }
            }
            COUNT
        }
    };
}

avx512_kernel!(
    multiply_avx512vnni,
    group_avx512vnni,
    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    |sum, own, other| _mm512_dpwssd_epi32(sum, own, other)
);

avx512_kernel!(
    multiply_avx512,
    group_avx512,
    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl",
    |sum, own, other| _mm512_add_epi32(sum, _mm512_madd_epi16(own, other))
);

/// The strip kernel for AVX2: 4 rows by one panel of sums stay in registers.
#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply_avx2(strip: &Strip<'_>, products: &mut [Lanes]) {
    const QUARTER: usize = 4;
    let (steps, panels) = (strip.steps(), strip.panels());
    assert!(strip.left().len() == steps && strip.first() + ROWS <= LANES);
    let left = strip.left().as_ptr().cast::<i32>();
    for panel in 0..panels {
        let right = &strip.right()[panel * steps..(panel + 1) * steps];
        let right = right.as_ptr().cast::<__m256i>();
        for quarter in 0..ROWS / QUARTER {
            let first = strip.first() + quarter * QUARTER;
            let mut sums = [[_mm256_setzero_si256(); 2]; QUARTER];
            for step in 0..steps {
                // SAFETY: `right` is `steps` steps of 64 aligned bytes, two halves each.
                let others =
                    unsafe { [right.add(2 * step).read(), right.add(2 * step + 1).read()] };
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `left` is `steps` steps of 16 lanes; first + row is below 16.
                    let own = unsafe { left.add(step * LANES + first + row).read() };
                    let own = _mm256_set1_epi32(own);
                    for (sum, other) in sums.iter_mut().zip(&others) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(own, *other));
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let target = &mut products[(quarter * QUARTER + row) * panels + panel];
                let target = std::ptr::from_mut(target).cast::<__m256i>();
                // SAFETY: the target is 64 bytes of plain integers, aligned to 64: two halves.
                unsafe {
                    target.write(sums[0]);
                    target.add(1).write(sums[1]);
                }
            }
        }
    }
}

/// Marks products that reach a floor, sixteen at a time.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn mark_avx512(
    products: &[Lanes],
    row_floor: i32,
    column_floors: &[Lanes],
    marks: &mut [u16],
) {
    let row_floor = _mm512_set1_epi32(row_floor);
    for ((product, floors), mark) in products.iter().zip(column_floors).zip(marks) {
        // SAFETY: lanes are 64 bytes of plain integers, aligned to 64.
        let (product, floors) = unsafe {
            let product = std::ptr::from_ref(product).cast::<__m512i>().read();
            (product, std::ptr::from_ref(floors).cast::<__m512i>().read())
        };
        *mark = _mm512_cmpge_epi32_mask(product, _mm512_min_epi32(floors, row_floor));
    }
}

/// Marks products that reach a floor, eight at a time.
#[target_feature(enable = "avx2,fma")]
pub(super) fn mark_avx2(
    products: &[Lanes],
    row_floor: i32,
    column_floors: &[Lanes],
    marks: &mut [u16],
) {
    let row_floor = _mm256_set1_epi32(row_floor);
    for ((product, floors), mark) in products.iter().zip(column_floors).zip(marks) {
        *mark = 0;
        for half in 0..2 {
            // SAFETY: lanes are 64 bytes of plain integers, aligned to 64: two halves.
            let (product, floors) = unsafe {
                let product = std::ptr::from_ref(product).cast::<__m256i>();
                let floors = std::ptr::from_ref(floors).cast::<__m256i>();
                (product.add(half).read(), floors.add(half).read())
            };
            let below = _mm256_cmpgt_epi32(_mm256_min_epi32(floors, row_floor), product);
            let below = _mm256_movemask_ps(_mm256_castsi256_ps(below));
            *mark |= u16::from(!(below as u8)) << (8 * half);
        }
    }
}
