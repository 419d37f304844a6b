//! Same input, same bits: whatever the thread count, the order of rows or the scale of the values.

use ndarray::{Array2, Axis};
use oscillink_lattice::{
    Chain, ChainReceiptOptions, DiffusionParams, Graph, Lambdas, Params, Plan, Problem,
    ReceiptOptions, SettleOptions, Solution, Timings, Unobserved, solve,
};
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

use crate::data::{duplicated, gaussian, near_ties, params, query, solve_with};

pub(crate) fn everything() -> Plan {
    Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(10),
        chain_receipt: Some(ChainReceiptOptions::default()),
        diffusion: Some(DiffusionParams::default().with_kneighbors(Some(4)).unwrap()),
        ..Plan::default()
    }
}

/// All of a solution that must not vary, floats as bits.
pub(crate) fn fingerprint(mut solution: Solution) -> String {
    solution.timings = Timings::default();
    if let Some(receipt) = &mut solution.receipt {
        receipt.t_ms = 0.0;
        receipt.meta.graph_build_ms = 0.0;
        receipt.meta.ustar_solve_ms = 0.0;
        receipt.meta.last_settle_ms = 0.0;
    }
    let bits = |state: &Array2<f32>| state.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let states = (bits(&solution.u), solution.ustar.as_ref().map(bits));
    let gates: Vec<u32> = solution.gates.iter().map(|v| v.to_bits()).collect();
    // Debug output of floats is the shortest that reads back, so equal text means equal bits.
    format!(
        "{states:?} {gates:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        solution.graph,
        solution.receipt,
        solution.bundle,
        solution.chain_receipt,
        solution.diffusion,
        solution.state_sig,
    )
}

#[test]
fn thread_count_changes_no_bit() {
    for y in [
        gaussian(900, 50, 1),
        duplicated(1100, 40, 60, 2),
        near_ties(1000, 36, 1e-6, 3),
        gaussian(300, 400, 4),
    ] {
        let chain = Chain::new(vec![4, 200, 7, 8], None).unwrap();
        let psi = query(&y);
        let lambdas = Lambdas {
            p: 0.7,
            ..Lambdas::default()
        };
        let params = Params::new(7, lambdas).unwrap();
        let problem = Problem::new(y.view(), Some(psi.view()), None, Some(&chain), params).unwrap();
        let run = |threads| {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| fingerprint(solve(&problem, &everything(), &Unobserved).unwrap()))
        };
        let alone = run(1);
        for threads in [2, 4] {
            assert!(
                alone == run(threads),
                "{threads} threads give another answer"
            );
        }
    }
}

