//! What comes of a request.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No connection: the request has not left.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke; whether the request has arrived is not known.
    #[error("connection lost: {0}")]
    Broken(String),
    /// No answer in time; whether the request has arrived is not known.
    #[error("no answer in time")]
    Timeout,
    /// The answer is larger than the harness takes.
    #[error("answer larger than {0} bytes")]
    TooLarge(usize),
}

impl CallError {
    /// Can the server have received the request?
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::Connect(_))
    }

    /// A short stable name, for tallies.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "connection lost",
            Self::Timeout => "timeout",
            Self::TooLarge(_) => "answer too large",
        }
    }
}
