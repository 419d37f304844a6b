//! Queues: how full they are; stopping, starting and draining them; their limits.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use oscillink_domain::QueueName;
use oscillink_ports::QueueLimits;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::error::{Kind, Problem};
use crate::extract::{Admin, Document, Preferences, Queried, wait_seconds};
use crate::openapi::{self as api, Api, Operation};
use crate::routes::jobs::WaitQuery;
use crate::state::Gateway;

/// Pause between looks at a queue that is being drained.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);
/// A day: longer pauses are slips.
const MAX_TIME_MS: i64 = 24 * 3_600_000;

/// A queue.
#[derive(Serialize)]
struct QueueView {
    queue: QueueName,
    paused: bool,
    /// Tasks that are not acknowledged.
    tasks: u64,
    running: u64,
    oldest_task: Option<String>,
    /// Jobs accepted and not ended, also those that have no task yet.
    live_jobs: u64,
    oldest_job: Option<String>,
    limits: LimitsView,
    retry: RetryView,
}

/// The queue's own limits, on deliveries of its tasks.
#[derive(Serialize)]
struct LimitsView {
    max_per_second: f64,
    max_concurrent: usize,
    max_attempts: u32,
    min_backoff_ms: i64,
    max_backoff_ms: i64,
    max_doublings: u32,
    dispatch_deadline_ms: i64,
}

impl From<QueueLimits> for LimitsView {
    fn from(limits: QueueLimits) -> Self {
        Self {
            max_per_second: limits.max_per_second,
            max_concurrent: limits.max_concurrent,
            max_attempts: limits.max_attempts,
            min_backoff_ms: limits.min_backoff_ms,
            max_backoff_ms: limits.max_backoff_ms,
            max_doublings: limits.max_doublings,
            dispatch_deadline_ms: limits.dispatch_deadline_ms,
        }
    }
}

/// The engine's settings for the jobs of every queue.
#[derive(Serialize)]
struct RetryView {
    dispatch_window: usize,
    max_attempts: u32,
    min_backoff_ms: i64,
    max_backoff_ms: i64,
    max_doublings: u32,
    lease_ms: i64,
}

/// `GET /v1/admin/queues`
pub async fn list(State(app): State<Gateway>, _: Admin) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for queue in QueueName::ALL {
        items.push(look(&app, *queue).await?);
    }
    Ok(Json(json!({"items": items, "next_cursor": null})).into_response())
}

/// `POST /v1/admin/queues/{queue}/pause`: deliveries under way go on, no others start.
pub async fn pause(
    State(app): State<Gateway>,
    _: Admin,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let queue = named(&name)?;
    app.engine().ports().queue.pause(queue).await?;
    tracing::warn!(queue = queue.as_str(), "queue paused by an operator");
    Ok(Json(look(&app, queue).await?).into_response())
}

/// `POST /v1/admin/queues/{queue}/resume`
pub async fn resume(
    State(app): State<Gateway>,
    _: Admin,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let queue = named(&name)?;
    app.engine().ports().queue.resume(queue).await?;
    tracing::warn!(queue = queue.as_str(), "queue resumed by an operator");
    Ok(Json(look(&app, queue).await?).into_response())
}

/// `POST /v1/admin/queues/{queue}/drain`: pauses it and waits until no delivery is under way, or the
/// time is over; `running` tells.
pub async fn drain(
    State(app): State<Gateway>,
    _: Admin,
    Path(name): Path<String>,
    Queried(query): Queried<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let queue = named(&name)?;
    let wait = match &query.wait {
        Some(text) => wait_seconds(text)
            .ok_or_else(|| Problem::field("wait", "must be a number of seconds"))?,
        None => Preferences::of(&headers).wait.unwrap_or_default(),
    };
    let until = Instant::now() + wait;
    let port = &app.engine().ports().queue;
    port.pause(queue).await?;
    tracing::warn!(queue = queue.as_str(), "queue drained by an operator");
    while port.stats(queue).await?.running > 0 && Instant::now() < until {
        tokio::select! {
            () = sleep(DRAIN_PAUSE) => {}
            () = app.shutdown().wait() => break,
        }
    }
    Ok(Json(look(&app, queue).await?).into_response())
}

/// The body of `PATCH /v1/admin/queues/{queue}/limits`: what is left out stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    max_per_second: Option<f64>,
    max_concurrent: Option<usize>,
    max_attempts: Option<u32>,
    min_backoff_ms: Option<i64>,
    max_backoff_ms: Option<i64>,
    max_doublings: Option<u32>,
    dispatch_deadline_ms: Option<i64>,
}

