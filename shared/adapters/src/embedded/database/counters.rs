//! How much was written, for benchmarks and metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Totals since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Jobs carried out: document transactions and the queue's and bus's own steps.
    pub transactions: u64,
    /// Commits, each with one sync of the disk.
    pub commits: u64,
    /// Checkpoints that the writer had to wait for.
    pub checkpoints: u64,
    /// How long it waited for them, µs.
    pub checkpoint_us: u64,
}

/// The running totals.
#[derive(Debug, Default)]
pub(super) struct Counters {
    transactions: AtomicU64,
    commits: AtomicU64,
    checkpoints: AtomicU64,
    checkpoint_us: AtomicU64,
}

impl Counters {
    pub(super) fn committed(&self, jobs: usize) {
        self.transactions.fetch_add(jobs as u64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn checkpointed(&self, time: Duration) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.checkpoint_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> WriteCounts {
        WriteCounts {
            transactions: self.transactions.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            checkpoint_us: self.checkpoint_us.load(Ordering::Relaxed),
        }
    }
}
