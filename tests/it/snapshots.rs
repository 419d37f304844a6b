//! The wire's shapes, so that no field changes by accident. What varies from run to run is redacted;
//! numbers are compared in `golden`.

use insta::{Settings, assert_json_snapshot};
use serde_json::{Value, json};

use crate::support::{Server, ok};

fn request() -> Value {
    json!({
        "Y": [[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.2], [0, 0, 1]],
        "psi": [1, 0.5, 0],
        "options": {"bundle_k": 2},
    })
}

/// Redacts times, ids, hashes and all numbers with a fraction.
fn stable(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!("[number]"),
        Value::Array(items) => items.iter().map(stable).collect(),
        Value::Object(members) => {
            let redact = |name: &str, value: &Value| match name {
                "state_sig" | "hash" | "prev_hash" | "key_hash" | "signature"
                    if value.is_string() =>
                {
                    json!("[hash]")
                }
                "request_id" | "job_id" | "key_id" | "id" if value.is_string() => json!("[id]"),
                "created" | "started" | "completed" | "expires" | "resets" | "reset" | "ts"
                | "period" => json!("[time]"),
                _ => stable(value),
            };
            members
                .iter()
                .map(|(name, value)| (name.clone(), redact(name, value)))
                .collect()
        }
        other => other.clone(),
    }
}

fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_sort_maps(true);
    settings
}

#[test]
fn answers() {
    let server = Server::start_with(&[("RECEIPT_HMAC_SECRET", "snapshot")]);
    let post = |route: &str, request: &Value| ok(server.post(route).json(request).send().unwrap());
    let mut chained = request();
    chained["chain"] = json!([0, 1, 2]);
    let mut extended = request();
    extended["options"]["signature_mode"] = json!("extended");
    settings().bind(|| {
        assert_json_snapshot!("settle", stable(&post("/v1/settle", &request())));
        assert_json_snapshot!(
            "settle_diffusion",
            stable(&post("/v1/settle/diffusion", &request()))
        );
        assert_json_snapshot!("receipt_extended", stable(&post("/v1/receipt", &extended)));
        assert_json_snapshot!("bundle", stable(&post("/v1/bundle", &request())));
        assert_json_snapshot!(
            "chain_receipt",
            stable(&post("/v1/chain/receipt", &chained))
        );
        let id = server.submit("settle", &request());
        assert_json_snapshot!("job_done", stable(&server.ended(&id)));
        assert_json_snapshot!("usage", stable(&server.fetch("/v1/usage")));
        assert_json_snapshot!("ledger_row", stable(server.ledger().first().unwrap()));
    });
}

#[test]
fn errors() {
    let server = Server::start();
    let problem = |request: reqwest::blocking::RequestBuilder| {
        let response = request.send().unwrap();
        let mut body: Value = response.json().unwrap();
        body["request_id"] = json!("[id]");
        body
    };
    let post = |body: Value| server.post("/v1/settle").json(&body);
    settings().bind(|| {
        let ragged = json!({"Y": [[1, 2], [3]], "params": {"lamG": 0}});
        assert_json_snapshot!("error_fields", problem(post(ragged)));
        let unknown = json!({"Y": [[1]], "colour": "red"});
        assert_json_snapshot!("error_unknown_field", problem(post(unknown)));
        let large = json!({"Y": vec![[1.0]; 8_000]});
        assert_json_snapshot!("error_too_large", problem(post(large)));
        assert_json_snapshot!(
            "error_not_found",
            problem(server.get("/v1/jobs/job_0000000000000000000000"))
        );
        let keyless = reqwest::blocking::Client::new().get(format!("{}/v1/jobs", server.url));
        assert_json_snapshot!("error_unauthorized", problem(keyless));
        assert_json_snapshot!("error_method", problem(server.delete("/v1/settle")));
    });
}
