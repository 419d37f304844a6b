//! Every golden vector through `solve` and through HTTP, within the contract's tolerances.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support::{Server, json_of, ok, run};

const SECRET: &str = "golden-secret";

struct Case {
    name: String,
    input: Value,
    expected: Value,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shared/lattice/tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    assert!(files.len() >= 21, "golden vectors are missing");
    let read = |path: &std::path::PathBuf| {
        let mut case: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        Case {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            input: case["input"].take(),
            expected: case["expected"].take(),
        }
    };
    files.iter().map(read).collect()
}

/// The state's signature holds the gates to six decimals, and diffused gates agree to four. So that
/// the rest of it is compared to the bit, the vector's own gates are given instead of diffused.
fn with_given_gates(case: &Case) -> Option<Value> {
    let gates = case
        .expected
        .get("diffusion_gates")
        .filter(|gates| gates.is_array())?;
    let mut body = request(case);
    body["gates"] = gates.clone();
    body["diffusion"] = Value::Null;
    body["options"] = json!({"include_receipt": false});
    Some(body)
}

/// The case as a request body, nulls included, with all arrays asked for.
fn request(case: &Case) -> Value {
    let fields = [
        "Y",
        "psi",
        "gates",
        "chain",
        "chain_weights",
        "params",
        "options",
        "diffusion",
    ];
    let mut body: Map<_, _> = fields
        .map(|field| (field.to_owned(), case.input[field].clone()))
        .into_iter()
        .collect();
    body["options"]["array"] = json!(["u", "ustar", "gates"]);
    if let Some(mode) = case.input.get("signature_mode") {
        body["options"]["signature_mode"] = mode.clone();
    }
    Value::Object(body)
}

