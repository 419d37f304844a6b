//! What a run should compute besides the settled state.

use crate::params::{DiffusionParams, SettleOptions};

/// How much of the receipt is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiptDetail {
    /// Per-node terms and null points.
    #[default]
    Full,
    /// Energy drop only: sums are zero and there are no null points.
    Light,
}

impl ReceiptDetail {
    /// The name used in receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Light => "light",
        }
    }
}

/// Receipt settings (contract, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiptOptions {
    /// Full or light.
    pub detail: ReceiptDetail,
    /// Keep at most this many null points, highest z first; `None` and `Some(0)` keep all.
    pub null_cap: Option<usize>,
}

/// Chain receipt settings (contract, section 5).
#[derive(Debug, Clone, PartialEq)]
pub struct ChainReceiptOptions {
    /// Chain to examine; `None` examines the problem's own chain.
    pub nodes: Option<Vec<usize>>,
    /// Largest z an edge may have in a chain that passes.
    pub z_threshold: f64,
}

impl Default for ChainReceiptOptions {
    fn default() -> Self {
        Self {
            nodes: None,
            z_threshold: 2.5,
        }
    }
}

/// What [`solve`](crate::solve()) computes. The settled state is always part of the answer; the
/// stationary state is solved for when a receipt, a bundle or a chain receipt needs it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The implicit step.
    pub settle: SettleOptions,
    /// Receipt, if wanted.
    pub receipt: Option<ReceiptOptions>,
    /// Size of the bundle, if wanted; clamped to the row count.
    pub bundle_k: Option<usize>,
    /// Chain receipt, if wanted.
    pub chain_receipt: Option<ChainReceiptOptions>,
    /// Gates by diffusion, if wanted; excludes gates given with the problem.
    pub diffusion: Option<DiffusionParams>,
    /// Return the stationary state even when nothing else needs it.
    pub ustar: bool,
}

impl Plan {
    pub(crate) fn needs_stationary(&self) -> bool {
        self.ustar
            || self.receipt.is_some()
            || self.bundle_k.is_some()
            || self.chain_receipt.is_some()
    }
}
