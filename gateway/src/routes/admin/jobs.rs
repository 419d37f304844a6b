//! Jobs of all keys: look, retry dead letters, cancel or retry whatever matches a filter.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get as get_route, post as post_route};
use oscillink_domain::job::AttemptFailure;
use oscillink_domain::{Job, JobId, JobKind, JobStatus, KeyId, QueueName, Tier};
use oscillink_engine::{JobFilter, JobsMatching, Page};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Kind, Problem};
use crate::extract::{Admin, Document, Queried, no_such_job};
use crate::openapi::{self as api, Api, Operation};
use crate::routes::jobs::{named, since};
use crate::routes::lists::{PageQuery, opaque};
use crate::routes::views::{JobView, ListView};
use crate::state::Gateway;

/// Jobs that one call acts on.
const DEFAULT_ACTIONS: usize = 100;
const MAX_ACTIONS: usize = 1_000;

/// A job as operators see it.
#[derive(Serialize)]
pub(super) struct AdminJob<'a> {
    #[serde(flatten)]
    job: JobView<'a>,
    key_id: &'a str,
    tier: Tier,
    queue: QueueName,
    memory_bytes: u64,
    generation: u64,
    dispatch: u32,
    due: String,
    deadline: String,
    lease_until: Option<String>,
    worker: Option<&'a str>,
    cancel_requested: bool,
    dead_letter: bool,
    history: Vec<AttemptView<'a>>,
    request_id: &'a str,
    traceparent: Option<&'a str>,
    callback_url: Option<&'a str>,
}

#[derive(Serialize)]
struct AttemptView<'a> {
    at: String,
    attempt: u32,
    worker: &'a str,
    code: &'a str,
    detail: &'a str,
}

impl<'a> AttemptView<'a> {
    fn of(past: &'a AttemptFailure) -> Self {
        Self {
            at: past.at.to_string(),
            attempt: past.attempt,
            worker: &past.worker,
            code: &past.failure.code,
            detail: &past.failure.detail,
        }
    }
}

impl<'a> AdminJob<'a> {
    pub(super) fn of(job: &'a Job) -> Self {
        Self {
            job: JobView::of(job, None),
            key_id: job.key_id.as_str(),
            tier: job.tier,
            queue: job.queue,
            memory_bytes: job.memory_bytes,
            generation: job.generation,
            dispatch: job.dispatch,
            due: job.due_at.to_string(),
            deadline: job.deadline_at.to_string(),
            lease_until: job.lease_until.map(|at| at.to_string()),
            worker: job.worker.as_deref(),
            cancel_requested: job.cancel_requested,
            dead_letter: job.dead_letter,
            history: job.history.iter().map(AttemptView::of).collect(),
            request_id: &job.request_id,
            traceparent: job.traceparent.as_deref(),
            callback_url: job.callback_url.as_deref(),
        }
    }
}

pub(super) fn listed(page: &Page<Job>) -> Response {
    let items = page.items.iter().map(AdminJob::of).collect();
    let next_cursor = opaque(page.next.as_ref());
    Json(ListView { items, next_cursor }).into_response()
}

