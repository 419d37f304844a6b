//! The stopping rule: all columns stop together, at the first iteration that satisfies them all.

use oscillink_lattice::{Lambdas, Params, Plan, SettleOptions};

use crate::data::{gaussian, solve_with};

/// Iterations watched.
const WATCHED: usize = 40;

#[test]
fn columns_stop_together_at_the_first_iteration_within_tolerance() {
    let mut rises = 0;
    for seed in 0..6 {
        // Four panels with one column each that is not zero, and a system bad enough for their
        // residuals to go up and down.
        let mut y = gaussian(120, 64, seed);
        for (j, mut column) in y.columns_mut().into_iter().enumerate() {
            if j % 16 != 0 {
                column.fill(0.0);
            }
        }
        let lambdas = Lambdas {
            g: 0.002,
            c: 40.0,
            q: 0.0,
            p: 0.0,
        };
        let run = |tol: f64, max_iters: usize| {
            let settle = SettleOptions::new(20.0, max_iters, tol).unwrap();
            let params = Params::new(4, lambdas).unwrap();
            solve_with(
                &y,
                params,
                &Plan {
                    settle,
                    ..Plan::default()
                },
            )
        };
        let residuals: Vec<f64> = (1..=WATCHED)
            .map(|iters| run(1e-30, iters).settle.residual)
            .collect();
        rises += residuals
            .windows(2)
            .filter(|pair| pair[1] > pair[0])
            .count();
        let (high, low) = (residuals[0], residuals[WATCHED - 1]);
        for step in 0..80 {
            let tol = high * (low / high).powf(f64::from(step) / 80.0);
            let Some(stop) = residuals.iter().position(|residual| *residual <= tol) else {
                continue;
            };
            let settle = run(tol, WATCHED).settle;
            assert_eq!(settle.iters, stop + 1, "tolerance {tol}, seed {seed}");
            assert_eq!(settle.residual, residuals[stop]);
            assert!(settle.converged);
        }
    }
    assert!(rises > 0, "residuals that only fall do not test the rule");
}

#[test]
fn the_iteration_limit_is_kept_and_told() {
    let y = gaussian(100, 40, 7);
    let run = |max_iters| {
        let settle = SettleOptions::new(1.0, max_iters, 1e-12).unwrap();
        let lambdas = Lambdas {
            c: 30.0,
            ..Lambdas::default()
        };
        solve_with(
            &y,
            Params::new(6, lambdas).unwrap(),
            &Plan {
                settle,
                ..Plan::default()
            },
        )
        .settle
    };
    for max_iters in [1, 2, 5] {
        assert_eq!(run(max_iters).iters, max_iters);
        assert!(!run(max_iters).converged);
    }
    assert!(run(5).residual < run(1).residual);
}
