//! Section 9 of the contract: a named error or a defined answer for every odd input.

use ndarray::{Array1, Array2, array};
use oscillink_lattice::{
    Chain, ChainReceiptOptions, DiffusionParams, FieldError, Lambdas, Params, Plan, Problem,
    ReceiptDetail, ReceiptOptions, SettleOptions, Solution, SolveError, Unobserved,
    matrix_from_rows, solve,
};

use crate::data::{gaussian, params, query, solve_with};

fn field<T: std::fmt::Debug>(outcome: Result<T, FieldError>) -> String {
    let error = outcome.unwrap_err();
    assert!(!error.detail.is_empty());
    assert!(error.to_string().starts_with(&error.field));
    error.field
}

fn lambdas(change: impl FnOnce(&mut Lambdas)) -> Result<Params, FieldError> {
    let mut lambdas = Lambdas::default();
    change(&mut lambdas);
    Params::new(6, lambdas)
}

#[test]
fn parameters_out_of_range_name_themselves() {
    let cases: Vec<(Result<Params, FieldError>, &str)> = vec![
        (Params::new(0, Lambdas::default()), "params.kneighbors"),
        (lambdas(|l| l.g = 0.0), "params.lamG"),
        (lambdas(|l| l.g = -1.0), "params.lamG"),
        (lambdas(|l| l.g = f64::NAN), "params.lamG"),
        (lambdas(|l| l.c = -0.1), "params.lamC"),
        (lambdas(|l| l.c = f64::INFINITY), "params.lamC"),
        (lambdas(|l| l.q = -1e-9), "params.lamQ"),
        (lambdas(|l| l.p = -2.0), "params.lamP"),
        (lambdas(|l| l.p = 1e39), "params.lamP"),
    ];
    for (outcome, name) in cases {
        assert_eq!(field(outcome), name);
    }
    assert_eq!(field(SettleOptions::new(0.0, 1, 1.0)), "options.dt");
    assert_eq!(field(SettleOptions::new(-1.0, 1, 1.0)), "options.dt");
    assert_eq!(field(SettleOptions::new(1.0, 0, 1.0)), "options.max_iters");
    assert_eq!(field(SettleOptions::new(1.0, 1, 0.0)), "options.tol");
    assert_eq!(field(SettleOptions::new(1.0, 1, f64::NAN)), "options.tol");
    assert_eq!(field(DiffusionParams::new(1.0, 0.0)), "diffusion.gamma");
    assert_eq!(field(DiffusionParams::new(1.0, -0.1)), "diffusion.gamma");
    assert_eq!(field(DiffusionParams::new(f64::NAN, 0.1)), "diffusion.beta");
    let kneighbors = DiffusionParams::default().with_kneighbors(Some(0));
    assert_eq!(field(kneighbors), "diffusion.kneighbors");
}

