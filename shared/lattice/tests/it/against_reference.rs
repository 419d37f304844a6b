//! The fast path against the plain dense reference, on data made to be hard.

use ndarray::{Array1, Array2};
use oscillink_lattice::{
    Chain, ChainReceiptOptions, DiffusionParams, Lambdas, Params, Plan, Problem, ReceiptOptions,
    SettleOptions, Solution, Unobserved, solve,
};
use proptest::prelude::*;

use crate::data::{duplicated, gaussian, near_ties, params, query, solve_with};
use crate::reference::{self, DenseGraph};

fn assert_same_graph(solution: &Solution, y: &Array2<f32>, kneighbors: usize) {
    let expected = reference::graph(y, kneighbors);
    let mut entries = 0;
    for (i, j, weight) in solution.graph.entries() {
        let want = expected.adjacency[[i, j]];
        assert!(want > 0.0, "edge ({i}, {j}) should not exist");
        assert!(
            (f64::from(weight) - want).abs() < 1e-6,
            "weight of ({i}, {j})"
        );
        entries += 1;
    }
    assert_eq!(
        entries,
        expected.adjacency.iter().filter(|a| **a > 0.0).count()
    );
    for (got, want) in solution
        .graph
        .sqrt_degrees()
        .iter()
        .zip(&expected.sqrt_degrees)
    {
        assert!((f64::from(*got) - want).abs() < 1e-6);
    }
}

#[test]
fn graph_is_exact_across_blocks() {
    for (kind, y) in [
        ("gaussian", gaussian(600, 24, 1)),
        ("one column", gaussian(300, 1, 2)),
        ("near ties", near_ties(600, 20, 1e-6, 3)),
        ("nearer ties", near_ties(520, 20, 1e-7, 4)),
        ("clusters", near_ties(520, 33, 0.05, 5)),
        ("pairs", duplicated(513, 17, 2, 6)),
        ("many copies", duplicated(600, 8, 200, 7)),
        ("all the same", duplicated(530, 12, 530, 8)),
        ("wide", gaussian(270, 700, 9)),
    ] {
        for kneighbors in [1, 6, 40] {
            println!("{kind}, {kneighbors} neighbours");
            let solution = solve_with(&y, params(kneighbors), &Plan::default());
            assert_same_graph(&solution, &y, kneighbors);
        }
    }
}

#[test]
fn graph_is_exact_when_most_products_are_zero() {
    let mut y = Array2::<f32>::zeros((400, 40));
    for i in 0..400 {
        if i % 7 != 0 {
            y[[i, i % 40]] = 1.0 + i as f32;
        }
    }
    for kneighbors in [3, 9, 30] {
        let solution = solve_with(&y, params(kneighbors), &Plan::default());
        assert_same_graph(&solution, &y, kneighbors);
    }
}

#[test]
fn graph_is_exact_when_every_other_row_is_a_neighbour() {
    let y = gaussian(300, 10, 11);
    for kneighbors in [299, 100_000] {
        let solution = solve_with(&y, params(kneighbors), &Plan::default());
        assert_eq!(solution.k_effective, 299);
        assert_same_graph(&solution, &y, kneighbors);
    }
}

/// A problem, its dense counterpart and the tight solver settings that make them comparable.
struct Case {
    y: Array2<f32>,
    psi: Array1<f32>,
    gates: Vec<f32>,
    chain: Option<Chain>,
    lambdas: Lambdas,
    kneighbors: usize,
    dt: f64,
}

impl Case {
    fn solve(&self) -> Solution {
        let gates = Array1::from_vec(self.gates.clone());
        let problem = Problem::new(
            self.y.view(),
            Some(self.psi.view()),
            Some(gates.view()),
            self.chain.as_ref(),
            Params::new(self.kneighbors, self.lambdas).unwrap(),
        )
        .unwrap();
        let plan = Plan {
            settle: SettleOptions::new(self.dt, 300, 1e-5).unwrap(),
            receipt: Some(ReceiptOptions::default()),
            bundle_k: Some(5),
            chain_receipt: self.chain.as_ref().map(|_| ChainReceiptOptions::default()),
            ..Plan::default()
        };
        solve(&problem, &plan, &Unobserved).unwrap()
    }

