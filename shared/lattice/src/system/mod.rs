//! The symmetric positive definite system behind settle and stationary state (contract, 2).

mod conjugate_gradients;
mod operator;
mod panel;

use ndarray::Array2;

use crate::arena::Pooled;
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

/// Rows up to which two cache lines per row and vector stay in the second-level cache.
const FEW_ROWS: usize = 2000;

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
        let few = self.gates.len() <= FEW_ROWS && input.columns > PANEL_WIDTH;
        let (state, stats) = if few {
            self.run::<2>(shifted, &input, scaled, stage, exec)?
        } else {
            self.run::<1>(shifted, &input, scaled, stage, exec)?
        };
        let residual = stats.residual * unit;
        let state = state.filter(|_| residual.is_finite()).ok_or_else(|| {
            FieldError::new(
                "params",
                "the system is too ill-conditioned to solve in float32",
            )
        })?;
        let stats = SolveStats {
            residual,
            converged: residual <= limits.tol,
            ..stats
        };
        Ok((state, stats))
    }

    /// The state, if it is finite, and how the scaled run ended.
    fn run<const LINES: usize>(
        &self,
        shifted: &operator::Shifted<'_>,
        input: &panel::Input<'_>,
        limits: Limits,
        stage: Stage,
        exec: Exec<'_>,
    ) -> Result<(Option<Array2<f32>>, SolveStats), SolveError>
    where
        panel::Line<LINES>: Pooled,
    {
        let run = conjugate_gradients::solve::<LINES>(shifted, input, limits, stage, exec)?;
        let state = panel::assemble(&run.panels, input, self.scale.inverse, exec)?;
        let stats = SolveStats {
            iters: run.iters,
            residual: run.residual,
            converged: run.residual <= limits.tol,
        };
        Ok((state, stats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphRequest, build_all};
    use crate::observer::Unobserved;
    use crate::params::Params;

    #[test]
    fn columns_do_not_depend_on_how_many_share_a_panel() {
        for columns in [1, 16, 17, 40, 64] {
            let y = Array2::from_shape_fn((150, columns), |(i, j)| {
                ((i * 31 + j * 17) as f32).sin() * (1.0 + j as f32)
            });
            let psi = y.row(3);
            let problem = Problem::new(y.view(), Some(psi), None, None, Params::default()).unwrap();
            let exec = Exec::new(&Unobserved, 0);
            let request = GraphRequest {
                kneighbors: 6,
                seed: None,
            };
            let graph = build_all(&problem, &[request], None, exec)
                .unwrap()
                .remove(0);
            let gates: Vec<f32> = (0..150).map(|row| (row % 7) as f32 / 7.0).collect();
            let scale = Scale::for_largest(1.0);
            let system = System::new(&problem, &graph, None, &gates, scale);
            let input = panel::Input {
                anchors: problem.anchors(),
                query: problem.query(),
                gates: &gates,
                columns,
                scale: scale.factor,
            };
            let limits = Limits {
                tol: 1e-4,
                max_iters: 64,
            };
            let matrix = system.operator.stationary();
            let stage = Stage::Stationary;
            let one = system
                .run::<1>(&matrix, &input, limits, stage, exec)
                .unwrap();
            let two = system
                .run::<2>(&matrix, &input, limits, stage, exec)
                .unwrap();
            assert!(one.1.iters > 3);
            assert_eq!(one, two, "{columns} columns");
        }
    }
}
