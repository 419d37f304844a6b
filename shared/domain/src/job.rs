//! A job: its record and the pure transitions of its state machine.
//!
//! `queued → running → done | error | cancelled | expired`; a running job whose lease ran out, or
//! whose attempt failed for a passing reason, goes back to `queued`. Terminal states never change.
//! Every claim raises `generation`; a write that names an older generation is refused, so a slow
//! worker that lost its lease cannot overwrite the work of its successor.

mod record;
mod transition;

pub use record::{
    AttemptFailure, ContentRef, Failure, FailureClass, Job, JobKind, JobStatus, Progress,
    QueueName, ResultRef, Signs, Stage,
};
pub use transition::{Cancelled, ClaimRefused, Retry, RetryPolicy, StaleLease, Swept};
