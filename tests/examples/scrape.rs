//! What Prometheus' own tool says of the metrics.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::programs::promtool;
use crate::support::{Server, ok};

/// The contract gives this name, which is not in a base unit. The same is there in seconds.
const KNOWN: &str = "oscillink_diffusion_gate_ms ";

pub fn lint() {
    let server = Server::start();
    let body = json!({"Y": [[1, 0], [0.9, 0.1], [0, 1]]});
    ok(server.post("/v1/settle").json(&body).send().unwrap());
    assert_eq!(server.get("/v1/nothing").send().unwrap().status(), 404);
    let text = server.get("/metrics").send().unwrap().text().unwrap();
    let mut tool = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = tool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let said = tool.wait_with_output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let remarks: Vec<&str> = said.lines().filter(|l| !l.is_empty()).collect();
    assert_eq!(remarks.len(), 1, "{said}");
    assert!(remarks[0].starts_with(KNOWN), "{said}");
}
