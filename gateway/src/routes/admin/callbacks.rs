//! Callbacks of all keys: dead letters, and delivering them again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use oscillink_domain::JobId;
use oscillink_engine::RedeliverError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::jobs::{AdminJob, job_id, listed};
use crate::error::Problem;
use crate::extract::{Admin, Document, Queried};
use crate::openapi::{self as api, Api};
use crate::routes::lists::PageQuery;
use crate::state::Gateway;

/// Callbacks that one call has delivered again.
const DEFAULT_ACTIONS: usize = 100;
const MAX_ACTIONS: usize = 1_000;

/// `GET /v1/admin/callbacks/undelivered`: their jobs, latest first.
pub async fn undelivered(
    State(app): State<Gateway>,
    _: Admin,
    Queried(page): Queried<PageQuery>,
) -> Result<Response, Problem> {
    let (limit, cursor) = (page.limit()?, page.cursor()?);
    let page = app.engine().undelivered_callbacks(limit, cursor).await?;
    Ok(listed(&page))
}

/// `POST /v1/admin/jobs/{id}/callback/redeliver`
pub async fn redeliver(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let job = app.engine().redeliver_callback(None, &job_id(&id)?).await?;
    Ok((StatusCode::ACCEPTED, Json(AdminJob::of(&job))).into_response())
}

/// The body of `POST /v1/admin/callbacks/redeliver`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    limit: Option<usize>,
}

/// The answer of a bulk redelivery.
#[derive(Serialize)]
struct Redelivered {
    redelivered: usize,
    failed: Vec<NotRedelivered>,
    /// Dead letters may remain: call again.
    more: bool,
}

#[derive(Serialize)]
struct NotRedelivered {
    job_id: JobId,
    detail: String,
}

/// `POST /v1/admin/callbacks/redeliver`: every dead letter, latest first, so many at a time.
pub async fn redeliver_all(
    State(app): State<Gateway>,
    _: Admin,
    Document(asked): Document<Asked>,
) -> Result<Response, Problem> {
    let limit = asked.limit.unwrap_or(DEFAULT_ACTIONS);
    if !(1..=MAX_ACTIONS).contains(&limit) {
        let detail = format!("must be 1 to {MAX_ACTIONS}");
        return Err(Problem::field("limit", detail));
    }
    let page = app.engine().undelivered_callbacks(limit, None).await?;
    let mut view = Redelivered {
        redelivered: 0,
        failed: Vec::new(),
        more: page.next.is_some(),
    };
    for job in page.items {
        match app.engine().redeliver_callback(None, &job.id).await {
            Ok(_) => view.redelivered += 1,
            // Removed meanwhile.
            Err(RedeliverError::NotFound) => {}
            Err(RedeliverError::Port(port)) => return Err(port.into()),
            Err(error) => view.failed.push(NotRedelivered {
                job_id: job.id,
                detail: error.to_string(),
            }),
        }
    }
    Ok(Json(view).into_response())
}

pub(super) fn describe(api: Api) -> Api {
    api.route(
        "/callbacks/undelivered",
        get(undelivered),
        [api::get(
            "admin",
            "adminUndelivered",
            "Jobs whose callbacks could not be delivered, latest first",
        )
        .paged()
        .ok("A page", "AdminJobList")],
    )
    .route(
        "/callbacks/redeliver",
        post(redeliver_all),
        [api::post(
            "admin",
            "adminRedeliverAll",
            "Have every callback that is a dead letter delivered again",
        )
        .idempotent()
        .body("application/json", "RedeliverMany", json!({"limit": 100}))
        .may_be_empty()
        .ok("What was done", "RedeliveredMany")],
    )
    .route(
        "/jobs/{id}/callback/redeliver",
        post(redeliver),
        [api::post(
            "admin",
            "adminRedeliver",
            "Have a job's callback delivered once more",
        )
        .path("id", "The job's id")
        .idempotent()
        .answers(202, "The job", "AdminJob", &[])],
    )
}
