//! The mutual nearest-neighbour graph (contract, section 1).

mod adjacency;
mod bar;
mod candidates;
mod checkpoint;
mod direct;
mod frame;
mod neighbors;
mod packed;
mod pair;
mod path;
mod rows;
mod schedule;
mod search;
mod similarity;
#[cfg(test)]
mod tests;
mod ties;
mod tile;
mod wide;

pub(crate) use candidates::capacity as candidate_capacity;
pub use checkpoint::Checkpoint;
pub(crate) use path::PathGraph;
pub(crate) use search::{BLOCK_ROWS, MOST_KEPT};

use crate::error::SolveError;
use crate::exec::Exec;
use crate::problem::{Problem, clamp_k};
use checkpoint::Keeper;
use neighbors::Neighbors;
use rows::NormalizedRows;
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
    #[inline(always)]
    pub(crate) fn slots(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row]..self.offsets[row + 1]
    }

    #[inline(always)]
    pub(crate) fn columns(&self) -> &[u32] {
        &self.columns
    }

    #[inline(always)]
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
/// neighbours is total, so the best k of a longer list are its first k. Searches go on from
/// `checkpoint` where it is theirs.
pub(crate) fn build_all(
    problem: &Problem<'_>,
    requests: &[GraphRequest],
    checkpoint: Option<&Checkpoint>,
    exec: Exec<'_>,
) -> Result<Vec<Graph>, SolveError> {
    let mut keeper = Keeper::new(checkpoint);
    let rows = NormalizedRows::new(problem, exec)?;
    let mut graphs: Vec<Graph> = Vec::with_capacity(requests.len());
    let mut searched: Option<Searched> = None;
    for (index, request) in requests.iter().enumerate() {
        if searched
            .as_ref()
            .is_none_or(|done| done.seed != request.seed)
        {
            let most = longest(requests, request.seed, problem.rows());
            let others = requests[index..]
                .iter()
                .any(|other| other.seed != request.seed);
            searched = Some(Searched::new(
                &rows,
                (request.seed, most),
                others,
                &mut keeper,
                exec,
            )?);
        }
        if let Some(done) = &searched {
            let k = clamp_k(request.kneighbors, problem.rows());
            graphs.push(adjacency::build(
                &done.neighbors,
                k,
                problem.rows(),
                &done.original,
                &TieOrder::new(done.seed, &done.original),
                exec,
            )?);
        }
    }
    Ok(graphs)
}

/// A finished search.
struct Searched {
    seed: Option<i64>,
    neighbors: Neighbors,
    /// Rows of the problem that were searched.
    original: Vec<u32>,
}

impl Searched {
    fn new(
        rows: &NormalizedRows,
        (seed, k): (Option<i64>, usize),
        others_follow: bool,
        keeper: &mut Keeper<'_>,
        exec: Exec<'_>,
    ) -> Result<Self, SolveError> {
        let fewer = rows.without_surplus(k, &TieOrder::new(seed, rows.original()));
        let rows = fewer.as_ref().unwrap_or(rows);
        let original = rows.original().to_vec();
        let order = TieOrder::new(seed, &original);
        let neighbors = search::nearest(rows, k, &order, keeper, exec)?;
        if others_follow {
            keeper.finished(rows, k, &order, &neighbors);
        }
        Ok(Self {
            seed,
            neighbors,
            original,
        })
    }
}

fn longest(requests: &[GraphRequest], seed: Option<i64>, rows: usize) -> usize {
    requests
        .iter()
        .filter(|request| request.seed == seed)
        .map(|request| clamp_k(request.kneighbors, rows))
        .max()
        .unwrap_or(1)
}
