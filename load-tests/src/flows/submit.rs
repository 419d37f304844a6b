//! Submits a job the way a careful client does: with an idempotency key, again when the answer was
//! lost or the service was busy.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{refused, worth_repeating};
use crate::books::{Fate, Ticket, Work};
use crate::record::Outcome;
use crate::requests::{in_query, post_problem};
use crate::world::{Arrival, World};

/// First pause between tries; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pauses that grow, up to the end of the run's patience.
pub(super) struct Patience {
    pause: Duration,
}

impl Patience {
    pub(super) const fn new() -> Self {
        Self { pause: FIRST_PAUSE }
    }

    /// Waits; false when it is too late for another try.
    pub(super) async fn wait(&mut self, world: &World) -> bool {
        if world.over() {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// A job that was accepted.
pub(super) struct Accepted {
    pub ticket: Ticket,
    pub job: String,
    pub tenant: usize,
}

/// Submits until there is a definite answer.
pub(super) async fn submit(
    world: &World,
    arrival: Arrival,
    ticket: Ticket,
    tenant: usize,
    callback_url: Option<&str>,
) -> Result<Accepted, Outcome> {
    let id = world.books.borrow().id(ticket);
    let path = match world.flow(arrival).diffusion {
        true => "/v1/jobs/diffusion",
        false => "/v1/jobs/settle",
    };
    let mut query = format!("custom_id={id}");
    if let Some(url) = callback_url {
        query = format!("{query}&callback_url={}", in_query(url));
    }
    let body = &world.problem(arrival, 0).body;
    let mut patience = Patience::new();
    // Once a try may have arrived, no later refusal proves that nothing was taken.
    let mut may_be_taken = false;
    loop {
        let key = &world.keys[tenant];
        let request = post_problem(&world.client, (path, &query), key, &id, body, true);
        let sent = Instant::now();
        let outcome = match world.client.call(request).await {
            Ok(answer) if answer.status.as_u16() == 202 => {
                world.request_took("submit", sent);
                let body = answer.json().unwrap_or(Value::Null);
                let Some(job) = body["job_id"].as_str() else {
                    world
                        .books
                        .borrow_mut()
                        .wrong(ticket, "to a submission has no job_id");
                    return Err(Outcome::Error("malformed answer".into()));
                };
                world.books.borrow_mut().accepted(ticket, job);
                return Ok(Accepted {
                    ticket,
                    job: job.to_owned(),
                    tenant,
                });
            }
            Ok(answer) => {
                let outcome = refused(world, arrival, &answer);
                if !worth_repeating(answer.status) {
                    if !may_be_taken {
                        world.books.borrow_mut().close(ticket, Fate::Refused);
                    }
                    return Err(outcome);
                }
                outcome
            }
            Err(error) => {
                may_be_taken |= error.may_have_arrived();
                Outcome::Error(error.label().into())
            }
        };
        if !patience.wait(world).await {
            if !may_be_taken {
                world.books.borrow_mut().close(ticket, Fate::Refused);
            }
            return Err(outcome);
        }
    }
}

/// Opens an entry for a job.
pub(super) fn open(world: &World, tenant: usize, units: u64) -> Ticket {
    world.books.borrow_mut().open(tenant, Work::Job, units)
}
