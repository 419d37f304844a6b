//! The routes of the service.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use oscillink_telemetry::metrics::media_type;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::error::Problem;
use crate::layers;
use crate::routes::caller::{Shown, shown};
use crate::routes::{pages, pairing, portal, webhook};
use crate::state::Billing;

/// Largest body of everything but events.
pub(crate) const SMALL_BODY_BYTES: usize = 4 * 1024;
/// Longest a request may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The routes of billing alone, for a process that has probes of its own. [`Billing::run`] has to
/// run beside them.
pub fn routes(billing: Billing) -> Router {
    layered(bare(&billing), billing)
}

/// The routes of a process that does billing and nothing else: those of billing, and probes.
/// [`Billing::run`] has to run beside them.
pub fn router(billing: Billing) -> Router {
    let probes = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics));
    let all = bare(&billing)
        .merge(probes)
        .fallback(|| async { Problem::NotFound("there is no such route") });
    layered(all, billing)
}

fn bare(billing: &Billing) -> Router<Billing> {
    let events = Router::new()
        .route("/stripe/webhook", post(webhook::receive))
        .layer(DefaultBodyLimit::max(billing.config().max_body_bytes));
    let calls = Router::new()
        .route("/billing/cli/start", post(pairing::start))
        .route("/billing/cli/poll", post(pairing::poll))
        .route("/billing/checkout", post(pairing::checkout))
        .route("/billing/success", get(pages::success).post(pages::reveal))
        .route("/billing/given-up", get(pages::given_up))
        .route("/billing/portal", post(portal::portal))
        .route("/billing/cancel", post(portal::cancel))
        .layer(DefaultBodyLimit::max(SMALL_BODY_BYTES));
    events.merge(calls)
}

fn layered(routes: Router<Billing>, billing: Billing) -> Router {
    routes
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            TIME_LIMIT,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(billing.clone(), layers::observe))
        .with_state(billing)
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    // The panic hook has logged what happened and where.
    tracing::error!("a request handler panicked");
    Problem::Status(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

async fn ready(State(billing): State<Billing>) -> Result<&'static str, Problem> {
    // Stripe is not asked: when it does not answer, events are still taken and kept.
    billing.engine().ports().store.check().await?;
    Ok("ready")
}

async fn metrics(State(billing): State<Billing>, headers: HeaderMap) -> Result<Response, Problem> {
    let config = billing.config();
    if config.metrics_protected && !admitted(config.admin_secret.as_ref(), &headers) {
        return Err(Problem::Status(StatusCode::UNAUTHORIZED));
    }
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let text = billing.metrics().encode(accept).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::Status(StatusCode::INTERNAL_SERVER_ERROR)
    })?;
    Ok(([(header::CONTENT_TYPE, media_type(accept))], text).into_response())
}

/// Whether the request brings the admin secret, compared in constant time.
fn admitted(secret: Option<&secrecy::SecretString>, headers: &HeaderMap) -> bool {
    match (secret, shown(headers, "x-admin-secret")) {
        (Some(secret), Shown::Secret(given)) => {
            let secret = secret.expose_secret().as_bytes();
            secret.ct_eq(given.as_bytes()).into()
        }
        _ => false,
    }
}
