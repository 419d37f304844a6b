//! Sixteen float32 values in registers.

use std::arch::x86_64::*;

use super::super::{LANES, Vector};

/// The last two steps of [`super::super::vector::halved`].
///
/// # Safety
/// The processor has AVX.
#[inline(always)]
unsafe fn total_of_four(values: __m256d) -> f64 {
    // SAFETY: the caller says so.
    unsafe {
        let two = _mm_add_pd(
            _mm256_castpd256_pd128(values),
            _mm256_extractf128_pd::<1>(values),
        );
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
    }
}

/// One register. Exists only inside of [`super::run_avx512`]; that is what its methods rely on.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vector(__m512);

impl Avx512Vector {
    /// The values in double.
    #[inline(always)]
    fn widened(self) -> [__m512d; 2] {
        // SAFETY: the processor has AVX-512, see the type.
        unsafe {
            [
                _mm512_cvtps_pd(_mm512_castps512_ps256(self.0)),
                _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(self.0)),
            ]
        }
    }
}

impl Vector for Avx512Vector {
    type Wide = [__m512d; 2];

    #[inline(always)]
    fn wide_zero() -> Self::Wide {
        // SAFETY: the processor has AVX-512, see the type.
        [unsafe { _mm512_setzero_pd() }; 2]
    }

    #[inline(always)]
    fn add_wide(self, own: f64, [low, high]: Self::Wide) -> Self::Wide {
        // SAFETY: as above.
        unsafe {
            let own = _mm512_set1_pd(own);
            let [low_values, high_values] = self.widened();
            [
                _mm512_fmadd_pd(own, low_values, low),
                _mm512_fmadd_pd(own, high_values, high),
            ]
        }
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        // SAFETY: as above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn narrowed([low, high]: Self::Wide) -> Self {
        // SAFETY: as above.
        Self(unsafe {
            let low = _mm512_castps256_ps512(_mm512_cvtpd_ps(low));
            _mm512_insertf32x8::<1>(low, _mm512_cvtpd_ps(high))
        })
    }

    #[inline(always)]
    fn add_square_wide(self, [low, high]: Self::Wide) -> Self::Wide {
        let own = self.widened();
        // SAFETY: as above.
        unsafe {
            [
                _mm512_fmadd_pd(own[0], own[0], low),
                _mm512_fmadd_pd(own[1], own[1], high),
            ]
        }
    }

    #[inline(always)]
    fn total_wide([low, high]: Self::Wide) -> f64 {
        // SAFETY: as above, with AVX.
        unsafe {
            let eight = _mm512_add_pd(low, high);
            total_of_four(_mm256_add_pd(
                _mm512_castpd512_pd256(eight),
                _mm512_extractf64x4_pd::<1>(eight),
            ))
        }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        Self::total_wide(self.widened())
    }

    #[inline(always)]
    fn store_wide([low, high]: Self::Wide, values: &mut [f64; LANES]) {
        let values = values.as_mut_ptr();
        // SAFETY: as above; the array is as long as both registers.
        unsafe {
            _mm512_storeu_pd(values, low);
            _mm512_storeu_pd(values.add(8), high);
        }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: the processor has AVX-512, see the type.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        // SAFETY: as above; the array is as long as the register.
        Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        // SAFETY: as above; the array is as long as the register.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: the processor has AVX-512, see the type.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
}

/// Two registers. Exists only inside of [`super::run_avx2`]; that is what its methods rely on.
#[derive(Clone, Copy)]
pub(super) struct Avx2Vector(__m256, __m256);

impl Avx2Vector {
    /// The values in double.
    #[inline(always)]
    fn widened(self) -> [__m256d; 4] {
        // SAFETY: the processor has AVX, see the type.
        unsafe {
            [
                _mm256_cvtps_pd(_mm256_castps256_ps128(self.0)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(self.0)),
                _mm256_cvtps_pd(_mm256_castps256_ps128(self.1)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(self.1)),
            ]
        }
    }
}

impl Vector for Avx2Vector {
    type Wide = [__m256d; 4];

    #[inline(always)]
    fn wide_zero() -> Self::Wide {
        // SAFETY: the processor has AVX, see the type.
        [unsafe { _mm256_setzero_pd() }; 4]
    }

    #[inline(always)]
    fn add_wide(self, own: f64, sums: Self::Wide) -> Self::Wide {
        // SAFETY: as above, with FMA.
        let own = unsafe { _mm256_set1_pd(own) };
        let mut sums = sums;
        for (sum, value) in sums.iter_mut().zip(self.widened()) {
            // SAFETY: as above.
            *sum = unsafe { _mm256_fmadd_pd(own, value, *sum) };
        }
        sums
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            Self(
                _mm256_max_ps(self.0, other.0),
                _mm256_max_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        // SAFETY: as above.
        let (low, high) = unsafe {
            (
                _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(self.0, other.0)),
                _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(self.1, other.1)),
            )
        };
        (low | high << 8) as u16
    }

    #[inline(always)]
    fn narrowed(sums: Self::Wide) -> Self {
        // SAFETY: as above.
        unsafe {
            let pair = |low, high| _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
            Self(pair(sums[0], sums[1]), pair(sums[2], sums[3]))
        }
    }

    #[inline(always)]
    fn add_square_wide(self, mut sums: Self::Wide) -> Self::Wide {
        for (sum, own) in sums.iter_mut().zip(self.widened()) {
            // SAFETY: as above, with FMA.
            *sum = unsafe { _mm256_fmadd_pd(own, own, *sum) };
        }
        sums
    }

    #[inline(always)]
    fn total_wide(sums: Self::Wide) -> f64 {
        // SAFETY: as above.
        unsafe {
            total_of_four(_mm256_add_pd(
                _mm256_add_pd(sums[0], sums[2]),
                _mm256_add_pd(sums[1], sums[3]),
            ))
        }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        Self::total_wide(self.widened())
    }

    #[inline(always)]
    fn store_wide(sums: Self::Wide, values: &mut [f64; LANES]) {
        for (index, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above; the array is as long as the four registers.
            unsafe { _mm256_storeu_pd(values.as_mut_ptr().add(4 * index), sum) };
        }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: the processor has AVX, see the type.
        let half = unsafe { _mm256_set1_ps(value) };
        Self(half, half)
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        let values = values.as_ptr();
        // SAFETY: as above; the array is as long as both registers.
        unsafe { Self(_mm256_loadu_ps(values), _mm256_loadu_ps(values.add(8))) }
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        let values = values.as_mut_ptr();
        // SAFETY: as above; the array is as long as both registers.
        unsafe {
            _mm256_storeu_ps(values, self.0);
            _mm256_storeu_ps(values.add(8), self.1);
        }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: the processor has AVX, see the type.
        unsafe {
            Self(
                _mm256_add_ps(self.0, other.0),
                _mm256_add_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            Self(
                _mm256_sub_ps(self.0, other.0),
                _mm256_sub_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            Self(
                _mm256_mul_ps(self.0, other.0),
                _mm256_mul_ps(self.1, other.1),
            )
        }
    }
}
