//! The instruction sets the core can use, chosen once at run time; the only unsafe code of the crate.
//!
//! Everything here computes integers exactly or runs safe code compiled for a wider instruction set,
//! so the choice changes no bit of any answer, only the time it takes. The processor is asked what it
//! has; the environment variable `OSCILLINK_SIMD` (`portable`, `avx2`, `avx512`, `avx512vnni`,
//! `neon`), read once, asks for less. A set the processor lacks, or an unknown name, is ignored.
//!
//! # Invariants
//! - A [`Level`] other than [`Level::Portable`] exists only if the processor has been asked and has
//!   the features its functions are compiled for: [`Level::available`] is the only source of them
//!   outside of this module, and that is what every call into a `target_feature` function relies on.
//! - Pointers are formed only inside [`Strip`]'s bounds, which [`Strip::new`] has checked.

#![allow(
    unsafe_code,
    reason = "instructions beyond the baseline cannot be reached from safe code"
)]

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod strip;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use strip::{LANES, Lanes, ROWS, Step, Strip};
pub(crate) use vector::{Vector, halved};

use std::sync::OnceLock;

/// A family of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// What the compiler makes of safe code for the baseline processor.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// The level in force for this process.
    pub(crate) fn get() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| Self::choose(std::env::var("OSCILLINK_SIMD").ok().as_deref()))
    }

    /// The best available level, or the one asked for if it is available.
    fn choose(asked: Option<&str>) -> Self {
        let available = Self::available();
        let wanted = |level: &&Level| asked == Some(level.name());
        let best = available.last().copied().unwrap_or(Self::Portable);
        available.iter().find(wanted).copied().unwrap_or(best)
    }

    /// Every level this processor can run, slowest first.
    pub(crate) fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "some targets have nothing to add")]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 {
                levels.push(Self::Avx2);
            }
            if avx512 {
                levels.push(Self::Avx512);
            }
            if avx512 && is_x86_feature_detected!("avx512vnni") {
                levels.push(Self::Avx512Vnni);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            levels.push(Self::Neon);
        }
        levels
    }

    /// The name the environment variable uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
        }
    }

    /// Dot products of the strip's rows with all rows of its panels, row by row.
    pub(crate) fn multiply(self, strip: &Strip<'_>, products: &mut [Lanes]) {
        strip.check_products(products);
        match self {
            Self::Portable => portable::multiply(strip, products),
            // SAFETY: the level exists only where its features do.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::multiply_avx2(strip, products) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::multiply_avx512(strip, products) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => unsafe { x86::multiply_avx512vnni(strip, products) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { neon::multiply(strip, products) },
        }
    }

    /// Marks, lane by lane, the products that reach the floor of their row or of their column.
    pub(crate) fn mark(
        self,
        products: &[Lanes],
        row_floor: i32,
        column_floors: &[Lanes],
        marks: &mut [u16],
    ) {
        match self {
            // SAFETY: the level exists only where its features do.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::mark_avx2(products, row_floor, column_floors, marks) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Vnni => unsafe {
                x86::mark_avx512(products, row_floor, column_floors, marks);
            },
            _ => portable::mark(products, row_floor, column_floors, marks),
        }
    }

    /// Runs safe code compiled for this level. Arithmetic stays as written: no multiplication is
    /// fused with an addition unless the code says so.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            // SAFETY: the level exists only where its features do.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::run_avx2(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Vnni => unsafe { x86::run_avx512(task) },
            _ => task.run::<vector::Plain>(),
        }
    }
}

/// Safe code worth compiling for every level. Implementations of `run`, and what they call in their
/// loops, are `inline(always)`: only then does the caller's instruction set apply to them.
pub(crate) trait Task {
    /// What the task gives back.
    type Output;

    /// Does it; `V` is what the level has for sixteen values.
    fn run<V: Vector>(self) -> Self::Output;
}
