//! A job, from its submission to its result.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::Value;

use super::sse::Events;
use super::submit::{Accepted, Patience, open, submit};
use super::{Done, refused, worth_repeating};
use crate::http::{Answer, CallError};
use crate::oracle::Judge;
use crate::record::Outcome;
use crate::requests::get;
use crate::world::{Arrival, World};

/// Seconds that a long poll asks for.
const POLL_S: u64 = 20;
/// Time that a long poll's answer may take beyond that.
const POLL_GRACE: Duration = Duration::from_secs(10);

/// How the client learns of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Poll,
    Events,
    Callback,
}

pub(super) async fn run(world: &World, arrival: Arrival, wait: Wait) -> Done {
    let tenant = world.tenant(arrival);
    let problem = world.problem(arrival, 0);
    let ticket = open(world, tenant, problem.units);
    let receiver = world.receiver.as_ref().filter(|_| wait == Wait::Callback);
    let call = receiver.map(|receiver| (receiver.url(ticket), receiver.expect(ticket)));
    if call.is_some() {
        world.books.borrow_mut().expect_callback(ticket);
    }
    let url = call.as_ref().map(|(url, _)| url.as_str());
    let accepted = match submit(world, arrival, ticket, tenant, url).await {
        Ok(accepted) => accepted,
        Err(outcome) => return Done::now(outcome),
    };
    let called = match (wait, call) {
        (Wait::Callback, Some((_, call))) => {
            let left = world.deadline().saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, call).await {
                Ok(Ok(at)) => Some(at),
                _ => return Done::now(Outcome::Error("no callback".into())),
            }
        }
        (Wait::Events, _) => {
            if !ended_by_events(world, &accepted).await {
                return Done::now(Outcome::Error("no end in time".into()));
            }
            None
        }
        _ => None,
    };
    let done = finish(world, arrival, &accepted, &problem.judge).await;
    match called {
        // What the client waited for was the callback; the result is fetched to check it.
        Some(at) if done.outcome == Outcome::Ok => Done { at, ..done },
        _ => done,
    }
}

/// Polls until the job has ended, and checks its result.
pub(super) async fn finish(
    world: &World,
    arrival: Arrival,
    accepted: &Accepted,
    judge: &Judge,
) -> Done {
    let path = format!("/v1/jobs/{}?wait={POLL_S}", accepted.job);
    let key = &world.keys[accepted.tenant];
    let limit = Duration::from_secs(POLL_S) + POLL_GRACE;
    let mut patience = Patience::new();
    loop {
        let sent = Instant::now();
        let answer = world
            .client
            .call_within(get(&world.client, &path, key), limit)
            .await;
        match answer {
            Ok(answer) if answer.status == StatusCode::OK => {
                let at = Instant::now();
                if let Some(outcome) = ended(world, accepted, judge, &answer) {
                    world.request_took("poll, last", sent);
                    return Done { at, outcome };
                }
                if world.over() {
                    return Done::now(Outcome::Error("no end in time".into()));
                }
                continue;
            }
            // A job that was accepted must be there: the books will find it lost.
            Ok(answer) if !worth_repeating(answer.status) => {
                return Done::now(refused(world, arrival, &answer));
            }
            Ok(_) | Err(_) => {}
        }
        if !patience.wait(world).await {
            return Done::now(Outcome::Error("no end in time".into()));
        }
    }
}

/// What a job view says; none while the job is alive.
fn ended(world: &World, accepted: &Accepted, judge: &Judge, answer: &Answer) -> Option<Outcome> {
    let mut books = world.books.borrow_mut();
    let view = answer.json().unwrap_or(Value::Null);
    let status = match view["status"].as_str() {
        Some("queued" | "running") => return None,
        Some(status) => status,
        None => {
            books.wrong(accepted.ticket, "to a poll has no status");
            return Some(Outcome::Error("malformed answer".into()));
        }
    };
    books.ended(accepted.ticket, status);
    if status != "done" {
        return Some(Outcome::Error(format!("job {status}").into()));
    }
    match judge.fault(&view["result"]) {
        None => Some(Outcome::Ok),
        Some(fault) => {
            books.wrong(accepted.ticket, &fault);
            Some(Outcome::Error("wrong result".into()))
        }
    }
}

/// Reads the event stream until it tells the end, coming back where it was left.
async fn ended_by_events(world: &World, accepted: &Accepted) -> bool {
    let path = format!("/v1/jobs/{}/events", accepted.job);
    let mut patience = Patience::new();
    let mut last_id = None;
    loop {
        let reading = read_events(world, accepted, &path, &mut last_id);
        match tokio::time::timeout_at(world.deadline().into(), reading).await {
            Ok(Ok(true)) => return true,
            // The server ended the stream, the connection broke, or it says nothing: come back.
            Ok(Ok(false) | Err(_)) | Err(_) => {
                if !patience.wait(world).await {
                    return false;
                }
            }
        }
    }
}

async fn read_events(
    world: &World,
    accepted: &Accepted,
    path: &str,
    last_id: &mut Option<String>,
) -> Result<bool, CallError> {
    let mut request = get(&world.client, path, &world.keys[accepted.tenant]);
    if let Some(id) = last_id.as_deref().and_then(|id| id.parse().ok()) {
        request.headers_mut().insert("last-event-id", id);
    }
    let mut stream = world.client.open(request).await?;
    // 204 says that the end has been told before.
    if stream.status() == StatusCode::NO_CONTENT {
        return Ok(true);
    }
    let mut events = Events::default();
    while let Some(bytes) = stream.next().await? {
        for event in events.push(&bytes) {
            if event.id.is_some() {
                last_id.clone_from(&event.id);
            }
            let view: Value = serde_json::from_str(&event.data).unwrap_or(Value::Null);
            let status = view["status"].as_str().unwrap_or("queued");
            if event.name == "status" && !["queued", "running"].contains(&status) {
                world.books.borrow_mut().ended(accepted.ticket, status);
                // The rest of the stream is its end; reading it keeps the connection.
                while stream.next().await?.is_some() {}
                return Ok(true);
            }
        }
        if world.over() {
            return Ok(false);
        }
    }
    Ok(false)
}
