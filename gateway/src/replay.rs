//! Requests that carry an `Idempotency-Key` and are answered at once: the first answer is given again.
//!
//! Only successes are kept. After a failure the key is free for the same request, whose effects are
//! still named as before: what had been charged is not charged again.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::KeyId;
use oscillink_domain::id::base62;
use oscillink_domain::idempotency::StoredAnswer;
use oscillink_engine::{Begun, Engine, Idempotency, MAX_STORED_ANSWER_BYTES, ReplayError, Ticket};

use crate::error::{Kind, Problem};
use crate::extract::{Caller, no_such_job};
use crate::request_id::RequestId;
use crate::routes::views::JobView;
use crate::state::Gateway;

/// Tells that an answer was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long a key stays taken beyond the time that its work may need.
const HOLD_SLACK: Duration = Duration::from_secs(30);

/// Answers with `work`, or as it was answered before. `work` gets the id to name its effects by.
pub async fn answer_once<F, W>(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    idempotency: Option<&Idempotency>,
    work: W,
) -> Result<Response, Problem>
where
    W: FnOnce(String) -> F,
    F: Future<Output = Result<Response, Problem>>,
{
    let Some(idempotency) = idempotency else {
        return work(effect_id(app, id)).await;
    };
    match begin(app, &caller.key_id, idempotency).await? {
        Start::Given(response) => Ok(response),
        Start::Go(held) => {
            let outcome = work(held.effect_id().to_owned()).await;
            match outcome {
                Ok(response) => keep(held, response).await,
                Err(problem) => {
                    held.release().await;
                    Err(problem)
                }
            }
        }
    }
}

/// An id that no other request has.
fn effect_id(app: &Gateway, id: &RequestId) -> String {
    if id.is_ours {
        return id.id.clone();
    }
    format!("req_{}", base62(&app.engine().new_id_bytes()))
}

/// Where a request with a key begins.
pub enum Start {
    /// It was answered before.
    Given(Response),
    /// It is to be answered now.
    Go(Held),
}

/// Takes the key, or finds what it stands for.
pub async fn begin(
    app: &Gateway,
    key_id: &KeyId,
    idempotency: &Idempotency,
) -> Result<Start, Problem> {
    let config = app.config();
    let hold = config.sync_timeout + config.inline_wait + HOLD_SLACK;
    let hold_ms = i64::try_from(hold.as_millis()).unwrap_or(i64::MAX);
    let begun = app.engine().begin_answer(key_id, idempotency, hold_ms);
    Ok(match begun.await? {
        Begun::Go(ticket) => Start::Go(Held {
            engine: app.engine().clone(),
            ticket: Some(ticket),
        }),
        Begun::Answered(answer) => Start::Given(again(answer)),
        Begun::Job(job_id) => {
            let job = app.engine().job(key_id, &job_id).await?;
            let job = job.ok_or_else(no_such_job)?;
            let view = Json(JobView::of(&job, None));
            let headers = [(REPLAYED, HeaderValue::from_static("true"))];
            Start::Given((StatusCode::ACCEPTED, headers, view).into_response())
        }
    })
}

fn again(answer: StoredAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&answer.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Keeps an answer if it can be kept, and gives it.
pub async fn keep(held: Held, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let small = body.size_hint().upper();
    let small = small.is_some_and(|size| size <= MAX_STORED_ANSWER_BYTES as u64);
    let Some(content_type) =
        content_type.filter(|text| small && text.starts_with("application/json"))
    else {
        held.release().await;
        return Ok(Response::from_parts(parts, body));
    };
    let bytes = to_bytes(body, MAX_STORED_ANSWER_BYTES)
        .await
        .unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(&bytes) {
        let answer = StoredAnswer {
            status: parts.status.as_u16(),
            content_type: content_type.to_owned(),
            body: text.to_owned(),
        };
        held.finish(answer).await;
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// A key that is taken. Dropped with its request (the client went away), it is given back.
pub struct Held {
    engine: Engine,
    ticket: Option<Ticket>,
}

impl Held {
    /// What the request's effects are to be named by.
    pub fn effect_id(&self) -> &str {
        self.ticket.as_ref().map_or("", |ticket| &ticket.effect_id)
    }

    /// Keeps the answer. Should that fail, a repeat makes it again.
    pub async fn finish(mut self, answer: StoredAnswer) {
        if let Some(ticket) = self.ticket.take()
            && let Err(error) = self.engine.finish_answer(&ticket, answer).await
        {
            tracing::warn!(%error, "an answer was not kept for repeats");
        }
    }

    /// Gives the key back.
    pub async fn release(mut self) {
        if let Some(ticket) = self.ticket.take() {
            release(&self.engine, &ticket).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        // Without a runtime the process is ending, and the hold runs out by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let engine = self.engine.clone();
            runtime.spawn(async move { release(&engine, &ticket).await });
        }
    }
}

async fn release(engine: &Engine, ticket: &Ticket) {
    if let Err(error) = engine.release_answer(ticket).await {
        tracing::warn!(%error, "an idempotency key stays taken until its hold runs out");
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::InFlight => {
                Self::new(Kind::IdempotencyInFlight, error.to_string()).retry_after(1)
            }
            ReplayError::Mismatch => Self::new(Kind::IdempotencyMismatch, error.to_string()),
            ReplayError::TooOften => Self::new(Kind::Conflict, error.to_string()),
            ReplayError::Port(port) => port.into(),
        }
    }
}