impl Change {
    fn apply(&self, now: QueueLimits) -> Result<QueueLimits, Problem> {
        let limits = QueueLimits {
            max_per_second: self.max_per_second.unwrap_or(now.max_per_second),
            max_concurrent: self.max_concurrent.unwrap_or(now.max_concurrent),
            max_attempts: self.max_attempts.unwrap_or(now.max_attempts),
            min_backoff_ms: self.min_backoff_ms.unwrap_or(now.min_backoff_ms),
            max_backoff_ms: self.max_backoff_ms.unwrap_or(now.max_backoff_ms),
            max_doublings: self.max_doublings.unwrap_or(now.max_doublings),
            dispatch_deadline_ms: self
                .dispatch_deadline_ms
                .unwrap_or(now.dispatch_deadline_ms),
        };
        let time = |ms: i64| (1..=MAX_TIME_MS).contains(&ms);
        let rules = [
            (
                "max_per_second",
                (0.001..=1_000_000.0).contains(&limits.max_per_second),
                "must be 0.001 to 1000000; pause the queue to stop it",
            ),
            (
                "max_concurrent",
                (1..=100_000).contains(&limits.max_concurrent),
                "must be 1 to 100000; pause the queue to stop it",
            ),
            (
                "max_doublings",
                limits.max_doublings <= 16,
                "must be 0 to 16",
            ),
            (
                "min_backoff_ms",
                time(limits.min_backoff_ms),
                "must be 1 ms to a day",
            ),
            (
                "max_backoff_ms",
                time(limits.max_backoff_ms) && limits.max_backoff_ms >= limits.min_backoff_ms,
                "must be min_backoff_ms to a day",
            ),
            (
                "dispatch_deadline_ms",
                time(limits.dispatch_deadline_ms),
                "must be 1 ms to a day",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((field, _, detail)) => Err(Problem::field(field, detail)),
            None => Ok(limits),
        }
    }
}

/// `PATCH /v1/admin/queues/{queue}/limits`
pub async fn change_limits(
    State(app): State<Gateway>,
    _: Admin,
    Path(name): Path<String>,
    Document(change): Document<Change>,
) -> Result<Response, Problem> {
    let queue = named(&name)?;
    let port = &app.engine().ports().queue;
    let limits = change.apply(port.limits(queue).await?)?;
    port.set_limits(queue, limits).await?;
    tracing::warn!(queue = queue.as_str(), ?limits, "limits set by an operator");
    Ok(Json(look(&app, queue).await?).into_response())
}

async fn look(app: &Gateway, queue: QueueName) -> Result<QueueView, Problem> {
    let engine = app.engine();
    let port = &engine.ports().queue;
    let stats = port.stats(queue).await?;
    let limits = port.limits(queue).await?;
    let backlog = engine.backlog(queue).await?;
    let config = engine.config();
    Ok(QueueView {
        queue,
        paused: stats.paused,
        tasks: stats.depth,
        running: stats.running,
        oldest_task: stats.oldest.map(|at| at.to_string()),
        live_jobs: backlog.jobs,
        oldest_job: backlog.oldest.map(|at| at.to_string()),
        limits: limits.into(),
        retry: RetryView {
            dispatch_window: config.dispatch_window,
            max_attempts: config.retry.max_attempts,
            min_backoff_ms: config.retry.min_backoff_ms,
            max_backoff_ms: config.retry.max_backoff_ms,
            max_doublings: config.retry.max_doublings,
            lease_ms: config.lease_ms,
        },
    })
}

fn named(name: &str) -> Result<QueueName, Problem> {
    let unknown = |detail: String| Problem::new(Kind::NotFound, format!("no such queue: {detail}"));
    name.parse().map_err(unknown)
}

pub(super) fn describe(api: Api) -> Api {
    let names: Vec<_> = QueueName::ALL.iter().map(|queue| queue.as_str()).collect();
    let names = json!({"type": "string", "enum": names});
    let queue = |method: Operation| method.path_of("queue", "The queue's name", names.clone());
    let listed = api::get("admin", "adminQueues", "Queues: depth, age, limits");
    let paused = api::post("admin", "adminPause", "Start no further deliveries");
    let resumed = api::post("admin", "adminResume", "Start deliveries again");
    let drained = api::post(
        "admin",
        "adminDrain",
        "Pause, and wait for deliveries under way",
    )
    .query(
        "wait",
        "Seconds to wait, at most 60",
        json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
    );
    let changed = api::patch(
        "admin",
        "adminQueueLimits",
        "Change limits of deliveries; what is left out stays",
    );
    let change = json!({"max_per_second": 50, "max_concurrent": 8});
    api.route("/queues", get(list), [listed.ok("The queues", "QueueList")])
        .route(
            "/queues/{queue}/pause",
            post(pause),
            [queue(paused).idempotent().ok("The queue", "Queue")],
        )
        .route(
            "/queues/{queue}/resume",
            post(resume),
            [queue(resumed).idempotent().ok("The queue", "Queue")],
        )
        .route(
            "/queues/{queue}/drain",
            post(drain),
            [queue(drained).idempotent().ok("The queue", "Queue")],
        )
        .route(
            "/queues/{queue}/limits",
            patch(change_limits),
            [queue(changed)
                .body("application/json", "QueueChange", change)
                .may_be_empty()
                .ok("The queue", "Queue")],
        )
}