#[test]
fn matrices_and_vectors_that_do_not_fit_name_themselves() {
    let y = array![[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let problem = |y: &Array2<f32>, psi: Option<&[f32]>, gates: Option<&[f32]>| {
        let psi = psi.map(|psi| Array1::from_vec(psi.to_vec()));
        let gates = gates.map(|gates| Array1::from_vec(gates.to_vec()));
        Problem::new(
            y.view(),
            psi.as_ref().map(|psi| psi.view()),
            gates.as_ref().map(|gates| gates.view()),
            None,
            Params::default(),
        )
        .map(|problem| problem.rows())
    };
    assert_eq!(
        problem(&y, Some(&[1.0, 2.0]), Some(&[0.0, 1.0, 2.0])),
        Ok(3)
    );
    for shape in [(0, 3), (3, 0), (0, 0)] {
        assert_eq!(field(problem(&Array2::zeros(shape), None, None)), "Y");
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.9e19, -3e38] {
        let mut broken = y.clone();
        broken[[1, 1]] = bad;
        let error = problem(&broken, None, None).unwrap_err();
        assert_eq!(error.field, "Y");
        assert!(error.detail.contains("row 1, column 1"), "{error}");
        assert_eq!(field(problem(&y, Some(&[1.0, bad]), None)), "psi");
    }
    assert_eq!(field(problem(&y, Some(&[1.0]), None)), "psi");
    assert_eq!(field(problem(&y, Some(&[1.0; 3]), None)), "psi");
    assert_eq!(field(problem(&y, None, Some(&[1.0]))), "gates");
    for bad in [-0.5, f32::NAN, f32::INFINITY] {
        assert_eq!(field(problem(&y, None, Some(&[1.0, bad, 1.0]))), "gates");
    }
    assert_eq!(field(matrix_from_rows(&[vec![1.0, 2.0], vec![3.0]])), "Y");
    assert_eq!(
        matrix_from_rows(&[vec![1.0, 2.0], vec![3.0, 4.0]]).unwrap()[[1, 0]],
        3.0
    );
}

#[test]
fn chains_that_do_not_fit_name_themselves() {
    assert_eq!(field(Chain::new(vec![1], None)), "chain");
    assert_eq!(field(Chain::new(vec![], None)), "chain");
    assert_eq!(field(Chain::new(vec![0, 1, 1], None)), "chain");
    assert_eq!(field(Chain::new(vec![0, 1], Some(vec![]))), "chain_weights");
    assert_eq!(
        field(Chain::new(vec![0, 1], Some(vec![1.0, 1.0]))),
        "chain_weights"
    );
    assert_eq!(
        field(Chain::new(vec![0, 1], Some(vec![-1.0]))),
        "chain_weights"
    );
    assert_eq!(
        field(Chain::new(vec![0, 1], Some(vec![f32::NAN]))),
        "chain_weights"
    );
    let y = gaussian(3, 2, 1);
    let chain = Chain::new(vec![0, 3], None).unwrap();
    let outcome = Problem::new(y.view(), None, None, Some(&chain), Params::default());
    assert_eq!(field(outcome.map(|problem| problem.rows())), "chain");
}

#[test]
fn plans_that_do_not_fit_the_problem_name_the_field() {
    let y = gaussian(5, 2, 1);
    let gates = Array1::ones(5);
    let refused = |gates: Option<&Array1<f32>>, plan: Plan| {
        let gates = gates.map(|gates| gates.view());
        let problem = Problem::new(y.view(), None, gates, None, Params::default()).unwrap();
        match solve(&problem, &plan, &Unobserved) {
            Err(SolveError::Invalid(error)) => error.field,
            other => panic!("{other:?}"),
        }
    };
    let diffusion = Plan {
        diffusion: Some(DiffusionParams::default()),
        ..Plan::default()
    };
    assert_eq!(refused(Some(&gates), diffusion), "gates");
    let chained = |nodes| {
        let options = ChainReceiptOptions {
            nodes,
            ..ChainReceiptOptions::default()
        };
        Plan {
            chain_receipt: Some(options),
            ..Plan::default()
        }
    };
    assert_eq!(refused(None, chained(None)), "chain");
    assert_eq!(refused(None, chained(Some(vec![0, 9]))), "chain");
    assert_eq!(refused(None, chained(Some(vec![0]))), "chain");
}

fn full() -> Plan {
    Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(8),
        diffusion: Some(DiffusionParams::default()),
        ..Plan::default()
    }
}

fn assert_finite(solution: &Solution) {
    assert!(solution.u.iter().all(|v| v.is_finite()));
    assert!(solution.ustar.iter().flatten().all(|v| v.is_finite()));
    assert!(solution.gates.iter().all(|v| (0.0..=1.0).contains(v)));
    assert!(solution.settle.residual.is_finite());
    let receipt = solution.receipt.as_ref().unwrap();
    for value in [
        receipt.delta_h_total,
        receipt.coh_drop_sum,
        receipt.anchor_pen_sum,
        receipt.query_term_sum,
    ] {
        assert!(value.is_finite());
    }
    assert!(
        receipt
            .null_points
            .iter()
            .all(|p| p.z.is_finite() && p.residual.is_finite())
    );
    assert!(
        solution
            .bundle
            .iter()
            .flatten()
            .all(|b| b.score.is_finite() && b.align.is_finite())
    );
}

#[test]
fn a_single_row_settles_by_itself() {
    for plan in [Plan::default(), full()] {
        let solution = solve_with(&array![[3.0_f32, -4.0]], params(6), &plan);
        assert_eq!(solution.k_effective, 1);
        assert_eq!(solution.graph.stored(), 0);
        assert_eq!(solution.graph.sqrt_degrees(), [1e-6]);
    }
}

#[test]
fn all_zero_rows_have_no_edges_and_stay_finite() {
    let y = Array2::<f32>::zeros((20, 4));
    let solution = solve_with(&y, params(6), &full());
    assert_finite(&solution);
    assert_eq!(solution.graph.stored(), 0);
    assert!(solution.u.iter().all(|v| *v == 0.0));
    assert_eq!(solution.settle.iters, 1);
    assert!(solution.settle.converged);
    assert!(
        solution.gates.iter().all(|gate| *gate == 1.0),
        "no query similarity to tell apart"
    );
    assert_eq!(solution.bundle.as_ref().unwrap().len(), 8);
    assert_eq!(solution.bundle.unwrap()[0].id, 0, "the first row wins ties");
}

#[test]
fn opposed_rows_have_no_edges() {
    let solution = solve_with(&array![[1.0_f32, 0.5], [-1.0, -0.5]], params(6), &full());
    assert_finite(&solution);
    assert_eq!(solution.graph.stored(), 0);
    assert!(solution.receipt.unwrap().null_points.is_empty());
}

#[test]
fn without_a_query_rows_are_pulled_to_the_origin() {
    let y = gaussian(30, 5, 2);
    let problem = Problem::new(y.view(), None, None, None, params(6)).unwrap();
    let solution = solve(&problem, &full(), &Unobserved).unwrap();
    assert_finite(&solution);
    assert!(
        solution
            .bundle
            .unwrap()
            .iter()
            .all(|item| item.align == 0.0)
    );
    let size = |state: &Array2<f32>| state.iter().map(|v| v * v).sum::<f32>();
    assert!(size(&solution.u) < 0.5 * size(&y));
}

#[test]
fn extreme_magnitudes_stay_finite_and_scale() {
    let y = gaussian(60, 7, 3);
    let plain = solve_with(&y, params(6), &full());
    for exponent in [-120, -60, 61] {
        let factor = 2.0_f32.powi(exponent);
        let solution = solve_with(&(&y * factor), params(6), &full());
        assert_finite(&solution);
        if exponent > 0 {
            assert_eq!(solution.graph, plain.graph);
        }
    }
}

#[test]
fn ill_conditioned_parameters_end_and_say_so() {
    let y = gaussian(400, 12, 4);
    for (g, c, q, gamma) in [
        (0.01, 100.0, 4.0, 1e-4),
        (1e-6, 1000.0, 0.0, 1e-6),
        (1e-30, 1e6, 0.0, 1e-12),
        (1e-38, 1e38, 1e38, 1e38),
        (1e38, 1e-38, 0.0, 0.1),
    ] {
        let params = Params::new(6, Lambdas { g, c, q, p: 0.0 }).unwrap();
        let plan = Plan {
            diffusion: Some(DiffusionParams::new(1.0, gamma).unwrap()),
            ..full()
        };
        let solution = solve_with(&y, params, &plan);
        assert_finite(&solution);
        let stationary = solution.stationary.unwrap();
        assert_eq!(stationary.converged, stationary.residual <= 1e-4);
        assert_eq!(solution.settle.converged, solution.settle.residual <= 1e-3);
        assert!(stationary.iters <= 64 && solution.settle.iters <= 12);
        let receipt = solution.receipt.unwrap();
        assert_eq!(receipt.meta.ustar_converged, stationary.converged);
    }
}

#[test]
fn a_nearly_singular_diffusion_falls_back_to_uniform_gates() {
    let y = gaussian(60, 6, 5);
    let plan = Plan {
        diffusion: Some(DiffusionParams::new(1.0, 1e-300).unwrap()),
        ..full()
    };
    let solution = solve_with(&y, params(6), &plan);
    assert_finite(&solution);
    let report = solution.diffusion.unwrap();
    assert_eq!(report.note, Some("fallback_uniform"));
    assert!(solution.gates.iter().all(|gate| *gate == 1.0));
    assert_eq!(
        (report.gate_min, report.gate_max, report.gate_mean),
        (1.0, 1.0, 1.0)
    );
    let fine = solve_with(&y, params(6), &full()).diffusion.unwrap();
    assert_eq!(fine.note, None);
    assert_eq!((fine.gate_min, fine.gate_max), (0.0, 1.0));
    assert!(fine.gate_mean > 0.0 && fine.gate_mean < 1.0);
}

#[test]
fn a_light_receipt_has_the_energy_drop_only() {
    let y = gaussian(50, 6, 6);
    let receipt = |detail, null_cap| {
        let receipt = Some(ReceiptOptions { detail, null_cap });
        solve_with(
            &y,
            params(6),
            &Plan {
                receipt,
                ..Plan::default()
            },
        )
        .receipt
        .unwrap()
    };
    let full = receipt(ReceiptDetail::Full, None);
    let light = receipt(ReceiptDetail::Light, None);
    assert_eq!(light.delta_h_total, full.delta_h_total);
    assert_eq!(
        (
            light.coh_drop_sum,
            light.anchor_pen_sum,
            light.query_term_sum
        ),
        (0.0, 0.0, 0.0)
    );
    assert!(light.null_points.is_empty() && light.per_node.is_none());
    assert_eq!(light.meta.receipt_detail.as_str(), "light");
    assert!(!full.null_points.is_empty());
}

#[test]
fn a_cap_keeps_the_highest_null_points() {
    let y = gaussian(80, 6, 7);
    let receipt = |null_cap| {
        let options = ReceiptOptions {
            null_cap,
            ..ReceiptOptions::default()
        };
        let plan = Plan {
            receipt: Some(options),
            ..Plan::default()
        };
        solve_with(&y, params(6), &plan).receipt.unwrap()
    };
    let mut all = receipt(None).null_points;
    assert_eq!(receipt(Some(0)).null_points, all);
    let uncapped = receipt(Some(all.len())).meta.null_points_summary;
    assert!(!uncapped.null_cap_applied);
    let capped = receipt(Some(3));
    all.sort_by(|a, b| b.z.total_cmp(&a.z));
    assert_eq!(capped.null_points, all[..3]);
    let summary = capped.meta.null_points_summary;
    assert_eq!(
        (summary.total_null_points, summary.returned_null_points),
        (all.len(), 3)
    );
    assert!(summary.null_cap_applied);
}

#[test]
fn a_chain_can_be_examined_without_being_in_force() {
    let y = gaussian(40, 6, 8);
    let psi = query(&y);
    let plan = Plan {
        chain_receipt: Some(ChainReceiptOptions {
            nodes: Some(vec![3, 9, 12]),
            z_threshold: 1e6,
        }),
        ..Plan::default()
    };
    let examine = |chain: Option<&Chain>| {
        let problem = Problem::new(y.view(), Some(psi.view()), None, chain, params(6)).unwrap();
        let solution = solve(&problem, &plan, &Unobserved).unwrap();
        (solution.chain_receipt.unwrap(), solution.state_sig)
    };
    let (free, free_sig) = examine(None);
    assert_eq!(
        free.edges.iter().map(|e| e.edge).collect::<Vec<_>>(),
        [[3, 9], [9, 12]]
    );
    assert!(free.verdict);
    assert!(free.edges.iter().all(|edge| edge.r_path > 0.0));
    // With a chain in force, its path is the one residuals are measured on.
    let other = Chain::new(vec![20, 21], None).unwrap();
    let (bound, bound_sig) = examine(Some(&other));
    assert!(bound.edges.iter().all(|edge| edge.r_path == 0.0));
    assert_ne!(free_sig, bound_sig);
}

#[test]
fn a_repeated_chain_edge_keeps_its_larger_weight() {
    let y = gaussian(20, 4, 9);
    let params = Params::new(
        6,
        Lambdas {
            p: 2.0,
            ..Lambdas::default()
        },
    )
    .unwrap();
    let settled = |nodes, weights| {
        let chain = Chain::new(nodes, Some(weights)).unwrap();
        let problem = Problem::new(y.view(), None, None, Some(&chain), params.clone()).unwrap();
        solve(&problem, &Plan::default(), &Unobserved).unwrap().u
    };
    let once = settled(vec![0, 1, 2], vec![3.0, 1.0]);
    assert_eq!(settled(vec![1, 0, 1, 2], vec![0.5, 3.0, 1.0]), once);
    assert_ne!(settled(vec![1, 0, 1, 2], vec![0.5, 0.7, 1.0]), once);
}

#[test]
fn bundles_are_clamped_to_the_rows() {
    let y = gaussian(5, 3, 10);
    let ids = |size| {
        let plan = Plan {
            bundle_k: Some(size),
            ..Plan::default()
        };
        let bundle = solve_with(&y, params(2), &plan).bundle.unwrap();
        bundle.iter().map(|item| item.id).collect::<Vec<_>>()
    };
    assert!(ids(0).is_empty());
    let mut all = ids(99);
    assert_eq!(all[..3], ids(3)[..]);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4]);
}

#[test]
fn a_chain_through_one_hub_takes_bounded_time() {
    // Every other node is row 0, whose path row then has thousands of entries.
    let n = 12_000;
    let y = gaussian(n, 2, 11);
    let nodes = (1..n).flat_map(|node| [0, node]).collect();
    let chain = Chain::new(nodes, None).unwrap();
    let params = Params::new(
        3,
        Lambdas {
            p: 0.5,
            ..Lambdas::default()
        },
    )
    .unwrap();
    let problem = Problem::new(y.view(), None, None, Some(&chain), params).unwrap();
    let plan = Plan {
        chain_receipt: Some(ChainReceiptOptions::default()),
        ..Plan::default()
    };
    let receipt = solve(&problem, &plan, &Unobserved)
        .unwrap()
        .chain_receipt
        .unwrap();
    assert_eq!(receipt.edges.len(), 2 * n - 3);
    assert!(
        receipt
            .edges
            .iter()
            .all(|edge| edge.r_path.is_finite() && edge.z_path.is_finite())
    );
}
