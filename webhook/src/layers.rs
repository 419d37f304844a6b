//! What happens around every request: its id, its log line, its metrics, and headers that keep what
//! is answered from caches, other sites, frames and search engines.

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use oscillink_domain::id::base62;
use oscillink_telemetry::http::Call;
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
    let route = request.extensions().get::<MatchedPath>();
    let headers = request.headers();
    let call = Call::begin(
        billing.metrics(),
        request.method().as_str(),
        route.map(MatchedPath::as_str),
        &id,
        headers.get("traceparent").and_then(|v| v.to_str().ok()),
    );
    let response = next.run(request).instrument(call.span().clone()).await;
    let mut response = call.span().in_scope(|| render(response, &id));
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    call.end(response.status().as_u16());
    response
}
