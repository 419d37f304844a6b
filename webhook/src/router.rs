//! The routes of the service.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::routes::{pages, pairing, portal, webhook};
use crate::state::Billing;

/// Largest body of everything but events.
const SMALL_BODY_BYTES: usize = 4 * 1024;
/// Longest a request may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Headers of every answer: nothing here is for caches, other sites, frames or search engines.
const HARDENING: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-robots-tag", "noindex, nofollow"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

/// The service's routes. [`Billing::run`] has to run beside them.
pub fn router(billing: Billing) -> Router {
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
        .route("/health", get(|| async { "ok" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(SMALL_BODY_BYTES));
    events
        .merge(calls)
        .layer(from_fn(harden))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            TIME_LIMIT,
        ))
        .layer(CatchPanicLayer::new())
        .with_state(billing)
}

async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn ready(State(billing): State<Billing>) -> Response {
    // Stripe is not asked: when it does not answer, events are still taken and kept.
    match billing.engine().ports().store.check().await {
        Ok(()) => "ready".into_response(),
        Err(error) => {
            let text = format!("store: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn metrics(State(billing): State<Billing>, headers: HeaderMap) -> Response {
    let config = billing.config();
    if config.metrics_protected && !admitted(config.admin_secret.as_ref(), &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match billing.metrics().encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the request brings the admin secret, compared in constant time.
fn admitted(secret: Option<&secrecy::SecretString>, headers: &HeaderMap) -> bool {
    let given = headers
        .get("x-admin-secret")
        .map(HeaderValue::as_bytes)
        .or_else(|| {
            let bearer = headers.get(header::AUTHORIZATION)?.as_bytes();
            bearer.strip_prefix(b"Bearer ")
        });
    match (secret, given) {
        (Some(secret), Some(given)) => secret.expose_secret().as_bytes().ct_eq(given).into(),
        _ => false,
    }
}
