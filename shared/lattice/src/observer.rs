//! How a caller watches and stops a running computation.

/// Part of the computation a progress report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Nearest-neighbour search and graph construction.
    Graph,
    /// Diffusion gates.
    Diffusion,
    /// The implicit settle step.
    Settle,
    /// The stationary solve.
    Stationary,
    /// Receipt, bundle and chain receipt.
    Receipt,
}

/// Receives progress and answers whether to go on.
///
/// Both methods are called from worker threads, between tiles and between iterations; they should
/// return quickly. Fractions never decrease within a stage as seen by one thread.
pub trait Observer: Sync {
    /// Whether the computation should stop with [`crate::SolveError::Cancelled`].
    fn is_cancelled(&self) -> bool {
        false
    }

    /// `fraction` of `stage`, in `0.0..=1.0`, is done.
    fn progress(&self, stage: Stage, fraction: f32) {
        let _ = (stage, fraction);
    }

    /// Whether a checkpoint should be made now. Asked on the calling thread every second or so of a
    /// search over many rows, and once more when such a search has been cancelled.
    fn wants_checkpoint(&self) -> bool {
        false
    }

    /// Takes the checkpoint that was wanted: bytes for [`crate::Checkpoint::from_bytes`].
    fn keep_checkpoint(&self, checkpoint: Vec<u8>) {
        let _ = checkpoint;
    }
}

/// An observer that never cancels and ignores progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
