//! What answers must say, computed here in another way than the service does.
//!
//! The harness must not import the service, and a check that ran the service's own code would agree
//! with its faults. So small problems are solved once, before the run, by the plainest method there
//! is: all pairs for the graph, Cholesky in double precision instead of conjugate gradients in
//! single. Every answer is then compared with that: the state's signature to the last digit (it is a
//! hash of the graph), ΔH within the tolerance of the service's solver, the bundle row by row.

mod dense;
mod expect;
mod graph;
mod judge;
mod signature;

pub use expect::{Expected, expect};
pub use judge::Judge;

/// Largest N that is solved here; above it answers to the same request must equal each other.
pub const MAX_ROWS: usize = 512;
