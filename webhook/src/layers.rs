//! What happens around every request: its id, its log line, its metrics, and headers that keep what
//! is answered from caches, other sites, frames and search engines.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use oscillink_domain::id::base62;
use oscillink_telemetry::HttpLabels;
use tracing::Instrument as _;

use crate::error::render;
use crate::state::Billing;

/// Headers that every answer has unless a handler set its own.
const HARDENING: [(&str, &str); 7] = [
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-robots-tag", "noindex, nofollow"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains",
    ),
];

/// The outermost layer.
pub async fn observe(State(billing): State<Billing>, request: Request, next: Next) -> Response {
    let id = format!(
        "req_{}",
        base62(&billing.engine().ports().entropy.id_bytes())
    );
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        _ => "OTHER",
    };
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request_id = id, method, route);
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = span.in_scope(|| render(response, &id));
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let labels = HttpLabels {
        method,
        route,
        status,
    };
    let metrics = billing.metrics();
    metrics.http_requests.get_or_create(&labels).inc();
    metrics.http_duration.observe(elapsed.as_secs_f64());
    let duration_ms = elapsed.as_secs_f64() * 1e3;
    span.in_scope(|| tracing::info!(status, duration_ms, "answered"));
    response
}
