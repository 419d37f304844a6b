//! The state signature: a digest of everything that determines the answer.

use super::canonical::{Value, to_canonical_json};
use super::sha256_hex;
use crate::graph::Graph;
use crate::problem::Problem;

/// Stored edges that enter the adjacency digest.
const ADJACENCY_EDGES: usize = 2048;

/// Hex SHA-256 of the canonical JSON of query, gates, weights, chain and graph.
pub(crate) fn state_signature(problem: &Problem<'_>, gates: &[f32], graph: &Graph) -> String {
    let lambdas = problem.params().lambdas();
    let lam = [lambdas.g, lambdas.c, lambdas.q, lambdas.p];
    let state = Value::object([
        ("psi", rounded(problem.query())),
        ("B", rounded(gates)),
        (
            "lam",
            Value::Array(lam.into_iter().map(Value::Float).collect()),
        ),
        ("chain_present", problem.chain().is_some().into()),
        (
            "chain_len",
            problem
                .chain()
                .map_or(0, |chain| chain.nodes().len())
                .into(),
        ),
        ("k", problem.k_effective().into()),
        ("detk", problem.params().deterministic_k().into()),
        ("adj", adjacency_digest(graph).as_str().into()),
    ]);
    sha256_hex(to_canonical_json(&state).as_bytes())
}

fn adjacency_digest(graph: &Graph) -> String {
    let mut bytes = Vec::with_capacity(graph.stored().min(ADJACENCY_EDGES) * 16);
    for (row, column, _) in graph.entries().take(ADJACENCY_EDGES) {
        bytes.extend_from_slice(&(row as i64).to_le_bytes());
        bytes.extend_from_slice(&(column as i64).to_le_bytes());
    }
    sha256_hex(&bytes)
}

fn rounded(values: &[f32]) -> Value {
    Value::Array(
        values
            .iter()
            .map(|value| Value::Float(f64::from(round6(*value))))
            .collect(),
    )
}

/// Rounds to six decimals in float32 arithmetic. A value too large for that has no decimals to
/// round and is kept.
fn round6(value: f32) -> f32 {
    let scaled = value * 1e6;
    if scaled.is_finite() {
        scaled.round_ties_even() / 1e6
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::round6;

    #[test]
    fn rounding_happens_in_float32_with_ties_to_even() {
        assert_eq!(round6(0.123_456_78), 0.123_457);
        assert_eq!(round6(0.000_000_5), 0.0);
        assert_eq!(round6(0.000_001_5), 0.000_002);
        assert!(round6(-1e-9).is_sign_negative());
        assert_eq!(round6(-1e-9), 0.0);
        assert_eq!(round6(1e19), 1e19);
        assert_eq!(round6(3e38), 3e38);
    }
}
