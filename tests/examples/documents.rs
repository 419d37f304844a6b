//! The examples of docs/api.md and of the Python client's README.

use std::process::Command;

use crate::programs::python as interpreter;
use crate::support::Server;

const ADMIN: &str = "operators' secret";
const API: &str = include_str!("../../docs/api.md");
const CLIENT: &str = include_str!("../../clients/python/README.md");

/// The code blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let pieces = text.split("```").skip(1).step_by(2);
    pieces
        .map(|piece| piece.split_once('\n').unwrap())
        .filter(|(name, _)| *name == language)
        .map(|(_, code)| code.to_owned())
        .collect()
}

/// Runs a program on a server of its own, in a folder of its own, and gives what it prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let server = Server::start_with(&[("OSCILLINK_ADMIN_SECRET", ADMIN)]);
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .env("URL", &server.url)
        .env("KEY", &server.key)
        .env("ADMIN", ADMIN)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// Shell examples of docs/api.md, one after the other in one shell.
pub fn shell() {
    let examples = blocks(API, "sh");
    assert!(examples.len() >= 7);
    let script = format!("set -euo pipefail\n{}", examples.join("\n"));
    let printed = run("bash", &["-c", &script]);
    // Lines of a batch and events tell their failures in a successful answer.
    assert!(!printed.contains("urn:oscillink:problem"), "{printed}");
}

/// Python examples of docs/api.md, one after the other in one interpreter.
pub fn python() {
    let examples = blocks(API, "python");
    assert!(examples.len() >= 6);
    run(&interpreter(), &["-c", &examples.join("\n")]);
}

/// The Python client's README: each example by itself.
pub fn python_readme() {
    let examples = blocks(CLIENT, "python");
    assert!(examples.len() >= 3);
    for example in examples {
        run(&interpreter(), &["-c", &example]);
    }
}

/// Examples for browsers and Node.
pub fn javascript() {
    let examples = blocks(API, "js");
    assert!(!examples.is_empty());
    for example in examples {
        run("node", &["--input-type=module", "-e", &example]);
    }
}

/// The tables of docs/operations.md and docs/capacity.md are what the model gives.
pub fn capacity() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/infra/capacity/model.py");
    let output = Command::new(interpreter())
        .args([model, "--check"])
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
