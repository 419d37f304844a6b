//! How much memory a run needs, for admission control.

use crate::graph::candidate_capacity;
use crate::system::{PANEL_WIDTH, VECTORS};

/// Rows per search block; see the graph module.
const BLOCK: u64 = crate::graph::BLOCK_ROWS as u64;

/// Upper estimate, in bytes, of what [`solve`](crate::solve()) holds at its peak beyond the input matrix,
/// including the solution it returns.
///
/// `n` and `d` are the matrix dimensions, `k` the largest number of neighbours asked for (lattice
/// or diffusion), `threads` the size of the pool the run will use.
pub fn estimated_memory_bytes(n: usize, d: usize, k: usize, threads: usize) -> u64 {
    let (rows, columns, threads) = (n as u64, d as u64, threads.max(1) as u64);
    let k = crate::problem::clamp_k(k, n);
    let padded = columns
        .checked_next_multiple_of(PANEL_WIDTH as u64)
        .unwrap_or(u64::MAX);
    let matrix = product(&[rows, columns, 4]);
    let padded_matrix = product(&[rows, padded, 4]);

    let lists = product(&[rows, candidate_capacity(k, n) as u64, 8]);
    let block = BLOCK.min(rows);
    let tile = product(&[block, block, 12]).saturating_add(product(&[block, padded, 16]));
    let packing = product(&[block, padded, 32]);
    // Two graphs, each while its edge list and its compressed rows coexist.
    let graphs = product(&[rows, k as u64, 2 * 16]).saturating_add(product(&[rows, 64]));
    let search = padded_matrix
        .saturating_add(lists)
        .saturating_add(product(&[threads, tile.saturating_add(packing)]));

    let operator = product(&[rows, k as u64, 8]).saturating_add(product(&[rows, 48]));
    let solving = product(&[padded_matrix, VECTORS as u64])
        .saturating_add(product(&[threads, rows, PANEL_WIDTH as u64, 4]))
        .saturating_add(matrix.saturating_mul(2))
        .saturating_add(operator);

    let receipt = product(&[rows, k as u64, 32]).saturating_add(product(&[rows, 200]));
    let reporting = matrix.saturating_mul(2).saturating_add(receipt);

    graphs
        .saturating_add(search.max(solving).max(reporting))
        .saturating_add(FIXED)
}

/// Small buffers that do not depend on the problem.
const FIXED: u64 = 1 << 20;

fn product(factors: &[u64]) -> u64 {
    factors
        .iter()
        .fold(1, |total, factor| total.saturating_mul(*factor))
}
