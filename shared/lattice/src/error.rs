//! What can go wrong: an input that names its field, or a cancelled run.

use thiserror::Error;

/// An input that cannot be used, named the way callers of the service know it.
///
/// `field` is the path inside a request body: `Y`, `psi`, `gates`, `chain`, `chain_weights`,
/// `params.lamG`, `options.dt`, `diffusion.gamma` and so on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {detail}")]
pub struct FieldError {
    /// Path of the offending field.
    pub field: String,
    /// What is wrong with it, for people.
    pub detail: String,
}

impl FieldError {
    /// Builds an error for `field`.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// Why [`solve`](crate::solve()) returned no solution.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SolveError {
    /// The inputs do not fit together or the system they describe has no usable answer.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// The observer asked to stop.
    #[error("the computation was cancelled")]
    Cancelled,
}
