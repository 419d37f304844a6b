//! How large a request may be. Checked while parsing, so that an oversized body is given up early.

/// Longest chain, nodes.
pub const MAX_CHAIN_NODES: usize = 100_000;
/// Most conjugate-gradient iterations that a request may ask for.
pub const MAX_ITERS: usize = 10_000;

/// Most neighbours of a row that a request may ask for. More than there are rows is as good as all.
pub const MAX_NEIGHBORS: usize = 1_000_000;

/// Limits on the arrays of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// Most rows of `Y`.
    pub max_nodes: usize,
    /// Most columns of `Y`.
    pub max_dim: usize,
    /// Most bytes that compressed content may unfold to.
    pub max_decompressed_bytes: usize,
}

impl SizeLimits {
    /// No limits but those of the machine: for requests from the caller's own disk.
    pub const NONE: Self = Self {
        max_nodes: u32::MAX as usize,
        max_dim: u32::MAX as usize,
        max_decompressed_bytes: usize::MAX,
    };
}
