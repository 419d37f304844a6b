//! Admission by memory: the jobs being computed never need more together than the worker has.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory is counted in blocks of this many bytes, so that a count fits the semaphore.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Jobs that need no more than this are small: reading and writing them takes longer than computing,
/// so many are held at once and share commits. A large one is claimed only when it can be computed.
pub const SMALL_BYTES: u64 = 4 * 1024 * 1024;

/// Why a job was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It needs more than this worker has altogether.
    #[error("the job needs {needed} bytes of memory and this worker has {total}")]
    TooLarge {
        /// What it needs.
        needed: u64,
        /// What there is.
        total: u64,
    },
    /// Others hold the memory or the places.
    #[error("the worker is busy")]
    Busy,
}

/// A place among the jobs being computed, with its memory. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    _memory: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

/// Hands out places.
#[derive(Clone, Debug)]
pub struct Admission {
    memory: Arc<Semaphore>,
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
    total_bytes: u64,
    wait: Duration,
}

impl Admission {
    /// Places for `max_large` jobs, and `max_small` small ones beside them, that need at most
    /// `total_bytes` together; a job waits up to `wait` for its place.
    #[must_use]
    pub fn new(total_bytes: u64, max_large: usize, max_small: usize, wait: Duration) -> Self {
        let blocks = usize::try_from(total_bytes / BLOCK_BYTES).unwrap_or(usize::MAX);
        Self {
            memory: Arc::new(Semaphore::new(
                blocks.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize)),
            )),
            large: Arc::new(Semaphore::new(max_large.max(1))),
            small: Arc::new(Semaphore::new(max_small.max(1))),
            total_bytes,
            wait,
        }
    }

    /// A place for a job that needs `bytes`.
    ///
    /// # Errors
    /// It can never fit, or found no place in time.
    pub async fn admit(&self, bytes: u64) -> Result<Place, NotAdmitted> {
        if bytes > self.total_bytes {
            return Err(NotAdmitted::TooLarge {
                needed: bytes,
                total: self.total_bytes,
            });
        }
        let blocks = u32::try_from((bytes / BLOCK_BYTES).max(1)).unwrap_or(u32::MAX);
        let both = async {
            // Memory first: a large job at the head of the line is not starved by small ones,
            // because the semaphore serves in order.
            let memory = Arc::clone(&self.memory)
                .acquire_many_owned(blocks)
                .await
                .ok()?;
            let slots = if bytes <= SMALL_BYTES {
                &self.small
            } else {
                &self.large
            };
            let slot = Arc::clone(slots).acquire_owned().await.ok()?;
            Some(Place {
                _memory: memory,
                _slot: slot,
            })
        };
        match timeout(self.wait, both).await {
            Ok(Some(place)) => Ok(place),
            Ok(None) | Err(_) => Err(NotAdmitted::Busy),
        }
    }

    /// Admits no one any more; those who wait are turned away.
    pub fn close(&self) {
        self.memory.close();
        self.large.close();
        self.small.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn jobs_together_never_exceed_the_memory() {
        let admission = Admission::new(10 * MB, 8, 8, Duration::from_secs(1));
        let first = admission.admit(6 * MB).await.unwrap();
        assert_eq!(
            admission.admit(6 * MB).await.unwrap_err(),
            NotAdmitted::Busy
        );
        let second = admission.admit(4 * MB).await.unwrap();
        drop(first);
        drop(admission.admit(6 * MB).await.unwrap());
        drop(second);
        assert!(matches!(
            admission.admit(11 * MB).await,
            Err(NotAdmitted::TooLarge { .. })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn small_jobs_do_not_wait_for_large_ones() {
        let admission = Admission::new(100 * MB, 1, 2, Duration::from_secs(1));
        let _large = admission.admit(6 * MB).await.unwrap();
        assert_eq!(
            admission.admit(6 * MB).await.unwrap_err(),
            NotAdmitted::Busy
        );
        let _small = [admission.admit(MB).await, admission.admit(MB).await];
        assert_eq!(admission.admit(MB).await.unwrap_err(), NotAdmitted::Busy);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_turns_those_away_who_wait() {
        let admission = Admission::new(MB, 1, 1, Duration::from_secs(3_600));
        let _held = admission.admit(1).await.unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(1).await.map(drop) }
        });
        tokio::task::yield_now().await;
        admission.close();
        assert_eq!(waiting.await.unwrap().unwrap_err(), NotAdmitted::Busy);
    }
}
