//! What the documents promise to list, they list.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Variables that the program reads: whole string literals that look like one.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2).filter(|literal| {
        let ours = ["OSCILLINK_", "RECEIPT_", "ENABLE_"]
            .iter()
            .any(|p| literal.starts_with(p));
        ours && literal.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    })
}

#[test]
fn every_variable_is_in_the_table() {
    let table = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let listed: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
    let mut files = Vec::new();
    for folder in ["src", "gateway/src", "worker/src", "shared/engine/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut missing = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        missing.extend(
            variables(&text)
                .filter(|name| !listed.contains(name))
                .map(str::to_owned),
        );
    }
    assert!(
        missing.is_empty(),
        "docs/configuration.md does not list {missing:?}"
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for folder in ["docs", "docs/decisions", "demo"] {
        let entries = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|e| e.unwrap().path());
        documents.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{} links to {target}", document.display());
        }
    }
}