    fn check(&self) {
        let solution = self.solve();
        let graph = reference::graph(&self.y, self.kneighbors);
        let path = self
            .chain
            .as_ref()
            .map(|chain| reference::path(self.y.nrows(), chain));
        let m = reference::system(&graph, path.as_ref(), &self.gates, self.lambdas);
        let force = reference::force(&self.y, &self.psi, &self.gates, self.lambdas);
        let y = self.y.mapv(f64::from);
        let identity = Array2::<f64>::eye(self.y.nrows());
        let u = reference::eliminate(&(&identity + &(&m * self.dt)), &(&y + &(&force * self.dt)));
        let ustar = reference::eliminate(&m, &force);
        assert_near(&solution.u, &u, 2e-4);
        assert_near(solution.ustar.as_ref().unwrap(), &ustar, 1e-3);
        self.check_receipt(&solution, &graph, &m, &u, &ustar, &y);
        if let Some(path) = &path {
            self.check_chain(&solution, &graph, path, &ustar);
        }
    }

    fn check_receipt(
        &self,
        solution: &Solution,
        graph: &DenseGraph,
        m: &Array2<f64>,
        u: &Array2<f64>,
        ustar: &Array2<f64>,
        y: &Array2<f64>,
    ) {
        let receipt = solution.receipt.as_ref().unwrap();
        let scale = y.iter().map(|v| v * v).sum::<f64>();
        let near = |got: f64, want: f64| (got - want).abs() <= 2e-3 * (want.abs() + scale * 1e-3);
        assert!(near(receipt.delta_h_total, reference::delta_h(m, u, ustar)));
        let per_node = receipt.per_node.as_ref().unwrap();
        for i in 0..y.nrows() {
            let coherence: f64 = (0..y.nrows())
                .map(|j| {
                    let before = reference::distance(y, &graph.sqrt_degrees, i, j);
                    let after = reference::distance(ustar, &graph.sqrt_degrees, i, j);
                    0.5 * self.lambdas.c * graph.adjacency[[i, j]] * (before - after)
                })
                .sum();
            assert!(
                near(per_node.coh_drop[i], coherence),
                "coherence of row {i}"
            );
            let from = |j: usize, other: f64| (ustar[[i, j]] - other).powi(2);
            let anchor: f64 = (0..y.ncols()).map(|j| from(j, y[[i, j]])).sum();
            assert!(near(per_node.anchor_pen[i], self.lambdas.g * anchor));
            let query: f64 = (0..y.ncols())
                .map(|j| from(j, f64::from(self.psi[j])))
                .sum();
            let query = self.lambdas.q * f64::from(self.gates[i]) * query;
            assert!(near(per_node.query_term[i], query));
        }
        assert!(near(receipt.coh_drop_sum, per_node.coh_drop.iter().sum()));
        let (r, z) =
            reference::residuals(&graph.adjacency, &graph.sqrt_degrees, ustar, self.lambdas.c);
        for point in &receipt.null_points {
            let [i, j] = point.edge;
            assert!(
                (point.z - z[[i, j]]).abs() < 2e-2 * z[[i, j]].abs(),
                "z of {:?}",
                point.edge
            );
            assert!((point.residual - r[[i, j]]).abs() <= 2e-2 * r[[i, j]] + 1e-9);
        }
        let clear = z
            .outer_iter()
            .filter(|row| row.iter().any(|z| *z > 3.1))
            .count();
        assert!(
            receipt.null_points.len() >= clear,
            "null points are missing"
        );
    }

