//! What promtool says of the rules and of a server's metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::files;
use crate::support::Server;

/// The one name that is not in a base unit: it is part of the contract, and its twin in seconds is
/// exported beside it.
const KNOWN: &str = "oscillink_diffusion_gate_ms ";

fn rule_tests() -> Vec<PathBuf> {
    let folder = fs::read_dir(files::at("infra/monitoring/prometheus/tests")).unwrap();
    let mut tests: Vec<PathBuf> = folder.map(|file| file.unwrap().path()).collect();
    tests.sort();
    tests
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let output = Command::new("promtool")
        .args(arguments)
        .args(files)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// `promtool check rules`, the linter's remarks are failures.
pub fn rules() {
    promtool(
        &["check", "rules", "--lint=all", "--lint-fatal"],
        &files::rules(),
    );
    let config = files::at("infra/monitoring/prometheus/prometheus.yml");
    promtool(&["check", "config"], &[config]);
}

/// `promtool test rules`.
pub fn alerts() {
    promtool(&["test", "rules"], &rule_tests());
}

/// `promtool check metrics` on what a running server exports.
pub fn metrics() {
    let server = Server::start();
    let exported = server.get("/metrics").send().unwrap().text().unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(exported.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    // 3: it has remarks.
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{}",
        said(&output)
    );
    let remarks = said(&output);
    let others: Vec<&str> = remarks
        .lines()
        .filter(|line| !line.starts_with(KNOWN))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Every alert has a test in which it comes and one in which it does not.
pub fn both_ways() {
    let rules = files::text("infra/monitoring/prometheus/rules/alerts.yml");
    let after =
        |line: &str, name: &str| line.trim().strip_prefix(name).map(|v| v.trim().to_owned());
    let alerts: BTreeSet<String> = rules
        .lines()
        .filter_map(|line| after(line, "- alert:"))
        .collect();
    assert!(alerts.len() >= 9, "{alerts:?}");
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for test in rule_tests() {
        let mut alert = String::new();
        for line in fs::read_to_string(test).unwrap().lines() {
            if let Some(name) = after(line, "alertname:") {
                alert = name;
            } else if let Some(expected) = after(line, "exp_alerts:") {
                seen.entry(alert.clone())
                    .or_default()
                    .insert(expected != "[]");
            }
        }
    }
    for alert in alerts {
        let ways = seen.get(&alert).map_or(0, BTreeSet::len);
        assert_eq!(ways, 2, "{alert} is not tested both ways");
    }
}
