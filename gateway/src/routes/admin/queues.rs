//! Queues: how full they are, and stopping and starting them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use oscillink_domain::QueueName;
use serde::Serialize;
use serde_json::json;

use crate::error::{Kind, Problem};
use crate::extract::Admin;
use crate::state::Gateway;

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
}

/// The engine's settings for every queue; those of the queue itself belong to its adapter.
#[derive(Serialize)]
struct LimitsView {
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

async fn look(app: &Gateway, queue: QueueName) -> Result<QueueView, Problem> {
    let engine = app.engine();
    let stats = engine.ports().queue.stats(queue).await?;
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
        limits: LimitsView {
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
