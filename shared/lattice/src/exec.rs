//! Runs loops inline or on the current rayon pool, checking for cancellation between pieces.
//!
//! Pieces write disjoint slots and never share accumulators, so results do not depend on how many
//! threads there are.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::error::SolveError;
use crate::observer::{Observer, Stage};
use crate::simd::Level;

/// Multiply-adds below which handing work to a pool costs more than it saves.
const INLINE_WORK: usize = 8_000_000;

/// Where and under whose eyes loops run.
#[derive(Clone, Copy)]
pub(crate) struct Exec<'a> {
    observer: &'a dyn Observer,
    pooled: bool,
    level: Level,
}

impl<'a> Exec<'a> {
    /// An executor for a problem of about `work` multiply-adds.
    pub(crate) fn new(observer: &'a dyn Observer, work: usize) -> Self {
        let pooled = work > INLINE_WORK && rayon::current_num_threads() > 1;
        Self {
            observer,
            pooled,
            level: Level::get(),
        }
    }

    /// The same with other instructions.
    #[cfg(test)]
    pub(crate) fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The instructions to use.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    pub(crate) fn check(&self) -> Result<(), SolveError> {
        if self.observer.is_cancelled() {
            Err(SolveError::Cancelled)
        } else {
            Ok(())
        }
    }

    pub(crate) fn progress(&self, stage: Stage, fraction: f32) {
        self.observer.progress(stage, fraction);
    }

    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.observer.wants_checkpoint()
    }

    pub(crate) fn keep_checkpoint(&self, checkpoint: Vec<u8>) {
        self.observer.keep_checkpoint(checkpoint);
    }

    /// Runs both, at the same time if there is a pool.
    pub(crate) fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        if self.pooled {
            rayon::join(first, second)
        } else {
            (first(), second())
        }
    }

    /// Calls `body` with every piece of `size` items and the index of its first item.
    pub(crate) fn pieces<T: Send>(
        &self,
        items: &mut [T],
        size: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<(), SolveError> {
        let run = |(piece, slots): (usize, &mut [T])| {
            self.check()?;
            body(piece * size, slots);
            Ok(())
        };
        if self.pooled {
            items.par_chunks_mut(size).enumerate().try_for_each(run)
        } else {
            items.chunks_mut(size).enumerate().try_for_each(run)
        }
    }

    /// Calls `body` for every item. Scratch values are handed from one call to the next: there are
    /// never more of them than calls under way.
    pub(crate) fn each_with<T: Send, S: Send>(
        &self,
        items: &mut [T],
        scratch: impl Fn() -> S + Sync,
        body: impl Fn(&mut S, usize, &mut T) -> Result<(), SolveError> + Sync,
    ) -> Result<(), SolveError> {
        if !self.pooled {
            let mut scratch = scratch();
            return items
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, item)| body(&mut scratch, index, item));
        }
        let idle: Mutex<Vec<S>> = Mutex::new(Vec::new());
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        items
            .par_iter_mut()
            .enumerate()
            .with_max_len(1)
            .try_for_each(|(index, item)| {
                let reused = idle().pop();
                let mut own = reused.unwrap_or_else(&scratch);
                let outcome = body(&mut own, index, item);
                idle().push(own);
                outcome
            })
    }

    /// Calls `body` for every item.
    pub(crate) fn each<T: Send>(
        &self,
        items: &mut [T],
        body: impl Fn(usize, &mut T) -> Result<(), SolveError> + Sync,
    ) -> Result<(), SolveError> {
        self.each_with(items, || (), |(), index, item| body(index, item))
    }
}
