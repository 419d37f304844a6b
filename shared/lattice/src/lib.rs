//! The numeric core of Oscillink: settles embedding vectors into their most coherent state.
//!
//! Anchors `Y` (N x D, float32) are joined by a mutual nearest-neighbour graph, pulled towards a
//! query and optionally along a chain. One implicit Euler step gives the settled state `U`, the
//! stationary point `U*` of the same energy gives receipts, bundles and chain receipts.
//!
//! Everything starts from a checked [`Problem`] and a [`Plan`]:
//!
//! ```
//! use ndarray::array;
//! use oscillink_lattice::{Params, Plan, Problem, ReceiptOptions, Unobserved, solve};
//!
//! let y = array![[1.0_f32, 0.0], [0.9, 0.1], [0.0, 1.0]];
//! let psi = array![1.0_f32, 0.2];
//! let problem = Problem::new(y.view(), Some(psi.view()), None, None, Params::default())?;
//! let plan = Plan { receipt: Some(ReceiptOptions::default()), ..Plan::default() };
//! let solution = solve(&problem, &plan, &Unobserved)?;
//! assert!(solution.receipt.is_some_and(|receipt| receipt.delta_h_total >= 0.0));
//! # Ok::<(), oscillink_lattice::SolveError>(())
//! ```
//!
//! Results are a function of the input alone: the graph order is total, reductions have a fixed
//! order, and no result depends on how many threads the current rayon pool has. Problems too
//! small to gain from threads run on the caller's.
//!
//! "The contract" in the documentation of the modules is the project's numeric contract; section
//! numbers refer to it.

mod arena;
#[cfg(feature = "bench")]
pub mod bench;
mod bundle;
mod chain;
mod chain_receipt;
mod diffusion;
mod error;
mod exec;
mod graph;
mod kernels;
mod memory;
mod observer;
mod params;
mod plan;
mod problem;
mod receipt;
mod scale;
pub mod signature;
mod simd;
mod solution;
mod solve;
mod system;

pub use chain::Chain;
pub use error::{FieldError, SolveError};
pub use graph::{Checkpoint, Graph};
pub use memory::estimated_memory_bytes;
pub use observer::{Observer, Stage, Unobserved};
pub use params::{DiffusionParams, Lambdas, Params, SettleOptions};
pub use plan::{ChainReceiptOptions, Plan, ReceiptDetail, ReceiptOptions};
pub use problem::{Problem, matrix_from_rows};
pub use solution::{
    BundleItem, ChainEdge, ChainReceipt, DiffusionReport, NullPoint, NullPointsSummary, PerNode,
    Receipt, ReceiptMeta, Solution, SolveStats, Timings, WeakestLink,
};
pub use solve::{solve, solve_from};
