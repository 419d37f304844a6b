//! Jobs after they were accepted: look, wait, list, cancel.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::{Job, JobId, JobStatus, Timestamp};
use oscillink_engine::{CancelOutcome, JobFilter};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::lists::{PageQuery, opaque};
use super::views::{JobView, ListView};
use crate::error::Problem;
use crate::extract::{Caller, JobPath, Preferences, Queried, no_such_job, wait_seconds};
use crate::state::Gateway;

/// Pauses between looks while a client waits: short at first, for jobs that are over at once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The query of `GET /v1/jobs/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// Seconds.
    pub wait: Option<String>,
}

/// `GET /v1/jobs/{id}`: with `wait`, answers when the job has ended, or changed from the state that
/// `If-None-Match` names, or the time is over.
pub async fn get(
    State(app): State<Gateway>,
    caller: Caller,
    JobPath(id): JobPath,
    Queried(query): Queried<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let preferred = Preferences::of(&headers).wait;
    let wait = match &query.wait {
        Some(text) => wait_seconds(text)
            .ok_or_else(|| Problem::field("wait", "must be a number of seconds"))?,
        None => preferred.unwrap_or_default(),
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok());
    let job = look(&app, &caller, &id, wait, known).await?;
    let mut told = HeaderMap::new();
    if let Ok(tag) = HeaderValue::from_str(&etag(&job)) {
        told.insert(header::ETAG, tag);
    }
    if query.wait.is_none() && preferred.is_some() {
        told.insert("preference-applied", HeaderValue::from_static("wait"));
    }
    if is_known(&job, known) {
        return Ok((StatusCode::NOT_MODIFIED, told).into_response());
    }
    let answer = answer_of(&app, &job).await?;
    Ok((told, Json(JobView::of(&job, answer.as_deref()))).into_response())
}

/// Looks until there is something to say.
async fn look(
    app: &Gateway,
    caller: &Caller,
    id: &JobId,
    wait: Duration,
    known: Option<&str>,
) -> Result<Job, Problem> {
    let until = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let job = app
            .engine()
            .job(&caller.key_id, id)
            .await?
            .ok_or_else(no_such_job)?;
        let news = job.status.is_terminal() || (known.is_some() && !is_known(&job, known));
        let left = until.saturating_duration_since(Instant::now());
        if news || left.is_zero() || app.shutdown().has_begun() {
            return Ok(job);
        }
        tokio::select! {
            () = sleep(pause.min(left)) => {}
            () = app.shutdown().wait() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Names the state of a job: changes whenever its view does.
fn etag(job: &Job) -> String {
    let progress = job.progress.map_or(String::new(), |p| {
        format!("-{}-{}", p.stage, (p.fraction * 1_000.0) as u32)
    });
    let callback = job
        .callback
        .as_ref()
        .map_or(String::new(), |c| format!("-{}-{}", c.dispatch, c.attempts));
    format!("\"{}-{}{progress}{callback}\"", job.status, job.generation)
}

fn is_known(job: &Job, known: Option<&str>) -> bool {
    let tag = etag(job);
    known.is_some_and(|known| {
        let mut tags = known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|known| known == tag || known == "*")
    })
}

/// The answer of a job that is done.
async fn answer_of(app: &Gateway, job: &Job) -> Result<Option<Box<RawValue>>, Problem> {
    let Some(result) = job
        .result
        .as_ref()
        .filter(|_| job.status == JobStatus::Done)
    else {
        return Ok(None);
    };
    // Read, taken apart and written again.
    let length = usize::try_from(result.answer.len).unwrap_or(usize::MAX);
    let mut share = app.budget().share();
    share.grow_to(length.saturating_mul(3)).await?;
    let bytes = app.engine().content(&result.answer).await?;
    let json = serde_json::from_slice(&bytes).map_err(oscillink_ports::PortError::corrupt)?;
    Ok(Some(json))
}

/// The query of `GET /v1/jobs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    status: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /v1/jobs`: newest first.
pub async fn list(
    State(app): State<Gateway>,
    caller: Caller,
    Queried(query): Queried<ListQuery>,
) -> Result<Response, Problem> {
    let filter = JobFilter {
        status: named(query.status.as_deref(), "status")?,
        kind: named(query.kind.as_deref(), "kind")?,
        since: query.since.as_deref().map(since).transpose()?,
    };
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let (limit, cursor) = (page.limit()?, page.cursor()?);
    let page = app
        .engine()
        .jobs(&caller.key_id, filter, limit, cursor)
        .await?;
    let items = page
        .items
        .iter()
        .map(|job| JobView::of(job, None))
        .collect();
    let next_cursor = opaque(page.next.as_ref());
    Ok(Json(ListView { items, next_cursor }).into_response())
}

/// A value of a fixed set.
pub fn named<T: std::str::FromStr<Err = String>>(
    text: Option<&str>,
    field: &str,
) -> Result<Option<T>, Problem> {
    text.map(|text| {
        text.parse()
            .map_err(|detail: String| Problem::field(field, detail))
    })
    .transpose()
}

/// A time as clients write it.
pub fn since(text: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse_rfc3339(text)
        .map_err(|_| Problem::field("since", "must be a time such as 2026-01-31T12:00:00Z"))
}

/// `DELETE /v1/jobs/{id}`: the job as it is after the request, `cancelled`, still `running` until its
/// next check point, or ended before.
pub async fn cancel(
    State(app): State<Gateway>,
    caller: Caller,
    JobPath(id): JobPath,
) -> Result<Response, Problem> {
    let outcome = app.engine().cancel(&caller.key_id, &id).await?;
    let job = match outcome.ok_or_else(no_such_job)? {
        CancelOutcome::Accepted(job) | CancelOutcome::AlreadyEnded(job) => job,
    };
    Ok(Json(JobView::of(&job, None)).into_response())
}
