//! The state's signature, as any client can compute it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::graph::Graph;
use crate::problem::Problem;

/// Edges that are part of the signature.
const SIGNED_EDGES: usize = 2_048;

/// The signature of a problem with unit gates and default parameters. The query must be of multiples
/// of 1/64, whose decimal forms are short and beyond doubt.
pub(super) fn state_signature(problem: &Problem, graph: &Graph) -> String {
    let gates = vec!["1.0"; problem.rows].join(", ");
    let psi: Vec<String> = problem
        .psi
        .iter()
        .map(|value| format!("{value:?}"))
        .collect();
    let text = format!(
        "{{\"B\": [{gates}], \"adj\": \"{}\", \"chain_len\": 0, \"chain_present\": false, \
         \"detk\": false, \"k\": {}, \"lam\": [1.0, 0.5, 4.0, 0.0], \"psi\": [{}]}}",
        adjacency(graph),
        problem.neighbors.clamp(1, (problem.rows - 1).max(1)),
        psi.join(", ")
    );
    hex(&Sha256::digest(text))
}

fn adjacency(graph: &Graph) -> String {
    let mut hash = Sha256::new();
    let places = graph.edges.iter().enumerate().filter(|(_, edge)| **edge);
    for (place, _) in places.take(SIGNED_EDGES) {
        hash.update((place as i64 / graph.rows as i64).to_le_bytes());
        hash.update((place as i64 % graph.rows as i64).to_le_bytes());
    }
    hex(&hash.finalize())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
