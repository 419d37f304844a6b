//! The direction of dependencies, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may depend on in the workspace, tests aside. A crate that is not named here has
/// not been placed: name it, and say in ARCHITECTURE.md what it is for.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lattice", &[]),
    ("domain", &[]),
    ("ports", &["domain"]),
    ("wire", &["lattice", "domain"]),
    ("telemetry", &["domain"]),
    ("engine", &["ports", "domain"]),
    // The emulators are for its tests; cargo has no optional dependencies of tests alone.
    ("adapters", &["ports", "domain", "emulators"]),
    (
        "gateway",
        &["engine", "domain", "ports", "telemetry", "wire", "lattice"],
    ),
    (
        "worker",
        &["engine", "domain", "ports", "telemetry", "wire", "lattice"],
    ),
    ("webhook", &["engine", "domain", "ports", "telemetry"]),
    (
        "testkit",
        &[
            "adapters",
            "engine",
            "domain",
            "ports",
            "telemetry",
            "wire",
            "lattice",
        ],
    ),
    // Tools beside the service: they speak to it as anyone would, and import nothing of it.
    ("load-tests", &[]),
    ("emulators", &[]),
];

/// Tools beside the service, which may have binaries of their own.
const TOOLS: &[&str] = &["oscillink-emulators", "oscillink-load-tests"];

/// Crates that compute and decide: no runtime, no I/O.
const PURE: &[&str] = &["lattice", "domain"];
const IMPURE: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "reqwest",
    "rusqlite",
    "futures-util",
];

/// Dependencies of every workspace crate, by folder name, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let packages = metadata.workspace_packages();
    packages
        .into_iter()
        .map(|package| {
            let normal = package
                .dependencies
                .iter()
                .filter(|d| d.kind != DependencyKind::Development);
            (
                package.name.to_string(),
                normal.map(|d| d.name.clone()).collect(),
            )
        })
        .collect()
}

fn short(name: &str) -> Option<&str> {
    name.strip_prefix("oscillink-")
}

#[test]
fn dependencies_point_inwards() {
    let mut wrong = Vec::new();
    for (package, needs) in dependencies() {
        let Some(name) = short(&package) else {
            assert_eq!(package, "oscillink", "crates are called oscillink-<folder>");
            continue;
        };
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} has no place in the table of this test"));
            continue;
        };
        for need in needs.iter().filter_map(|need| short(need)) {
            if !allowed.contains(&need) {
                wrong.push(format!("{name} must not depend on {need}"));
            }
        }
        if PURE.contains(&name) {
            for need in needs.iter().filter(|need| IMPURE.contains(&need.as_str())) {
                wrong.push(format!("{name} is pure and must not depend on {need}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_binary_and_the_testkit_know_adapters() {
    for (package, needs) in dependencies() {
        if needs.contains("oscillink-adapters") {
            assert!(
                ["oscillink", "oscillink-testkit"].contains(&package.as_str()),
                "{package} knows the adapters"
            );
        }
    }
}

#[test]
fn the_service_is_one_binary() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let binaries: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| !TOOLS.contains(&package.name.as_str()))
        .flat_map(|package| {
            package
                .targets
                .iter()
                .filter(|t| t.is_bin())
                .map(|t| t.name.clone())
        })
        .collect();
    assert_eq!(
        binaries,
        ["oscillink"],
        "services are libraries; a role is a subcommand"
    );
}
