//! Where the files are.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A path below the repository's root.
pub fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file's text.
pub fn text(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file's JSON.
pub fn json(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rule files.
pub fn rules() -> [PathBuf; 2] {
    ["recording.yml", "alerts.yml"].map(|name| at("infra/monitoring/prometheus/rules").join(name))
}

/// Holds a file to what it is made from, or writes it anew.
pub fn same(path: &str, expected: &Value) {
    if std::env::var("OSCILLINK_UPDATE_INFRA").is_ok_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(expected).unwrap() + "\n";
        fs::write(at(path), text).unwrap();
    }
    // Compared as sets: the order of names depends on what else is built.
    assert!(
        json(path) == *expected,
        "{path} is not what it is made from: OSCILLINK_UPDATE_INFRA=1 writes it anew"
    );
}
