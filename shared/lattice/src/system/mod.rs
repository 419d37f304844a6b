//! The symmetric positive definite system behind settle and stationary state (contract, 2).

mod conjugate_gradients;
mod operator;
mod panel;

use ndarray::Array2;

use crate::error::{FieldError, SolveError};
use crate::exec::Exec;
use crate::graph::{Graph, PathGraph};
use crate::observer::Stage;
use crate::params::SettleOptions;
use crate::problem::Problem;
use crate::scale::Scale;
use crate::solution::SolveStats;
use conjugate_gradients::Limits;
use operator::Operator;

/// Tolerance of the stationary solve, absolute.
const STATIONARY_TOL: f64 = 1e-4;

/// Most iterations of the stationary solve.
const STATIONARY_MAX_ITERS: usize = 64;

/// Values one conjugate-gradient run keeps per anchor value: state, residual and direction.
pub(crate) const VECTORS: usize = 3;

pub(crate) use panel::WIDTH as PANEL_WIDTH;

/// A problem with its graph and gates, ready to be solved.
pub(crate) struct System<'a> {
    problem: &'a Problem<'a>,
    gates: &'a [f32],
    operator: Operator,
    scale: Scale,
}

impl<'a> System<'a> {
    pub(crate) fn new(
        problem: &'a Problem<'a>,
        graph: &Graph,
        path: Option<&PathGraph>,
        gates: &'a [f32],
        scale: Scale,
    ) -> Self {
        let operator = Operator::new(graph, path, gates, problem.params().lambdas());
        Self {
            problem,
            gates,
            operator,
            scale,
        }
    }

    /// One implicit Euler step from the anchors: `(I + dt M) U = Y + dt F`.
    pub(crate) fn settle(
        &self,
        options: SettleOptions,
        exec: Exec<'_>,
    ) -> Result<(Array2<f32>, SolveStats), SolveError> {
        let limits = Limits {
            tol: options.tol(),
            max_iters: options.max_iters(),
        };
        self.solve(
            &self.operator.implicit_step(options.dt()),
            limits,
            Stage::Settle,
            exec,
        )
    }

    /// The stationary state: `M U* = F`.
    pub(crate) fn stationary(
        &self,
        exec: Exec<'_>,
    ) -> Result<(Array2<f32>, SolveStats), SolveError> {
        let limits = Limits {
            tol: STATIONARY_TOL,
            max_iters: STATIONARY_MAX_ITERS,
        };
        self.solve(&self.operator.stationary(), limits, Stage::Stationary, exec)
    }

    fn solve(
        &self,
        shifted: &operator::Shifted<'_>,
        limits: Limits,
        stage: Stage,
        exec: Exec<'_>,
    ) -> Result<(Array2<f32>, SolveStats), SolveError> {
        let input = panel::Input {
            anchors: self.problem.anchors(),
            query: self.problem.query(),
            gates: self.gates,
            columns: self.problem.columns(),
            scale: self.scale.factor,
        };
        // Residuals are those of the scaled system; the tolerance is scaled to match.
        let unit = shifted.residual_unit() * f64::from(self.scale.inverse);
        let scaled = Limits {
            tol: limits.tol / unit,
            ..limits
        };
        let run = conjugate_gradients::solve(shifted, &input, scaled, stage, exec)?;
        let residual = run.residual * unit;
        let state = panel::assemble(&run.panels, &input, self.scale.inverse, exec)?;
        let state = state.filter(|_| residual.is_finite()).ok_or_else(|| {
            FieldError::new(
                "params",
                "the system is too ill-conditioned to solve in float32",
            )
        })?;
        let stats = SolveStats {
            iters: run.iters,
            residual,
            converged: residual <= limits.tol,
        };
        Ok((state, stats))
    }
}
