//! The reins of one running job: why it should stop, and how far it is.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use oscillink_domain::job::{Progress, Stage};
use oscillink_lattice::Observer;

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
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicU8,
    progress: AtomicU64,
}

impl Control {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands_but_a_lost_lease_outranks_it() {
        let control = Control::default();
        control.stop(Stop::Cancelled);
        control.stop(Stop::Drain);
        assert_eq!(control.stopped(), Some(Stop::Cancelled));
        control.stop(Stop::LeaseLost);
        assert_eq!(control.stopped(), Some(Stop::LeaseLost));
    }

    #[test]
    fn progress_survives_packing() {
        let control = Control::default();
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
}