#[test]
fn through_solve() {
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let file = dir.path().join("case.json");
        fs::write(&file, request(&case).to_string()).unwrap();
        let output = run(|command| {
            command
                .arg("solve")
                .arg(&file)
                .env("RECEIPT_HMAC_SECRET", SECRET);
        });
        compare(&case, &json_of(&output), true);
        if let Some(body) = with_given_gates(&case) {
            fs::write(&file, body.to_string()).unwrap();
            let output = run(|command| {
                command.arg("solve").arg(&file);
            });
            assert_eq!(
                json_of(&output)["state_sig"],
                case.expected["state_sig"],
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn through_http() {
    let server = Server::start_with(&[("RECEIPT_HMAC_SECRET", SECRET)]);
    for case in cases() {
        let route = if case.input["diffusion"].is_null() {
            "/v1/settle"
        } else {
            "/v1/settle/diffusion"
        };
        let answer = ok(server.post(route).json(&request(&case)).send().unwrap());
        compare(&case, &answer, true);
        if let Some(body) = with_given_gates(&case) {
            let answer = ok(server.post("/v1/settle").json(&body).send().unwrap());
            assert_eq!(
                answer["state_sig"], case.expected["state_sig"],
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn through_a_job() {
    let server = Server::start_with(&[("RECEIPT_HMAC_SECRET", SECRET)]);
    for case in cases() {
        let kind = if case.input["diffusion"].is_null() {
            "settle"
        } else {
            "diffusion"
        };
        let job = server.ended(&server.submit(kind, &request(&case)));
        assert_eq!(job["status"], "done", "{}: {job}", case.name);
        compare(&case, &job["result"], false);
    }
}

/// Compares an answer with what the independent implementation says.
fn compare(case: &Case, answer: &Value, with_arrays: bool) {
    let check = Check {
        case: &case.name,
        scale: scale(&case.input["Y"]),
    };
    let (want, receipt) = (&case.expected, &answer["receipt"]);
    if case.expected["diffusion_gates"].is_null() {
        check.same("state_sig", &answer["state_sig"], &want["state_sig"]);
    }
    check.same("cg_iters", &receipt["cg_iters"], &want["settle"]["iters"]);
    check.same(
        "ustar_iters",
        &receipt["meta"]["ustar_iters"],
        &want["ustar"]["iters"],
    );
    check.same(
        "ustar_converged",
        &receipt["meta"]["ustar_converged"],
        &want["ustar"]["converged"],
    );
    for sum in [
        "deltaH_total",
        "coh_drop_sum",
        "anchor_pen_sum",
        "query_term_sum",
    ] {
        check.sum(sum, &receipt[sum], &want["receipt"][sum]);
    }
    for number in [
        "avg_degree",
        "edge_density",
        "gates_min",
        "gates_max",
        "gates_mean",
    ] {
        check.near(
            number,
            &receipt["meta"][number],
            &want["receipt"]["meta"][number],
            1e-4,
        );
    }
    let summary = "null_points_summary";
    check.same(
        summary,
        &receipt["meta"][summary],
        &want["receipt"]["meta"][summary],
    );
    check.list(
        "null_points",
        &receipt["null_points"],
        &want["receipt"]["null_points"],
        |c, got, want| {
            c.same("edge", &got["edge"], &want["edge"]);
            c.near("z", &got["z"], &want["z"], 1e-3);
        },
    );
    check.list(
        "bundle",
        &answer["bundle"],
        &want["bundle"],
        |c, got, want| {
            c.same("id", &got["id"], &want["id"]);
            c.near("score", &got["score"], &want["score"], 1e-3);
            c.near("align", &got["align"], &want["align"], 1e-3);
        },
    );
    if !want["chain_receipt"].is_null() {
        chain(&check, &answer["chain_receipt"], &want["chain_receipt"]);
    }
    if with_arrays {
        let arrays = &answer["arrays"];
        for (name, wanted) in [("u", "U"), ("ustar", "Ustar"), ("gates", "diffusion_gates")] {
            if !want[wanted].is_null() {
                check.numbers(name, &arrays[name], &want[wanted]);
            }
        }
        check.norms("u", &arrays["u"], &want["U_row_norms"]);
        check.norms("ustar", &arrays["ustar"], &want["Ustar_row_norms"]);
    }
    if case.input["receipt_secret"].is_string() {
        let (got, want) = (
            &receipt["meta"]["signature"],
            &want["receipt"]["meta"]["signature"],
        );
        check.same("algorithm", &got["algorithm"], &want["algorithm"]);
        for (name, value) in want["payload"].as_object().unwrap() {
            match name.as_str() {
                "deltaH_total" => check.sum(name, &got["payload"][name], value),
                "ustar_res" => check.near(name, &got["payload"][name], value, 1e-4),
                _ => check.same(name, &got["payload"][name], value),
            }
        }
    }
}

fn chain(check: &Check<'_>, got: &Value, want: &Value) {
    check.same("verdict", &got["verdict"], &want["verdict"]);
    check.same(
        "weakest edge",
        &got["weakest_link"]["edge"],
        &want["weakest_link"]["edge"],
    );
    check.near(
        "zscore",
        &got["weakest_link"]["zscore"],
        &want["weakest_link"]["zscore"],
        1e-3,
    );
    check.sum(
        "coherence_gain",
        &got["coherence_gain"],
        &want["coherence_gain"],
    );
    check.list(
        "chain edges",
        &got["edges"],
        &want["edges"],
        |c, got, want| {
            c.same("edge", &got["edge"], &want["edge"]);
            c.near("z_struct", &got["z_struct"], &want["z_struct"], 1e-3);
            c.near("z_path", &got["z_path"], &want["z_path"], 1e-3);
        },
    );
}

/// Comparisons that say which case and value they are about.
struct Check<'a> {
    case: &'a str,
    /// ‖Y‖², the scale of sums.
    scale: f64,
}

impl Check<'_> {
    fn same(&self, what: &str, got: &Value, want: &Value) {
        assert_eq!(got, want, "{}: {what}", self.case);
    }

    fn near(&self, what: &str, got: &Value, want: &Value, tolerance: f64) {
        self.close(what, number(got), number(want), tolerance);
    }

    /// Sums: 1e-3 relative, with an absolute floor that grows with ‖Y‖².
    fn sum(&self, what: &str, got: &Value, want: &Value) {
        let (got, want) = (number(got), number(want));
        let allowed = (1e-3 * want.abs()).max(1e-6 * self.scale.max(1.0));
        assert!(
            (got - want).abs() <= allowed,
            "{}: {what} is {got}, expected {want}",
            self.case
        );
    }

    fn close(&self, what: &str, got: f64, want: f64, tolerance: f64) {
        let allowed = tolerance + tolerance * want.abs();
        assert!(
            (got - want).abs() <= allowed,
            "{}: {what} is {got}, expected {want}",
            self.case
        );
    }

    fn list(&self, what: &str, got: &Value, want: &Value, each: impl Fn(&Self, &Value, &Value)) {
        let (got, want) = (got.as_array().unwrap(), want.as_array().unwrap());
        assert_eq!(got.len(), want.len(), "{}: length of {what}", self.case);
        for (got, want) in got.iter().zip(want) {
            each(self, got, want);
        }
    }

    fn numbers(&self, what: &str, got: &Value, want: &Value) {
        match want {
            Value::Array(_) => {
                self.list(what, got, want, |c, got, want| c.numbers(what, got, want))
            }
            _ => self.near(what, got, want, 1e-4),
        }
    }

    fn norms(&self, what: &str, matrix: &Value, want: &Value) {
        let rows = matrix.as_array().unwrap();
        let want = want.as_array().unwrap();
        assert_eq!(rows.len(), want.len(), "{}: rows of {what}", self.case);
        for (row, want) in rows.iter().zip(want) {
            let squares = row
                .as_array()
                .unwrap()
                .iter()
                .map(|value| number(value).powi(2));
            self.close(what, squares.sum::<f64>().sqrt(), number(want), 1e-4);
        }
    }
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}

fn scale(y: &Value) -> f64 {
    let rows = y
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap());
    rows.map(|value| number(value).powi(2)).sum()
}
