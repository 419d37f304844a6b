//! Every golden vector, field by field, within the tolerances of the contract (section 8).

mod check;
mod vector;

use std::fs;
use std::path::PathBuf;

use ndarray::Array2;
use oscillink_lattice::Solution;
use oscillink_lattice::signature::{self, Mode, Required, SignedPayload};
use serde_json::Value as Json;

use self::check::Check;
use self::vector::{Vector, count, doubles};
use crate::json::to_value;

fn wide(values: impl IntoIterator<Item = f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

fn matrix(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().flat_map(doubles).collect()
}

fn check_graph(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let expected = vector.expected["edges"].as_array().unwrap();
    let got: Vec<(usize, usize, f32)> = solution
        .graph
        .entries()
        .filter(|(row, column, _)| row < column)
        .collect();
    let ends: Vec<(usize, usize)> = got.iter().map(|edge| (edge.0, edge.1)).collect();
    let wanted: Vec<(usize, usize)> = expected
        .iter()
        .map(|edge| (count(&edge[0]), count(&edge[1])))
        .collect();
    check.same("edges", &ends, &wanted);
    let weights = wide(got.iter().map(|edge| edge.2));
    let wanted: Vec<f64> = expected
        .iter()
        .map(|edge| edge[2].as_f64().unwrap())
        .collect();
    check.all_close("weights", &weights, &wanted, 1e-6, 0.0);
    let roots = wide(solution.graph.sqrt_degrees().iter().copied());
    check.all_close(
        "sqrt_deg",
        &roots,
        &doubles(&vector.expected["sqrt_deg"]),
        1e-6,
        0.0,
    );
}

fn check_states(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let expected = &vector.expected;
    let ustar = solution.ustar.as_ref().unwrap();
    let norms = |state: &Array2<f32>| -> Vec<f64> {
        state
            .outer_iter()
            .map(|row| {
                row.iter()
                    .map(|v| f64::from(*v) * f64::from(*v))
                    .sum::<f64>()
                    .sqrt()
            })
            .collect()
    };
    // Scale of the values, so that the absolute part of the tolerance fits small inputs too.
    let floor = 1e-4 * (vector.energy() / vector.y.len() as f64).sqrt().min(1.0);
    for (name, state) in [("U", &solution.u), ("Ustar", ustar)] {
        let want = doubles(&expected[format!("{name}_row_norms")]);
        check.all_close(
            &format!("{name} row norms"),
            &norms(state),
            &want,
            floor,
            1e-4,
        );
        if let Some(rows) = expected.get(name) {
            check.all_close(
                name,
                &wide(state.iter().copied()),
                &matrix(rows),
                floor,
                1e-4,
            );
        }
    }
    check.same(
        "iters",
        &solution.settle.iters,
        &count(&expected["settle"]["iters"]),
    );
    let stationary = solution.stationary.unwrap();
    check.same(
        "ustar iters",
        &stationary.iters,
        &count(&expected["ustar"]["iters"]),
    );
    let converged = expected["ustar"]["converged"].as_bool().unwrap();
    check.same("ustar converged", &stationary.converged, &converged);
    let residual = expected["settle"]["residual"].as_f64().unwrap();
    let floor = 1e-7 * vector.energy().sqrt();
    check.close("residual", solution.settle.residual, residual, floor, 0.02);
    let residual = expected["ustar"]["residual"].as_f64().unwrap();
    check.close("ustar residual", stationary.residual, residual, floor, 0.02);
    if let Some(gates) = expected.get("diffusion_gates") {
        check.all_close(
            "diffusion gates",
            &wide(solution.gates.iter().copied()),
            &doubles(gates),
            1e-4,
            1e-4,
        );
        check.same("diffusion note", &solution.diffusion.unwrap().note, &None);
    }
}

fn check_receipt(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let receipt = solution.receipt.as_ref().unwrap();
    let expected = &vector.expected["receipt"];
    let floor = 1e-6 * vector.energy();
    let number = |json: &Json| json.as_f64().unwrap();
    for (name, got) in [
        ("deltaH_total", receipt.delta_h_total),
        ("coh_drop_sum", receipt.coh_drop_sum),
        ("anchor_pen_sum", receipt.anchor_pen_sum),
        ("query_term_sum", receipt.query_term_sum),
    ] {
        check.close(name, got, number(&expected[name]), floor, 1e-3);
    }
    let per_node = receipt.per_node.as_ref().unwrap();
    for (name, got) in [
        ("coh_drop", &per_node.coh_drop),
        ("anchor_pen", &per_node.anchor_pen),
        ("query_term", &per_node.query_term),
    ] {
        // The largest vector records sums only.
        if let Some(recorded) = vector.expected.get("per_node") {
            check.all_close(name, got, &doubles(&recorded[name]), floor, 1e-3);
        }
    }
    let points = expected["null_points"].as_array().unwrap();
    let edges: Vec<[usize; 2]> = receipt.null_points.iter().map(|point| point.edge).collect();
    let wanted: Vec<[usize; 2]> = points.iter().map(|point| edge(&point["edge"])).collect();
    check.same("null point edges", &edges, &wanted);
    for (index, (got, want)) in receipt.null_points.iter().zip(points).enumerate() {
        check.close(
            &format!("null z[{index}]"),
            got.z,
            number(&want["z"]),
            1e-3,
            1e-3,
        );
        let residual = number(&want["residual"]);
        check.close(
            &format!("null residual[{index}]"),
            got.residual,
            residual,
            floor,
            1e-3,
        );
    }
    check_meta(check, vector, solution);
}

fn check_meta(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let receipt = solution.receipt.as_ref().unwrap();
    let (meta, expected) = (&receipt.meta, &vector.expected["receipt"]["meta"]);
    for (name, got) in [
        ("avg_degree", meta.avg_degree),
        ("edge_density", meta.edge_density),
        ("gates_min", meta.gates_min),
        ("gates_max", meta.gates_max),
        ("gates_mean", meta.gates_mean),
    ] {
        check.close(name, got, expected[name].as_f64().unwrap(), 1e-5, 1e-5);
    }
    check.same("cg_iters", &receipt.cg_iters, &solution.settle.iters);
    check.same(
        "uniform",
        &meta.gates_uniform,
        &expected["gates_uniform"].as_bool().unwrap(),
    );
    check.same(
        "detail",
        &meta.receipt_detail.as_str(),
        &expected["receipt_detail"].as_str().unwrap(),
    );
    let summary = &expected["null_points_summary"];
    let (got, total) = (
        meta.null_points_summary,
        count(&summary["total_null_points"]),
    );
    check.same("null points", &got.total_null_points, &total);
    check.same(
        "returned",
        &got.returned_null_points,
        &count(&summary["returned_null_points"]),
    );
    check.same(
        "cap",
        &got.null_cap_applied,
        &summary["null_cap_applied"].as_bool().unwrap(),
    );
    check.same("meta state_sig", &meta.state_sig, &solution.state_sig);
    let want = vector.expected["state_sig"].as_str().unwrap();
    check.same(
        "state_sig",
        &vector.state_signature(solution).as_str(),
        &want,
    );
}

fn edge(json: &Json) -> [usize; 2] {
    [count(&json[0]), count(&json[1])]
}

fn check_bundle(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let expected = vector.expected["bundle"].as_array().unwrap();
    let got = solution.bundle.as_ref().unwrap();
    let ids: Vec<usize> = got.iter().map(|item| item.id).collect();
    let wanted: Vec<usize> = expected.iter().map(|item| count(&item["id"])).collect();
    check.same("bundle ids", &ids, &wanted);
    for (item, want) in got.iter().zip(expected) {
        check.close(
            "score",
            item.score,
            want["score"].as_f64().unwrap(),
            1e-3,
            1e-3,
        );
        check.close(
            "align",
            item.align,
            want["align"].as_f64().unwrap(),
            1e-3,
            1e-3,
        );
    }
}

fn check_chain_receipt(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let Some(expected) = vector.expected.get("chain_receipt") else {
        check.same("chain receipt", &solution.chain_receipt.is_none(), &true);
        return;
    };
    let got = solution.chain_receipt.as_ref().unwrap();
    check.same(
        "verdict",
        &got.verdict,
        &expected["verdict"].as_bool().unwrap(),
    );
    let link = &expected["weakest_link"];
    check.same("weakest k", &got.weakest_link.k, &count(&link["k"]));
    check.same("weakest edge", &got.weakest_link.edge, &edge(&link["edge"]));
    let number = |json: &Json| json.as_f64().unwrap();
    check.close(
        "weakest z",
        got.weakest_link.zscore,
        number(&link["zscore"]),
        1e-3,
        1e-3,
    );
    let floor = 1e-6 * vector.energy();
    check.close(
        "gain",
        got.coherence_gain,
        number(&expected["coherence_gain"]),
        floor,
        1e-3,
    );
    let steps = expected["edges"].as_array().unwrap();
    check.same("steps", &got.edges.len(), &steps.len());
    for (got, want) in got.edges.iter().zip(steps) {
        check.same(
            "step",
            &(got.k, got.edge),
            &(count(&want["k"]), edge(&want["edge"])),
        );
        for (name, got, absolute) in [
            ("z_struct", got.z_struct, 1e-3),
            ("z_path", got.z_path, 1e-3),
            ("r_struct", got.r_struct, floor),
            ("r_path", got.r_path, floor),
        ] {
            check.close(name, got, number(&want[name]), absolute, 1e-3);
        }
    }
}

/// The recorded signature must verify with our canonical JSON, and ours must cover the same
/// fields.
fn check_signature(check: &mut Check<'_>, vector: &Vector, solution: &Solution) {
    let Some(secret) = vector.input.get("receipt_secret").and_then(Json::as_str) else {
        return;
    };
    let recorded = &vector.expected["receipt"]["meta"]["signature"];
    let signed = SignedPayload {
        algorithm: recorded["algorithm"].as_str().unwrap().to_owned(),
        payload: to_value(&recorded["payload"]),
        signature: recorded["signature"].as_str().unwrap().to_owned(),
    };
    let receipt = solution.receipt.as_ref().unwrap();
    let (mode, ours) = if vector.input["signature_mode"] == "extended" {
        let k = solution.k_effective;
        (
            Mode::Extended,
            signature::sign_extended(receipt, &vector.params, k, secret.as_bytes()),
        )
    } else {
        (
            Mode::Minimal,
            signature::sign_minimal(receipt, secret.as_bytes()),
        )
    };
    let required = Required {
        mode: Some(mode),
        sig_v: Some(1),
    };
    check.same(
        "recorded signature",
        &verify(secret, &signed, required),
        &Ok(0),
    );
    check.same("own signature", &verify(secret, &ours, required), &Ok(0));
    check.same(
        "resigned",
        &signature::sign(signed.payload.clone(), secret.as_bytes()),
        &signed,
    );
    let (signature::Value::Object(own), signature::Value::Object(theirs)) =
        (&ours.payload, &signed.payload)
    else {
        panic!("payloads are objects");
    };
    check.same(
        "signed fields",
        &own.keys().collect::<Vec<_>>(),
        &theirs.keys().collect(),
    );
    for name in [
        "sig_v",
        "mode",
        "state_sig",
        "params",
        "graph",
        "ustar_iters",
    ] {
        check.same(name, &own.get(name), &theirs.get(name));
    }
}

fn verify(
    secret: &str,
    signed: &SignedPayload,
    required: Required,
) -> Result<usize, signature::VerifyError> {
    signature::verify(&[secret.as_bytes()], signed, required)
}

#[test]
fn every_golden_vector_agrees() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut failures = Vec::new();
    let mut vectors = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let json: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let vector = Vector::parse(&json);
        let solution = vector.solve();
        let mut check = Check {
            vector: &vector.name,
            failures: Vec::new(),
        };
        check_graph(&mut check, &vector, &solution);
        check_states(&mut check, &vector, &solution);
        check_receipt(&mut check, &vector, &solution);
        check_bundle(&mut check, &vector, &solution);
        check_chain_receipt(&mut check, &vector, &solution);
        check_signature(&mut check, &vector, &solution);
        failures.append(&mut check.failures);
        vectors += 1;
    }
    assert_eq!(vectors, 21, "a golden vector is missing");
    assert!(
        failures.is_empty(),
        "{} disagreements:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
