//! `M = lamG I + lamC L + lamQ diag(b) + lamP L_path` as a diagonal and compressed rows.
//!
//! `M` is stored divided by a power of two near its largest diagonal entry, so that squares of
//! residuals stay within float32 whatever the parameters are.

use crate::graph::{Graph, PathGraph};
use crate::params::Lambdas;
use crate::scale::{floor_log2, power_of_two};

/// The system matrix. Off-diagonal entries are stored negated, that is as `A`-like weights.
pub(crate) struct Operator {
    /// `M_ii`, unscaled.
    diagonal: Vec<f64>,
    /// `lamQ b_i`, unscaled.
    query_pull: Vec<f64>,
    anchor_pull: f64,
    /// Jacobi preconditioner `lamG + lamQ b_i + lamP [chain present]`, unscaled.
    preconditioner: Vec<f64>,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    /// `-M_ij` divided by `unit`.
    weights: Vec<f32>,
    unit: f64,
}

impl Operator {
    pub(crate) fn new(
        graph: &Graph,
        path: Option<&PathGraph>,
        gates: &[f32],
        lambdas: Lambdas,
    ) -> Self {
        let chain_pull = if path.is_some() { lambdas.p } else { 0.0 };
        let query_pull: Vec<f64> = gates
            .iter()
            .map(|gate| lambdas.q * f64::from(*gate))
            .collect();
        let preconditioner: Vec<f64> = query_pull
            .iter()
            .map(|pull| lambdas.g + pull + chain_pull)
            .collect();
        let diagonal: Vec<f64> = preconditioner.iter().map(|own| own + lambdas.c).collect();
        let unit = power_near(diagonal.iter().copied().fold(0.0, f64::max));
        let mut operator = Self {
            diagonal,
            query_pull,
            anchor_pull: lambdas.g,
            preconditioner,
            offsets: vec![0],
            columns: Vec::with_capacity(graph.stored()),
            weights: Vec::with_capacity(graph.stored()),
            unit,
        };
        for row in 0..graph.rows() {
            operator.push_row(row, graph, path, lambdas);
        }
        operator
    }

    fn push_row(&mut self, row: usize, graph: &Graph, path: Option<&PathGraph>, lambdas: Lambdas) {
        let roots = graph.sqrt_degrees();
        let start = self.columns.len();
        for (column, weight) in graph.row(row) {
            let normalized = f64::from(weight) / (f64::from(roots[row]) * f64::from(roots[column]));
            self.columns.push(column as u32);
            self.weights
                .push((lambdas.c * normalized / self.unit) as f32);
        }
        if let Some(path) = path {
            self.push_path_edges(row, start, graph, path, lambdas.p);
        }
        self.offsets.push(self.columns.len());
    }

    /// Adds the path edges of a row to the graph edges pushed from `start` on.
    fn push_path_edges(
        &mut self,
        row: usize,
        start: usize,
        graph: &Graph,
        path: &PathGraph,
        lam_p: f64,
    ) {
        for &(column, weight) in path.row(row) {
            let roots = f64::from(path.sqrt_degree(row)) * f64::from(path.sqrt_degree(column));
            let added = (lam_p * f64::from(weight) / roots / self.unit) as f32;
            match graph.slot(row, column) {
                Some(slot) => self.weights[start + slot - graph.slots(row).start] += added,
                None => {
                    self.columns.push(column as u32);
                    self.weights.push(added);
                }
            }
        }
    }

    /// `I + dt M`, started from the anchors.
    pub(crate) fn implicit_step(&self, dt: f64) -> Shifted<'_> {
        Shifted::new(self, 1.0, dt)
    }

    /// `M`.
    pub(crate) fn stationary(&self) -> Shifted<'_> {
        Shifted::new(self, 0.0, 1.0)
    }
}

/// `shift I + factor M`, divided by a power of two near its largest diagonal entry.
pub(crate) struct Shifted<'a> {
    operator: &'a Operator,
    /// Diagonal of the matrix.
    diagonal: Vec<f32>,
    /// Reciprocal of the preconditioner.
    inverse_preconditioner: Vec<f32>,
    /// Initial residual from anchor, `-(M_ii - lamG) factor`, per row.
    start_anchor: Vec<f32>,
    /// Initial residual from the query, `lamQ b_i factor`, per row.
    start_query: Vec<f32>,
    /// What stored weights are multiplied by.
    weight_factor: f32,
    unit: f64,
}

impl<'a> Shifted<'a> {
    fn new(operator: &'a Operator, shift: f64, factor: f64) -> Self {
        let largest = operator.diagonal.iter().copied().fold(0.0, f64::max);
        let unit = power_near(shift + factor * largest);
        let scaled = |value: f64| (value / unit) as f32;
        Self {
            operator,
            diagonal: operator
                .diagonal
                .iter()
                .map(|m| scaled(shift + factor * m))
                .collect(),
            inverse_preconditioner: operator
                .preconditioner
                .iter()
                .map(|own| (unit / (shift + factor * own)).min(f64::from(f32::MAX)) as f32)
                .collect(),
            start_anchor: operator
                .diagonal
                .iter()
                .map(|m| scaled(-factor * (m - operator.anchor_pull)))
                .collect(),
            start_query: operator
                .query_pull
                .iter()
                .map(|pull| scaled(factor * pull))
                .collect(),
            weight_factor: scaled(factor * operator.unit),
            unit,
        }
    }

    /// What a residual of this matrix must be multiplied by to be one of the undivided matrix.
    pub(crate) fn residual_unit(&self) -> f64 {
        self.unit
    }

    #[inline(always)]
    pub(crate) fn diagonal(&self, row: usize) -> f32 {
        self.diagonal[row]
    }

    #[inline(always)]
    pub(crate) fn inverse_preconditioner(&self, row: usize) -> f32 {
        self.inverse_preconditioner[row]
    }

    /// Residual at the anchors is `anchor*y_i + query*psi + sum_j w_ij y_j`: `F - M Y` with the
    /// `lamG Y` of both sides cancelled by hand, so that no digits are lost to it.
    #[inline(always)]
    pub(crate) fn start(&self, row: usize) -> (f32, f32) {
        (self.start_anchor[row], self.start_query[row])
    }

    #[inline(always)]
    pub(crate) fn weight_factor(&self) -> f32 {
        self.weight_factor
    }

    /// Columns and stored weights of a row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let slots = self.operator.offsets[row]..self.operator.offsets[row + 1];
        (
            &self.operator.columns[slots.clone()],
            &self.operator.weights[slots],
        )
    }
}

/// The power of two at or below `value`.
fn power_near(value: f64) -> f64 {
    power_of_two(floor_log2(value))
}
