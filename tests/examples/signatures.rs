//! What any client with a JSON library can check, checked with real Python.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::programs::python as interpreter;
use crate::support::{Server, matrix, ok};

/// Runs a script with `input` on its standard input; it must succeed.
fn python(script: &str, input: &Value, secret: &str) -> String {
    let mut child = Command::new(interpreter())
        .args(["-c", script])
        .env("SECRET", secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The three lines of the contract, section 7.
const CHECK: &str = "
import hashlib, hmac, json, os, sys
block = json.load(sys.stdin)
print(hmac.new(os.environ['SECRET'].encode(), json.dumps(block['payload'], sort_keys=True).encode(), 'sha256').hexdigest())
";

/// Receipts in both modes, of direct answers and of jobs.
pub fn receipts() {
    let secret = "sëcret with spaces";
    let server = Server::start_with(&[("RECEIPT_HMAC_SECRET", secret)]);
    let rows = matrix(64, 24);
    for mode in ["minimal", "extended"] {
        // Numbers that are hard to write: tiny, huge, whole, many digits.
        let params = json!({"lamG": 1e-5, "lamC": 0.1, "lamQ": 4, "lamP": 0.30000000000000004,
            "neighbor_seed": -7});
        let request = json!({"Y": rows, "psi": rows[5], "chain": [1, 2, 3], "params": params,
            "options": {"signature_mode": mode}});
        let direct = ok(server.post("/v1/settle").json(&request).send().unwrap());
        let job = server.ended(&server.submit("settle", &request));
        for answer in [&direct, &job["result"]] {
            let block = &answer["receipt"]["meta"]["signature"];
            assert_eq!(block["payload"]["mode"], mode);
            assert_eq!(
                python(CHECK, block, secret),
                block["signature"].as_str().unwrap()
            );
        }
    }
}

/// The hashes of ledger rows.
pub fn ledger() {
    let server = Server::start();
    let rows = matrix(20, 4);
    for _ in 0..3 {
        ok(server
            .post("/v1/settle")
            .json(&json!({"Y": rows, "psi": rows[0]}))
            .send()
            .unwrap());
    }
    let mut rows = server.ledger();
    rows.sort_by_key(|row| row["seq"].as_u64());
    let script = "
import hashlib, json, sys
previous = '0' * 64
for row in json.load(sys.stdin):
    content = {k: v for k, v in row.items() if k not in ('hash', 'signature')}
    text = json.dumps(content, sort_keys=True, separators=(',', ':'))
    assert row['prev_hash'] == previous, row
    assert row['hash'] == hashlib.sha256(text.encode()).hexdigest(), row
    previous = row['hash']
print('whole')
";
    assert_eq!(rows.len(), 3);
    assert_eq!(python(script, &Value::Array(rows), ""), "whole");
}