/// The query of `GET /v1/admin/jobs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    key_id: Option<String>,
    queue: Option<String>,
    status: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /v1/admin/jobs`: those of a key, newest first, or those of a queue that have not ended,
/// oldest first.
pub async fn list(
    State(app): State<Gateway>,
    _: Admin,
    Queried(query): Queried<JobsQuery>,
) -> Result<Response, Problem> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let (limit, cursor) = (page.limit()?, page.cursor()?);
    let page = match (&query.key_id, &query.queue) {
        (Some(key_id), None) => {
            let key_id: KeyId = key_id
                .parse()
                .map_err(|_| Problem::field("key_id", "is not an id of a key"))?;
            let filter = JobFilter {
                status: named(query.status.as_deref(), "status")?,
                kind: named(query.kind.as_deref(), "kind")?,
                since: query.since.as_deref().map(since).transpose()?,
            };
            app.engine().jobs(&key_id, filter, limit, cursor).await?
        }
        (None, Some(queue)) => {
            for (field, given) in [
                ("status", &query.status),
                ("kind", &query.kind),
                ("since", &query.since),
            ] {
                if given.is_some() {
                    return Err(Problem::field(field, "goes with key_id"));
                }
            }
            let queue = queue
                .parse()
                .map_err(|detail: String| Problem::field("queue", detail))?;
            app.engine().live_jobs(queue, limit, cursor).await?
        }
        _ => return Err(Problem::field("query", "needs either key_id or queue")),
    };
    Ok(listed(&page))
}

/// `GET /v1/admin/jobs/dead-letters`: newest first, with their history.
pub async fn dead_letters(
    State(app): State<Gateway>,
    _: Admin,
    Queried(page): Queried<PageQuery>,
) -> Result<Response, Problem> {
    let (limit, cursor) = (page.limit()?, page.cursor()?);
    Ok(listed(&app.engine().dead_letters(limit, cursor).await?))
}

/// `GET /v1/admin/jobs/{id}`
pub async fn get(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let job = app.engine().any_job(&job_id(&id)?).await?;
    let job = job.ok_or_else(no_such_job)?;
    Ok(Json(AdminJob::of(&job)).into_response())
}

/// `POST /v1/admin/jobs/{id}/retry`: the dead letter's work as a new job of the same key.
pub async fn retry(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let Some(submitted) = app.engine().retry_dead_letter(&id).await? else {
        let job = app.engine().any_job(&id).await?.ok_or_else(no_such_job)?;
        let detail = format!(
            "the job is {} and no dead letter; only jobs that failed for good can be retried",
            job.status
        );
        return Err(Problem::new(Kind::Conflict, detail));
    };
    let view = Json(AdminJob::of(&submitted.job));
    Ok((StatusCode::ACCEPTED, view).into_response())
}

/// The body of the bulk actions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    key_id: Option<KeyId>,
    queue: Option<QueueName>,
    kind: Option<JobKind>,
    status: Option<JobStatus>,
    created_before: Option<String>,
    /// Said where every job is meant: an empty filter is more often a slip.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Filter {
    fn matching(&self) -> Result<(JobsMatching, usize), Problem> {
        let created_before = self.created_before.as_deref().map(|text| {
            since(text).map_err(|_| {
                Problem::field(
                    "created_before",
                    "must be a time such as 2026-01-31T12:00:00Z",
                )
            })
        });
        let matching = JobsMatching {
            key_id: self.key_id.clone(),
            queue: self.queue,
            kind: self.kind,
            status: self.status,
            created_before: created_before.transpose()?,
        };
        let given: Vec<_> = [
            ("key_id", self.key_id.is_some()),
            ("queue", self.queue.is_some()),
            ("kind", self.kind.is_some()),
            ("status", self.status.is_some()),
            ("created_before", self.created_before.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        match (given.as_slice(), self.all) {
            ([], false) => {
                let detail =
                    "give a filter (key_id, queue, kind, status, created_before) or \"all\": true";
                return Err(Problem::field("body", detail));
            }
            ([_, ..], true) => {
                let detail = format!(
                    "means every job and cannot stand beside a filter ({}); leave one out",
                    given.join(", ")
                );
                return Err(Problem::field("all", detail));
            }
            _ => {}
        }
        let limit = self.limit.unwrap_or(DEFAULT_ACTIONS);
        if !(1..=MAX_ACTIONS).contains(&limit) {
            return Err(Problem::field(
                "limit",
                format!("must be 1 to {MAX_ACTIONS}"),
            ));
        }
        Ok((matching, limit))
    }
}

/// The answer of a bulk cancel.
#[derive(Serialize)]
struct CancelledMany {
    cancelled: usize,
    /// Running jobs that were asked to stop.
    stopping: usize,
    /// Jobs may match that were not reached: call again.
    more: bool,
}

/// `POST /v1/admin/jobs/cancel`
pub async fn cancel_matching(
    State(app): State<Gateway>,
    _: Admin,
    Document(filter): Document<Filter>,
) -> Result<Response, Problem> {
    let (matching, limit) = filter.matching()?;
    if filter.cursor.is_some() {
        return Err(Problem::field(
            "cursor",
            "is for retries: cancelled jobs are not met again",
        ));
    }
    let bulk = app.engine().cancel_matching(&matching, limit).await?;
    let view = CancelledMany {
        cancelled: bulk.ended,
        stopping: bulk.done - bulk.ended,
        more: bulk.more,
    };
    Ok(Json(view).into_response())
}

/// The answer of a bulk retry.
#[derive(Serialize)]
struct RetriedMany {
    retried: usize,
    failed: Vec<NotRetried>,
    more: bool,
    /// For the next call.
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct NotRetried {
    job_id: JobId,
    detail: String,
}

/// `POST /v1/admin/jobs/retry`
pub async fn retry_matching(
    State(app): State<Gateway>,
    _: Admin,
    Document(filter): Document<Filter>,
) -> Result<Response, Problem> {
    let (matching, limit) = filter.matching()?;
    let page = PageQuery {
        limit: None,
        cursor: filter.cursor,
    };
    let retried = app
        .engine()
        .retry_matching(&matching, limit, page.cursor()?);
    let (bulk, next) = retried.await?;
    let failed = bulk.failed.into_iter();
    let view = RetriedMany {
        retried: bulk.done,
        failed: failed
            .map(|(job_id, detail)| NotRetried { job_id, detail })
            .collect(),
        more: bulk.more,
        next_cursor: opaque(next.as_ref()),
    };
    Ok(Json(view).into_response())
}

pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| no_such_job())
}

pub(super) fn describe(api: Api) -> Api {
    let job = |method: Operation| method.path("id", "The job's id");
    let json = "application/json";
    let filter = json!({"queue": "settle", "created_before": "2026-01-31T12:00:00Z", "limit": 100});
    let names = |names: &[&str]| json!({"type": "string", "enum": names});
    let queues = ["settle", "diffusion", "priority", "callback"];
    let statuses = ["queued", "running", "done", "error", "cancelled", "expired"];
    let key_id = json!({"type": "string", "pattern": "^key_[0-9A-Za-z]{22}$"});
    let time = json!({"type": "string", "format": "date-time"});
    let listed = [
        (
            "key_id",
            "Of this key, newest first; either this or queue",
            key_id,
        ),
        ("queue", "Live on this queue, oldest first", names(&queues)),
        ("status", "With key_id", names(&statuses)),
        (
            "kind",
            "With key_id",
            names(&["settle", "diffusion", "chain"]),
        ),
        ("since", "With key_id", time),
    ]
    .into_iter()
    .fold(
        api::get(
            "admin",
            "adminListJobs",
            "Jobs of a key, or a queue's live jobs",
        ),
        |listed, (name, text, schema)| listed.query(name, text, schema),
    );
    let letters = api::get(
        "admin",
        "adminDeadLetters",
        "Jobs that failed for good, with their history",
    );
    let cancelled = api::post("admin", "adminCancelJobs", "Cancel live jobs that match");
    let cancelled = cancelled
        .idempotent()
        .body(json, "JobFilter", filter.clone());
    let retried = api::post("admin", "adminRetryJobs", "Retry dead letters that match");
    let retried = retried.idempotent().body(json, "JobFilter", filter);
    let one = job(api::get("admin", "adminGetJob", "A job of any key"));
    let again = api::post(
        "admin",
        "adminRetryJob",
        "A dead letter's work as a new job",
    );
    api.route(
        "/jobs",
        get_route(list),
        [listed.paged().ok("A page", "AdminJobList")],
    )
    .route(
        "/jobs/dead-letters",
        get_route(dead_letters),
        [letters.paged().ok("A page", "AdminJobList")],
    )
    .route(
        "/jobs/cancel",
        post_route(cancel_matching),
        [cancelled.ok("What was done", "CancelledMany")],
    )
    .route(
        "/jobs/retry",
        post_route(retry_matching),
        [retried.ok("What was done", "RetriedMany")],
    )
    .route(
        "/jobs/{id}",
        get_route(get),
        [one.ok("The job", "AdminJob")],
    )
    .route(
        "/jobs/{id}/retry",
        post_route(retry),
        [job(again)
            .idempotent()
            .answers(202, "The new job", "AdminJob", &[])],
    )
}