    fn check_chain(
        &self,
        solution: &Solution,
        graph: &DenseGraph,
        path: &DenseGraph,
        ustar: &Array2<f64>,
    ) {
        let receipt = solution.chain_receipt.as_ref().unwrap();
        let roots = &graph.sqrt_degrees;
        let (r, z) = reference::residuals(&graph.adjacency, roots, ustar, self.lambdas.c);
        let path_weight = self.lambdas.c.max(1e-6);
        let (r_path, z_path) = reference::residuals(&path.adjacency, roots, ustar, path_weight);
        for edge in &receipt.edges {
            let [i, j] = edge.edge;
            for (got, want) in [
                (edge.r_struct, r[[i, j]]),
                (edge.z_struct, z[[i, j]]),
                (edge.r_path, r_path[[i, j]]),
                (edge.z_path, z_path[[i, j]]),
            ] {
                assert!(
                    (got - want).abs() <= 2e-2 * want.abs() + 1e-3,
                    "{edge:?}, want {want}"
                );
            }
        }
    }
}

fn assert_near(got: &Array2<f32>, want: &Array2<f64>, tolerance: f64) {
    let scale = want.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!(
            (f64::from(*got) - want).abs() <= tolerance * scale,
            "{got} is not {want}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn solution_matches_the_dense_system(
        (n, d) in (2_usize..40, 1_usize..24),
        seed in 0_u64..1_000_000,
        kneighbors in 1_usize..12,
        (g, c, q, p) in (0.3_f64..3.0, 0.0_f64..4.0, 0.0_f64..5.0, 0.0_f64..2.0),
        dt in 0.1_f64..2.0,
        chained in any::<bool>(),
        copies in 1_usize..3,
    ) {
        let y = duplicated(n, d, copies, seed);
        let mut numbers = crate::data::Numbers::new(seed);
        let gates = (0..n).map(|_| numbers.uniform() as f32).collect();
        let chain = (chained && n > 3).then(|| {
            let nodes = vec![n - 1, 0, 2, 0, 1];
            Chain::new(nodes, Some(vec![0.5, 2.0, 1.0, 1.5])).unwrap()
        });
        let lambdas = Lambdas { g, c, q, p };
        Case { psi: query(&y), y, gates, chain, lambdas, kneighbors, dt }.check();
    }

    #[test]
    fn diffusion_gates_match_the_dense_system(
        (n, d) in (2_usize..60, 1_usize..20),
        seed in 0_u64..1_000_000,
        (beta, gamma) in (0.1_f64..5.0, 0.001_f64..2.0),
        kneighbors in 1_usize..9,
    ) {
        let y = gaussian(n, d, seed);
        let diffusion =
            DiffusionParams::new(beta, gamma).unwrap().with_kneighbors(Some(kneighbors)).unwrap();
        let plan = Plan { diffusion: Some(diffusion), ..Plan::default() };
        let solution = solve_with(&y, params(6), &plan);
        let mut matrix = reference::laplacian(&reference::graph(&y, kneighbors));
        matrix.diag_mut().mapv_inplace(|v| v + gamma);
        let psi = query(&y).mapv(f64::from);
        let norm = |row: &Array1<f64>| row.dot(row).sqrt() + 1e-12;
        let source = Array2::from_shape_fn((n, 1), |(i, _)| {
            let row = y.row(i).mapv(f64::from);
            beta * (row.dot(&psi) / norm(&row) / norm(&psi)).max(0.0)
        });
        let h = reference::eliminate(&matrix, &source);
        let low = h.iter().copied().fold(f64::INFINITY, f64::min);
        let high = h.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Of values that differ by their rounding alone, either of two ways to solve the system may
        // say that they differ, and then which is the least.
        let told_apart = high - low > 1e-6 * high.abs();
        for (got, h) in solution.gates.iter().zip(&h) {
            let want = (h - low) / (high - low);
            prop_assert!((0.0..=1.0).contains(got), "{} is no gate", got);
            prop_assert!(
                !told_apart || (f64::from(*got) - want).abs() < 1e-4,
                "{} is not {}", got, want
            );
        }
    }
}
