//! Large buffers handed from one job to the next, so that a job does not wait for fresh pages.
//!
//! What is kept between jobs is bounded: [`RETAINED_BYTES`] in all, and no buffer above a quarter of
//! that. Everything else goes back to the allocator when it is dropped.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::simd::{Lanes, Step};

/// Most bytes kept for later jobs, whatever their type.
pub(crate) const RETAINED_BYTES: usize = 32 << 20;

/// Bytes kept now.
static RETAINED: AtomicUsize = AtomicUsize::new(0);

/// Buffers of one type that are not in use.
pub(crate) struct Shelf<T>(Mutex<Vec<Vec<T>>>);

impl<T> Shelf<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The smallest buffer with room for `length`, empty.
    fn take(&self, length: usize) -> Option<Vec<T>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = idle
            .iter()
            .enumerate()
            .filter(|(_, buffer)| (length..=2 * length).contains(&buffer.capacity()))
            .min_by_key(|(_, buffer)| buffer.capacity())
            .map(|(index, _)| index)?;
        let buffer = idle.swap_remove(fitting);
        RETAINED.fetch_sub(bytes(&buffer), Ordering::Relaxed);
        Some(buffer)
    }

    /// Keeps a buffer if that stays within the bound, in the place of older ones if need be.
    fn give(&self, mut buffer: Vec<T>) {
        let size = bytes(&buffer);
        if size == 0 || size > RETAINED_BYTES / 4 {
            return;
        }
        buffer.clear();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while RETAINED.load(Ordering::Relaxed) + size > RETAINED_BYTES && !idle.is_empty() {
            let oldest = idle.remove(0);
            RETAINED.fetch_sub(bytes(&oldest), Ordering::Relaxed);
        }
        if RETAINED.fetch_add(size, Ordering::Relaxed) + size > RETAINED_BYTES {
            RETAINED.fetch_sub(size, Ordering::Relaxed);
            return;
        }
        idle.push(buffer);
    }
}

fn bytes<T>(buffer: &Vec<T>) -> usize {
    buffer.capacity() * size_of::<T>()
}

/// Values that buffers can hold.
pub(crate) trait Pooled: Copy + Send + 'static {
    /// What fresh places hold.
    const ZERO: Self;

    /// Where idle buffers of this type are.
    fn shelf() -> &'static Shelf<Self>;
}

macro_rules! pooled {
    ($type:ty, $zero:expr) => {
        impl Pooled for $type {
            const ZERO: Self = $zero;

            fn shelf() -> &'static Shelf<Self> {
                static SHELF: Shelf<$type> = Shelf::new();
                &SHELF
            }
        }
    };
}

pooled!(f32, 0.0);
pooled!([[f32; 16]; 1], [[0.0; 16]; 1]);
pooled!([[f32; 16]; 2], [[0.0; 16]; 2]);
pooled!(Step, Step::ZERO);
pooled!(Lanes, Lanes::splat(0));

/// A vector that goes back to its shelf.
pub(crate) struct Buffer<T: Pooled>(Vec<T>);

impl<T: Pooled> Buffer<T> {
    /// `length` zeros. A new buffer of plain numbers comes from the allocator as zeros, so that its
    /// pages are first touched by whoever fills them, piece by piece.
    pub(crate) fn zeroed(length: usize) -> Self {
        match T::shelf().take(length) {
            Some(mut buffer) => {
                buffer.resize(length, T::ZERO);
                Self(buffer)
            }
            None => Self(vec![T::ZERO; length]),
        }
    }

    /// `values`, of which there are `length`.
    pub(crate) fn collect(length: usize, values: impl Iterator<Item = T>) -> Self {
        let reused = T::shelf().take(length);
        let mut buffer = reused.unwrap_or_else(|| Vec::with_capacity(length));
        buffer.extend(values);
        Self(buffer)
    }
}

impl<T: Pooled> Default for Buffer<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Pooled> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Pooled> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Pooled> Drop for Buffer<T> {
    fn drop(&mut self) {
        T::shelf().give(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_reused_clean() {
        let mut buffers: Vec<Buffer<f32>> = (0..40).map(|_| Buffer::zeroed(1 << 19)).collect();
        buffers.iter_mut().for_each(|buffer| buffer.fill(7.0));
        drop(buffers);
        assert!(RETAINED.load(Ordering::Relaxed) <= RETAINED_BYTES);
        assert!(
            Buffer::<f32>::zeroed(1 << 19)
                .iter()
                .all(|value| *value == 0.0)
        );
        let large = 1 << 24;
        drop(Buffer::<f32>::zeroed(large));
        let kept = f32::shelf().0.lock().unwrap();
        assert!(kept.iter().all(|buffer| buffer.capacity() < large));
    }
}
