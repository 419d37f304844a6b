//! What a run returns.

use ndarray::{Array1, Array2};

use crate::graph::Graph;
use crate::plan::ReceiptDetail;

/// Outcome of one conjugate-gradient solve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SolveStats {
    /// Iterations done, the same for every column.
    pub iters: usize,
    /// Largest column residual 2-norm at that iteration.
    pub residual: f64,
    /// Whether the residual met the tolerance.
    pub converged: bool,
}

/// Wall-clock milliseconds per stage; a stage that did not run is zero.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// Neighbour search and graph construction.
    pub graph_build_ms: f64,
    /// Diffusion gates.
    pub diffusion_gate_ms: f64,
    /// Implicit settle step.
    pub settle_ms: f64,
    /// Stationary solve.
    pub ustar_solve_ms: f64,
    /// Receipt.
    pub receipt_ms: f64,
    /// Bundle.
    pub bundle_ms: f64,
    /// Chain receipt.
    pub chain_receipt_ms: f64,
    /// Everything, from the first check to the last result.
    pub total_ms: f64,
}

/// Everything a run produced.
#[derive(Debug, Clone)]
pub struct Solution {
    /// Hex SHA-256 over the inputs and the graph (contract, section 7).
    pub state_sig: String,
    /// Neighbours per row after clamping.
    pub k_effective: usize,
    /// The lattice graph.
    pub graph: Graph,
    /// The settle step.
    pub settle: SolveStats,
    /// Settled state, N x D.
    pub u: Array2<f32>,
    /// The stationary solve, when it ran.
    pub stationary: Option<SolveStats>,
    /// Stationary state, N x D, when it was solved for.
    pub ustar: Option<Array2<f32>>,
    /// Gates in force, length N.
    pub gates: Array1<f32>,
    /// Receipt, when asked for.
    pub receipt: Option<Receipt>,
    /// Bundle, when asked for.
    pub bundle: Option<Vec<BundleItem>>,
    /// Chain receipt, when asked for.
    pub chain_receipt: Option<ChainReceipt>,
    /// How the gates were diffused, when asked for.
    pub diffusion: Option<DiffusionReport>,
    /// Milliseconds per stage.
    pub timings: Timings,
}

/// Account of the energy the settle step removed (contract, section 3).
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// Version of this crate.
    pub version: &'static str,
    /// `tr((U - U*)^T M (U - U*))`, zero or more.
    pub delta_h_total: f64,
    /// Sum of per-node coherence drops; zero in a light receipt.
    pub coh_drop_sum: f64,
    /// Sum of per-node anchor penalties; zero in a light receipt.
    pub anchor_pen_sum: f64,
    /// Sum of per-node query terms; zero in a light receipt.
    pub query_term_sum: f64,
    /// Iterations of the settle step.
    pub cg_iters: usize,
    /// Residual of the settle step.
    pub residual: f64,
    /// Milliseconds the settle step took.
    pub t_ms: f64,
    /// Rows whose worst edge stands out, by ascending row unless capped.
    pub null_points: Vec<NullPoint>,
    /// The per-node terms behind the sums; absent in a light receipt.
    pub per_node: Option<PerNode>,
    /// Context of the run.
    pub meta: ReceiptMeta,
}

/// Per-node energy terms, each of length N.
#[derive(Debug, Clone, PartialEq)]
pub struct PerNode {
    /// Coherence drop.
    pub coh_drop: Vec<f64>,
    /// Anchor penalty.
    pub anchor_pen: Vec<f64>,
    /// Query term.
    pub query_term: Vec<f64>,
}

/// Edge whose residual stands out in its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NullPoint {
    /// Row and neighbour.
    pub edge: [usize; 2],
    /// Residual as a z-score over the row's N entries.
    pub z: f64,
    /// The residual.
    pub residual: f64,
}

/// How many null points there were and how many the receipt holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NullPointsSummary {
    /// Found.
    pub total_null_points: usize,
    /// In the receipt.
    pub returned_null_points: usize,
    /// Whether the cap removed any.
    pub null_cap_applied: bool,
}

/// Context of a receipt.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptMeta {
    /// Whether the stationary solve met its tolerance.
    pub ustar_converged: bool,
    /// Residual of the stationary solve.
    pub ustar_res: f64,
    /// Iterations of the stationary solve.
    pub ustar_iters: usize,
    /// Milliseconds of the stationary solve.
    pub ustar_solve_ms: f64,
    /// Milliseconds of graph construction.
    pub graph_build_ms: f64,
    /// Milliseconds of the settle step.
    pub last_settle_ms: f64,
    /// Stored non-zeros per row.
    pub avg_degree: f64,
    /// Stored non-zeros over `N(N-1)`.
    pub edge_density: f64,
    /// Smallest gate.
    pub gates_min: f64,
    /// Largest gate.
    pub gates_max: f64,
    /// Mean gate.
    pub gates_mean: f64,
    /// Whether all gates equal the first within `1e-8 + 1e-5 |b_0|`.
    pub gates_uniform: bool,
    /// Same as [`Solution::state_sig`].
    pub state_sig: String,
    /// Full or light.
    pub receipt_detail: ReceiptDetail,
    /// Counts of null points.
    pub null_points_summary: NullPointsSummary,
}

/// One row of a bundle (contract, section 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BundleItem {
    /// Row.
    pub id: usize,
    /// Relevance before diversification.
    pub score: f64,
    /// Cosine of the row's stationary state with the query.
    pub align: f64,
}

/// Verdict on a chain (contract, section 5).
#[derive(Debug, Clone, PartialEq)]
pub struct ChainReceipt {
    /// Whether no edge exceeds the threshold.
    pub verdict: bool,
    /// First edge with the largest z.
    pub weakest_link: WeakestLink,
    /// Coherence gained along the chain's graph edges.
    pub coherence_gain: f64,
    /// Every step of the chain.
    pub edges: Vec<ChainEdge>,
}

/// The step of a chain that stands out most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeakestLink {
    /// Position in the chain.
    pub k: usize,
    /// Its rows.
    pub edge: [usize; 2],
    /// The larger of its two z-scores.
    pub zscore: f64,
}

/// One step of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChainEdge {
    /// Position in the chain.
    pub k: usize,
    /// Its rows.
    pub edge: [usize; 2],
    /// z-score of the graph residual within its row.
    pub z_struct: f64,
    /// z-score of the path residual within its row.
    pub z_path: f64,
    /// Residual over the lattice graph.
    pub r_struct: f64,
    /// Residual over the path.
    pub r_path: f64,
}

/// How the gates were diffused (contract, section 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffusionReport {
    /// Injection scale.
    pub beta: f64,
    /// Screening.
    pub gamma: f64,
    /// Smallest gate.
    pub gate_min: f64,
    /// Largest gate.
    pub gate_max: f64,
    /// Mean gate.
    pub gate_mean: f64,
    /// Neighbours per row of the graph used, after clamping.
    pub graph_k: usize,
    /// `fallback_uniform` when the solve failed and all gates are one.
    pub note: Option<&'static str>,
}
