//! Completion callbacks: asking for one again, and the secret that signs them.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use oscillink_domain::Sha256Hex;
use oscillink_engine::{CallbackSecret, Idempotency, RedeliverError};
use serde::Serialize;

use super::keys::{RotateBody, RotateQuery, overlap_ms};
use super::views::JobView;
use crate::error::{Kind, Problem};
use crate::extract::{Caller, Document, JobPath, Queried, idempotency_key, no_such_job};
use crate::replay::{REPLAYED, answer_once};
use crate::request_id::RequestId;
use crate::state::Gateway;

/// `POST /v1/jobs/{id}/callback/redeliver`: once more, whatever became of it.
pub async fn redeliver(
    State(app): State<Gateway>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    JobPath(job_id): JobPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let idempotency = idempotency_key(&headers)?.map(|key| Idempotency {
        key,
        request_hash: Sha256Hex::of_parts([b"redeliver".as_slice(), job_id.as_str().as_bytes()]),
    });
    answer_once(&app, &id, &caller, idempotency.as_ref(), async |_| {
        let engine = app.engine();
        let job = engine.redeliver_callback(Some(&caller.key_id), &job_id);
        let job = job.await?;
        Ok((StatusCode::ACCEPTED, Json(JobView::of(&job, None))).into_response())
    })
    .await
}

impl From<RedeliverError> for Problem {
    fn from(error: RedeliverError) -> Self {
        match error {
            RedeliverError::NotFound => no_such_job(),
            RedeliverError::NoCallback | RedeliverError::NotEnded(_) | RedeliverError::TooOften => {
                Self::new(Kind::Conflict, error.to_string())
            }
            RedeliverError::Port(port) => port.into(),
        }
    }
}

/// The secret that signs a key's callbacks.
#[derive(Serialize)]
struct SecretView {
    secret: String,
    /// Until then the secret before it signs too.
    previous_signs_until: Option<String>,
}

impl SecretView {
    fn of(secret: &CallbackSecret, previous_until: Option<oscillink_domain::Timestamp>) -> Self {
        Self {
            secret: secret.reveal(),
            previous_signs_until: previous_until.map(|at| at.to_string()),
        }
    }
}

/// `GET /v1/keys/self/callback-secret`
pub async fn secret(State(app): State<Gateway>, caller: Caller) -> Result<Response, Problem> {
    // Read anew: a rotation on another instance may not have been heard of here.
    let record = app.engine().key(&caller.key_id).await?;
    let record = record.unwrap_or_else(|| (*caller.record).clone());
    let secret = app.engine().callback_secret(&record);
    let secret = secret.ok_or_else(switched_off)?;
    let now = app.engine().now();
    let previous = record.callback_secrets.previous_until;
    let view = SecretView::of(&secret, previous.filter(|until| now < *until));
    Ok(Json(view).into_response())
}

/// `POST /v1/keys/self/callback-secret/rotate`: a new secret; the present one signs beside it for a while.
pub async fn rotate(
    State(app): State<Gateway>,
    caller: Caller,
    Queried(query): Queried<RotateQuery>,
    headers: HeaderMap,
    Document(body): Document<RotateBody>,
) -> Result<Response, Problem> {
    let overlap_ms = overlap_ms(&query, &body)?;
    let idempotency = idempotency_key(&headers)?.map(|key| Idempotency {
        key,
        request_hash: Sha256Hex::of_parts([
            b"rotate callback secret".as_slice(),
            &overlap_ms.to_le_bytes(),
        ]),
    });
    let rotation = app
        .engine()
        .rotate_callback_secret(&caller.key_id, overlap_ms, idempotency.as_ref())
        .await?
        .ok_or_else(switched_off)?;
    for secret in &caller.record.secrets {
        app.keys().invalidate(&secret.hash);
    }
    let view = SecretView::of(&rotation.secret, Some(rotation.previous_until));
    let mut response = Json(view).into_response();
    if rotation.replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    Ok(response)
}

/// The operator has set no secret for callbacks.
pub fn switched_off() -> Problem {
    let detail = "callbacks are not set up on this server; leave callback_url out and poll the job";
    Problem::new(Kind::FeatureDisabled, detail)
}
