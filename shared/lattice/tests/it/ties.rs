//! Exact ties: index order by default, a reproducible shuffle with a seed, bounded work always.

use oscillink_lattice::{DiffusionParams, Graph, Params, Plan, ReceiptOptions, signature};

use crate::data::{duplicated, gaussian, params, solve_with};

fn edges(graph: &Graph) -> Vec<(usize, usize)> {
    graph
        .entries()
        .map(|(row, column, _)| (row, column))
        .collect()
}

fn graph_of(y: &ndarray::Array2<f32>, params: Params) -> Graph {
    solve_with(y, params, &Plan::default()).graph
}

#[test]
fn identical_rows_prefer_the_lowest_indices() {
    // Every row's best 8 are the 8 lowest other rows, so only the first 9 choose each other.
    let graph = graph_of(&duplicated(1500, 20, 1500, 1), params(8));
    let expected: Vec<(usize, usize)> = (0..9)
        .flat_map(|i| (0..9).filter(move |j| *j != i).map(move |j| (i, j)))
        .collect();
    assert_eq!(edges(&graph), expected);
}

#[test]
fn a_seed_changes_ties_and_nothing_else() {
    let seeded = |y, seed| graph_of(y, params(6).with_neighbor_seed(seed));
    let distinct = gaussian(200, 16, 2);
    assert_eq!(seeded(&distinct, None), seeded(&distinct, Some(7)));

    let tied = duplicated(600, 16, 100, 3);
    assert_eq!(seeded(&tied, Some(7)), seeded(&tied, Some(7)));
    assert_ne!(
        edges(&seeded(&tied, Some(7))),
        edges(&seeded(&tied, Some(8)))
    );
    assert_ne!(edges(&seeded(&tied, Some(7))), edges(&seeded(&tied, None)));
    for (row, column) in edges(&seeded(&tied, Some(-1))) {
        assert_eq!(
            row % 6,
            column % 6,
            "a tie-break joined rows that are not tied"
        );
    }
}

#[test]
fn the_deterministic_flag_changes_only_the_signature() {
    let y = gaussian(40, 8, 4);
    let plain = solve_with(&y, params(6), &Plan::default());
    let flagged = solve_with(&y, params(6).with_deterministic_k(true), &Plan::default());
    assert_eq!(plain.graph, flagged.graph);
    assert_eq!(plain.u, flagged.u);
    assert_ne!(plain.state_sig, flagged.state_sig);
}

#[test]
fn seed_and_flag_are_echoed_in_extended_signatures() {
    let y = gaussian(30, 8, 5);
    let plan = Plan {
        receipt: Some(ReceiptOptions::default()),
        ..Plan::default()
    };
    let echoed = |params: &Params| {
        let solution = solve_with(&y, params.clone(), &plan);
        let receipt = solution.receipt.unwrap();
        let payload = signature::extended_payload(&receipt, params, solution.k_effective);
        signature::to_canonical_json(payload.get("graph").unwrap())
    };
    let text = r#"{"deterministic_k": false, "k": 29, "neighbor_seed": null}"#;
    assert_eq!(echoed(&params(64)), text);
    let text = r#"{"deterministic_k": true, "k": 6, "neighbor_seed": -3}"#;
    assert_eq!(
        echoed(
            &params(6)
                .with_deterministic_k(true)
                .with_neighbor_seed(Some(-3))
        ),
        text
    );
}

#[test]
fn a_diffusion_graph_of_the_same_settings_is_the_lattice_graph() {
    let y = duplicated(120, 10, 4, 6);
    let gates = |diffusion: DiffusionParams| {
        let plan = Plan {
            diffusion: Some(diffusion),
            ..Plan::default()
        };
        let solution = solve_with(&y, params(5), &plan);
        (solution.gates, solution.diffusion.unwrap().graph_k)
    };
    let own = gates(DiffusionParams::default());
    assert_eq!(
        own,
        gates(DiffusionParams::default().with_reuse_lattice_graph(true))
    );
    assert_eq!(
        own,
        gates(DiffusionParams::default().with_kneighbors(Some(5)).unwrap())
    );
    let wider = gates(DiffusionParams::default().with_kneighbors(Some(9)).unwrap());
    assert_eq!(wider.1, 9);
    assert_ne!(own.0, wider.0);
    let seeded = gates(DiffusionParams::default().with_neighbor_seed(Some(5)));
    assert_ne!(
        own.0, seeded.0,
        "copies of a row compete for the last places"
    );
}
