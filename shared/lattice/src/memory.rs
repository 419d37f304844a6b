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
///
/// Between runs the process keeps up to 32 MiB of buffers for the next one. A run of the same shape
/// takes them; a run of another shape may find that much in use beside its own.
pub fn estimated_memory_bytes(n: usize, d: usize, k: usize, threads: usize) -> u64 {
    let (rows, columns, threads) = (n as u64, d as u64, threads.max(1) as u64);
    let k = crate::problem::clamp_k(k, n);
    let padded = columns
        .checked_next_multiple_of(PANEL_WIDTH as u64)
        .unwrap_or(u64::MAX);
    let matrix = product(&[rows, columns, 4]);
    let padded_matrix = product(&[rows, padded, 4]);

    let k = k as u64;
    // Per row: candidates, the k best products, what the search knows of it, and what it finds.
    let places = candidate_capacity(k as usize, n) as u64;
    let lists = product(&[
        rows,
        places
            .saturating_mul(8)
            .saturating_add(k.saturating_mul(12)),
    ])
    .saturating_add(product(&[rows, 160]));
    // A checkpoint that the search goes on from, and another while it is written.
    let lists = if product(&[rows, k]) <= crate::graph::MOST_KEPT as u64 {
        lists.saturating_add(product(&[rows, 24 * k + 16]))
    } else {
        lists
    };
    let block = BLOCK.min(rows.saturating_add(PANEL_WIDTH as u64));
    // A tile as integers and, where many rows are alike, as doubles with one block transposed.
    let tile =
        product(&[block, block.saturating_add(PANEL_WIDTH as u64), 13]).saturating_add(product(&[
            padded,
            block.saturating_mul(4).saturating_add(128),
        ]));
    // Two graphs, each while its edge list and its compressed rows coexist.
    let graphs = product(&[rows, k, 2 * 16]).saturating_add(product(&[rows, 64]));
    // Normalised rows, once more without those that have too many equals, and packed.
    let rows_searched = padded_matrix
        .saturating_mul(2)
        .saturating_add(padded_matrix / 2)
        .saturating_add(product(&[BLOCK, padded, 2]));
    let search = rows_searched
        .saturating_add(lists)
        .saturating_add(product(&[threads, tile]));

    let operator = product(&[rows, k, 8]).saturating_add(product(&[rows, 48]));
    let solving = product(&[padded_matrix, VECTORS as u64])
        .saturating_add(product(&[threads, rows, PANEL_WIDTH as u64, 4]))
        .saturating_add(matrix.saturating_mul(2))
        .saturating_add(operator)
        .saturating_add(kept(padded_matrix.saturating_add(padded_matrix / 2)));

    let receipt = product(&[rows, k, 40]).saturating_add(product(&[rows, 200]));
    let reporting = matrix
        .saturating_mul(2)
        .saturating_add(receipt)
        .saturating_add(kept(padded_matrix.saturating_mul(5)));

    graphs
        .saturating_add(search.max(solving).max(reporting))
        .saturating_add(FIXED)
}

/// Small buffers that do not depend on the problem.
const FIXED: u64 = 1 << 20;

/// Part of the buffers done with that stays for later stages and jobs.
fn kept(bytes: u64) -> u64 {
    bytes.min(crate::arena::RETAINED_BYTES as u64)
}

fn product(factors: &[u64]) -> u64 {
    factors
        .iter()
        .fold(1, |total, factor| total.saturating_mul(*factor))
}
