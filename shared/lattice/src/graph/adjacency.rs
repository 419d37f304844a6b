//! From neighbour lists to the capped, symmetric adjacency (contract, 1.3 to 1.5).

use super::Graph;
use super::neighbors::Neighbors;
use super::search::BLOCK_ROWS;
use super::ties::{Candidate, TieOrder};
use crate::error::SolveError;
use crate::exec::Exec;

/// Most a row's weights may sum to.
const ROW_CAP: f64 = 1.0;

/// Smallest degree, so that rows without edges can be divided by its root.
const MIN_DEGREE: f64 = 1e-12;

/// Keeps the mutual edges among the first `k` neighbours of each row and weighs them.
///
/// `original` maps searched rows to rows of the problem, which has `total` of them.
pub(crate) fn build(
    neighbors: &Neighbors,
    k: usize,
    total: usize,
    original: &[u32],
    order: &TieOrder<'_>,
    exec: Exec<'_>,
) -> Result<Graph, SolveError> {
    let mut blocks: Vec<BlockEdges> = (0..original.len().div_ceil(BLOCK_ROWS))
        .map(|_| BlockEdges::default())
        .collect();
    exec.each(&mut blocks, |block, edges| {
        exec.check()?;
        let first = block * BLOCK_ROWS;
        for row in first..(first + BLOCK_ROWS).min(original.len()) {
            edges.push_row(neighbors, k, row, original, order);
        }
        Ok(())
    })?;
    exec.check()?;
    let mut graph = assemble(blocks, total, k, original);
    exec.check()?;
    cap_rows(&mut graph);
    graph.sqrt_degrees = (0..total)
        .map(|row| sqrt_degree(row_sum(&graph, row)))
        .collect();
    Ok(graph)
}

/// Mutual edges of a block of rows, in row order.
#[derive(Default)]
struct BlockEdges {
    counts: Vec<u32>,
    edges: Vec<(u32, f32)>,
}

impl BlockEdges {
    fn push_row(
        &mut self,
        neighbors: &Neighbors,
        k: usize,
        row: usize,
        original: &[u32],
        order: &TieOrder<'_>,
    ) {
        let start = self.edges.len();
        for candidate in first(neighbors.row(row), k) {
            let back = Candidate {
                similarity: candidate.similarity,
                row: row as u32,
            };
            if holds(
                first(neighbors.row(candidate.row as usize), k),
                &back,
                order,
            ) {
                self.edges
                    .push((original[candidate.row as usize], candidate.similarity));
            }
        }
        self.edges[start..].sort_unstable_by_key(|edge| edge.0);
        self.counts.push((self.edges.len() - start) as u32);
    }
}

fn first(list: &[Candidate], k: usize) -> &[Candidate] {
    &list[..list.len().min(k)]
}

/// Whether a best-first list holds `candidate`, whose similarity is positive. A list that is not
/// full holds every positive neighbour, so in either case nothing worse than its last is in it and
/// nothing better is missing.
fn holds(list: &[Candidate], candidate: &Candidate, order: &TieOrder<'_>) -> bool {
    list.last()
        .is_some_and(|last| order.compare(last, candidate).is_ge())
}

/// Edges as they were found, without degrees.
fn assemble(blocks: Vec<BlockEdges>, total: usize, k: usize, original: &[u32]) -> Graph {
    let stored: usize = blocks.iter().map(|block| block.edges.len()).sum();
    let mut offsets = Vec::with_capacity(total + 1);
    let mut columns = Vec::with_capacity(stored);
    let mut weights = Vec::with_capacity(stored);
    let mut counts = vec![0_u32; total];
    let mut searched = original.iter();
    for block in blocks {
        for (count, &row) in block.counts.iter().zip(&mut searched) {
            counts[row as usize] = *count;
        }
        for (column, weight) in block.edges {
            columns.push(column);
            weights.push(weight);
        }
    }
    offsets.push(0);
    let mut end = 0;
    for count in counts {
        end += count as usize;
        offsets.push(end);
    }
    Graph {
        k,
        offsets,
        columns,
        weights,
        sqrt_degrees: Vec::new(),
    }
}

/// Scales weights so that heavy rows do not dominate, keeping the adjacency symmetric.
fn cap_rows(graph: &mut Graph) {
    let caps: Vec<f64> = (0..graph.rows())
        .map(|row| (ROW_CAP / (row_sum(graph, row) + 1e-12)).min(1.0))
        .collect();
    for row in 0..graph.rows() {
        for slot in graph.offsets[row]..graph.offsets[row + 1] {
            let column = graph.columns[slot] as usize;
            let factor = (caps[row] * caps[column]).sqrt();
            graph.weights[slot] = (f64::from(graph.weights[slot]) * factor) as f32;
        }
    }
}

fn row_sum(graph: &Graph, row: usize) -> f64 {
    graph.row(row).map(|(_, weight)| f64::from(weight)).sum()
}

/// Root of a degree that is at least [`MIN_DEGREE`].
pub(crate) fn sqrt_degree(degree: f64) -> f32 {
    degree.max(MIN_DEGREE).sqrt() as f32
}
