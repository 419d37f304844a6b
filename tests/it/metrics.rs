//! The metrics of the real server are the documented ones.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Server, matrix, ok};

/// Name to type, from the table of docs/telemetry.md.
fn documented() -> BTreeMap<String, String> {
    let text = include_str!("../../docs/telemetry.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (name, kind) = (cells.next()?, cells.next()?);
        let known = ["counter", "gauge", "histogram"].contains(&kind);
        known.then(|| (name.trim_matches('`').to_owned(), kind.to_owned()))
    })
    .collect()
}

/// Name to type, from what the server gives.
fn exported(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|typed| typed.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let server = Server::start();
    ok(server
        .post("/v1/settle")
        .json(&json!({"Y": matrix(9, 4)}))
        .send()
        .unwrap());
    assert_eq!(server.get("/v1/nothing").send().unwrap().status(), 404);
    let text = server.get("/metrics").send().unwrap().text().unwrap();
    assert_eq!(exported(&text), documented());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let labels = line.split_once('{').map_or("", |(_, labels)| labels);
        assert!(
            !labels.contains(&server.key) && !labels.contains("/nothing"),
            "{line}"
        );
    }
}
