//! The reins of one running job: why it should stop, how far it is, and what it leaves if cut off.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oscillink_domain::job::{Progress, Stage};
use oscillink_lattice::Observer;
use tokio::sync::Notify;

/// Why a computation should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The client asked for it.
    Cancelled,
    /// Another worker has the job.
    LeaseLost,
    /// This worker shuts down.
    Drain,
}

/// The reins of one running job, shared by the computation and those who watch it.
#[derive(Debug)]
pub struct Control {
    stop: AtomicU8,
    progress: AtomicU64,
    /// How long to compute without a checkpoint.
    checkpoint_every: Duration,
    checkpoint: Mutex<Made>,
    checkpoint_made: Notify,
}

/// The newest checkpoint until it is taken, and when it was made; at first, when the job began.
#[derive(Debug)]
struct Made {
    at: Instant,
    bytes: Option<Vec<u8>>,
}

impl Control {
    /// The reins of a job that begins now.
    #[must_use]
    pub fn new(checkpoint_every: Duration) -> Self {
        Self {
            stop: AtomicU8::default(),
            progress: AtomicU64::default(),
            checkpoint_every,
            checkpoint: Mutex::new(Made {
                at: Instant::now(),
                bytes: None,
            }),
            checkpoint_made: Notify::new(),
        }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest checkpoint, once.
    pub fn take_checkpoint(&self) -> Option<Vec<u8>> {
        self.made().bytes.take()
    }

    /// Waits for a checkpoint that has not been taken.
    pub async fn next_checkpoint(&self) -> Vec<u8> {
        loop {
            let made = self.checkpoint_made.notified();
            if let Some(bytes) = self.take_checkpoint() {
                return bytes;
            }
            made.await;
        }
    }

    /// Asks the computation to stop. The first reason counts, but for a lost lease, which outranks
    /// the others: nothing may be written then.
    pub fn stop(&self, why: Stop) {
        let code = match why {
            Stop::Cancelled => 1,
            Stop::Drain => 2,
            Stop::LeaseLost => 3,
        };
        if why == Stop::LeaseLost {
            self.stop.store(code, Ordering::SeqCst);
        } else {
            // A failed exchange means that an earlier reason stands.
            let _ = self
                .stop
                .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Why the computation should stop.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::SeqCst) {
            1 => Some(Stop::Cancelled),
            2 => Some(Stop::Drain),
            3 => Some(Stop::LeaseLost),
            _ => None,
        }
    }

    /// Notes progress.
    pub fn set_progress(&self, progress: Progress) {
        let packed = (progress.stage as u64 + 1) << 32 | u64::from(progress.fraction.to_bits());
        self.progress.store(packed, Ordering::Relaxed);
    }

    /// The newest progress.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let packed = self.progress.load(Ordering::Relaxed);
        let stage = Stage::ALL.get(usize::try_from(packed >> 32).ok()?.checked_sub(1)?)?;
        Some(Progress {
            stage: *stage,
            fraction: f32::from_bits(packed as u32),
        })
    }
}

impl Observer for Control {
    fn is_cancelled(&self) -> bool {
        self.stopped().is_some()
    }

    fn progress(&self, stage: oscillink_lattice::Stage, fraction: f32) {
        use oscillink_lattice::Stage as Core;
        let stage = match stage {
            Core::Graph => Stage::Graph,
            Core::Diffusion => Stage::Diffusion,
            Core::Settle => Stage::Settle,
            Core::Stationary => Stage::Stationary,
            Core::Receipt => Stage::Receipt,
        };
        self.set_progress(Progress { stage, fraction });
    }

    /// From time to time, and before the job is handed back if it is not too soon after the last.
    fn wants_checkpoint(&self) -> bool {
        let pause = match self.stopped() {
            None => self.checkpoint_every,
            Some(Stop::Drain) => self.checkpoint_every / 10,
            Some(Stop::Cancelled | Stop::LeaseLost) => return false,
        };
        self.made().at.elapsed() >= pause
    }

    fn keep_checkpoint(&self, checkpoint: Vec<u8>) {
        *self.made() = Made {
            at: Instant::now(),
            bytes: Some(checkpoint),
        };
        self.checkpoint_made.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands_but_a_lost_lease_outranks_it() {
        let control = Control::new(Duration::from_secs(60));
        control.stop(Stop::Cancelled);
        control.stop(Stop::Drain);
        assert_eq!(control.stopped(), Some(Stop::Cancelled));
        control.stop(Stop::LeaseLost);
        assert_eq!(control.stopped(), Some(Stop::LeaseLost));
    }

    #[test]
    fn progress_survives_packing() {
        let control = Control::new(Duration::from_secs(60));
        assert_eq!(control.progress(), None);
        for stage in Stage::ALL {
            let progress = Progress {
                stage: *stage,
                fraction: 0.375,
            };
            control.set_progress(progress);
            assert_eq!(control.progress(), Some(progress));
        }
    }

    #[test]
    fn checkpoints_are_wanted_when_due_and_before_a_job_is_handed_back() {
        let due = Control::new(Duration::ZERO);
        assert!(due.wants_checkpoint());
        due.stop(Stop::Cancelled);
        assert!(!due.wants_checkpoint(), "no one will go on from it");
        let later = Control::new(Duration::from_secs(3_600));
        later.stop(Stop::Drain);
        assert!(!later.wants_checkpoint(), "too little would be lost");
    }

    #[tokio::test]
    async fn the_newest_checkpoint_is_taken_once() {
        let control = Control::new(Duration::from_secs(3_600));
        control.keep_checkpoint(vec![1]);
        control.keep_checkpoint(vec![2]);
        assert_eq!(control.next_checkpoint().await, [2]);
        assert_eq!(control.take_checkpoint(), None);
    }
}
