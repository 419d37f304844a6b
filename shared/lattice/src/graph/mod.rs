//! The mutual nearest-neighbour graph (contract, section 1).

mod adjacency;
mod candidates;
mod path;
mod rows;
mod search;
mod similarity;
mod ties;
mod tile;

pub(crate) use candidates::capacity as candidate_capacity;
pub(crate) use path::PathGraph;
pub(crate) use rows::norm;
pub(crate) use search::BLOCK_ROWS;

use crate::error::SolveError;
use crate::exec::Exec;
use crate::problem::{Problem, clamp_k};
use rows::NormalizedRows;
use search::Neighbors;
use ties::TieOrder;

/// Symmetric weighted adjacency in compressed rows, columns ascending within a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    k: usize,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f32>,
    sqrt_degrees: Vec<f32>,
}

impl Graph {
    /// Neighbours per row asked of the search, after clamping.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows, N.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Stored entries: twice the number of undirected edges.
    pub fn stored(&self) -> usize {
        self.columns.len()
    }

    /// Neighbours of a row and the weights of their edges, by ascending column.
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (usize, f32)> + '_ {
        let slots = self.offsets[row]..self.offsets[row + 1];
        self.columns[slots.clone()]
            .iter()
            .zip(&self.weights[slots])
            .map(|(&column, &weight)| (column as usize, weight))
    }

    /// Stored entries `(row, column, weight)` in row-major order, each edge in both directions.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
        (0..self.rows()).flat_map(|row| {
            self.row(row)
                .map(move |(column, weight)| (row, column, weight))
        })
    }

    /// `d_i`, the root of each row's degree (1e-6 for a row without edges).
    pub fn sqrt_degrees(&self) -> &[f32] {
        &self.sqrt_degrees
    }

    /// Stored entries per row.
    pub fn avg_degree(&self) -> f64 {
        self.stored() as f64 / self.rows().max(1) as f64
    }

    /// Stored entries over `N(N-1)`.
    pub fn edge_density(&self) -> f64 {
        let n = self.rows() as f64;
        self.stored() as f64 / (n * (n - 1.0)).max(1.0)
    }

    /// Where a row's entries are stored.
    pub(crate) fn slots(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row]..self.offsets[row + 1]
    }

    pub(crate) fn columns(&self) -> &[u32] {
        &self.columns
    }

    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Where the entry `(row, column)` is stored.
    pub(crate) fn slot(&self, row: usize, column: usize) -> Option<usize> {
        let slots = self.slots(row);
        let found = self.columns[slots.clone()]
            .binary_search(&(column as u32))
            .ok()?;
        Some(slots.start + found)
    }

    /// Part of `L_ii` that the row's edges do not account for: 1 for a row without edges, 0 (up to
    /// rounding) otherwise.
    pub(crate) fn diagonal_excess(&self, row: usize) -> f64 {
        let root = f64::from(self.sqrt_degrees[row]);
        let sum: f64 = self.row(row).map(|(_, weight)| f64::from(weight)).sum();
        (1.0 - sum / (root * root)).max(0.0)
    }
}

/// How one graph of a run is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GraphRequest {
    pub(crate) kneighbors: usize,
    pub(crate) seed: Option<i64>,
}

/// Builds the graphs of a run. Graphs that break ties alike share one search: the order of
/// neighbours is total, so the best k of a longer list are its first k.
pub(crate) fn build_all(
    problem: &Problem<'_>,
    requests: &[GraphRequest],
    exec: Exec<'_>,
) -> Result<Vec<Graph>, SolveError> {
    let rows = NormalizedRows::new(problem, exec)?;
    let mut graphs: Vec<Graph> = Vec::with_capacity(requests.len());
    let mut searched: Option<(Option<i64>, Neighbors)> = None;
    for (index, request) in requests.iter().enumerate() {
        let k = clamp_k(request.kneighbors, problem.rows());
        let twin = requests[..index]
            .iter()
            .zip(&graphs)
            .find(|(earlier, graph)| earlier.seed == request.seed && graph.k == k);
        if let Some((_, graph)) = twin {
            graphs.push(graph.clone());
            continue;
        }
        let order = TieOrder::new(request.seed, rows.original());
        if searched
            .as_ref()
            .is_none_or(|(seed, _)| *seed != request.seed)
        {
            let most = longest(requests, request.seed, problem.rows());
            searched = Some((request.seed, search::nearest(&rows, most, &order, exec)?));
        }
        if let Some((_, neighbors)) = &searched {
            graphs.push(adjacency::build(
                neighbors,
                k,
                problem.rows(),
                rows.original(),
                &order,
                exec,
            )?);
        }
    }
    Ok(graphs)
}

fn longest(requests: &[GraphRequest], seed: Option<i64>, rows: usize) -> usize {
    requests
        .iter()
        .filter(|request| request.seed == seed)
        .map(|request| clamp_k(request.kneighbors, rows))
        .max()
        .unwrap_or(1)
}
