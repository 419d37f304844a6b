//! The worker over HTTP: the task endpoint that a queue pushes to, health, readiness, metrics.
//!
//! Cloud Tasks calls it over the network with an OIDC token; the embedded queue calls the same
//! router in process ([`InProcess`]), where there is no port and so nobody to check.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use oscillink_domain::QueueName;
use oscillink_ports::{Delivery, MAX_TASK_BYTES, TaskTarget, Verdict};
use oscillink_telemetry::http::Call;
use oscillink_telemetry::metrics::media_type;
use oscillink_telemetry::{Metrics, current_traceparent};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::deliver::Worker;

/// Header with the number of earlier deliveries of the task.
const RETRY_COUNT: &str = "x-cloudtasks-taskretrycount";
/// Header with the task's name.
const TASK_NAME: &str = "x-cloudtasks-taskname";
/// Header with the queue's name.
const QUEUE_NAME: &str = "x-cloudtasks-queuename";

/// The caller is not who may push tasks.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct NotAuthorised {
    /// Why.
    pub detail: String,
    /// It could not be told now: the same caller may be accepted later.
    pub transient: bool,
}

/// Decides whether a caller may push tasks, from its `Authorization` header.
#[async_trait]
pub trait PushAuth: Send + Sync + 'static {
    /// Whether the caller may.
    async fn check(&self, authorization: Option<&str>) -> Result<(), NotAuthorised>;
}

#[derive(Clone)]
struct Service {
    worker: Worker,
    auth: Option<Arc<dyn PushAuth>>,
}

/// The worker's routes. Without `auth` the router must not be reachable from outside the process.
pub fn router(worker: Worker, auth: Option<Arc<dyn PushAuth>>) -> Router {
    let routes = Router::new()
        .route("/tasks/{queue}", post(task))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(MAX_TASK_BYTES));
    // Calls within the process are no HTTP requests.
    let routes = match auth {
        Some(_) => routes.layer(from_fn_with_state(worker.metrics().clone(), observe)),
        None => routes,
    };
    routes.with_state(Service { worker, auth })
}

/// Tells of every request and its answer.
async fn observe(State(metrics): State<Metrics>, request: Request<Body>, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let call = Call::begin(
        &metrics,
        request.method().as_str(),
        request
            .extensions()
            .get::<MatchedPath>()
            .map(MatchedPath::as_str),
        text(TASK_NAME).unwrap_or_default(),
        text("traceparent"),
    );
    let response = next.run(request).instrument(call.span().clone()).await;
    call.end(response.status().as_u16());
    response
}

/// One delivery. 204: done with. 404: this worker does not serve the queue. 503: try again.
async fn task(
    State(service): State<Service>,
    Path(queue): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(auth) = &service.auth {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        if let Err(error) = auth.check(token).await {
            tracing::warn!(%error, "a task push was not authorised");
            let status = if error.transient {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::UNAUTHORIZED
            };
            return status.into_response();
        }
    }
    let serves = |queue: &QueueName| service.worker.config().queues.contains(queue);
    let Some(queue) = queue.parse::<QueueName>().ok().filter(serves) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let delivery = Delivery {
        queue,
        name: text(TASK_NAME).unwrap_or_default().to_owned(),
        body,
        retry_count: text(RETRY_COUNT)
            .and_then(|count| count.parse().ok())
            .unwrap_or(0),
        traceparent: current_traceparent(text("traceparent")),
    };
    match service.worker.handle(&delivery).await {
        Verdict::Acknowledge => StatusCode::NO_CONTENT.into_response(),
        Verdict::Retry => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "1")],
        )
            .into_response(),
    }
}

async fn health() -> &'static str {
    "ok"
}

async fn ready(State(service): State<Service>) -> Response {
    match service.worker.check().await {
        Ok(()) => "ready".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn metrics(State(service): State<Service>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    match service.worker.metrics().encode(accept) {
        Ok(text) => ([(header::CONTENT_TYPE, media_type(accept))], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Delivers tasks to a worker's router in the same process.
#[derive(Clone)]
pub struct InProcess(Router);

impl InProcess {
    /// Delivers to `worker` through its own routes.
    #[must_use]
    pub fn new(worker: Worker) -> Self {
        Self(router(worker, None))
    }
}

#[async_trait]
impl TaskTarget for InProcess {
    async fn deliver(&self, delivery: Delivery) -> Verdict {
        let mut request = Request::post(format!("/tasks/{}", delivery.queue))
            .header(QUEUE_NAME, delivery.queue.as_str())
            .header(TASK_NAME, &delivery.name)
            .header(RETRY_COUNT, delivery.retry_count);
        if let Some(traceparent) = &delivery.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let request = match request.body(Body::from(delivery.body)) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "a task cannot be put into a request");
                return Verdict::Retry;
            }
        };
        match self.0.clone().oneshot(request).await {
            Ok(response) if response.status().is_success() => Verdict::Acknowledge,
            Ok(_) => Verdict::Retry,
            Err(never) => match never {},
        }
    }
}
