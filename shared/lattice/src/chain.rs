//! A chain of rows that the prior keeps close together.

use crate::error::FieldError;

/// Consecutive rows, with an optional weight per step.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    nodes: Vec<usize>,
    weights: Option<Vec<f32>>,
}

impl Chain {
    /// A chain over at least two rows; `weights`, when given, has one entry per step.
    ///
    /// Row indices are checked against the matrix by [`crate::Problem::new`].
    ///
    /// # Errors
    /// Names `chain` when it is shorter than two or repeats a node next to itself, and
    /// `chain_weights` when the length is wrong or a weight is negative or not finite.
    pub fn new(nodes: Vec<usize>, weights: Option<Vec<f32>>) -> Result<Self, FieldError> {
        if nodes.len() < 2 {
            return Err(FieldError::new("chain", "must have at least 2 nodes"));
        }
        if let Some(k) = nodes.windows(2).position(|step| step[0] == step[1]) {
            return Err(FieldError::new(
                "chain",
                format!(
                    "node {} is repeated next to itself at position {}",
                    nodes[k],
                    k + 1
                ),
            ));
        }
        if let Some(weights) = &weights {
            check_weights(weights, nodes.len() - 1)?;
        }
        Ok(Self { nodes, weights })
    }

    /// Row indices in order.
    pub fn nodes(&self) -> &[usize] {
        &self.nodes
    }

    /// One weight per step, when given.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// Steps `(from, to, weight)` in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
        self.nodes.windows(2).enumerate().map(|(k, step)| {
            (
                step[0],
                step[1],
                self.weights.as_ref().map_or(1.0, |weights| weights[k]),
            )
        })
    }

    /// The same nodes, every step with weight one.
    pub(crate) fn without_weights(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            weights: None,
        }
    }

    pub(crate) fn check_rows(&self, rows: usize) -> Result<(), FieldError> {
        match self.nodes.iter().find(|&&node| node >= rows) {
            Some(node) => Err(FieldError::new(
                "chain",
                format!("node {node} is out of range for {rows} rows"),
            )),
            None => Ok(()),
        }
    }
}

fn check_weights(weights: &[f32], steps: usize) -> Result<(), FieldError> {
    if weights.len() != steps {
        return Err(FieldError::new(
            "chain_weights",
            format!("has {} entries, the chain has {steps} steps", weights.len()),
        ));
    }
    if let Some(k) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
        return Err(FieldError::new(
            "chain_weights",
            format!("entry {k} must be finite and not negative"),
        ));
    }
    Ok(())
}
