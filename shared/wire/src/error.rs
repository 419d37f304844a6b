//! Why a request cannot be used.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest detail that repeats something from the request, bytes.
const MAX_DETAIL_BYTES: usize = 240;

/// One field that is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct FieldError {
    /// Its path in the request: `Y[3][5]`, `params.lamG`, `body` for the request as a whole.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldError {
    /// An error of `field`. Long details are cut: they may repeat what a client sent.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: cut(field.into()),
            detail: cut(detail.into()),
        }
    }
}

impl From<oscillink_lattice::FieldError> for FieldError {
    fn from(error: oscillink_lattice::FieldError) -> Self {
        Self::new(error.field, error.detail)
    }
}

/// What a size limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Rows of `Y`, or entries of an array with one entry per row.
    Rows,
    /// Columns of `Y`, or entries of an array with one entry per column.
    Columns,
    /// Nodes of a chain.
    ChainNodes,
    /// Bytes after decompression.
    Bytes,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "rows",
            Self::Columns => "columns",
            Self::ChainNodes => "chain nodes",
            Self::Bytes => "bytes",
        })
    }
}

/// Why a request cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fields are missing, malformed or do not fit together.
    #[error("{}", summary(errors))]
    BadRequest {
        /// At least one.
        errors: Vec<FieldError>,
    },
    /// More than the caller's limits allow. Parsing stopped where this was noticed.
    #[error("{field} has more than {limit} {counted}")]
    TooLarge {
        /// The field.
        field: String,
        /// What is limited.
        counted: Counted,
        /// The limit.
        limit: usize,
    },
}

impl WireError {
    /// A request with one field at fault.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        FieldError::new(field, detail).into()
    }

    pub(crate) fn too_large(field: impl Into<String>, counted: Counted, limit: usize) -> Self {
        Self::TooLarge {
            field: field.into(),
            counted,
            limit,
        }
    }
}

impl From<FieldError> for WireError {
    fn from(error: FieldError) -> Self {
        Self::BadRequest {
            errors: vec![error],
        }
    }
}

fn summary(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_DETAIL_BYTES {
        let end = (0..=MAX_DETAIL_BYTES)
            .rev()
            .find(|&i| text.is_char_boundary(i))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
