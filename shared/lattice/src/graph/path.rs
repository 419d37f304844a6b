//! The path graph of a chain (contract, 1.6).

use std::collections::BTreeMap;

use super::adjacency::sqrt_degree;
use crate::chain::Chain;

/// Path adjacency over the rows of a chain; all other rows have no path edges.
pub(crate) struct PathGraph {
    rows: BTreeMap<usize, Vec<(usize, f32)>>,
    sqrt_degrees: BTreeMap<usize, f32>,
}

impl PathGraph {
    /// One edge per step; an edge walked twice keeps its larger weight.
    pub(crate) fn new(chain: &Chain) -> Self {
        let mut edges: BTreeMap<(usize, usize), f32> = BTreeMap::new();
        for (from, to, weight) in chain.steps() {
            let kept = edges.entry((from.min(to), from.max(to))).or_insert(weight);
            *kept = kept.max(weight);
        }
        // Edges come by ascending lower end, so every row gets its columns in ascending order.
        let mut rows: BTreeMap<usize, Vec<(usize, f32)>> = BTreeMap::new();
        for (&(low, high), &weight) in edges.iter().filter(|(_, weight)| **weight > 0.0) {
            rows.entry(low).or_default().push((high, weight));
            rows.entry(high).or_default().push((low, weight));
        }
        let sqrt_degrees = rows
            .iter()
            .map(|(&row, edges)| {
                let degree: f64 = edges.iter().map(|(_, weight)| f64::from(*weight)).sum();
                (row, sqrt_degree(degree))
            })
            .collect();
        Self { rows, sqrt_degrees }
    }

    /// Path neighbours of a row, by ascending column.
    pub(crate) fn row(&self, row: usize) -> &[(usize, f32)] {
        self.rows.get(&row).map_or(&[], Vec::as_slice)
    }

    /// Weight of an edge, zero when there is none.
    pub(crate) fn weight(&self, row: usize, column: usize) -> f32 {
        let edges = self.row(row);
        edges
            .binary_search_by_key(&column, |edge| edge.0)
            .map_or(0.0, |slot| edges[slot].1)
    }

    /// Root of a row's path degree.
    pub(crate) fn sqrt_degree(&self, row: usize) -> f32 {
        self.sqrt_degrees
            .get(&row)
            .copied()
            .unwrap_or_else(|| sqrt_degree(0.0))
    }
}
