//! What can go wrong behind a port, in the port's own terms.

/// An adapter's failure. The adapter's private error is kept as text in `detail`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PortError {
    /// The thing asked for does not exist.
    #[error("not found: {detail}")]
    NotFound {
        /// What was looked for.
        detail: String,
    },
    /// A create-only write found something there.
    #[error("already exists: {detail}")]
    AlreadyExists {
        /// What was there.
        detail: String,
    },
    /// The dependency did not answer, or not in time. The operation may or may not have happened;
    /// trying again is safe for operations that are safe to repeat.
    #[error("unavailable: {detail}")]
    Unavailable {
        /// What the dependency said.
        detail: String,
    },
    /// The dependency has no room: a full disk, a full queue.
    #[error("out of capacity: {detail}")]
    Exhausted {
        /// What is full.
        detail: String,
    },
    /// Stored content does not match its checksum or form.
    #[error("corrupt: {detail}")]
    Corrupt {
        /// What does not match.
        detail: String,
    },
    /// The request breaks the port's rules (a name, a size): a defect of the caller.
    #[error("refused: {detail}")]
    Refused {
        /// Which rule.
        detail: String,
    },
}

impl PortError {
    /// Whether trying again later can succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Exhausted { .. })
    }

    /// An [`PortError::Unavailable`] from any error.
    pub fn unavailable(source: impl std::fmt::Display) -> Self {
        Self::Unavailable {
            detail: source.to_string(),
        }
    }

    /// A [`PortError::Corrupt`] from any error.
    pub fn corrupt(source: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            detail: source.to_string(),
        }
    }
}