/// Edges and weights of a graph whose row `i` was row `order[i]` of another.
fn mapped_back(graph: &Graph, order: &[usize]) -> Vec<(usize, usize, u32)> {
    let mut edges: Vec<_> = graph
        .entries()
        .map(|(row, column, weight)| (order[row], order[column], weight.to_bits()))
        .collect();
    edges.sort_unstable();
    edges
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn permuted_rows_give_the_permuted_answer(
        (n, d) in (3_usize..80, 2_usize..20),
        seed in 0_u64..1_000_000,
    ) {
        let y = gaussian(n, d, seed);
        let mut numbers = crate::data::Numbers::new(seed);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_cached_key(|_| numbers.next());
        let psi = query(&y);
        let run = |y: &Array2<f32>| {
            let problem =
                Problem::new(y.view(), Some(psi.view()), None, None, params(5)).unwrap();
            let plan = Plan { receipt: Some(ReceiptOptions::default()), ..Plan::default() };
            solve(&problem, &plan, &Unobserved).unwrap()
        };
        let plain = run(&y);
        let permuted = run(&y.select(Axis(0), &order));
        let identity: Vec<usize> = (0..n).collect();
        let (want, got) = (mapped_back(&plain.graph, &identity), mapped_back(&permuted.graph, &order));
        prop_assert_eq!(want.len(), got.len());
        for (a, b) in want.iter().zip(&got) {
            prop_assert_eq!((a.0, a.1), (b.0, b.1));
            // Row sums run over columns in another order.
            prop_assert!((f32::from_bits(a.2) - f32::from_bits(b.2)).abs() < 1e-6);
        }
        for (row, &source) in order.iter().enumerate() {
            for (a, b) in permuted.u.row(row).iter().zip(plain.u.row(source)) {
                prop_assert!((a - b).abs() < 2e-3, "{} and {}", a, b);
            }
        }
        let (a, b) = (plain.receipt.unwrap(), permuted.receipt.unwrap());
        prop_assert!((a.coh_drop_sum - b.coh_drop_sum).abs() <= 1e-3 * (1.0 + a.coh_drop_sum.abs()));
    }

    #[test]
    fn a_power_of_two_scales_the_answer_exactly(
        (n, d) in (2_usize..50, 2_usize..20),
        seed in 0_u64..1_000_000,
        exponent in -3_i32..20,
    ) {
        let y = gaussian(n, d, seed);
        let factor = 2.0_f32.powi(exponent);
        let scaled = &y * factor;
        let run = |y: &Array2<f32>, tol: f64| {
            let plan =
                Plan { settle: SettleOptions::new(1.0, 20, tol).unwrap(), ..Plan::default() };
            solve_with(y, params(6), &plan)
        };
        let (plain, scaled) = (run(&y, 1e-3), run(&scaled, 1e-3 * f64::from(factor)));
        prop_assert_eq!(plain.settle.iters, scaled.settle.iters);
        for (a, b) in plain.u.iter().zip(&scaled.u) {
            prop_assert_eq!((a * factor).to_bits(), b.to_bits());
        }
    }

    #[test]
    fn graphs_are_symmetric_and_capped(
        (n, d) in (1_usize..90, 1_usize..20),
        seed in 0_u64..1_000_000,
        (kneighbors, copies) in (1_usize..12, 1_usize..4),
    ) {
        let solution = solve_with(&duplicated(n, d, copies, seed), params(kneighbors), &Plan::default());
        let graph = &solution.graph;
        let mut forward: Vec<_> = graph.entries().map(|(i, j, w)| (i, j, w.to_bits())).collect();
        let mut backward: Vec<_> = forward.iter().map(|&(i, j, w)| (j, i, w)).collect();
        let sorted = forward.clone();
        forward.sort_unstable();
        backward.sort_unstable();
        prop_assert_eq!(&forward, &sorted, "entries are in row-major order");
        prop_assert_eq!(forward, backward);
        for row in 0..graph.rows() {
            prop_assert!(graph.row(row).len() <= kneighbors);
            prop_assert!(graph.row(row).all(|(column, weight)| column != row && weight > 0.0));
            let sum: f64 = graph.row(row).map(|(_, weight)| f64::from(weight)).sum();
            // A row that summed to S, at most k, keeps at most S * sqrt(1/S).
            prop_assert!(sum <= (kneighbors as f64).sqrt() + 1e-5, "row {} sums to {}", row, sum);
        }
    }

    #[test]
    fn the_energy_drop_is_never_negative(
        (n, d) in (1_usize..60, 1_usize..20),
        seed in 0_u64..1_000_000,
        (g, c, q) in (1e-4_f64..3.0, 0.0_f64..50.0, 0.0_f64..5.0),
        max_iters in 1_usize..5,
    ) {
        let y = gaussian(n, d, seed);
        let plan = Plan {
            settle: SettleOptions::new(1.0, max_iters, 1e-3).unwrap(),
            receipt: Some(ReceiptOptions::default()),
            ..Plan::default()
        };
        let lambdas = Lambdas { g, c, q, p: 0.0 };
        let solution = solve_with(&y, Params::new(6, lambdas).unwrap(), &plan);
        let drop = solution.receipt.unwrap().delta_h_total;
        prop_assert!(drop >= 0.0 && drop.is_finite(), "{}", drop);
    }
}

#[test]
fn a_view_in_another_layout_gives_the_same_answer() {
    let y = gaussian(50, 12, 9);
    let transposed = y.t().as_standard_layout().into_owned();
    let psi = query(&y);
    let problem = Problem::new(transposed.t(), Some(psi.view()), None, None, params(6)).unwrap();
    let got = solve(&problem, &Plan::default(), &Unobserved).unwrap();
    assert_eq!(got.u, solve_with(&y, params(6), &Plan::default()).u);
}
