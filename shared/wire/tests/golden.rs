//! The golden problems as a client sends them: JSON in, JSON out.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]

use std::fs;
use std::path::PathBuf;

use oscillink_lattice::Unobserved;
use oscillink_lattice::signature::{self, Required, SignedPayload, verify};
use oscillink_wire::{Format, Operation, Parameters, RunContext, SizeLimits, parse, run};
use serde_json::{Value, json};

fn goldens() -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../lattice/tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    files.sort();
    assert!(files.len() > 15, "the golden vectors are there");
    files
        .iter()
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect()
}

/// The input as a request body, with everything asked for.
fn body(golden: &Value) -> Vec<u8> {
    let mut input = golden["input"].clone();
    let body = input.as_object_mut().unwrap();
    body.remove("receipt_secret");
    let mode = body.remove("signature_mode").unwrap_or(json!("minimal"));
    body["options"]["signature_mode"] = mode;
    body["options"]["array"] = json!(["u", "ustar", "gates"]);
    serde_json::to_vec(&input).unwrap()
}

fn answer(golden: &Value) -> Value {
    let parsed = parse(
        Format::Json,
        &body(golden),
        Parameters::new(),
        &SizeLimits::NONE,
    )
    .unwrap();
    let secret = golden["input"]["receipt_secret"].as_str();
    let context = RunContext {
        receipt_secret: secret.map(Into::into),
        null_cap: None,
    };
    let output = run(&parsed.request, Operation::Settle, &context, &Unobserved).unwrap();
    let json = output.into_answer_with_arrays().to_json().unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn close(name: &str, got: &Value, expected: &Value, relative: f64, floor: f64) {
    let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
    let allowed = relative * expected.abs() + floor;
    assert!(
        (got - expected).abs() <= allowed,
        "{name}: got {got}, expected {expected}"
    );
}

fn all_close(name: &str, got: &Value, expected: &Value, tolerance: f64) {
    match expected {
        Value::Array(items) => {
            assert_eq!(got.as_array().unwrap().len(), items.len(), "{name}");
            for (k, item) in items.iter().enumerate() {
                all_close(&format!("{name}[{k}]"), &got[k], item, tolerance);
            }
        }
        _ => close(name, got, expected, tolerance, tolerance),
    }
}

#[test]
fn every_golden_problem_gives_its_answer_over_json() {
    for golden in goldens() {
        let name = golden["name"].as_str().unwrap();
        let (answer, expected) = (answer(&golden), &golden["expected"]);
        let diffuses = !golden["input"]["diffusion"].is_null();
        // Diffused gates agree within the tolerance only, and the signature covers them exactly.
        if !diffuses {
            assert_eq!(answer["state_sig"], expected["state_sig"], "{name}");
        }
        let scale: f64 = golden["input"]["Y"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|v| v.as_f64().unwrap().powi(2))
            .sum();
        let (got, want) = (&answer["receipt"], &expected["receipt"]);
        for field in [
            "deltaH_total",
            "coh_drop_sum",
            "anchor_pen_sum",
            "query_term_sum",
        ] {
            close(
                &format!("{name}.{field}"),
                &got[field],
                &want[field],
                1e-3,
                1e-6 * scale,
            );
        }
        for field in ["cg_iters", "null_points"] {
            let edges = |value: &Value| match value {
                Value::Array(points) => points.iter().map(|p| p["edge"].clone()).collect(),
                other => vec![other.clone()],
            };
            assert_eq!(edges(&got[field]), edges(&want[field]), "{name}.{field}");
        }
        assert_eq!(
            got["meta"]["ustar_iters"], want["meta"]["ustar_iters"],
            "{name}"
        );
        let ids = |bundle: &Value| -> Vec<Value> {
            bundle
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].clone())
                .collect()
        };
        assert_eq!(ids(&answer["bundle"]), ids(&expected["bundle"]), "{name}");
        if let Some(chain) = expected.get("chain_receipt") {
            let got = &answer["chain_receipt"];
            assert_eq!(got["verdict"], chain["verdict"], "{name}");
            assert_eq!(
                got["weakest_link"]["edge"], chain["weakest_link"]["edge"],
                "{name}"
            );
        }
        for (array, key) in [("u", "U"), ("ustar", "Ustar"), ("gates", "diffusion_gates")] {
            if let Some(expected) = expected.get(key) {
                all_close(
                    &format!("{name}.{key}"),
                    &answer["arrays"][array],
                    expected,
                    1e-4,
                );
            }
        }
        assert_eq!(
            answer["meta"].get("diffusion").is_some(),
            diffuses,
            "{name}"
        );
        assert_eq!(
            answer["timings_ms"].get("diffusion_gate_ms").is_some(),
            diffuses,
            "{name}"
        );
        assert!(answer["timings_ms"]["total_settle_ms"].as_f64().unwrap() > 0.0);
    }
}

/// What a client's JSON library makes of a number, kept apart as integer or float.
fn signed_value(value: &Value) -> signature::Value {
    match value {
        Value::Null => signature::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) if n.is_f64() => n.as_f64().unwrap().into(),
        Value::Number(n) => signature::Value::Int(n.as_i64().unwrap().into()),
        Value::String(s) => s.as_str().into(),
        Value::Array(items) => signature::Value::Array(items.iter().map(signed_value).collect()),
        Value::Object(members) => signature::Value::Object(
            members
                .iter()
                .map(|(k, v)| (k.clone(), signed_value(v)))
                .collect(),
        ),
    }
}

#[test]
fn signed_receipts_verify_from_the_json_alone() {
    let mut signed = 0;
    for golden in goldens() {
        let answer = answer(&golden);
        let block = &answer["receipt"]["meta"]["signature"];
        let Some(secret) = golden["input"]["receipt_secret"].as_str() else {
            assert!(block.is_null());
            continue;
        };
        let mut claim = SignedPayload {
            algorithm: block["algorithm"].as_str().unwrap().to_owned(),
            payload: signed_value(&block["payload"]),
            signature: block["signature"].as_str().unwrap().to_owned(),
        };
        verify(&[secret.as_bytes()], &claim, Required::default()).unwrap();
        assert_eq!(block["payload"]["mode"], golden["input"]["signature_mode"]);
        assert_eq!(block["payload"]["state_sig"], answer["state_sig"]);
        claim.payload = signature::Value::Null;
        verify(&[secret.as_bytes()], &claim, Required::default()).unwrap_err();
        signed += 1;
    }
    assert_eq!(signed, 2);
}
