//! Several jobs in one request, each awaited.

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use super::job::finish;
use super::submit::{Accepted, Patience, open};
use super::{Done, refused, worth_repeating};
use crate::books::{Fate, Ticket};
use crate::http::Answer;
use crate::problem::Body;
use crate::record::Outcome;
use crate::requests::post_problem;
use crate::world::{Arrival, World};

pub(super) async fn run(world: &World, arrival: Arrival) -> Done {
    let tenant = world.tenant(arrival);
    let lines = world.flow(arrival).lines;
    let tickets: Vec<Ticket> = (0..lines)
        .map(|line| open(world, tenant, world.problem(arrival, line).units))
        .collect();
    let body = body(world, arrival, &tickets);
    let id = format!("{}-batch", world.books.borrow().id(tickets[0]));
    let mut patience = Patience::new();
    let mut may_be_taken = false;
    loop {
        let key = &world.keys[tenant];
        let path = ("/v1/jobs/batch", "");
        let request = post_problem(&world.client, path, key, &id, &body, true);
        let sent = Instant::now();
        let outcome = match world.client.call(request).await {
            Ok(answer) if answer.status.is_success() => {
                world.request_took("batch", sent);
                return jobs(world, arrival, tenant, &tickets, &answer).await;
            }
            Ok(answer) => {
                let outcome = refused(world, arrival, &answer);
                if !worth_repeating(answer.status) {
                    give_up(world, &tickets, may_be_taken);
                    return Done::now(outcome);
                }
                outcome
            }
            Err(error) => {
                may_be_taken |= error.may_have_arrived();
                Outcome::Error(error.label().into())
            }
        };
        if !patience.wait(world).await {
            give_up(world, &tickets, may_be_taken);
            return Done::now(outcome);
        }
    }
}

fn give_up(world: &World, tickets: &[Ticket], may_be_taken: bool) {
    if !may_be_taken {
        let mut books = world.books.borrow_mut();
        for ticket in tickets {
            books.close(*ticket, Fate::Refused);
        }
    }
}

fn body(world: &World, arrival: Arrival, tickets: &[Ticket]) -> Body {
    let kind = match world.flow(arrival).diffusion {
        true => "diffusion",
        false => "settle",
    };
    let books = world.books.borrow();
    let lines = tickets.iter().enumerate().map(|(line, ticket)| {
        let (id, members) = (books.id(*ticket), &world.problem(arrival, line).members);
        format!("{{\"kind\":\"{kind}\",\"custom_id\":\"{id}\",{members}}}\n")
    });
    Body {
        bytes: Bytes::from(lines.collect::<String>()),
        media_type: "application/x-ndjson",
        query: String::new(),
    }
}

/// Reads the lines of the answer and waits for the jobs that they tell of.
async fn jobs(
    world: &World,
    arrival: Arrival,
    tenant: usize,
    tickets: &[Ticket],
    answer: &Answer,
) -> Done {
    let mut worst = Outcome::Ok;
    let mut accepted = Vec::new();
    let mut answered = 0;
    for line in answer
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Value = serde_json::from_slice(line).unwrap_or(Value::Null);
        let place = line["line"]
            .as_u64()
            .and_then(|place| usize::try_from(place).ok());
        let Some(ticket) = place.and_then(|place| tickets.get(place)).copied() else {
            worst = Outcome::Error("batch cut short".into());
            continue;
        };
        answered += 1;
        match (line["status"].as_u64(), line["job_id"].as_str()) {
            (Some(202), Some(job)) => {
                world.books.borrow_mut().accepted(ticket, job);
                let job = job.to_owned();
                accepted.push((
                    place.unwrap_or(0),
                    Accepted {
                        ticket,
                        job,
                        tenant,
                    },
                ));
            }
            (status, _) => {
                world.books.borrow_mut().close(ticket, Fate::Refused);
                let status = status.unwrap_or(0);
                worst = Outcome::Error(format!("line {status}").into());
            }
        }
    }
    if answered < tickets.len() {
        worst = Outcome::Error("batch cut short".into());
    }
    let mut last = Done::now(worst);
    for (line, accepted) in accepted {
        let judge = &world.problem(arrival, line).judge;
        let done = finish(world, arrival, &accepted, judge).await;
        let outcome = match done.outcome {
            Outcome::Ok => last.outcome,
            bad => bad,
        };
        last = Done {
            at: done.at,
            outcome,
        };
    }
    last
}
