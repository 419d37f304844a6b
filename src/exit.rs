//! Exit codes, and the error that carries one.

use std::fmt;

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// It ran, but with a bad outcome: a job failed, a signature did not verify.
    Failed = 1,
    /// The command line or the configuration cannot be used.
    Usage = 2,
    /// The input was refused.
    BadInput = 3,
    /// The key is unknown, its tier lacks the feature, or its quota is used up.
    Refused = 4,
    /// No such job or key.
    NotFound = 5,
    /// The server cannot be reached, is saturated, or did not finish in time.
    Unavailable = 6,
}

/// The table of `--help` and `docs/cli.md`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: a job ended without a result, a signature did not verify, something disagrees
  2    usage: an unknown flag, a bad value, an unusable configuration
  3    bad input: the file or request was refused; the message names the field
  4    refused: unknown key, tier without the feature, quota or rate limit
  5    not found: no such job, key, file or database
  6    unavailable: server not reachable or saturated, time limit reached
  130  interrupted (Ctrl-C)";

/// An error with the exit code that it leads to.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with a message for people.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// The input was refused.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(Exit::BadInput, message)
    }

    /// The command line or the configuration cannot be used.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code for an error: its own, or "failed".
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(Exit::Failed, |failure| failure.exit)
}

/// Whether the reader of our output has gone, as in `oscillink list | head -1`: no error.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
