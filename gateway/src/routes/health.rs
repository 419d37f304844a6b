//! Liveness, readiness, metrics.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::QueueName;
use oscillink_ports::PortError;
use oscillink_telemetry::metrics::media_type;
use oscillink_wire::FieldError;
use serde_json::json;
use tokio::time::timeout;

use crate::error::{Kind, Problem};
use crate::state::Gateway;

/// How long a dependency may take to answer.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// `GET /health`: the process runs.
pub async fn live() -> Response {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})).into_response()
}

/// `GET /ready`: the process can do its work.
pub async fn ready(State(app): State<Gateway>) -> Result<Response, Problem> {
    if app.shutdown().has_begun() {
        return Err(Problem::new(Kind::Unavailable, "shutting down"));
    }
    let ports = app.engine().ports();
    let (store, blobs, queue, bus) = tokio::join!(
        check(ports.store.check()),
        check(ports.blobs.check()),
        // One queue stands for all.
        check(async { ports.queue.limits(QueueName::Settle).await.map(drop) }),
        check(ports.bus.check()),
    );
    let outcomes = [
        ("store", store),
        ("blobs", blobs),
        ("queue", queue),
        ("bus", bus),
    ];
    let failed: Vec<FieldError> = outcomes
        .iter()
        .filter_map(|(name, outcome)| Some(FieldError::new(*name, outcome.err()?)))
        .collect();
    if failed.is_empty() {
        let checks: BTreeMap<_, _> = outcomes.iter().map(|(name, _)| (name, "ok")).collect();
        return Ok(Json(json!({"status": "ready", "checks": checks})).into_response());
    }
    Err(Problem::unready(failed))
}

/// What failed is told in general terms: the route is open to everyone.
async fn check(probe: impl Future<Output = Result<(), PortError>>) -> Result<(), &'static str> {
    match timeout(CHECK_TIME, probe).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a readiness check failed");
            Err("does not work")
        }
        Err(_) => Err("does not answer"),
    }
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Gateway>, headers: HeaderMap) -> Result<Response, Problem> {
    if app.config().metrics_protected && !app.is_admin(&headers) {
        let detail = "send the admin secret as X-Admin-Secret";
        return Err(Problem::new(Kind::Unauthorized, detail));
    }
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let text = app.metrics().encode(accept).map_err(|error| {
        tracing::error!(%error, "metrics could not be written");
        Problem::new(Kind::Internal, "metrics could not be written")
    })?;
    let media = HeaderValue::from_static(media_type(accept));
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}
