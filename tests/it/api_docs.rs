//! The examples of docs/api.md run as they stand.

use std::process::Command;

use crate::support::Server;

const ADMIN: &str = "operators' secret";

/// The code blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let text = include_str!("../../docs/api.md");
    let mut found = Vec::new();
    for piece in text.split("```").skip(1).step_by(2) {
        let (name, code) = piece.split_once('\n').unwrap();
        if name == language {
            found.push(code.to_owned());
        }
    }
    found
}

fn run(server: &Server, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .env("URL", &server.url)
        .env("KEY", &server.key)
        .env("ADMIN", ADMIN)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed to run the examples: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}\n{out}\n{err}");
    // Lines of a batch and events tell their failures in a successful answer.
    assert!(
        !out.contains("urn:oscillink:problem") || program == "python3",
        "{out}"
    );
}

#[test]
fn the_shell_examples_run() {
    let server = Server::start_with(&[("OSCILLINK_ADMIN_SECRET", ADMIN)]);
    let examples = blocks("sh");
    assert!(examples.len() >= 5);
    // One after the other in one shell: later ones use what earlier ones found.
    let script = format!("set -euo pipefail\n{}", examples.join("\n"));
    run(&server, "bash", &["-c", &script]);
}

#[test]
fn the_python_examples_run() {
    let server = Server::start_with(&[("OSCILLINK_ADMIN_SECRET", ADMIN)]);
    let examples = blocks("python");
    assert!(examples.len() >= 3);
    for example in examples {
        run(&server, "python3", &["-c", &example]);
    }
}
