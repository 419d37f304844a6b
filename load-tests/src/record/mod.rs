//! What is measured, in bounded memory: one histogram a flow, and one for each part of the run.

mod health;
mod recorder;
mod track;

pub use health::{Health, Recovery};
pub use recorder::Recorder;
pub use track::{Interval, Latency, Track};

use std::borrow::Cow;

/// How an arrival ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Ok,
    /// Not as it should; the text is a tally's name, of few different ones.
    Error(Cow<'static, str>),
    /// No answer in time: an error whose wait counts as a latency.
    Timeout,
}

impl Outcome {
    /// The tally's name.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Error(label) => label,
            Self::Timeout => "timeout",
        }
    }
}
