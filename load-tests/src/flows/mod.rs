//! What one arrival does, from its request to the last thing that its client waits for.

mod batch;
mod job;
mod probe;
mod settle;
mod sse;
mod stripe;
mod submit;

use std::time::Instant;

use http::StatusCode;

use crate::http::{Answer, CallError};
use crate::record::Outcome;
use crate::scenario::FlowKind;
use crate::world::{Arrival, World};

pub use stripe::signature as stripe_signature;

/// The end of an arrival, at the moment when the client had what it wanted; checks come after.
pub struct Done {
    at: Instant,
    outcome: Outcome,
}

impl Done {
    fn now(outcome: Outcome) -> Self {
        Self {
            at: Instant::now(),
            outcome,
        }
    }

    fn failed(error: &CallError) -> Self {
        Self::now(match error {
            CallError::Timeout => Outcome::Timeout,
            other => Outcome::Error(other.label().into()),
        })
    }
}

/// Does what an arrival is for, and records how it went.
pub async fn arrive(world: &World, arrival: Arrival) {
    let intended = world.start + arrival.intended;
    let done = match world.flow(arrival).kind {
        FlowKind::Probe => probe::run(world, arrival).await,
        FlowKind::Settle => settle::run(world, arrival).await,
        FlowKind::Poll => job::run(world, arrival, job::Wait::Poll).await,
        FlowKind::Events => job::run(world, arrival, job::Wait::Events).await,
        FlowKind::Callback => job::run(world, arrival, job::Wait::Callback).await,
        FlowKind::Batch => batch::run(world, arrival).await,
        FlowKind::Stripe => stripe::run(world, arrival).await,
    };
    let latency = done.at.saturating_duration_since(intended);
    let mut recorder = world.recorder.borrow_mut();
    recorder.done(arrival.flow, arrival.intended, latency, &done.outcome);
}

/// What a status means for an arrival. The problem's type tells apart what one status can mean.
fn refused(world: &World, arrival: Arrival, answer: &Answer) -> Outcome {
    if world.flow(arrival).allow.contains(&answer.status.as_u16()) {
        return Outcome::Ok;
    }
    let problem = answer.json().ok();
    let kind = problem.as_ref().and_then(|problem| {
        let kind = problem["type"].as_str()?;
        kind.strip_prefix("urn:oscillink:problem:")
    });
    let label = match kind {
        Some(kind) => format!("{} {kind}", answer.status.as_u16()),
        None => answer.status.as_u16().to_string(),
    };
    Outcome::Error(label.into())
}

/// Can the same request succeed a moment later?
fn worth_repeating(status: StatusCode) -> bool {
    matches!(status.as_u16(), 409 | 502 | 503 | 504)
}
